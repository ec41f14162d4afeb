"""What the service carries out and when: real syncs from a fake upstream, by a clock of the test's own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mirror.events import Event, Note, RunBegan, RunEnded
from mirror.planning.agenda import Turn
from mirror.service.jobs import Job
from mirror.service.memory import remembered
from mirror.service.place import service_folder
from mirror.service.runner import Runner, outcomes_of
from mirror.service.timing import share_of_host
from mirror.settings import Settings, from_mapping
from mirror.store.index import FILE
from mirror.sync import Report
from mirror.upstream.session import Patience

from .accelerated import FastLoop
from .accelerated import run as run_fast
from .mirrored import HASTE, Clock, offered, tree_of
from .upstream import FakeUpstream, faults, simple_catalogue

PARIS = ZoneInfo("Europe/Paris")
ALL = {"resources": ["*"], "edition": "all"}


def settings_of(
    root: Path,
    upstream: FakeUpstream,
    service: dict[str, Any] | None = None,
    more: dict[str, FakeUpstream] | None = None,
    **subscriptions: dict[str, Any],
) -> Settings:
    service_folder(root).mkdir(parents=True, exist_ok=True)
    tables = {
        "root": str(root),
        "limits": {"min_free": 0},
        "upstream": {
            name: {"url": fake.url, "requests_per_second": 100_000, "retry_for": "0s"}
            for name, fake in {"gpf": upstream, **(more or {})}.items()
        },
        "subscription": subscriptions,
        "service": {"timezone": "Europe/Paris", "jitter": "0s", **(service or {})},
    }
    return from_mapping(tables, root, {})


class At:
    """A runner at work, with what it has told."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()
        self.runner = Runner(settings, self._take, now, patience=HASTE)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, found: Callable[[], bool]) -> None:
        """Until something is so."""
        async with asyncio.timeout(60):
            while not found():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.2):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    def wake(self) -> None:
        """Have it look at the clock."""
        self.runner.reload(self.runner.settings)

    def ended(self) -> list[tuple[tuple[str, ...], str]]:
        """The runs that have ended, and how."""
        return [(event.names, event.outcome) for event in self.events if isinstance(event, RunEnded)]


@asynccontextmanager
async def at_work(settings: Settings, now: Callable[[], datetime]) -> AsyncIterator[At]:
    at = At(settings, now)
    at.runner.start()
    work = asyncio.create_task(at.runner.run())
    try:
        yield at
    finally:
        at.runner.stop()
        await work


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(simple_catalogue()) as fake:
        yield fake


async def test_what_is_due_together_is_one_sync(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Each listing is fetched once for all of them."""
    clock = Clock()
    settings = settings_of(tmp_path, upstream, a={**ALL, "schedule": "daily 03:15"}, b={**ALL, "schedule": "every 6h"}, c=ALL)
    async with at_work(settings, clock) as at:
        await at.until(lambda: bool(at.ended()))
        assert at.ended() == [(("a", "b"), "complete")]
        clock.pass_(hours=6)
        at.wake()
        await at.until(lambda: len(at.ended()) == 2)
        assert at.ended()[1] == (("b",), "complete")
    assert tree_of(tmp_path / "data" / "gpf") == offered(upstream.catalogue)


async def test_a_subscription_that_fails_does_not_hold_up_the_others(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Its upstream is away for two days: the other one has all of its runs, and it is tried ever less often, until that is back."""
    clock = Clock(datetime(2026, 11, 15, 0, 0, 30, tzinfo=UTC))
    good = {**ALL, "schedule": "every 1h", "upstream": "gpf"}
    bad = {**ALL, "schedule": "every 10m", "upstream": "away"}
    async with FakeUpstream(simple_catalogue()) as away:
        away.script("capabilities", [faults.status(503)], forever=True)
        settings = settings_of(tmp_path, upstream, more={"away": away}, good=good, bad=bad)
        tries: list[datetime] = []
        async with at_work(settings, clock) as at:
            for _ in range(48 * 6):
                due = [name for name, when in ((due.name, due.at) for due in at.runner.agenda()) if when <= clock()]
                if due:
                    count = len(at.ended())
                    at.wake()
                    await at.until(lambda count=count: len(at.ended()) > count and at.runner.current is None)  # type: ignore[misc]
                    if "bad" in due:
                        tries.append(clock())
                clock.pass_(minutes=10)
            away.heal()
            clock.pass_(hours=2)
            at.wake()
            await at.until(lambda: at.runner.current is None and not any(due.at <= clock() for due in at.runner.agenda()))
            turns = remembered(tmp_path).turns
        runs_of_good = sum("good" in names for names, _ in at.ended())
        assert runs_of_good >= 48
        assert 40 < len(tries) < 60  # five minutes, then up to an hour, over two days: not 288
        assert all(later - earlier <= timedelta(minutes=70) for earlier, later in pairwise(tries))
        assert turns["bad"].failures == 0


async def test_what_fails_for_good_takes_nobody_with_it(tmp_path: Path, upstream: FakeUpstream) -> None:
    """An upstream that this version cannot read fails the sync as a whole; from then on it fails alone."""
    clock = Clock(datetime(2026, 11, 15, 0, 0, 30, tzinfo=UTC))
    good = {**ALL, "schedule": "every 1h", "upstream": "gpf"}
    bad = {**ALL, "schedule": "every 1h", "upstream": "other"}
    settings = settings_of(tmp_path, upstream, more={"other": upstream}, good=good, bad=bad)
    other = settings.upstream["other"].model_copy(update={"dialect": "inspire"})
    settings = settings.model_copy(update={"upstream": {**settings.upstream, "other": other}})
    async with at_work(settings, clock) as at:
        await at.until(lambda: bool(at.ended()))
        assert at.ended() == [(("bad", "good"), "failed")]
        clock.pass_(minutes=6)
        at.wake()
        await at.until(lambda: len(at.ended()) == 3)
        assert sorted(at.ended()[1:]) == [(("bad",), "failed"), (("good",), "complete")]
        clock.pass_(minutes=60)
        at.wake()
        await at.until(lambda: len(at.ended()) >= 5)
        assert at.ended()[3][0] == ("good",)  # who is well comes first


async def test_nothing_scheduled_runs_outside_the_window(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A run that its end interrupts keeps what it has fetched, and goes on when the window opens."""
    clock = Clock(datetime(2026, 11, 15, 12, 0, tzinfo=PARIS).astimezone(UTC))
    settings = settings_of(tmp_path, upstream, {"window": "20:00-06:00"}, a={**ALL, "schedule": "every 6h"})
    release = threading.Event()
    upstream.script("download", [faults.hold(release, 100)], forever=True)
    async with at_work(settings, clock) as at:
        (due,) = at.runner.agenda()
        assert due.at.astimezone(PARIS).hour == 20
        clock.pass_(hours=7, minutes=59)
        at.wake()
        assert upstream.requests == []
        clock.pass_(minutes=1)
        at.wake()
        await at.until(lambda: upstream.count("download") > 0)
        clock.pass_(hours=10)
        at.wake()
        await at.until(lambda: bool(at.ended()))
        assert at.ended() == [(("a",), "interrupted")]
        (reason,) = [event.reason for event in at.events if isinstance(event, RunEnded)]
        assert reason.startswith("the window 20:00-06:00 has closed")
        (due,) = at.runner.agenda()
        assert due.at.astimezone(PARIS).hour == 20
        upstream.heal()
        release.set()
        clock.pass_(hours=14)
        at.wake()
        await at.until(lambda: len(at.ended()) == 2)
        assert at.ended()[1] == (("a",), "complete")


async def test_who_only_looks_at_what_is_due_changes_nothing(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Pages and metrics ask from other threads. A clock that is wrong while they do is no reason to run anything again."""
    clock = Clock(datetime(2026, 11, 15, 12, 0, tzinfo=UTC))
    settings = settings_of(tmp_path, upstream, a={**ALL, "schedule": "daily 03:15"})
    async with at_work(settings, clock) as at:
        await at.until(lambda: bool(at.ended()))
    runner = Runner(settings, lambda event: None, clock)
    runner.start()
    due = runner.agenda()
    runner.agenda(clock() - timedelta(days=365))
    assert runner.agenda() == due


async def test_how_a_run_ended_is_known_though_somebody_keeps_the_index_locked(tmp_path: Path, upstream: FakeUpstream) -> None:
    settings = settings_of(tmp_path, upstream, a=ALL)
    async with at_work(settings, Clock()) as at:
        job = Job(("a",), "command")
        at.runner.hand(job)
        await at.until(lambda: job.ended)
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("PRAGMA locking_mode = exclusive")
        other.execute("BEGIN EXCLUSIVE")
        assert outcomes_of(settings, ["a"], Report(outcome="incomplete"), Clock()()) == {"a": "incomplete"}


async def test_what_is_asked_for_by_hand_does_not_wait_for_the_window(tmp_path: Path, upstream: FakeUpstream) -> None:
    clock = Clock(datetime(2026, 11, 15, 12, 0, tzinfo=PARIS).astimezone(UTC))
    settings = settings_of(tmp_path, upstream, {"window": "20:00-06:00"}, a={**ALL, "schedule": "every 6h"})
    async with at_work(settings, clock) as at:
        job = Job(("a",), "command")
        at.runner.hand(job)
        await at.until(lambda: job.ended)
        assert job.outcome == "complete"


HOSTILE = (
    b"", b"[]", b'{"a": 5}', b"\xff", b"[" * 200_000, b'{"turns": {"a": {"served": "yesterday"}}, "handed": []}',
    b'{"turns": {"a": {"served": "0001-01-01T00:00:00+00:00"}}, "handed": []}',
    b'{"turns": {"a": {"failures": 1e999}}, "handed": []}',
    b'{"turns": {"a": {"begun_at": "9999-12-31T23:59:59-14:00", "crashes": 99}}, "handed": []}', b'{"turns": {}, "handed": [5]}',
)  # fmt: skip


async def test_a_lost_memory_costs_a_run_and_nothing_else(tmp_path: Path, upstream: FakeUpstream) -> None:
    clock = Clock()
    settings = settings_of(tmp_path, upstream, a={**ALL, "schedule": "daily 03:15"})
    for content in HOSTILE:
        (service_folder(tmp_path) / "turns.json").write_bytes(content)
        async with at_work(settings, clock) as at:
            await at.until(lambda at=at: bool(at.ended()))  # type: ignore[misc]
        assert remembered(tmp_path).turns["a"] == Turn(clock())


async def test_nothing_planted_beside_the_memory_is_written_to_or_waited_for(tmp_path: Path, upstream: FakeUpstream) -> None:
    victim = tmp_path / "victim"
    victim.write_text("somebody's")
    settings = settings_of(tmp_path / "root", upstream, a={**ALL, "schedule": "daily 03:15"})
    folder = service_folder(tmp_path / "root")
    os.mkfifo(folder / "turns.json")
    (folder / "turns.json.new").symlink_to(victim)
    async with at_work(settings, Clock()) as at:
        await at.until(lambda: bool(at.ended()))
    assert victim.read_text() == "somebody's"
    assert remembered(tmp_path / "root").turns


async def test_a_full_disk_is_said_and_does_not_end_the_service(tmp_path: Path, upstream: FakeUpstream) -> None:
    """What it remembers cannot be written: here because a folder is in the way, which root too cannot write over."""
    (tmp_path / ".staging" / "service" / "turns.json").mkdir(parents=True)
    settings = settings_of(tmp_path, upstream, a={**ALL, "schedule": "daily 03:15"})
    async with at_work(settings, Clock()) as at:
        await at.until(lambda: bool(at.ended()))
        assert at.ended() == [(("a",), "complete")]
        assert any(isinstance(event, Note) and "cannot write down when runs are due" in event.message for event in at.events)


def test_the_share_of_a_host_is_always_the_same() -> None:
    assert 0 <= share_of_host() < 1
    assert share_of_host() == share_of_host()


WEEK: dict[str, Any] = {
    "daily": {**ALL, "schedule": "daily 03:15"},
    "often": {**ALL, "schedule": "every 6h"},
    "office": {**ALL, "schedule": "30 8 * * mon-fri"},
}


def expected_runs(since: datetime, until: datetime) -> Iterator[tuple[datetime, str]]:
    """By another way than the one under test: each minute of the wall clock in turn."""
    at, last = since.replace(second=0, microsecond=0), None
    while at < until:
        wall = at.astimezone(PARIS)
        minute = wall.hour, wall.minute
        if minute != last:
            if minute == (3, 15):
                yield at, "daily"
            if minute == (8, 30) and wall.weekday() < 5:
                yield at, "office"
            if int(at.timestamp()) // 60 % 360 == 0:
                yield at, "often"
        last = minute
        at += timedelta(minutes=1)


@pytest.mark.parametrize("days", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_an_accelerated_week_over_a_change_of_the_clocks_has_every_run_once(tmp_path: Path, days: int) -> None:
    """Real syncs, real sockets; from the Friday before the night in which Paris sets its clocks back."""
    loop = FastLoop(15_000, datetime(2026, 10, 23, 22, 0, tzinfo=UTC))
    since = loop.now()

    async def week() -> list[tuple[datetime, tuple[str, ...]]]:
        patience = Patience(connect=1e9, idle=1e9, min_speed=0, retry_for=1e9)
        began: list[tuple[datetime, tuple[str, ...]]] = []

        def take(event: Event) -> None:
            if isinstance(event, RunBegan):
                began.append((loop.now(), event.names))
            assert not isinstance(event, RunEnded) or event.outcome == "complete", event

        async with FakeUpstream(simple_catalogue()) as upstream:
            runner = Runner(settings_of(tmp_path, upstream, **WEEK), take, loop.now, patience=patience)
            runner.start()
            work = asyncio.create_task(runner.run())
            await asyncio.sleep(days * 86400)
            runner.stop()
            await work
        return began

    began = run_fast(loop, week())
    assert began[0][1] == ("daily", "office", "often")  # they never ran, and are due at once
    counts = {name: sum(name in names for _, names in began[1:]) for name in WEEK}
    wanted = list(expected_runs(began[1][0] - timedelta(hours=3), since + timedelta(days=days) - timedelta(hours=3)))
    for name in WEEK:
        due = [at for at, whose in wanted if whose == name and at > began[0][0] + timedelta(hours=3)]
        assert due
        for at in due:
            later = [moment for moment, names in began if name in names and at <= moment < at + timedelta(hours=4)]
            assert len(later) == 1, (name, at)
        assert counts[name] <= len(due) + 3
