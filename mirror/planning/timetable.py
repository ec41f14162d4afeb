"""Hours of the day: when downloads may run, and how fast. Pure: the moment is an argument, and local where hours are meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

_LOOK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Window:
    """From one time of day to another, which may be on the next day: `20:00-06:00`."""

    opens: time
    closes: time

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    def is_open(self, moment: datetime, zone: tzinfo) -> bool:
        """Whether `moment` is in these hours."""
        clock = moment.astimezone(zone).time()
        if self.opens < self.closes:
            return self.opens <= clock < self.closes
        return clock >= self.opens or clock < self.closes

    def next_change(self, moment: datetime, zone: tzinfo) -> datetime:
        """When it next opens or closes, in UTC, to the minute."""
        state = self.is_open(moment, zone)
        at = moment.replace(second=0, microsecond=0)
        for _ in range(60 * 50):  # a day has 25 hours at most; a zone that jumps by hours more
            at += _LOOK
            if self.is_open(at, zone) != state:
                return at.astimezone(UTC)
        return at.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Bytes per second, by the time of day: each rate holds from its time until that of the next; None is no limit."""

    steps: Sequence[tuple[time, int | None]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(sorted(self.steps)))

    @classmethod
    def constant(cls, rate: int | None) -> Bandwidth:
        """The same at all times."""
        return cls(((time(0), rate),))

    @property
    def is_constant(self) -> bool:
        """Whether the time of day makes no difference."""
        return len({rate for _, rate in self.steps}) == 1

    def at(self, clock: time) -> int | None:
        """The rate at a time of day."""
        past = [rate for begins, rate in self.steps if begins <= clock]
        return past[-1] if past else self.steps[-1][1]
