"""Writing Atom: the elements that all feeds are made of."""

from __future__ import annotations

import re

from lxml import etree

from mirror.model import BBox, Footprint, Ring
from mirror.namespaces import ATOM, ATOM_TYPE, GEORSS, INSPIRE_DLS, XML
from mirror.serving.geoplateforme.spelling import MIRROR, degrees
from mirror.serving.inspire.service import Service

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MOST_POSITIONS = 100
"""Of a ring that is shown as it is."""


def legal(text: str) -> str:
    """Without what no XML can hold; a feed of others may have had it."""
    return _NOT_IN_XML.sub("", text)


def text(parent: etree._Element, name: str, value: str, namespace: str = ATOM) -> etree._Element:
    """Adds an element that holds text."""
    element = etree.SubElement(parent, f"{{{namespace}}}{name}")
    element.text = legal(value)
    return element


def link(parent: etree._Element, rel: str, href: str, **attributes: str | None) -> None:
    """Adds a link, without the attributes that are None."""
    element = etree.SubElement(parent, f"{{{ATOM}}}link", rel=rel, href=legal(href))
    for name, value in attributes.items():
        if value is not None:
            element.set(name, legal(value))


def new_feed(service: Service, url: str, title: str, subtitle: str, changed_at: str) -> etree._Element:
    """A feed with all that must be at its top; its id is its address (R5, R7, R9-R12; R21-R25)."""
    nsmap = {None: ATOM, "georss": GEORSS, "inspire_dls": INSPIRE_DLS, "mirror": MIRROR}
    feed = etree.Element(f"{{{ATOM}}}feed", nsmap=nsmap)
    feed.set(f"{{{XML}}}lang", service.lang)
    text(feed, "title", title)
    text(feed, "subtitle", subtitle)
    link(feed, "self", url, type=ATOM_TYPE, hreflang=service.lang)
    text(feed, "id", url)
    text(feed, "rights", service.rights)
    text(feed, "updated", service.moment(changed_at))
    author = etree.SubElement(feed, f"{{{ATOM}}}author")
    text(author, "name", service.author)
    text(author, "email", service.email)
    if service.homepage:
        text(author, "uri", service.homepage)
    return feed


def new_entry(feed: etree._Element, service: Service, url: str, title: str, changed_at: str) -> etree._Element:
    """Adds an entry with what must be in it (R17-R19)."""
    entry = etree.SubElement(feed, f"{{{ATOM}}}entry")
    text(entry, "title", title)
    text(entry, "id", url)
    text(entry, "updated", service.moment(changed_at))
    return entry


def crs_category(entry: etree._Element, uri: str, label: str) -> None:
    """Adds the category of a CRS (R20, R35)."""
    etree.SubElement(entry, f"{{{ATOM}}}category", term=legal(uri), label=legal(label))


def edition_category(entry: etree._Element, scheme: str, edition: str, label: str) -> None:
    """Adds the category of the edition that a file is part of; its scheme is the feed of all editions."""
    etree.SubElement(entry, f"{{{ATOM}}}category", term=legal(edition), scheme=legal(scheme), label=legal(label))


def polygon(entry: etree._Element, ring: Ring) -> None:
    """Adds a GeoRSS polygon: latitude first, closed."""
    text(entry, "polygon", " ".join(f"{degrees(y)} {degrees(x)}" for x, y in ring), GEORSS)


def box_polygon(entry: etree._Element, box: BBox | None) -> None:
    """Adds a box as a polygon, as the guidance recommends."""
    if box is not None:
        west, south, east, north = box
        polygon(entry, ((west, south), (east, south), (east, north), (west, north), (west, south)))


def footprint_polygon(entry: etree._Element, footprint: Footprint | None, box: BBox | None) -> None:
    """Adds a footprint: its ring, or the box around it where there are several, as GeoRSS has one geometry for an entry."""
    ring = footprint.rings[0] if footprint is not None and len(footprint.rings) == 1 else ()
    if 4 <= len(ring) <= MOST_POSITIONS and ring[0] == ring[-1]:
        polygon(entry, ring)
    else:
        box_polygon(entry, box)


def box_attribute(box: BBox) -> str:
    """The value of `bbox`: the lower corner, then the upper one, latitude first, as in `georss:box`."""
    west, south, east, north = box
    return " ".join(map(degrees, (south, west, north, east)))


def mark_withdrawn(entry: etree._Element, moment: str | None) -> None:
    """Adds what the other API says of what upstream no longer has, and since when: ours, in our namespace."""
    text(entry, "state", "withdrawn", MIRROR)
    if moment:
        text(entry, "withdrawnAt", moment, MIRROR)


def written(root: etree._Element) -> bytes:
    """The document as it is sent."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
