"""One command, in a process group of its own: its input, the end of its output, its time, and its end. Blocks: call it in a thread.

What it leaves running in its group ends with it, so that nothing piles up over the years: who wants to start what stays hands it
to whoever keeps such things (`systemd-run`, a queue).
"""

from __future__ import annotations

import errno
import os
import re
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KEPT = 16 * 1024  # bytes of output, the last
_BLOCK = 64 * 1024
_PATIENCE = 10.0  # seconds between being asked to end and being ended, at the end of its time
_LONGEST_WAIT = 3600.0  # seconds at a time: the system counts them in an int of milliseconds
_HASTE = 3.0  # the same when the program itself is to end
_UNSEEN = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `problem` is None where it succeeded; `stopped`: we ended it before its time. `seconds` it took."""

    problem: str | None
    output: str
    seconds: float
    stopped: bool = False


class Stop:
    """Ends a command from another thread."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        """The command is to end now."""
        os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """To be called when the command has ended."""
        os.close(self.fd)


def run_command(
    command: Sequence[str],
    document: bytes,
    *,
    folder: Path,
    environ: Mapping[str, str],
    timeout: float,
    stop: Stop,
    started: Callable[[int], None] = lambda pid: None,
) -> Ended:
    """Run a command to its end; `document` is what it can read on its stdin. `timeout` in seconds; `started` gets its number."""
    began = time.monotonic()
    # A file, not a pipe: who does not read it breaks nothing, and nobody has to write while the command runs.
    stdin = os.memfd_create("manifest", os.MFD_CLOEXEC)
    output, end = os.pipe2(os.O_CLOEXEC)
    try:
        with os.fdopen(os.dup(stdin), "wb") as file:
            file.write(document)
        os.lseek(stdin, 0, os.SEEK_SET)
        process = subprocess.Popen(  # noqa: S603 - it is what the config says, and no shell
            command,
            stdin=stdin,
            stdout=end,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        os.close(output)
        return Ended(_why_not_started(command[0], error), "", time.monotonic() - began)
    finally:
        os.close(stdin)
        os.close(end)
    started(process.pid)
    return _Running(process, output, began, timeout, stop).to_its_end()


def _why_not_started(program: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            why = "there is no such program, or the interpreter that its first line names is missing"
        case errno.EACCES:
            why = "it is not executable for this user"
        case errno.ENOEXEC:
            why = "it is no program; a script has to name its interpreter in its first line"
        case errno.E2BIG:
            why = "its arguments are too long"
        case _:
            why = error.strerror or str(error)
    return f"{program} cannot be started: {why}"


class _Running:
    """A process that was started, watched until it and its group have ended."""

    def __init__(self, process: subprocess.Popen[bytes], output: int, began: float, timeout: float, stop: Stop) -> None:
        self._process = process
        self._output = output
        self._began = began
        self._timeout = timeout
        self._stop = stop
        self._blocks: deque[bytes] = deque()
        self._kept = 0
        self._open = True

    def to_its_end(self) -> Ended:
        """Watch it, and end it when its time is up or it is to stop."""
        os.set_blocking(self._output, False)
        handle = os.pidfd_open(self._process.pid)
        stopped = timed_out = False
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._output, selectors.EVENT_READ)
                selector.register(handle, selectors.EVENT_READ)
                selector.register(self._stop.fd, selectors.EVENT_READ)
                ready = self._watch(selector, self._began + self._timeout, until=(handle, self._stop.fd))
                stopped = self._stop.fd in ready and handle not in ready
                timed_out = not ready
                selector.unregister(self._stop.fd)
                self._signal(signal.SIGTERM)
                # Also where it has ended by itself: what it has left behind in its group is asked to go.
                give_up = time.monotonic() + (_HASTE if stopped or not timed_out else _PATIENCE)
                if handle not in ready:
                    self._watch(selector, give_up, until=(handle,))
                if self._open:
                    self._watch(selector, give_up, until=())
                self._signal(signal.SIGKILL)
                if self._open:
                    self._watch(selector, time.monotonic() + 1, until=())
        finally:
            os.close(handle)
            os.close(self._output)
            code = self._process.wait()  # only now may its id be given to another process
        return Ended(self._problem(code, timed_out), self._text(), time.monotonic() - self._began, stopped)

    def _watch(self, selector: selectors.BaseSelector, until_time: float, *, until: Sequence[int]) -> set[int]:
        """Take in output until one of the descriptors `until` is ready, time is up (an empty set), or without any, all is read."""
        while (left := until_time - time.monotonic()) > 0:
            ready = {key.fd for key, _ in selector.select(min(left, _LONGEST_WAIT))}
            if self._output in ready and not self._take():
                selector.unregister(self._output)
                self._open = False
            if found := ready.intersection(until):
                self._drain(selector)
                return found
            if not until and not self._open:
                break
        return set()

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """Take in what was written before the process ended, but not what others go on writing for ever."""
        for _ in range(64):
            if not self._open or not [key for key, _ in selector.select(0) if key.fd == self._output]:
                return
            if not self._take():
                selector.unregister(self._output)
                self._open = False

    def _take(self) -> bool:
        """Keep the last of what was written; False where nobody can write any more."""
        try:
            block = os.read(self._output, _BLOCK)
        except BlockingIOError:
            return True
        self._blocks.append(block)
        self._kept += len(block)
        while self._kept - len(self._blocks[0]) >= _KEPT:
            self._kept -= len(self._blocks.popleft())
        return bool(block)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _problem(self, code: int, timed_out: bool) -> str | None:
        if timed_out:
            return f"did not end within {_seconds_text(self._timeout)} and was stopped"
        if code < 0:
            return f"was ended by {_signal_name(-code)}"
        return f"ended with exit code {code}" if code else None

    def _text(self) -> str:
        return readable(b"".join(self._blocks)[-_KEPT:])


def readable(output: bytes) -> str:
    """Output without what would move a cursor, paint or break a log: lines of printable characters."""
    text = _UNSEEN.sub("", output.decode("utf-8", "replace")).replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    lines = ("".join(c for c in line if c.isprintable()).rstrip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _seconds_text(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
