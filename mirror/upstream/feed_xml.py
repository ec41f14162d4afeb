"""The Atom XML form of a feed: bytes to a page as published.

[L] The head of the feed, `gpf_dl:zone`, `gpf_dl:format`, `gpf_dl:editionDate`, `gpf_dl:mime_type`, `category` and `gpf_dl:length`
are as served live. The names of `editionDateStart`, `editionDateEnd` and `resolution` in XML are not confirmed [I]: they are taken
to be those of JSON, in the `gpf_dl` namespace. feedparser cannot stand here: of repeated elements it keeps the last, and it loses
the paging attributes (tests/test_feed.py shows both).
"""

from __future__ import annotations

import re

from lxml import etree

from mirror.errors import FeedError
from mirror.geometry import footprint_from_xml
from mirror.upstream.published import (
    PublishedEntry,
    PublishedLink,
    PublishedPage,
    as_count,
    crs_terms,
    media_types,
    shared_footprint,
    terms,
)

_ATOM = "{http://www.w3.org/2005/Atom}"
_GPF = "{https://data.geopf.fr/annexes/ressources/xsd/gpf_dl.xsd}"
_LENGTH = _GPF + "length"
_FEED, _ENTRY, _LINK = _ATOM + "feed", _ATOM + "entry", _ATOM + "link"
_ID, _TITLE, _UPDATED = _ATOM + "id", _ATOM + "title", _ATOM + "updated"
_CONTENT, _SUMMARY = _ATOM + "content", _ATOM + "summary"
_EDITION, _EDITION_START, _EDITION_END = _GPF + "editionDate", _GPF + "editionDateStart", _GPF + "editionDateEnd"
_ZONE, _FORMAT, _CATEGORY, _RESOLUTION = _GPF + "zone", _GPF + "format", _ATOM + "category", _GPF + "resolution"
_MIME_TYPE = _GPF + "mime_type"
_IDENTIFIER = "{http://inspire.ec.europa.eu/schemas/inspire_dls/1.0}spatial_dataset_identifier_code"
_POLYGON = "{http://www.georss.org/georss}polygon"

_TERMS = frozenset({_ZONE, _FORMAT, _CATEGORY, _RESOLUTION})
_REPEATED = frozenset({_MIME_TYPE, _POLYGON})
_TEXTS = frozenset({_ID, _TITLE, _UPDATED, _CONTENT, _SUMMARY, _EDITION, _EDITION_START, _EDITION_END, _IDENTIFIER})

_HTML_HEAD = re.compile(rb"(?is)(?:<\?xml[^>]{0,200}\?>)?\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html)\b")
_HTML = "expected an Atom feed, got an HTML page: the service is in trouble, or this is not the URL of a feed"


def read_xml(body: bytes) -> PublishedPage:
    """The page in an XML body. Raises FeedError where it is not well-formed, no Atom feed, or has a DOCTYPE."""
    if _HTML_HEAD.match(body):
        raise FeedError(_HTML)
    # Hardened: nothing is fetched, no entity is put in, libxml2's own limits on depth and size stay on.
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.LxmlError, ValueError, LookupError, MemoryError) as error:
        detail = " ".join(str(error).split())
        raise FeedError(f"expected an Atom feed, got XML that cannot be read ({detail}): cut short or damaged") from None
    if root.getroottree().docinfo.doctype:
        # Without entities, text that holds one is cut there without a word; with them, the document decides what is read.
        raise FeedError("expected an Atom feed, got XML with a DOCTYPE, which is refused")
    if root.tag != _FEED:
        name = etree.QName(root).localname
        raise FeedError(_HTML if name.lower() == "html" else f"expected an Atom feed, got XML of <{name}>")
    title = root.find(_TITLE)
    return PublishedPage(
        title="" if title is None else _text(title),
        page=as_count(root.get(_GPF + "page")),
        page_size=as_count(root.get(_GPF + "pagesize")),
        page_count=as_count(root.get(_GPF + "pagecount")),
        total=as_count(root.get(_GPF + "totalentries")),
        entries=[_entry(element) for element in root.iterchildren(_ENTRY)],
    )


def _entry(element: etree._Element) -> PublishedEntry:
    texts: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    pairs: dict[str, list[tuple[str, str]]] = {}
    links: list[PublishedLink] = []
    for child in element:
        tag = child.tag
        if tag in _TERMS:
            pairs.setdefault(tag, []).append((child.get("term", "").strip(), child.get("label", "").strip()))
        elif tag in _REPEATED:
            repeated.setdefault(tag, []).append(_text(child))
        elif tag == _LINK:
            get = child.get
            length = as_count(get(_LENGTH, get("length")))
            links.append(PublishedLink(get("href", "").strip(), get("rel", "").strip(), get("type", "").strip(), length))
        elif tag in _TEXTS:
            texts.setdefault(tag, _text(child))
    text = texts.get
    return PublishedEntry(
        id=text(_ID, ""),
        title=text(_TITLE, ""),
        content=text(_CONTENT, ""),
        summary=text(_SUMMARY, ""),
        updated=text(_UPDATED, ""),
        edition_date=text(_EDITION, ""),
        edition_start=text(_EDITION_START, ""),
        edition_end=text(_EDITION_END, ""),
        zones=terms(tuple(pairs.get(_ZONE, ()))),
        formats=terms(tuple(pairs.get(_FORMAT, ()))),
        crs=crs_terms(tuple(pairs.get(_CATEGORY, ()))),
        resolutions=terms(tuple(pairs.get(_RESOLUTION, ()))),
        media_types=media_types(repeated.get(_MIME_TYPE, ())),
        footprint=shared_footprint(footprint_from_xml, " ".join(repeated.get(_POLYGON, ()))),
        links=links,
        identifier=text(_IDENTIFIER, ""),
    )


def _text(element: etree._Element) -> str:
    """The text of an element and, where it holds markup (XHTML in `content`), of what is inside it."""
    if len(element):
        return "".join(element.itertext()).strip()
    return (element.text or "").strip()
