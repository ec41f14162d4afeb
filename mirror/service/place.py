"""Where the service of a mirror keeps its own things, and where commands find it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mirror.settings import Settings

_SOCKET = "control.sock"
_SYSTEM = Path("/run/inspire-mirror")


def service_folder(root: Path) -> Path:
    """Lock, memory and, where nothing else is said, socket of the service."""
    return root / ".staging" / "service"


def socket_to_serve(settings: Settings, environ: Mapping[str, str]) -> Path:
    """Where the service listens: as the config says, else in the folder that systemd has made for it, else in its own."""
    if settings.service.socket is not None:
        return settings.service.socket
    return (_runtime_folder(environ) or service_folder(settings.root)) / _SOCKET


def sockets_to_try(settings: Settings, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a command looks for the service. At the common place there may be that of another mirror: it tells whose it is."""
    if settings.service.socket is not None:
        yield settings.service.socket
        return
    folders = service_folder(settings.root), _runtime_folder(environ), _SYSTEM
    yield from dict.fromkeys(folder / _SOCKET for folder in folders if folder is not None)


def _runtime_folder(environ: Mapping[str, str]) -> Path | None:
    """The first of the folders that systemd has made for a service, if it has (`RuntimeDirectory=`)."""
    first = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(first) if first else None


def short_name(folder: int, name: str) -> str:
    """A short path to what is in an open folder: that of a socket has room for 107 bytes (unix(7)), whatever the root is called."""
    return os.path.join(f"/proc/self/fd/{folder}", name)
