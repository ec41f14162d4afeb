"""Answers of any length: sent while they are made, in flat memory, to no more clients at once than there is room for."""

from __future__ import annotations

import asyncio
import json
import resource
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex

import aiohttp
import pytest
from aiohttp import web

from mirror.errors import MirrorError
from mirror.serving.api.routes import api_routes
from mirror.serving.api.spool import Spooled, Spools, is_there
from mirror.serving.guards import guarded
from mirror.serving.listener import Listener
from mirror.settings.addresses import Address

from .command import run, write_config
from .downloading import connect
from .served import ServedMirror, served_mirror
from .upstream import simple_catalogue


@asynccontextmanager
async def small_steps(root: Path, spools: Spools) -> AsyncIterator[tuple[ServedMirror, str]]:
    """A mirror whose answers count as long, at an address of its own."""
    async with served_mirror(root, simple_catalogue(3, 6, 3)) as served:
        app = web.Application(middlewares=[guarded(lambda event: None)])
        app.router.add_routes(api_routes(served.site, spools=spools))
        listener = Listener(app, Address("127.0.0.1", 0))
        await listener.start()
        try:
            yield served, listener.url
        finally:
            await listener.stop()


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
async def test_a_long_answer_is_the_same_answer(tmp_path: Path, packed: bool) -> None:
    spools = Spools(small=1000)
    async with small_steps(tmp_path / "mirror", spools) as (served, url):
        config = write_config(tmp_path, served.mirror.upstream.url)
        told = run("-c", config, "query", "--json", cwd=tmp_path).out
        headers = {"Accept-Encoding": "gzip" if packed else "identity"}
        async with served.client.get(f"{url}/api/query", headers=headers) as answer:
            body = await answer.read()
            assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
            assert "Content-Length" not in answer.headers
            assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        assert (zlib.decompress(body, 31) if packed else body).decode() == told
        async with served.client.head(f"{url}/api/query") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        assert spools.under_way == 0


class Source:
    """Makes an answer piece by piece, as it is told to."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.made = 0
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.fails: Exception | None = None

    def __call__(self, is_given_up: Callable[[], bool]) -> Iterator[str]:
        self.begun.set()
        try:
            while not is_given_up():
                if self.go.acquire(timeout=0.01):
                    if self.fails is not None:
                        raise self.fails
                    self.made += 1
                    yield f"{self.made:07}\n" * 1000
        finally:
            self.ended.set()


@asynccontextmanager
async def sending(source: Source, spools: Spools) -> AsyncIterator[str]:
    async def get(request: web.Request) -> web.StreamResponse:
        spool = spools.open(source)
        whole = None
        try:
            whole = await spool.begun(is_waited_for=lambda: is_there(request))
        except BaseException:
            spool.give_up()
            raise
        assert whole is None
        return Spooled(spool, "text/plain", packed=False, vary="Accept")

    app = web.Application(middlewares=[guarded(lambda event: None)])
    app.router.add_get("/", get)
    listener = Listener(app, Address("127.0.0.1", 0))
    await listener.start()
    try:
        yield listener.url
    finally:
        spools.close()
        await listener.stop()


async def test_it_is_sent_while_it_is_made() -> None:
    """Whoever reads gets the beginning before the end exists."""
    source, spools = Source(), Spools(small=1000)
    async with sending(source, spools) as url, aiohttp.ClientSession() as client:
        source.go.release(2000)
        async with client.get(url) as answer:
            assert (await answer.content.readexactly(8)) == b"0000001\n"
            assert not source.ended.is_set()


async def test_work_ends_when_the_client_has_gone() -> None:
    source, spools = Source(), Spools(small=1000)
    async with sending(source, spools) as url, aiohttp.ClientSession() as client:
        source.go.release()
        async with client.get(url) as answer:
            assert answer.status == 200
            answer.close()
        assert await asyncio.to_thread(source.ended.wait, 20)
        assert spools.under_way == 0


async def test_who_goes_before_an_answer_has_begun_makes_room_for_others() -> None:
    """Nothing of it is there yet, and nothing comes: the place is free all the same."""
    source, spools = Source(), Spools(small=1000)
    async with sending(source, spools) as url:
        raw = await connect(url)
        raw.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert await asyncio.to_thread(source.begun.wait, 20)
        raw.writer.transport.abort()
        assert await asyncio.to_thread(source.ended.wait, 20)
        assert (spools.under_way, source.made) == (0, 0)


async def test_one_long_answer_too_many_is_told_when_to_come_back() -> None:
    """Short ones go past those that are long."""
    source, spools = Source(), Spools(small=1000, long_at_once=1)
    async with sending(source, spools) as url, aiohttp.ClientSession() as client:
        source.go.release()
        async with client.get(url) as first:
            assert first.status == 200
            other = Source()
            other.go.release()
            second = spools.open(other)
            with pytest.raises(web.HTTPServiceUnavailable) as refused:
                await second.begun()
            second.give_up()
            assert (refused.value.headers["Retry-After"], "too many long" in str(refused.value.text)) == ("5", True)
            short = spools.open(lambda is_given_up: iter(["short"]))
            assert await short.begun() == b"short"
            short.give_up()
            first.close()
        assert await asyncio.to_thread(source.ended.wait, 20)
    await asyncio.to_thread(spools.close, wait=True)  # the second is given up in its own time
    assert (spools.under_way, spools.lying) == (0, 0)


async def test_who_would_wait_for_ever_is_told_at_once() -> None:
    spools = Spools(most_waiting=2)
    waiting = [spools.open(Source()) for _ in range(2)]
    with pytest.raises(web.HTTPServiceUnavailable):
        spools.open(Source())
    waiting[0].give_up()
    spools.open(Source())
    spools.close()


@pytest.mark.parametrize("how", ["room", "index"])
async def test_an_answer_that_cannot_be_ended_does_not_look_whole(how: str) -> None:
    """The room that all may take is full, or the index breaks: the connection ends before the last chunk."""
    source, spools = Source(), Spools(small=1000, most_lying=100 if how == "room" else 10**6)
    async with sending(source, spools) as url, aiohttp.ClientSession() as client:
        source.go.release()
        async with client.get(url) as answer:
            assert answer.status == 200
            if how == "index":
                source.fails = MirrorError("the index is damaged")
            source.go.release(3000)
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
        assert await asyncio.to_thread(source.ended.wait, 20)
    await asyncio.to_thread(spools.close, wait=True)
    assert (spools.under_way, spools.lying) == (0, 0)


@pytest.mark.timeout(60)
async def test_an_answer_whose_very_end_has_no_room_on_the_disk_does_not_hang() -> None:
    """The system writes as much as there is room for, and says only of the next bytes that there is none."""

    class Grows(Source):
        def __call__(self, is_given_up: Callable[[], bool]) -> Iterator[str]:
            yield "x" * 2000
            yield token_hex(50_000)

    spools, limits = Spools(small=1000), resource.getrlimit(resource.RLIMIT_FSIZE)
    async with sending(Grows(), spools) as url, aiohttp.ClientSession() as client:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            async with client.get(url, timeout=aiohttp.ClientTimeout(total=20)) as answer:
                if answer.status != 500:  # as it is where it broke before anything was sent
                    assert answer.status == 200
                    with pytest.raises(aiohttp.ClientError):
                        await answer.read()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await asyncio.to_thread(spools.close, wait=True)
    assert (spools.under_way, spools.lying) == (0, 0)


async def test_many_ask_while_a_sync_writes(tmp_path: Path) -> None:
    """Each answer is of one state of the index: a catalogue of before or of after, never a mixture."""
    spools = Spools(small=1000, long_at_once=6)
    async with small_steps(tmp_path / "mirror", spools) as (served, url):
        after = simple_catalogue(4, 6, 3)

        async def ask() -> int:
            async with served.client.get(f"{url}/api/query", headers={"Accept-Encoding": "identity"}) as answer:
                return len(json.loads(await answer.read())) if answer.status == 200 else 0

        syncing = asyncio.create_task(served.sync(after))
        counts = set()
        while not syncing.done():
            counts |= set(await asyncio.gather(*(ask() for _ in range(6))))
        assert (await syncing).outcome == "complete"
        assert await ask() == 72
        assert counts - {0} <= {54 + 3 * subs for subs in range(7)}
