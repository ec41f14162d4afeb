"""Requirements 1 to 20: the service feed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urldefrag

from lxml import etree

from .suite import check
from .visit import ATOM, DLS, GEORSS, GMD, OS, XML, XML_TYPES, Element, Visit, hrefs, links, member, text_of

_SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("atom.rng")))
_DESCRIPTION = etree.RelaxNG(etree.parse(Path(__file__).with_name("opensearch.rng")))
_PARAMETER = re.compile(r"\{([^{}]*?)\??\}")
_CORE = {"searchTerms", "count", "startIndex", "startPage", "language", "inputEncoding", "outputEncoding"}
_OF_URIS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_ISO = "application/xml"
_GCO_URL = f"{GMD}distributionInfo/*/{GMD}transferOptions/*/{GMD}onLine/*/{GMD}linkage/{GMD}URL"
_OPERATES_ON = "{http://www.isotc211.org/2005/srv}operatesOn"
_HREF = "{http://www.w3.org/1999/xlink}href"


def wrong_moment(text: str, visit: Visit) -> str:
    """What is wrong with an `updated`; nothing where it is right."""
    if not _MOMENT.fullmatch(text):
        return f"{text!r} has no date, time and zone"
    at = datetime.fromisoformat(text)
    if at.year < 2012 or at > visit.now:
        return f"{text} is before 2012 or in the future"
    return ""


def wrong_author(feed: Element) -> str:
    """What is wrong with the author of a feed."""
    author = feed.find(f"{ATOM}author")
    if author is None or not any(map(str.isalnum, member(author, "name"))):
        return "no name of an author"
    return "" if _EMAIL.fullmatch(member(author, "email")) else f"{member(author, 'email')!r} is no e-mail address"


@check("R1", "Each data set has an entry of its own: code and namespace are unique")
async def _separate(visit: Visit) -> AsyncIterator[str]:
    seen = set()
    for entry in (await visit.service()).entries:
        key = tuple(text_of(entry.find(f"{DLS}spatial_dataset_identifier_{part}")) for part in ("code", "namespace"))
        if key in seen:
            yield f"{key} stands on several entries"
        seen.add(key)


@check("R2", "Feeds conform to RFC 4287, and are served as such")
async def _schema(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.feeds():
        answer = await visit.get(feed.url)
        if answer.content_type.partition(";")[0] not in XML_TYPES:
            yield f"{feed.url} is served as {answer.content_type}"
        if not _SCHEMA.validate(feed.root):
            yield f"{feed.url}: {_SCHEMA.error_log.last_error}"


@check("R3", "GeoRSS Simple: polygons of pairs, latitude first, closed")
async def _georss(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.feeds():
        for polygon in feed.root.iter(f"{GEORSS}polygon"):
            numbers = [float(word) for word in text_of(polygon).split()]
            pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
            if len(numbers) % 2 or len(pairs) < 4 or pairs[0] != pairs[-1]:
                yield f"{feed.url}: not a closed ring: {text_of(polygon)[:80]}"
            elif any(abs(lat) > 90 or abs(lon) > 180 for lat, lon in pairs):
                yield f"{feed.url}: not latitude, longitude: {text_of(polygon)[:80]}"


@check("R4", "The OpenSearch description conforms to OpenSearch 1.1")
async def _opensearch(visit: Visit) -> AsyncIterator[str]:
    description = await visit.description()
    if not _DESCRIPTION.validate(description):
        yield str(_DESCRIPTION.error_log.last_error)
    for url in description.findall(f"{OS}Url"):
        template = url.get("template", "")
        for name in _PARAMETER.findall(template):
            prefix, colon, local = name.rpartition(":")
            if not local or (url.nsmap.get(prefix) != DLS[1:-1] if colon else name not in _CORE):
                yield f"{{{name}}} is no parameter that is known"
        if not _OF_URIS.fullmatch(_PARAMETER.sub("", template)):
            yield f"{template} is no address"


@check("R5", "The service feed has a title")
async def _title(visit: Visit) -> AsyncIterator[str]:
    if not member((await visit.service()).root, "title"):
        yield "no title"


@check("R6", "The service feed links to an ISO 19139 record of the service, whose first linkage is the feed")
async def _record(visit: Visit) -> AsyncIterator[str]:
    urls = hrefs((await visit.service()).root, "describedby", _ISO)
    if len(urls) != 1:
        yield f"{len(urls)} describedby links"
        return
    record = (await visit.get(urls[0])).root
    if record.tag != f"{GMD}MD_Metadata":
        yield f"{urls[0]} is no gmd:MD_Metadata"
        return
    linkages = [text_of(one) for one in record.findall(_GCO_URL)]
    if linkages[:1] != [visit.url]:
        yield f"the first linkage is {linkages[:1]}, not the service feed"


@check("R7", "The service feed links to itself, with language and type")
async def _self(visit: Visit) -> AsyncIterator[str]:
    root = (await visit.service()).root
    found = links(root, "self", *XML_TYPES)
    if [one.get("href") for one in found] != [visit.url]:
        yield f"self is {[one.get('href') for one in found]}"
    elif not found[0].get("hreflang") or found[0].get("hreflang") != root.get(f"{XML}lang"):
        yield "hreflang is not the language of the feed"


@check("R8", "The service feed links to the OpenSearch description")
async def _search(visit: Visit) -> AsyncIterator[str]:
    found = links((await visit.service()).root, "search", "application/opensearchdescription+xml")
    if len(found) != 1 or not found[0].get("href", "").startswith("http") or not found[0].get("hreflang"):
        yield "no absolute search link with a language"


@check("R9", "The id of the service feed is its address")
async def _id(visit: Visit) -> AsyncIterator[str]:
    if member((await visit.service()).root, "id") != visit.url:
        yield f"the id is {member((await visit.service()).root, 'id')!r}"


@check("R10", "The service feed has rights")
async def _rights(visit: Visit) -> AsyncIterator[str]:
    if not member((await visit.service()).root, "rights"):
        yield "no rights"


@check("R11", "The service feed has a date with time and zone")
async def _updated(visit: Visit) -> AsyncIterator[str]:
    if problem := wrong_moment(member((await visit.service()).root, "updated"), visit):
        yield problem


@check("R12", "The service feed has an author with name and e-mail address")
async def _author(visit: Visit) -> AsyncIterator[str]:
    if problem := wrong_author((await visit.service()).root):
        yield problem


@check("R13", "Each entry has the code of the data set, and its namespace")
async def _codes(visit: Visit) -> AsyncIterator[str]:
    for entry in (await visit.service()).entries:
        for part in ("code", "namespace"):
            if not any(map(str.isalnum, text_of(entry.find(f"{DLS}spatial_dataset_identifier_{part}")))):
                yield f"{member(entry, 'title')}: no {part}"


@check("R14", "Each entry links to exactly one ISO 19139 record of the data set, which the record of the service refers to")
async def _dataset_records(visit: Visit) -> AsyncIterator[str]:
    service = await visit.service()
    urls = hrefs(service.root, "describedby", _ISO)
    record = (await visit.get(urls[0])).root if urls else etree.Element("none")
    coupled = {urldefrag(one.get(_HREF, "")).url for one in record.iter(_OPERATES_ON)}
    for entry in service.entries:
        found = hrefs(entry, "describedby", _ISO)
        if len(found) != 1:
            yield f"{member(entry, 'title')}: {len(found)} describedby links"
        elif (await visit.get(found[0])).root.tag != f"{GMD}MD_Metadata":
            yield f"{found[0]} is no gmd:MD_Metadata"
        elif found[0] not in coupled:
            yield f"{found[0]}: the record of the service does not refer to it"


@check("R15", "Each entry links to exactly one data set feed")
async def _dataset_feeds(visit: Visit) -> AsyncIterator[str]:
    for entry in (await visit.service()).entries:
        found = hrefs(entry, "alternate", *XML_TYPES)
        if len(found) != 1:
            yield f"{member(entry, 'title')}: {len(found)} alternate links"
        elif (await visit.get(found[0])).root.tag != f"{ATOM}feed":
            yield f"{found[0]} is no feed"


@check("R16", "A link to a WFS is related, and of the type application/xml")
async def _related(visit: Visit) -> AsyncIterator[str]:
    for entry in (await visit.service()).entries:
        for one in links(entry, "related"):
            if one.get("type") != "application/xml":
                yield f"{member(entry, 'title')}: a related link of the type {one.get('type')}"


@check("R17", "Each entry of the service feed has an id")
async def _entry_ids(visit: Visit) -> AsyncIterator[str]:
    ids = [member(entry, "id") for entry in (await visit.service()).entries]
    if not all(ids) or len(set(ids)) < len(ids):
        yield "an id is missing, or there twice"


@check("R18", "Each entry of the service feed has a title")
async def _entry_titles(visit: Visit) -> AsyncIterator[str]:
    for entry in (await visit.service()).entries:
        if not member(entry, "title"):
            yield f"{member(entry, 'id')}: no title"


@check("R19", "Each entry of the service feed has a date with time and zone, from 2012 on, not in the future")
async def _entry_dates(visit: Visit) -> AsyncIterator[str]:
    for entry in (await visit.service()).entries:
        if problem := wrong_moment(member(entry, "updated"), visit):
            yield f"{member(entry, 'title')}: {problem}"


@check("R20", "Each entry of the service feed has a category for each CRS, with a label")
async def _crs(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        assert feed.entry is not None
        categories = feed.entry.findall(f"{ATOM}category")
        terms = [one.get("term", "") for one in categories]
        if not categories or not all(one.get("term", "").startswith("http") and one.get("label") for one in categories):
            yield f"{feed.url}: a category without URI or label, or none"
        if set(terms) != {one.get("term") for one in feed.root.findall(f"{ATOM}entry/{ATOM}category")} or len(terms) > len(
            set(terms)
        ):
            yield f"{feed.url}: not the CRS of the data set feed: {terms}"
