"""Syncs in processes of their own, to be killed: forked from one that has everything imported, so that each starts at once.

As a program it reads one JSON document a line, an `Order`; for each it writes the id of the process that syncs, and when that has
ended, its exit code (that of a signal is negative).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import mirror
import mirror.steps
from mirror.settings import from_mapping
from mirror.sync import sync
from mirror.verifying import verify

from .mirrored import HASTE, LONG_AFTER
from .refusing import refuse_exchange

_PROJECT = Path(mirror.__file__).parent.parent


class Syncs:
    """Starts syncs one after the other. Use as a context manager."""

    def __enter__(self) -> Syncs:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"], cwd=_PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()

    def run(
        self,
        settings: Mapping[str, Any],
        folder: Path,
        started: Callable[[Callable[[], None]], None] = lambda kill: None,
        **more: Any,
    ) -> int:
        """One sync to its end; returns its exit code. `started` is handed what kills it; `more` are members of the order.

        `step` and `occurrence` name where it is to be killed, or sent `signal`; `passed` a file for the names of all steps that it
        passes, one a line; with `exchange` false the kernel does not exchange two folders; with `verify` it repairs instead; `now`
        is the time of its clock, as ISO 8601.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"settings": settings, "folder": str(folder), **more}) + "\n")
        stdin.flush()
        handle = os.pidfd_open(int(stdout.readline()))
        over, lock = threading.Event(), threading.Lock()

        def kill() -> None:
            with lock, suppress(ProcessLookupError):
                if not over.is_set():  # a kill that comes late must not hit the next one
                    signal.pidfd_send_signal(handle, signal.SIGKILL)

        try:
            started(kill)
            stdin.write("\n")  # only now does it begin
            stdin.flush()
            return int(stdout.readline())
        finally:
            with lock:
                over.set()
                os.close(handle)


def main() -> None:
    """Fork a sync for every line that comes."""
    while order := sys.stdin.readline():
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(write)
            os.read(read, 1)
            os._exit(_sync(json.loads(order)))
        os.close(read)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        os.close(write)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _sync(order: Mapping[str, Any]) -> int:
    if not order.get("exchange", True):
        refuse_exchange()
    arrange(order.get("step"), order.get("occurrence", 1), order.get("signal", signal.SIGKILL), order.get("passed"))
    settings = from_mapping(order["settings"], Path(order["folder"]), {})
    now = datetime.fromisoformat(order.get("now", LONG_AFTER.isoformat()))
    if order.get("verify"):
        return asyncio.run(verify(settings, full=True, repair=True, now=lambda: now, patience=HASTE)).exit_code
    return asyncio.run(sync(settings, now=lambda: now, patience=HASTE)).exit_code


def arrange(name: str | None, occurrence: int, number: int, passed: str | None = None) -> None:
    """Let this process meet a signal when it passes the step `name` for the `occurrence`th time; write down what it passes."""
    lock, count = threading.Lock(), itertools.count(1)
    # Unbuffered: what was passed before a kill stands in it.
    log = os.open(passed, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if passed else None

    def on_step(passing: str) -> None:
        with lock:
            if log is not None:
                os.write(log, f"{passing}\n".encode())
            if passing == name and next(count) == occurrence:
                os.kill(os.getpid(), number)

    mirror.steps.on_step = on_step


if __name__ == "__main__":
    main()
