"""How upstreams answer is measured from what is asked anyway, and from one small request an hour where nothing else is."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import MirrorError
from mirror.events import Answered, Emit, Event, Walled
from mirror.observing.availability import available, months
from mirror.observing.watch import Watch, heard_in, write_hours
from mirror.settings import Settings, Upstream, from_mapping
from mirror.store.index import Index
from mirror.store.lock import root_lock
from mirror.store.observed import Observed, UpstreamHour
from mirror.store.query import Reader
from mirror.sync import sync
from mirror.upstream.answer import is_here
from mirror.upstream.session import Session
from mirror.upstream.tally import Hour, Tally, hour_of

from .mirrored import HASTE, LONG_AFTER, Mirrored
from .upstream import FakeUpstream, faults, simple_catalogue
from .virtual_time import VirtualLoop, run


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(simple_catalogue(1, 2, 1)) as fake:
        yield fake


def hours_of(root: Path) -> list[UpstreamHour]:
    reader = Reader(root)
    try:
        return list(Observed(reader).hours())
    finally:
        reader.close()


def answers(events: list[Event]) -> list[tuple[int | None, str]]:
    return [(event.status, event.kind) for event in events if isinstance(event, Answered)]


# -- what is counted


async def test_every_request_of_a_sync_is_counted_in_its_hour(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Each once, listings and files alike; a 404 of a file and a 403 are answers, a 500 and a broken connection are none."""
    upstream.script("download", [faults.status(404), faults.status(500), faults.close_before_response()])
    mirror = Mirrored(tmp_path, upstream)
    report = await mirror.sync()
    told = answers(mirror.events)
    assert len(told) == report.requests
    assert {kind for _, kind in told} == {"listing", "file"}
    (hour,) = hours_of(tmp_path)
    assert (hour.upstream, hour.hour) == ("gpf", "2027-01-01T12")
    assert hour.counts.failed == sum(status is None or status >= 500 for status, _ in told) >= 1
    assert hour.counts.answered == len(told) - hour.counts.failed
    assert hour.counts.probes == hour.counts.offline == 0
    assert 0 < hour.counts.slowest <= hour.counts.seconds

    mirror.clock.pass_(minutes=5)
    await mirror.sync()
    assert hours_of(tmp_path)[0].counts.answered == hour.counts.answered + len(answers(mirror.events))
    mirror.clock.pass_(hours=1)
    await mirror.sync()
    assert [found.hour for found in hours_of(tmp_path)] == ["2027-01-01T12", "2027-01-01T13"]


async def test_an_upstream_that_is_away_is_counted_as_such(upstream: FakeUpstream, tmp_path: Path) -> None:
    mirror = Mirrored(tmp_path, upstream)
    await upstream.stop()
    report = await mirror.sync()
    assert report.outcome == "unavailable"
    (hour,) = hours_of(tmp_path)
    assert hour.counts.answered == 0
    assert hour.counts.failed == len(answers(mirror.events)) >= 2


async def test_a_plan_leaves_no_trace(upstream: FakeUpstream, tmp_path: Path) -> None:
    mirror = Mirrored(tmp_path, upstream)
    await mirror.sync()
    before = hours_of(tmp_path)
    await mirror.plan()
    assert hours_of(tmp_path) == before


async def test_what_is_three_years_old_is_forgotten(upstream: FakeUpstream, tmp_path: Path) -> None:
    mirror = Mirrored(tmp_path, upstream)
    await mirror.sync()
    mirror.clock.pass_(days=4 * 366)
    await mirror.sync()
    assert [found.hour[:4] for found in hours_of(tmp_path)] == ["2031"]


class NoNames(AbstractResolver):
    """A resolver of a machine whose name servers do not answer, or say that there is no such name."""

    def __init__(self, code: int) -> None:
        self.code = code

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        raise OSError(None, "failed") from socket.gaierror(self.code, "failed")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(("code", "here"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)])
async def test_a_machine_without_name_servers_is_no_fault_of_the_upstream(code: int, here: bool) -> None:
    events: list[Event] = []
    tally = Tally(lambda: LONG_AFTER)
    session = Session("gpf", "http://example.org/capabilities", emit=events.append, resolver=NoNames(code), patience=HASTE)
    async with session:
        with pytest.raises(aiohttp.ClientError):
            async with session.open("http://example.org/capabilities"):
                pass
    (told,) = [event for event in events if isinstance(event, Answered)]
    assert (told.status, told.here) == (None, here)
    tally(told)
    counts = tally.take()["gpf", "2027-01-01T12"]
    assert (counts.offline, counts.failed, counts.answered) == (here, not here, 0)


@pytest.mark.parametrize(
    ("number", "here"),
    [
        (errno.ENETUNREACH, True),
        (errno.EMFILE, True),
        (errno.EPERM, True),
        (errno.ECONNREFUSED, False),
        (errno.EHOSTUNREACH, False),
    ],
)
def test_which_errors_are_of_this_side(number: int, here: bool) -> None:
    outer = aiohttp.ClientConnectionError("cannot connect")
    outer.__cause__ = OSError(number, "why")
    assert is_here(outer) is is_here(OSError(number, "why")) is here


def test_a_timeout_is_of_the_upstream() -> None:
    assert not is_here(TimeoutError())


# -- probes


SETTINGS = {
    "root": "/nowhere",
    "upstream": {
        "one": {"url": "https://one.example/telechargement/capabilities"},
        "chunk": {"url": "https://one.example/chunk/telechargement/capabilities"},
        "other": {"url": "https://other.example/telechargement/capabilities"},
        "unused": {"url": "https://unused.example/telechargement/capabilities"},
    },
    "subscription": {name: {"upstream": name, "resources": ["*"]} for name in ("one", "chunk", "other")},
}


class World:
    """A watch in virtual time: what it asks and when, in minutes since it began."""

    def __init__(self, probe_every: str = "1h") -> None:
        self.loop = VirtualLoop()
        self.asked: list[tuple[str, float]] = []
        self.saved: list[int] = []
        self.free = True
        self.status: int | None = 200
        settings = from_mapping({**SETTINGS, "service": {"probe_every": probe_every}}, Path("/"), {})
        self.watch = Watch(settings, now=self.now, clock=self.loop.time, asker=self.ask, save=self.save)

    def now(self) -> datetime:
        return LONG_AFTER + timedelta(seconds=self.loop.time())

    async def ask(self, name: str, upstream: Upstream, emit: Emit) -> None:
        self.asked.append((name, round(self.loop.time() / 60, 1)))
        emit(Answered(name, self.status, 0.1, "probe"))

    async def save(self, hours: dict[tuple[str, str], Hour], at: datetime) -> bool:
        if self.free:
            self.saved.append(sum(hour.probes for hour in hours.values()))
        return self.free

    def pass_(self, *minutes_and_events: tuple[float, Event], until: float) -> None:
        """Let time pass until `until` minutes, with these events of syncs on the way."""

        async def main() -> None:
            task = asyncio.create_task(self.watch.run_forever())
            for minute, event in minutes_and_events:
                await asyncio.sleep(minute * 60 - self.loop.time())
                self.watch(event)
            await asyncio.sleep(until * 60 - self.loop.time())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(self.loop, main())


def test_one_small_request_an_hour_to_each_upstream_that_is_in_use() -> None:
    world = World()
    world.pass_(until=130)
    assert world.asked == [(name, minute) for minute in (1, 61, 121) for name in ("one", "chunk", "other")]
    assert world.saved == [3, 3, 3]


def test_who_was_asked_anyway_is_not_probed() -> None:
    """A request of a sync puts the next probe off by an hour, whatever came of it."""
    world = World()
    world.pass_((30, Answered("one", 200, 0.1, "file")), (80, Answered("one", None, 0.1, "listing")), until=130)
    assert [minute for name, minute in world.asked if name == "one"] == [1]
    assert [minute for name, minute in world.asked if name == "other"] == [1, 61, 121]


def test_nobody_is_probed_behind_a_wall() -> None:
    """The wall is that of the host: other services of it wait as well, other hosts do not."""
    world = World()
    world.pass_((50, Walled("one", 429, 1800, 1)), until=100)
    assert [minute for name, minute in world.asked if name == "one"] == [1, 80]
    assert [minute for name, minute in world.asked if name == "chunk"] == [1, 80]
    assert [minute for name, minute in world.asked if name == "other"] == [1, 61]


def test_zero_never_probes() -> None:
    world = World("0s")
    world.pass_(until=300)
    assert world.asked == []


def test_while_a_sync_has_the_mirror_counts_are_kept_and_written_later() -> None:
    world = World()
    world.free = False

    async def free() -> None:
        await asyncio.sleep(90 * 60)
        world.free = True

    async def main() -> None:
        task, other = asyncio.create_task(world.watch.run_forever()), asyncio.create_task(free())
        await asyncio.sleep(100 * 60)
        task.cancel()
        await asyncio.gather(task, other, return_exceptions=True)

    run(world.loop, main())
    assert world.saved == [6]


async def test_a_probe_is_one_polite_request(upstream: FakeUpstream, tmp_path: Path) -> None:
    """By the rules of the session: who we are and our key are in it; one entry of the capabilities is asked for."""
    mirror = Mirrored(tmp_path, upstream)
    mirror.upstream_options = {"api_key": "s3cret"}
    await mirror.sync()
    upstream.clear()
    before = hours_of(tmp_path)[0].counts
    events: list[Event] = []
    watch = Watch(mirror.settings, events.append, now=mirror.clock)
    await watch.probe("gpf")
    (request,) = upstream.requests
    assert (request.kind, dict(request.query)) == ("capabilities", {"page": "1", "limit": "1", "apikey": "s3cret"})
    assert request.headers["User-Agent"].startswith("inspire-mirror/")
    assert answers(events) == [(200, "probe")]
    assert "s3cret" not in repr(events)
    assert await watch.save()
    after = hours_of(tmp_path)[0].counts
    assert (after.answered, after.probes) == (before.answered + 1, 1)


@pytest.mark.parametrize(
    "fault", [faults.status(500), faults.retry_after(429, 7), faults.retry_after(503, 7), faults.close_before_response()]
)
async def test_a_probe_that_fails_is_not_repeated_and_waits_for_nothing(
    fault: faults.Fault, upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.script("capabilities", [fault], forever=True)
    mirror = Mirrored(tmp_path, upstream)
    events: list[Event] = []
    await asyncio.wait_for(Watch(mirror.settings, events.append, now=mirror.clock).probe("gpf"), 5)
    assert len(answers(events)) == 1
    assert upstream.count() <= 2  # the transport itself asks twice where a connection breaks


async def test_what_was_counted_waits_for_the_lock_and_for_an_index(upstream: FakeUpstream, tmp_path: Path) -> None:
    """It is neither lost nor does it make an index where nothing was synced yet."""
    mirror = Mirrored(tmp_path, upstream)
    watch = Watch(mirror.settings, now=mirror.clock)
    await watch.probe("gpf")
    assert not await watch.save()
    assert os.listdir(tmp_path) == []
    await mirror.sync()
    with root_lock(tmp_path):
        assert not await watch.save()
    assert await watch.save()
    assert hours_of(tmp_path)[0].counts.probes == 1
    assert heard_in(mirror.settings, mirror.clock()) == ["gpf"]
    assert heard_in(mirror.settings, mirror.clock() + timedelta(hours=2)) == []


async def test_a_service_that_restarts_does_not_ask_again_in_the_same_hour(upstream: FakeUpstream, tmp_path: Path) -> None:
    mirror = Mirrored(tmp_path, upstream)
    await mirror.sync()
    upstream.clear()
    seconds = [0.0]
    watch = Watch(mirror.settings, now=mirror.clock, clock=lambda: seconds[0])
    await watch.look_back()
    seconds[0] = 3599.0
    assert watch.due() == []
    seconds[0] = 3600.0
    assert watch.due() == ["gpf"]


# -- what it says


def hour(day: int, clock: int, answered: int, failed: int = 0, upstream: str = "gpf", seconds: float = 0.0) -> UpstreamHour:
    at = datetime(2026, 10, day, clock, tzinfo=UTC)
    return UpstreamHour(upstream, hour_of(at), Hour(answered, failed, 0, 0, seconds, seconds))


def test_hours_weigh_the_same_however_many_requests_they_have() -> None:
    """A nightly sync of a thousand requests, one quiet hour, one hour down: two thirds."""
    (month,) = months([hour(1, 3, 1000), hour(1, 4, 1), hour(1, 5, 0, 20)], {})["gpf"]
    found = month.available
    assert month.month == "2026-10"
    assert found.ratio == pytest.approx(2 / 3)
    assert (found.hours, found.hours_down, found.requests, found.failed) == (3, 1, 1021, 20)


def test_months_are_told_apart_newest_first() -> None:
    later = replace(hour(1, 3, 1), hour="2026-11-01T00")
    assert [month.month for month in months([hour(31, 23, 1), later], {})["gpf"]] == ["2026-11", "2026-10"]


def test_when_no_host_at_all_answers_it_is_this_machine() -> None:
    """But two services of one host may well be down together, and one upstream alone proves nothing."""
    hosts = {"gpf": "a", "chunk": "a", "other": "b"}
    both = [hour(1, 3, 0, 5), hour(1, 3, 0, 5, "other"), hour(1, 4, 1), hour(1, 4, 1, 0, "other")]
    assert months(both, hosts)["gpf"][0].available.ratio == 1.0
    same = [hour(1, 3, 0, 5), hour(1, 3, 0, 5, "chunk"), hour(1, 4, 1)]
    assert months(same, hosts)["gpf"][0].available.ratio == 0.5
    one_answers = [hour(1, 3, 0, 5), hour(1, 3, 0, 5, "chunk"), hour(1, 3, 1, 0, "other")]
    assert months(one_answers, hosts)["gpf"][0].available.ratio == 0.0


HOURS = st.lists(st.builds(Hour, *[st.integers(0, 9)] * 4, st.just(1.0), st.just(0.5)))


@given(HOURS)
def test_availability_is_a_share_and_only_measured_hours_count(hours: list[Hour]) -> None:
    found = available("gpf", hours)
    assert found.hours == sum(1 for h in hours if h.answered + h.failed)
    assert (found.ratio is None) == (found.hours == 0)
    if found.ratio is not None:
        assert 0 <= found.ratio <= 1
        assert (found.ratio == 1) == (found.failed == 0)


@given(HOURS, st.integers(0, 20))
def test_counting_in_parts_is_counting_at_once(hours: list[Hour], cut: int) -> None:
    """Whether what was counted goes into the index in one piece or in two."""
    tally = Tally(lambda: LONG_AFTER)
    for part in hours[:cut], hours[cut:]:
        tally.give_back({("gpf", "2027-01-01T12"): sum(part, Hour())})
    assert tally.take() == {("gpf", "2027-01-01T12"): sum(hours, Hour())}
    assert tally.take() == {}


def test_hours_add_up_in_the_index(tmp_path: Path) -> None:
    with Index(tmp_path):
        pass
    settings = from_mapping({**SETTINGS, "root": str(tmp_path)}, tmp_path, {})
    one, two = Hour(1, 2, 3, 4, 0.5, 0.25), Hour(10, 20, 30, 40, 5.0, 0.125)
    for part in one, two:
        assert write_hours(settings, {("one", hour_of(LONG_AFTER)): part}, LONG_AFTER)
    assert [found.counts for found in hours_of(tmp_path)] == [one + two]


async def test_a_key_is_in_nothing_that_is_told_about_a_probe(tmp_path: Path) -> None:
    """Also where nobody answers."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/capabilities"
        upstream: dict[str, Any] = {"url": url, "api_key": "s3cret"}
        data = {"root": str(tmp_path), "upstream": {"gpf": upstream}, "subscription": {"x": {"resources": ["*"]}}}
        settings: Settings = from_mapping(data, tmp_path, {})
        events: list[Event] = []
        await Watch(settings, events.append).probe("gpf")
    assert answers(events) == [(None, "probe")]
    assert "s3cret" not in repr(events)
    with pytest.raises(MirrorError):
        await sync(settings, ["nobody"])
