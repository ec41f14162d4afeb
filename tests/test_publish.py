"""How files appear: whole or each, volumes always together, nothing of anybody else's touched."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.demo.body import Pattern, read
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.events import Event, Published
from mirror.sync import sync

from .mirrored import EVERYTHING, HASTE, Mirrored, offered, rewritten, volumes
from .upstream import FakeUpstream, faults

SIDE = SampleFile("S.md5", b"0123  S.7z\n")
SUB = volumes("S", zone_files=(SIDE, SampleFile("notice.pdf", Pattern(300, "notice"))))


def catalogue(*subs: SampleSub) -> Catalogue:
    return Catalogue((SampleResource("R", subs),))


ALL = offered(catalogue(SUB))
VOLUMES = {path: md5 for path, md5 in ALL.items() if ".7z." in path}
OTHERS = {path: md5 for path, md5 in ALL.items() if ".7z." not in path}


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(catalogue(SUB)) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    return Mirrored(tmp_path / "root", upstream)


def each(mirror: Mirrored) -> None:
    mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}


@pytest.mark.parametrize("lost", ["S.7z.002", "S.md5"])
async def test_whole_publishes_nothing_while_a_file_is_missing(mirror: Mirrored, lost: str) -> None:
    mirror.upstream.script(f"/download/R/S/{lost}", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    assert mirror.tree() == {}
    mirror.upstream.heal()
    report = await mirror.sync()
    assert mirror.requests() == {"capabilities": 1, "download": 1}
    assert (report.exit_code, mirror.tree()) == (0, ALL)


async def test_each_publishes_the_rest_but_volumes_only_together(mirror: Mirrored) -> None:
    each(mirror)
    mirror.upstream.script("/download/R/S/S.7z.002", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    assert mirror.tree() == OTHERS
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.requests()["download"] == 1
    assert mirror.tree() == ALL


async def test_a_volume_that_can_never_be_had_keeps_its_archive_away(mirror: Mirrored) -> None:
    """Listed twice with different facts, it is parked by the plan, not by a transfer."""
    each(mirror)
    mirror.upstream.catalogue = catalogue(replace(SUB, files=(*SUB.files, replace(SUB.files[1], md5="0" * 32))))
    for _ in range(2):
        assert (await mirror.sync()).exit_code == 1
        assert mirror.tree() == OTHERS


async def test_volumes_appear_in_one_step(mirror: Mirrored) -> None:
    """Seen from each event of publication, an archive has all of its volumes or none."""
    each(mirror)
    seen = set()

    def look(event: Event) -> None:
        if isinstance(event, Published):
            seen.add(frozenset(name for name in mirror.tree() if ".7z." in name))

    await sync(mirror.settings, emit=look, now=mirror.clock, patience=HASTE)
    assert frozenset(VOLUMES) in seen
    assert seen <= {frozenset(), frozenset(VOLUMES)}


@pytest.mark.parametrize("publishing", ["whole", "each"])
async def test_a_reader_never_sees_two_generations_of_volumes(mirror: Mirrored, publishing: str) -> None:
    """A thread opens the folder and reads the first byte of each volume, while all of them are replaced again and again."""
    mirror.tables = {"all": {**EVERYTHING, "publish": publishing}}
    names = [file.name for file in SUB.files if ".7z." in file.name]
    generations = [catalogue(SUB)]
    generations += [catalogue(rewritten(SUB, f"generation {n}", updated=f"2026-11-{n:02d}")) for n in range(1, 8)]
    known = {
        tuple(read(sub.file(name).body) for name in names)  # type: ignore[union-attr]
        for made in generations
        for sub in made.resources[0].subs
    }
    await mirror.sync()
    folder, strange, done = mirror.root / "data" / "gpf" / "R" / "S", [], threading.Event()

    def watch() -> None:
        while not done.is_set():
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                found = tuple(_content(fd, name) for name in names)
            except FileNotFoundError:  # the old folder was taken away while it was read
                continue
            finally:
                os.close(fd)
            if found not in known:
                strange.append(found)

    reader = threading.Thread(target=watch)
    reader.start()
    try:
        for made in generations[1:]:
            mirror.upstream.catalogue = made
            assert (await mirror.sync()).exit_code == 0
    finally:
        done.set()
        reader.join()
    assert strange == []
    assert mirror.tree() == offered(generations[-1])


def _content(folder: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY, dir_fd=folder)
    with open(fd, "rb") as stream:
        return stream.read()


@pytest.mark.parametrize("publishing", ["whole", "each"])
async def test_foreign_files_in_our_folders_are_left_alone(mirror: Mirrored, publishing: str) -> None:
    mirror.tables = {"all": {**EVERYTHING, "publish": publishing}}
    await mirror.sync()
    folder = mirror.root / "data" / "gpf" / "R" / "S"
    (folder / "notes.txt").write_text("mine")
    (folder / "unpacked").mkdir()
    (folder / "unpacked" / "x").write_text("mine too")
    mirror.upstream.catalogue = catalogue(rewritten(SUB, "again", updated="2026-11-01"))
    assert (await mirror.sync()).exit_code == 0
    assert ((folder / "notes.txt").read_text(), (folder / "unpacked" / "x").read_text()) == ("mine", "mine too")
    assert offered(mirror.upstream.catalogue).items() <= mirror.tree().items()


async def test_a_file_of_somebody_else_in_the_way_is_set_aside(mirror: Mirrored) -> None:
    folder = mirror.root / "data" / "gpf" / "R" / "S"
    folder.mkdir(parents=True)
    (folder / "S.md5").write_text("not ours")
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == ALL
    (kept,) = (path for path in (mirror.root / ".staging" / "quarantine").rglob("S.md5"))
    assert kept.read_text() == "not ours"


async def test_a_file_that_upstream_drops_is_kept(mirror: Mirrored) -> None:
    await mirror.sync()
    mirror.upstream.catalogue = catalogue(replace(SUB, files=SUB.files[:-1], updated="2026-11-01"))
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == ALL


async def test_a_damaged_replacement_leaves_the_published_one(mirror: Mirrored) -> None:
    """Under `whole`, not one file of the new state appears until all of it is right; the old one stays, alias and all."""
    await mirror.sync()
    aliases = mirror.aliases()
    new = rewritten(SUB, "again", updated="2026-11-01")
    mirror.upstream.catalogue = catalogue(new)
    mirror.upstream.script("/download/R/S/S.7z.003", [faults.wrong_bytes()], forever=True)
    report = await mirror.sync()
    assert (report.exit_code, report.account.present, report.account.verified) == (1, 5, 0)
    assert (mirror.tree(), mirror.aliases()) == (ALL, aliases)
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(catalogue(new))


async def test_empty_sub_resources_and_empty_files_are_fine(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = catalogue(
        replace(SUB, id="EMPTY", files=()), replace(SUB, id="NULL", files=(SampleFile("n", b""),))
    )
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}


async def test_something_in_the_way_holds_back_only_what_it_is_in_the_way_of(mirror: Mirrored) -> None:
    """Here the place of the resource's folder is taken by a file: named, left alone, and the files fetched are kept."""
    (mirror.root / "data" / "gpf").mkdir(parents=True)
    (mirror.root / "data" / "gpf" / "R").write_text("not a folder")
    report = await mirror.sync()
    assert report.exit_code == 1
    assert all("in the way" in failure.reason and "gpf/R" in failure.reason for failure in report.failed)
    (mirror.root / "data" / "gpf" / "R").unlink()
    assert (await mirror.sync()).exit_code == 0
    assert "download" not in mirror.requests()
    assert mirror.tree() == ALL


async def test_a_folder_that_a_killed_run_had_taken_out_is_put_back_first(mirror: Mirrored) -> None:
    await mirror.sync()
    retired = mirror.root / ".staging" / "swap" / "old" / "gpf" / "R" / "S"
    retired.parent.mkdir(parents=True)
    (mirror.root / "data" / "gpf" / "R" / "S").rename(retired)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.requests() == {"capabilities": 1}
    assert mirror.tree() == ALL
    assert mirror.staged() == []
