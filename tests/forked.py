"""Syncs in processes of their own, to be killed: forked from one that has everything imported, so that each starts at once.

As a program it reads one JSON document a line, `{"settings": ..., "folder": ..., "now": ...}`; for each it writes the id of the
process that syncs, and when that has ended, its exit code (that of a signal is negative).
"""

from __future__ import annotations

import asyncio
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
from mirror.settings import from_mapping
from mirror.sync import sync

from .mirrored import HASTE, LONG_AFTER

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
        started: Callable[[Callable[[], None]], None],
        now: datetime = LONG_AFTER,
    ) -> int:
        """One sync to its end; returns its exit code. `started` is handed what kills it."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"settings": settings, "folder": str(folder), "now": now.isoformat()}) + "\n")
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
    settings = from_mapping(order["settings"], Path(order["folder"]), {})
    now = datetime.fromisoformat(order["now"])
    return asyncio.run(sync(settings, now=lambda: now, patience=HASTE)).exit_code


if __name__ == "__main__":
    main()
