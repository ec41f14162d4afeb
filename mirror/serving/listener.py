"""The door: opens where the config says, lets in only so many, and waits for nobody who does not say what he wants, or take it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import socket
import struct
import termios
from contextlib import suppress
from typing import Any, cast

from aiohttp import web

from mirror.errors import ConfigError
from mirror.settings.addresses import Address

_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.CRITICAL + 1)  # what comes in that is no HTTP is nothing to report; Python itself would print it

_MOST_CONNECTIONS = 500
_HEAD_WITHIN = 15.0  # seconds for the head of a first request to come
_KEPT_ALIVE = 60.0  # seconds for the next one
_MOVES_WITHIN = 20.0  # seconds within which some of an answer has to go out
_STOP_WITHIN = 3.0  # seconds for answers under way
_LARGEST_HEAD = 8190  # bytes of a line or header


class Listener:
    """Serves an application at one address."""

    def __init__(self, app: web.Application, address: Address) -> None:
        app.middlewares.insert(0, self._heard)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_LOGGER,
            handle_signals=False,
            keepalive_timeout=_KEPT_ALIVE,
            shutdown_timeout=_STOP_WITHIN,
            max_line_size=_LARGEST_HEAD,
            max_field_size=_LARGEST_HEAD,
        )
        self._address = address
        self._server: asyncio.Server | None = None
        self._silent: set[Any] = set()
        self._talking: dict[Any, asyncio.WriteTransport] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens; with the port that was found, where the config leaves it to the system."""
        host, port = self._address.host, self._address.port
        if self._server is not None and self._server.sockets:
            port = self._server.sockets[0].getsockname()[1]
        return f"http://{Address(host, port)}"

    async def start(self) -> None:
        """Open the door. Raises ConfigError where that cannot be."""
        await self._runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._accept, self._address.host, self._address.port, backlog=128, reuse_address=True
            )
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(f"[serve] listen: {self._address}: {_why(error)}") from error
        self._watching = asyncio.create_task(self._watch_answers())

    async def stop(self) -> None:
        """Let nobody in any more, and end what is under way within seconds."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        await self._runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or len(server.connections) >= _MOST_CONNECTIONS:
            return _Refused()
        handler = server()
        self._silent.add(handler)
        asyncio.get_running_loop().call_later(_HEAD_WITHIN, self._send_away, handler)
        return handler

    @web.middleware
    async def _heard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self._silent.discard(request.protocol)
        if request.transport is not None:
            # Kept here: the handler forgets it when it has closed it, which ends only when everything has gone out.
            self._talking[request.protocol] = cast(asyncio.WriteTransport, request.transport)
        response: web.StreamResponse = await handler(request)
        return response

    def _send_away(self, handler: Any) -> None:
        """Who has not come to the end of a first request by now ties up a connection for nothing."""
        if handler in self._silent:
            self._silent.discard(handler)
            if handler.transport is not None:
                handler.transport.abort()

    async def _watch_answers(self) -> None:
        """Who asks and does not take the answers is sent away: each holds one of the connections, for good."""
        before: dict[Any, tuple[int, int]] = {}
        while True:
            await asyncio.sleep(_MOVES_WITHIN)
            server = self._runner.server
            open_ones = set(server.connections) if server is not None else set()
            self._talking = {handler: transport for handler, transport in self._talking.items() if handler in open_ones}
            stands = {handler: _waiting(transport) for handler, transport in self._talking.items()}
            for handler, waiting in stands.items():
                if waiting[0] and before.get(handler) == waiting:
                    self._talking[handler].abort()
            before = stands


def _waiting(transport: asyncio.WriteTransport) -> tuple[int, int]:
    """The bytes that are still to go out: here, and in the system, which sends them until the other side takes no more."""
    held = struct.pack("i", 0)
    with suppress(OSError, ValueError):
        held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, held)
    return transport.get_write_buffer_size(), int(struct.unpack("i", held)[0])


class _Refused(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        with suppress(AttributeError):
            transport.abort()  # type: ignore[attr-defined]  # every stream has it


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "no address of this machine goes by that name"
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there; choose another port, or end that program"
        case errno.EACCES | errno.EPERM:
            return "not permitted; ports below 1024 take the capability CAP_NET_BIND_SERVICE, or choose another port"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case _:
            return error.strerror or str(error)
