"""One lock per root, held for a whole run. The file is never unlinked: a lock on a deleted file locks nothing."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirror.errors import GuardRefused, Locked

# `is_locked` holds the lock for an instant, to see whether it is free; nobody is to be turned away for that.
_ATTEMPTS = 3
_PAUSE = 0.01  # seconds


@contextmanager
def root_lock(root: Path) -> Iterator[None]:
    """Hold the lock of `root`, creating the folder if need be.

    Raises:
        Locked: another process holds it.
        GuardRefused: the folder cannot be written.
    """
    try:
        (root / ".staging").mkdir(parents=True, exist_ok=True)
        fd = os.open(root / ".staging" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise GuardRefused(f"cannot write to the mirror at {root}: {error.strerror}; check the folder and its owner") from error
    try:
        for attempt in range(_ATTEMPTS):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt + 1 == _ATTEMPTS:
                    holder = os.pread(fd, 64, 0).decode("ascii", "replace").strip() or "unknown"
                    raise Locked(
                        f"another run (pid {holder}) holds the lock of {root}; wait for it with --wait, or try later"
                    ) from None
                time.sleep(_PAUSE)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def is_locked(root: Path) -> bool:
    """Whether some run holds the lock of `root` at this moment."""
    try:
        fd = os.open(root / ".staging" / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
