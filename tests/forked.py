"""Syncs in processes of their own, to be killed: forked from one that has everything imported, so that each starts at once.

As a program it reads one JSON document a line, an `Order`; for each it writes the id of the process that syncs, and when that has
ended, its exit code (that of a signal is negative).
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import mirror
import mirror.steps
from mirror.cli.commands.runs import run_until_signal
from mirror.errors import MirrorError
from mirror.hooks import sync_with_hooks
from mirror.settings import from_mapping
from mirror.sync import sync
from mirror.verifying import verify

from .mirrored import HASTE, LONG_AFTER
from .mounts import Disk
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

        `step` and `occurrence` name where it is to be killed, or sent `signal`, or where the disk at `fill` fills up until it has
        `leave` pages, or `inodes`. The names of all steps that it passes are written to the file `passed`, one a line; what it has
        to say to the file `said`. With `exchange` false the kernel does not exchange two folders; with `verify` it repairs instead,
        with `hooks` it runs commands as well; `now` is the time of its clock, as ISO 8601.
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
    arrange(order.get("step"), order.get("occurrence", 1), _strike(order), order.get("passed"))
    code, said = _outcome(order)
    if order.get("said"):
        Path(order["said"]).write_text(said, "utf-8")
    return code


def _outcome(order: Mapping[str, Any]) -> tuple[int, str]:
    """The exit code that the command would have, and what it would say; that of an error which nobody foresaw is 70."""
    settings = from_mapping(order["settings"], Path(order["folder"]), {})
    now = datetime.fromisoformat(order.get("now", LONG_AFTER.isoformat()))
    try:
        if order.get("verify"):
            return run_until_signal(verify(settings, full=True, repair=True, now=lambda: now, patience=HASTE)).exit_code, ""
        once = sync_with_hooks if order.get("hooks") else sync
        report = run_until_signal(once(settings, now=lambda: now, patience=HASTE))
    except KeyboardInterrupt:
        return 130, ""
    except MirrorError as error:
        return error.exit_code, str(error)
    except Exception:
        return 70, traceback.format_exc()
    return report.exit_code, report.reason


def _strike(order: Mapping[str, Any]) -> Callable[[], None]:
    if (place := order.get("fill")) is not None:
        made, count = Disk(Path(place)), order.get("leave", 0)
        return lambda: made.leave_inodes(count) if order.get("inodes") else made.leave(count)
    return lambda: os.kill(os.getpid(), order.get("signal", signal.SIGKILL))


def arrange(name: str | None, occurrence: int, strike: Callable[[], None], passed: str | None = None) -> None:
    """Let `strike` happen when this process passes the step `name` for the `occurrence`th time; write down what it passes."""
    lock, count = threading.Lock(), itertools.count(1)
    # Unbuffered: what was passed before a kill stands in it.
    log = os.open(passed, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if passed else None

    def on_step(passing: str) -> None:
        with lock:
            if log is not None:
                os.write(log, f"{passing}\n".encode())
            if passing == name and next(count) == occurrence:
                strike()

    mirror.steps.on_step = on_step


if __name__ == "__main__":
    main()
