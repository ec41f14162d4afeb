"""What the feeds hold of what is mirrored, and how that goes on when the mirror changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lxml import etree

from mirror.serving.answers import Answers
from mirror.serving.inspire import representations
from mirror.verifying import verify

from ..served import ServedMirror, served_mirror
from .mirrors import entries, feed, shapes, visit, withdrawn
from .suite import failed, findings
from .test_requirements import synced
from .visit import ATOM, hrefs, links, member, text_of

MIRROR = "{urn:inspire-mirror:feed}"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path, shapes()) as served:
        yield served


async def test_of_each_series_the_newest_edition(served: ServedMirror) -> None:
    root = await feed(served, "/gpf/inspire/EDITIONS.xml")
    (entry,) = entries(root)
    assert [url.rpartition("/")[2] for url in hrefs(entry, "section")] == [
        "EDITIONS_1-0_GPKG_LAMB93_D038_2026-03-15.gpkg",
        "EDITIONS_1-0_GPKG_LAMB93_D073_2026-03-15.gpkg",
    ]
    assert [link.get("time") for link in links(entry, "section")] == ["2026-03-15"] * 2
    assert [link.get("bbox") for link in links(entry, "section")] == ["44.69 4.74 45.89 6.36"] * 2


async def test_an_edition_found_wrong_gives_way_to_the_one_before(served: ServedMirror) -> None:
    """Until it is mended: its series must not be missing from the feed meanwhile."""
    name = "EDITIONS_1-0_GPKG_LAMB93_D038_2026-03-15"
    path = served.root / "data" / "gpf" / "EDITIONS" / name / f"{name}.gpkg"
    path.write_bytes(b"other")
    await verify(served.mirror.settings)
    (entry,) = entries(await feed(served, "/gpf/inspire/EDITIONS.xml"))
    assert [link.get("time") for link in links(entry, "section")] == ["2025-03-15", "2026-03-15"]
    await served.sync()
    served.site.answers = Answers(served.site.readers)  # on a busy machine the one before would hold for a moment
    (entry,) = entries(await feed(served, "/gpf/inspire/EDITIONS.xml"))
    assert [link.get("time") for link in links(entry, "section")] == ["2026-03-15"] * 2


async def test_what_is_withdrawn_stays_and_is_marked(tmp_path: Path) -> None:
    async with synced(tmp_path, shapes(), withdrawn(shapes())) as served:
        service = {member(entry, "title"): entry for entry in entries(await feed(served, "/gpf/inspire/service.xml"))}
        states = {title: text_of(entry.find(f"{MIRROR}state")) for title, entry in service.items()}
        assert {title for title, state in states.items() if state} == {"Title of TILES"}
        gpkg, shp = entries(await feed(served, "/gpf/inspire/PACKED.xml"))
        assert (gpkg.find(f"{MIRROR}state"), text_of(shp.find(f"{MIRROR}state"))) == (None, "withdrawn")
        assert text_of(shp.find(f"{MIRROR}withdrawnAt")).startswith("2027-01-09")
        (entry,) = entries(await feed(served, "/gpf/inspire/EDITIONS.xml"))
        marks = {link.get("href", "").rpartition("/")[2]: link.get(f"{MIRROR}state") for link in links(entry, "section")}
        assert list(marks.values()) == ["withdrawn", None]
        assert "(retiré par le service amont)" in links(entry, "section")[0].get("title", "")


async def test_what_is_much_is_paged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has an end: entries with more files link to a feed with pages. All requirements are met by that too."""
    monkeypatch.setattr(representations, "MOST_LINKS", 1)
    monkeypatch.setattr(representations, "PAGE_FILES", 3)
    async with served_mirror(tmp_path, shapes()) as served:
        assert failed(await findings(visit(served))) == {}
        first = await feed(served, "/gpf/inspire/files/TILES/EPSG-2154_GPKG.xml")
        assert [rel for rel in ("first", "previous", "next", "last") if hrefs(first, rel)] == ["first", "next", "last"]
        second = await feed(served, hrefs(first, "next")[0].removeprefix(served.url))
        assert [rel for rel in ("first", "previous", "next", "last") if hrefs(second, rel)] == ["first", "previous", "last"]
        assert [len(entries(first)), len(entries(second))] == [3, 2]
        for page in ("0", "1", "3", "x", "-1", "99999999999"):
            answer = await served.ask(f"/gpf/inspire/files/TILES/EPSG-2154_GPKG.xml?page={page}")
            assert answer.status == 404, page


async def test_an_upstream_of_the_config_of_which_nothing_is_here_is_an_empty_service(served: ServedMirror) -> None:
    for sub in (served.root / "data" / "gpf").iterdir():
        for path in sub.glob("*/*"):
            path.write_bytes(b"x")
    await verify(served.mirror.settings, full=True)
    assert entries(await feed(served, "/gpf/inspire/service.xml")) == []
    for name in ("opensearch.xml", "metadata/service.xml", "search?q=", ""):
        assert (await served.ask(f"/gpf/inspire/{name}")).status == 200


async def test_what_is_dated_into_the_future_does_not_change_from_moment_to_moment(served: ServedMirror) -> None:
    """A clock that was wrong while syncing is put right: two answers still are the same bytes, and no date is to come."""
    served.mirror.clock.pass_(days=-30)
    first = (await served.ask("/gpf/inspire/service.xml")).body
    served.mirror.clock.pass_(minutes=5)
    assert (await served.ask("/gpf/inspire/service.xml")).body == first
    updated = {text_of(one) for one in etree.fromstring(first).iter(f"{ATOM}updated")}
    assert updated == {"2026-12-02T00:00:00Z"}
    assert failed(await findings(visit(served))) == {}


async def test_public_url_is_what_all_links_start_with(served: ServedMirror) -> None:
    own = (await served.ask("/gpf/inspire/service.xml")).text
    served.configure(public_url="https://mirror.example.org/geo/")
    public = (await served.ask("/gpf/inspire/service.xml")).text
    assert served.url in own
    assert served.url not in public
    assert 'href="https://mirror.example.org/geo/gpf/inspire/SINGLE.xml"' in public
