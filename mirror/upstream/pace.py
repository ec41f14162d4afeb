"""How fast one upstream may be asked: an even pace, and a wall for everybody when the upstream says stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SHORTEST_SLEEP = 0.004  # seconds: shorter sleeps cost more than the evenness they buy; the debt is kept and slept off later
_SLOWEST = 0.25  # requests per second
_RECOVERY = 60.0  # seconds without a wall after which the pace picks up by a quarter


class Pace:
    """Lets `rate` units per second through, evenly: no burst is ever saved up, which a per-second budget could spend at once."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self.rate = rate
        self._clock = clock
        self._free_at = 0.0

    async def take(self, units: float = 1.0) -> None:
        """Wait for the turn of `units`; returns when they may be spent."""
        now = self._clock()
        turn = max(self._free_at, now)
        self._free_at = turn + units / self.rate
        if turn - now > _SHORTEST_SLEEP:
            await asyncio.sleep(turn - now)


class Gate:
    """The way out to one host for all workers: an even pace of requests, and one wall.

    A 429 concerns the address, not the request: over the limit *every* request is refused, and the ban lasts while one keeps
    asking [O, "Limites d'usage"]. So nobody asks until the wall is down, and then more slowly than before.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._pace = Pace(rate, clock)
        self._full_rate = rate
        self._clock = clock
        self._wall_until = 0.0
        self._walled_at = 0.0

    @property
    def rate(self) -> float:
        """Requests per second at present."""
        return self._pace.rate

    async def pass_through(self) -> None:
        """Wait for the wall to come down and for a turn."""
        while True:
            await self._pace.take()
            wait = self._wall_until - self._clock()
            if wait <= 0:
                break
            await asyncio.sleep(wait)
        if self.rate < self._full_rate and self._clock() - self._walled_at > _RECOVERY:
            self._pace.rate = min(self._full_rate, self.rate * 1.25)
            self._walled_at = self._clock()

    def raise_wall(self, seconds: float) -> bool:
        """Stop everybody for `seconds`; returns whether this is a new wall rather than another voice of the same ban."""
        now = self._clock()
        fresh = now >= self._wall_until
        self._wall_until = max(self._wall_until, now + seconds)
        self._walled_at = self._wall_until
        if fresh:
            self._pace.rate = max(min(_SLOWEST, self._full_rate), self.rate / 2)
        return fresh
