"""What keeps a process that reads archives in bounds: it cannot outlive who started it, take all memory, dump core, or hang."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

MEMORY: Final = 2 << 30
"""Bytes of address space. 7-Zip's strongest preset has a dictionary of 256 MiB, and up to 1.5 GiB fit; a header can claim 4 GiB."""

_CPU: Final = 60  # seconds of processor time within which there must be progress
_WALL: Final = 900  # seconds, for what waits without using the processor
_STEP: Final = 1 << 20  # bytes read or written that are progress
MEMBER: Final = 1 << 10
"""What a member counts as progress, in bytes."""

_PR_SET_PDEATHSIG: Final = 1


def die_with(parent: int) -> None:
    """Be killed by the kernel when the thread that started this process ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that call
        os.kill(os.getpid(), signal.SIGKILL)


def confine(memory: int = MEMORY) -> None:
    """Limit this process and those that it starts; the kernel ends one that stands still."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_AS, memory)
    os.umask(0o022)
    for number in (signal.SIGXCPU, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)  # whoever started us may have had them ignored
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGXCPU, signal.SIGALRM))


class Patience:
    """Ends this process, by SIGXCPU or SIGALRM, where a minute of its time or a quarter of an hour bring no mebibyte of progress.

    A limit for the whole would cut large archives on slow machines; what never ends makes no progress either.
    """

    def __init__(self, cpu: int = _CPU, wall: float = _WALL) -> None:
        self._cpu = cpu
        self._wall = wall
        self._progress = 0
        self._renew()

    def rest(self) -> None:
        """From here on it is the disk that is waited for, which takes as long as it takes."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def told(self, count: int) -> None:
        """So many bytes have been read or written."""
        self._progress += count
        if self._progress >= _STEP:
            self._progress = 0
            self._renew()

    def _renew(self) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = int(used.ru_utime + used.ru_stime) + self._cpu
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
        signal.setitimer(signal.ITIMER_REAL, self._wall)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
