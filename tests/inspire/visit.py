"""A visit to a download service: what it answers, each address asked once, and the documents that are found by following links."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from urllib.parse import quote

from lxml import etree

ATOM = "{http://www.w3.org/2005/Atom}"
GEORSS = "{http://www.georss.org/georss}"
DLS = "{http://inspire.ec.europa.eu/schemas/inspire_dls/1.0}"
OS = "{http://a9.com/-/spec/opensearch/1.1/}"
XML = "{http://www.w3.org/XML/1998/namespace}"
GMD = "{http://www.isotc211.org/2005/gmd}"
ATOM_TYPE = "application/atom+xml"
XML_TYPES = (ATOM_TYPE, "application/xml", "text/xml")

Element = etree._Element


@dataclass(frozen=True)
class Answer:
    """What came back: `body` is empty for a HEAD."""

    status: int
    content_type: str
    length: int | None
    body: bytes = b""

    @cached_property
    def root(self) -> Element:
        """The document; an empty one for what is no XML."""
        try:
            return etree.fromstring(self.body, etree.XMLParser(resolve_entities=False, no_network=True))
        except etree.XMLSyntaxError:
            return etree.Element("broken")


Ask = Callable[[str, str], Awaitable[Answer]]
"""Asks for an address by a method."""


@dataclass(frozen=True)
class Feed:
    """A feed with its address. `entry` is what links to it from the service feed."""

    url: str
    root: Element
    entry: Element | None = None

    @property
    def entries(self) -> list[Element]:
        return self.root.findall(f"{ATOM}entry")


@dataclass
class Visit:
    """One service, from its feed on; `now` is the clock of whoever looks."""

    ask: Ask
    url: str
    now: datetime
    known: dict[tuple[str, str], Answer] = field(default_factory=dict)

    async def get(self, url: str) -> Answer:
        return await self._once(url, "GET")

    async def head(self, url: str) -> Answer:
        return await self._once(url, "HEAD")

    async def _once(self, url: str, method: str) -> Answer:
        key = url, method
        if key not in self.known:
            self.known[key] = await self.ask(url, method)
        return self.known[key]

    async def service(self) -> Feed:
        return Feed(self.url, (await self.get(self.url)).root)

    async def description(self) -> Element:
        """The OpenSearch description that the service feed links to."""
        urls = hrefs((await self.service()).root, "search")
        return (await self.get(urls[0])).root if urls else etree.Element("none")

    async def datasets(self) -> list[Feed]:
        """The feeds that the entries of the service feed link to."""
        found = []
        for entry in (await self.service()).entries:
            for url in hrefs(entry, "alternate", *XML_TYPES)[:1]:
                found.append(Feed(url, (await self.get(url)).root, entry))
        return found

    async def representations(self) -> list[Feed]:
        """The feeds that entries of data sets link to, with all their pages."""
        found: list[Feed] = []
        for dataset in await self.datasets():
            for entry in dataset.entries:
                urls = [one.get("href", "") for one in links(entry, "alternate") if one.get("type", "").startswith(ATOM_TYPE)]
                for url in urls:
                    while url:
                        found.append(Feed(url, (await self.get(url)).root))
                        url = next(iter(hrefs(found[-1].root, "next")), "")
        return found

    async def got(self) -> list[Feed]:
        """The answers to Get Spatial Data Set, for each data set and CRS."""
        return [Feed(url, (await self.get(url)).root) for url in await self.get_urls()]

    async def get_urls(self, *, namespace: bool = True) -> list[str]:
        """Each code with each CRS that its feed has and each language."""
        description = await self.description()
        templates = get_templates(description)
        languages = [text_of(one) for one in description.findall(f"{OS}Language")]
        found = []
        for query in description.findall(f"{OS}Query"):
            feed = (await self.get(await self.describe_url(query))).root
            crs = dict.fromkeys(one.get("term", "") for one in feed.findall(f"{ATOM}entry/{ATOM}category"))
            for template in templates:
                found += [filled(template, query, each, lang, namespace=namespace) for each in crs for lang in languages]
        return found

    async def describe_url(self, query: Element, *, namespace: bool = True, language: str | None = None) -> str:
        """The address of Describe Spatial Data Set for an example of the description."""
        templates = [
            url.get("template", "") for url in (await self.description()).findall(f"{OS}Url") if url.get("rel") == "describedby"
        ]
        return filled(next(iter(templates), ""), query, "", language or query.get("language") or "", namespace=namespace)

    async def feeds(self) -> list[Feed]:
        """All of them."""
        return [await self.service(), *await self.datasets(), *await self.representations(), *await self.got()]


def links(element: Element, rel: str, *types: str) -> list[Element]:
    """The links of a feed or an entry, of these media types if any are named."""
    return [one for one in element.findall(f"{ATOM}link") if one.get("rel") == rel and (not types or one.get("type") in types)]


def hrefs(element: Element, rel: str, *types: str) -> list[str]:
    return [one.get("href", "") for one in links(element, rel, *types)]


def text_of(element: Element | None) -> str:
    return ((element.text if element is not None else None) or "").strip()


def member(element: Element, name: str) -> str:
    """The text of a member of Atom's."""
    return text_of(element.find(f"{ATOM}{name}"))


def downloads(entry: Element) -> list[Element]:
    """The links to data: by the abstract tests each section, and each alternate with a length that is no feed."""
    alternates = [
        one
        for one in links(entry, "alternate")
        if one.get("type") != ATOM_TYPE and one.get("length", "").isdecimal() and int(one.get("length", "0")) > 0
    ]
    return alternates + links(entry, "section")


def get_templates(description: Element) -> list[str]:
    """The templates of Get Spatial Data Set, as the abstract tests tell them."""
    words = ("crs", "spatial_dataset_identifier_code", "spatial_dataset_identifier_namespace", "language")
    return [
        template
        for url in description.findall(f"{OS}Url")
        for template in (url.get("template", ""),)
        if url.get("rel") == "results" and template.startswith("http") and all(word in template for word in words)
    ]


def filled(template: str, query: Element, crs: str, language: str, *, namespace: bool = True) -> str:
    """A template with the values of an example; what has no value is left empty."""
    values = {
        "inspire_dls:spatial_dataset_identifier_code": query.get(f"{DLS}spatial_dataset_identifier_code", ""),
        "inspire_dls:spatial_dataset_identifier_namespace": query.get(f"{DLS}spatial_dataset_identifier_namespace", "")
        if namespace
        else "",
        "inspire_dls:crs": crs,
        "language": language,
    }
    return re.sub(r"\{([^}?]*)\??\}", lambda found: quote(values.get(found[1], ""), safe=""), template)
