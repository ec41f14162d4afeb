"""The members of the pages, from values that need not come from an index: the sample upstream writes its own with these.

A member that is None is missing from the page, but for a polygon: that is null [L].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from mirror.model import Footprint, Term
from mirror.namespaces import ATOM_TYPE
from mirror.serving.geoplateforme.asked import Window
from mirror.serving.geoplateforme.spelling import NAMESPACES, Document, degrees

Terms = Sequence[Term]


def resource_url(base: str, *ids: str) -> str:
    """The address of the feed of a resource or, with two ids, of a sub-resource."""
    return "/".join((base, "resource", *(quote(part, safe="") for part in ids)))


def download_url(base: str, resource_id: str, sub_id: str, name: str) -> str:
    """The address of a file."""
    return "/".join((base, "download", *(quote(part, safe="") for part in (resource_id, sub_id, name))))


def head(window: Window[Any], lang: str, title: str | None, subtitle: str | None, url: str) -> Document:
    """What every page begins with."""
    return {
        **NAMESPACES,
        "lang": lang,
        "page": window.page,
        "pagesize": window.size,
        "pagecount": window.count,
        "totalentries": window.total,
        **given({"title": title, "subtitle": subtitle}),
        "id": url,
    }


def resource_entry(
    url: str,
    *,
    title: str | None,
    identifier: str | None,
    updated: str | None,
    abstract: str | None,
    footprint: Footprint | None,
    edition_from: str | None,
    edition_to: str | None,
    crs: Terms | None,
    zones: Terms | None,
    formats: Terms | None,
    resolutions: Terms | None,
) -> Document:
    """An entry of the capabilities; its feed is at `url`."""
    return {
        "title": title,
        "spatialDatasetIdentifierCode": identifier,
        "link": [link(url, "alternate")],
        "id": url,
        "updated": updated,
        "content": abstract,
        "polygon": positions(footprint),
        "editionDateStart": edition_from,
        "editionDateEnd": edition_to,
        "category": categories(crs),
        "zone": terms(zones),
        "format": terms(formats),
        "resolution": terms(resolutions),
    }


def sub_entry(
    url: str,
    *,
    title: str | None,
    updated: str | None,
    abstract: str | None,
    footprint: Footprint | None,
    edition_date: str | None,
    crs: Terms | None,
    zones: Terms | None,
    formats: Terms | None,
    resolutions: Terms | None,
) -> Document:
    """An entry of a resource's feed; its own is at `url`."""
    bbox = " ".join(map(degrees, footprint.bbox)) if footprint else None
    return {
        "title": title,
        "link": [{**link(url, "alternate", title=title), "bbox": bbox}],
        "id": url,
        "updated": updated,
        "content": abstract,
        "polygon": positions(footprint),
        "editionDate": edition_date,
        "category": categories(crs),
        "zone": terms(zones),
        "format": terms(formats),
        "resolution": terms(resolutions),
    }


def file_entry(
    url: str,
    *,
    rel: str | None,
    media_type: str | None,
    size: int | None,
    md5: str | None,
    crs: Terms | None,
    contents: Sequence[str] | None,
) -> Document:
    """An entry of a sub-resource's feed. A file has neither title nor date of its own, and its content is its MD5 [L]."""
    return {
        "link": [{"href": url, **given({"rel": rel, "type": media_type, "length": size}), "bbox": None}],
        "id": url,
        "content": md5,
        "category": categories(crs),
        "mime_type": None if contents is None else list(contents),
    }


def firsts(zones: Terms | None, formats: Terms | None, resolutions: Terms | None) -> Document:
    """Zone, format and resolution of a sub-resource's feed: single objects there [L], the first of each."""
    named = (("zone", zones), ("format", formats), ("resolution", resolutions))
    return {name: term(found[0]) for name, found in named if found}


def given(members: Document, omit: frozenset[str] = frozenset()) -> Document:
    """Without the members that are missing."""
    return {name: value for name, value in members.items() if name not in omit and (value is not None or name == "polygon")}


def link(href: str, rel: str, *, hreflang: str | None = None, title: str | None = None) -> Document:
    """A link to another feed."""
    return {"href": href, **given({"hreflang": hreflang, "rel": rel, "type": ATOM_TYPE, "title": title}), "bbox": None}


def self_link(url: str) -> Document:
    """The link to the page itself."""
    return link(url, "self", title="This document")


def language_links(url: str, title: str, french: str | None = None) -> list[Document]:
    """The links to the page in each language, each with its title in it [L]; `french` is the French one, where it is another."""
    titles = {"en": title, "fr": french or title}
    return [link(f"{url}?lang={lang}", "alternate", hreflang=lang, title=titles[lang]) for lang in titles]


def term(found: Term) -> Document:
    """A code with its label."""
    return {"term": found.code, "label": found.label}


def terms(found: Terms | None) -> list[Document] | None:
    """Codes with their labels."""
    return None if found is None else [term(one) for one in found]


def categories(crs: Terms | None) -> list[Document] | None:
    """Coordinate reference systems, by their URIs [L]."""
    return None if crs is None else [{"term": crs_uri(one.code), "label": one.label} for one in crs]


def crs_uri(code: str) -> str:
    """`https://www.opengis.net/def/crs/EPSG/0/2154` for `EPSG:2154`; anything else as it is."""
    return f"https://www.opengis.net/def/crs/EPSG/0/{code.removeprefix('EPSG:')}" if code.startswith("EPSG:") else code


def positions(footprint: Footprint | None) -> str | None:
    """All rings in one list, longitude first: a ring ends where it closes [L]."""
    if footprint is None:
        return None
    return " ".join(degrees(number) for ring in footprint.rings for position in ring for number in position)
