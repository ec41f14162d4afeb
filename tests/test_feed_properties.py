"""What holds for every feed: no bytes bring anything but a page or a FeedError, and JSON and XML of one listing are one page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import FeedError
from mirror.model import Page
from mirror.upstream.feed import parse_capabilities, parse_resource, parse_sub_resource
from tests.test_feed import FILES_XML, PARSERS, SUB_RESOURCES_JSON, SUB_RESOURCES_XML, Parser

ATOM = "http://www.w3.org/2005/Atom"
GPF = "https://data.geopf.fr/annexes/ressources/xsd/gpf_dl.xsd"
GEORSS = "http://www.georss.org/georss"

SAMPLES = [SUB_RESOURCES_XML, FILES_XML, json.dumps(SUB_RESOURCES_JSON).encode()]
ENTRY_MEMBERS = [
    "id", "title", "content", "summary", "updated", "link", "polygon", "editionDate", "editionDateStart", "editionDateEnd", "zone",
    "format", "category", "resolution", "mime_type",
]  # fmt: skip
MEMBERS = [
    *ENTRY_MEMBERS,
    "entry",
    "page",
    "pagesize",
    "pagecount",
    "totalentries",
    "href",
    "rel",
    "type",
    "length",
    "term",
    "label",
]

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["\ud800", "2024-01-01", "1 2"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=5), inner, max_size=6),
    max_leaves=30,
)


def reads_or_refuses(parse: Parser, body: bytes) -> None:
    try:
        page = parse(body)
    except FeedError as error:
        lines: tuple[str, ...] = (str(error),)
    else:
        assert isinstance(page, Page)
        repr(page).encode()
        lines = page.rejected
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("parse", PARSERS)
@given(body=st.binary() | st.tuples(st.sampled_from([b"<", b"{", b'{"entry":', b"<feed"]), st.binary()).map(b"".join))
def test_any_bytes_are_a_page_or_a_feed_error(parse: Parser, body: bytes) -> None:
    reads_or_refuses(parse, body)


@pytest.mark.parametrize("parse", PARSERS)
@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_any_damage_to_a_feed_leaves_a_page_or_a_feed_error(parse: Parser, sample: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(start, min(len(sample), start + 40)))
    patch = data.draw(
        st.binary(max_size=6) | st.sampled_from([b"<", b">", b"&", b'"', b"null", b"[]", b"{}", b"1e999", b"\\ud800"])
    )
    reads_or_refuses(parse, sample[:start] + patch + sample[end:])


@pytest.mark.parametrize("parse", PARSERS)
@given(entries=anything | st.lists(st.dictionaries(st.sampled_from(ENTRY_MEMBERS), anything), max_size=3), feed=anything)
def test_json_with_anything_anywhere_is_a_page_or_a_feed_error(parse: Parser, entries: object, feed: object) -> None:
    members = feed if isinstance(feed, dict) else {}
    reads_or_refuses(parse, json.dumps({**members, "entry": entries}).encode())


# One listing, written in both forms. What XML cannot hold (control characters, surrogates) is left to the tests above.
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=12)
urls = st.builds("https://data.geopf.fr/telechargement/{}/{}".format, texts, texts) | texts
term_lists = st.lists(
    st.fixed_dictionaries({}, optional={"term": texts | st.sampled_from(["D038", "EPSG:2154", "2154"]), "label": texts}), max_size=3
)
links = st.fixed_dictionaries(
    {},
    optional={
        "href": urls,
        "rel": st.sampled_from(["alternate", "section", "self", ""]),
        "type": texts,
        "length": st.integers(-1, 2**64) | st.sampled_from(["12", " 7", "x"]),
    },
)
# In France, where both orders of axes in XML are told apart by the data.
positions = st.tuples(st.floats(-5, 9), st.floats(42, 51))
days = st.dates().map(str) | texts
entries = st.fixed_dictionaries(
    {},
    optional={
        "id": urls,
        "title": texts | st.integers(),
        "content": texts | st.just("7E78B727D6BE295C486602FB74612074"),
        "summary": texts,
        "updated": days,
        "editionDate": days,
        "editionDateStart": days,
        "editionDateEnd": days,
        "zone": term_lists,
        "format": term_lists,
        "category": term_lists,
        "resolution": term_lists,
        "mime_type": st.lists(texts, max_size=3),
        "link": st.lists(links, max_size=3),
        "polygon": st.lists(positions, min_size=1, max_size=12),
        "novelty": anything,
    },
)
counts = st.integers(-1, 2**64) | texts
listings = st.fixed_dictionaries(
    {"entry": st.lists(entries, max_size=3)},
    optional={"title": texts, "page": counts, "pagesize": counts, "pagecount": counts, "totalentries": counts, "novelty": anything},
)


def numbers(polygon: list[tuple[float, float]], *, latitude_first: bool) -> str:
    return " ".join(f"{y!r} {x!r}" if latitude_first else f"{x!r} {y!r}" for x, y in polygon)


def as_json(listing: dict[str, Any]) -> bytes:
    def written(entry: dict[str, Any]) -> dict[str, Any]:
        # A list of one may stand as the object alone, as at feed level; a missing polygon is null.
        lists = {name: value[0] for name, value in entry.items() if name in ("zone", "link", "category") and len(value) == 1}
        return {**entry, **lists, "polygon": numbers(entry["polygon"], latitude_first=False) if "polygon" in entry else None}

    return json.dumps({**listing, "entry": [written(entry) for entry in listing["entry"]]}).encode()


def as_xml(listing: dict[str, Any], *, latitude_first: bool) -> bytes:
    feed = ElementTree.Element(f"{{{ATOM}}}feed")
    for name in ("page", "pagesize", "pagecount", "totalentries"):
        if name in listing:
            feed.set(f"{{{GPF}}}{name}", str(listing[name]))
    if "title" in listing:
        ElementTree.SubElement(feed, f"{{{ATOM}}}title").text = listing["title"]
    if "novelty" in listing:
        ElementTree.SubElement(feed, f"{{{GPF}}}novelty").text = "new"
    for entry in listing["entry"]:
        element = ElementTree.SubElement(feed, f"{{{ATOM}}}entry")
        for name, value in entry.items():
            write_member(element, name, value, latitude_first=latitude_first)
    body: bytes = ElementTree.tostring(feed, encoding="utf-8")
    return body


def write_member(entry: ElementTree.Element, name: str, value: Any, *, latitude_first: bool) -> None:
    namespace = ATOM if name in ("id", "title", "content", "summary", "updated", "category", "link") else GPF
    if name == "polygon":
        ElementTree.SubElement(entry, f"{{{GEORSS}}}polygon").text = numbers(value, latitude_first=latitude_first)
    elif name == "link":
        for link in value:
            named = {f"{{{GPF}}}length" if member == "length" else member: str(text) for member, text in link.items()}
            ElementTree.SubElement(entry, f"{{{ATOM}}}link", named)
    elif name == "novelty":
        ElementTree.SubElement(ElementTree.SubElement(entry, f"{{{GPF}}}novelty"), f"{{{ATOM}}}title").text = "not the entry's"
    elif name == "mime_type":
        for text in value:
            ElementTree.SubElement(entry, f"{{{GPF}}}mime_type").text = text
    elif isinstance(value, list):
        for term in value:
            ElementTree.SubElement(entry, f"{{{namespace}}}{name}", term)
    else:
        ElementTree.SubElement(entry, f"{{{namespace}}}{name}").text = str(value)


FORMS: list[Callable[[bytes], Page[Any]]] = [parse_capabilities, lambda body: parse_resource(body, "R"), parse_sub_resource]


@pytest.mark.parametrize("parse", FORMS)
@given(listing=listings, latitude_first=st.booleans())
def test_json_and_xml_of_one_listing_are_equal(
    parse: Callable[[bytes], Page[Any]], listing: dict[str, Any], latitude_first: bool
) -> None:
    """Whatever members are missing or unknown, and in whichever order XML writes its coordinates."""
    page = parse(as_json(listing))
    assert parse(as_xml(listing, latitude_first=latitude_first)) == page
    assert len(page.entries) + len(page.rejected) == len(listing["entry"]), "an entry is taken or said to be rejected"
