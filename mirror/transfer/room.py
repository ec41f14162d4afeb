"""The room that has to stay free on the disk, watched while transfers fill it: others write there too."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

_BYTES = 4 << 20
_SECONDS = 1.0


class Room:
    """Looks at the disk once for 4 MiB, or a second, of whatever transfers write; safe to use from any thread.

    What is yet to come is not counted: before a run, the plan as a whole was compared with what is free. Here it matters only that
    what is free *now* stays above the limit, and every transfer asks the same disk: their number makes no difference, but for the
    megabytes that are on their way between two looks.
    """

    def __init__(self, refuse: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`refuse` is called with a number of bytes that are about to be written, and raises where that would be too much."""
        self._refuse = refuse
        self._clock = clock
        self._lock = Lock()
        self._taken = _BYTES  # so that the first look comes at once
        self._looked_at = clock()

    def take(self, size: int) -> None:
        """`size` bytes are about to be written. Raises what `refuse` does, from then on each time it still would."""
        with self._lock:
            self._taken += size
            now = self._clock()
            if self._taken < _BYTES and now - self._looked_at < _SECONDS:
                return
            self._refuse(size)
            self._taken, self._looked_at = 0, now


def endless() -> Room:
    """Room for those who watch over no disk."""
    return Room(lambda size: None)
