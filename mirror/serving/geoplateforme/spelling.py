"""A page of the catalogue as the live service spells it, in JSON and in Atom XML.

A page is built once, as the JSON document; the XML is a spelling of that document, so both always carry the same content, as on the
live service. `to_xml` therefore also spells a recorded JSON response.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from lxml import etree

from mirror.geometry import parse_positions, split_rings
from mirror.namespaces import ATOM, GEORSS, GPF_DL, INSPIRE_DLS, XML

Document = dict[str, Any]
"""A JSON object, with its members in the order in which they are written."""

MIRROR: Final = "urn:inspire-mirror:feed"
"""The namespace of the members that are ours, not upstream's."""

# [L] official_capabilities.json: the JSON names the namespaces of the XML.
NAMESPACES: Final = {"georssNs": GEORSS, "gpfDlNs": GPF_DL, "xmlns": ATOM, "inspireDlsNs": INSPIRE_DLS}
_PAGING = ("page", "pagesize", "pagecount", "totalentries")
_ATOM_MEMBERS = frozenset(
    {"title", "subtitle", "id", "updated", "rights", "content", "category", "link", "author", "name", "email"}
)
_OURS = frozenset({"state", "withdrawnAt"})
_NOT_IN_XML = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 65534, 65535, *range(55296, 57344)))


def to_json(document: Document) -> bytes:
    """The document as the JSON that is sent."""
    return json.dumps(document, ensure_ascii=False, indent=4).encode("utf-8", "replace")


def to_xml(document: Document) -> bytes:
    """The document as the Atom XML that is sent.

    `<feed>` with its attributes, `gpf_dl:zone`, `gpf_dl:format`, `gpf_dl:editionDate`, `category`, `gpf_dl:mime_type` and the
    `gpf_dl:length` of a link are spelt as clients read them [C]; what is not known of the XML is called what JSON calls it, in
    `gpf_dl` [I]; the positions of `georss:polygon` are latitude first, one element a ring, as GeoRSS has it [I].
    """
    nsmap = {"georss": GEORSS, "gpf_dl": GPF_DL, "inspire_dls": INSPIRE_DLS, None: ATOM}
    if any(not _OURS.isdisjoint(entry) for entry in (document, *document.get("entry", ()))):
        nsmap["mirror"] = MIRROR
    feed = etree.Element(f"{{{ATOM}}}feed", nsmap=nsmap)
    for name, value in document.items():
        if name == "lang":
            feed.set(f"{{{XML}}}lang", value)
        elif name in _PAGING:
            feed.set(f"{{{GPF_DL}}}{name}", str(value))
        elif name == "entry":
            for entry in value:
                element = etree.SubElement(feed, f"{{{ATOM}}}entry")
                for member, content in entry.items():
                    _write(element, member, content)
        elif name not in NAMESPACES:
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
    if name == "polygon":
        for ring in _rings(str(value)):
            etree.SubElement(parent, f"{{{GEORSS}}}polygon").text = ring
        return
    element = etree.SubElement(parent, _tag(name))
    if name == "author" and isinstance(value, Mapping):
        for member, text in value.items():
            _write(element, member, text)
    elif isinstance(value, Mapping):
        for member, text in value.items():
            if text is not None:
                element.set(f"{{{GPF_DL}}}length" if member == "length" else member, _legal(str(text)))
    else:
        element.text = _legal(str(value))


def _legal(text: str) -> str:
    """Without what no XML can hold; a JSON feed may have had it."""
    return text if text.isprintable() else text.translate(_NOT_IN_XML)


def _tag(name: str) -> str:
    if name == "spatialDatasetIdentifierCode":
        return f"{{{INSPIRE_DLS}}}spatial_dataset_identifier_code"
    if name in _OURS:
        return f"{{{MIRROR}}}{name}"
    return f"{{{ATOM if name in _ATOM_MEMBERS else GPF_DL}}}{name}"


def _rings(text: str) -> list[str]:
    """The rings of a flattened multipolygon, latitude first, each closed; none where the text is no list of positions."""
    try:
        rings = split_rings(parse_positions(text))
    except ValueError:
        return []
    return [" ".join(f"{degrees(y)} {degrees(x)}" for x, y in ring) for ring in rings]


def degrees(number: float) -> str:
    """A coordinate with all its digits, never with an exponent."""
    text = repr(float(number))
    return f"{number:.15f}".rstrip("0").rstrip(".") if "e" in text else text.removesuffix(".0")
