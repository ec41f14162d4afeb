"""Which subscription is due, and when: pure rules over what is remembered of its runs.

A schedule is served up to a moment: the beginning of the last run that ended by itself. What was missed since then, by downtime or
by a run that took long, is made up by one run. A run that failed is tried again after a wait that doubles; a run that was broken
off is due again at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from mirror.planning.schedule import Timing
from mirror.planning.timetable import Window

_FIRST_WAIT = timedelta(minutes=5)
_SHORTEST_CAP = timedelta(hours=1)
_LONGEST_CAP = timedelta(hours=6)
_MOST_CRASHES = 3  # of the whole process within runs of one subscription, in a row, before it waits its turn


@dataclass(frozen=True, slots=True)
class Turn:
    """What is remembered of a scheduled subscription. Moments are in UTC."""

    served: datetime | None = None
    """Up to when its schedule has been served; None: it never ran."""

    failures: int = 0
    """Runs in a row after which it was not complete."""

    retry_at: datetime | None = None
    begun_at: datetime | None = None
    """When a run began that has not ended."""

    crashes: int = 0
    """Runs in a row that the process did not survive."""


def due_at(timing: Timing, turn: Turn, now: datetime) -> datetime:
    """When the next run is due; not later than `now` if it is due now. `turn` is to be a `corrected` one."""
    regular = now if turn.served is None else timing.after(turn.served)
    if turn.retry_at is None:
        return regular
    interval = timing.interval(now)
    return min(turn.retry_at, regular) if backoff(turn.failures, interval) <= interval else turn.retry_at


def corrected(turn: Turn, timing: Timing, now: datetime) -> Turn:
    """What is to be remembered instead, where the clock was wrong before: the schedule goes on from `now`.

    A clock that was set back by less than the time between two runs repeats nothing; by more, it was ahead, and what was served
    then says nothing. To be kept: asked anew each time, what is due would for ever be about to come.
    """
    interval = timing.interval(now)
    if turn.served is not None and turn.served - now > interval:
        turn = replace(turn, served=now)
    latest = now + backoff(turn.failures, interval)
    if turn.retry_at is not None and turn.retry_at > latest:
        turn = replace(turn, retry_at=latest)
    return turn


def backoff(failures: int, interval: timedelta) -> timedelta:
    """How long to wait after so many failures in a row: 5 minutes, doubling, up to the time between two runs, but 1 to 6 hours."""
    cap = max(_SHORTEST_CAP, min(_LONGEST_CAP, interval))
    doublings = min(max(0, failures - 1), 16)
    return min(cap, _FIRST_WAIT * (1 << doublings))


def begun(turn: Turn, now: datetime) -> Turn:
    """A run begins."""
    return replace(turn, begun_at=now)


def ended(turn: Turn, timing: Timing, outcome: str, now: datetime) -> Turn:
    """The run that began last has ended by itself, with one of the outcomes of a run."""
    served = turn.begun_at or now
    if outcome == "interrupted":
        return replace(turn, begun_at=None, crashes=0)
    if outcome == "complete":
        return Turn(served)
    failures = turn.failures + 1
    return Turn(served, failures, now + backoff(failures, timing.interval(now)))


def crashed(turn: Turn, timing: Timing, now: datetime) -> Turn:
    """The process starts, and a run of the last one has never ended: it goes on at once, unless that has happened too often."""
    crashes = turn.crashes + 1
    if crashes < _MOST_CRASHES:
        return replace(turn, begun_at=None, crashes=crashes, retry_at=now)
    return replace(ended(turn, timing, "incomplete", now), crashes=crashes)


def allowed_from(moment: datetime, window: Window | None, zone: tzinfo) -> datetime:
    """The first moment from `moment` on at which the window is open."""
    return moment if window is None or window.is_open(moment, zone) else window.next_change(moment, zone)
