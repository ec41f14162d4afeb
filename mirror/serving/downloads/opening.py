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
from types import TracebackType
from typing import Self

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
        version = offer.version
        with _Folders(root / "data") as folders:
            opened = {
                number: first
                for number in left
                if (first := _first_look(offer, folders, *wanted[number], found, number)) is not None
            }
        if not opened:
            break
        offer.renew()
        if offer.is_outdated:  # whoever asks again gets another connection
            for first in opened.values():
                first.close()
            break
        unchanged = offer.version == version
        left = [
            number
            for number, first in opened.items()
            if not _second_look(offer, wanted[number][0], first, found, number, unchanged=unchanged)
        ]
        if not left:
            break
    return found


@dataclass(frozen=True, slots=True)
class _Look:
    """The row of a file, and what was there when it was opened: `size` in bytes or, where there is none, why."""

    file: OfferedFile
    there: tuple[FileIO, int] | str

    def close(self) -> None:
        """It is not what somebody gets."""
        if not isinstance(self.there, str):
            self.there[0].close()


def _first_look(
    offer: Offer, folders: _Folders, place: Place, needs_bytes: NeedsBytes, found: list[Found | OSError], number: int
) -> _Look | None:
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
            return _Look(file, folders.open(place))
        except OSError as error:
            found[number] = error
    return None


def _second_look(offer: Offer, place: Place, first: _Look, found: list[Found | OSError], number: int, *, unchanged: bool) -> bool:
    """Whether the row is the same, as it is in an `unchanged` index; then the answer is known, and has been entered.

    What was not there may have moved with its folder, when another file in it was replaced: that is looked at again as well.
    """
    if unchanged or offer.file(*place.parts) == first.file:
        found[number] = _checked(first)
        return unchanged or not isinstance(first.there, str)
    first.close()
    found[number] = Changing()
    return False


def _checked(look: _Look) -> Found:
    if isinstance(look.there, str):
        return Broken(look.there)
    stream, size = look.there
    if size == look.file.size:
        return Opened(look.file, stream)
    stream.close()
    return Broken(f"it has {size:,} bytes, where {look.file.size:,} were published")


@lru_cache(maxsize=4096)
def _is_name(part: str) -> bool:
    return problem_with(part) is None


class _Folders:
    """Opens files below `data`, through folders only; `data` itself may be a link. Use as a context manager.

    Folders stay open for the next file in them: many who come at once want files of one edition. They must not for longer than
    between the two looks, as another folder may take the place of one.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._handles: dict[tuple[str, ...], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles.values():
            os.close(handle)

    def open(self, place: Place) -> tuple[FileIO, int] | str:
        """A regular file and its size in bytes; else why there is none. Raises OSError."""
        try:
            folder = self._folder(place.parts[:-1])
            # Not to wait for somebody at the other end, should it be a pipe.
            handle = os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            if error.errno in _IS_NOT_THERE:
                return f"it cannot be opened: {error.strerror}"
            raise
        stats = os.fstat(handle)
        if not stat.S_ISREG(stats.st_mode):
            os.close(handle)
            return "it is no regular file"
        return FileIO(handle, "rb"), stats.st_size

    def _folder(self, parts: tuple[str, ...]) -> int:
        known = self._handles.get(parts)
        if known is not None:
            return known
        if parts:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(parts[-1], flags, dir_fd=self._folder(parts[:-1]))
        else:
            handle = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._handles[parts] = handle
        return handle
