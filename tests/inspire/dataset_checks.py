"""Requirements 21 to 38: the feeds of data sets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator

from .service_checks import wrong_author, wrong_moment
from .suite import check
from .visit import ATOM, OS, XML, Feed, Visit, downloads, hrefs, links, member, text_of

REGISTER = frozenset(
    {
        # http://inspire.ec.europa.eu/media-types, as far as it is known here, and the types of feeds, which the validator accepts
        # beside it. There is no entry for 7z.
        "application/atom+xml",
        "application/geopackage+sqlite3",
        "application/gml+xml",
        "application/vnd.google-earth.kml+xml",
        "application/vnd.google-earth.kmz",
        "application/x-ascii-grid",
        "application/x-ecw",
        "application/x-filegdb",
        "application/x-gmz",
        "application/x-las",
        "application/x-laz",
        "application/x-oracledump",
        "application/x-shapefile",
        "application/x-tab",
        "application/x-tab-raster",
        "application/x-worldfile",
        "application/zip",
        "image/jp2",
        "image/tiff",
        "text/csv",
        "text/plain",
        "text/xml",
    }
)
_TYPE = re.compile(r"[a-z0-9][\w.+-]*/[a-z0-9][\w.+-]*(?:\s*;\s*[\w-]+=[^\s;]+)*", re.ASCII | re.IGNORECASE)


@check("R21", "A data set feed has a title")
async def _title(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        if not member(feed.root, "title"):
            yield f"{feed.url}: no title"


@check("R22", "The id of a data set feed is its address")
async def _id(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        if member(feed.root, "id") != feed.url:
            yield f"{feed.url}: the id is {member(feed.root, 'id')!r}"


@check("R23", "A data set feed has rights")
async def _rights(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        if not member(feed.root, "rights"):
            yield f"{feed.url}: no rights"


@check("R24", "A data set feed has a date with time and zone")
async def _updated(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        if problem := wrong_moment(member(feed.root, "updated"), visit):
            yield f"{feed.url}: {problem}"


@check("R25", "A data set feed has an author with name and e-mail address")
async def _author(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        if problem := wrong_author(feed.root):
            yield f"{feed.url}: {problem}"


@check("R26", "A data set feed has an entry with data, and what it links to is there and not empty")
async def _data(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        if not any(downloads(entry) for entry in feed.entries):
            yield f"{feed.url}: no entry with data"
        for link in (link for entry in feed.entries for link in downloads(entry)):
            answer = await visit.head(link.get("href", ""))
            if answer.status != 200 or answer.length == 0:
                yield f"{link.get('href')}: status {answer.status}, {answer.length} bytes"


@check("R27", "A data set feed has a separate entry for each CRS and format, of all CRS that the service feed names")
async def _separate(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        assert feed.entry is not None
        there = {one.get("term") for entry in feed.entries for one in entry.findall(f"{ATOM}category")}
        for category in feed.entry.findall(f"{ATOM}category"):
            if category.get("term") not in there:
                yield f"{feed.url}: no entry in {category.get('term')}"
        for key, count in Counter(_representation(feed)).items():
            if count > 1:
                yield f"{feed.url}: {count} entries with {key}"


def _representation(feed: Feed) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """CRS and types of the alternate links of each entry, by which the validator tells them apart."""
    return [
        (
            tuple(one.get("term", "") for one in entry.findall(f"{ATOM}category")),
            tuple(sorted(one.get("type", "") for one in links(entry, "alternate"))),
        )
        for entry in feed.entries
    ]


@check("R28", "A data set feed links to a description of its objects, as text/html")
async def _objects(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        urls = hrefs(feed.root, "describedby", "text/html")
        if not urls:
            yield f"{feed.url}: no describedby link of the type text/html"
        for url in urls:
            answer = await visit.get(url)
            if answer.status != 200 or answer.content_type.partition(";")[0] != "text/html":
                yield f"{url}: status {answer.status}, {answer.content_type}"


@check("R29", "Each entry links to its files, with their length in bytes")
async def _length(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        for entry in feed.entries:
            if not downloads(entry):
                yield f"{member(entry, 'title')}: no file"
            for link in downloads(entry):
                answer = await visit.head(link.get("href", ""))
                if link.get("length") != str(answer.length):
                    yield f"{link.get('href')} has {answer.length} bytes, not {link.get('length')}"


@check("R30", "The type of a link is that of what is served")
async def _type(visit: Visit) -> AsyncIterator[str]:
    for feed in [*await visit.datasets(), *await visit.got()]:
        for link in (link for entry in feed.entries for link in [*links(entry, "alternate"), *links(entry, "section")]):
            stated, served = link.get("type", ""), (await visit.head(link.get("href", ""))).content_type
            if not _TYPE.fullmatch(stated) or stated != served:
                yield f"{link.get('href')} is {served}, not {stated}"


@check("R31", "Links to files say the language")
async def _language(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        for link in (link for entry in feed.entries for link in downloads(entry)):
            if not link.get("hreflang"):
                yield f"{link.get('href')}: no hreflang"


@check("R32", "Several files have a section link each: there never is just one")
async def _sections(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        for entry in feed.entries:
            if len(links(entry, "section")) == 1:
                yield f"{member(entry, 'title')}: one section"


@check("R33", "How several files go together is described, in the content or behind an alternate link")
async def _structure(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        for entry in feed.entries:
            if links(entry, "section") and not links(entry, "alternate") and entry.find(f"{ATOM}content") is None:
                yield f"{member(entry, 'title')}: not described"


@check("R34", "Only media types of the INSPIRE register are used")
async def _registered(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        for link in feed.root.iter(f"{ATOM}link"):
            if link.get("rel") == "alternate" and link.get("type", "").partition(";")[0] not in REGISTER:
                yield link.get("type", "")


@check("R35", "Each entry of a data set feed has the category of its CRS, with a label")
async def _crs(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        for entry in feed.entries:
            categories = entry.findall(f"{ATOM}category")
            if len(categories) != 1 or not categories[0].get("term", "").startswith("http") or not categories[0].get("label"):
                yield f"{member(entry, 'title')}: {[dict(one.attrib) for one in categories]}"


@check("R36", "The languages of the service are listed")
async def _languages(visit: Visit) -> AsyncIterator[str]:
    if not [one for one in (await visit.description()).findall(f"{OS}Language") if text_of(one)]:
        yield "no language"


@check("R37", "A language that is not there is ignored")
async def _other_language(visit: Visit) -> AsyncIterator[str]:
    for query in (await visit.description()).findall(f"{OS}Query"):
        usual = await visit.get(await visit.describe_url(query))
        other = await visit.get(await visit.describe_url(query, language="xx"))
        if (other.status, other.body) != (usual.status, usual.body):
            yield f"{await visit.describe_url(query, language='xx')}: status {other.status}, or another answer"


@check("R38", "A feed in several languages links to the others")
async def _interlinked(visit: Visit) -> AsyncIterator[str]:
    languages = {text_of(one) for one in (await visit.description()).findall(f"{OS}Language")}
    for feed in [await visit.service(), *await visit.datasets()]:
        own = feed.root.get(f"{XML}lang", "")
        linked = {one.get("hreflang") for one in links(feed.root, "alternate") if one.get("hreflang")}
        if own not in languages or not languages - {own} <= linked:
            yield f"{feed.url} is in {own!r}, and links to {linked} of {languages}"
