"""Whose turn it is: the commands of a subscription run one after the other, whichever process runs them.

The lock says which command runs, so that one that goes on by itself after a kill of the mirror is ended before the next is begun.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mirror.store.lock import open_lock, take_lock

_PATIENCE = 5.0  # seconds between asking an orphan to end and ending it
_STARTED = 19  # where /proc/PID/stat has the start of a process, counted from behind its name


class Turn:
    """A turn that we have."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def runs(self, pid: int) -> None:
        """A command runs, under this number."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{pid} {_identity(pid)}\n".encode(), 0)

    def end_orphan(self) -> bool:
        """End what a killed mirror has left running here, and all of its group; False where there is nothing. Blocks."""
        pid, _, identity = os.pread(self._fd, 200, 0).decode("ascii", "replace").strip().partition(" ")
        if not pid.isdecimal() or not identity:
            return False
        try:
            handle = os.pidfd_open(int(pid))
        except (OSError, OverflowError):
            return False
        try:
            if _identity(int(pid)) != identity:
                return False
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(int(pid), number)
                if select.select([handle], [], [], _PATIENCE)[0] and number == signal.SIGKILL:
                    break
            return True
        finally:
            os.close(handle)


def _identity(pid: int) -> str:
    """What tells a process from all others that have had or will have its number; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text('ascii').strip()} {stat.rpartition(')')[2].split()[_STARTED]}"
    except (OSError, IndexError):
        return ""


@contextmanager
def turn_of(root: Path, subscription: str) -> Iterator[Turn | None]:
    """Have the turn of a subscription, or None where somebody else has it. A kill gives it back. Raises OSError."""
    place = root / ".staging" / "hooks" / subscription
    place.mkdir(parents=True, exist_ok=True)
    fd = open_lock(place / "lock")
    try:
        try:
            take_lock(fd)
        except BlockingIOError:
            yield None
        else:
            yield Turn(fd)
    finally:
        os.close(fd)
