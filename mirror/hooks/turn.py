"""Whose turn it is: the commands of a subscription run one after the other, whichever process runs them."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WHOLE_FILE = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # as in `store.lock`


@contextmanager
def turn_of(root: Path, subscription: str) -> Iterator[bool]:
    """Have the turn of a subscription, or False where somebody else has it. A kill gives it back. Raises OSError."""
    place = root / ".staging" / "hooks" / subscription
    place.mkdir(parents=True, exist_ok=True)
    fd = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    try:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
