"""Bytes to disk while they are hashed: the loop only receives, two threads do the rest.

MD5, which the feed forces on us, is the slowest step (about 0.6 GB/s a core), SHA-256 and the writing together cost less; so one
thread has the MD5, another the SHA-256 and the file, and a batch of at least 1 MiB pays for the hop between threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

from mirror.errors import GuardRefused
from mirror.transfer.room import Room, endless

T = TypeVar("T")

BATCH = 1 << 20
"""Bytes that are handed on together."""

_IN_FLIGHT = 3  # batches that may wait for the threads: memory stays flat however fast the network is
_READ = 1 << 20
_CHECKPOINT_BYTES = 64 << 20  # between flushes to the disk: so that no flush, nor the last, has much to do
_CHECKPOINT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Hashes:
    """Of `size` bytes; lower-case hex."""

    size: int
    md5: str
    sha256: str


class Lane:
    """The threads that a worker keeps for all its transfers: MD5; SHA-256 and the file; flushing. Each works in order.

    `small` is for files that come in one batch. Workers may share one: their work is so little that the hand-over between threads
    costs more than it, and one thread that stays busy is handed over to less often.
    """

    def __init__(self, name: str, small: ThreadPoolExecutor | None = None, room: Room | None = None) -> None:
        """`room` is asked, in a thread, before bytes are written."""
        self.room = room or endless()
        self.md5 = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-md5")
        self.disk = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-disk")
        self.flush = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-flush")
        self.small = small or self.disk
        self._closing = False

    def closing(self) -> bool:
        """Whether the threads are to end: work that can be dropped is."""
        return self._closing

    def close(self) -> None:
        """Wait for what is under way, then end the threads."""
        self._closing = True
        self.md5.shutdown()
        self.disk.shutdown()
        self.flush.shutdown()


class Receiver:
    """The growing partial file of one transfer, and the hashes of what it holds.

    Nothing happens on the disk before `begin` or `discard`, so a file that is never begun costs nothing.
    """

    def __init__(self, path: Path, lane: Lane, save: Callable[[int], None], drop: Callable[[], None]) -> None:
        """`save` is called with a number of bytes that are known to be on the disk, `drop` before they are cut off; in a thread."""
        self._path = path
        self._lane = lane
        self._save = save
        self._drop = drop
        self._fd = -1
        self._pending: deque[tuple[asyncio.Future[None], asyncio.Future[None]]] = deque()
        self._flushing: asyncio.Future[None] | None = None
        self._written = 0
        self._saved = 0
        self._saved_at = time.monotonic()
        self._broken = False
        self._leaving = False
        self.begun = False
        """Whether the file is open for bytes."""
        self.size = 0
        """Bytes handed in."""
        self._reset()

    def _reset(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    async def begin(self, keep: int) -> None:
        """Open the file and take `keep` bytes of it as they are, hashing them again; what is beyond is cut off.

        A file that holds fewer is not what was left there: it is begun again from nothing.
        """
        self.begun = True
        await self._on_disk(self._open, keep)

    async def discard(self) -> None:
        """Begin again from nothing."""
        await self._settle(0)
        await self._last_flush()
        self.begun = True
        await self._on_disk(self._open, 0)

    def _open(self, keep: int) -> None:
        if self._fd < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        if keep == 0 or os.fstat(self._fd).st_size < keep:
            keep = 0
            self._drop()
        self._reset()
        os.ftruncate(self._fd, keep)
        os.lseek(self._fd, 0, os.SEEK_SET)
        left = keep
        while left:
            if self._leaving:
                return  # nobody waits for it any more, and gigabytes may be left to read
            block = os.read(self._fd, min(_READ, left))
            self._md5.update(block)
            self._sha256.update(block)
            left -= len(block)
        self.size = self._written = self._saved = keep

    async def take(self, chunks: Sequence[bytes], size: int) -> None:
        """Append chunks of `size` bytes in all; waits while too much is under way. Raises OSError if they cannot be written."""
        loop = asyncio.get_running_loop()
        self._pending.append(
            (
                loop.run_in_executor(self._lane.md5, _update, self._md5, chunks),
                loop.run_in_executor(self._lane.disk, self._append, chunks, size),
            )
        )
        self.size += size
        due = self.size - self._saved >= _CHECKPOINT_BYTES or time.monotonic() - self._saved_at >= _CHECKPOINT_SECONDS
        if due and (self._flushing is None or self._flushing.done()):
            if self._flushing is not None:
                self._flushing.result()
            self._flushing = loop.run_in_executor(self._lane.flush, self._checkpoint)
        await self._settle(_IN_FLIGHT)

    def _append(self, chunks: Sequence[bytes], size: int) -> None:
        if self._broken:
            return  # a batch before this one is missing: after a gap nothing may be written
        try:
            self._lane.room.take(size)
            _write(self._fd, chunks)
        except (OSError, GuardRefused):
            self._broken = True
            raise
        self._written += size
        _update(self._sha256, chunks)

    def _checkpoint(self) -> None:
        written = self._written
        if written > self._saved:
            os.fdatasync(self._fd)
            self._save(written)
            self._saved = written
        self._saved_at = time.monotonic()

    async def _settle(self, allowed: int) -> None:
        """Wait until no more than `allowed` batches are under way. Raises OSError if one could not be written."""
        while len(self._pending) > allowed:
            batch = self._pending[0]
            # Not awaited themselves: an interruption would be handed on to them, and a batch left out is a hole in the file.
            await asyncio.wait(batch)
            self._pending.popleft()
            for future in batch:
                future.result()

    async def _last_flush(self) -> None:
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
            self._flushing.result()

    async def flush(self) -> None:
        """Bring all that was taken to the disk and save how much that is. Raises OSError."""
        await self._settle(0)
        await self._last_flush()
        await self._on_disk(self._checkpoint)

    async def hashes(self) -> Hashes:
        """Of all that was taken."""
        await self._settle(0)
        return Hashes(self.size, self._md5.hexdigest(), self._sha256.hexdigest())

    async def leave(self) -> None:
        """Keep what has come for a later run, and close. A disk that can take no more has already been heard of."""
        self._leaving = True
        under_way: list[asyncio.Future[None]] = list(chain.from_iterable(self._pending))
        if self._flushing is not None:
            under_way.append(self._flushing)
        self._pending.clear()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._on_disk(self._close)

    def _close(self) -> None:
        if self._fd < 0:
            return  # it could not be opened
        try:
            with suppress(OSError):
                self._checkpoint()
        finally:
            fd, self._fd = self._fd, -1
            os.close(fd)

    async def _on_disk(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._lane.disk, call, *args)


def _update(digest: hashlib._Hash, chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        digest.update(chunk)


def _write(fd: int, chunks: Sequence[bytes]) -> None:
    """All of `chunks`, however few bytes a call may take."""
    for start in range(0, len(chunks), 512):
        part = chunks[start : start + 512]
        done = os.writev(fd, part)
        if done < sum(map(len, part)):
            rest = memoryview(b"".join(part))[done:]
            while rest:
                rest = rest[os.write(fd, rest) :]


def hash_file(path: Path, dropped: Callable[[], bool] = lambda: False) -> Hashes:
    """Read a file and hash it. Blocks: call it from a thread.

    Raises OSError; InterruptedError, which is one, as soon as `dropped` says that nobody waits for it any more.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = _read(path, (md5, sha256), dropped)
    return Hashes(size, md5.hexdigest(), sha256.hexdigest())


def sha256_file(path: Path, dropped: Callable[[], bool] = lambda: False) -> str:
    """As `hash_file`, but the SHA-256 alone: it tells all that the index can be asked, in a third of the time."""
    sha256 = hashlib.sha256()
    _read(path, (sha256,), dropped)
    return sha256.hexdigest()


def _read(path: Path, digests: Sequence[hashlib._Hash], dropped: Callable[[], bool]) -> int:
    size = 0
    buffer = bytearray(_READ)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            if dropped():
                raise InterruptedError(f"{path}: not read to its end")
            for digest in digests:
                digest.update(view[:count])
            size += count
    return size


def hash_bytes(data: bytes) -> Hashes:
    """The hashes of bytes at hand."""
    return Hashes(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest())


def write_small(path: Path, data: bytes) -> None:
    """A file that came in one piece: written whole, or not there. Raises OSError. Blocks: call it from a thread."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _write(fd, [data])
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(fd)
