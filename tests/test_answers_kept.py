"""What is kept of an answer is of the index as it is: also after the connection that watches it had to be opened anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mirror.serving.answers import Answers, Document
from mirror.serving.readers import Readers
from mirror.store.index import FILE
from mirror.store.offer import Offer

from .served import served_mirror
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
