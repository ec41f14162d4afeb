"""The socket by which commands reach the service: lines of JSON, one question or one handed-over sync a connection.

    {"op": "hello"}                                         -> {"root": ..., "pid": ..., "version": ...}
    {"op": "status"}                                        -> the live part of `status --json`
    {"op": "sync", "names": [...], "retry": b, "wait": b}   -> {"event": ..., "facts": ...}*, {"report": ...} or {"error": ...}
    {"op": "cancel"}   while a sync is handed over: stop it. Whoever only goes away leaves it running.

Who may open the socket may do all this: the service's user and its group.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from mirror.errors import ConfigError, Locked, os_error_text
from mirror.service.jobs import Job, Watcher
from mirror.service.place import short_name
from mirror.service.runner import Runner
from mirror.service.wire import event_message, line
from mirror.version import __version__

_LONGEST_LINE = 1 << 18
_TOGETHER = 0.1  # seconds: events are sent at most so often, so that many small files cost little
_HEARTBEAT = 5.0  # seconds after which whoever waits is told that it is still waited for
_MOST_CONNECTIONS = 64
_READ_WITHIN = 10.0  # seconds
_WRITE_WITHIN = 30.0


class Control:
    """Answers on the socket."""

    def __init__(self, runner: Runner, live: Callable[[], Mapping[str, object]]) -> None:
        """`live` tells how things stand, for `status`."""
        self._runner = runner
        self._live = live
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        """Listen at `path` while the body runs. Raises ConfigError where that cannot be."""
        channel, folder = _bind(path)
        ours = os.stat(path.name, dir_fd=folder).st_ino
        server = await asyncio.start_unix_server(self._connected, sock=channel, limit=_LONGEST_LINE)
        try:
            yield
        finally:
            server.close()
            with suppress(OSError):
                if os.stat(path.name, dir_fd=folder).st_ino == ours:
                    os.unlink(path.name, dir_fd=folder)
            os.close(folder)
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections, timeout=2)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio calls this in a task
        if len(self._connections) >= _MOST_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, TimeoutError, asyncio.CancelledError):
            pass  # it has gone away, does not read, or speaks something else; or we end
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_READ_WITHIN):
            asked = json.loads(await reader.readline())
        if not isinstance(asked, dict):
            raise ValueError("not a question")
        match asked.get("op"):
            case "hello":
                answer: Mapping[str, object] = {"root": str(self._runner.settings.root), "pid": os.getpid(), "version": __version__}
            case "status":
                answer = self._live()
            case "sync":
                await self._sync(asked, reader, writer)
                return
            case _:
                answer = {"error": "the service does not know this question; is it of another version?", "exit_code": 2}
        await _send(writer, answer)

    async def _sync(self, asked: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names = tuple(dict.fromkeys(map(str, asked.get("names", ())))) or tuple(self._runner.settings.subscription)
        wait = bool(asked.get("wait"))
        if refusal := self._refusal(names, wait=wait):
            await _send(writer, refusal)
            return
        watcher = Watcher()
        job = Job(names, "command", retry=bool(asked.get("retry")), wait=wait, watchers=[watcher])
        try:
            self._runner.hand(job)
        except Locked as error:
            await _send(writer, {"error": str(error), "exit_code": error.exit_code})
            return
        reading = asyncio.create_task(self._read_cancel(reader, job, watcher))
        try:
            while not job.ended and not watcher.lagging and not reading.done():
                events = await watcher.wait(_HEARTBEAT)
                said = [event_message(event) for event in events]
                if not events and not job.ended:
                    said.append({"waiting_for": self._runner.ahead_of(job)})
                await _send(writer, *said)
                await asyncio.sleep(_TOGETHER)
            if job.ended:
                await _send(writer, *map(event_message, await watcher.wait(0)), _end_of(job))
        finally:
            job.watchers.remove(watcher)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)  # nonsense that came after the question is of no interest

    def _refusal(self, names: tuple[str, ...], *, wait: bool) -> Mapping[str, object] | None:
        known = self._runner.settings.subscription
        for name in names:
            if name not in known:
                there = ", ".join(known) or "none"
                lacking = f"the service has no subscription {name[:64]!r}, but: {there}"
                text = f"{lacking}; has it been reloaded since the config was changed?"
                return {"error": text, "exit_code": 2}
        current = self._runner.current or next(iter(self._runner.waiting), None)
        if current is not None and not wait:
            what = ", ".join(current.names)
            return {"error": f"the service is syncing {what}; wait for it with --wait, or try later", "exit_code": 3}
        return None

    async def _read_cancel(self, reader: asyncio.StreamReader, job: Job, watcher: Watcher) -> None:
        """Until whoever has handed over the job says that it is to stop, or goes away."""
        while text := await reader.readline():
            if json.loads(text).get("op") == "cancel":
                self._runner.withdraw(job)
        watcher.wake()


async def _send(writer: asyncio.StreamWriter, *messages: Mapping[str, object]) -> None:
    """Raises TimeoutError where nobody reads: who is stopped or gone keeps no place from others."""
    async with asyncio.timeout(_WRITE_WITHIN):
        for message in messages:
            writer.write(line(message))
            await writer.drain()


def _end_of(job: Job) -> Mapping[str, object]:
    if job.report is not None:
        return {"report": job.report.as_json(), "not_unpacked": job.report.not_unpacked}
    assert job.error is not None  # noqa: S101 - a job that has ended has one of the two
    return {"error": str(job.error), "exit_code": job.error.exit_code}


def _answers(folder: int, name: str) -> bool:
    """Whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(1)
        try:
            channel.connect(short_name(folder, name))
        except TimeoutError:
            return True
        except OSError:
            return False
        return True


def _bind(path: Path) -> tuple[socket.socket, int]:
    """A socket that listens at `path`, for its owner and its group, and the open folder that it is in. Raises ConfigError."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        channel.close()
        raise ConfigError(f"[service] socket: cannot listen at {path}: {os_error_text(error)}") from error
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise OSError(errno.EEXIST, "something else than a socket is there", str(path))
            if _answers(folder, path.name):
                raise OSError(errno.EADDRINUSE, "another service answers there; name another place in [service] socket")
            os.unlink(path.name, dir_fd=folder)  # of a service that was killed
        old = os.umask(0o117)
        try:
            channel.bind(short_name(folder, path.name))
        finally:
            os.umask(old)
        channel.listen(16)
        channel.setblocking(False)
    except OSError as error:
        channel.close()
        os.close(folder)
        raise ConfigError(f"[service] socket: cannot listen at {path}: {error.strerror or error}") from error
    return channel, folder
