"""A few threads that ask the index, each on a connection of its own: the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

from mirror.errors import IndexUnusable, MirrorError
from mirror.store.index import FILE, Identity, identity_of
from mirror.store.offer import Offer

T = TypeVar("T")

_WAIT = 5.0  # seconds for who keeps even readers out of the index

Lane = Literal["files", "listings", "costly"]


class TooBusy(MirrorError):
    """More is asked at once than can be answered in time."""


@dataclass(frozen=True, slots=True)
class _Width:
    """How many questions of a lane are answered at once, how many may wait for that, and for how many seconds one may take."""

    threads: int
    waiting: int
    seconds: float


_LANES: dict[Lane, _Width] = {
    "files": _Width(2, 64, 20.0),  # batches: whatever is asked of listings, downloads go on
    "listings": _Width(4, 256, 20.0),
    "costly": _Width(1, 8, 10.0),  # what computes for long; one at a time, as it takes the loop's own processor time
}


class _LaneOfThreads:
    """A pool of threads with a bound on what waits for it."""

    def __init__(self, name: Lane, width: _Width) -> None:
        self.width = width
        self.pool = ThreadPoolExecutor(width.threads, thread_name_prefix=name)
        self.asked = 0

    @property
    def is_full(self) -> bool:
        """Whether one more would wait for too long."""
        return self.asked >= self.width.threads + self.width.waiting


class Readers:
    """Questions to the index of one root, answered in threads."""

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._lanes = {name: _LaneOfThreads(name, width) for name, width in _LANES.items()}
        self._own = threading.local()
        self._opened: list[Offer] = []
        self._closing = False
        self._watcher: sqlite3.Connection | None = None
        self._watched: Identity | None = None
        self._watchers = 0

    async def ask(self, question: Callable[[Offer], T], lane: Lane = "listings") -> T:
        """The answer, of one state of the index.

        Raises IndexUnusable, Locked, and what the question raises; TooBusy where too many wait already, GivenUp after the seconds
        of the lane. An index that an older version wrote is unusable until a sync.
        """
        threads = self._lanes[lane]
        if threads.is_full:
            raise TooBusy("too much is asked at once; try again in a moment")
        threads.asked += 1
        try:
            answer = asyncio.get_running_loop().run_in_executor(threads.pool, self._ask, question, threads.width.seconds)
        except BaseException:
            threads.asked -= 1
            raise
        answer.add_done_callback(lambda _: self._is_answered(threads))
        return await answer

    def _is_answered(self, threads: _LaneOfThreads) -> None:
        threads.asked -= 1

    def _ask(self, question: Callable[[Offer], T], seconds: float) -> T:
        last = self._clock() + seconds
        offer = self._offer()
        with offer.asking(lambda: self._closing or self._clock() > last):
            return question(offer)

    def _offer(self) -> Offer:
        """The connection of this thread. An index built anew is another file: the old one would answer for a mirror of before."""
        identity = identity_of(self._root / FILE)
        known: tuple[Identity | None, Offer] | None = getattr(self._own, "offer", None)
        if known is not None and known[0] == identity and identity is not None:
            return known[1]
        if known is not None:
            self._own.offer = None
            self._opened.remove(known[1])
            known[1].close()
        offer = Offer(self._root, wait=_WAIT)
        if not offer.is_readable:
            offer.close()
            raise IndexUnusable(f"an older version wrote the index at {self._root / FILE}; the next sync brings it up to date")
        self._own.offer = (identity, offer)
        self._opened.append(offer)
        return offer

    def version(self) -> Hashable | None:
        """Changes whenever the index does; None where that cannot be told now. Takes microseconds, and waits for nobody."""
        identity = identity_of(self._root / FILE)
        if identity is None or not identity.has_log:
            return identity
        try:
            if self._watcher is None or self._watched != identity:
                self._close_watcher()
                where = f"file:{quote(str(self._root / FILE))}?mode=ro"
                self._watcher = sqlite3.connect(where, uri=True, timeout=0, check_same_thread=False)
                self._watched = identity
                self._watchers += 1  # what two connections count cannot be compared
            return identity, self._watchers, self._watcher.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:
            self._close_watcher()
            return None

    def _close_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
        self._watcher = self._watched = None

    async def close(self) -> None:
        """Give up what is asked, end the threads, and give the connections back."""
        self._closing = True
        for threads in self._lanes.values():
            await asyncio.to_thread(threads.pool.shutdown, cancel_futures=True)
        self._close_watcher()
        for offer in self._opened:
            offer.close()
        self._opened.clear()
