"""Where unpacked members go: nowhere, or into a folder in which every path is made by us, new, and by its own name."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from mirror.archives.limits import MEMBER
from mirror.archives.model import Entry

_EARLIEST: Final = 315_532_800.0  # 1980, where the dates of zip start: what is older is a date that nobody set
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Sink:
    """Takes members and keeps nothing. `told` is called with the number of bytes of every write."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self.told = told

    def folder(self, path: str, entry: Entry) -> None:
        """Take a folder. `path` has been checked."""
        self.told(MEMBER)

    def file(self, path: str, entry: Entry) -> Writer:
        """Take a file; its bytes go to what is returned, which is a context manager."""
        self.told(MEMBER)
        return Writer(self.told, None, None)

    def finish(self) -> None:
        """All members are there."""


class Writer:
    """Takes the bytes of one file, and closes it at the end of a `with`."""

    def __init__(self, told: Callable[[int], None], descriptor: int | None, mtime: float | None) -> None:
        self._told = told
        self._descriptor = descriptor
        self._mtime = mtime

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it. Raises OSError."""
        self._told(len(data))
        if self._descriptor is not None:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._descriptor is not None:
            try:
                if self._mtime is not None:
                    os.utime(self._descriptor, (self._mtime, self._mtime))
            finally:
                os.close(self._descriptor)


class Target(Sink):
    """Unpacks into an existing, empty folder that nobody else writes to: files 0644, folders 0755, their dates where sane."""

    def __init__(self, into: str, told: Callable[[int], None]) -> None:
        super().__init__(told)
        self._root = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._made = {""}
        self._dates: list[tuple[str, float]] = []
        self._latest = time.time() + 86400

    def folder(self, path: str, entry: Entry) -> None:
        """Make a folder, with those above it, unless it is there."""
        super().folder(path, entry)
        self._make(path)
        mtime = self._sane(entry.mtime)
        if mtime is not None and path:
            self._dates.append((path, mtime))

    def file(self, path: str, entry: Entry) -> Writer:
        """Make a file, which must not be there, and the folders above it."""
        self.told(MEMBER)
        self._make(path.rpartition("/")[0])
        return Writer(self.told, os.open(path, _NEW_FILE, 0o644, dir_fd=self._root), self._sane(entry.mtime))

    def finish(self) -> None:
        """Date the folders, which writing into them has changed, and bring all to the disk."""
        for path, mtime in reversed(self._dates):
            os.utime(path, (mtime, mtime), dir_fd=self._root, follow_symlinks=False)
        _flush(self._root)
        os.close(self._root)

    def _make(self, path: str) -> None:
        if path in self._made:
            return
        self._make(path.rpartition("/")[0])
        os.mkdir(path, 0o755, dir_fd=self._root)
        self._made.add(path)

    def _sane(self, mtime: float | None) -> float | None:
        return mtime if mtime is not None and _EARLIEST <= mtime <= self._latest else None


def _flush(root: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        os.sync()
    elif libc.syncfs(root) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
