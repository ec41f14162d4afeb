"""Whether what an archive declares may be unpacked. Pure: members go in one by one, the first that may not is refused.

Nothing is mended: an archive with a name that is not safe as it stands is refused as a whole, as half an archive is a silent gap.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from unicodedata import normalize

from mirror.archives.model import Bounds, Entry
from mirror.errors import ArchiveError, ArchiveRefused
from mirror.names import problem_with

LONGEST_PATH = 1024
"""Bytes in the path of a member: with the folder of the mirror before it, it must stay below Linux's 4,096."""

_BLOCK = 4096  # what a file system gives at least to a folder, and to a file that is not empty
_LETTERS = 256  # in the path of a member, on average over as many as there may be: the list is held in memory

_DRIVE = re.compile(r"^[A-Za-z]:")


class Gate:
    """Admits the members of one archive of `packed` bytes.

    With `names` false (for a test, which makes no file) the names are not looked at.
    """

    def __init__(self, bounds: Bounds, packed: int, *, names: bool = True) -> None:
        self._bounds = bounds
        self._packed = packed
        self._names = names
        self._members = 0
        self._known: dict[str, tuple[str, bool]] = {}
        self._folders: set[str] = set()
        self._letters = 0
        self._room = 0
        self.files = 0
        self.bytes = 0

    def admit(self, entry: Entry) -> str:
        """Check a member and return its path, without `./` before and `/` behind it; empty for the folder that all is in.

        Raises:
            ArchiveError: it must not be unpacked; ArchiveRefused where that is for encryption, numbers or sizes.
            OSError: with ENOSPC; it may be sound, but there is no room for it.
        """
        self._members += 1
        if self._members > self._bounds.max_members:
            raise too_many(self._bounds.max_members)
        if entry.encrypted:
            raise ArchiveRefused(f"member {show(entry.name)} is encrypted, and there is no password")
        if entry.size is not None and entry.size < 0:
            raise ArchiveError(f"member {show(entry.name)} declares a size below zero")
        path = entry.name
        if self._names:
            if entry.oddity is not None:
                raise ArchiveError(f"member {show(entry.name)} is {entry.oddity}: only files and folders are unpacked")
            path = clean_path(entry.name, folder=entry.folder, known=self._folders)
            if path:
                self._place(path, folder=entry.folder)
            self._letters += len(path)
            if self._letters > _LETTERS * self._bounds.max_members:
                limit = _LETTERS * self._bounds.max_members
                raise ArchiveRefused(
                    f"the names of its members have more than {limit} letters in all: taken for a bomb (max_members)"
                )
        if not entry.folder:
            self.files += 1
        self.grow(entry.size or 0)
        self._take(_BLOCK if entry.folder else -(entry.size or 0) % _BLOCK)
        return path

    def grow(self, size: int) -> None:
        """Count unpacked bytes: declared ones, or those that came where none were declared. Raises as `admit` does."""
        self.bytes += size
        if self.bytes > self._bounds.max_ratio * self._packed:
            limit = f"{self._bounds.max_ratio:g} times its {self._packed} bytes"
            raise ArchiveRefused(f"it unpacks to more than {limit}, and is taken for a bomb (max_extract_ratio)")
        self._take(size)

    def _take(self, size: int) -> None:
        self._room += size
        if self._bounds.max_bytes is not None and self._room > self._bounds.max_bytes:
            raise OSError(errno.ENOSPC, f"it unpacks to more than the {self._bounds.max_bytes} bytes that there is room for")

    def _place(self, path: str, *, folder: bool) -> None:
        parent = path.rpartition("/")[0]
        if parent and parent not in self._folders:
            self._place(parent, folder=True)
        if folder and path in self._folders:
            return  # it is there already, or something in it is
        if folder:
            self._folders.add(path)
        known = self._known.get(fold(path))
        if known is None:
            self._known[fold(path)] = (path, folder)
            if len(self._known) > self._bounds.max_members:
                raise too_many(self._bounds.max_members)
        elif known[0] != path:
            reason = "only in ways that not every file system keeps apart (case, form of accents)"
            raise ArchiveError(f"member {show(path)} differs from {show(known[0])} {reason}")
        elif known[1] != folder:
            raise ArchiveError(f"member {show(path)} is both a file and a folder")
        else:
            raise ArchiveError(f"member {show(path)} is there twice")


def too_many(most: int) -> ArchiveRefused:
    """The error for an archive of more members than `most`."""
    return ArchiveRefused(f"it has more than {most} members, and is taken for a bomb (max_members)")


def clean_path(name: str, *, folder: bool, known: Collection[str] = ()) -> str:
    """The path that a member is unpacked to, relative to the folder of its archive; empty for that folder itself.

    What is below one of the folders `known`, which have been cleaned before, is only looked at from there on.

    Raises:
        ArchiveError: it could lead out of the folder, or is not a name that every file system keeps.
    """
    if len(name) > 2 * LONGEST_PATH:  # before anything is done with it: it may have a thousand million letters
        raise ArchiveError(f"unsafe member name {show(name)}: it is longer than {LONGEST_PATH} bytes")
    problem = None
    path = name
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    if folder:
        path = path.rstrip("/") if path != "." else ""
        if not path and name.startswith("."):
            return ""
    if name.startswith("/"):
        problem = "it is absolute"
    elif _DRIVE.match(path):
        problem = "it starts with a drive letter"
    elif "\\" in path:
        problem = "it has a backslash"
    elif len(path.encode(errors="surrogatepass")) > LONGEST_PATH:
        problem = f"it is longer than {LONGEST_PATH} bytes"
    else:
        above, _, last = path.rpartition("/")
        problem = next(filter(None, map(_problem_with_part, [last] if above in known else path.split("/"))), None)
    if problem:
        raise ArchiveError(f"unsafe member name {show(name)}: {problem}")
    return path


def _problem_with_part(part: str) -> str | None:
    if part in ("", ".", ".."):
        return f"it has {part!r} as a part of its path" if part else "it has an empty part in its path"
    # Names from a feed must not be hidden among ours; inside an archive .DS_Store and its like are common, and in nobody's way.
    return problem_with(f"_{part}" if part.startswith(".") else part)


def fold(path: str) -> str:
    """What two paths have in common that a file system may take for one."""
    return normalize("NFC", normalize("NFC", path).casefold())


def show(name: str) -> str:
    """A name for a message: escaped, on one line, not longer than a message bears."""
    shown = repr(name[:120] + name[-120:] if len(name) > 240 else name)
    return shown if len(shown) <= 122 else f"{shown[:61]}...{shown[-51:]}"
