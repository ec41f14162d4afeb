"""What a sample file holds: bytes in memory, a file on disk, or a pattern of any size that is made while it is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

BLOCK = 64 * 1024
"""Bytes per chunk that is sent, and the period of a `Pattern`."""


class Body(Protocol):
    """The bytes of a file, in order and from any position."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to but not including `stop`, in pieces of at most `BLOCK`."""

    def md5(self) -> str:
        """The MD5 of all bytes, lower-case hex."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes asked for, in pieces."""
        for at in range(start, stop, BLOCK):
            yield self.data[at : min(at + BLOCK, stop)]

    def md5(self) -> str:
        """The MD5 of all bytes."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file on disk, read anew for each answer."""

    path: Path

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.path.stat().st_size

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes asked for, in pieces."""
        with self.path.open("rb") as stream:
            stream.seek(start)
            for at in range(start, stop, BLOCK):
                yield stream.read(min(BLOCK, stop - at))

    def md5(self) -> str:
        """The MD5 of all bytes."""
        return _md5_of_chunks(self)


@dataclass(frozen=True, slots=True)
class Pattern:
    """`size` bytes that look random, differ from block to block, and are the same in every run for the same `seed`.

    Nothing but one block is ever held, so a body of many gigabytes costs nothing until it is read. Each block carries its own
    number, so that bytes from a wrong position never pass for the right ones.
    """

    size: int
    seed: str = ""

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes asked for, in pieces."""
        noise = _noise(self.seed, min(max(self.size, 8), BLOCK))
        head = int.from_bytes(noise[:8], "big")
        for number in range(start // BLOCK, -(-stop // BLOCK)):
            offset = number * BLOCK
            block = (head ^ number).to_bytes(8, "big") + noise[8:]
            yield block[max(start - offset, 0) : min(stop, self.size) - offset]

    def md5(self) -> str:
        """The MD5 of all bytes; computed once per pattern."""
        return _md5_of_pattern(self)


def body_of(data: bytes | Path | Body) -> Body:
    """Whatever a sample file was given, as a body."""
    if isinstance(data, bytes):
        return Held(data)
    if isinstance(data, Path):
        return OnDisk(data)
    return data


def read(body: Body, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes of `body` from `start` to `stop`, held at once: for tests and small files."""
    return b"".join(body.chunks(start, body.size if stop is None else stop))


@lru_cache(maxsize=64)
def _noise(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


@lru_cache(maxsize=100_000)
def _md5_of_pattern(pattern: Pattern) -> str:
    return _md5_of_chunks(pattern)


def _md5_of_chunks(body: Body) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in body.chunks(0, body.size):
        digest.update(chunk)
    return digest.hexdigest()
