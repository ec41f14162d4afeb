"""When commands are run: failures again and again with growing waits, side by side, and never lost or twice."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace as with_changes
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mirror.events import Event, HookDone, HookFailed, HookKey, HookStarted, HookStopped, Note
from mirror.hooks import HookRunner, commands_after
from mirror.hooks.due import MOST_ATTEMPTS, WAITS, next_try, verdict
from mirror.service.wire import event_message, line, read_event
from mirror.settings import Settings, Subscription, from_mapping
from mirror.store.hook_jobs import HookJob
from mirror.store.index import FILE, Index
from mirror.store.lock import root_lock
from mirror.sync import Clock

from .hooking import Hooked, about, recorder, told
from .mirrored import EVERYTHING, edition
from .upstream import FakeUpstream, publish, simple_catalogue
from .virtual_time import VirtualLoop
from .virtual_time import run as run_virtually

FIRST = simple_catalogue(2, 1, 1)
ALPHA, BRAVO = (resource.subs[0] for resource in FIRST.resources)
NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(FIRST) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Hooked:
    return Hooked(tmp_path / "root", upstream)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A pipe: who reads it waits until a command has written to it."""
    path = tmp_path / "waiting"
    os.mkfifo(path)
    return path


def until(path: Path) -> str:
    """Fails until there is a file."""
    return f'test -e "{path}" || {{{{ echo not yet; exit 9; }}}}'


# When it is tried again


def test_waits_grow_and_end() -> None:
    tries, at = [], NOW
    attempt = 0
    while (at_next := next_try(attempt := attempt + 1, at)) is not None:
        tries.append(at_next - at)
        at = at_next
    assert tries[:6] == [*WAITS, WAITS[-1]]
    assert len(tries) == MOST_ATTEMPTS - 1
    assert timedelta(days=3) < at - NOW < timedelta(days=5)


JOB = HookJob(1, "s", "on_publish", "gpf", "R", "S", 1, 0, {}, 0, None, None, None, "", True, True, True, True)
TABLE = Subscription.model_validate({"upstream": "gpf", "resources": ["*"], "on_publish": ["load"]})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "due"),
        ({"run_ended": False}, "later"),
        ({"here": False}, "void"),
        ({"whole": False}, "later"),
        ({"unpacked": False}, "due"),
        ({"hook": "on_failure"}, "void"),
        ({"outcome": "failed", "next_try": NOW + timedelta(minutes=1)}, "later"),
        ({"outcome": "failed", "next_try": NOW}, "due"),
        ({"outcome": "failed", "next_try": NOW + timedelta(hours=7)}, "due"),  # the clock was set back
        ({"outcome": "given-up"}, "later"),
    ],
)
def test_what_is_due(change: dict[str, Any], expected: str) -> None:
    job = with_changes(JOB, **change)
    assert verdict(job, TABLE, at=NOW) == expected
    assert verdict(job, None, at=NOW) == "void"
    failed_before = "outcome" in change
    assert verdict(job, TABLE, at=NOW, retry=True) == ("due" if failed_before else expected)


async def test_a_failure_is_seen_and_tried_again_until_it_succeeds(mirror: Hooked, log: Path, tmp_path: Path) -> None:
    """All files are here, and still the run is not complete, also not the next one that does not try it."""
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log, until(tmp_path / "ready"))}}
    report = await mirror.sync_and_run()
    assert (report.outcome, report.exit_code) == ("incomplete", 1)
    assert report.reason.startswith("all files are here, but 1 command failed: on_publish of all for BDALPHA/")
    assert report.as_json()["failed"][0]["url"] is None
    assert "sh ended with exit code 9: not yet" in report.failed[0].reason
    assert "next try 2027-01-01 12:01 UTC" in report.failed[0].reason
    assert mirror.reasons() == ["sh ended with exit code 9: not yet"]
    assert (await mirror.sync_and_run()).exit_code == 1
    assert [document["attempt"] for document in told(log)] == [1]
    mirror.clock.pass_(minutes=1)
    assert (await mirror.sync_and_run()).exit_code == 1
    mirror.clock.pass_(minutes=4)
    assert (await mirror.sync_and_run()).exit_code == 1
    assert [document["attempt"] for document in told(log)] == [1, 2]
    (tmp_path / "ready").touch()
    mirror.clock.pass_(minutes=1)
    assert (await mirror.sync_and_run()).exit_code == 0
    assert [document["attempt"] for document in told(log)] == [1, 2, 3]
    kinds = mirror.rows("SELECT kind, resource, sub_resource, message FROM events WHERE kind LIKE 'hook%' ORDER BY id")
    assert [kind for kind, *_ in kinds] == ["hook-failed", "hook-failed", "hook-run"]
    assert kinds[0][1:] == ("BDALPHA", ALPHA.id, "all on_publish: sh ended with exit code 9: not yet")


async def test_it_is_given_up_until_somebody_asks_or_there_is_something_new(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": {"resources": ["BDALPHA"], "edition": "all", "on_publish": recorder(log, "exit 1")}}
    await mirror.sync()
    for _ in range(MOST_ATTEMPTS):
        await mirror.run_due()
        mirror.clock.pass_(hours=6)
    assert len(told(log)) == MOST_ATTEMPTS
    last = [event for event in mirror.events if isinstance(event, HookFailed)][-1]
    assert last.next_try is None
    summary = await mirror.run_due()
    assert (summary.ran, [job.outcome for job in summary.failing]) == (0, ["given-up"])
    assert (await mirror.sync_and_run()).exit_code == 1
    assert len(told(log)) == MOST_ATTEMPTS
    assert (await mirror.run_due(retry=True)).ran == 1
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", with_changes(ALPHA, updated="2026-11-02", files=BRAVO.files))
    await mirror.sync_and_run()
    assert [document["attempt"] for document in told(log)][-1] == 1


# In order, side by side


async def test_one_after_the_other_in_a_subscription_and_a_failure_holds_up_no_other(mirror: Hooked, log: Path) -> None:
    mirror.upstream.catalogue = simple_catalogue(1, 3, 1)
    script = 'mkdir "$0.busy" || exit 2; rmdir "$0.busy"; case $MIRROR_HOOK_SUB_RESOURCE in *D073*) exit 1;; esac'
    mirror.tables = {"all": {**EVERYTHING, "on_publish": recorder(log, script)}}
    await mirror.sync_and_run()
    assert sorted(about(log)) == sorted(sub.id for sub in mirror.upstream.catalogue.resources[0].subs)
    assert mirror.reasons() == ["sh ended with exit code 1"]


async def test_two_subscriptions_side_by_side(mirror: Hooked, tmp_path: Path) -> None:
    """Each waits for the other to have begun."""
    meet = 'touch "$0.$1"; while ! test -e "$0.$2"; do sleep 0.02; done'
    base = str(tmp_path / "here")
    mirror.tables = {
        "one": {"resources": ["BDALPHA"], "on_publish": ["sh", "-c", meet, base, "one", "two"]},
        "two": {"resources": ["BDBRAVO"], "on_publish": ["sh", "-c", meet, base, "two", "one"]},
    }
    assert (await mirror.sync_and_run()).exit_code == 0


async def test_no_more_than_two_at_once(mirror: Hooked, tmp_path: Path) -> None:
    mirror.upstream.catalogue = simple_catalogue(5, 1, 1)
    script = 'touch "$0/$1"; ls "$0" | wc -l; sleep 0.05; rm "$0/$1"'
    busy = tmp_path / "busy"
    busy.mkdir()
    mirror.tables = {
        resource.id: {"resources": [resource.id], "on_publish": ["sh", "-c", script, str(busy), "{subscription}"]}
        for resource in mirror.upstream.catalogue.resources
    }
    await mirror.sync_and_run()
    assert len(mirror.outputs()) == 5
    assert {int(output) for output in mirror.outputs()} <= {1, 2}


async def test_two_processes_do_not_run_the_same(mirror: Hooked, log: Path) -> None:
    """The second waits for its turn, and finds it done."""
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log, "sleep 0.3")}}
    await mirror.sync()
    ran = await asyncio.gather(mirror.runner().run_due(), mirror.runner().run_due())
    assert sorted(one.ran for one in ran) == [0, 1]
    assert len(told(log)) == 1


async def test_it_runs_beside_a_run_that_holds_the_lock(mirror: Hooked, log: Path) -> None:
    """It takes no lock and is written down at once; of the run that is under way, nothing is run."""
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log)}}
    await mirror.sync()
    with root_lock(mirror.root), Index(mirror.root) as index:
        index.connection.execute("INSERT INTO runs (id, command, started_at, subscriptions) VALUES (9, 'sync', '2027', '[]')")
        assert (await mirror.run_due()).ran == 1
        assert mirror.jobs() == []
        index.connection.execute("UPDATE hook_jobs SET finished_at = NULL, outcome = NULL, run_id = 9")
        assert (await mirror.run_due()).ran == 0
    assert (await mirror.run_due()).ran == 1  # that run is dead


async def test_a_command_may_ask_the_mirror(mirror: Hooked) -> None:
    """Nothing of ours is locked while it runs."""
    query = 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("CREATE TABLE mine (x)"); print(c.total_changes)'
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": ["python3", "-c", query, f"{{root}}/{FILE}"]}}
    await mirror.sync_and_run()
    assert mirror.outputs() == ["0"]


async def test_a_busy_index_is_waited_for(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log)}}
    await mirror.sync()
    with closing(sqlite3.connect(mirror.root / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        running = asyncio.create_task(mirror.run_due())
        await asyncio.sleep(0.2)
        assert told(log) == []
        other.execute("COMMIT")
        assert (await running).ran == 1


# Stopped


async def test_cancelled_it_ends_the_command_and_leaves_the_job(mirror: Hooked, log: Path, waiting: Path) -> None:
    """Not as a failure: the next time is the first attempt again."""
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log, f"echo > {waiting}; sleep 600")}}
    await mirror.sync()
    mirror.events.clear()
    running = asyncio.create_task(mirror.run_due())
    await asyncio.to_thread(waiting.read_text)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert mirror.reasons() == []
    assert mirror.rows("SELECT attempts, outcome, finished_at FROM hook_jobs") == [(0, None, None)]
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log)}}
    assert (await mirror.run_due()).ran == 1
    assert [document["attempt"] for document in told(log)] == [1, 1]


async def test_an_interrupt_while_commands_run_is_an_outcome(mirror: Hooked, log: Path, waiting: Path) -> None:
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log, f"echo > {waiting}; sleep 600")}}
    running = asyncio.create_task(mirror.sync_and_run())
    await asyncio.to_thread(waiting.read_text)
    running.cancel()
    report = await running
    assert (report.outcome, report.exit_code) == ("interrupted", 130)
    assert mirror.jobs() == [("all", "on_publish", ALPHA.id, None)]


async def test_whatever_goes_wrong_ends_in_a_report(mirror: Hooked) -> None:
    """A row that nobody of ours has written: who waits for the commands hears of it all the same."""
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_complete": ["true"]}}
    report = await mirror.sync()
    with closing(sqlite3.connect(mirror.root / FILE)) as other, other:
        other.execute("UPDATE hook_jobs SET facts = '[]'")
    report = await commands_after(report, mirror.settings, (), emit=mirror.events.append, now=mirror.clock)
    assert report.outcome == "incomplete"
    assert "commands could not be run: a mistake in this program (TypeError: " in report.reason
    assert any(isinstance(event, Note) and event.level == "warning" for event in mirror.events)


# For the service


class Watched:
    """A runner that goes on for ever, and the events that it sends."""

    def __init__(self, mirror: Hooked, now: Clock | None = None) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.runner = HookRunner(lambda: mirror.settings, self.events.put_nowait, now or mirror.clock)

    async def __aenter__(self) -> Watched:
        self._task = asyncio.create_task(self.runner.run_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def next(self, *kinds: type[Event]) -> Event:
        """The next event of one of these kinds."""
        while not isinstance(event := await self.events.get(), kinds):
            pass
        return event


async def test_the_service_runs_what_comes_up_and_tries_again_in_time(mirror: Hooked, log: Path, tmp_path: Path) -> None:
    mirror.tables = {"all": {"resources": ["BDALPHA"], "edition": "all", "on_publish": recorder(log, until(tmp_path / "ready"))}}
    async with Watched(mirror) as watched:
        await mirror.sync()
        watched.runner.wake()
        failed = await watched.next(HookFailed)
        assert isinstance(failed, HookFailed)
        assert failed.next_try == "2027-01-01T12:01:00.000000Z"
        (tmp_path / "ready").touch()
        watched.runner.wake()  # too early
        mirror.clock.pass_(minutes=1)
        watched.runner.wake()  # as if the time had come
        await watched.next(HookDone)
        mirror.upstream.catalogue = publish(FIRST, "BDALPHA", edition(ALPHA, "2026-09-15", "2026-10-02"))
        await mirror.sync()
        watched.runner.wake()
        await watched.next(HookDone)
    assert about(log) == [ALPHA.id, ALPHA.id, f"{ALPHA.id[:-10]}2026-09-15"]


async def test_the_service_wakes_up_by_itself_when_the_time_has_come(
    mirror: Hooked, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The minute until a next try is a tenth of a second here."""
    monkeypatch.setattr("mirror.hooks.due.WAITS", (timedelta(seconds=0.1),))
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log, "exit $((MIRROR_HOOK_ATTEMPT < 2))")}}
    began = time.monotonic()
    await mirror.sync()
    async with Watched(mirror, lambda: mirror.clock() + timedelta(seconds=time.monotonic() - began)) as watched:
        await watched.next(HookDone)
    assert [document["attempt"] for document in told(log)] == [1, 2]


def test_an_idle_service_sleeps(tmp_path: Path) -> None:
    """A week of virtual time, and no more to do than to look whether there is something."""
    loop, looks = VirtualLoop(), 0
    settings = from_mapping({"root": str(tmp_path / "root")}, tmp_path, {})

    def settings_in_effect() -> Settings:
        nonlocal looks
        looks += 1
        return settings

    async def week() -> None:
        runner = HookRunner(settings_in_effect, lambda event: None, lambda: NOW + timedelta(seconds=loop.time()))
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(runner.run_forever(), timedelta(days=7).total_seconds())

    run_virtually(loop, week())
    assert 7 * 24 * 6 <= looks <= 7 * 24 * 6 + 2


async def test_in_the_service_a_long_command_holds_up_no_other_subscription(mirror: Hooked, log: Path) -> None:
    mirror.tables = {
        "slow": {"resources": ["BDALPHA"], "on_publish": ["sleep", "600"]},
        "quick": {"resources": ["BDBRAVO"], "on_publish": recorder(log)},
    }
    async with Watched(mirror) as watched:
        await mirror.sync("slow")
        watched.runner.wake()
        await watched.next(HookStarted)
        await mirror.sync("quick")
        watched.runner.wake()
        await watched.next(HookDone)
        assert about(log) == [BRAVO.id]
    assert mirror.jobs() == [("slow", "on_publish", ALPHA.id, None)]


@pytest.mark.parametrize(
    "event",
    [
        HookStarted(HookKey("all", "on_publish", "gpf", "R", "S"), 1),
        HookDone(HookKey("all", "on_complete", "gpf"), 0.5, "done"),
        HookFailed(HookKey("all", "on_failure", "gpf"), "why", 2, "2027-01-01T12:01:00.000000Z"),
        HookStopped(HookKey("all", "on_failure", "gpf")),
    ],
)
def test_its_events_find_their_way_to_a_command_that_watches(event: Event) -> None:
    assert read_event(json.loads(line(event_message(event)))) == event


async def test_the_service_waits_for_a_root_that_is_not_there_yet(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": {"resources": ["BDALPHA"], "on_publish": recorder(log)}}
    async with Watched(mirror) as watched:
        await asyncio.sleep(0)
        await mirror.sync()
        watched.runner.wake()
        await watched.next(HookDone)
