"""Whether an answer still arrives on the other side, as the system tells."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from dataclasses import dataclass

_BYTES_ACKED = 120  # offset of tcpi_bytes_acked, 64 bits, in struct tcp_info (linux/tcp.h, since Linux 4.1)
_LENGTH = _BYTES_ACKED + 8


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a connection was at some moment.

    `waiting` is the number of bytes that were handed over to be sent and have not arrived, `arrived` how many have since it was
    made; None where the system does not count them.
    """

    waiting: int
    arrived: int | None

    def stalled_since(self, before: Progress | None) -> bool:
        """Whether nothing has arrived since then, although something was to.

        A download that goes well may have as many bytes waiting at both moments: as many as there is room for. Only where nobody
        counts what arrives does that have to do.
        """
        return before is not None and self.waiting > 0 and before.waiting > 0 and self._same(before)

    def _same(self, before: Progress) -> bool:
        if self.arrived is None or before.arrived is None:
            return self.waiting == before.waiting
        return self.arrived == before.arrived


def progress_of(transport: asyncio.WriteTransport) -> Progress:
    """How far it is now."""
    connection = transport.get_extra_info("socket")
    queued, arrived = 0, None
    with suppress(OSError, ValueError, AttributeError):
        queued = int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, struct.pack("i", 0)))[0])
    with suppress(OSError, ValueError, AttributeError):
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
        if len(told) >= _LENGTH:
            # Never 0 on a connection that was made, but where it is not counted (gVisor).
            arrived = int(struct.unpack_from("Q", told, _BYTES_ACKED)[0]) or None
    return Progress(transport.get_write_buffer_size() + queued, arrived)
