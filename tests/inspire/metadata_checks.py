"""Metadata: what ISO 19139 and the INSPIRE guidance on metadata ask of the records of the service and of the data sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urldefrag

from lxml import etree

from .suite import check
from .visit import ATOM, DLS, GMD, XML_TYPES, Element, Visit, hrefs, text_of

GCO = "{http://www.isotc211.org/2005/gco}"
GMX = "{http://www.isotc211.org/2005/gmx}"
SRV = "{http://www.isotc211.org/2005/srv}"
HREF = "{http://www.w3.org/1999/xlink}href"
RECORDS = etree.RelaxNG(etree.parse(Path(__file__).with_name("iso19139.rng")))
_RECORD = "application/xml"
_UNKNOWN = "http://www.opengis.net/def/nil/OGC/0/unknown"
_IDENTIFICATION = f"{GMD}identificationInfo/{GMD}MD_DataIdentification"
_IDENTIFIER = f"{_IDENTIFICATION}/{GMD}citation/{GMD}CI_Citation/{GMD}identifier"


async def service_record(visit: Visit) -> Element:
    urls = hrefs((await visit.service()).root, "describedby", _RECORD)
    return (await visit.get(urls[0])).root if urls else etree.Element("none")


async def records(visit: Visit) -> AsyncIterator[tuple[Element, str, Element]]:
    """The entry of each data set, with the address of its record and that."""
    for entry in (await visit.service()).entries:
        for url in hrefs(entry, "describedby", _RECORD):
            yield entry, url, (await visit.get(url)).root


@check("MD1", "Records are of the structure of ISO 19139, with all that the guidance on metadata wants and the mirror can know")
async def _structure(visit: Visit) -> AsyncIterator[str]:
    found = [("service", await service_record(visit)), *[(url, record) async for _, url, record in records(visit)]]
    for name, record in found:
        if not RECORDS.validate(record):
            yield f"{name}: {RECORDS.error_log.last_error}"
    for number, (name, record) in enumerate(found):
        level = record.find(f"{GMD}hierarchyLevel/{GMD}MD_ScopeCode")
        if level is None or level.get("codeListValue") != ("dataset" if number else "service"):
            yield f"{name} is of another level"


@check(
    "MD2", "The record of the service points to the element that describes the data in the record of each data set, and to no other"
)
async def _coupled(visit: Visit) -> AsyncIterator[str]:
    coupled = {
        (*urldefrag(one.get(HREF, "")), one.get("uuidref")) for one in (await service_record(visit)).iter(f"{SRV}operatesOn")
    }
    there = {
        (url, one.get("id"), one.get("uuid")) async for _, url, record in records(visit) for one in record.findall(_IDENTIFICATION)
    }
    for odd in sorted(map(str, coupled ^ there)):
        yield odd


@check("MD3", "The record of a data set has the identifier, the CRS and the feed that its entry has, and a URI that answers")
async def _same(visit: Visit) -> AsyncIterator[str]:
    async for entry, url, record in records(visit):
        parts = [text_of(record.find(f"{_IDENTIFIER}/{GMD}RS_Identifier/{GMD}{name}/*")) for name in ("code", "codeSpace")]
        if parts != [text_of(entry.find(f"{DLS}spatial_dataset_identifier_{name}")) for name in ("code", "namespace")]:
            yield f"{url} is of {parts}"
        systems = {one.get(HREF) for one in record.iterfind(f"{GMD}referenceSystemInfo//{GMX}Anchor")}
        if systems != {one.get("term") for one in entry.findall(f"{ATOM}category")} - {_UNKNOWN}:
            yield f"{url} is in {sorted(map(str, systems))}"
        linkages = [text_of(one) for one in record.iterfind(f"{GMD}distributionInfo//{GMD}URL")]
        if linkages != hrefs(entry, "alternate", *XML_TYPES):
            yield f"{url} leads to {linkages}"
        uris = [one.get(HREF, "") for one in record.iterfind(f"{_IDENTIFIER}/{GMD}MD_Identifier/{GMD}code/{GMX}Anchor")]
        if [(await visit.get(uri)).status for uri in uris] != [200]:
            yield f"{url} is identified by {uris}"
