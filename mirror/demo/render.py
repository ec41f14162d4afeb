"""A page of the catalogue as the live service writes it, in JSON and in Atom XML.

A page is built once, as the JSON document; the XML is a spelling of that document, so both always carry the same content, as on the
live service. `to_xml` therefore also spells a recorded JSON response.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from lxml import etree

from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub, Terms
from mirror.demo.listing import Window
from mirror.model import Footprint, Term

Document = dict[str, Any]
"""A JSON object, with its members in the order in which they are written."""

ATOM: Final = "http://www.w3.org/2005/Atom"
GEORSS: Final = "http://www.georss.org/georss"
GPF_DL: Final = "https://data.geopf.fr/annexes/ressources/xsd/gpf_dl.xsd"
INSPIRE_DLS: Final = "http://inspire.ec.europa.eu/schemas/inspire_dls/1.0"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

# [L] official_capabilities.json: the JSON names the namespaces of the XML.
_NAMESPACES = {"georssNs": GEORSS, "gpfDlNs": GPF_DL, "xmlns": ATOM, "inspireDlsNs": INSPIRE_DLS}
_PAGING = ("page", "pagesize", "pagecount", "totalentries")
_ATOM_MEMBERS = frozenset(
    {"title", "subtitle", "id", "updated", "rights", "content", "category", "link", "author", "name", "email"}
)
_RIGHTS = "Conditions Générales d’Utilisation disponibles ici : https://cartes.gouv.fr/cgu-licences"
_AUTHOR = {"name": "Institut national de l’information géographique et forestière", "email": "geoplateforme@ign.fr"}
_SUBTITLE = "This Download Service allows you to download public datasources"


def capabilities(catalogue: Catalogue, window: Window[SampleResource], base: str, lang: str) -> Document:
    """The page of the capabilities that shows `window`; `base` is what all links start with, without a slash at its end."""
    url = f"{base}/capabilities"
    return {
        **_head(window, lang, catalogue.title, _SUBTITLE, url),
        "rights": _RIGHTS,
        **_given({"updated": catalogue.updated}),
        "author": _AUTHOR,
        "link": [_self_link(url), *_language_links(url, catalogue.title), _up_link(url)],
        "entry": [_resource_entry(resource, base) for resource in window.entries],
    }


def resource_page(resource: SampleResource, window: Window[SampleSub], base: str, lang: str) -> Document:
    """The page of a resource's sub-resources."""
    url = resource_url(base, resource.id)
    return {
        **_head(window, lang, resource.stated_title, resource.abstract, url),
        **_given({"updated": resource.stated_updated, "spatialDatasetIdentifierCode": resource.stated_identifier}),
        "link": [*_language_links(url, resource.stated_title or resource.id), _self_link(url), _up_link(f"{base}/capabilities")],
        "entry": [_sub_entry(resource.id, sub, base) for sub in window.entries],
    }


def sub_resource_page(resource_id: str, sub: SampleSub, window: Window[SampleFile], base: str, lang: str) -> Document:
    """The page of a sub-resource's files. Zone, format and resolution are single objects here [L]: the first of each."""
    url = resource_url(base, resource_id, sub.id)
    firsts = {
        name: _term(terms[0])
        for name, terms in (("zone", sub.zones), ("format", sub.formats), ("resolution", sub.resolutions))
        if terms
    }
    return {
        **_head(window, lang, sub.stated_title, sub.stated_abstract, url),
        **_given({"updated": sub.updated, **firsts, "editionDate": sub.edition_date}),
        "link": [
            _link(f"{url}?lang=fr", "alternate", hreflang="fr", title=sub.stated_title),
            _self_link(url),
            _up_link(resource_url(base, resource_id)),
        ],
        "entry": [_file_entry(resource_id, sub, file, base) for file in window.entries],
    }


def resource_url(base: str, *ids: str) -> str:
    """The address of the feed of a resource or, with two ids, of a sub-resource."""
    return "/".join((base, "resource", *(quote(part, safe="") for part in ids)))


def download_url(base: str, resource_id: str, sub_id: str, name: str) -> str:
    """The address of a file."""
    return "/".join((base, "download", *(quote(part, safe="") for part in (resource_id, sub_id, name))))


def to_json(document: Document) -> bytes:
    """The document as the JSON that is sent."""
    return json.dumps(document, ensure_ascii=False, indent=4).encode()


def to_xml(document: Document) -> bytes:
    """The document as the Atom XML that is sent.

    `<feed>` with its attributes, `gpf_dl:zone`, `gpf_dl:format`, `gpf_dl:editionDate`, `category`, `gpf_dl:mime_type` and the
    `gpf_dl:length` of a link are spelt as clients read them [C]; what is not known of the XML is called what JSON calls it, in
    `gpf_dl` [I]; the positions of `georss:polygon` are latitude first, as GeoRSS has it [I].
    """
    feed = etree.Element(f"{{{ATOM}}}feed", nsmap={"georss": GEORSS, "gpf_dl": GPF_DL, "inspire_dls": INSPIRE_DLS, None: ATOM})
    for name, value in document.items():
        if name == "lang":
            feed.set(_XML_LANG, value)
        elif name in _PAGING:
            feed.set(f"{{{GPF_DL}}}{name}", str(value))
        elif name == "entry":
            for entry in value:
                element = etree.SubElement(feed, f"{{{ATOM}}}entry")
                for member, content in entry.items():
                    _write(element, member, content)
        elif name not in _NAMESPACES:
            _write(feed, name, value)
    return etree.tostring(feed, xml_declaration=True, encoding="UTF-8", standalone=True, pretty_print=True)


def _write(parent: etree._Element, name: str, value: object) -> None:
    """Adds what one JSON member says; null says nothing."""
    if value is None:
        return
    if isinstance(value, list):
        for item in value:
            _write(parent, name, item)
        return
    element = etree.SubElement(parent, _tag(name))
    if name == "author" and isinstance(value, Mapping):
        for member, text in value.items():
            _write(element, member, text)
    elif isinstance(value, Mapping):
        for member, text in value.items():
            if text is not None:
                element.set(f"{{{GPF_DL}}}length" if member == "length" else member, str(text))
    else:
        element.text = _latitude_first(str(value)) if name == "polygon" else str(value)


def _tag(name: str) -> str:
    if name == "polygon":
        return f"{{{GEORSS}}}polygon"
    if name == "spatialDatasetIdentifierCode":
        return f"{{{INSPIRE_DLS}}}spatial_dataset_identifier_code"
    return f"{{{ATOM if name in _ATOM_MEMBERS else GPF_DL}}}{name}"


def _latitude_first(positions: str) -> str:
    numbers = positions.split()
    return " ".join(f"{y} {x}" for x, y in zip(numbers[::2], numbers[1::2], strict=True))


def _head(window: Window[Any], lang: str, title: str | None, subtitle: str | None, url: str) -> Document:
    return {
        **_NAMESPACES,
        "lang": lang,
        "page": window.page,
        "pagesize": window.size,
        "pagecount": window.count,
        "totalentries": window.total,
        **_given({"title": title, "subtitle": subtitle}),
        "id": url,
    }


def _resource_entry(resource: SampleResource, base: str) -> Document:
    url = resource_url(base, resource.id)
    members = {
        "title": resource.stated_title,
        "spatialDatasetIdentifierCode": resource.stated_identifier,
        "link": [_link(url, "alternate")],
        "id": url,
        "updated": resource.stated_updated,
        "content": resource.abstract,
        "polygon": _positions(resource.stated_polygon),
        "editionDateStart": resource.stated_edition_from,
        "editionDateEnd": resource.stated_edition_to,
        "category": _categories(resource.stated_crs),
        "zone": _terms(resource.stated_zones),
        "format": _terms(resource.stated_formats),
        "resolution": _terms(resource.stated_resolutions),
        **dict(resource.extra),
    }
    return _given(members, resource.omit)


def _sub_entry(resource_id: str, sub: SampleSub, base: str) -> Document:
    url = resource_url(base, resource_id, sub.id)
    bbox = " ".join(map(_degrees, sub.polygon.bbox)) if sub.polygon else None
    members = {
        "title": sub.stated_title,
        "link": [{**_link(url, "alternate", title=sub.stated_title), "bbox": bbox}],
        "id": url,
        "updated": sub.updated,
        "content": sub.stated_abstract,
        "polygon": _positions(sub.polygon),
        "editionDate": sub.edition_date,
        "category": _categories(sub.crs),
        "zone": _terms(sub.zones),
        "format": _terms(sub.formats),
        "resolution": _terms(sub.resolutions),
        **dict(sub.extra),
    }
    return _given(members, sub.omit)


def _file_entry(resource_id: str, sub: SampleSub, file: SampleFile, base: str) -> Document:
    """A file has neither title nor date of its own, and its content is its MD5 [L]."""
    url = file.href or download_url(base, resource_id, sub.id, file.name)
    link = {"href": url, **_given({"rel": file.rel, "type": file.stated_type, "length": file.stated_size}), "bbox": None}
    members = {
        "link": [link],
        "id": url,
        "content": file.stated_md5,
        "category": _categories(sub.crs),
        "mime_type": None if file.stated_contents is None else list(file.stated_contents),
        **dict(file.extra),
    }
    return _given(members, file.omit)


def _given(members: Document, omit: frozenset[str] = frozenset()) -> Document:
    """Without the members that are missing. Only a polygon is null rather than missing [L]."""
    return {name: value for name, value in members.items() if name not in omit and (value is not None or name == "polygon")}


def _link(href: str, rel: str, *, hreflang: str | None = None, title: str | None = None) -> Document:
    return {
        "href": href,
        **_given({"hreflang": hreflang, "rel": rel, "type": "application/atom+xml", "title": title}),
        "bbox": None,
    }


def _self_link(url: str) -> Document:
    return _link(url, "self", title="This document")


def _up_link(url: str) -> Document:
    return _link(url, "up")


def _language_links(url: str, title: str) -> list[Document]:
    return [_link(f"{url}?lang={lang}", "alternate", hreflang=lang, title=title) for lang in ("en", "fr")]


def _term(term: Term) -> Document:
    return {"term": term.code, "label": term.label}


def _terms(terms: Terms | None) -> list[Document] | None:
    return None if terms is None else [_term(term) for term in terms]


def _categories(crs: Terms | None) -> list[Document] | None:
    if crs is None:
        return None
    return [_term(Term(term.code.replace("EPSG:", "https://www.opengis.net/def/crs/EPSG/0/"), term.label)) for term in crs]


def _positions(footprint: Footprint | None) -> str | None:
    """All rings in one list, longitude first: a ring ends where it closes [L]."""
    if footprint is None:
        return None
    return " ".join(_degrees(number) for ring in footprint.rings for position in ring for number in position)


def _degrees(number: float) -> str:
    return f"{number:.8f}".rstrip("0").rstrip(".")
