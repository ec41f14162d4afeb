"""What Python has no call for: folders brought to the disk, a whole file system flushed, two folders that change places."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_EXCHANGE = 2


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_libc = ctypes.CDLL(None, use_errno=True)


def sync_file_system(path: Path) -> bool:
    """Flush the whole file system that holds `path`, in one call; False where the C library cannot."""
    if not hasattr(_libc, "syncfs"):
        return False
    fd = os.open(path, os.O_RDONLY)
    try:
        return bool(_libc.syncfs(fd) == 0)
    finally:
        os.close(fd)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step (Linux renameat2); False where the kernel or file system cannot."""
    if not hasattr(_libc, "renameat2"):
        return False
    done = _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_EXCHANGE))
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), os.fspath(one))
