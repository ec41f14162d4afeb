"""Bytes of an open file to whoever asked: by the kernel, straight from its cache into the connection.

The event loop sends only what is in memory already. What has to come from the disk first is sent from a thread, so that a slow or
hung disk holds up nobody but who asked for it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from mirror.serving.downloads.ranges import Span

_LARGEST_TURN, _SMALLEST_TURN = 2**20, 2**16
"""Bytes that are sent before others have their turn: the fewer, the more there are, so that who comes soon gets a first one."""

_THREADS = 16  # as many disks' worth of waiting at once
_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_CANNOT_SAY = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})

threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sender")


@dataclass(frozen=True, slots=True)
class Part:
    """What goes out, one after the other: `head`, then the bytes of the file in `span`."""

    head: bytes
    span: Span


class FileAnswer(web.StreamResponse):
    """An answer with parts of an open file, which it closes. All is sent by `prepare`: that is after every middleware has done
    with the request, so that no limit on the time until an answer begins breaks off a download.
    """

    def __init__(
        self, stream: FileIO, parts: Sequence[Part], tail: bytes = b"", *, status: int, headers: dict[str, str], length: int
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = length
        self._stream = stream
        self._parts = parts
        self._tail = tail

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it. Raises ConnectionError where the client is gone, or the file has become shorter."""
        if self.prepared:
            return await super().prepare(request)
        try:
            writer = await super().prepare(request)
            if writer is not None and request.method != "HEAD":
                await self._send(request)
            return writer
        finally:
            self._stream.close()

    async def _send(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        for part in self._parts:
            if part.head:
                transport.write(part.head)
            await _send_span(transport, self._stream, part.span)
        if self._tail:
            transport.write(self._tail)


async def _send_span(transport: asyncio.Transport, stream: FileIO, span: Span) -> None:
    """Raises ConnectionError; the connection is of no more use then."""
    sender = _Sender(transport, stream, span)
    try:
        if not sender.send_at_once():
            await sender.send_on()
    except BaseException:
        transport.abort()  # a part of a file is no answer, and nothing may come after it
        raise
    finally:
        sender.close()


class _Sender:
    """Sends one span: whenever the client can take more, a turn's worth of it."""

    senders = 0
    """How many there are that wait for their clients."""

    def __init__(self, transport: asyncio.Transport, stream: FileIO, span: Span) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._stream = stream
        self._at, self._stop, self._in_memory = span.start, span.stop, span.start
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._outlet: socket.socket | None = None
        self._twin: int | None = None
        self._working: asyncio.Future[int] | None = None
        self._resume = False

    def send_at_once(self) -> bool:
        """What there is room for at this moment; returns whether that was all. Most small files need no more than this."""
        connection = self._transport.get_extra_info("socket")
        if self._transport.is_closing() or connection is None:
            raise ConnectionResetError("the client is gone")
        if not self._transport.get_write_buffer_size() and self._is_next_in_memory():
            self._send(connection.fileno())
        return self._at >= self._stop

    async def send_on(self) -> None:
        """The rest."""
        # While the kernel sends, the transport is not to read: who says no more would be taken for one who takes no more.
        self._resume = self._transport.is_reading()
        if self._resume:
            self._transport.pause_reading()
        try:
            # Handles of its own: that of the transport is for the transport alone to wait at, and a thread may outlast the request.
            self._outlet = self._transport.get_extra_info("socket").dup()
            self._twin = os.dup(self._stream.fileno())
        except OSError as error:
            raise ConnectionResetError("no handles left") from error
        _Sender.senders += 1
        self._wait_for_room()
        try:
            await self._over
        finally:
            _Sender.senders -= 1

    def _wait_for_room(self) -> None:
        if self._outlet is not None:
            self._loop.add_writer(self._outlet.fileno(), self._turn)

    def _turn(self) -> None:
        """The client can take more, or is gone."""
        if self._over.done() or self._outlet is None or self._twin is None or self._transport.get_write_buffer_size():
            return  # what the transport still has comes before
        try:
            if self._is_next_in_memory():
                self._send(self._outlet.fileno())
                if self._at >= self._stop:
                    self._over.set_result(None)
            else:
                self._loop.remove_writer(self._outlet.fileno())
                count = min(_LARGEST_TURN, self._stop - self._at)
                self._working = self._loop.run_in_executor(threads, os.sendfile, self._outlet.fileno(), self._twin, self._at, count)
                self._working.add_done_callback(self._turned)
        except (OSError, RuntimeError) as error:
            self._over.set_exception(_as_gone(error))

    def _turned(self, working: asyncio.Future[int]) -> None:
        """A thread has sent some."""
        self._working = None
        error = working.exception() if not working.cancelled() else asyncio.CancelledError()
        if self._over.done():
            self._give_back()
        elif error is None and working.result():
            self._at += working.result()
            if self._at >= self._stop:
                self._over.set_result(None)
            else:
                self._wait_for_room()
        elif isinstance(error, BlockingIOError | InterruptedError):
            self._wait_for_room()
        else:
            self._over.set_exception(_as_gone(error))

    def _is_next_in_memory(self) -> bool:
        if self._at < self._in_memory:
            return True
        count = min(max(_SMALLEST_TURN, _LARGEST_TURN // (_Sender.senders + 1)), self._stop - self._at)
        if not _is_in_memory(self._stream.fileno(), self._at, count):
            return False
        self._in_memory = self._at + count
        return True

    def _send(self, outlet: int) -> None:
        try:
            sent = os.sendfile(outlet, self._stream.fileno(), self._at, self._in_memory - self._at)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise _as_gone(error) from error
        if not sent:
            raise _as_gone(None)
        self._at += sent

    def close(self) -> None:
        """Give the handles back, once no thread uses them; let the transport read again."""
        self._over.cancel()
        if self._outlet is not None:
            self._loop.remove_writer(self._outlet.fileno())
        if self._working is None:
            self._give_back()
        if self._resume and not self._transport.is_closing():
            self._transport.resume_reading()

    def _give_back(self) -> None:
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None
        if self._twin is not None:
            os.close(self._twin)
            self._twin = None


def _as_gone(error: BaseException | None) -> ConnectionError:
    """Whatever keeps an answer from its end is the end of its connection."""
    if isinstance(error, ConnectionError):
        return error
    return ConnectionResetError("the file has become shorter" if error is None else str(error))


def _is_in_memory(stream: int, at: int, count: int) -> bool:
    """Whether bytes of a file can be had without waiting for the disk, as far as a look at both ends of them tells."""
    if _NOWAIT is None:
        return False
    one = bytearray(1)
    try:
        return all(os.preadv(stream, [one], place, _NOWAIT) == 1 for place in (at, at + count - 1))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _CANNOT_SAY:
            return False
        raise
