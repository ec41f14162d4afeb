"""What comes in that is no request is answered like every other error, and nothing of it comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.events import Note

from .downloading import connect
from .served import ServedMirror, served_mirror
from .upstream import simple_catalogue

MARK = b"aMarkThatIsSent"
LONG = MARK * 1000


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path / "root", simple_catalogue(1, 1, 1)) as mirror:
        yield mirror


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (MARK + b"\r\n\r\n", 400, "no HTTP request"),
        (b"GET / HTTP/1.1\r\n" + MARK + b"\r\n\r\n", 400, "no HTTP request"),
        (b"GET / HTTP/9.9 " + MARK + b"\r\n\r\n", 400, "no HTTP request"),
        (b"\x16\x03\x01" + MARK + b"\r\n\r\n", 400, "no HTTP request"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: " + MARK + b"\r\n\r\n", 400, "no HTTP request"),
        (b"GET /" + LONG + b" HTTP/1.1\r\nHost: here\r\n\r\n", 414, "address is too long"),
        (b"GET /?" + LONG + b" HTTP/1.1\r\nHost: here\r\n\r\n", 414, "address is too long"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nX: " + LONG + b"\r\n\r\n", 431, "header is too long"),
        (b"GET / HTTP/1.1\r\nHost: here\r\n" + LONG + b": x\r\n\r\n", 431, "header is too long"),
        (b"GET /health HTTP/1.1\r\nHost: here\r\nExpect: " + MARK + b"\r\nConnection: close\r\n\r\n", 417, "Expectation Failed"),
    ],
    ids=["word", "header", "version", "TLS", "length", "path", "query", "value", "name", "expectation"],
)
async def test_what_cannot_be_read_is_a_short_error_of_ours(served: ServedMirror, request_: bytes, status: int, said: str) -> None:
    raw = await connect(served.url)
    raw.writer.write(request_)
    answer = await asyncio.wait_for(raw.reader.read(), 30)  # to the end: the connection is closed
    raw.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode(), answer
    document = json.loads(body)
    assert (document["status"], said in document["error"]) == (status, True)
    lines = head.decode().lower().split("\r\n")
    assert {"server: inspire-mirror", "x-content-type-options: nosniff", "cache-control: no-store"} <= set(lines)
    assert MARK.lower() not in answer.lower()
    assert b"aiohttp" not in answer.lower()
    assert not [event for event in served.events if isinstance(event, Note) and event.level != "debug"]


async def test_others_go_on(served: ServedMirror) -> None:
    """An address of the length that is allowed is answered, and so is the next request after one that could not be read."""
    assert (await served.ask("/health?" + "x" * 8000)).status != 414
    raw = await connect(served.url)
    raw.writer.write(MARK + b"\r\n\r\n")
    await asyncio.wait_for(raw.reader.read(), 30)
    raw.close()
    assert (await served.ask("/gpf/capabilities")).status == 200
