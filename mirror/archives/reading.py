"""An archive's files as one stream of bytes: the volumes that are named, in that order, and nothing that lies beside them."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Sequence
from stat import S_ISREG
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER: Final = 1 << 20


class Volumes(io.RawIOBase):
    """Several files read as one, without copying them together; of any size, with one file open at a time.

    `told` is called with the number of bytes of every read. Raises OSError: a file cannot be opened, is none, or has become shorter
    since this was made.
    """

    def __init__(self, paths: Sequence[str], told: Callable[[int], None] = lambda count: None) -> None:
        self._paths = list(paths)
        self._starts = [0]
        for path in self._paths:
            info = os.stat(path)
            if not S_ISREG(info.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            self._starts.append(self._starts[-1] + info.st_size)
        self._told = told
        self._position = 0
        self._open: tuple[int, int] | None = None  # number of the volume, file descriptor

    @property
    def size(self) -> int:
        """Bytes of all volumes."""
        return self._starts[-1]

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position in bytes from the start of the first volume."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, which may lie behind the end. Raises OSError where it lies before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("a position before the start of the archive")  # no error number: it is the archive that is wrong
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read from one volume; 0 at the end of the last one."""
        view = memoryview(buffer).cast("B")
        if self._position >= self.size or not view:
            return 0
        number = self._volume_at(self._position)
        view = view[: self._starts[number + 1] - self._position]
        count = os.preadv(self._descriptor(number), [view], self._position - self._starts[number])
        if not count:
            raise OSError(errno.EIO, "became shorter while it was read", self._paths[number])
        self._position += count
        self._told(count)
        return count

    def close(self) -> None:
        """Close the volume that is open."""
        if self._open:
            os.close(self._open[1])
            self._open = None
        super().close()

    def _volume_at(self, position: int) -> int:
        number = self._open[0] if self._open else 0
        if not self._starts[number] <= position < self._starts[number + 1]:
            # Empty volumes span no position, so the one found is never empty.
            number = next(n for n in range(len(self._paths)) if self._starts[n] <= position < self._starts[n + 1])
        return number

    def _descriptor(self, number: int) -> int:
        if self._open and self._open[0] == number:
            return self._open[1]
        descriptor = os.open(self._paths[number], os.O_RDONLY | os.O_CLOEXEC)
        if self._open:
            os.close(self._open[1])
        self._open = (number, descriptor)
        return descriptor


def buffered(volumes: Volumes) -> io.BufferedReader:
    """With reads that are only short at the end, as those who parse expect."""
    return io.BufferedReader(volumes, _BUFFER)
