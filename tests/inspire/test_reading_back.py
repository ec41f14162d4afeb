"""What others read from the feeds: feedparser as an independent reader of Atom, GDAL as GIS tools read GeoRSS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import feedparser
import pyogrio
import pytest

from ..served import ServedMirror, served_mirror
from .mirrors import HARD, shapes, visit
from .visit import links

FRANCE = (-5.5, 41.0, 10.0, 51.5)  # west, south, east, north, with Corsica


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path / "root", shapes()) as served:
        yield served


async def test_feedparser_reads_entries_and_links(served: ServedMirror) -> None:
    looked = visit(served)
    for feed in await looked.feeds():
        body = (await looked.get(feed.url)).body
        read = feedparser.parse(body)
        assert not read.bozo, read.get("bozo_exception")
        assert (read.feed.id, read.feed.language) == (feed.url, "fr")
        assert read.feed.author_detail.email
        assert len(read.entries) == len(feed.entries)
        for one, entry in zip(read.entries, feed.entries, strict=True):
            wanted = [(link.get("rel"), link.get("href")) for rel in ("alternate", "section") for link in links(entry, rel)]
            assert sorted((link.rel, link.href) for link in one.links if link.rel in ("alternate", "section")) == sorted(wanted)
            assert one.updated_parsed


async def test_gdal_reads_footprints_where_they_are(served: ServedMirror, tmp_path: Path) -> None:
    """In France, not off the coast of Somalia, where they would be with latitude and longitude swapped."""
    seen = 0
    looked = visit(served)
    # Not those of data sets: GDAL gives up at an entry with a dozen links, and there the guidance wants one for each file (R32).
    for number, feed in enumerate([await looked.service(), *await looked.representations()]):
        path = tmp_path / f"{number}.xml"
        path.write_bytes((await looked.get(feed.url)).body)
        info = pyogrio.read_info(path)
        assert info["driver"] == "GeoRSS"
        assert info["features"] == len(feed.entries)
        _, bounds = pyogrio.read_bounds(path)
        west, south, east, north = FRANCE
        for x1, y1, x2, y2 in bounds.T:
            if x1 == x1:  # an entry without a footprint has no bounds
                overseas = x1 < -61
                assert (west <= x2 <= east and south <= y2 <= north) or overseas, (feed.url, x1, y1, x2, y2)
                assert overseas or (west <= x1 and south <= y1), (feed.url, x1, y1, x2, y2)
                seen += 1
    assert seen > 25


async def test_gdal_reads_a_feed_where_it_is_served(served: ServedMirror) -> None:
    """As docs/inspire.md has it: by its address, without a download before."""
    feed = (await visit(served).representations())[0]
    info = await asyncio.to_thread(pyogrio.read_info, f"/vsicurl/{feed.url}", layer="georss")
    assert (info["driver"], info["features"]) == ("GeoRSS", len(feed.entries))


async def test_gdal_reads_titles_that_are_hard_to_write(served: ServedMirror, tmp_path: Path) -> None:
    looked = visit(served)
    path = tmp_path / "service.xml"
    path.write_bytes((await looked.get(looked.url)).body)
    _, _, _, columns = pyogrio.raw.read(path, columns=["title"], read_geometry=False)
    assert HARD in list(columns[0])
