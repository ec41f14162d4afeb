"""What an answer of the upstream says: the body of a page, how long to stay away, what went wrong; in words for people."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from mirror.errors import RequestFailed

LARGEST_FEED = 64 * 1024 * 1024
"""Bytes of one page, unpacked. The largest known feed of any INSPIRE service has 24 MB (ČÚZK)."""


_HERE = frozenset(
    {
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EADDRNOTAVAIL,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EPERM,  # a firewall of this machine, IPAddressDeny= of systemd
        errno.EACCES,
    }
)


class Untrusted(RequestFailed):
    """The certificate of the server cannot be trusted."""


def is_here(error: BaseException) -> bool:
    """Whether no answer came for a reason that lies on this machine or in its network, as far as that can be told.

    A name that the resolver knows not to exist is the upstream's; that no resolver answers is ours. So is a proxy: it is not asked
    for by the upstream.
    """
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return True
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror):
            return seen.errno == socket.EAI_AGAIN
        if isinstance(seen, OSError) and seen.errno in _HERE:
            return True
        seen = getattr(seen, "os_error", None) if seen.__cause__ is None else seen.__cause__
    return False


def refusal(status: int) -> str:
    """A status that is none of those hoped for, in words for people."""
    if status in (401, 403):
        # No User-Agent, Python-urllib and anything with "bot" are refused by the firewall [O]; so are private services' keys.
        return f"HTTP {status}: the upstream refuses this client or its API key"
    if status in (404, 410):
        return f"HTTP {status}: the upstream does not have it (yet, or any longer)"
    return f"HTTP {status}"


class NotAPage(Exception):
    """The body of an answer is none that could be a page, which trying again would not mend. May quote what came."""


async def read_body(response: aiohttp.ClientResponse, slow_for: float, least_speed: float) -> bytes:
    """The body of a page, unpacked if it came packed, within `LARGEST_FEED`.

    Raises:
        NotAPage: it is too large, or packed as nobody asked for.
        aiohttp.ClientError, TimeoutError: it was cut, is damaged, or came with less than `least_speed` bytes/s over `slow_for` s.
    """
    body = bytearray()
    while not response.content.at_eof():
        # A server that sends a byte now and then, or only what belongs to no body, is never silent and never done.
        before = len(body)
        try:
            async with asyncio.timeout(slow_for) as window:
                while chunk := await response.content.readany():
                    body += chunk
                    if len(body) > LARGEST_FEED:
                        raise NotAPage(f"the page is larger than {LARGEST_FEED // 2**20} MiB: not read further")
        except TimeoutError:
            if not window.expired():
                raise
            if len(body) - before < least_speed * slow_for:
                raise aiohttp.ClientError(f"the page came slower than {least_speed / 1000:g} kB/s") from None
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("identity", ""):
        return bytes(body)
    if coding not in ("gzip", "x-gzip"):
        raise NotAPage(f"the page came in an encoding that was not asked for: {coding}")
    return _unpack(bytes(body))


def _unpack(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: gzip, not bare zlib
    try:
        unpacked = unpacker.decompress(body, LARGEST_FEED + 1)
    except zlib.error as error:
        raise aiohttp.ClientError(f"the page cannot be unpacked: {error}") from error
    if len(unpacked) > LARGEST_FEED:
        raise NotAPage(f"the page unpacks to more than {LARGEST_FEED // 2**20} MiB: not read further")
    if not unpacker.eof:
        raise aiohttp.ClientError("the packed page ends too early")
    return unpacked


def read_retry_after(value: str | None) -> float | None:
    """Seconds to stay away, from either form of `Retry-After`; None where it says neither."""
    if value is None:
        return None
    value = value.strip()
    if value.isdecimal():
        return float(value)  # a number however long: what is too large becomes infinite
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a year or a time zone of dozens of digits
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def can_be_sent(value: str) -> bool:
    """Whether a text that came in a header, or lay on the disk, can be the value of a header that we send.

    Servers may send bytes that are no ASCII (RFC 9110, 5.5); nobody says in which encoding they would want them back.
    """
    return value.isascii() and value.isprintable()


def describe(error: BaseException) -> str:
    """What went wrong on the way, in words for people and without addresses."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host name cannot be resolved"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection within the time allowed"
    if isinstance(error, TimeoutError):
        return "the server has gone silent"
    if isinstance(error, aiohttp.ClientSSLError):
        return "no secure connection could be made"
    if isinstance(error, aiohttp.ClientConnectorError):
        # asyncio puts its own words and the address into strerror; the number says it plainly.
        return f"cannot connect ({os.strerror(error.os_error.errno) if error.os_error.errno else error.os_error})"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection was cut"
    return str(error) or type(error).__name__
