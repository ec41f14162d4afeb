"""The JSON form of a feed: bytes to a page as published.

[O] The shape is that of the live responses in IGN's documentation. Lists of one may come as the object alone, as they do at feed
level [O], numbers as text, and any member may be missing, null or of another type: what cannot be its member counts as missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from math import isfinite
from typing import Any

from mirror.errors import FeedError
from mirror.geometry import footprint_from_lonlat
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

_FEED_MEMBERS = ("entry", "totalentries", "pagecount", "xmlns")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")

Object = dict[str, Any]


def read_json(body: bytes) -> PublishedPage:
    """The page in a JSON body. Raises FeedError where it is no JSON, or JSON of something that is no feed."""
    try:
        document = json.loads(body.decode("utf-8"))
        if b"\\u" in body and _SURROGATE_ESCAPE.search(body):  # the plain search is quick, and mostly says no
            document = _without_lone_surrogates(document)
    except (ValueError, RecursionError, MemoryError) as error:
        raise FeedError(f"expected a JSON feed, got JSON that cannot be read ({_detail(error)}): cut short or damaged") from None
    if not isinstance(document, dict):
        raise FeedError(f"expected a JSON feed, got a JSON {type(document).__name__}")
    # XML shows by its root element that it is a feed, JSON only by its members: {"error": ...} must not pass for an empty page.
    if not any(name in document for name in _FEED_MEMBERS):
        raise FeedError("expected a JSON feed, got a JSON object with none of " + ", ".join(_FEED_MEMBERS))
    return PublishedPage(
        title=_text(document.get("title")),
        page=as_count(document.get("page")),
        page_size=as_count(document.get("pagesize")),
        page_count=as_count(document.get("pagecount")),
        total=as_count(document.get("totalentries")),
        entries=[_entry(entry) if type(entry) is dict else None for entry in _entries(document.get("entry"))],
    )


def _detail(error: Exception) -> str:
    """The trouble in a few words; Python's own may hold the whole body, and differ between its versions."""
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} at line {error.lineno}, column {error.colno}"
        case UnicodeDecodeError():
            return f"not UTF-8 at byte {error.start}"
        case ValueError():
            return "a number of thousands of digits"
        case _:
            return "nested too deeply"


def _entries(value: object) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list):
        return value
    raise FeedError(f"expected a list of entries in a JSON feed, got {type(value).__name__}")


def _entry(entry: Object) -> PublishedEntry:
    get = entry.get
    polygon = get("polygon")  # mostly null
    return PublishedEntry(
        id=_text(get("id")),
        title=_text(get("title")),
        content=_text(get("content")),
        summary=_text(get("summary")),
        updated=_text(get("updated")),
        edition_date=_text(get("editionDate")),
        edition_start=_text(get("editionDateStart")),
        edition_end=_text(get("editionDateEnd")),
        zones=terms(_pairs(get("zone"))),
        formats=terms(_pairs(get("format"))),
        crs=crs_terms(_pairs(get("category"))),
        resolutions=terms(_pairs(get("resolution"))),
        media_types=media_types(_texts(get("mime_type"))),
        footprint=None if polygon is None else shared_footprint(footprint_from_lonlat, " ".join(_texts(polygon))),
        links=[
            PublishedLink(_text(link.get("href")), _text(link.get("rel")), _text(link.get("type")), as_count(link.get("length")))
            for link in _many(get("link"))
            if type(link) is dict
        ],
        identifier=_text(get("spatialDatasetIdentifierCode")),
    )


# These run some twenty times per entry, so that the plain cases come first: a file's entry lacks most members.


def _many(value: object) -> Sequence[Any]:
    """The items of a list; one that stands alone is a list of one."""
    if value is None:
        return ()
    return value if type(value) is list else (value,)


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    return tuple([(_text(term.get("term")), _text(term.get("label"))) for term in _many(value) if type(term) is dict])


def _texts(value: object) -> Sequence[str]:
    return () if value is None else [_text(item) for item in _many(value)]


def _text(value: object) -> str:
    """A member's text, stripped. Numbers count as the text that XML would hold; anything else is no text."""
    if type(value) is str:
        return value.strip()
    if value is None:
        return ""
    if type(value) is int or (type(value) is float and isfinite(value)):
        return str(value)
    return ""


def _without_lone_surrogates(document: object) -> object:
    r"""The same document with U+FFFD for each half of a pair that stands alone (`"\ud83d"`): no file or database could hold it."""
    text = json.dumps(document, ensure_ascii=False)
    return json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
