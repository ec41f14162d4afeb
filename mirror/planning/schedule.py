"""When a subscription is due: pure rules over moments that are handed in.

Moments come and go in UTC; a time zone comes in only where a schedule speaks of hours of the day. What happens to a time of day
that a change of the clocks skips or repeats is as in Debian's cron: a skipped one comes right after the gap, a repeated one once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim, CronSimError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLED_FROM = datetime(2024, 1, 1, tzinfo=UTC)
_SAMPLES = 300  # runs: a line of cron that has shorter gaps only later than that has them rarely
LARGEST_SHARE = 10
"""Jitter takes at most this part of the time between two runs."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a subscription is synced: by the clock (`cron`) or at even intervals (`period`). `text` is how the config writes it."""

    text: str
    cron: str | None = None
    period: timedelta | None = None

    def __str__(self) -> str:
        return self.text

    def after(self, moment: datetime, zone: tzinfo) -> datetime:
        """The first moment of the schedule later than `moment`. Raises ValueError for a cron line that never comes.

        Even intervals are counted from 1970, so that they stay where they are through restarts and changes of the clocks.
        """
        if self.period is not None:
            return _EPOCH + ((moment - _EPOCH) // self.period + 1) * self.period
        try:
            found: datetime = next(CronSim(self.cron or "", moment.astimezone(zone)))
        except (CronSimError, StopIteration):
            raise ValueError("must be a time that comes") from None
        return found.astimezone(UTC)

    def interval(self, moment: datetime, zone: tzinfo) -> timedelta:
        """The time between the next two moments after `moment`."""
        first = self.after(moment, zone)
        return self.after(first, zone) - first


@dataclass(frozen=True, slots=True)
class Timing:
    """A schedule in its time zone, shifted by what this host shifts all of its runs by."""

    schedule: Schedule
    zone: tzinfo
    shift: timedelta = timedelta(0)

    def after(self, moment: datetime) -> datetime:
        """The first moment later than `moment` at which a run is due."""
        return self.schedule.after(moment - self.shift, self.zone) + self.shift

    def interval(self, moment: datetime) -> timedelta:
        """The time between the next two runs."""
        return self.schedule.interval(moment, self.zone)


def shift_of(schedule: Schedule, zone: tzinfo, jitter: timedelta, share: float) -> timedelta:
    """By what a host whose share is `share`, of 0 to 1, shifts each run of a schedule: never by more than the jitter.

    A shift that went by the time to the next run would, where a short one follows a long one, have a moment come twice.
    """
    if not jitter:
        return timedelta(0)
    shortest = schedule.period
    if shortest is None:
        moment, gaps = _SAMPLED_FROM, []
        for _ in range(_SAMPLES):
            later = schedule.after(moment, zone)
            gaps.append(later - moment)
            moment = later
        shortest = min(gaps[1:])
    return min(jitter, shortest / LARGEST_SHARE) * share
