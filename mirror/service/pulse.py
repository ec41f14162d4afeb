"""Whether a run is alive: it tells of something it does, or its processes are at work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from mirror.archives.child import AT_WORK
from mirror.events import Event, Waiting

_AT_WORK = 0.02  # of one processor: hashing at the speed of a slow disk takes more, an idle service a tenth of it
_SHORTEST = 5.0  # seconds over which that is measured: the system counts in hundredths of a second
_TICKS = os.sysconf("SC_CLK_TCK")


class Pulse:
    """Feels the pulse of a run: a consumer of its events, asked now and then whether it is alive."""

    def __init__(self, stalled_after: float, clock: Callable[[], float], used: Callable[[], float] | None = None) -> None:
        """`stalled_after` in seconds; `used` tells the processor seconds that this process and its children have used so far."""
        self._stalled_after = stalled_after
        self._clock = clock
        self._used = used or processor_seconds
        self._looked = self._last = clock()
        self._had = self._used()
        self._waits = False

    def __call__(self, event: Event) -> None:
        """Something was done; or the run waits for that of another process, which is not its fault."""
        self._last = self._clock()
        self._waits = isinstance(event, Waiting)

    def begin(self) -> None:
        """A run begins."""
        self._last = self._clock()
        self._waits = False

    @property
    def still(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self._last

    def is_alive(self) -> bool:
        """Whether there was a sign of life lately. To be asked at even intervals: processor time counts between two questions."""
        now = self._clock()
        if self._waits:
            self._last = now
        if self._last >= self._looked:
            # It was told of something since: what was used for that says nothing about the time after it.
            self._looked, self._had = now, self._used()
        elif now - self._looked >= _SHORTEST:
            used = self._used()
            if (used - self._had) / (now - self._looked) >= _AT_WORK:
                self._last = now
            self._looked, self._had = now, used
        return self.still < self._stalled_after


def processor_seconds() -> float:
    """What this process and those that read archives for it, with their children, have used so far.

    Not the commands of subscriptions: what they do says nothing about a run.
    """
    total, todo, seen = time.process_time(), [*AT_WORK], set[int]()
    while todo:
        pid = todo.pop()
        if pid in seen:
            continue
        seen.add(pid)
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            total += sum(int(field) for field in fields[11:15]) / _TICKS  # utime, stime, cutime, cstime: proc(5)
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except (OSError, ValueError):
            continue
    return total
