"""One sync, end to end: what it lists, what it fetches, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.demo.body import Pattern
from mirror.demo.catalogue import SampleFile
from mirror.errors import ConfigError, Locked
from mirror.events import Chunk, Event
from mirror.store.lock import root_lock
from mirror.sync import sync

from .mirrored import HASTE, Mirrored, offered, only
from .upstream import FakeUpstream, faults, publish, simple_catalogue, withdraw

CATALOGUE = simple_catalogue(resources=2, subs=6, files=2)
ALL = offered(CATALOGUE)
FIRST = CATALOGUE.resources[0].listed[0]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    return Mirrored(tmp_path / "root", upstream)


# -- what a first sync asks for


async def test_everything_is_mirrored(mirror: Mirrored) -> None:
    report = await mirror.sync()
    assert (report.outcome, report.exit_code) == ("complete", 0)
    assert mirror.tree() == ALL
    assert mirror.requests() == {"capabilities": 1, "resource": 2, "sub-resource": 12, "download": 24}
    assert mirror.staged() == []


async def test_only_what_the_subscriptions_can_need_is_listed(mirror: Mirrored) -> None:
    """The filters go to the upstream, and of the sub-resources only the wanted ones are opened."""
    mirror.tables = {"isere": {"resources": ["BDALPHA"], "zones": ["D038"], "formats": ["GPKG"]}}
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1, "resource": 1, "sub-resource": 1, "download": 2}
    (listing,) = mirror.upstream.matching("resource")
    assert listing.path == "/resource/BDALPHA"
    assert dict(listing.query) == {"zone": "D038", "format": "GPKG", "page": "1", "limit": "50"}
    assert mirror.tree() == only(ALL, "BDALPHA_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-06-15")


async def test_the_published_spelling_of_a_zone_is_asked_for(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = simple_catalogue(resources=1, subs=2, zones=("D0971", "D038"))
    mirror.tables = {"guadeloupe": {"resources": ["*"], "zones": ["GLP"]}}
    await mirror.sync()
    assert [record.query["zone"] for record in mirror.upstream.matching("resource")] == ["D0971"]
    assert mirror.tree() == only(offered(mirror.upstream.catalogue), "D0971")


async def test_a_span_of_editions_is_sent_and_judged_here(mirror: Mirrored) -> None:
    """A day is added on either side of what is asked; what then comes too much is not taken."""
    mirror.tables = {"span": {"resources": ["BDALPHA"], "edition": "2026-06-15..2026-06-16"}}
    await mirror.sync()
    (listing,) = mirror.upstream.matching("resource")
    assert (listing.query["editionDateFrom"], listing.query["editionDateTo"]) == ("2026-06-14", "2026-06-17")
    assert mirror.tree() == only(only(ALL, "BDALPHA"), "2026-06-15")


async def test_a_subscription_to_nothing_lists_only_the_resources(mirror: Mirrored) -> None:
    mirror.tables = {"none": {"resources": ["NOTHING"]}}
    report = await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}
    assert report.exit_code == 0
    assert "nothing that the upstream lists matches" in report.remarks[0]


async def test_file_globs_fetch_nothing_else(mirror: Mirrored) -> None:
    mirror.tables = {"ones": {"resources": ["*"], "edition": "all", "files": ["*-1.bin"]}}
    await mirror.sync()
    assert mirror.tree() == only(ALL, "-1.bin")


async def test_two_subscriptions_share_a_sub_resource(mirror: Mirrored) -> None:
    mirror.tables = {
        "ones": {"resources": ["BDALPHA"], "files": ["*-1.bin"], "publish": "each"},
        "twos": {"resources": ["BDALPHA"], "files": ["*-2.bin"], "zones": ["D038"]},
    }
    await mirror.sync()
    newest = only(ALL, "BDALPHA_3-5_TOUSTHEMES_GPKG_LAMB93")
    expected = {path: md5 for path, md5 in newest.items() if "2026-06-15" in path and ("-1.bin" in path or "D038" in path)}
    assert mirror.tree() == expected
    counts = mirror.rows("SELECT subscription, expected, present FROM subscriptions ORDER BY 1")
    assert counts == [("ones", 4, 4), ("twos", 2, 2)]


async def test_only_the_named_subscriptions_are_synced(mirror: Mirrored) -> None:
    mirror.tables = {"a": {"resources": ["BDALPHA"]}, "b": {"resources": ["BDBRAVO"]}}
    await mirror.sync("b")
    assert mirror.tree() == only(only(ALL, "BDBRAVO"), "2026-06-15")
    with pytest.raises(ConfigError, match="no subscription 'c'"):
        await mirror.sync("c")


# -- what it says


async def test_the_report_has_the_shape_of_the_interface(mirror: Mirrored) -> None:
    missing = FIRST.files[0].name
    mirror.upstream.script(f"/download/*/{missing}", [faults.status(404)], forever=True)
    report = (await mirror.sync()).as_json()
    assert json.loads(json.dumps(report)) == report
    assert report["outcome"] == "incomplete"
    assert report["exit_code"] == 1
    assert report["requests"] == len(mirror.upstream.requests)
    assert report["listed"] == {"resources": 2, "sub_resources": 12, "files": 24}
    assert report["planned"] == {"add": 24, "replace": 0, "keep": 0, "bytes": 24_000}
    assert report["done"] == {"add": 22, "replace": 0, "bytes": 23_000, "resumed_bytes": 0}
    (failed,) = report["failed"]
    assert failed.keys() == {"url", "file", "reason", "attempts"}
    assert (failed["file"], failed["attempts"] > 0) == (missing, True)
    assert failed["url"].endswith(f"/download/BDALPHA/{FIRST.id}/{missing}")
    assert "404" in failed["reason"]
    assert report["account"] == {"expected": 24, "present": 22, "verified": 22}
    assert report["seconds"] >= 0


async def test_the_plan_says_what_the_sync_then_does(mirror: Mirrored) -> None:
    planned, actions = await mirror.plan()
    assert not mirror.root.exists()
    assert planned.exit_code == 0
    assert {action.action for action in actions} == {"add"}
    assert sum(action.size or 0 for action in actions) == planned.planned["bytes"] == 24_000
    report = await mirror.sync()
    assert report.planned == planned.planned
    assert {f"{action.resource}/{action.sub_resource}/{action.file}" for action in actions} == mirror.tree().keys()


async def test_a_plan_changes_nothing_under_the_root(mirror: Mirrored) -> None:
    await mirror.sync()
    mirror.upstream.catalogue = publish(CATALOGUE, "BDALPHA", replace(FIRST, id="NEW", updated="2026-12-31"))
    before = _moments(mirror.root)
    report, actions = await mirror.plan(keeps=True)
    assert (report.planned["add"], report.planned["keep"]) == (2, 24)
    assert sorted({action.action for action in actions}) == ["add", "keep"]
    assert all(action.reason for action in actions)
    assert _moments(mirror.root) == before


def _moments(root: Path) -> dict[Path, int]:
    """When everything under a root last changed, but for the two files that SQLite puts beside a database that is being read."""
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.suffix not in (".sqlite-shm", ".sqlite-wal")}


async def test_the_journal_tells_of_the_run(mirror: Mirrored) -> None:
    await mirror.sync()
    assert mirror.rows("SELECT command, outcome, exit_code, subscriptions FROM runs") == [("sync", "complete", 0, '["all"]')]
    assert mirror.rows("SELECT DISTINCT kind FROM events") == [("published",)]
    assert mirror.rows("SELECT outcome, expected, present, bytes, failures, parked, upstream_date FROM subscriptions") == [
        ("complete", 24, 24, 24_000, 0, 0, "2026-07-02")
    ]


# -- the current alias


async def test_aliases_lead_to_the_newest_complete_edition(mirror: Mirrored) -> None:
    await mirror.sync()
    assert len(mirror.aliases()) == 6
    assert all(target.endswith("2026-06-15") for target in mirror.aliases().values())
    link = mirror.root / "current" / "gpf" / "BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"
    assert not link.readlink().is_absolute()
    assert len(list(link.iterdir())) == 2
    assert set(mirror.states().values()) == {"current", "superseded"}


async def test_an_edition_that_is_not_whole_gets_no_alias(mirror: Mirrored) -> None:
    mirror.upstream.script("/download/BDALPHA/*_D038_2026-06-15/*-2.bin", [faults.status(404)], forever=True)
    await mirror.sync()
    assert mirror.aliases()["BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"].endswith("2026-03-15")


# -- guards, locks, interrupts


async def test_too_little_space_is_refused_before_anything_is_fetched(mirror: Mirrored) -> None:
    mirror.limits = {"min_free": "1000 TB"}
    report = await mirror.sync()
    assert (report.outcome, report.exit_code) == ("refused", 4)
    assert "min_free" in report.reason
    assert "download" not in mirror.requests()
    assert mirror.tree() == {}
    planned, _ = await mirror.plan()
    assert planned.exit_code == 4


async def test_a_mirror_that_needs_no_space_is_not_refused(mirror: Mirrored) -> None:
    await mirror.sync()
    mirror.limits = {"min_free": "1000 TB"}
    assert (await mirror.sync()).exit_code == 0


async def test_a_locked_root_is_refused(mirror: Mirrored) -> None:
    with root_lock(mirror.root), pytest.raises(Locked):
        await mirror.sync()
    assert mirror.requests() == {}


async def test_with_wait_a_sync_begins_when_the_other_has_ended(mirror: Mirrored) -> None:
    """It waits without holding up the event loop."""
    with root_lock(mirror.root):
        waiting = asyncio.create_task(sync(mirror.settings, wait=True, now=mirror.clock, patience=HASTE))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert (await waiting).exit_code == 0
    assert mirror.tree() == ALL


async def test_waiting_can_be_interrupted(mirror: Mirrored) -> None:
    with root_lock(mirror.root):
        waiting = asyncio.create_task(sync(mirror.settings, wait=True, now=mirror.clock, patience=HASTE))
        await asyncio.sleep(0)
        waiting.cancel()
        assert (await waiting).exit_code == 130


async def test_an_interrupt_keeps_what_came_and_the_next_sync_goes_on_from_there(mirror: Mirrored) -> None:
    """Interrupted in the middle of a large file, whose first half the next run does not fetch again."""
    size = 4 << 20
    large = SampleFile("large.bin", Pattern(size, "large"))
    catalogue = publish(CATALOGUE, "BDALPHA", replace(FIRST, id="LARGE", files=(large,)))
    mirror.upstream.catalogue = catalogue
    mirror.upstream.script("/download/*/large.bin", [faults.stall(size // 2)])
    stop = asyncio.Event()

    def watch(event: Event) -> None:
        if isinstance(event, Chunk) and event.key.file == "large.bin":
            stop.set()

    task = asyncio.create_task(sync(mirror.settings, emit=watch, now=mirror.clock, patience=HASTE))
    await stop.wait()
    task.cancel()
    report = await task
    assert (report.outcome, report.exit_code) == ("interrupted", 130)
    assert mirror.rows("SELECT outcome, exit_code FROM runs") == [("interrupted", 130)]
    assert any(name.endswith("large.bin.part") for name in mirror.staged())
    have = len(mirror.tree())

    report = await mirror.sync()
    assert report.exit_code == 0
    assert report.done["resumed_bytes"] >= 1 << 20
    assert report.done["add"] == 25 - have
    assert mirror.tree() == offered(catalogue)
    assert mirror.staged() == []


async def test_what_is_staged_takes_no_more_room(mirror: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run must not be refused later because of the very bytes that it has fetched."""
    mirror.upstream.script(f"/download/BDALPHA/{FIRST.id}/*-2.bin", [faults.status(404)], forever=True)
    await mirror.sync()
    mirror.upstream.heal()
    monkeypatch.setattr("mirror.sync.run.free_space", lambda root: 1500)
    assert mirror.staged() != []
    assert (await mirror.plan())[0].planned["bytes"] == 2000
    assert (await mirror.sync()).exit_code == 0
    monkeypatch.setattr("mirror.sync.run.free_space", lambda root: 900)
    mirror.upstream.catalogue = publish(CATALOGUE, "BDALPHA", replace(FIRST, id="NEW", updated="2026-12-31"))
    assert (await mirror.sync()).exit_code == 4


async def test_what_no_plan_wants_is_swept_from_staging(mirror: Mirrored) -> None:
    mirror.upstream.script(f"/download/BDALPHA/{FIRST.id}/*-2.bin", [faults.status(404)], forever=True)
    await mirror.sync()
    assert mirror.staged() == [f"ready/gpf/BDALPHA/{FIRST.id}/{FIRST.files[0].name}"]
    mirror.upstream.catalogue = withdraw(CATALOGUE, "BDALPHA", FIRST.id)
    mirror.clock.pass_(days=8)
    await mirror.sync()
    assert mirror.staged() == []


async def test_a_subscription_alone_sweeps_nothing_of_the_others(mirror: Mirrored) -> None:
    mirror.tables = {"a": {"resources": ["BDALPHA"], "edition": "all"}, "b": {"resources": ["BDBRAVO"]}}
    mirror.upstream.script(f"/download/BDALPHA/{FIRST.id}/*-2.bin", [faults.status(404)], forever=True)
    await mirror.sync()
    staged, parked = mirror.staged(), mirror.rows("SELECT file FROM parked_files")
    await mirror.sync("b")
    assert mirror.staged() == staged != []
    assert mirror.rows("SELECT file FROM parked_files") == parked != []
