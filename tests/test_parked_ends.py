"""A file that stays wrong: how it comes free, and who says so until then."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

import mirror as package
from mirror.demo.catalogue import Catalogue, SampleFile
from mirror.events import Failed
from mirror.store.index import FILE
from mirror.store.query import Reader
from mirror.sync import sync
from mirror.verifying import verify

from .command import run, write_config
from .mirrored import EVERYTHING, HASTE, Mirrored, offered
from .parked import ALL, BAD, FIRST, GOOD, NAME, NO_MD5, OTHER, PATH, WHOLE_TRY, entry, wrong
from .upstream import FakeUpstream, faults, publish, simple_catalogue


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


# -- how it comes free


WRONG_STILL = wrong(FIRST).files[0]


@pytest.mark.parametrize(
    "first", [WRONG_STILL, replace(WRONG_STILL, md5="1" * 32), replace(WRONG_STILL, size=999)], ids=["updated", "md5", "size"]
)
async def test_a_changed_listing_is_tried_at_once(parked: Mirrored, first: SampleFile) -> None:
    """And if it is wrong as well, that counts as the first time."""
    sub = replace(FIRST, files=(first, FIRST.files[1]), updated="2026-12-01")
    parked.upstream.catalogue = publish(GOOD, "BDALPHA", sub)
    await parked.sync()
    assert parked.paths("download").count(PATH) == WHOLE_TRY
    assert parked.rows("SELECT failed_runs, next_try FROM parked_files") == [(1, None)]


async def test_a_feed_that_was_mended_in_silence_is_found_with_the_next_try(parked: Mirrored) -> None:
    """No date tells of it; the listing is read again before a byte is fetched."""
    parked.upstream.catalogue = GOOD
    await parked.sync()
    assert parked.requests() == {"capabilities": 1}
    parked.clock.pass_(minutes=15)
    assert (await parked.sync()).exit_code == 0
    assert parked.requests() == {"capabilities": 1, "sub-resource": 1, "download": 1}
    assert parked.tree() == ALL
    assert parked.rows("SELECT count(*) FROM parked_files") == [(0,)]


async def test_retry_tries_now(parked: Mirrored) -> None:
    """A failure counts on from where it was; a success frees it."""
    report = await sync(parked.settings, retry=True, now=parked.clock, patience=HASTE)
    assert (report.exit_code, [failure.attempts for failure in report.failed]) == (1, [WHOLE_TRY])
    assert parked.rows("SELECT failed_runs FROM parked_files") == [(3,)]
    parked.upstream.catalogue = GOOD
    assert (await sync(parked.settings, retry=True, now=parked.clock, patience=HASTE)).exit_code == 0
    assert parked.tree() == ALL


async def test_failures_that_cost_nothing_are_tried_by_every_run(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = GOOD
    mirror.upstream.script(f"*{PATH}", [faults.status(404)], forever=True)
    for _ in range(4):
        await mirror.sync()
        assert PATH in mirror.paths("download")
        assert entry(mirror)["next_try"] is None


async def test_a_clock_that_was_set_back_parks_nothing_for_ever(parked: Mirrored) -> None:
    parked.clock.pass_(days=-200)
    await parked.sync()
    assert parked.paths("download").count(PATH) == WHOLE_TRY
    parked.clock.pass_(hours=1)
    parked.upstream.catalogue = GOOD
    assert (await parked.sync()).exit_code == 0


async def test_a_file_put_into_the_folder_by_hand_is_taken_in(mirror: Mirrored) -> None:
    """Its bytes are looked at in each run; it is not fetched before its time if they are others."""
    good = offered(GOOD)
    mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}
    listed = replace(FIRST.files[0], md5=good[f"BDALPHA/{FIRST.id}/{FIRST.files[1].name}"])  # of the file beside it
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", replace(FIRST, files=(listed, FIRST.files[1])))
    for _ in range(2):
        await mirror.sync()
    folder = mirror.root / "data" / "gpf" / "BDALPHA" / FIRST.id
    (folder / NAME).write_bytes(b"x" * 1000)
    report = await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}
    assert [failure.attempts for failure in report.failed] == [0]
    (folder / NAME).write_bytes((folder / FIRST.files[1].name).read_bytes())
    assert (await mirror.sync()).exit_code == 0
    assert mirror.requests() == {"capabilities": 1}
    assert mirror.rows("SELECT count(*) FROM parked_files") == [(0,)]


async def test_what_is_no_longer_listed_is_no_longer_parked(mirror: Mirrored) -> None:
    """Also where another file of the sub-resource still is."""
    mirror.upstream.catalogue = publish(GOOD, "BDALPHA", wrong(wrong(FIRST), 1))
    await mirror.sync()
    assert mirror.rows("SELECT count(*) FROM parked_files") == [(2,)]
    mirror.upstream.catalogue = publish(
        GOOD, "BDALPHA", replace(FIRST, files=(replace(FIRST.files[1], md5=NO_MD5),), updated="2026-12-01")
    )
    await mirror.sync()
    assert entry(mirror)["file"] == FIRST.files[1].name


# -- who says so


async def test_a_plan_says_until_when_and_why(parked: Mirrored) -> None:
    report, actions = await parked.plan()
    assert [(action.action, action.file) for action in actions] == [("park", NAME), ("hold", FIRST.files[1].name)]
    assert actions[0].reason.startswith("parked until 2027-01-01 12:15 UTC after 2 runs: upstream is wrong: MD5 is ")
    assert actions[1].reason == f"in staging, to appear together with {NAME}, which is parked"
    assert (report.exit_code, report.outcome, report.planned["bytes"]) == (1, "incomplete", 0)
    assert (report.account.expected, report.account.present) == (24, 22)


async def test_status_says_what_it_cost_and_when_it_is_tried_again(parked: Mirrored) -> None:
    parked.clock.pass_(minutes=15)
    await parked.sync()
    found = entry(parked)
    assert (found["file"], found["attempts"]) == (NAME, 3 * WHOLE_TRY)
    assert [str(found[name])[:16] for name in ("since", "last_try", "next_try")] == [
        "2027-01-01T12:00",
        "2027-01-01T12:15",
        "2027-01-01T13:15",
    ]


async def test_the_number_of_parked_files_is_that_of_each_subscription(parked: Mirrored) -> None:
    """Also with one that a verification has found wrong since the last sync, and one that is both."""

    def counts() -> dict[str, tuple[int, int]]:
        reader = Reader(parked.root)
        try:
            return {row["subscription"]: (row["parked"], row["failures"]) for row in reader.subscriptions()}
        finally:
            reader.close()

    parked.tables = {"a": {"resources": ["BDALPHA"], "edition": "all"}, "b": {"resources": ["BDBRAVO"]}}
    await parked.sync()
    assert counts() == {"a": (1, 2), "all": (1, 2), "b": (0, 0)}
    newest = GOOD.resources[1].listed[3]
    damaged = parked.root / "data" / "gpf" / "BDBRAVO" / newest.id / newest.files[0].name
    damaged.write_bytes(b"short")
    await verify(parked.settings, now=parked.clock)
    assert counts()["b"] == (1, 1)
    assert counts()["all"] == (2, 2)
    parked.upstream.script(f"*/{newest.files[0].name}", [faults.status(404)], forever=True)
    await parked.sync()
    assert counts()["b"] == (1, 1)
    reader = Reader(parked.root)
    assert sorted(row["file"] for row in reader.parked()) == sorted([NAME, newest.files[0].name])
    reader.close()


async def test_a_repair_tries_what_it_repairs_though_it_is_parked(mirror: Mirrored) -> None:
    """What is parked elsewhere waits on."""
    mirror.upstream.catalogue = publish(BAD, "BDBRAVO", OTHER)
    mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}
    await mirror.sync()
    broken = mirror.root / "data" / "gpf" / "BDBRAVO" / OTHER.id / OTHER.files[0].name
    good = broken.read_bytes()
    broken.unlink()
    mirror.upstream.script(f"*/{broken.name}", [faults.wrong_bytes()] * (2 * WHOLE_TRY))
    for _ in range(2):
        await mirror.sync()
    mirror.upstream.clear()
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}
    mirror.upstream.clear()
    findings = await verify(mirror.settings, repair=True, now=mirror.clock)
    assert [fault.repaired for fault in findings.faults] == [True]
    assert mirror.requests() == {"capabilities": 1, "sub-resource": 1, "download": 1}
    assert broken.read_bytes() == good


async def test_the_event_of_a_file_left_alone_says_that_nothing_was_tried(parked: Mirrored) -> None:
    await parked.sync()
    (failed,) = [event for event in parked.events if isinstance(event, Failed)]
    assert failed.attempts == 0


# -- the command line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def _one_wrong() -> Catalogue:
    catalogue = simple_catalogue(1, 2, 1)
    first = catalogue.resources[0].listed[0]
    return publish(catalogue, "BDALPHA", wrong(first))


def test_commands_show_and_try_what_is_parked(folder: Path) -> None:
    """`status` in both forms, the lines of a sync, `plan`, and `--retry` on the command line and in Python."""
    with FakeUpstream(_one_wrong()).in_thread() as fake:
        config = write_config(folder, fake.url, 'all]\nresources = ["*"]\nedition = "all"')
        for _ in range(2):
            assert run("sync", cwd=folder).code == 1
        fake.clear()
        outcome = run("-q", "sync", "--json", cwd=folder)
        assert fake.count("download") == 0
        assert (outcome.code, outcome.json["failed"][0]["attempts"]) == (1, 0)
        assert re.search(r"\.bin: parked until \d{4}-\d\d-\d\d \d\d:\d\d UTC after 2 runs: upstream is wrong", outcome.err)
        (shown,) = run("status", "--json", cwd=folder).json["parked"]
        assert shown["attempts"] == 6
        assert shown["since"] < shown["last_try"] < shown["next_try"]
        line = next(line for line in run("status", cwd=folder).out.splitlines() if line.startswith("parked since"))
        assert re.search(r"\(6 attempts, the last \d{4}-\S+ \S+ UTC; next try: \d{4}-\S+ \S+ UTC\)$", line)
        assert len(run("query", "--state", "parked", "--json", cwd=folder).json) == 1
        plan = run("plan", "--json", cwd=folder)
        assert (plan.code, [action["action"] for action in plan.json["actions"]]) == (1, ["park"])
        assert [a["action"] for a in run("plan", "--retry", "--json", cwd=folder).json["actions"]] == ["add"]
        dry = run("sync", "--dry-run", "--retry", "--json", cwd=folder)
        assert (dry.code, fake.count("download")) == (0, 0)
        assert run("sync", "--retry", cwd=folder).code == 1
        assert fake.count("download") == WHOLE_TRY
        fake.catalogue = simple_catalogue(1, 2, 1)
        with package.open(config) as here:
            assert here.sync().exit_code == 1
            assert here.sync(retry=True).exit_code == 0
        assert (folder / "mirror" / FILE).exists()


def test_status_of_what_every_sync_tries_says_so(folder: Path) -> None:
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        fake.script("download", [faults.status(403)], forever=True)
        write_config(folder, fake.url, 'all]\nresources = ["*"]')
        run("sync", cwd=folder)
        assert "next try: with the next sync)" in run("status", cwd=folder).out
        assert run("status", "--json", cwd=folder).json["parked"][0]["next_try"] is None
