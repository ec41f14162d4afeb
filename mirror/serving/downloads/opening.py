"""A published file, opened so that its bytes are those that the index tells of, whatever happens in the tree meanwhile.

A run that replaces a file marks its row before anything happens in the tree, and writes the new row after. So a file that was
opened between two looks at its row, both of which found the same sound row, is the file of that row. Once it is open, what takes
its name later changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path

from mirror.names import problem_with
from mirror.store.offer import Offer, OfferedFile

_TRIES = 3  # within one question; whoever is unlucky as often asks again

_IS_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is: upstream, resource, sub-resource and name, as they come from a request."""

    upstream: str
    resource: str
    sub_resource: str
    name: str

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """From the outermost to the name."""
        return self.upstream, self.resource, self.sub_resource, self.name


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is open, and what the index says of it."""

    file: OfferedFile
    stream: FileIO


@dataclass(frozen=True, slots=True)
class Changing:
    """The file is being replaced at this moment."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The index has a sound file, and the tree has not: `why` in words for the log."""

    why: str


@dataclass(frozen=True, slots=True)
class Unopened:
    """What the index says of a file that did not have to be opened."""

    file: OfferedFile


Found = Opened | Unopened | Changing | Broken | None
"""None: no such file is offered."""


NeedsBytes = Callable[[OfferedFile], bool]


def look_up(offer: Offer, root: Path, place: Place, needs_bytes: NeedsBytes) -> Found:
    """The file, open where `needs_bytes` says so. To be asked in a thread, inside `Offer.asking`. Raises OSError."""
    (found,) = look_up_all(offer, root, [(place, needs_bytes)])
    if isinstance(found, OSError):
        raise found
    return found


def look_up_all(offer: Offer, root: Path, wanted: Sequence[tuple[Place, NeedsBytes]]) -> list[Found | OSError]:
    """As `look_up`, for several, at the cost of fewer looks; an OSError is the answer for the one file that it is about."""
    found: list[Found | OSError] = [Changing() for _ in wanted]
    left = list(range(len(wanted)))
    for attempt in range(_TRIES):
        if attempt:
            offer.renew()
        opened = {
            number: first for number in left if (first := _first_look(offer, root, *wanted[number], found, number)) is not None
        }
        if not opened:
            break
        offer.renew()
        left = [number for number, first in opened.items() if not _second_look(offer, wanted[number][0], *first, found, number)]
        if not left:
            break
    return found


def _first_look(
    offer: Offer, root: Path, place: Place, needs_bytes: NeedsBytes, found: list[Found | OSError], number: int
) -> tuple[OfferedFile, FileIO | str] | None:
    """The row and what was opened for it; None where the answer is known already, and has been entered."""
    # No feed can have brought a name that is none, so no index has it.
    file = offer.file(*place.parts) if all(_is_name(part) for part in place.parts) else None
    if file is None:
        found[number] = None
    elif file.verified_at is None:
        found[number] = Changing()
    elif not needs_bytes(file):
        found[number] = Unopened(file)
    else:
        try:
            return file, _open(root / "data", place)
        except OSError as error:
            found[number] = error
    return None


def _second_look(
    offer: Offer, place: Place, file: OfferedFile, stream: FileIO | str, found: list[Found | OSError], number: int
) -> bool:
    """Whether the row is still the same; then the answer is known, and has been entered."""
    if offer.file(*place.parts) != file:
        if isinstance(stream, FileIO):
            stream.close()
        return False
    found[number] = _checked(file, stream)
    return True


def _checked(file: OfferedFile, stream: FileIO | str) -> Found:
    if isinstance(stream, str):
        return Broken(stream)
    size = os.fstat(stream.fileno()).st_size
    if size == file.size:
        return Opened(file, stream)
    stream.close()
    return Broken(f"it has {size:,} bytes, where {file.size:,} were published")


@lru_cache(maxsize=4096)
def _is_name(part: str) -> bool:
    return problem_with(part) is None


def _open(data: Path, place: Place) -> FileIO | str:
    """A regular file below `data`, reached through folders only; else why there is none. Only `data` itself may be a link."""
    folder = -1
    try:
        folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in place.parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        # Not to wait for somebody at the other end, should it be a pipe.
        handle = os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in _IS_NOT_THERE:
            return f"it cannot be opened: {error.strerror}"
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return "it is no regular file"
    return FileIO(handle, "rb")
