"""Questions over HTTP are bounded: how many wait, how long one takes, what is kept of them. Others are answered meanwhile."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from mirror.serving.answers import Answers, Document
from mirror.serving.readers import Readers, TooBusy
from mirror.store.index import FILE
from mirror.store.offer import GivenUp, Offer

from .mirrored import Mirrored
from .served import served_mirror
from .upstream import FakeUpstream, simple_catalogue

_ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"


class Clock:
    """Time that passes only when a question looks at it."""

    def __init__(self) -> None:
        self.at = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.at += self.step
        return self.at


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    async with FakeUpstream(simple_catalogue(1, 2, 2)) as upstream:
        await Mirrored(tmp_path, upstream).sync()
    return tmp_path


@pytest.fixture
async def readers(root: Path) -> AsyncIterator[Readers]:
    found = Readers(root)
    yield found
    await found.close()


async def test_a_question_that_takes_too_long_is_given_up(root: Path) -> None:
    """SQLite is interrupted in the middle; the connection answers the next question."""
    clock = Clock()
    readers = Readers(root, clock=clock)
    clock.step = 1.0
    with pytest.raises(GivenUp):
        await readers.ask(lambda offer: offer.connection.execute(_ENDLESS).fetchone())
    clock.step = 0.0
    assert await readers.ask(Offer.upstreams) == ["gpf"]
    await readers.close()


async def test_what_computes_for_long_looks_at_the_time_itself(root: Path) -> None:
    clock = Clock()
    readers = Readers(root, clock=clock)

    def compute(offer: Offer) -> None:
        clock.step = 1.0
        while True:
            offer.check()

    with pytest.raises(GivenUp):
        await readers.ask(compute, "costly")
    await readers.close()


async def test_closing_ends_what_is_being_asked(root: Path) -> None:
    """A service that is told to end does not wait for whoever has asked it the most costly question."""
    readers = Readers(root)
    begun = threading.Event()

    def endless(offer: Offer) -> None:
        begun.set()
        offer.connection.execute(_ENDLESS).fetchone()

    asking = asyncio.create_task(readers.ask(endless))
    await asyncio.to_thread(begun.wait)
    await readers.close()
    with pytest.raises(GivenUp):
        await asking


async def test_costly_questions_hold_nobody_else_up_and_are_refused_beyond_some(readers: Readers) -> None:
    held = threading.Event()
    costly = [asyncio.create_task(readers.ask(lambda offer: held.wait(), "costly")) for _ in range(9)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await readers.ask(Offer.upstreams, "costly")
    assert await readers.ask(Offer.upstreams) == ["gpf"]
    assert await readers.ask(Offer.upstreams, "files") == ["gpf"]
    held.set()
    assert await asyncio.gather(*costly) == [True] * 9
    assert await readers.ask(Offer.upstreams, "costly") == ["gpf"]


async def test_who_is_refused_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with served_mirror(tmp_path, simple_catalogue(1, 2, 1)) as served:
        held = threading.Event()
        path = "/gpf/resource/BDALPHA?polygon=0,40;9,40;9,50"
        costly = [asyncio.create_task(served.site.readers.ask(lambda offer: held.wait(), "costly")) for _ in range(9)]
        await asyncio.sleep(0)
        answer = await served.ask(path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert (await served.ask("/gpf/resource/BDALPHA")).status == 200
        held.set()
        await asyncio.gather(*costly)
        assert (await served.ask(path)).status == 200


async def test_what_is_kept_is_bounded_whatever_is_asked_for(readers: Readers) -> None:
    """By bodies and by the number of entries; long keys weigh nothing."""
    answers = Answers(readers, most_bytes=200_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(3000):
        key = ("x" * 50_000, number)
        document = await answers.get(key, lambda offer: Document(b"small", "text/plain"))
        assert document is not None
    assert len(answers) <= 100
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 60_000  # kB; the keys alone would be 150 MB


async def test_an_answer_is_made_once_for_many_who_ask(readers: Readers) -> None:
    answers = Answers(readers)
    held = threading.Event()
    made: list[int] = []

    def make(offer: Offer) -> Document:
        made.append(1)
        held.wait()
        return Document(b"body", "text/plain")

    asking = [asyncio.create_task(answers.get("key", make)) for _ in range(20)]
    await asyncio.sleep(0)
    held.set()
    assert {document.body for document in await asyncio.gather(*asking) if document} == {b"body"}
    assert len(made) == 1


async def test_what_cannot_be_made_is_not_kept(readers: Readers) -> None:
    answers = Answers(readers)

    def fail(offer: Offer) -> Document:
        raise TooBusy("not now")

    with pytest.raises(TooBusy):
        await answers.get("key", fail)
    document = await answers.get("key", lambda offer: Document(b"later", "text/plain"))
    assert document is not None


async def test_an_answer_holds_until_the_index_changes(root: Path, readers: Readers) -> None:
    answers = Answers(readers)
    made: list[int] = []

    def make(offer: Offer) -> Document:
        made.append(1)
        return Document(b"body", "text/plain")

    await answers.get("key", make)
    await answers.get("key", make)
    assert len(made) == 1
    with closing(sqlite3.connect(root / FILE)) as connection:
        connection.execute("UPDATE resources SET title = 'other'")
        connection.commit()
        await answers.get("key", make)
    assert len(made) == 2
