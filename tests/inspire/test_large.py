"""Data sets of very many editions: what is said of them together is taken together in the index, and one footprint is not read."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Hashable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mirror.geometry import footprint_from_text
from mirror.serving.answers import Answers, Document
from mirror.serving.inspire import representations
from mirror.serving.inspire.crs import NONE
from mirror.store.index import FILE
from mirror.store.newest import Newest, editions, ground
from mirror.store.offer import Offer

from ..served import ServedMirror, served_mirror
from .mirrors import entries, feed, shapes, visit
from .suite import failed, findings
from .visit import ATOM, GEORSS, hrefs, links, member, text_of

GET = "/gpf/inspire/get?spatial_dataset_identifier_code="

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedMirror]:
    """A mirror whose footprints are longer than any that is shown as it is, and of a kind that nobody can read."""
    async with served_mirror(tmp_path_factory.mktemp("served"), shapes()) as served:
        with sqlite3.connect(served.root / FILE) as sql:
            sql.execute("UPDATE sub_resources SET footprint = ? WHERE footprint IS NOT NULL", ("[" * 10_000,))
        sql.close()
        with pytest.raises(ValueError, match=r"."):
            footprint_from_text("[" * 10_000)
        yield served


async def test_no_document_needs_more_of_a_footprint_than_its_box(served: ServedMirror) -> None:
    assert failed(await findings(visit(served))) == {}
    for path in ("dataset/TILES.html", "search?q=", "opensearch.xml", "metadata/dataset/TILES.xml", "metadata/service.xml"):
        assert (await served.ask(f"/gpf/inspire/{path}")).status == 200, path


async def test_boxes_are_those_of_the_footprints(served: ServedMirror) -> None:
    around = "44.69 4.74 44.69 6.36 45.89 6.36 45.89 4.74 44.69 4.74"
    for path in ("TILES.xml", "files/TILES/EPSG-2154_GPKG.xml"):
        for entry in entries(await feed(served, f"/gpf/inspire/{path}")):
            assert text_of(entry.find(f"{GEORSS}polygon")) == around
            assert {link.get("bbox") for rel in ("section", "alternate") for link in links(entry, rel)} <= {
                "44.69 4.74 45.89 6.36",
                None,
            }


async def test_a_footprint_is_shown_if_it_is_small(tmp_path: Path) -> None:
    """In the index of any number with all its digits too."""
    ring = [[-100.12345678901234 + n / 1000, -10.123456789012345 - n / 1000] for n in range(99)]
    text = json.dumps({"type": "MultiPolygon", "coordinates": [[[*ring, ring[0]]]]}, separators=(",", ":"))
    async with served_mirror(tmp_path, shapes()) as served:
        with sqlite3.connect(served.root / FILE) as sql:
            sql.execute("UPDATE sub_resources SET footprint = ? WHERE resource = 'SINGLE'", (text,))
        sql.close()
        (entry,) = entries(await feed(served, "/gpf/inspire/files/SINGLE/EPSG-2154_GPKG.xml"))
        assert len(text_of(entry.find(f"{GEORSS}polygon")).split()) == 200


def inflated(root: Path, times: int) -> None:
    """Editions of a resource, each of a series of its own, all alike in their codes, each with one file."""
    with sqlite3.connect(root / FILE) as sql:
        columns = [
            row[1] for row in sql.execute("PRAGMA table_info(sub_resources)") if row[1] not in ("id", "sub_resource", "series")
        ]
        named = ", ".join(columns)
        (first,) = sql.execute("SELECT min(id) FROM sub_resources WHERE resource = 'SINGLE'").fetchone()
        for number in range(times):
            new = sql.execute(
                f"INSERT INTO sub_resources (sub_resource, series, {named}) SELECT ?, ?, {named} FROM sub_resources WHERE id = ?",  # noqa: S608
                (f"SINGLE_{number}", f"S{number}", first),
            ).lastrowid
            sql.execute(
                "INSERT INTO footprints SELECT ?, west, east, south, north FROM footprints WHERE sub_resource_id = ?", (new, first)
            )
            sql.execute(
                "INSERT INTO stored_files (sub_resource_id, file, url, size, md5, sha256, fetched_at, verified_at) "
                "SELECT ?, file, url, size, md5, sha256, fetched_at, verified_at FROM stored_files WHERE sub_resource_id = ?",
                (new, first),
            )
    sql.close()


def asked(root: Path, question: Callable[[Offer], object]) -> list[tuple[str, str]]:
    """The statements that a question comes to, each with how SQLite answers it."""
    offer = Offer(root)
    statements: list[str] = []
    try:
        with offer.asking():
            offer.connection.set_trace_callback(statements.append)
            question(offer)
            offer.connection.set_trace_callback(None)
            return [
                (one, "; ".join(row["detail"] for row in offer.connection.execute(f"EXPLAIN QUERY PLAN {one}")))
                for one in statements
                if not one.startswith("--")  # what the R-tree asks of its own tables
            ]
    finally:
        offer.close()


async def test_what_is_said_of_all_editions_asks_as_much_of_few_as_of_many(tmp_path: Path) -> None:
    """As many questions, with as many groups for an answer; none for a footprint, and all answered by an index."""

    def everything(offer: Offer) -> None:
        one = offer.resource("gpf", "SINGLE")
        assert one is not None
        counts.append(one.sub_resources)
        newest = Newest(offer, "gpf", "SINGLE")
        (each,) = representations.representations(newest)
        assert len(list(newest.counted(each.codes))) == len(list(newest.titles(each.codes))) == one.sub_resources
        assert (each.editions, each.files, len(each.alike)) == (one.sub_resources, one.files, 1)
        offer.resources("gpf")

    counts: list[int] = []
    async with served_mirror(tmp_path, shapes()) as served:
        few = asked(served.root, everything)
        inflated(served.root, 500)
        many = asked(served.root, everything)
    assert counts == [1, 501]
    assert len(few) == len(many)
    for statement, plan in many:
        assert not re.search(r"\bfootprint\b|s\.\*", statement)
        assert "SCAN f VIRTUAL TABLE INDEX 2" not in plan, statement  # all of the R-tree
        if "JOIN footprints" in statement:
            assert "COVERING INDEX sub_resources_offered" in plan, statement
    assert sum("JOIN footprints" in statement for statement, _ in many) == 3


async def test_a_page_names_an_edition_as_all_pages_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its id where an edition on another page has the same title."""
    monkeypatch.setattr(representations, "MOST_LINKS", 1)
    monkeypatch.setattr(representations, "PAGE_FILES", 2)
    async with served_mirror(tmp_path, shapes()) as served:
        for page, zone in ((1, "D038"), (2, "D073")):
            number = "" if page == 1 else f"?page={page}"
            found = entries(await feed(served, f"/gpf/inspire/files/ALIKE/EPSG-2154_GPKG.xml{number}"))
            assert {member(entry, "title").rpartition(" – ")[0] for entry in found} == {
                f"One title (ALIKE_1-0_GPKG_LAMB93_{zone}_2026-03-15)"
            }


async def test_one_answer_stands_for_every_crs_that_nothing_is_in(served: ServedMirror) -> None:
    """However many are made up: no one fills the memory with them, or has them looked for again and again."""
    keys: set[Hashable] = set()

    class Watched(Answers):
        async def get(self, key: Hashable, *rest: Any, **more: Any) -> Document | None:
            keys.add(key)
            return await super().get(key, *rest, **more)

    served.site.answers = Watched(served.site.readers)
    answers = [await served.ask(f"{GET}SINGLE&crs={crs}") for crs in ("zz1", "zz2", "EPSG:3857", "http://example.org/x", NONE)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(keys) == 2
    root = await feed(served, f"{GET}SINGLE&crs=zz3")
    assert entries(root) == []
    (own,) = hrefs(root, "self")
    assert (await served.ask(own)).body == answers[0].body
    assert text_of(root.find(f"{ATOM}id")) == own


async def test_editions_come_in_the_order_asked_for(served: ServedMirror) -> None:
    offer = Offer(served.root)
    try:
        with offer.asking():
            found = editions(offer, [3, 1, 2])
            assert [one.id for one in found] == [3, 1, 2]
            assert ground(offer, found[0], positions=100).footprint is None
    finally:
        offer.close()
