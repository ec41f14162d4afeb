"""When a subscription is due: pure rules over moments that are handed in.

Moments come and go in UTC; a time zone comes in only where a schedule speaks of hours of the day. What happens to a time of day
that a change of the clocks skips or repeats is as in Debian's cron: a skipped one comes right after the gap, a repeated one once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim, CronSimError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    jitter: timedelta = timedelta(0)
    """At most so much; the share of a host, of 0 to 1, is `share`."""

    share: float = 0.0

    def after(self, moment: datetime) -> datetime:
        """The first moment later than `moment` at which a run is due."""
        shift = self._shift(moment)
        return self.schedule.after(moment - shift, self.zone) + shift

    def interval(self, moment: datetime) -> timedelta:
        """The time between the next two runs."""
        return self.schedule.interval(moment, self.zone)

    def _shift(self, moment: datetime) -> timedelta:
        if not self.jitter:
            return timedelta(0)
        return min(self.jitter, self.interval(moment - self.jitter) / LARGEST_SHARE) * self.share
