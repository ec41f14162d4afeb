"""What the formats have in common: a source of members, and a decoder of their bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from mirror.archives.checks import Gate, show
from mirror.archives.model import Entry, Member
from mirror.archives.sink import Sink, Writer
from mirror.errors import ArchiveError

CHUNK = 1 << 20
"""Bytes that are unpacked in one step, where the format lets us say so."""

Told = Callable[[int], None]
"""Is told of progress, in bytes read or written."""


class Source(Protocol):
    """An archive that is open. Both methods raise ArchiveError, OSError, or whatever the library raises at broken input."""

    def members(self, gate: Gate) -> Iterator[Member]:
        """What is in it, each member admitted by the gate. Reads no more than it must."""

    def unpack(self, gate: Gate, sink: Sink) -> None:
        """Read all of it, every checksum compared, into the sink. Every member passes the gate before a byte of it is written."""


class Decoder(Protocol):
    """Gives the bytes of all members that have any, one behind the other."""

    def __enter__(self) -> Decoder:
        """Ready to decode."""

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of what it holds."""

    def read(self, size: int) -> bytes | bytearray:
        """At most `size` bytes, at least one; none where there are no more."""

    def end(self) -> None:
        """All has been read. Raises ArchiveError where there is more, or where it was no good end."""


def copy(decoder: Decoder, entry: Entry, writer: Writer) -> None:
    """Write the bytes of the next member. Raises ArchiveError where they are too few, or not those that its checksum is of."""
    crc, left = 0, entry.size or 0
    while left:
        data = decoder.read(min(left, CHUNK))
        if not data:
            raise ArchiveError(f"it ends, or cannot be unpacked further, in the middle of member {show(entry.name)}")
        writer.write(data)
        crc = zlib.crc32(data, crc)
        left -= len(data)
    if entry.crc is not None and crc != entry.crc:
        raise ArchiveError(f"member {show(entry.name)} has another checksum than the archive says")
