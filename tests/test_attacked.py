"""What attacks on the finished program found, each with the rule that it broke."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.store.index import FILE
from tests.command import environment, run, write_config
from tests.mirrored import Mirrored, offered, tree_of
from tests.upstream import FakeUpstream

_DIE_BEFORE_THE_ROW = """
import os
from mirror.sync.transfers import Transfers
Transfers._enter = lambda *_: os._exit(137)
from mirror.cli import main
main(["sync"])
"""
"""A sync that is killed between the rename that publishes and the commit that says so."""


def _catalogue(generation: int, *more: SampleSub, names: tuple[str, ...] = ("a.bin", "b.bin")) -> Catalogue:
    """One sub-resource whose files have the same names and sizes in every generation, and other bytes."""
    files = tuple(SampleFile(name, Pattern(1000, seed=f"{generation}{name}")) for name in names)
    day = f"2026-0{generation}-01"
    first = SampleSub("R_1-0__GPKG_LAMB93_D038_2026-01-01", edition_date="2026-01-01", updated=day, files=files)
    return Catalogue((SampleResource("R", updated=day, subs=(first, *more)),))


@pytest.mark.parametrize("then", ["back to the first generation", "a newer edition"])
def test_a_kill_between_rename_and_row_is_settled_by_the_next_run(then: str, tmp_path: Path) -> None:
    """Whatever upstream lists by then: no hash in the index is of other bytes, and verify takes no right file away."""
    with FakeUpstream(_catalogue(1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'a]\nresources = ["*"]')
        assert run("sync", cwd=tmp_path).code == 0
        fake.catalogue = _catalogue(2)
        killed = subprocess.run([sys.executable, "-c", _DIE_BEFORE_THE_ROW], cwd=tmp_path, env=environment(), check=False)
        assert killed.returncode == 137
        newer = SampleSub(
            "R_1-0__GPKG_LAMB93_D038_2026-03-01",
            edition_date="2026-03-01",
            updated="2026-03-01",
            files=(SampleFile("c.bin", Pattern(1000, seed="c")),),
        )
        fake.catalogue = _catalogue(2, newer) if then == "a newer edition" else _catalogue(3)
        if then != "a newer edition":
            first = _catalogue(1).resources[0]
            subs = tuple(replace(sub, updated="2026-03-01") for sub in first.subs)
            fake.catalogue = Catalogue((replace(first, updated="2026-03-01", subs=subs),))
        assert run("sync", cwd=tmp_path).code == 0
        outcome = run("verify", "--full", "--repair", "--json", cwd=tmp_path)
        assert (outcome.code, outcome.json["faults"], outcome.json["foreign"]) == (0, [], [])
        assert tree_of(tmp_path / "mirror" / "data" / "gpf") == offered(fake.catalogue)


@pytest.mark.parametrize("repair", [False, True])
def test_what_a_killed_run_has_just_published_is_no_damage(repair: bool, tmp_path: Path) -> None:
    """Verify takes it in as a sync would, and takes none of it away, least of all while upstream cannot give it again."""
    with FakeUpstream(_catalogue(1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'a]\nresources = ["*"]')
        assert run("sync", cwd=tmp_path).code == 0
        fake.catalogue = _catalogue(2)
        subprocess.run([sys.executable, "-c", _DIE_BEFORE_THE_ROW], cwd=tmp_path, env=environment(), check=False)
        published = tree_of(tmp_path / "mirror" / "data" / "gpf")
        assert published == offered(fake.catalogue)
    outcome = run("verify", "--full", *(["--repair"] if repair else []), "--json", cwd=tmp_path)
    assert (outcome.code, outcome.json["faults"]) == (0, [])
    assert tree_of(tmp_path / "mirror" / "data" / "gpf") == published
    assert len(run("query", "--paths", cwd=tmp_path).out.splitlines()) == 2


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Mirrored]:
    async with FakeUpstream(_catalogue(1)) as fake:
        yield Mirrored(tmp_path / "root", fake)


@pytest.mark.parametrize("level", ["R", "R/R_1-0__GPKG_LAMB93_D038_2026-01-01"])
async def test_a_link_in_the_tree_is_never_followed_out_of_it(level: str, mirror: Mirrored, tmp_path: Path) -> None:
    """What lies behind it is neither read as ours, nor moved, nor written over."""
    outside = tmp_path / "mine"
    (outside / "sub").mkdir(parents=True)
    for name in ("a.bin", "notes.txt", "sub/doc.txt"):
        (outside / name).write_text("mine")
    before = tree_of(outside)
    link = mirror.root / "data" / "gpf" / level
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    for _ in range(2):
        await mirror.sync()
        assert tree_of(outside) == before
        mirror.upstream.catalogue = _catalogue(2)


async def test_an_archive_that_is_split_anew_keeps_no_volume_of_the_old_one(mirror: Mirrored) -> None:
    """A reader who takes all volumes gets one archive; the old volume is set aside, not deleted."""
    mirror.upstream.catalogue = _catalogue(1, names=("x.7z.001", "x.7z.002", "x.7z.003", "readme.txt"))
    await mirror.sync()
    mirror.upstream.catalogue = _catalogue(2, names=("x.7z.001", "x.7z.002", "readme.txt"))
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    assert mirror.rows("SELECT count(*) FROM files") == [(3,)]
    assert [path.name for path in (mirror.root / ".staging" / "quarantine").rglob("x.7z.*")] == ["x.7z.003"]
    assert (await mirror.sync()).requests == 1


async def test_without_the_index_too_no_volume_of_the_old_archive_stays(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = _catalogue(1, names=("x.7z.001", "x.7z.002", "x.7z.003"))
    await mirror.sync()
    (mirror.root / FILE).unlink()
    mirror.upstream.catalogue = _catalogue(2, names=("x.7z.001", "x.7z.002"))
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    assert (await mirror.sync()).requests == 1


async def test_one_subscription_does_not_use_up_the_full_listing_of_another(mirror: Mirrored) -> None:
    """A file replaced without a word, which only a full listing shows, is found for each of them in its turn."""
    other = replace(_catalogue(1).resources[0], id="S")
    mirror.upstream.catalogue = Catalogue((*_catalogue(1).resources, other))
    mirror.tables = {"r": {"resources": ["R"]}, "s": {"resources": ["S"]}}
    await mirror.sync()
    silent = replace(other, subs=(replace(other.subs[0], files=_catalogue(2).resources[0].subs[0].files),))
    mirror.upstream.catalogue = Catalogue((*_catalogue(1).resources, silent))
    mirror.clock.pass_(days=8)
    await mirror.sync("r")
    await mirror.sync("s")
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_a_catalogue_that_lists_nothing_at_all_is_not_believed(mirror: Mirrored) -> None:
    """Exit code 4, and nothing is marked as withdrawn."""
    await mirror.sync()
    states = mirror.states()
    mirror.upstream.catalogue = Catalogue(())
    mirror.clock.pass_(days=8)
    report = await mirror.sync()
    assert (report.exit_code, report.outcome) == (4, "refused")
    assert mirror.states() == states


async def test_differences_of_two_periods_are_both_latest(mirror: Mirrored) -> None:
    """They have one date and one zone, and are not editions of one another."""
    subs = tuple(
        SampleSub(
            f"R_DIFF_{period}_SHP_D038_2024-01-01",
            edition_date="2024-01-01",
            updated="2024-02-01",
            files=(SampleFile(f"{period}.7z", Pattern(100, seed=period)),),
        )
        for period in ("2018-2021", "2021-2024")
    )
    mirror.upstream.catalogue = Catalogue((SampleResource("R", subs=subs),))
    mirror.tables = {"r": {"resources": ["R"]}}
    await mirror.sync()
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_a_sub_resource_without_wanted_files_is_told(mirror: Mirrored) -> None:
    """A glob that matches nothing looks like a complete mirror otherwise."""
    mirror.tables = {"r": {"resources": ["R"], "files": ["*.7zz"]}}
    report = await mirror.sync()
    assert any("`files`" in remark for remark in report.remarks)
