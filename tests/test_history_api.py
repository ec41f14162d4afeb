"""`/api/runs`, `/api/changes` and its Atom feed: the whole history, page by page, each thing once, whatever happens meanwhile."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import feedparser
import pytest
from lxml import etree

from mirror.namespaces import ATOM
from mirror.store.index import FILE
from mirror.verifying import verify

from .eventful import BROKEN, GONE, NEWER, REPLACED, eventful_mirror
from .mirrored import HASTE, rewritten
from .parked import FIRST
from .served import ServedMirror, served_mirror
from .upstream import publish, simple_catalogue


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with eventful_mirror(tmp_path / "mirror") as found:
        yield found


async def pages(served: ServedMirror, path: str, member: str) -> list[dict[str, Any]]:
    """All of it, page after page."""
    found = []
    link: str | None = path
    while link is not None:
        document = (await served.ask(link)).json()
        found += document[member]
        link = document["next"]
    return found


# -- runs


async def test_runs_come_newest_first_with_what_they_reported(served: ServedMirror) -> None:
    runs = await pages(served, "/api/runs?limit=2", "runs")
    assert [run["id"] for run in runs] == [5, 4, 3, 2, 1]
    assert [(run["command"], run["outcome"]) for run in runs[:2]] == [("sync", "incomplete"), ("prune", "complete")]
    assert runs[0]["report"]["failed"][0]["file"]
    assert runs[1]["report"]["deleted"]["sub_resources"] == 1
    assert runs[4]["subscriptions"] == ["alpha", "bravo"]
    assert [run["id"] for run in await pages(served, "/api/runs?command=prune", "runs")] == [4]
    without = (await served.ask("/api/runs?reports=0&limit=1")).json()["runs"]
    assert without == [{**runs[0], "report": None}]


async def test_a_run_without_an_end_goes_on_or_was_killed(served: ServedMirror) -> None:
    with closing(sqlite3.connect(served.root / FILE)) as sql, sql:
        sql.execute("INSERT INTO runs (command, started_at, subscriptions) VALUES ('sync', '2027-02-01T00:00:00.000000Z', '[]')")
    newest = (await served.ask("/api/runs?limit=1")).json()["runs"][0]
    assert (newest["id"], newest["outcome"], newest["finished_at"]) == (6, "killed", None)


async def test_long_reports_make_short_pages(served: ServedMirror) -> None:
    report = json.dumps({"failed": ["x" * 3_000_000]})
    with closing(sqlite3.connect(served.root / FILE)) as sql, sql:
        sql.execute("UPDATE runs SET report = ? WHERE id IN (1, 2, 3)", (report,))
    assert [run["id"] for run in (await served.ask("/api/runs")).json()["runs"]] == [5, 4, 3]
    assert [run["id"] for run in await pages(served, "/api/runs", "runs")] == [5, 4, 3, 2, 1]


# -- changes


async def test_everything_that_changed_is_told_once_and_in_order(served: ServedMirror) -> None:
    changes = await pages(served, "/api/changes?limit=4", "changes")
    assert [change["id"] for change in changes] == sorted({change["id"] for change in changes})
    told = [(change["change"], change["sub_resource"]) for change in changes]
    assert told.count(("published", FIRST.id)) == 1
    assert told.count(("replaced", REPLACED.id)) == 1
    assert ("published", NEWER.id) in told
    assert ("withdrawn", GONE) in told
    assert told[-2][0] == "pruned"
    assert told[-1][0] == "parked"
    assert told.count(("parked", FIRST.id)) == 1
    assert {change["change"] for change in changes} == {"published", "replaced", "withdrawn", "pruned", "parked"}
    assert {change["run"] for change in changes} == {1, 2, 3, 4, 5}


async def test_a_folder_is_named_where_there_is_one(served: ServedMirror) -> None:
    changes = (await served.ask("/api/changes")).json()["changes"]
    for change in changes:
        there = f"{served.url}/gpf/download/{change['resource']}/{change['sub_resource']}/"
        is_there = change["change"] not in ("pruned", "parked") and (await served.ask(there)).status == 200
        assert change["href"] == (there if is_there else None)
    assert {change["change"] for change in changes if change["href"]} == {"published", "replaced", "withdrawn"}


async def test_who_comes_back_with_the_cursor_hears_only_what_is_new(served: ServedMirror) -> None:
    """Also where the last page ended with things that are no changes."""
    cursor = (await served.ask("/api/changes")).json()["cursor"]
    nothing = (await served.ask(f"/api/changes?since={cursor}")).json()
    assert nothing == {"changes": [], "cursor": cursor, "next": None}
    again = publish(served.mirror.upstream.catalogue, "BDALPHA", rewritten(FIRST, "third", updated="2027-01-09"))
    await served.sync(again)
    new = (await served.ask(f"/api/changes?since={cursor}")).json()
    told = [(change["change"], change["sub_resource"]) for change in new["changes"]]
    assert told == [("replaced", FIRST.id), ("parked", BROKEN.id)]  # tried again, in vain
    plain = (await served.ask(f"/api/changes?since={cursor.partition('-')[0]}")).json()
    assert plain == new


async def test_since_a_day_or_a_moment(served: ServedMirror) -> None:
    first = (await served.ask("/api/changes")).json()["changes"]
    expected = [change for change in first if change["at"] >= "2027-01-03"]
    assert 0 < len(expected) < len(first)
    for since in (
        "2027-01-03",
        "2027-01-03T14:00:00Z",
        "2027-01-03T14:00:00",
        "2027-01-03T15:00:00+01:00",
        "2027-01-02T13:00:00.000001Z",
    ):
        for spelt in (quote(since), since):  # a + that was not encoded is a blank
            assert (await served.ask(f"/api/changes?since={spelt}")).json()["changes"] == expected, since


async def test_since_anything_else_is_refused(served: ServedMirror) -> None:
    for since in ("yesterday", "2027-13-01", "-1", "1-2", "2027-01-03T25:00", "1.5", "", "20270103T140000Z"):
        answer = await served.ask(f"/api/changes?since={since}")
        assert (answer.status, answer.json()["error"][:6]) == (400, "since:"), since


async def test_only_some_kinds(served: ServedMirror) -> None:
    everything = await pages(served, "/api/changes", "changes")
    for kinds in (("replaced",), ("published",), ("pruned", "parked")):
        wanted = "&".join(f"kind={kind}" for kind in kinds)
        found = await pages(served, f"/api/changes?limit=1&{wanted}", "changes")
        assert found == [change for change in everything if change["change"] in kinds]
        assert found
    answer = await served.ask("/api/changes?kind=publisched")
    assert (answer.status, "did you mean" in answer.json()["error"]) == (400, True)
    assert (await served.ask("/api/changes?limit=1001")).status == 400


async def test_a_cursor_of_another_index_is_gone_and_not_a_gap(served: ServedMirror, tmp_path: Path) -> None:
    """An index that was built anew counts from 1 again: going on from a number would leave out what came before it."""
    middle = (await served.ask("/api/changes?limit=3")).json()["cursor"]
    async with served_mirror(tmp_path / "other", simple_catalogue(3, 2, 2)) as other:
        for path in ("/api/changes", "/api/changes.atom"):
            for cursor in (middle, "9999"):
                answer = await other.ask(f"{path}?since={cursor}")
                assert answer.status == 410
                assert "ask again with a day" in answer.json()["error"]
            assert (await other.ask(f"{path}?since=0")).status == 200


# -- the feed


async def test_the_feed_is_atom_that_readers_read(served: ServedMirror) -> None:
    answer = await served.ask("/api/changes.atom")
    assert answer.headers["Content-Type"] == "application/atom+xml; charset=utf-8"
    changes = (await served.ask("/api/changes")).json()["changes"]
    feed = feedparser.parse(answer.body)
    assert (feed.bozo, feed.version) == (False, "atom10")
    assert [entry.tags[0].term for entry in feed.entries] == [change["change"] for change in reversed(changes)]
    assert feed.entries[0].title.startswith("parked: BDALPHA/")
    assert feed.entries[0].summary == changes[-1]["message"]
    for entry, change in zip(feed.entries, reversed(changes), strict=True):
        related = [link.href for link in entry.links if link.rel == "related"]
        assert related == ([change["href"]] if change["href"] else [])
        assert entry.link == f"{served.url}/gpf/{change['resource']}"
        assert entry.updated == change["at"]
    assert feed.feed.updated == feed.entries[0].updated


async def test_the_feed_has_what_the_standard_requires(served: ServedMirror) -> None:
    """RFC 4287: 4.1.1, 4.1.2 and 4.2.6."""
    root = etree.fromstring((await served.ask("/api/changes.atom?limit=3")).body)
    ids = []
    for element in (root, *root.findall(f"{{{ATOM}}}entry")):
        for name in ("id", "title", "updated"):
            (only,) = element.findall(f"{{{ATOM}}}{name}")
            assert only.text
        ids.append(element.findtext(f"{{{ATOM}}}id"))
    assert len(ids) == len(set(ids)) == 4
    assert root.findtext(f"{{{ATOM}}}author/{{{ATOM}}}name")
    relations = [link.get("rel") for link in root.findall(f"{{{ATOM}}}link")]
    assert relations == ["self", "alternate", "next"]


async def test_ids_stay_wherever_the_mirror_is_found(served: ServedMirror) -> None:
    def ids(body: bytes) -> list[str]:
        feed = feedparser.parse(body)
        return [feed.feed.id, *(entry.id for entry in feed.entries)]

    here = ids((await served.ask("/api/changes.atom")).body)
    served.configure(public_url="https://mirror.example.org/geo")
    there = await served.ask("/api/changes.atom")
    assert ids(there.body) == here
    assert b"https://mirror.example.org/geo/gpf/BDALPHA" in there.body
    assert served.url.encode() not in there.body


async def test_older_entries_are_on_the_next_pages(served: ServedMirror) -> None:
    whole = [entry.id for entry in feedparser.parse((await served.ask("/api/changes.atom")).body).entries]
    found: list[str] = []
    link: str | None = "/api/changes.atom?limit=4"
    while link is not None:
        feed = feedparser.parse((await served.ask(link)).body)
        found += [entry.id for entry in feed.entries]
        link = next((each.href for each in feed.feed.links if each.rel == "next"), None)
    assert found == whole
    since = feedparser.parse((await served.ask("/api/changes.atom?since=2027-01-04")).body).entries
    assert [entry.tags[0].term for entry in since] == ["parked", "pruned"]


async def test_an_empty_history_is_a_feed_too(tmp_path: Path) -> None:
    async with served_mirror(tmp_path, simple_catalogue(0, 0, 0)) as served:
        feed = feedparser.parse((await served.ask("/api/changes.atom")).body)
        assert (feed.bozo, feed.entries, bool(feed.feed.updated)) == (False, [], True)
        assert (await served.ask("/api/changes")).json() == {"changes": [], "cursor": "0", "next": None}


async def test_what_xml_cannot_hold_breaks_no_feed(served: ServedMirror) -> None:
    with closing(sqlite3.connect(served.root / FILE)) as sql, sql:
        sql.execute("UPDATE events SET message = ? WHERE kind = 'parked'", ("<b>\x00\x1b[31m & ]]> \ufffe",))
    feed = feedparser.parse((await served.ask("/api/changes.atom")).body)
    assert not feed.bozo
    root = etree.fromstring((await served.ask("/api/changes.atom")).body)
    assert "[31m & ]]>" in (root.findtext(f".//{{{ATOM}}}summary") or "")


async def test_a_damaged_edition_has_no_folder_until_it_is_mended(served: ServedMirror) -> None:
    """What came before of the same edition cannot be had there either; `href` never leads to nothing."""
    about = {"resource": "BDALPHA", "sub_resource": FIRST.id}
    name = FIRST.files[0].name
    (served.root / "data" / "gpf" / "BDALPHA" / FIRST.id / name).write_bytes(b"#")
    await verify(served.mirror.settings, full=True)
    for repaired in (False, True):
        if repaired:
            await verify(served.mirror.settings, full=True, repair=True, patience=HASTE)
        changes = (await served.ask("/api/changes?limit=1000")).json()["changes"]
        ours = [change for change in changes if about.items() <= change.items() and change["change"] != "parked"]
        assert {"published", "damaged"} <= {change["change"] for change in ours}
        assert all((change["href"] is not None) is repaired for change in ours)
        for change in changes:
            if change["href"] is not None:
                assert (await served.ask(change["href"])).status == 200, change
    entries = feedparser.parse((await served.ask("/api/changes.atom?kind=damaged")).body).entries
    assert {entry.title for entry in entries} == {f"damaged: BDALPHA/{FIRST.id}: {name}"}


async def test_files_that_are_published_one_by_one_are_told_apart(tmp_path: Path) -> None:
    """Of several that came together, the edition is named, and no file of them."""
    catalogue = simple_catalogue(1, 1, 2)
    for publishing in ("each", "whole"):
        async with served_mirror(tmp_path / publishing, catalogue, sync=False) as served:
            served.mirror.tables = {"all": {"resources": ["*"], "edition": "all", "publish": publishing}}
            await served.sync()
            titles = [entry.title for entry in feedparser.parse((await served.ask("/api/changes.atom")).body).entries]
            (sub,) = catalogue.resources[0].listed
            edition = f"published: BDALPHA/{sub.id}"
            each = {f"{edition}: {file.name}" for file in sub.files}
            assert set(titles) == (each if publishing == "each" else {edition})
            assert len(titles) == len(set(titles))
