"""Archives in a sync: tested before they are published, looked into afterwards, unpacked where a subscription wants it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.archives import seven_zip, volumes
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.store.query import Filters, Reader
from mirror.verifying import verify

from . import hostile
from .command import run, write_config
from .mirrored import Mirrored, offered
from .upstream import FakeUpstream, publish, withdraw

ONE = {"ONE/1_DONNEES/batiment.gpkg": b"g" * 5000, "ONE/2_META/lisezmoi.txt": b"one"}
TWO = {"TWO/voies.shp": b"s" * 700, "TWO/voies.dbf": b"d" * 300}
DAY = "2026-09-15"


def archive_sub(sub_id: str, files: Mapping[str, bytes], *, md5: bool = True) -> SampleSub:
    made = [SampleFile(name, data, rel="section" if ".00" in name else "alternate") for name, data in files.items()]
    if not md5:
        made = [replace(file, md5=None) for file in made]
    return SampleSub(sub_id, updated="2026-10-02", edition_date=DAY, files=tuple(made))


def zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


SINGLE = archive_sub("A_2026-09-15", {"A.7z": seven_zip(ONE, DAY)})
SPLIT = archive_sub("B_2026-09-15", volumes("B.7z", seven_zip({**ONE, **TWO}, DAY), 3))
CATALOGUE = Catalogue((SampleResource("PRODUCT", (SINGLE, SPLIT)),))
UNPACKED: dict[str, Mapping[str, Any]] = {"everything": {"resources": ["*"], "edition": "all", "extract": True}}


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    return Mirrored(tmp_path / "root", upstream)


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def extracted(mirror: Mirrored) -> dict[str, bytes]:
    return contents(mirror.root / "extracted" / "gpf")


def under(sub: str, members: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"PRODUCT/{sub}/{name}": data for name, data in members.items()}


def of(sub: SampleSub) -> Catalogue:
    return Catalogue((SampleResource("PRODUCT", (sub,)),))


# -- what is inside


async def test_what_is_inside_archives_is_in_the_index(mirror: Mirrored) -> None:
    """Members with sizes and types, of single archives and of volumes; nothing is unpacked for it."""
    assert (await mirror.sync()).exit_code == 0
    rows = mirror.rows(
        "SELECT a.archive, m.member, m.size, m.type FROM members m JOIN archives a ON a.id = m.archive_id ORDER BY 1, 2"
    )
    assert rows == [
        ("A.7z", "ONE/1_DONNEES/batiment.gpkg", 5000, "application/geopackage+sqlite3"),
        ("A.7z", "ONE/2_META/lisezmoi.txt", 3, "text/plain"),
        ("B.7z", "ONE/1_DONNEES/batiment.gpkg", 5000, "application/geopackage+sqlite3"),
        ("B.7z", "ONE/2_META/lisezmoi.txt", 3, "text/plain"),
        ("B.7z", "TWO/voies.dbf", 300, "application/x-dbf"),
        ("B.7z", "TWO/voies.shp", 700, "application/x-shapefile"),
    ]
    assert not (mirror.root / "extracted").exists()


async def test_a_query_finds_files_by_what_is_inside(mirror: Mirrored) -> None:
    """By the path in the archive or its last part, whatever the case; all volumes of a split archive are named."""
    await mirror.sync()
    reader = Reader(mirror.root)

    def found(*members: str) -> list[str]:
        return [file.file for file in reader.files(Filters(members=members))]

    assert found("*.GPKG") == ["A.7z", "B.7z.001", "B.7z.002", "B.7z.003"]
    assert found("voies.shp") == ["B.7z.001", "B.7z.002", "B.7z.003"]
    assert found("voies.*", "lisezmoi.txt") == ["A.7z", "B.7z.001", "B.7z.002", "B.7z.003"]
    assert found("TWO/*.dbf") == ["B.7z.001", "B.7z.002", "B.7z.003"]
    assert found("*.tif") == []
    (first, *_) = reader.files(Filters(members=("voies.*",)))
    assert set(first.as_json()["members"]) == set(TWO)
    reader.close()


def test_the_command_finds_members_too(tmp_path: Path) -> None:
    with FakeUpstream(CATALOGUE).in_thread() as upstream:
        write_config(tmp_path, upstream.url, 'all]\nresources = ["*"]')
        assert run("sync", cwd=tmp_path).code == 0
    done = run("query", "--member", "voies.shp", "--json", cwd=tmp_path)
    assert [(row["file"], row["members"]) for row in done.json] == [(f"B.7z.00{n}", ["TWO/voies.shp"]) for n in (1, 2, 3)]
    assert "members" not in run("query", "--json", cwd=tmp_path).json[0]


async def test_what_an_archive_held_goes_with_it(mirror: Mirrored) -> None:
    await mirror.sync()
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.7z": seven_zip(TWO, DAY)}))
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code in (0, 4)
    members = mirror.rows("SELECT m.member FROM members m JOIN archives a ON a.id = m.archive_id WHERE a.archive = 'A.7z'")
    assert {row[0] for row in members} == set(TWO)


async def test_what_is_no_archive_is_published_all_the_same(mirror: Mirrored) -> None:
    """The bytes are as upstream lists them; that they are no archive is recorded."""
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.7z": b"not an archive at all"}))
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    ((error,),) = mirror.rows("SELECT error FROM archives")
    assert error


# -- tested before they are published


async def test_without_an_md5_an_archive_is_tested_before_it_is_published(mirror: Mirrored) -> None:
    """A byte in the middle is wrong, the length is right, and the feed has no MD5: only the test can tell."""
    broken = bytearray(seven_zip({"a.gpkg": bytes(range(256)) * 40}, DAY))
    broken[60] ^= 0xFF
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.7z": bytes(broken)}, md5=False))
    report = await mirror.sync()
    assert report.exit_code == 1
    assert mirror.tree() == {}
    (failure,) = report.failed
    assert "upstream is wrong: A.7z:" in failure.reason
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.7z": seven_zip(ONE, DAY)}, md5=False))
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_an_archive_that_cannot_be_tested_is_published(mirror: Mirrored) -> None:
    """Encrypted, packed as no engine here knows, or a bomb: nothing shows that it is not what upstream meant."""
    unknown = hostile.seven_zip([hostile.Item("x", b"1")], coder=(b"\x04\xf7\x11\x04", b""))
    files = {"A.7z": unknown, "B.zip": zipped({"zeros": bytes(1 << 20)})}
    mirror.limits["max_extract_ratio"] = 10.0
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", files, md5=False))
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    assert (await verify(mirror.settings, full=True)).exit_code == 0


async def test_volumes_are_tested_as_a_whole(mirror: Mirrored) -> None:
    """Each volume has its length and MD5, and one is of another archive: with test_archives, none appears."""
    mirror.limits["test_archives"] = True
    mirror.tables = {"all": {"resources": ["*"], "publish": "each"}}
    mixed = volumes("B.7z", seven_zip({**ONE, **TWO}, DAY), 3)
    mixed["B.7z.002"] = bytes(len(mixed["B.7z.002"]))
    mirror.upstream.catalogue = of(archive_sub("B_2026-09-15", {**mixed, "notes.txt": b"fine"}))
    report = await mirror.sync()
    assert report.exit_code == 1
    assert set(mirror.tree()) == {"PRODUCT/B_2026-09-15/notes.txt"}
    assert {failure.file for failure in report.failed} == set(mixed)


async def test_with_an_md5_archives_are_tested_only_if_that_is_wanted(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.7z": b"7z\xbc\xaf\x27\x1c broken"}))
    assert (await mirror.sync()).exit_code == 0
    mirror.limits["test_archives"] = True
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.7z": b"7z\xbc\xaf\x27\x1c broken too"}))
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 1


# -- unpacked


async def test_archives_are_unpacked_where_that_is_wanted(mirror: Mirrored) -> None:
    mirror.tables = UNPACKED
    assert (await mirror.sync()).exit_code == 0
    assert extracted(mirror) == under("A_2026-09-15", ONE) | under("B_2026-09-15", {**ONE, **TWO})
    assert mirror.staged() == []


async def test_unpacking_is_done_once(mirror: Mirrored) -> None:
    mirror.tables = UNPACKED
    await mirror.sync()
    before = (mirror.root / "extracted/gpf/PRODUCT/A_2026-09-15").stat().st_ino
    report = await mirror.sync()
    assert (report.exit_code, report.requests) == (0, 1)
    assert (mirror.root / "extracted/gpf/PRODUCT/A_2026-09-15").stat().st_ino == before


async def test_a_wish_to_unpack_takes_effect_at_once(mirror: Mirrored) -> None:
    """What was mirrored before is unpacked without a request for a file."""
    await mirror.sync()
    mirror.tables = UNPACKED
    report = await mirror.sync()
    assert (report.exit_code, report.requests, report.done["bytes"]) == (0, 1, 0)
    assert set(extracted(mirror)) == set(under("A_2026-09-15", ONE) | under("B_2026-09-15", {**ONE, **TWO}))


async def test_what_was_unpacked_and_is_gone_comes_back(mirror: Mirrored) -> None:
    mirror.tables = UNPACKED
    await mirror.sync()
    before = extracted(mirror)
    (mirror.root / "extracted").rename(mirror.root / "moved-away")
    assert (await mirror.sync()).exit_code == 0
    assert extracted(mirror) == before


async def test_a_replaced_archive_is_unpacked_anew_and_whole(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = of(SINGLE)
    mirror.tables = UNPACKED
    await mirror.sync()
    mirror.upstream.catalogue = of(replace(archive_sub("A_2026-09-15", {"A.7z": seven_zip(TWO, DAY)}), updated="2026-10-09"))
    assert (await mirror.sync()).exit_code == 0
    assert extracted(mirror) == under("A_2026-09-15", TWO)


async def test_what_is_no_longer_wanted_unpacked_goes_when_its_archive_changes(mirror: Mirrored) -> None:
    """It stays as long as it is true, and never stands beside an archive that it was not made of."""
    mirror.upstream.catalogue = of(SINGLE)
    mirror.tables = UNPACKED
    await mirror.sync()
    mirror.tables = {"everything": {"resources": ["*"], "edition": "all"}}
    await mirror.sync()
    assert extracted(mirror) == under("A_2026-09-15", ONE)
    mirror.upstream.catalogue = of(replace(archive_sub("A_2026-09-15", {"A.7z": seven_zip(TWO, DAY)}), updated="2026-10-09"))
    assert (await mirror.sync()).exit_code == 0
    assert extracted(mirror) == {}


async def test_several_archives_are_unpacked_into_one_folder(mirror: Mirrored) -> None:
    """A file that two of them hold alike is there once."""
    notes = {"COMMON/notes.txt": b"the same"}
    files = {"A.7z": seven_zip({**ONE, **notes}, DAY), "B.7z": seven_zip({**TWO, **notes}, DAY)}
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", files))
    mirror.tables = UNPACKED
    assert (await mirror.sync()).exit_code == 0
    assert extracted(mirror) == under("A_2026-09-15", {**ONE, **TWO, **notes})


async def test_archives_that_contradict_one_another_are_not_unpacked(mirror: Mirrored) -> None:
    files = {"A.7z": seven_zip({"x/y.txt": b"one"}, DAY), "B.7z": seven_zip({"x/y.txt": b"two"}, DAY)}
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", files))
    mirror.tables = UNPACKED
    report = await mirror.sync()
    assert report.exit_code == 1
    assert "x/y.txt" in report.failed[0].reason
    assert extracted(mirror) == {}
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_an_archive_that_cannot_be_unpacked_is_said_by_every_run(mirror: Mirrored) -> None:
    """Its bytes are published as upstream has them; the wish is not fulfilled, so no run ends with 0 until it is."""
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.zip": zipped({"../escape.txt": b"x"})}))
    mirror.tables = UNPACKED
    for _ in range(2):
        report = await mirror.sync()
        assert (report.outcome, report.exit_code) == ("incomplete", 1)
        assert "could not be unpacked" in report.reason
        assert "A_2026-09-15" in report.failed[0].reason
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    assert extracted(mirror) == {}
    assert not list(mirror.root.rglob("escape.txt"))
    assert mirror.staged() == []
    mirror.upstream.catalogue = of(replace(SINGLE, updated="2026-10-09"))
    assert (await mirror.sync()).exit_code == 0
    assert extracted(mirror) == under("A_2026-09-15", ONE)


async def test_a_bomb_is_not_unpacked(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.7z": seven_zip({"zeros.bin": bytes(20_000_000)}, DAY)}))
    mirror.tables = UNPACKED
    report = await mirror.sync()
    assert report.exit_code == 1
    assert extracted(mirror) == {}
    mirror.limits["max_extract_ratio"] = 100_000
    assert (await mirror.sync()).exit_code == 0
    assert set(extracted(mirror)) == {"PRODUCT/A_2026-09-15/zeros.bin"}


async def test_a_withdrawn_archive_stays_unpacked(mirror: Mirrored) -> None:
    mirror.tables = UNPACKED
    await mirror.sync()
    before = extracted(mirror)
    mirror.upstream.catalogue = withdraw(CATALOGUE, "PRODUCT", SPLIT.id)
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert extracted(mirror) == before


async def test_status_says_what_is_not_unpacked(tmp_path: Path) -> None:
    with FakeUpstream(of(archive_sub("A_2026-09-15", {"A.7z": b"no archive"}))).in_thread() as upstream:
        write_config(tmp_path, upstream.url, 'all]\nresources = ["*"]\nextract = true')
        assert run("sync", cwd=tmp_path).code == 1
    told = run("status", cwd=tmp_path)
    assert "not unpacked: PRODUCT/A_2026-09-15: A.7z: " in told.out
    assert json.loads(run("status", "--json", cwd=tmp_path).out)["not_unpacked"][0]["sub_resource"] == "A_2026-09-15"


async def test_a_new_edition_is_unpacked_beside_the_old_one(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = of(SINGLE)
    mirror.tables = UNPACKED
    await mirror.sync()
    newer = replace(archive_sub("A_2026-12-15", {"A2.7z": seven_zip(TWO, DAY)}), edition_date="2026-12-15", updated="2026-12-16")
    mirror.upstream.catalogue = publish(of(SINGLE), "PRODUCT", newer)
    assert (await mirror.sync()).exit_code == 0
    assert extracted(mirror) == under("A_2026-09-15", ONE) | under("A_2026-12-15", TWO)


async def test_a_full_verification_looks_inside_archives(mirror: Mirrored) -> None:
    """The bytes are as upstream published them, with the right MD5, and the archive is broken: a fault that no repair mends."""
    broken = bytearray(seven_zip({"a.gpkg": bytes(range(256)) * 40}, DAY))
    broken[60] ^= 0xFF
    mirror.upstream.catalogue = of(archive_sub("A_2026-09-15", {"A.7z": bytes(broken), "B.7z": seven_zip(ONE, DAY)}))
    assert (await mirror.sync()).exit_code == 0
    assert (await verify(mirror.settings)).exit_code == 0
    before = mirror.tree()
    for repair in (False, True):
        findings = await verify(mirror.settings, full=True, repair=repair, now=mirror.clock)
        (fault,) = findings.all_faults
        assert (fault.file, fault.repaired, findings.exit_code) == ("A.7z", False, 1)
        assert "broken inside, as upstream published it" in fault.problem
        assert mirror.tree() == before


async def test_volumes_are_verified_as_one_archive(mirror: Mirrored) -> None:
    await mirror.sync()
    assert (await verify(mirror.settings, full=True)).exit_code == 0
