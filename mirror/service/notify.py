"""Word to systemd, as sd_notify(3) has it: one datagram of `NAME=value` lines. Without systemd nothing is sent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notify:
    """The way to the service manager, taken from the environment that it started us in."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = _watchdog(environ)
        """Seconds within which a sign of life is expected; None where nobody waits for one."""

    def send(self, **facts: object) -> None:
        """Tell these facts; whoever does not listen misses them."""
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in facts.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(text.encode("utf-8", "replace"), self._address)

    def ready(self, status: str) -> None:
        """It is up, or up again after `reloading`."""
        self.send(READY=1, STATUS=status)

    def reloading(self) -> None:
        """It is about to take a new config."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def stopping(self) -> None:
        """It is about to end."""
        self.send(STOPPING=1, STATUS="stopping")


def _watchdog(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID") not in (None, "", str(os.getpid())):
        return None
    micros = environ.get("WATCHDOG_USEC", "")
    return int(micros) / 1e6 if micros.isascii() and micros.isdigit() and int(micros) else None
