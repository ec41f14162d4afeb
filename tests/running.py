"""The service as it runs under systemd: a process of its own, with somebody at the other end of its notify socket."""

from __future__ import annotations

import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from . import command

T = TypeVar("T")
WITHIN = 60.0
"""Seconds after which a test gives up on something that should come; none of them asks how long it took."""


class Running:
    """A running `inspire-mirror run` (or another command that stays), started in `folder`, whose config is there."""

    def __init__(self, folder: Path, *arguments: str, command_: str = "run", **env: str) -> None:
        self.folder = folder
        self.log: list[str] = []
        self.told: list[dict[str, str]] = []
        """What it has told systemd, message by message."""

        self._changed: queue.Queue[None] = queue.Queue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0inspire-mirror-test-{folder}-{time.monotonic_ns()}"[:100])
        address = "@" + self._socket.getsockname()[1:].decode()
        self.process = command.start(*arguments, *command_.split(), cwd=folder, NOTIFY_SOCKET=address, **env)
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._read, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except OSError:
                return
            if not text:
                return
            self.told.append(dict(line.split("=", 1) for line in text.splitlines()))
            self._changed.put(None)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            self._changed.put(None)
        self._changed.put(None)

    def wait_until(self, found: Callable[[], T | None], what: str) -> T:
        """The first thing that `found` finds; it is asked anew whenever the service has said something, and now and then."""
        until = time.monotonic() + WITHIN
        while not (value := found()):
            left = until - time.monotonic()
            assert left > 0, f"{what} never came; log: {self.log[-20:]}, told: {self.told[-5:]}"
            with suppress(queue.Empty):
                self._changed.get(timeout=min(left, 0.2))
        return value

    def wait_ready(self) -> Running:
        """Until it has told that it is up."""
        self.wait_until(lambda: any("READY" in told for told in self.told), "READY=1")
        return self

    def wait_log(self, words: str, after: int = 0) -> str:
        """The first line of its log, from line `after` on, that has these words in it."""
        return self.wait_until(lambda: next((line for line in self.log[after:] if words in line), None), f"a line with {words!r}")

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; returns its exit code."""
        self.send(number)
        code = self.process.wait(WITHIN)
        return code

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WITHIN)
        self._socket.shutdown(socket.SHUT_RD)  # closing alone would leave its reader waiting
        self._socket.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    @contextmanager
    def sync(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A sync beside it, which is gone at the end."""
        with command.start("sync", *arguments, cwd=self.folder) as client:
            try:
                yield client
            finally:
                client.kill()


@contextmanager
def running(folder: Path, *arguments: str, command_: str = "run", **env: str) -> Iterator[Running]:
    """A service that has come up, and is gone at the end."""
    service = Running(folder, *arguments, command_=command_, **env)
    try:
        yield service.wait_ready()
    finally:
        service.close()
