"""Answers of any length: a thread makes them as fast as it can, a client takes them as fast as he can.

In between they lie compressed in a temporary file. So the index is read in one go, however slow the client is (a reader that stays
holds up the tidying of its log), memory stays flat, and what all clients together may leave lying is bounded.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from mirror.errors import MirrorError

_SMALL = 1024 * 1024  # bytes that are answered as they are, with a length and an ETag
_BLOCK = 256 * 1024
_LOOKS_EVERY = 1.0  # seconds between looks whether the client is still there, while there is nothing to send him
_MOST_LYING = 2 * 2**30  # bytes, compressed, of all answers under way: some twenty million files
_LONG_AT_ONCE = 4
_MOST_WAITING = 100  # answers, long or not: those beyond would wait for longer than anybody does
_MORE_THREADS = 2  # than long answers: short ones go past them
_GZIP = 16 + zlib.MAX_WBITS

Pieces = Callable[[Callable[[], bool]], Iterator[str]]
"""Makes an answer, in a thread; what it is given says whether nobody waits for it any more."""


class _GivenUp(Exception):
    """Nobody waits for the rest."""


class _NoRoom(MirrorError):
    """Too much is under way."""


class Spools:
    """All answers under way."""

    def __init__(
        self,
        *,
        small: int = _SMALL,
        most_lying: int = _MOST_LYING,
        long_at_once: int = _LONG_AT_ONCE,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        self.small = small
        self.lying = 0
        """Bytes in temporary files."""

        self._lock = threading.Lock()
        self._most_lying = most_lying
        self._long = 0
        self._long_at_once = long_at_once
        self._most_waiting = most_waiting
        self._open: set[Spool] = set()
        self._pool = ThreadPoolExecutor(long_at_once + _MORE_THREADS, thread_name_prefix="answer")

    @property
    def under_way(self) -> int:
        """How many there are."""
        return len(self._open)

    def open(self, pieces: Pieces) -> Spool:
        """Have an answer made. Raises HTTPServiceUnavailable where too many are under way."""
        if len(self._open) >= self._most_waiting:
            raise _later("too many questions at once")
        spool = Spool(self, asyncio.get_running_loop())
        self._open.add(spool)
        self._pool.submit(spool.make, pieces)
        return spool

    def lengthen(self) -> None:
        """One answer turns out to be long. Raises _NoRoom where there are too many of them."""
        with self._lock:
            if self._long >= self._long_at_once:
                raise _NoRoom("too many long answers are under way")
            self._long += 1

    def take(self, count: int) -> None:
        """So many bytes more are lying. Raises _NoRoom where that is too much."""
        with self._lock:
            if self.lying + count > self._most_lying:
                raise _NoRoom("long answers have filled the room that they may take")
            self.lying += count

    def give_back(self, count: int) -> None:
        """A long answer is over, and the bytes of it that were lying have gone."""
        with self._lock:
            self._long -= 1
            self.lying -= count

    def forget(self, spool: Spool) -> None:
        """It is over."""
        self._open.discard(spool)

    def close(self, *, wait: bool = False) -> None:
        """Have everything given up; with `wait`, which blocks, until it is."""
        for spool in list(self._open):
            spool.give_up()
        self._pool.shutdown(wait=wait, cancel_futures=True)


class Spool:
    """One answer. `make` and what it calls run in a thread, all else in the event loop."""

    def __init__(self, spools: Spools, loop: asyncio.AbstractEventLoop) -> None:
        self._spools = spools
        self._loop = loop
        self._moved = asyncio.Event()
        self._head = bytearray()
        self._packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        self._file: IO[bytes] | None = None
        self._taken = self._lies = 0
        self._given_up = False
        self._done = False
        self._error: BaseException | None = None
        self._closing = threading.Lock()

    # -- in the thread

    def make(self, pieces: Pieces) -> None:
        """Have it made, to its end or until nobody waits for it."""
        try:
            for piece in pieces(lambda: self._given_up):
                # What is no UTF-8 in the path of the root comes as lone surrogates: in JSON that spells them as JSON does.
                self._head += piece.encode("utf-8", "backslashreplace")
                if len(self._head) >= (_BLOCK if self._file else self._spools.small):
                    self._put_away()
            if self._file is not None:
                self._put_away(last=True)
        except BaseException as error:
            self._error = error
        finally:
            self._done = True
            self._tell()
            if self._given_up:
                self._clear()

    def _put_away(self, *, last: bool = False) -> None:
        if self._given_up:
            raise _GivenUp
        if self._file is None:
            self._spools.lengthen()
            try:
                self._file = tempfile.TemporaryFile(dir=_folder(), prefix="inspire-mirror-", buffering=0)  # noqa: SIM115
            except OSError:
                self._spools.give_back(0)
                raise
        packed = self._packer.compress(self._head) + (self._packer.flush() if last else b"")
        self._head.clear()
        if packed:
            self._spools.take(len(packed))
            self._taken += len(packed)
            self._write(self._file, packed)
        self._tell()

    def _write(self, file: IO[bytes], packed: bytes) -> None:
        """All of it: a disk that fills up takes a part of what it is given, and says so only when it is given the rest."""
        left = memoryview(packed)
        while left:
            count = file.write(left)
            self._lies += count
            left = left[count:]

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._moved.set)

    # -- in the loop

    async def begun(self, *, is_waited_for: Callable[[], bool] = lambda: True) -> bytes | None:
        """All of it, if that is little; None once there is more than that.

        Raises what kept it from being made; HTTPServiceUnavailable where that was too much at once, or nobody waits any more.
        """
        while not self._done and self._file is None:
            if not is_waited_for():
                raise _later("nobody waits for this any more")
            await self._movement()
        if isinstance(self._error, _NoRoom):
            raise _later(str(self._error)) from self._error
        if self._error is not None:
            raise self._error
        return bytes(self._head) if self._file is None else None

    async def blocks(self, *, packed: bool, is_waited_for: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The answer in blocks, as gzip if `packed`. Raises what kept the rest from being made; ends early if nobody waits."""
        unpacker = None if packed else zlib.decompressobj(_GZIP)
        offset = 0
        while is_waited_for():
            done, lies = self._done, self._lies
            if offset < lies:
                block = await asyncio.to_thread(self._read, offset, min(_BLOCK, lies - offset))
                offset += len(block)
                if unpacker is None:
                    yield block
                    continue
                while block:
                    yield await asyncio.to_thread(unpacker.decompress, block, _BLOCK)
                    block = unpacker.unconsumed_tail
            elif done:
                if self._error is not None:
                    raise self._error
                return
            else:
                await self._movement()

    def _read(self, offset: int, count: int) -> bytes:
        with self._closing:
            return os.pread(self._file.fileno(), count, offset) if self._file is not None else b""

    async def _movement(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), _LOOKS_EVERY)
        self._moved.clear()

    def give_up(self) -> None:
        """Nobody waits for it any more, or it was sent: what lies there goes."""
        self._given_up = True
        self._spools.forget(self)
        if self._done:
            self._clear()

    def _clear(self) -> None:
        with self._closing:
            file, self._file = self._file, None
            if file is not None:
                file.close()
                self._spools.give_back(self._taken)


class Spooled(web.StreamResponse):
    """Sends an answer that has begun, to its end or for as long as the client takes it."""

    def __init__(self, spool: Spool, content_type: str, *, packed: bool, vary: str) -> None:
        super().__init__(headers={"Content-Type": content_type, "Cache-Control": "no-cache", "Vary": vary})
        if packed:
            self.headers["Content-Encoding"] = "gzip"
        self._spool = spool
        self._packed = packed

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send it."""
        try:
            writer = await super().prepare(request)
            if request.method != "HEAD":
                async for block in self._spool.blocks(packed=self._packed, is_waited_for=lambda: is_there(request)):
                    if block:
                        await self.write(block)
            return writer
        except (MirrorError, OSError) as error:
            # Who was promised more has to see that it did not come: the connection ends in the middle.
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("this answer could not be made to its end") from error
        finally:
            self._spool.give_up()


def _later(why: str) -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(text=f"{why}; come back in a moment", headers={"Retry-After": "5"})


def is_there(request: BaseRequest) -> bool:
    """Whether the client still is."""
    return request.transport is not None and not request.transport.is_closing()


def _folder() -> str | None:
    """Where much may lie: /tmp is in memory on many systems."""
    return None if os.environ.get("TMPDIR") or not os.access("/var/tmp", os.W_OK | os.X_OK) else "/var/tmp"  # noqa: S108
