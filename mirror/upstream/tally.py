"""How an upstream answers, counted by the hour from the requests that are made anyway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from mirror.events import Answered, Event


@dataclass(frozen=True, slots=True)
class Hour:
    """The requests to an upstream in one hour. Seconds are until the head of an answer; `slowest` is of one, `seconds` of all.

    `answered` is anything but a 5xx status: what refuses a file or a client is there. `failed`: no answer, or a 5xx status.
    `offline` could not be answered, for a reason on this side, and says nothing about the upstream.
    """

    answered: int = 0
    failed: int = 0
    offline: int = 0
    probes: int = 0
    seconds: float = 0.0
    slowest: float = 0.0

    def __add__(self, other: Hour) -> Hour:
        return Hour(
            self.answered + other.answered,
            self.failed + other.failed,
            self.offline + other.offline,
            self.probes + other.probes,
            self.seconds + other.seconds,
            max(self.slowest, other.slowest),
        )


Hours = dict[tuple[str, str], Hour]
"""By upstream, and hour as `hour_of` writes it."""


def hour_of(moment: datetime) -> str:
    """The hour that a moment is in, in UTC: `2026-10-06T14`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H")


class Tally:
    """Counts answers. A consumer of events, of which there may be thousands per second."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._counts: dict[tuple[str, int], list[float]] = {}  # by hour since 1970

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        if not isinstance(event, Answered):
            return
        key = event.upstream, int(self._now().timestamp()) // 3600
        if (counts := self._counts.get(key)) is None:
            counts = self._counts[key] = [0, 0, 0, 0, 0.0, 0.0]
        if event.status is not None and event.status < 500:
            counts[0] += 1
            counts[4] += event.seconds
            counts[5] = max(counts[5], event.seconds)
        else:
            counts[2 if event.here else 1] += 1
        if event.kind == "probe":
            counts[3] += 1

    def take(self) -> Hours:
        """What was counted since this was asked last."""
        counts, self._counts = self._counts, {}
        return {
            (upstream, hour_of(datetime.fromtimestamp(hour * 3600, UTC))): Hour(*map(int, found[:4]), *found[4:])
            for (upstream, hour), found in counts.items()
        }

    def give_back(self, hours: Hours) -> None:
        """What was taken could not be kept: it is counted again."""
        for (upstream, text), hour in hours.items():
            key = upstream, int(datetime.strptime(f"{text}+0000", "%Y-%m-%dT%H%z").timestamp()) // 3600
            mine = self._counts.get(key, [0, 0, 0, 0, 0.0, 0.0])
            both = hour + Hour(*map(int, mine[:4]), *mine[4:])
            self._counts[key] = [both.answered, both.failed, both.offline, both.probes, both.seconds, both.slowest]
