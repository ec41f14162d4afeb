"""One lock per root, held for a whole run. The file is never unlinked: a lock on a deleted file locks nothing.

A run locks the whole file. Who only has something to write down locks one byte of it: the two exclude each other all the same, and
who is turned away can tell which of them it was, and so whether it is worth waiting a moment.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from mirror.errors import GuardRefused, Locked

# Open file description locks (fcntl(2)): held until the file is closed, by a kill too, and unlike flock(2) they can be asked about
# without being taken for an instant, which would turn away a run that begins at that moment.
_FLOCK = "hhqqi"  # struct flock: type, whence, start, length (0: to the end), pid (must be 0)
_WHOLE_FILE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_BRIEF_BYTE = 4096  # beyond what is written into the file
_ONE_BYTE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _BRIEF_BYTE, 1, 0)


@contextmanager
def root_lock(root: Path, *, brief: bool = False) -> Iterator[None]:
    """Hold the lock of `root`, creating the folder if need be; `brief` promises to give it back within moments.

    Raises:
        Locked: another process holds it.
        GuardRefused: the folder cannot be written.
    """
    try:
        (root / ".staging").mkdir(parents=True, exist_ok=True)
        if (root / ".staging").is_symlink():
            raise GuardRefused(f"{root / '.staging'} is a link, where only what this program made should be; move it away")
        fd = open_lock(root / ".staging" / "lock")
    except OSError as error:
        raise GuardRefused(f"cannot write to the mirror at {root}: {_why(error)}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise GuardRefused(f"{root / '.staging' / 'lock'} is not a file; move it away, and run again")
        try:
            take_lock(fd, brief=brief)
        except BlockingIOError:
            by_now = _holder(fd)
            holder = signature(fd)
            message = f"another run (pid {holder}) holds the lock of {root}; wait for it with --wait, or try later"
            raise Locked(message, brief=by_now in ("nobody", "brief"), holder=holder) from None
        sign(fd)
        yield
    finally:
        os.close(fd)


def open_lock(path: Path) -> int:
    """The open file of a lock, made if need be; to be closed by the caller. Raises OSError.

    A link is not followed, and a pipe not waited for: this file is written to.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)


def take_lock(fd: int, *, brief: bool = False) -> None:
    """Hold the lock of an open file until that is closed. Raises BlockingIOError where somebody else does."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _ONE_BYTE if brief else _WHOLE_FILE)


def sign(fd: int) -> None:
    """Say in a lock who holds it: this process."""
    os.ftruncate(fd, 0)
    with suppress(OSError):  # the lock holds without saying whose it is: on a full disk that is left out
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


def signature(fd: int) -> str:
    """The number of the process that a lock says it is held by."""
    return os.pread(fd, 64, 0).decode("ascii", "replace").strip() or "unknown"


def _why(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"the disk is full{where}; make room"
        case errno.EROFS:
            return f"it is mounted read-only{where}"
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR:
            return f"{error.filename} is in the way: {(error.strerror or '').lower()}; move it away"
        case _:
            return f"{error.strerror}{where}; check the folder and its owner"


def is_locked(root: Path) -> bool:
    """Whether some run holds the lock of `root` at this moment."""
    try:
        fd = os.open(root / ".staging" / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) and _holder(fd) == "run"
    finally:
        os.close(fd)


def _holder(fd: int) -> Literal["nobody", "run", "brief"]:
    kind, _, start, _, _ = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _WHOLE_FILE))
    if kind == fcntl.F_UNLCK:
        return "nobody"
    return "brief" if start == _BRIEF_BYTE else "run"
