"""A few threads that ask the index, each on a connection of its own: the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from mirror.errors import IndexUnusable
from mirror.store.index import FILE
from mirror.store.offer import Offer

T = TypeVar("T")

_THREADS = 4
_WAIT = 5.0  # seconds for who keeps even readers out of the index


class Readers:
    """Questions to the index of one root, answered in threads."""

    def __init__(self, root: Path, *, threads: int = _THREADS) -> None:
        self._root = root
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._own = threading.local()
        self._opened: list[Offer] = []
        self._watcher: sqlite3.Connection | None = None
        self._watched: _Identity | None = None
        self._watchers = 0

    async def ask(self, question: Callable[[Offer], T]) -> T:
        """The answer, of one state of the index.

        Raises IndexUnusable, Locked, and what the question raises. An index that an older version wrote is unusable until a sync.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, question)

    def _ask(self, question: Callable[[Offer], T]) -> T:
        offer = self._offer()
        with offer.asking():
            return question(offer)

    def _offer(self) -> Offer:
        """The connection of this thread. An index built anew is another file: the old one would answer for a mirror of before."""
        identity = _identity(self._root / FILE)
        known: tuple[_Identity | None, Offer] | None = getattr(self._own, "offer", None)
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
        identity = _identity(self._root / FILE)
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
        """End the threads, once what they are asked is answered, and give the connections back."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        self._close_watcher()
        for offer in self._opened:
            offer.close()
        self._opened.clear()


class _Identity(NamedTuple):
    """Which file the index is. Without a write-ahead log, who may not write reads it as it lies there, and has to see it change."""

    device: int
    inode: int
    has_log: bool
    changed_ns: int


def _identity(path: Path) -> _Identity | None:
    try:
        stats = os.stat(path)
    except OSError:
        return None
    try:
        has_log = os.stat(f"{path}-wal").st_size > 0
    except OSError:
        has_log = False
    return _Identity(stats.st_dev, stats.st_ino, has_log, 0 if has_log else stats.st_mtime_ns)
