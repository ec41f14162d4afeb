"""`prune` deletes only what is ours, with all that belongs to it: aliases and what was unpacked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.demo.samples import sample_catalogue
from mirror.verifying import verify

from .mirrored import Mirrored, only, tree_of
from .pruned import (
    ALL,
    ALPHA,
    CATALOGUE,
    KEEPING,
    LATEST,
    MIDDLE,
    NEWEST,
    OLDEST,
    deleted,
    folder,
    mirrored,
    reasons,
    unpack,
)
from .upstream import FakeUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    return await mirrored(tmp_path / "root", upstream)


# -- only what is ours


async def test_foreign_files_stay_and_are_reported(mirror: Mirrored) -> None:
    """A file, a folder and a link; our own files in the same folder go."""
    place = folder(mirror)
    (place / "notes.txt").write_bytes(b"mine")
    (place / "work").mkdir()
    (place / "work" / "layer.gpkg").write_bytes(b"mine, too")
    (place / "link").symlink_to(mirror.root)
    report = await mirror.prune()
    assert OLDEST.id in deleted(report)
    assert report.foreign == [str(place / name) for name in ("link", "notes.txt", "work")]
    assert sorted(path.name for path in place.iterdir()) == ["link", "notes.txt", "work"]
    assert (place / "work" / "layer.gpkg").read_bytes() == b"mine, too"
    assert mirror.staged() == []
    assert (await verify(mirror.settings)).foreign == [str(place)]
    assert (await mirror.sync()).exit_code == 0


async def test_what_has_taken_the_place_of_a_file_is_not_ours(mirror: Mirrored) -> None:
    """A link or a folder under the name of a published file."""
    outside = mirror.root.parent / "outside"
    outside.write_bytes(b"not of the mirror")
    first, second = (folder(mirror) / file.name for file in OLDEST.files)
    first.unlink()
    first.symlink_to(outside)
    second.unlink()
    second.mkdir()
    planned, report = await mirror.prune(dry_run=True), await mirror.prune()
    assert report.foreign == planned.foreign == [str(first), str(second)]
    assert first.is_symlink()
    assert outside.read_bytes() == b"not of the mirror"
    assert mirror.rows("SELECT count(*) FROM stored_files") == [(12,)]


@pytest.mark.parametrize("level", [0, 1, 2], ids=["sub-resource", "resource", "upstream"])
async def test_links_are_not_followed_out_of_the_tree(mirror: Mirrored, level: int) -> None:
    """A folder was moved to another disk and a link put in its place: what is behind it stays, and is still in the index."""
    place = [folder(mirror), *folder(mirror).parents][level]
    elsewhere = mirror.root.parent / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = tree_of(elsewhere)
    report = await mirror.prune()
    assert tree_of(elsewhere) == before
    assert OLDEST.id not in deleted(report)
    assert mirror.rows("SELECT stored_files FROM sub_resources WHERE sub_resource = ?", OLDEST.id) == [(2,)]
    if level == 0:
        assert (report.exit_code, "is a link or a file" in reasons(report)) == (0, True)


async def test_a_link_in_the_place_of_the_trash_is_not_followed(mirror: Mirrored) -> None:
    """Nothing can be moved out: exit code 1 with the reason, and everything is as it was."""
    elsewhere = mirror.root.parent / "elsewhere"
    elsewhere.mkdir()
    (mirror.root / ".staging" / "trash").symlink_to(elsewhere)
    report = await mirror.prune()
    assert (report.outcome, report.exit_code, deleted(report)) == ("incomplete", 1, set())
    assert "cannot be moved" in reasons(report)
    assert list(elsewhere.iterdir()) == []
    assert mirror.tree() == ALL
    assert mirror.rows("SELECT count(*) FROM files WHERE path IS NOT NULL") == [(36,)]
    assert mirror.rows("SELECT count(*) FROM leaving") == [(0,)]
    (mirror.root / ".staging" / "trash").unlink()
    assert (await mirror.prune()).exit_code == 0


async def test_what_cannot_be_moved_in_the_middle_is_put_back(mirror: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our files leave a shared folder one by one, and something is in the way of the second; what is unpacked comes back, too."""
    (folder(mirror) / "notes.txt").write_bytes(b"mine")
    unpacked = unpack(mirror, OLDEST)
    in_the_way = mirror.root / ".staging" / "trash" / "data" / "gpf" / ALPHA.id / OLDEST.id / OLDEST.files[1].name / "x"

    def obstruct(name: str) -> None:
        if name == "leaving: file out":
            in_the_way.mkdir(parents=True)

    monkeypatch.setattr("mirror.steps.on_step", obstruct)
    report = await mirror.prune()
    assert (report.outcome, report.exit_code) == ("incomplete", 1)
    assert len(deleted(report)) == 11
    assert "cannot be moved" in reasons(report)
    assert only(mirror.tree(), OLDEST.files[0].name, OLDEST.files[1].name) == only(ALL, OLDEST.id)
    assert (folder(mirror) / "notes.txt").exists()
    assert (unpacked / "layers" / "a.gpkg").read_bytes() == b"unpacked"
    assert len(mirror.rows("SELECT 1 FROM files WHERE path IS NOT NULL AND sub_resource = ?", OLDEST.id)) == 2
    assert mirror.rows("SELECT count(*) FROM leaving") == [(0,)]


async def test_what_somebody_adds_in_the_last_moment_stays(mirror: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the rename, as far as the folder is concerned."""
    trash = mirror.root / ".staging" / "trash" / "data"

    def add(name: str) -> None:
        if name == "leaving: folder out":
            (trash / "gpf" / ALPHA.id / OLDEST.id / "notes.txt").write_bytes(b"mine")
            monkeypatch.undo()

    monkeypatch.setattr("mirror.steps.on_step", add)
    mirror.tables = {"one": {**KEEPING, "resources": ["BDALPHA"], "zones": ["D038"], "keep": 2}}
    report = await mirror.prune()
    assert deleted(report) == {OLDEST.id}
    assert report.foreign == [str(folder(mirror) / "notes.txt")]
    assert (folder(mirror) / "notes.txt").read_bytes() == b"mine"


async def test_files_that_are_gone_already_only_lose_their_rows(mirror: Mirrored) -> None:
    """Somebody made room by hand, as one had to before there was a prune."""
    for path in folder(mirror).iterdir():
        path.unlink()
    folder(mirror).rmdir()
    assert OLDEST.id in deleted(await mirror.prune())
    assert mirror.tree() == NEWEST
    assert mirror.rows("SELECT count(*) FROM stored_files") == [(12,)]


async def test_an_alias_of_a_series_that_is_no_more_goes_with_its_folder(mirror: Mirrored) -> None:
    """No link in `current/` leads nowhere, and those of others stay."""
    aliases = mirror.root / "current" / "gpf"
    (aliases / "old-name").symlink_to(f"../../data/gpf/{ALPHA.id}/{OLDEST.id}")
    (aliases / "mine").symlink_to("../../data/gpf/somewhere")
    await mirror.prune()
    assert sorted(path.name for path in aliases.iterdir() if not path.exists()) == ["mine"]
    assert not (aliases / "old-name").is_symlink()


async def test_an_alias_that_lags_behind_is_put_right_first(mirror: Mirrored) -> None:
    """A run was killed between the row and the alias."""
    alias = mirror.root / "current" / "gpf" / "BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"
    right = os.readlink(alias)
    alias.unlink()
    alias.symlink_to(f"../../data/gpf/{ALPHA.id}/{OLDEST.id}")
    await mirror.prune()
    assert os.readlink(alias) == right


async def test_what_is_unpacked_goes_with_its_archives(mirror: Mirrored) -> None:
    """With the rows of archives, members and extraction; a folder there that is not in the index stays."""
    unpack(mirror, OLDEST)
    unpack(mirror, LATEST)
    theirs = unpack(mirror, MIDDLE, known=False)
    planned, report = await mirror.prune(dry_run=True), await mirror.prune()
    assert report.foreign == planned.foreign == [str(theirs)]
    assert sorted(path.name for path in theirs.parent.iterdir()) == [MIDDLE.id, LATEST.id]
    for table in ("extractions", "archives", "members"):
        assert mirror.rows(f"SELECT count(*) FROM {table}") == [(1,)]  # noqa: S608 - a constant
    assert mirror.tree() == NEWEST
    assert mirror.staged() == []


async def test_what_a_sync_has_unpacked_goes_with_its_archives(tmp_path: Path) -> None:
    """Real archives; a sync after the prune unpacks nothing again."""
    async with FakeUpstream(sample_catalogue()) as upstream:
        wanted = {"resources": ["BDTOPO"], "extract": True}
        mirror = Mirrored(tmp_path / "root", upstream, one={**wanted, "edition": "all"})
        mirror.limits.update(max_delete_ratio=1, grace="0s")
        assert (await mirror.sync()).exit_code == 0
        mirror.tables = {"one": {**wanted, "keep": 1}}
        gone = deleted(await mirror.prune())
        assert gone
        for _ in range(2):
            data, unpacked = (
                {path.name for path in (mirror.root / base / "gpf" / "BDTOPO").iterdir()} for base in ("data", "extracted")
            )
            assert data == unpacked
            assert data.isdisjoint(gone)
            for table in ("archives", "extractions", "stored_files"):
                query = f"SELECT DISTINCT s.sub_resource FROM {table} t JOIN sub_resources s ON s.id = t.sub_resource_id"  # noqa: S608
                assert {name for (name,) in mirror.rows(query)} == data
            assert (await mirror.sync()).exit_code == 0


async def test_a_reader_that_has_a_file_open_reads_it_to_its_end(mirror: Mirrored) -> None:
    path = folder(mirror) / OLDEST.files[0].name
    with path.open("rb") as open_file:
        await mirror.prune()
        assert not path.exists()
        assert hashlib.md5(open_file.read(), usedforsecurity=False).hexdigest() in ALL.values()
