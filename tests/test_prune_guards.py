"""`prune` deletes nothing where it knows too little, says beforehand what it will do, and can be interrupted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import ConfigError, IndexUnusable, Locked
from mirror.pruning import PruneAction, PruneReport, prune
from mirror.settings import Settings, from_mapping
from mirror.store.index import FILE, Index
from mirror.store.lock import root_lock
from mirror.store.query import Reader

from .mirrored import Mirrored, edition, only, tree_of, without
from .pruned import (
    ALL,
    ALPHA,
    CATALOGUE,
    EDITIONS,
    KEEPING,
    LATEST,
    NEWEST,
    OLDEST,
    deleted,
    folder,
    mirrored,
)
from .upstream import FakeUpstream, faults, publish


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    return await mirrored(tmp_path / "root", upstream)


# -- guards


async def test_a_listing_of_last_week_is_no_ground(mirror: Mirrored) -> None:
    """Refused, exit code 4, nothing changed; a sync makes it good."""
    mirror.clock.pass_(days=3)
    report = await mirror.prune()
    assert (report.outcome, report.exit_code, deleted(report)) == ("refused", 4, set())
    assert len(report.refused) == 1
    assert (report.refused[0].upstream, report.refused[0].resource) == ("gpf", None)
    assert "more than 7 days old" in report.reason
    assert "inspire-mirror sync" in report.reason
    assert mirror.tree() == ALL
    await mirror.sync()
    assert len(deleted(await mirror.prune())) == 12


async def test_a_stale_listing_is_no_matter_where_nothing_would_go(mirror: Mirrored) -> None:
    mirror.clock.pass_(days=30)
    mirror.tables = {"one": {**KEEPING, "keep": 3}}
    assert (await mirror.prune()).exit_code == 0


async def test_a_resource_that_could_not_be_listed_keeps_all_it_has(mirror: Mirrored) -> None:
    """The others are pruned; exit code 4 says that something was refused."""
    mirror.upstream.catalogue = publish(CATALOGUE, "BDBRAVO", edition(CATALOGUE.resources[1].listed[0], "2026-12-15", "2027-01-02"))
    mirror.upstream.script("/resource/BDBRAVO*", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    report = await mirror.prune()
    assert (report.exit_code, {refusal.resource for refusal in report.refused}) == (4, {"BDBRAVO"})
    assert mirror.tree() == {**only(ALL, "BDBRAVO"), **only(NEWEST, "BDALPHA")}
    reader = Reader(mirror.root)
    assert [row["what"] for row in reader.unlisted()] == ["BDBRAVO"], "status goes by the last sync, not by the prune after it"
    reader.close()
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert (await mirror.prune()).exit_code == 0


async def test_a_listing_that_was_not_believed_takes_the_ground_away(mirror: Mirrored) -> None:
    """Also where the one before it is young; the next one that is believed gives it back."""
    mirror.upstream_options = {"full_listing_every": "2d"}
    mirror.upstream.catalogue = replace(CATALOGUE, resources=())
    assert (await mirror.sync()).exit_code == 4
    report = await mirror.prune()
    assert (report.exit_code, mirror.tree()) == (4, ALL)
    assert "no resource at all" in report.reason
    mirror.upstream.catalogue = CATALOGUE
    assert (await mirror.sync()).exit_code == 0
    assert (await mirror.prune()).exit_code == 0
    assert mirror.tree() == NEWEST


async def test_an_entry_that_cannot_be_named_may_be_what_is_here(mirror: Mirrored) -> None:
    """What a listing lacks then is not known to be gone: of a resource, and of the upstream."""
    nameless = replace(OLDEST, omit=frozenset({"id", "link"}), title="?", updated="2027-01-02")
    subs = tuple(nameless if sub.id == OLDEST.id else sub for sub in ALPHA.subs)
    mirror.upstream.catalogue = replace(
        CATALOGUE, resources=(replace(ALPHA, subs=subs, updated="2027-01-02"), CATALOGUE.resources[1])
    )
    assert (await mirror.sync()).exit_code == 1
    assert {refusal.resource for refusal in (await mirror.prune()).refused} == {"BDALPHA"}
    unknown = replace(ALPHA, omit=frozenset({"id", "link"}), title="?")
    mirror.upstream.catalogue = replace(CATALOGUE, resources=(unknown, CATALOGUE.resources[1]))
    mirror.limits["max_shrink_ratio"] = 1
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 1
    assert mirror.rows("SELECT state FROM resources WHERE resource = 'BDALPHA'") == [("withdrawn",)]
    report = await mirror.prune()
    assert {refusal.resource for refusal in report.refused} == {"BDALPHA"}
    assert "no usable name" in report.reason
    assert only(mirror.tree(), "BDALPHA") == only(ALL, "BDALPHA")


async def test_an_upstream_that_is_away_is_no_ground(mirror: Mirrored) -> None:
    mirror.upstream.script("capabilities", [faults.status(500)], forever=True)
    assert (await mirror.sync()).exit_code == 5
    assert ((await mirror.prune()).exit_code, mirror.tree()) == (4, ALL)
    mirror.upstream.heal()
    await mirror.sync()
    assert (await mirror.prune()).exit_code == 0


async def test_a_sync_refused_for_want_of_space_is_no_reason_not_to_prune(mirror: Mirrored) -> None:
    """Its listing was good, and space is what a prune makes."""
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, edition(LATEST, "2026-12-15", "2027-01-02"))
    mirror.limits["min_free"] = "900 TB"
    assert (await mirror.sync()).exit_code == 4
    assert (await mirror.prune()).exit_code == 0
    assert mirror.tree() == NEWEST


async def test_an_index_that_is_built_anew_knows_too_little(mirror: Mirrored) -> None:
    """Refused until a sync has taken in all that is here; what it takes in begins its grace anew. Aliases are left alone."""
    with Index(mirror.root) as index:
        index.connection.execute("INSERT INTO rebuilding (upstream, since) VALUES ('gpf', 'now')")
    alias = mirror.root / "current" / "gpf" / "BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"
    alias.unlink()
    alias.symlink_to("../../data/gpf/BDALPHA/newer")
    report = await mirror.prune()
    assert (report.exit_code, mirror.tree(), os.readlink(alias)) == (4, ALL, "../../data/gpf/BDALPHA/newer")
    assert "built anew" in report.reason
    (mirror.root / FILE).unlink()
    assert (await mirror.sync()).exit_code == 0
    assert deleted(await mirror.prune()) == set()
    mirror.clock.pass_(days=3)
    await mirror.sync()
    assert len(deleted(await mirror.prune())) == 12
    assert mirror.tree() == NEWEST


async def test_a_config_that_has_become_wider_needs_a_sync_first(tmp_path: Path, upstream: FakeUpstream) -> None:
    """What the new subscription wants is not known before."""
    narrow = {"resources": ["BDALPHA"], "zones": ["D038"], "edition": "all"}
    mirror = Mirrored(tmp_path / "root", upstream, one=narrow)
    await mirror.sync()
    mirror.limits.update(max_delete_ratio=1, grace="0s")
    mirror.tables = {"one": {**narrow, "edition": "latest", "keep": 1}, "two": {"resources": ["BDALPHA"], "zones": ["D073"]}}
    assert ((await mirror.prune()).exit_code, len(mirror.tree())) == (4, 6)
    await mirror.sync()
    assert (await mirror.prune()).exit_code == 0


async def test_too_much_at_once_is_refused_as_a_whole(mirror: Mirrored) -> None:
    """With the numbers, and with what to do; also for the resources of which less would go."""
    mirror.limits["max_delete_ratio"] = 0.6
    mirror.tables = {"alpha": {"resources": ["BDALPHA"], "keep": 1}, "bravo": {"resources": ["BDBRAVO"], "keep": 2}}
    report = await mirror.prune()
    assert (report.outcome, report.exit_code, deleted(report)) == ("refused", 4, set())
    assert mirror.tree() == ALL
    (refusal,) = report.refused
    assert refusal.subscription == "alpha"
    assert "12 of 18 files and 12.0 kB of 18.0 kB" in refusal.reason
    assert "INSPIRE_MIRROR_LIMITS__MAX_DELETE_RATIO=0.67" in refusal.reason
    mirror.limits["max_delete_ratio"] = 0.67
    assert (await mirror.prune()).exit_code == 0
    assert mirror.tree() == {**only(NEWEST, "BDALPHA"), **only(only(ALL, "BDBRAVO"), *EDITIONS[1:])}


async def test_another_run_holds_the_lock(mirror: Mirrored) -> None:
    with root_lock(mirror.root), pytest.raises(Locked):
        await mirror.prune()
    assert mirror.tree() == ALL


async def test_a_root_without_an_index_is_not_made_into_an_empty_mirror(tmp_path: Path, upstream: FakeUpstream) -> None:
    for dry_run in (False, True):
        with pytest.raises(IndexUnusable, match="inspire-mirror sync"):
            await Mirrored(tmp_path / "root", upstream, one=KEEPING).prune(dry_run=dry_run)
    assert not (tmp_path / "root").exists()


async def test_an_unknown_name_is_an_error(mirror: Mirrored) -> None:
    with pytest.raises(ConfigError, match="there are: one"):
        await mirror.prune("two")


# -- dry run


async def in_both_ways(mirror: Mirrored) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents of a dry run and of the prune after it, without what they may differ in: the time that they took."""
    planned, done = (await mirror.prune(dry_run=True)).as_json(), (await mirror.prune()).as_json()
    return {**planned, "seconds": 0}, {**done, "seconds": 0}


def everything_under(root: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and mtime of all that is there, but of the files of shared memory that any reader of the index makes."""
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        stat = path.lstat()
        if not path.name.startswith(f"{FILE}-") and path != root:
            found[str(path)] = stat.st_ino, stat.st_size, stat.st_mtime_ns
    return found


async def test_a_dry_run_changes_nothing_and_needs_no_lock(mirror: Mirrored) -> None:
    before, rows = everything_under(mirror.root), mirror.rows("SELECT * FROM sub_resources")
    with root_lock(mirror.root):
        before = everything_under(mirror.root)  # the lock writes its process id
        report = await mirror.prune(dry_run=True)
        assert everything_under(mirror.root) == before
    assert len(deleted(report)) == 12
    assert mirror.rows("SELECT * FROM sub_resources") == rows
    assert mirror.rows("SELECT count(*) FROM runs WHERE command = 'prune'") == [(0,)]


async def test_what_a_dry_run_says_is_what_a_prune_does(mirror: Mirrored) -> None:
    """To the letter: deletions, what is kept and why, foreign files."""
    mirror.tables = {
        "alpha": {"resources": ["BDALPHA"], "keep": 1},
        "bravo": {"resources": ["BDBRAVO"], "edition": "2026-03-15..2026-03-15", "keep": 1},
    }
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, edition(LATEST, "2026-12-15", "2027-01-02"))
    await mirror.sync()
    (folder(mirror) / "notes.txt").write_bytes(b"mine")
    planned, done = await in_both_ways(mirror)
    assert {action["action"] for action in planned["actions"]} == {"delete", "keep"}
    assert {**planned, "deleted": planned["planned"]} == {**done, "planned": done["deleted"]}
    assert planned["foreign"] == [str(folder(mirror) / "notes.txt")]


@pytest.mark.parametrize("guard", ["ratio", "age"])
async def test_a_dry_run_is_refused_where_a_prune_would_be(mirror: Mirrored, guard: str) -> None:
    mirror.limits["max_delete_ratio"] = 0.1 if guard == "ratio" else 1
    mirror.clock.pass_(days=0 if guard == "ratio" else 3)
    planned, done = await in_both_ways(mirror)
    assert {**planned, "deleted": planned["planned"]} == {**done, "planned": done["deleted"]}
    assert (planned["exit_code"], planned["planned"]["files"]) == (4, 0)


# -- interrupted


async def test_an_interrupt_ends_what_it_is_about_and_leaves_the_rest(mirror: Mirrored) -> None:
    """Exit code 130; the report has what was done, nothing is halfway, and the next prune does the rest."""
    told: list[PruneAction] = []

    def visit(action: PruneAction) -> None:
        told.append(action)
        if len(told) == 3:
            task.cancel()

    task: asyncio.Task[PruneReport] = asyncio.ensure_future(prune(mirror.settings, visit=visit, now=mirror.clock))
    report = await task
    assert (report.outcome, report.exit_code) == ("interrupted", 130)
    assert report.actions == told
    assert len(told) == 3
    assert mirror.tree() == without(ALL, *deleted(report))
    assert (mirror.staged(), mirror.rows("SELECT count(*) FROM leaving")) == ([], [(0,)])
    assert len(deleted(await mirror.prune())) == 9


async def test_an_interrupt_while_it_waits_for_another_run(mirror: Mirrored) -> None:
    with root_lock(mirror.root):
        task = asyncio.ensure_future(prune(mirror.settings, wait=True, now=mirror.clock))
        await asyncio.sleep(0)
        task.cancel()
        report = await task
    assert (report.outcome, report.exit_code, mirror.tree()) == ("interrupted", 130, ALL)


async def test_several_upstreams_are_judged_each_for_itself(tmp_path: Path, upstream: FakeUpstream) -> None:
    """What one of them refuses does not hold up the other."""
    async with FakeUpstream(CATALOGUE) as second:
        mirror = _Two(tmp_path / "root", upstream, second)
        assert (await mirror.sync()).exit_code == 0
        mirror.clock.pass_(days=4)
        second.script("capabilities", [faults.status(500)], forever=True)
        assert (await mirror.sync()).exit_code == 1
        report = await mirror.prune()
        assert (report.exit_code, {refusal.upstream for refusal in report.refused}) == (4, {"other"})
        assert {action.upstream for action in report.actions if action.action == "delete"} == {"gpf"}
        assert mirror.tree() == NEWEST
        assert tree_of(mirror.root / "data" / "other") == ALL


class _Two(Mirrored):
    """A mirror of two upstreams that was of everything at its first sync, and keeps one edition from then on."""

    def __init__(self, root: Path, upstream: FakeUpstream, second: FakeUpstream) -> None:
        super().__init__(root, upstream)
        self.second = second

    @property
    def settings(self) -> Settings:
        options = {"requests_per_second": 100_000}
        wanted: dict[str, Any] = {"resources": ["*"], "keep": 1, "edition": "latest" if (self.root / FILE).exists() else "all"}
        tables = {
            "root": str(self.root),
            "limits": {"min_free": 0, "max_delete_ratio": 1},
            "upstream": {"gpf": {"url": self.upstream.url, **options}, "other": {"url": self.second.url, **options}},
            "subscription": {"a": {**wanted, "upstream": "gpf"}, "b": {**wanted, "upstream": "other"}},
        }
        return from_mapping(tables, self.root, {})
