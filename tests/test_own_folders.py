"""What people, or attackers, put into the folders that are the program's own: nothing of theirs is touched, and nothing hangs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.demo.archives import seven_zip
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.errors import GuardRefused
from mirror.store.index import FILE
from mirror.sync import Report
from mirror.verifying import verify

from .mirrored import Mirrored, offered
from .upstream import FakeUpstream

DAY = "2026-09-15"
SUB = SampleSub(
    "SUB",
    updated="2026-10-02",
    edition_date=DAY,
    files=(SampleFile("A.7z", seven_zip({"a.txt": b"one"}, DAY)), SampleFile("b", b"b")),
)
CATALOGUE = Catalogue((SampleResource("PRODUCT", (SUB,)),))


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Mirrored]:
    """A mirror that has been synced and unpacked once."""
    async with FakeUpstream(CATALOGUE) as fake:
        made = Mirrored(tmp_path / "root", fake, all={"resources": ["*"], "extract": True})
        assert (await made.sync()).exit_code == 0
        yield made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else, in the shape that would be swept, exchanged or moved."""
    place = tmp_path / "outside"
    (place / "PRODUCT" / "SUB" / "deep").mkdir(parents=True)
    (place / "PRODUCT" / "SUB" / "thesis.txt").write_bytes(b"years of work")
    (place / "PRODUCT" / "SUB" / "deep" / "more.txt").write_bytes(b"more")
    return place


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def refused(mirror: Mirrored, path: Path) -> None:
    """A run that names what is in the way and does nothing."""
    report = await outcome(mirror)
    assert (report.outcome, report.exit_code) == ("refused", 4)
    assert str(path) in report.reason
    assert "\n" not in report.reason


async def outcome(mirror: Mirrored) -> Report:
    mirror.upstream.catalogue = Catalogue((SampleResource("PRODUCT", (replace(SUB, updated="2026-10-09"),)),))
    return await mirror.sync()


@pytest.mark.parametrize(
    "place",
    [
        ".staging/parts/gpf",
        ".staging/ready/gpf",
        ".staging/swap/old",
        ".staging/swap/new",
        ".staging/unpack/gpf",
        ".staging/quarantine",
        "extracted/gpf",
        "current/gpf",
    ],
)
async def test_a_link_in_a_folder_of_ours_is_not_followed(mirror: Mirrored, outside: Path, place: str) -> None:
    """Neither read, swept, moved nor written to: the run is refused with its path, and goes on once it is gone."""
    link = mirror.root / place
    before = contents(outside)
    if link.is_dir():
        link.rename(mirror.root.parent / "moved")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    await refused(mirror, link)
    assert contents(outside) == before
    link.unlink()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)


@pytest.mark.parametrize("place", [".staging/parts/gpf/PRODUCT/SUB/A.7z.part.json", ".staging/ready/gpf/PRODUCT/SUB/A.7z"])
async def test_a_pipe_in_staging_is_not_waited_for(mirror: Mirrored, place: str) -> None:
    pipe = mirror.root / place
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    await refused(mirror, pipe)


async def test_a_lock_that_is_a_link_is_not_written_to(mirror: Mirrored, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    lock = mirror.root / ".staging" / "lock"
    lock.unlink()
    lock.symlink_to(precious)
    report = await mirror.sync()
    assert report.exit_code == 4
    assert precious.read_bytes() == b"precious"


async def test_staging_that_is_a_link_is_refused(mirror: Mirrored, outside: Path) -> None:
    staging = mirror.root / ".staging"
    staging.rename(mirror.root / "elsewhere")
    staging.symlink_to(outside)
    before = contents(outside)
    assert (await mirror.sync()).exit_code == 4
    with pytest.raises(GuardRefused):
        await verify(mirror.settings, repair=True)
    assert contents(outside) == before


async def test_a_folder_of_somebody_in_the_place_of_an_unpacked_one_is_set_aside(mirror: Mirrored) -> None:
    """The index knows nothing of it: it is kept in quarantine, not replaced."""
    with closing(sqlite3.connect(mirror.root / FILE)) as sql:
        sql.execute("DELETE FROM extractions")
        sql.commit()
    place = mirror.root / "extracted" / "gpf" / "PRODUCT" / "SUB"
    (place / "thesis.txt").write_bytes(b"years of work")
    assert (await mirror.sync()).exit_code == 0
    assert contents(place) == {"a.txt": b"one"}
    (kept,) = (mirror.root / ".staging" / "quarantine").rglob("thesis.txt")
    assert kept.read_bytes() == b"years of work"


async def test_what_is_repaired_is_unpacked(mirror: Mirrored) -> None:
    """An archive that had rotted could not be unpacked; the sound one that is fetched for it, of the same MD5, is."""
    mirror.tables = {"all": {"resources": ["*"]}}
    archive = mirror.root / "data" / "gpf" / "PRODUCT" / "SUB" / "A.7z"
    content = bytearray(archive.read_bytes())
    content[40] ^= 0xFF
    archive.write_bytes(bytes(content))
    with closing(sqlite3.connect(mirror.root / FILE)) as sql:
        sql.execute("DELETE FROM extractions")
        sql.commit()
    mirror.tables = {"all": {"resources": ["*"], "extract": True}}
    assert (await mirror.sync()).exit_code == 1
    findings = await verify(mirror.settings, full=True, repair=True, now=mirror.clock)
    assert findings.faults[0].repaired
    assert (await mirror.sync()).exit_code == 0
    assert contents(mirror.root / "extracted" / "gpf" / "PRODUCT" / "SUB") == {"a.txt": b"one"}
