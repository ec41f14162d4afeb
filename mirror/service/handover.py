"""The other end of the socket: what commands use to ask the running service, or to hand a sync to it. Plain blocking calls."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from mirror.errors import ConfigError, MirrorError
from mirror.events import Emit, Note
from mirror.service.place import short_name, sockets_to_try
from mirror.service.wire import line, read_event, read_report
from mirror.settings import Settings
from mirror.sync import Report

_CONNECT_WITHIN = 5.0  # seconds
_ANSWER_WITHIN = 30.0  # several of its heartbeats


class ServiceGone(MirrorError):
    """The service has ended, or does not answer, while something was asked of it."""


class Refused(MirrorError):
    """The service does not take what was handed to it, or could not carry it out."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def find_service(settings: Settings, environ: Mapping[str, str]) -> Path | None:
    """The socket of the running service of this mirror; None if there is none.

    Raises ConfigError where there is one that the user may not open.
    """
    for path in sockets_to_try(settings, environ):
        try:
            said = ask(path, "hello")
        except PermissionError:
            if path == settings.service.socket or path.is_relative_to(settings.root):
                raise ConfigError(
                    f"the service is running, but you may not open its socket {path}: join the group of its owner, or use sudo"
                ) from None
            continue
        except (OSError, ServiceGone):
            continue
        if said.get("root") == str(settings.root):
            return path
    return None


def ask(path: Path, question: str) -> dict[str, Any]:
    """The answer of the service at `path` to a question of one word. Raises OSError, ServiceGone."""
    with _connect(path) as channel:
        channel.sendall(line({"op": question}))
        answer: dict[str, Any] = _read(channel.makefile("rb"))
        return answer


class Handed:
    """A sync in the hands of the service. Use as a context manager; leaving it leaves the sync running."""

    def __init__(self, path: Path, names: Sequence[str], *, retry: bool, wait: bool) -> None:
        """Raises OSError, ServiceGone."""
        self._channel = _connect(path)
        self._lines = self._channel.makefile("rb")
        self._channel.sendall(line({"op": "sync", "names": list(names), "retry": retry, "wait": wait}))

    def follow(self, emit: Emit) -> Report:
        """Its events as they come, and how it ended. May be interrupted and called again.

        Raises:
            Refused: the service has not taken it, or could not begin it.
            ServiceGone: it has ended, or has been stopped, before the sync was done.
        """
        told = False
        while True:
            said = _read(self._lines)
            if said.get("waiting_for") and not told:
                told = True
                emit(Note(f"waiting for the service, which is syncing {said['waiting_for']}", "notice"))
            if "event" in said:
                if (event := read_event(said)) is not None:
                    emit(event)
            elif "report" in said:
                report = read_report(said["report"])
                report.not_unpacked = said.get("not_unpacked", 0)
                return report
            elif "error" in said:
                raise Refused(str(said["error"]), int(said["exit_code"]))

    def cancel(self) -> None:
        """Have it stopped; `follow` tells when it has."""
        with suppress(OSError):
            self._channel.sendall(line({"op": "cancel"}))

    def close(self) -> None:
        """Go away; the sync goes on."""
        self._lines.close()
        self._channel.close()

    def __enter__(self) -> Handed:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _connect(path: Path) -> socket.socket:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        channel.settimeout(_CONNECT_WITHIN)
        channel.connect(short_name(folder, path.name))
        channel.settimeout(_ANSWER_WITHIN)
    except BaseException:
        channel.close()
        raise
    finally:
        os.close(folder)
    return channel


def _read(lines: Any) -> dict[str, Any]:
    try:
        text = lines.readline()
        said = json.loads(text) if text else None
    except TimeoutError:
        raise ServiceGone("the service does not answer; what it was doing goes on, or begins again with it") from None
    except (OSError, ValueError):
        said = None
    if not isinstance(said, dict):
        raise ServiceGone("the service has ended; what it was doing goes on when it is started again")
    return said
