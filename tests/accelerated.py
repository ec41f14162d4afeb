"""An event loop and a clock that run faster than time: real sockets, real files, and a week in half a minute.

All that waits by the loop waits so many times shorter, timeouts too: what is under test needs patience to match.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")


class FastLoop(asyncio.SelectorEventLoop):
    """`speed` seconds of it pass in one. `now` is the time of day, which was `since` when the loop was made."""

    def __init__(self, speed: float, since: datetime) -> None:
        self._speed = speed
        self._since = since
        self._began = time.monotonic()
        super().__init__(_Fast(speed))

    def time(self) -> float:
        return (time.monotonic() - self._began) * self._speed

    def now(self) -> datetime:
        return self._since + timedelta(seconds=self.time())


class _Fast(selectors.PollSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._speed)


def run(loop: FastLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end, and close the loop."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        asyncio.set_event_loop(None)
