"""What the reference validator trips services up with beyond the words of the requirements, and what readers of feeds need."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from lxml import etree

from .service_checks import wrong_moment
from .suite import check
from .visit import ATOM, ATOM_TYPE, DLS, GMD, OS, Visit, downloads, filled, get_templates, hrefs, links, member, text_of

_BOX = re.compile(r"(-?[0-9.]+) (-?[0-9.]+) (-?[0-9.]+) (-?[0-9.]+)")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:]{8}Z)?")
_LINKAGE = f".//{GMD}linkage/{GMD}URL"


@check("T1", "id and self of each feed are its address, without a redirect, and two answers are the same bytes")
async def _stable(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.feeds():
        if member(feed.root, "id") != feed.url or hrefs(feed.root, "self") != [feed.url]:
            yield f"{feed.url}: id {member(feed.root, 'id')}, self {hrefs(feed.root, 'self')}"
        first, again = await visit.get(feed.url), await visit.ask(feed.url, "GET")
        if first.status != 200 or first != again:
            yield f"{feed.url}: status {first.status}, or another answer the second time"


@check("T2", "A namespace is always stated, and never needed")
async def _namespace(visit: Visit) -> AsyncIterator[str]:
    for entry in (await visit.service()).entries:
        if not text_of(entry.find(f"{DLS}spatial_dataset_identifier_namespace")):
            yield f"{member(entry, 'title')}: none"
    queries = (await visit.description()).findall(f"{OS}Query")
    for url in [
        *[await visit.describe_url(query, namespace=False) for query in queries],
        *await visit.get_urls(namespace=False),
    ]:
        if (status := (await visit.get(url)).status) != 200:
            yield f"{url}: status {status}"


@check("T3", "Exactly one template for Get Spatial Data Set, as application/atom+xml, answered with just that")
async def _one_template(visit: Visit) -> AsyncIterator[str]:
    description = await visit.description()
    templates = get_templates(description)
    types = [url.get("type") for url in description.findall(f"{OS}Url") if url.get("template") in templates]
    if types != [ATOM_TYPE]:
        yield f"the types are {types}"
    for url in await visit.get_urls():
        for answer in (await visit.get(url), await visit.head(url)):
            if answer.content_type != ATOM_TYPE:
                yield f"{url} is answered with {answer.content_type}"


@check("T4", "Each known code in each CRS and language is answered, by GET and HEAD; an unknown code is not found")
async def _known_codes(visit: Visit) -> AsyncIterator[str]:
    description = await visit.description()
    crs = list(dict.fromkeys(query.get(f"{DLS}crs", "") for query in description.findall(f"{OS}Query")))
    others = [
        filled(template, query, uri, text_of(language))
        for template in get_templates(description)
        for query in description.findall(f"{OS}Query")
        for uri in crs
        for language in description.findall(f"{OS}Language")
    ]
    for url in dict.fromkeys([*await visit.get_urls(), *others]):
        statuses = (await visit.get(url)).status, (await visit.head(url)).status
        if statuses != (200, 200):
            yield f"{url}: {statuses}"
    for query in description.findall(f"{OS}Query")[:1]:
        stranger = etree.Element(str(query.tag))
        stranger.set(f"{DLS}spatial_dataset_identifier_code", "no-such-code")
        urls = [
            await visit.describe_url(stranger, language="fr"),
            *[filled(one, stranger, "", "fr") for one in get_templates(description)],
        ]
        for url in urls:
            statuses = (await visit.get(url)).status, (await visit.head(url)).status
            if statuses != (404, 404):
                yield f"{url}: {statuses}"


@check("T5", "The search is answered for {searchTerms} as it stands, raw and encoded")
async def _raw_terms(visit: Visit) -> AsyncIterator[str]:
    for url in (await visit.description()).findall(f"{OS}Url"):
        template = url.get("template", "")
        if url.get("type") == "text/html":
            for address in (template, template.replace("{", "%7B").replace("}", "%7D")):
                if (status := (await visit.get(address)).status) != 200:
                    yield f"{address}: status {status}"


@check("T6", "Each entry of each feed is dated from 2012 on and not in the future, with seconds and zone")
async def _dates(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.feeds():
        for element in feed.root.iter(f"{ATOM}updated"):
            if problem := wrong_moment(text_of(element), visit):
                yield f"{feed.url}: {problem}"


@check("T7", "Entries in one CRS each have an alternate link of a type that no other one has")
async def _collisions(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        for term in {one.get("term") for one in feed.root.findall(f"{ATOM}entry/{ATOM}category")}:
            alike = [entry for entry in feed.entries if term in {one.get("term") for one in entry.findall(f"{ATOM}category")}]
            types = [{one.get("type") for one in links(entry, "alternate")} for entry in alike]
            counts = Counter(one for each in types for one in each)
            for entry, each in zip(alike, types, strict=True):
                if not any(counts[one] == 1 for one in each):
                    yield f"{member(entry, 'title')}: {sorted(map(str, each))}"


@check("T8", "Titles are unique; links to files have language, length and type, and addresses that end in the file name")
async def _readers(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.feeds():
        for title, count in Counter(member(entry, "title") for entry in feed.entries).items():
            if count > 1 or not title:
                yield f"{feed.url}: {count} entries are called {title!r}"
        for entry in feed.entries:
            for title, count in Counter(link.get("title", "") for link in downloads(entry)).items():
                if count > 1:
                    yield f"{member(entry, 'title')}: {count} files are called {title!r}"
        for link in (link for entry in feed.entries for link in downloads(entry)):
            parts = urlsplit(link.get("href", ""))
            if not parts.path.rpartition("/")[2] or parts.query or parts.fragment:
                yield f"{link.get('href')} does not end in a file name"
            if not all(link.get(name) for name in ("hreflang", "length", "type", "title")):
                yield f"{link.get('href')}: something is missing"


@check("T9", "The record of the service is its own, and its first linkage of all is the service feed")
async def _own_record(visit: Visit) -> AsyncIterator[str]:
    for url in hrefs((await visit.service()).root, "describedby", "application/xml"):
        linkages = [text_of(one) for one in (await visit.get(url)).root.findall(f"{GMD}distributionInfo/{_LINKAGE}")]
        if urlsplit(url).netloc != urlsplit(visit.url).netloc or linkages[:1] != [visit.url]:
            yield f"{url}: {linkages[:1]}"


@check("T10", "All that is linked to is here, and answers")
async def _links(visit: Visit) -> AsyncIterator[str]:
    base = visit.url.rpartition("/inspire/")[0]
    for feed in await visit.feeds():
        for link in feed.root.iter(f"{ATOM}link"):
            url = link.get("href", "")
            if not url.startswith(f"{base}/"):
                yield f"{feed.url} links to {url}"
            elif (status := (await visit.head(url)).status) != 200:
                yield f"{url}: status {status}"


@check("rec9", "Feeds of data sets link up to the service feed")
async def _up(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.datasets():
        if hrefs(feed.root, "up", ATOM_TYPE) != [visit.url]:
            yield feed.url


@check("rec10", "The box of a file is its lower and its upper corner, latitude first; its time is ISO 8601")
async def _box(visit: Visit) -> AsyncIterator[str]:
    for feed in await visit.feeds():
        for link in feed.root.iter(f"{ATOM}link"):
            box, time = link.get("bbox"), link.get("time")
            found = _BOX.fullmatch(box or "")
            if box is not None and (found is None or float(found[1]) > float(found[3]) or abs(float(found[3])) > 90):
                yield f"{link.get('href')}: {box}"
            if time is not None and not _TIME.fullmatch(time):
                yield f"{link.get('href')}: {time}"
