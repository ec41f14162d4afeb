"""Requirements 39 to 45: OpenSearch."""

from __future__ import annotations

from collections.abc import AsyncIterator

from .suite import check
from .visit import ATOM, ATOM_TYPE, DLS, OS, Visit, get_templates, hrefs, links, text_of


@check("R39", "A service for Describe and Get Spatial Data Set is described by an OpenSearch description")
async def _described(visit: Visit) -> AsyncIterator[str]:
    if (await visit.description()).tag != f"{OS}OpenSearchDescription":
        yield "no OpenSearchDescription"


@check("R40", "The description has its own address")
async def _self(visit: Visit) -> AsyncIterator[str]:
    own = [
        url.get("template")
        for url in (await visit.description()).findall(f"{OS}Url")
        if (url.get("rel"), url.get("type")) == ("self", "application/opensearchdescription+xml")
    ]
    if own != hrefs((await visit.service()).root, "search"):
        yield f"self is {own}"


@check("R41", "There is a search whose results are text/html")
async def _search(visit: Visit) -> AsyncIterator[str]:
    templates = [
        url.get("template", "")
        for url in (await visit.description()).findall(f"{OS}Url")
        if (url.get("rel"), url.get("type")) == ("results", "text/html")
    ]
    if len(templates) != 1 or "{searchTerms}" not in templates[0]:
        yield f"the templates are {templates}"
        return
    answer = await visit.get(templates[0].replace("{searchTerms}", "test"))
    if answer.status != 200 or answer.content_type.partition(";")[0] != "text/html":
        yield f"status {answer.status}, {answer.content_type}"


@check("R42", "Describe Spatial Data Set answers with the feed of the data set")
async def _describe(visit: Visit) -> AsyncIterator[str]:
    urls = [url for url in (await visit.description()).findall(f"{OS}Url") if url.get("rel") == "describedby"]
    template = urls[0].get("template", "") if urls else ""
    words = ("spatial_dataset_identifier_code", "spatial_dataset_identifier_namespace", "language")
    if len(urls) != 1 or urls[0].get("type") != ATOM_TYPE or not all(f"{word}?}}" in template for word in words):
        yield f"the template is {template!r}"
        return
    bodies = [(await visit.get(feed.url)).body for feed in await visit.datasets()]
    for query in (await visit.description()).findall(f"{OS}Query"):
        answer = await visit.get(await visit.describe_url(query))
        if answer.status != 200 or answer.body not in bodies:
            yield f"{await visit.describe_url(query)}: status {answer.status}, or no feed of a data set"


@check("R43", "Get Spatial Data Set answers with links to all files in the CRS, as the type that it says")
async def _get(visit: Visit) -> AsyncIterator[str]:
    if not get_templates(await visit.description()):
        yield "no template"
    wanted = {
        (category.get("term"), link.get("href"))
        for feed in await visit.datasets()
        for entry in feed.entries
        for category in entry.findall(f"{ATOM}category")
        for link in [*links(entry, "alternate"), *links(entry, "section")]
    }
    found = set()
    for feed in await visit.got():
        answer = await visit.get(feed.url)
        if answer.status != 200 or answer.content_type != ATOM_TYPE:
            yield f"{feed.url}: status {answer.status}, {answer.content_type}"
        for entry in feed.entries:
            terms = [one.get("term") for one in entry.findall(f"{ATOM}category")]
            found |= {(term, link.get("href")) for term in terms for link in [*links(entry, "alternate"), *links(entry, "section")]}
    if found != wanted:
        yield f"not the same links as in the feeds of the data sets: {sorted(map(str, found ^ wanted))[:3]}"


@check("R44", "There is an example of a request for each data set, with code, namespace, CRS and language")
async def _examples(visit: Visit) -> AsyncIterator[str]:
    parts = ("spatial_dataset_identifier_code", "spatial_dataset_identifier_namespace", "crs")
    entries = (await visit.service()).entries
    queries = [query for query in (await visit.description()).findall(f"{OS}Query") if query.get("role") == "example"]
    for query in queries:
        if not all(query.get(f"{DLS}{part}") for part in parts) or not query.get("language"):
            yield f"{query.get('title')}: something is missing"
    named = sorted((query.get(f"{DLS}{parts[0]}", ""), query.get(f"{DLS}{parts[1]}", "")) for query in queries)
    if named != sorted((text_of(one.find(f"{DLS}{parts[0]}")), text_of(one.find(f"{DLS}{parts[1]}"))) for one in entries):
        yield "the examples are not one for each data set"


@check("R45", "The languages are listed, the default one first")
async def _languages(visit: Visit) -> AsyncIterator[str]:
    languages = [text_of(one) for one in (await visit.description()).findall(f"{OS}Language")]
    own = [one.get("hreflang") for one in links((await visit.service()).root, "self")]
    if not languages or not all(languages) or languages[:1] != own:
        yield f"{languages}, while the service feed is in {own}"
