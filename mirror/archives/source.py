"""What the formats have in common: a source of members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from mirror.archives.checks import Gate
from mirror.archives.model import Member
from mirror.archives.sink import Sink

CHUNK = 1 << 20
"""Bytes that are unpacked in one step, where the format lets us say so."""


class Source(Protocol):
    """An archive that is open. Both methods raise ArchiveError, OSError, or whatever the library raises at broken input."""

    def members(self, gate: Gate) -> Iterator[Member]:
        """What is in it, each member admitted by the gate. Reads no more than it must."""

    def unpack(self, gate: Gate, sink: Sink) -> None:
        """Read all of it, every checksum compared, into the sink. Every member passes the gate before a byte of it is written."""


Told = Callable[[int], None]
