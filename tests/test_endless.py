"""An answer that goes on for ever, or that never quite comes, ends: silence is not the only way to hold somebody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mirror.errors import ListingError, MirrorError, RequestFailed, TransferError
from mirror.events import Chunk, Event, Retrying
from mirror.planning.changes import Scope
from mirror.upstream.answer import LARGEST_FEED
from mirror.upstream.crawl import Crawler
from mirror.upstream.geoplateforme import Geoplateforme
from mirror.upstream.session import Patience, Session

from .fetching import MIB, bench
from .mirrored import Mirrored, offered
from .test_crawl import members
from .upstream import FakeUpstream, faults, simple_catalogue
from .upstream.raw import serving

QUICK = Patience(connect=0.2, idle=0.2, slow_for=0.4, retry_for=0.1, first_wait=0.001, longest_wait=0.002)
"""Waits so short that a test can sit through them. What these tests expect is that they run out."""

HURRIED = replace(QUICK, connect=0.05, idle=0.05, slow_for=0.1)
"""Where nothing can come through, however long it is waited for."""

CATALOGUE = simple_catalogue(resources=1, subs=2, files=1, size=1000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "status line": (b"HTTP/1.1 200 O", b"K"),
    "header": (HEAD + b"X-Endless: ", b"x"),
    "headers": (HEAD, b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk size": (CHUNKED, b"0"),
    "chunk extension": (CHUNKED + b"1;x=", b"x"),
    "trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"x"),
}
"""What a server sends at once, and what it then sends again and again: never silent, and never an answer."""


@asynccontextmanager
async def dripping(beginning: bytes, drop: bytes) -> AsyncIterator[str]:
    """A server that answers every request so, until the client goes; its address."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(beginning)
        while not reader.at_eof():
            writer.write(drop)
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.01)  # nothing, until the client goes

    async with serving(drip) as port:
        yield f"http://127.0.0.1:{port}"


def session(base: str, events: list[Event] | None = None, **options: Any) -> Session:
    options = {"requests_per_second": 1000, "patience": QUICK, **options}
    return Session("gpf", base, emit=(events if events is not None else []).append, **options)


# -- drop by drop


@pytest.mark.parametrize("kind", DRIPS)
async def test_a_page_of_which_only_drops_come_is_given_up(kind: str) -> None:
    async with dripping(*DRIPS[kind]) as base, session(base, patience=HURRIED) as client:
        with pytest.raises(MirrorError) as caught:
            await client.feed(f"{base}/capabilities", {}, "application/json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", DRIPS)
async def test_a_file_of_which_only_drops_come_is_given_up_for_this_run(tmp_path: Path, kind: str) -> None:
    async with dripping(*DRIPS[kind]) as base, bench(tmp_path, MIB, patience=HURRIED) as at:
        with pytest.raises(TransferError):
            await at.fetch(at.listed(url=f"{base}/file"))
        assert not at.ready.exists()


async def test_a_page_that_trickles_is_given_up_and_asked_for_again() -> None:
    async with FakeUpstream(CATALOGUE) as upstream:
        upstream.script("capabilities", [faults.trickle(200)])
        events: list[Event] = []
        async with session(upstream.url, events, patience=replace(QUICK, idle=5, retry_for=5)) as client:
            await client.feed(upstream.url, {}, "application/json")
        assert [event.reason for event in events if isinstance(event, Retrying)] == ["the page came slower than 4 kB/s"]
        assert upstream.count() == 2


@pytest.mark.parametrize("min_speed", [0, 1000, 64_000])
async def test_a_page_over_a_slow_line_is_waited_for(min_speed: float) -> None:
    """Whatever is asked of transfers: a listing cannot be resumed."""
    patience = replace(QUICK, idle=5, min_speed=min_speed, slow_for=0.1)
    async with FakeUpstream(simple_catalogue(resources=10, subs=1)) as upstream:
        upstream.script("capabilities", [faults.trickle(40_000)])
        async with session(upstream.url, patience=patience) as client:
            await client.feed(upstream.url, {}, "application/json")
        assert upstream.count() == 1


async def test_a_file_that_crawls_on_every_connection_is_given_up_for_this_run(tmp_path: Path) -> None:
    """Each connection brings a few bytes more, and at that rate the run would never end; what has come is kept."""
    patience = replace(QUICK, idle=5, min_speed=1e9, slow_for=0.1)
    async with bench(tmp_path, 2 * MIB, patience=patience) as at:
        at.upstream.script("download", [faults.trickle(20_000)], forever=True)
        with pytest.raises(TransferError, match="slower than") as caught:
            await at.fetch()
        assert (caught.value.retry, caught.value.attempts) == (True, 6)
        assert at.kept()[1] > 0
        at.upstream.heal()
        assert at.right(await at.fetch())


async def test_a_server_that_cuts_after_each_byte_is_given_up_for_this_run(tmp_path: Path) -> None:
    async with bench(tmp_path, 5000, patience=QUICK) as at:
        at.upstream.script("download", [faults.cut_after(1)], forever=True)
        with pytest.raises(TransferError, match="cut"):
            await at.fetch()
        assert at.upstream.count() < 10


# -- without end


async def test_a_page_without_end_is_left_at_the_limit() -> None:
    sent = 0

    async def endless(exchange: Any) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(exchange.request)
        while True:
            await response.write(bytes(MIB))
            sent += MIB

    async with FakeUpstream(CATALOGUE) as upstream:
        upstream.script("capabilities", [endless], forever=True)
        async with session(upstream.url, patience=replace(QUICK, idle=5, slow_for=30)) as client:
            with pytest.raises(RequestFailed, match="larger than 64 MiB"):
                await client.feed(upstream.url, {}, "application/json")
    assert sent < 2 * LARGEST_FEED


async def test_headers_without_end_are_left() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        while not writer.is_closing():
            writer.write(b"X-More: " + b"x" * 4000 + b"\r\n")
            await writer.drain()

    async with serving(flood) as port:
        base = f"http://127.0.0.1:{port}"
        async with session(base) as client:
            with pytest.raises(MirrorError) as caught:
                await client.feed(f"{base}/capabilities", {}, "application/json")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("count", [1_000_001, 10**15])
async def test_a_listing_without_end_is_not_begun(count: int) -> None:
    """Every page would agree and be full, so only the total shows that it can never be read."""
    async with FakeUpstream(CATALOGUE) as upstream:
        upstream.script("resource", [members(totalentries=count, pagecount=count // 50 + 1)], forever=True)
        async with session(upstream.url) as client:
            with pytest.raises(ListingError, match="more than 1,000,000 entries"):
                await Crawler(client, Geoplateforme(upstream.url)).resource("BDALPHA", [Scope()])
        assert upstream.count() == 3


# -- a whole sync


Scripted = Callable[[Any], Awaitable[web.StreamResponse]]


def dripped(beginning: bytes, drop: bytes) -> Scripted:
    """Answers one request of the fake upstream with drops, in place of all that a server would say."""

    async def fault(exchange: Any) -> web.StreamResponse:
        transport = exchange.request.transport
        transport.write(beginning)
        while not transport.is_closing():
            transport.write(drop)
            if await exchange.upstream.stopped(within=0.01):
                break
        exchange.abort()
        return web.Response()

    return fault


@pytest.mark.parametrize("kind", ["header", "chunk extension"])
@pytest.mark.parametrize("level", ["capabilities", "resource", "sub-resource", "download"])
async def test_a_sync_comes_through(tmp_path: Path, kind: str, level: str) -> None:
    async with FakeUpstream(CATALOGUE) as upstream:
        upstream.script(level, [dripped(*DRIPS[kind])])
        mirror = Mirrored(tmp_path / "root", upstream)
        mirror.patience = replace(QUICK, retry_for=20)
        assert (await mirror.sync()).exit_code == 0
        assert mirror.tree() == offered(CATALOGUE)
        assert len([event for event in mirror.events if isinstance(event, Chunk)]) >= 2
