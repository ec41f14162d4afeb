"""A file that stays wrong: what it costs from run to run, and what it holds back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.demo.archives import seven_zip
from mirror.demo.catalogue import SampleFile

from .mirrored import EVERYTHING, Mirrored, offered, volumes, without
from .parked import ALL, BAD, FIRST, GOOD, NAME, OTHER, PATH, WHOLE_TRY, entry, wrong
from .upstream import FakeUpstream, publish, replace_file


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(BAD) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    return Mirrored(tmp_path / "root", upstream)


@pytest.fixture
async def parked(mirror: Mirrored) -> Mirrored:
    """A mirror that has found the file wrong twice, and so leaves it alone for a quarter of an hour."""
    for _ in range(2):
        assert (await mirror.sync()).exit_code == 1
        assert mirror.paths("download").count(PATH) == WHOLE_TRY
    return mirror


# -- what it costs


async def test_the_tries_of_a_wrong_file_become_rarer(mirror: Mirrored) -> None:
    """A minute before the next try a run makes its usual one request; on the minute it lists the file again and tries."""
    for delay in [timedelta(0), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(hours=16)]:
        if delay:
            mirror.clock.at += delay - timedelta(minutes=1)
            report = await mirror.sync()
            assert mirror.requests() == {"capabilities": 1}
            assert (report.exit_code, report.done["bytes"]) == (1, 0)
            mirror.clock.pass_(minutes=1)
        await mirror.sync()
        assert mirror.paths("download").count(PATH) == WHOLE_TRY
        assert delay == timedelta(0) or mirror.requests()["sub-resource"] == 1
        if not delay:
            await mirror.sync()  # the first failure does not keep the next run from trying


async def test_two_months_of_runs_every_twelve_hours_cost_thirteen_tries(parked: Mirrored) -> None:
    """Of 120 runs: the tries of the end lie a week apart."""
    tries = 0
    end = parked.clock.at + timedelta(days=60)
    while parked.clock.at < end:
        parked.clock.pass_(hours=12)
        await parked.sync()
        tries += parked.paths("download").count(PATH) // WHOLE_TRY
    assert tries == 13


async def test_until_its_next_try_a_run_costs_no_request_more(parked: Mirrored) -> None:
    report = await parked.sync()
    assert parked.requests() == {"capabilities": 1}
    assert report.planned == {"add": 0, "replace": 0, "keep": 22, "bytes": 0}
    assert (report.outcome, report.exit_code) == ("incomplete", 1)
    assert (report.account.expected, report.account.present, report.account.verified) == (24, 22, 22)
    (failure,) = report.failed
    assert (failure.file, failure.attempts) == (NAME, 0)
    assert re.match(r"parked until 2027-01-01 12:15 UTC after 2 runs: upstream is wrong: MD5 is \w+, 0+ is listed$", failure.reason)


async def test_a_run_that_did_not_try_writes_nothing_about_the_file(parked: Mirrored) -> None:
    rows = parked.rows("SELECT * FROM parked_files"), parked.rows("SELECT count(*) FROM events")
    parked.clock.pass_(minutes=5)
    await parked.sync()
    assert (parked.rows("SELECT * FROM parked_files"), parked.rows("SELECT count(*) FROM events")) == rows


@pytest.mark.parametrize("md5", [True, False])
async def test_nothing_is_fetched_twice_for_a_sub_resource_that_is_held_back(mirror: Mirrored, md5: bool) -> None:
    """What else is in it comes once, stays in staging unread, and is published from there when the wrong file is right.

    Without an MD5 nothing can know it again: it is fetched when the wrong file is tried, and with the publication.
    """
    other = FIRST.files[1] if md5 else replace(FIRST.files[1], md5=None)
    whole = replace(FIRST, files=(FIRST.files[0], other))
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", wrong(whole))
    path = f"/download/BDALPHA/{FIRST.id}/{other.name}"
    fetched = 0
    for _ in range(2):
        await mirror.sync()
        fetched += mirror.paths("download").count(path)
    assert fetched == (1 if md5 else 2)
    for _ in range(3):
        mirror.clock.pass_(minutes=4)
        await mirror.sync()
        assert "download" not in mirror.requests()
        assert [path.name for path in (mirror.root / ".staging" / "ready").rglob("*.bin")] == [other.name]
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", whole)
    mirror.clock.pass_(minutes=4)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.paths("download") == sorted([PATH, *([] if md5 else [path])])
    assert mirror.tree() == ALL
    assert mirror.staged() == []


async def test_an_archive_that_is_as_listed_and_broken_inside_is_fetched_once(mirror: Mirrored) -> None:
    """It is tested again when its time comes; to fetch the same bytes once more would bring the same."""
    broken = bytearray(seven_zip({"a.gpkg": bytes(range(256)) * 40}, "2026-09-15"))
    broken[60] ^= 0xFF
    sub = replace(FIRST, id="BDALPHA_BROKEN", files=(SampleFile("a.7z", bytes(broken)), SampleFile("a.md5", b"sums")))
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", sub)
    mirror.limits["test_archives"] = True
    fetched = 0
    for _ in range(8):
        assert (await mirror.sync()).exit_code == 1
        fetched += sum("BROKEN" in path for path in mirror.paths("download"))
        mirror.clock.pass_(minutes=20)
    assert fetched == 2
    assert mirror.tree() == ALL
    assert mirror.rows("SELECT file, failed_runs FROM parked_files") == [("a.7z", 4)]
    whole = replace(sub, files=(SampleFile("a.7z", seven_zip({"a.gpkg": b"a"}, "2026-09-15")), sub.files[1]), updated="2026-12-01")
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", whole)
    assert (await mirror.sync()).exit_code == 0
    assert [path.split("/")[-1] for path in mirror.paths("download")] == ["a.7z"]
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_what_went_bad_in_staging_meanwhile_is_not_published(parked: Mirrored) -> None:
    """It is hashed before it is published, however long it has waited."""
    (staged,) = (parked.root / ".staging" / "ready").rglob("*.bin")
    staged.write_bytes(b"x" * staged.stat().st_size)
    parked.upstream.catalogue = GOOD
    parked.clock.pass_(minutes=20)
    assert (await parked.sync()).exit_code == 0
    assert parked.tree() == ALL


async def test_a_refused_name_does_not_make_the_rest_be_read_each_time(mirror: Mirrored) -> None:
    """Neither fetched nor hashed again: `hold` in the plan."""
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", replace(FIRST, files=(*FIRST.files, SampleFile("CON", b"evil"))))
    await mirror.sync()
    assert (await mirror.sync()).done["resumed_bytes"] == 0
    assert mirror.requests() == {"capabilities": 1}
    _, actions = await mirror.plan()
    assert [action.action for action in actions] == ["hold", "hold", "park"]
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", replace(FIRST, updated="2026-12-01"))
    assert (await mirror.sync()).exit_code == 0
    assert "download" not in mirror.requests()
    assert mirror.tree() == ALL


# -- what it holds back


async def test_one_wrong_file_holds_back_its_own_sub_resource_and_no_other(parked: Mirrored) -> None:
    """Neither what is there nor what is published later on."""
    assert parked.tree() == without(ALL, FIRST.id)
    for day in ("2026-12-01", "2026-12-02"):
        new = SampleFile(OTHER.files[0].name, f"of {day}".encode())
        parked.upstream.catalogue = replace_file(BAD, "BDBRAVO", OTHER.id, new, updated=day)
        report = await parked.sync()
        assert (report.exit_code, report.done["replace"]) == (1, 1)
        assert parked.tree() == without(offered(parked.upstream.catalogue), FIRST.id)
    assert parked.paths("download") == [f"/download/BDBRAVO/{OTHER.id}/{OTHER.files[0].name}"]


async def test_several_wrong_files_have_times_of_their_own(mirror: Mirrored) -> None:
    """One that is found wrong later is tried at its own time."""
    await mirror.sync()
    await mirror.sync()
    mirror.upstream.catalogue = publish(BAD, "BDBRAVO", wrong(replace(OTHER, updated="2026-12-01")))
    mirror.clock.pass_(minutes=10)
    for _ in range(2):
        await mirror.sync()
        assert {path.split("/")[2] for path in mirror.paths("download")} == {"BDBRAVO"}
    mirror.clock.pass_(minutes=5)
    await mirror.sync()
    assert mirror.paths("download") == [PATH] * WHOLE_TRY


async def test_published_each_it_holds_back_itself_only(mirror: Mirrored) -> None:
    mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}
    for _ in range(3):
        await mirror.sync()
    assert mirror.tree() == {path: md5 for path, md5 in ALL.items() if not path.endswith(NAME)}
    assert mirror.requests() == {"capabilities": 1}


async def test_published_each_it_holds_back_the_volumes_of_its_archive(mirror: Mirrored) -> None:
    """They are fetched once; the side file beside them is published."""
    sub = volumes("BDALPHA_V", zone_files=[SampleFile("BDALPHA_V.md5", b"sums")])
    good = publish(GOOD, "BDALPHA", sub)
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", wrong(sub, 1))
    mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}
    for _ in range(2):
        await mirror.sync()
    assert mirror.tree() == {**ALL, "BDALPHA/BDALPHA_V/BDALPHA_V.md5": offered(good)["BDALPHA/BDALPHA_V/BDALPHA_V.md5"]}
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}
    mirror.upstream.catalogue = good
    mirror.clock.pass_(minutes=15)
    assert (await mirror.sync()).exit_code == 0
    assert len(mirror.paths("download")) == 1
    assert mirror.tree() == offered(good)


async def test_what_was_published_before_stays_until_the_new_one_is_right(mirror: Mirrored) -> None:
    """It counts as present, and not as verified: upstream lists another."""
    mirror.upstream.catalogue = GOOD
    await mirror.sync()
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", replace(wrong(FIRST), updated="2026-12-01"))
    accounts = [(await mirror.sync()).account for _ in range(4)]
    assert {(account.expected, account.present, account.verified) for account in accounts} == {(24, 24, 23)}
    assert mirror.requests() == {"capabilities": 1}
    assert mirror.tree() == ALL
    assert entry(mirror)["file"] == NAME
