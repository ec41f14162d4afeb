"""When a subscription is due: by the clock of its time zone, through changes of the clocks, jumps, downtime and failures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.planning.agenda import Turn, allowed_from, backoff, begun, corrected, crashed, due_at, ended
from mirror.planning.schedule import Timing, shift_of
from mirror.planning.timetable import Bandwidth
from mirror.settings.hours import parse_bandwidth, parse_window
from mirror.settings.schedule import parse_schedule

PARIS = ZoneInfo("Europe/Paris")
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def timing(text: str, zone: ZoneInfo = PARIS, *, jitter: timedelta = timedelta(0), share: float = 0.0) -> Timing:
    schedule = parse_schedule(text)
    return Timing(schedule, zone, shift_of(schedule, zone, jitter, share))


def paris(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold).astimezone(UTC)


def moments(of: Timing, since: datetime, until: datetime) -> Iterator[datetime]:
    at = of.after(since)
    while at < until:
        yield at
        at = of.after(at)


def runs(of: Timing, since: datetime, until: datetime, *, outcome: str = "complete", took: timedelta = MINUTE) -> list[datetime]:
    """The beginnings of the runs of a subscription that is looked at every half a minute, as the service does."""
    now, turn, found = since, Turn(since), []
    while now < until:
        if due_at(of, turn, now) <= now:
            found.append(now)
            turn = ended(begun(turn, now), of, outcome, now + took)
            now += took
        now += timedelta(seconds=30)
    return found


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-07-14"])
@pytest.mark.parametrize("clock", ["00:00", "01:59", "02:00", "02:30", "02:59", "03:00", "03:15", "23:59"])
def test_a_daily_run_comes_once_on_each_day_of_the_calendar(day: str, clock: str) -> None:
    """On the days of spring and autumn on which Paris changes its clocks, too."""
    first, last = (f"{date.fromisoformat(day) + timedelta(days=days)}T00:00" for days in (-3, 4))
    found = list(moments(timing(f"daily {clock}"), paris(first) - SECOND, paris(last) - SECOND))
    assert len({at.astimezone(PARIS).date() for at in found}) == len(found) == 7


def test_a_time_that_the_clocks_skip_comes_right_after_the_gap() -> None:
    (at,) = moments(timing("daily 02:30"), paris("2026-03-29T00:00"), paris("2026-03-29T23:00"))
    assert at == paris("2026-03-29T03:00")


def test_even_intervals_do_not_care_for_the_clocks() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        found = list(moments(timing("every 6h"), paris(f"{day}T00:00"), paris(f"{day}T00:00") + timedelta(days=2)))
        assert {later - earlier for earlier, later in pairwise(found)} == {6 * HOUR}


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["daily 03:15", "every 6h", "hourly", "30 2 * * *", "0 8 * * 1-5"]), st.integers(0, 364), st.floats(0, 1))
def test_jitter_is_the_same_shift_for_each_run(text: str, day: int, share: float) -> None:
    """It is at most what the config says and at most a tenth of the time between runs, and no run is lost or added by it."""
    since = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    plain = list(moments(timing(text), since, since + timedelta(days=4)))
    shifted = timing(text, jitter=timedelta(minutes=10), share=share)
    later = list(moments(shifted, since + timedelta(minutes=10), since + timedelta(days=4, minutes=10)))
    pairs = [
        (at, min(late for late in later if late >= at))
        for at in plain
        if at > since + timedelta(minutes=10) and at <= later[-1] - HOUR
    ]
    assert pairs
    assert all(timedelta(0) <= late - at <= timedelta(minutes=10) for at, late in pairs)
    assert len({late for _, late in pairs}) == len(pairs)


def test_what_was_missed_is_made_up_once() -> None:
    """After a fortnight of downtime there is one run, and then the schedule again."""
    at = timing("daily 03:15")
    turn, now = Turn(paris("2026-11-01T03:15")), paris("2026-11-15T10:00")
    assert due_at(at, turn, now) <= now
    turn = ended(begun(turn, now), at, "complete", now + MINUTE)
    assert due_at(at, turn, now + MINUTE) == paris("2026-11-16T03:15")


def test_what_never_ran_is_due_at_once() -> None:
    now = paris("2026-11-15T10:00")
    assert due_at(timing("daily 03:15"), Turn(), now) == now


def test_a_clock_that_is_set_back_repeats_nothing() -> None:
    """Half an hour, as after a bad start of ntpd, between a daily run and its next."""
    at, now = timing("daily 03:15"), paris("2026-11-15T03:15")
    turn = ended(begun(Turn(now - HOUR), now), at, "complete", now + MINUTE)
    assert due_at(at, turn, now - HOUR / 2) == paris("2026-11-16T03:15")


@pytest.mark.parametrize("text", ["every 6h", "daily 03:15", "hourly"])
def test_a_clock_that_was_a_year_ahead_does_not_stop_a_schedule_for_a_year(text: str) -> None:
    at, wrong, right = timing(text), paris("2027-11-15T03:15"), paris("2026-11-15T12:01")
    turn = ended(begun(Turn(), wrong), at, "complete", wrong + MINUTE)
    turn = corrected(turn, at, right)
    assert due_at(at, turn, right) == at.after(right)
    later = right + timedelta(days=2)
    assert due_at(at, corrected(turn, at, later), later) <= later


@pytest.mark.parametrize("ahead", [1.5, 10, 365])
def test_a_clock_that_was_ahead_costs_no_run_after_it_is_set_right(ahead: float) -> None:
    """Neither of what was served, nor of what was to be tried again."""
    at, right = timing("every 6h"), paris("2026-11-15T12:01")
    wrong = right + timedelta(days=ahead)
    for turn in (Turn(wrong), Turn(right, failures=12, retry_at=wrong)):
        found, now = 0, right
        while now < right + timedelta(days=5):
            turn = corrected(turn, at, now)
            if due_at(at, turn, now) <= now:
                found, turn = found + 1, ended(begun(turn, now), at, "complete", now)
            now += timedelta(minutes=10)
        assert found >= 19


@pytest.mark.parametrize("text", ["0 0,1 * * *", "0 6,7,12 * * *", "*/20 8-18 * * *", "*/7 * * * *", "0 3 * * 1-5"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_jitter_has_no_run_come_twice(text: str, share: float) -> None:
    since = paris("2026-10-22T12:00")
    plain = list(moments(timing(text), since, since + timedelta(days=6)))
    shifted = list(moments(timing(text, jitter=timedelta(hours=3), share=share), since, since + timedelta(days=6)))
    assert abs(len(shifted) - len(plain)) <= 1


def test_a_clock_that_jumps_ahead_makes_up_one_run() -> None:
    at, now = timing("hourly"), paris("2026-11-15T12:00")
    turn = ended(begun(Turn(), now), at, "complete", now)
    later = now + timedelta(days=3, minutes=10)
    assert due_at(at, turn, later) <= later
    assert due_at(at, ended(begun(turn, later), at, "complete", later), later) == paris("2026-11-18T13:00")


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(["every 30m", "hourly", "every 6h", "daily 03:15"]), st.integers(1, 300))
def test_each_run_comes_once_however_long_they_take(text: str, minutes: int) -> None:
    """What falls into a run under way is made up right after it, by one run for all of it."""
    of, since = timing(text), paris("2026-10-23T12:07")
    until, took = since + timedelta(days=3), timedelta(minutes=minutes)
    found = runs(of, since, until, took=took)
    due = list(moments(of, since, until))
    for at in due[:-1]:
        assert any(at <= begin <= at + took + MINUTE for begin in found) or at > until - took
    assert len(found) <= len(due)
    assert all(later - earlier >= took for earlier, later in pairwise(found))


def test_failures_wait_longer_and_longer_up_to_a_bound() -> None:
    assert [backoff(n, HOUR * 24) / MINUTE for n in range(1, 9)] == [5, 10, 20, 40, 80, 160, 320, 360]
    assert backoff(10**6, MINUTE) == HOUR


def test_a_subscription_that_fails_every_minute_is_tried_less_often() -> None:
    since = paris("2026-11-15T00:00")
    found = runs(timing("every 1m"), since, since + 24 * HOUR, outcome="unavailable")
    assert len(found) < 40
    assert max(later - earlier for earlier, later in pairwise(found)) < 1.1 * HOUR


def test_a_daily_run_that_failed_is_tried_again_before_the_next_day_and_on_it() -> None:
    since = paris("2026-11-15T00:00")
    found = runs(timing("daily 03:15"), since, since + timedelta(days=3), outcome="unavailable")
    assert found[1] - found[0] < timedelta(minutes=7)
    for day in (15, 16, 17):
        assert paris(f"2026-11-{day}T03:15") in {at.replace(second=0) for at in found}


def test_one_success_ends_the_waiting() -> None:
    at, now = timing("hourly"), paris("2026-11-15T12:00")
    turn = Turn(now)
    for _ in range(4):
        turn = ended(begun(turn, now), at, "incomplete", now)
    assert turn.failures == 4
    assert ended(begun(turn, now), at, "complete", now) == Turn(now)


def test_a_run_that_was_stopped_is_due_again_at_once() -> None:
    at, now = timing("daily 03:15"), paris("2026-11-15T03:15")
    turn = ended(begun(Turn(now - 24 * HOUR), now), at, "interrupted", now + MINUTE)
    assert due_at(at, turn, now + MINUTE) <= now + MINUTE
    assert turn.failures == 0


def test_a_run_that_the_process_did_not_survive_goes_on_at_once_but_not_for_ever() -> None:
    """From the third time on it waits its turn, so that what kills the process does not starve the others."""
    at, now, waits = timing("daily 03:15"), paris("2026-11-15T03:15"), []
    turn = Turn(now - 24 * HOUR)
    for _ in range(6):
        turn = crashed(begun(turn, now), at, now)
        waits.append((due_at(at, turn, now) - now) / MINUTE)
    assert waits == [0, 0, 5, 10, 20, 40]


def test_a_window_holds_back_what_is_due_outside_of_it() -> None:
    window = parse_window("20:00-06:00")
    assert allowed_from(paris("2026-11-15T12:00"), window, PARIS) == paris("2026-11-15T20:00")
    for inside in ("2026-11-15T20:00", "2026-11-15T23:59", "2026-11-16T05:59"):
        assert allowed_from(paris(inside), window, PARIS) == paris(inside)
    assert allowed_from(paris("2026-11-16T06:00"), window, PARIS) == paris("2026-11-16T20:00")
    assert allowed_from(paris("2026-11-16T06:00"), None, PARIS) == paris("2026-11-16T06:00")


@pytest.mark.parametrize(("text", "hours"), [("01:30-04:00", {"2026-03-29": 1.5, "2026-10-25": 3.5, "2026-07-14": 2.5})])
def test_a_window_is_open_by_the_clock_on_the_wall(text: str, hours: dict[str, float]) -> None:
    """An hour less in the night in which the clocks skip one, an hour more in that in which they repeat one."""
    window = parse_window(text)
    for day, expected in hours.items():
        midnight = paris(f"{day}T00:00")
        minutes = sum(window.is_open(midnight + n * MINUTE, PARIS) for n in range(24 * 60))
        assert minutes / 60 == expected


@settings(deadline=None, max_examples=30)
@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)))
def test_the_next_change_of_a_window_is_the_first_minute_that_differs(moment: datetime) -> None:
    window = parse_window("02:15-02:45")
    change = window.next_change(moment, PARIS)
    assert change > moment
    assert window.is_open(change, PARIS) != window.is_open(moment, PARIS)
    assert window.is_open(change - MINUTE, PARIS) == window.is_open(moment, PARIS) or change - MINUTE < moment


def test_each_rate_holds_until_the_time_of_the_next() -> None:
    rates = parse_bandwidth("08:00 5 MB, 20:00 off, 12:30 1 MB")
    clock = {
        text: rates.at(paris(f"2026-11-15T{text}").astimezone(PARIS).time())
        for text in ("00:00", "07:59", "08:00", "12:30", "19:59")
    }
    assert clock == {"00:00": None, "07:59": None, "08:00": 5_000_000, "12:30": 1_000_000, "19:59": 1_000_000}
    assert Bandwidth.constant(7).at(paris("2026-11-15T03:00").time()) == 7
