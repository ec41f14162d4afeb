"""What is kept of an answer is of the index as it is, however the making of answers and its changes fall together."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from collections.abc import Hashable
from contextlib import closing
from pathlib import Path

import pytest

from mirror.serving.answers import Answers, Document
from mirror.serving.readers import Readers
from mirror.store.index import FILE
from mirror.store.offer import Offer

from .served import ServedMirror, served_mirror
from .upstream.simple import simple_catalogue


def _title(offer: Offer) -> Document | None:
    found = offer.resource("gpf", "BDALPHA")
    return Document(found.resource.title.encode(), "text/plain") if found is not None else None


async def test_what_one_watcher_counted_is_not_taken_for_what_the_next_counts(tmp_path: Path) -> None:
    """SQLite's `data_version` begins anew with each connection: values of two cannot be compared."""
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1)):
        pass
    readers = Readers(tmp_path)
    answers = Answers(readers)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as writer:
        writer.execute("UPDATE resources SET title = 'before'")
        readers.version()
        for title in ("one", "two", "three"):
            writer.execute("UPDATE resources SET title = ?", (title,))
            found = await answers.get("title", _title)
            assert found is not None
            assert found.body == title.encode()
            readers._close_watcher()  # as after any error of SQLite
    await readers.close()


async def test_what_took_longer_than_a_newer_answer_is_not_given_any_more(tmp_path: Path) -> None:
    """Whoever has seen the newer one is not to see an older one after it, which would hold for seconds as it was costly."""
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1)):
        pass
    seconds = [0.0]
    readers = Readers(tmp_path)
    answers = Answers(readers, clock=lambda: seconds[0])
    has_read, may_end = threading.Event(), threading.Event()

    def slowly(offer: Offer) -> Document | None:
        found = _title(offer)
        has_read.set()
        assert may_end.wait(20)
        seconds[0] += 1
        return found

    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as writer:
        writer.execute("UPDATE resources SET title = 'older'")
        older = asyncio.create_task(answers.get("title", slowly))
        assert await asyncio.to_thread(has_read.wait, 20)
        writer.execute("UPDATE resources SET title = 'newer'")
        newer = await answers.get("title", _title)
        may_end.set()
        slow = await older
        last = await answers.get("title", _title)
    await readers.close()
    assert [found and found.body for found in (slow, newer, last)] == [b"older", b"newer", b"newer"]


async def _editions(served: ServedMirror) -> list[str]:
    """What the first page says of the number of editions: at its head, and of the resource that is found."""
    return re.findall(r"[0-9]+ edition", re.sub(r"<[^>]*>", " ", (await served.ask("/")).text))


async def test_a_page_with_numbers_of_a_moment_ago_is_not_kept_until_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands beside a search may be some seconds old, while a sync changes the index all the time; but no older."""
    monkeypatch.setattr("mirror.serving.pages.search._HOLDS", 3600.0)
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1)) as served:
        assert await _editions(served) == ["1 edition", "1 edition"]
        await served.sync(simple_catalogue(1, 3, 1))
        assert await _editions(served) == ["1 edition", "3 edition"]
        monkeypatch.setattr("mirror.serving.pages.search._HOLDS", 0.0)
        served.mirror.clock.pass_(seconds=5)
        assert await _editions(served) == ["3 edition", "3 edition"]


async def test_an_answer_is_kept_though_the_clock_goes_on(tmp_path: Path) -> None:
    """Who asks for the same a second later gets what was made before; nothing of it depends on the second."""
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1)) as served:
        for path in (
            "/",
            "/gpf/BDALPHA",
            "/gpf/capabilities",
            "/gpf/inspire/",
            "/gpf/inspire/service.xml",
            "/gpf/inspire/BDALPHA.xml",
        ):
            first = await served.ask(path)
            assert first.status == 200, path
            kept = len(served.site.answers)
            served.mirror.clock.pass_(seconds=1)
            assert (await served.ask(path)).body == first.body
            assert len(served.site.answers) == kept, path


async def test_a_change_while_a_search_is_taken_in_shows_on_the_next_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index changes after a request has looked at it, and before the page is made: that page is not kept for the new index."""
    async with served_mirror(tmp_path, simple_catalogue(1, 2, 1)) as served:
        assert await _editions(served) == ["2 edition", "2 edition"]
        look, looks = served.site.readers.version, 0
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as writer:

            def look_and_change() -> Hashable | None:
                nonlocal looks
                looks += 1
                version = look()
                if looks == 1:
                    writer.execute("DELETE FROM sub_resources WHERE id = (SELECT max(id) FROM sub_resources)")
                return version

            monkeypatch.setattr("mirror.serving.pages.search._HOLDS", 0.0)
            monkeypatch.setattr(served.site.readers, "version", look_and_change)
            await _editions(served)
            assert await _editions(served) == ["1 edition", "1 edition"]
