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

_BLOCK = 2**18  # bytes that are sent before others have their turn; and of which it is asked whether they are in memory
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
    """Raises ConnectionError."""
    connection = transport.get_extra_info("socket")
    if transport.is_closing() or connection is None:
        raise ConnectionResetError("the client is gone")
    # While the kernel sends, the transport is not to read: a client that says no more would be taken for one that takes no more.
    reading = transport.is_reading()
    if reading:
        transport.pause_reading()
    try:
        # A handle of its own: that of the transport is for the transport alone to wait at.
        outlet = connection.dup()
        own_stream = os.dup(stream.fileno())
    except OSError as error:
        transport.abort()
        raise ConnectionResetError("no handles left") from error
    sender = _Sender(transport, outlet, own_stream, span)
    try:
        await sender.run()
    except BaseException:
        transport.abort()  # a part of a file is no answer, and nothing may come after it
        raise
    finally:
        sender.close()
        if reading and not transport.is_closing():
            transport.resume_reading()


class _Sender:
    """Sends one span."""

    def __init__(self, transport: asyncio.Transport, outlet: socket.socket, stream: int, span: Span) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._outlet = outlet
        self._stream = stream
        self._at, self._stop = span.start, span.stop
        self._working: asyncio.Future[int] | None = None

    async def run(self) -> None:
        while self._transport.get_write_buffer_size():  # what the transport still has comes before
            await self._writable()
            await asyncio.sleep(0)
        outlet, in_memory = self._outlet.fileno(), 0
        while self._at < self._stop:
            count = min(_BLOCK, self._stop - self._at)
            try:
                if self._at >= in_memory and _is_in_memory(self._stream, self._at, count):
                    in_memory = self._at + count
                if self._at < in_memory:
                    sent = os.sendfile(outlet, self._stream, self._at, min(count, in_memory - self._at))
                else:
                    self._working = self._loop.run_in_executor(threads, os.sendfile, outlet, self._stream, self._at, count)
                    sent = await asyncio.shield(self._working)
                    self._working = None
            except (BlockingIOError, InterruptedError):
                self._working = None
                await self._writable()
                continue
            except OSError as error:
                raise ConnectionResetError(str(error)) from error
            if not sent:
                raise ConnectionResetError("the file has become shorter")
            self._at += sent
            await asyncio.sleep(0)

    async def _writable(self) -> None:
        """Until the client can be sent more, or is gone."""
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._outlet.fileno(), _settle, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._outlet.fileno())

    def close(self) -> None:
        """Give the handles back, once no thread uses them."""
        if self._working is not None and not self._working.done():
            self._working.add_done_callback(self._give_back)
        else:
            self._give_back(None)

    def _give_back(self, working: asyncio.Future[int] | None) -> None:
        if working is not None and not working.cancelled():
            working.exception()  # nobody else asks
        self._outlet.close()
        os.close(self._stream)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


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
