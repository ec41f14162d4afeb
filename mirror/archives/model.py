"""What the engine is told and what it tells. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder in an archive: its path with `/`, and its unpacked size in bytes, None where the archive does not say."""

    name: str
    size: int | None
    folder: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may take before it is refused.

    `max_ratio` is unpacked to packed bytes, `max_members` counts files and folders, `max_bytes` are the unpacked bytes that the
    disk may take; None is no limit.
    """

    max_ratio: float
    max_members: int
    max_bytes: int | None


@dataclass(frozen=True, slots=True)
class Unpacked:
    """How many files came out, and their bytes in all."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as its archive declares it, not checked.

    `size` is None where only reading tells it. `oddity` says what it is where it is neither file nor folder ("a symbolic link").
    `mtime` is in seconds since 1970, None where it is not known.
    """

    name: str
    size: int | None
    folder: bool
    oddity: str | None = None
    encrypted: bool = False
    crc: int | None = None
    mtime: float | None = None
