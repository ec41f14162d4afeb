"""The door: who takes an answer slowly is served to the end, who takes none is sent away, and nobody can have all the room."""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from ipaddress import IPv4Network, ip_address
from pathlib import Path

import pytest

from mirror.demo.body import read
from mirror.events import Note
from mirror.serving.app import make_app
from mirror.serving.listener import Listener, origin_of
from mirror.serving.progress import Progress
from mirror.serving.site import Site
from mirror.settings.addresses import Address

from .downloading import large, offering, path_to, sha256
from .served import ServedMirror, served_mirror

FILE = large()
ASK = f"GET {path_to(FILE.name)} HTTP/1.1\r\nHost: here\r\n\r\n".encode()


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServedMirror]:
    monkeypatch.setattr("mirror.serving.listener._MOVES_WITHIN", 0.3)
    async with served_mirror(tmp_path / "root", offering(FILE)) as mirror:
        yield mirror


def connected(url: str, *, buffer: int = 4096, source: str = "127.0.0.1") -> socket.socket:
    """A connection of a client that takes little before it reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(30)
    client.bind((source, 0))
    host, port = url.removeprefix("http://").split(":")
    client.connect((host, int(port)))
    return client


def whole_of(client: socket.socket) -> bytes:
    """What comes until the connection ends."""
    found = bytearray()
    with suppress(ConnectionError):
        while block := client.recv(65536):
            found += block
    return bytes(found)


def is_cut_off(client: socket.socket) -> bool:
    """Whether the other side breaks the connection off, without a byte being read here."""
    poll = select.poll()
    poll.register(client, 0)  # what is told unasked: errors, and the end
    return bool(poll.poll(30_000))


async def test_who_takes_nothing_of_a_download_is_sent_away(served: ServedMirror) -> None:
    for ask in (ASK, ASK * 3, ASK.replace(b"Host", b"Range: bytes=0-99,1000000-9999999\r\nHost")):
        with connected(served.url) as client:
            client.sendall(ask)
            assert await asyncio.to_thread(is_cut_off, client)
    assert (await served.ask("/health")).status == 200


async def test_who_takes_a_download_slowly_gets_all_of_it(served: ServedMirror) -> None:
    """Some tens of kB a second, over many looks; then the rest."""

    def read_slowly() -> bytes:
        with connected(served.url) as client:
            client.sendall(ASK.replace(b"Host", b"Connection: close\r\nHost"))
            found = bytearray()
            until = time.monotonic() + 2.5
            while time.monotonic() < until:
                found += client.recv(2048)
                time.sleep(0.05)
            return bytes(found) + whole_of(client)

    head, _, got = (await asyncio.to_thread(read_slowly)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert sha256(got) == sha256(FILE.body)


def test_a_full_buffer_is_no_sign_of_a_standstill() -> None:
    """A download that goes well has as much waiting at every look as there is room for."""
    assert not Progress(5000, 2000).stalled_since(Progress(5000, 1000))
    assert Progress(5000, 1000).stalled_since(Progress(5000, 1000))
    assert not Progress(0, 1000).stalled_since(Progress(0, 1000))  # nothing was to come
    assert not Progress(10, 1000).stalled_since(Progress(0, 1000))  # it has only just been sent
    assert not Progress(5000, 1000).stalled_since(None)
    assert Progress(5000, None).stalled_since(Progress(5000, None))
    assert not Progress(4000, None).stalled_since(Progress(5000, None))


def handles(root: Path) -> int:
    """How many files of a mirror this process has open."""
    count = 0
    for handle in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{handle}").startswith(str(root / "data"))
    return count


async def until_given_back(root: Path) -> None:
    """Wait for all files to be closed."""
    for _ in range(3000):
        if not handles(root):
            return
        await asyncio.sleep(0.01)
    pytest.fail("files are still open")


async def test_who_goes_away_in_the_middle_is_no_error_and_leaves_nothing_open(
    served: ServedMirror, caplog: pytest.LogCaptureFixture
) -> None:
    for reset in (False, True):
        client = connected(served.url)
        client.sendall(ASK)
        assert await asyncio.to_thread(client.recv, 100)
        assert handles(served.root)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await until_given_back(served.root)
    assert caplog.records == []
    assert not [event for event in served.events if isinstance(event, Note) and event.level != "debug"]


async def test_who_has_said_all_still_gets_the_answer(served: ServedMirror) -> None:
    """Half-closed, as `nc -N` does, once the answer is under way."""

    def half() -> bytes:
        with connected(served.url) as client:
            client.sendall(ASK.replace(b"Host", b"Connection: close\r\nHost"))
            begun = client.recv(100)
            client.shutdown(socket.SHUT_WR)
            return begun + whole_of(client)

    _, _, got = (await asyncio.to_thread(half)).partition(b"\r\n\r\n")
    assert hashlib.sha256(got).digest() == hashlib.sha256(read(FILE.body)).digest()


async def test_a_stop_ends_downloads_within_seconds(served: ServedMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.serving.listener._STOP_WITHIN", 0.2)
    monkeypatch.setattr("mirror.serving.listener._MOVES_WITHIN", 60)
    listener = Listener(make_app(Site(served.observer)), Address("127.0.0.1", 0))
    await listener.start()
    with connected(listener.url) as client:
        client.sendall(ASK)
        assert await asyncio.to_thread(client.recv, 100)
        await asyncio.wait_for(listener.stop(), 20)
        await until_given_back(served.root)
        assert len(await asyncio.to_thread(whole_of, client)) < FILE.body.size


async def test_one_address_cannot_have_all_the_room(served: ServedMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its share it is asked to come back; others are served meanwhile, and so is it once there is room again."""
    monkeypatch.setattr("mirror.serving.listener._NEAR_4", IPv4Network("192.0.2.0/24"))  # nobody here is near
    monkeypatch.setattr("mirror.serving.listener._MOST_OF_ONE", 4)
    ask = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"

    def answered(client: socket.socket) -> bytes:
        with suppress(ConnectionError):
            client.sendall(ask)
        return client.recv(100)[:12]

    def attempt(stack: ExitStack, source: str) -> bytes:
        return answered(stack.enter_context(connected(served.url, source=source)))

    with ExitStack() as stack:
        for _ in range(4):
            assert await asyncio.to_thread(attempt, stack, "127.0.0.2") == b"HTTP/1.1 200"
        assert await asyncio.to_thread(attempt, stack, "127.0.0.2") == b"HTTP/1.1 503"
        assert await asyncio.to_thread(attempt, stack, "127.0.0.3") == b"HTTP/1.1 200"
    with ExitStack() as stack:
        for _ in range(3000):
            if await asyncio.to_thread(attempt, stack, "127.0.0.2") == b"HTTP/1.1 200":
                return
            await asyncio.sleep(0.01)
    pytest.fail("there is no room again")


async def test_a_full_house_says_so(served: ServedMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.serving.listener._MOST_CONNECTIONS", 3)
    listener = Listener(make_app(Site(served.observer)), Address("127.0.0.1", 0))
    await listener.start()
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(listener.url))
        late = stack.enter_context(connected(listener.url))
        said = await asyncio.to_thread(whole_of, late)
        assert said.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 10\r\n" in said
    await listener.stop()


def test_who_counts_as_one() -> None:
    """A line has a /64 of IPv6. Whoever comes from this machine is a proxy, or its owner."""
    for address, origin in (
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:aaaa::1", "2001:0db8:0001:0002"),
        ("2001:db8:1:2:bbbb::9", "2001:0db8:0001:0002"),
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
    ):
        assert origin_of(ip_address(address)) == origin
