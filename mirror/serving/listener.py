"""The door: opens where the config says, lets in only so many, and waits for nobody who does not say what he wants, or take it."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import struct
from collections import Counter
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, cast

from aiohttp import web

from mirror.errors import ConfigError
from mirror.serving.conversation import LARGEST_FIELD, LARGEST_LINE, Conversation
from mirror.serving.progress import Progress, progress_of
from mirror.settings.addresses import Address

_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.CRITICAL + 1)  # what comes in that is no HTTP is nothing to report; Python itself would print it

_MOST_CONNECTIONS = 1000
_MOST_OF_ONE = 400
"""Connections of one address: 200 people behind it, each with two. So many that it cannot keep others out, even with a second one.
"""

_NEAR_4, _NEAR_6 = IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")
_HANDLES_OF_A_DOWNLOAD = 4  # the connection, its twin for the kernel to send to, the file and its twin
_OTHER_HANDLES = 256  # of a sync beside it, the index, the log
_HEAD_WITHIN = 15.0  # seconds for the head of a first request to come
_KEPT_ALIVE = 60.0  # seconds for the next one
_MOVES_WITHIN = 60.0  # seconds within which some of an answer has to arrive
_BACKLOG = 1024  # connections that come at the same moment
_STOP_WITHIN = 3.0  # seconds for answers under way
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Listener:
    """Serves an application at one address."""

    def __init__(self, app: web.Application, address: Address) -> None:
        app.middlewares.insert(0, self._heard)
        self._runner = web.AppRunner(app, access_log=None, logger=_LOGGER, handle_signals=False, shutdown_timeout=_STOP_WITHIN)
        self._address = address
        self._server: asyncio.Server | None = None
        self._silent: set[Any] = set()
        self._talking: dict[Any, asyncio.WriteTransport] = {}
        self._watching: asyncio.Task[None] | None = None
        self._most = _MOST_CONNECTIONS
        self._origins: dict[Any, str] = {}
        self._held: Counter[str] = Counter()

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
        self._most = min(_MOST_CONNECTIONS, _room_for(_MOST_CONNECTIONS))
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._accept, self._address.host, self._address.port, backlog=_BACKLOG, reuse_address=True
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
        return _Entrance(self)

    def admit(self, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """Who is to talk to a new connection; None where there is no room for it."""
        server, origin = self._runner.server, _origin(transport)
        if server is None or len(server.connections) >= self._most:
            return None
        if origin is not None and self._held[origin] >= _MOST_OF_ONE:
            self._count_anew()
            if self._held[origin] >= _MOST_OF_ONE:
                return None
        handler = Conversation(
            server,
            loop=asyncio.get_running_loop(),
            access_log=_LOGGER,
            logger=_LOGGER,
            keepalive_timeout=_KEPT_ALIVE,
            max_line_size=LARGEST_LINE,
            max_field_size=LARGEST_FIELD,
        )
        if origin is not None:
            self._origins[handler] = origin
            self._held[origin] += 1
        self._silent.add(handler)
        asyncio.get_running_loop().call_later(_HEAD_WITHIN, self._send_away, handler)
        return handler

    def _count_anew(self) -> None:
        """Nobody tells of connections that have ended: they are forgotten when it matters."""
        server = self._runner.server
        open_ones = set(server.connections) if server is not None else set()
        self._origins = {handler: origin for handler, origin in self._origins.items() if handler in open_ones}
        self._held = Counter(self._origins.values())
        self._talking = {handler: transport for handler, transport in self._talking.items() if handler in open_ones}

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
        """Who asks and does not take the answers is sent away: each holds one of the connections, for good.

        Who takes them slowly may: it is enough that the other side has confirmed some more of the bytes.
        """
        before: dict[Any, Progress] = {}
        while True:
            await asyncio.sleep(_MOVES_WITHIN)
            self._count_anew()
            now = {handler: progress_of(transport) for handler, transport in self._talking.items()}
            for handler, progress in now.items():
                if progress.stalled_since(before.get(handler)):
                    _end(self._talking[handler])
            before = now


class _Entrance(asyncio.Protocol):
    """Says where a new connection belongs. Only once it is there can it be known whose it is."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast(asyncio.Transport, transport)
        handler = self._listener.admit(connection)
        if handler is None:
            connection.write(_FULL)
            connection.close()
            return
        connection.set_protocol(handler)
        handler.connection_made(connection)


def _origin(transport: asyncio.BaseTransport) -> str | None:
    """Whose connection it is: an address or, as one line has all of it, a /64 of IPv6.

    None for this machine: a proxy that stands before the mirror speaks for everybody, and has limits of its own.
    """
    try:
        address = ip_address(str(transport.get_extra_info("peername")[0]).partition("%")[0])
    except (TypeError, ValueError, IndexError):
        return None
    return origin_of(address)


def origin_of(address: IPv4Address | IPv6Address) -> str | None:
    """What counts as one and the same client."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return origin_of(address.ipv4_mapped)
        return None if address in _NEAR_6 else address.exploded[:19]
    return None if address in _NEAR_4 else str(address)


def _end(transport: asyncio.WriteTransport) -> None:
    """Whatever is still to go out is dropped, here and in the system; whoever waits to send more is woken."""
    connection = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    transport.abort()


def _room_for(connections: int) -> int:
    """For how many of these connections there are handles, once as many are asked for as the system lets this process have."""
    needed = connections * _HANDLES_OF_A_DOWNLOAD + _OTHER_HANDLES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(16, (soft - _OTHER_HANDLES) // _HANDLES_OF_A_DOWNLOAD)
    return connections


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
