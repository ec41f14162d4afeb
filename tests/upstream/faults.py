"""What can go wrong on the way: each function makes one fault, which answers one request in place of the service.

Byte counts are of the body as it is sent, so within the range that was asked for. No fault sleeps to wait for anything; only
`trickle` takes time, as that is what it is.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from aiohttp import web

from mirror.demo.answer import Answer
from mirror.demo.body import BLOCK, Held, read
from mirror.demo.catalogue import Catalogue

from .exchange import Exchange

Fault = Callable[[Exchange], Awaitable[web.StreamResponse]]
"""Answers the request of an exchange."""

_HTML = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>Service indisponible</h1></body></html>"


def _altered(change: Callable[[Answer], Answer]) -> Fault:
    async def fault(exchange: Exchange) -> web.StreamResponse:
        return await exchange.send(change(exchange.answer()))

    return fault


def fine() -> Fault:
    """No fault: the service answers. It fills the place of a request that a script lets pass."""
    return _altered(lambda answer: answer)


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Another status, with nothing of what was asked for."""
    return _altered(lambda _: Answer(code, Held(body), headers or {}))


def retry_after(code: int, seconds: int | str) -> Fault:
    """A 429 or 503 with `Retry-After`: a number of seconds, or a text as it stands (an HTTP date, nonsense)."""
    return status(code, {"Retry-After": str(seconds)})


def redirect(url: str, code: int = 302) -> Fault:
    """Sends the client to another address."""
    return status(code, {"Location": url})


def status_416() -> Fault:
    """Says that the range asked for cannot be had, with the true length."""
    return _altered(
        lambda answer: Answer(416, Held(b""), {"Content-Range": f"bytes */{answer.body.size}"}),
    )


def html_200() -> Fault:
    """A page for people in place of what was asked for, as if all were well."""
    return status(200, {"Content-Type": "text/html;charset=UTF-8"}, _HTML)


def truncated_body() -> Fault:
    """The first half of the body, with a `Content-Length` that agrees: a document that ends in its middle."""
    return _altered(lambda answer: replace(answer, stop=answer.start + answer.length // 2))


def wrong_bytes(at: int = 0) -> Fault:
    """One byte flipped, the length right."""

    def change(answer: Answer) -> Answer:
        content = bytearray(read(answer.body, answer.start, answer.end))
        content[at] ^= 0xFF
        return Answer(answer.status, Held(bytes(content)), answer.headers)

    return _altered(change)


def wrong_length(by: int) -> Fault:
    """A body that is `by` bytes longer or, if negative, shorter than the feed says, with a `Content-Length` that agrees."""

    def change(answer: Answer) -> Answer:
        if by < 0:
            return replace(answer, stop=max(answer.end + by, answer.start))
        return Answer(answer.status, Held(read(answer.body, answer.start, answer.end) + bytes(by)), answer.headers)

    return _altered(change)


def ignore_range() -> Fault:
    """The whole file with 200, whatever range was asked for."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        return await exchange.send(exchange.whole_answer())

    return fault


def wrong_content_range(by: int = 1) -> Fault:
    """Another range than the one asked for, honestly labelled: it begins `by` bytes further on. A 200 passes as it is."""

    def change(answer: Answer) -> Answer:
        if answer.status != 206:
            return answer
        start = answer.start + by
        label = f"bytes {start}-{answer.end - 1}/{answer.body.size}"
        return replace(answer, start=start, headers={**answer.headers, "Content-Range": label})

    return _altered(change)


def gzip_body() -> Fault:
    """The body with `Content-Encoding: gzip`, asked for or not; `Content-Length` is that of the packed bytes."""

    def change(answer: Answer) -> Answer:
        packed = gzip.compress(read(answer.body, answer.start, answer.end), mtime=0)
        return Answer(answer.status, Held(packed), {**answer.headers, "Content-Encoding": "gzip"})

    return _altered(change)


def close_before_response() -> Fault:
    """The connection breaks before a byte is sent."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        exchange.abort()
        return web.Response()

    return fault


def cut_after(count: int) -> Fault:
    """All is promised, `count` bytes are sent, then the connection breaks."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        response = await exchange.send_part(exchange.answer(), count)
        exchange.abort()
        return response

    return fault


def stall(after: int = 0) -> Fault:
    """All is promised, `after` bytes are sent, then nothing more until the client goes away or the fake stops."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        response = await exchange.send_part(exchange.answer(), after)
        await exchange.upstream.stopped()
        exchange.abort()
        return response

    return fault


def hold(release: threading.Event, after: int = 0) -> Fault:
    """All is promised, `after` bytes are sent, then nothing more until `release` is set, at which the connection breaks."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        response = await exchange.send_part(exchange.answer(), after)
        while not release.is_set() and not await exchange.upstream.stopped(within=0.02):
            pass
        exchange.abort()
        return response

    return fault


def trickle(bytes_per_second: int) -> Fault:
    """The right bytes, slowly, in portions of a twentieth of a second, until the client goes away or the fake stops."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        portion = max(bytes_per_second // 20, 1)
        response = await exchange.send_part(answer, 0)
        for at in range(answer.start, answer.end, portion):
            await response.write(read(answer.body, at, min(at + portion, answer.end)))
            if await exchange.upstream.stopped(within=portion / bytes_per_second):
                exchange.abort()
                break
        return response

    return fault


def replace_during(catalogue: Catalogue, after: int | None = None) -> Fault:
    """The catalogue is exchanged when `after` bytes (default: half) of a file are sent; the rest is of the new file.

    This is what a server does that reads a file which is overwritten in place. The rest is as long as was promised, or the
    connection breaks where the new file ends.
    """

    async def fault(exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        turn = answer.start + (answer.length // 2 if after is None else min(after, answer.length))
        response = await exchange.send_part(answer, turn - answer.start)
        exchange.upstream.catalogue = catalogue
        new = exchange.whole_answer().body
        for at in range(turn, min(answer.end, new.size), BLOCK):
            await response.write(read(new, at, min(at + BLOCK, answer.end, new.size)))
        if new.size < answer.end:
            exchange.abort()
        return response

    return fault


def shift(catalogue: Catalogue) -> Fault:
    """Answers from the catalogue as it is, which is then exchanged: what a publication does to a listing under way."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        exchange.upstream.catalogue = catalogue  # before the client can ask for more
        return await exchange.send(answer)

    return fault


def stale(catalogue: Catalogue) -> Fault:
    """Answers from another state of the catalogue: a server, or a cache on the way, that is behind."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        current, exchange.upstream.catalogue = exchange.upstream.catalogue, catalogue
        try:
            answer = exchange.answer()
        finally:
            exchange.upstream.catalogue = current
        return await exchange.send(answer)

    return fault
