"""Metadata by ISO 19139: of the service (R6), and of each data set (R14). It says what is known here; the publisher's says more.

The order of elements is that of the schema gmd (2007).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lxml import etree

from mirror.geometry import around
from mirror.model import BBox
from mirror.namespaces import ATOM_TYPE
from mirror.phrases import phrase
from mirror.serving.geoplateforme.spelling import degrees
from mirror.serving.inspire.atom import legal, written
from mirror.serving.inspire.crs import UNKNOWN
from mirror.serving.inspire.datasets import Dataset
from mirror.serving.inspire.representations import Representation
from mirror.serving.inspire.service import Service

GMD = "http://www.isotc211.org/2005/gmd"
GCO = "http://www.isotc211.org/2005/gco"
SRV = "http://www.isotc211.org/2005/srv"
GMX = "http://www.isotc211.org/2005/gmx"
XLINK = "http://www.w3.org/1999/xlink"
_NAMESPACES = {"gmd": GMD, "gco": GCO, "srv": SRV, "gmx": GMX, "xlink": XLINK}

_LISTS = "http://standards.iso.org/iso/19139/resources/gmxCodelists.xml"
_LANGUAGES = "http://www.loc.gov/standards/iso639-2/"
_ISO_639_2 = {"fr": "fre", "en": "eng"}
_CATEGORIES = "http://inspire.ec.europa.eu/metadata-codelist/SpatialDataServiceCategory/infoFeatureAccessService"
_NO_LIMITATIONS = "http://inspire.ec.europa.eu/metadata-codelist/LimitationsOnPublicAccess/noLimitations"


class _Writer:
    """Writes nested elements; `at` is where the next one goes."""

    def __init__(self, service: Service, identifier: str, level: str, changed_at: str) -> None:
        self.service = service
        self.root = self.at = etree.Element(f"{{{GMD}}}MD_Metadata", nsmap=_NAMESPACES)
        self.changed = service.moment(changed_at)
        self.string("fileIdentifier", identifier)
        with self.inside("language"):
            self.code("LanguageCode", _LANGUAGES, _ISO_639_2[service.lang])
        with self.inside("characterSet"):
            self.listed("MD_CharacterSetCode", "utf8")
        with self.inside("hierarchyLevel"):
            self.listed("MD_ScopeCode", level)
        self.string("hierarchyLevelName", level)
        self.contact("contact")
        with self.inside("dateStamp"):
            self.leaf(f"{{{GCO}}}Date", self.changed[:10])
        self.string("metadataStandardName", "ISO 19115")
        self.string("metadataStandardVersion", "2003/Cor.1:2006")

    @contextmanager
    def inside(self, *names: str) -> Iterator[None]:
        """Elements in one another, with what is written meanwhile in the last; a name without a namespace is one of gmd."""
        before = self.at
        for name in names:
            self.at = etree.SubElement(self.at, name if name.startswith("{") else f"{{{GMD}}}{name}")
        yield
        self.at = before

    def leaf(self, name: str, value: str) -> etree._Element:
        element = etree.SubElement(self.at, name)
        element.text = legal(value)
        return element

    def string(self, name: str, value: str) -> None:
        with self.inside(name):
            self.leaf(f"{{{GCO}}}CharacterString", value)

    def anchor(self, name: str, href: str, value: str) -> None:
        with self.inside(name):
            self.leaf(f"{{{GMX}}}Anchor", value).set(f"{{{XLINK}}}href", legal(href))

    def code(self, name: str, codes: str, value: str) -> None:
        element = etree.SubElement(self.at, f"{{{GMD}}}{name}", codeList=codes, codeListValue=value)
        element.text = value

    def listed(self, name: str, value: str) -> None:
        self.code(name, f"{_LISTS}#{name}", value)

    def contact(self, name: str) -> None:
        with self.inside(name, "CI_ResponsibleParty"):
            self.string("organisationName", self.service.author)
            with self.inside("contactInfo", "CI_Contact", "address", "CI_Address"):
                self.string("electronicMailAddress", self.service.email)
            with self.inside("role"):
                self.listed("CI_RoleCode", "distributor" if name == "pointOfContact" else "pointOfContact")

    def citation(self, title: str, identifier: tuple[str, str] | None = None) -> None:
        with self.inside("citation", "CI_Citation"):
            self.string("title", title)
            with self.inside("date", "CI_Date"):
                with self.inside("date"):
                    self.leaf(f"{{{GCO}}}Date", self.changed[:10])
                with self.inside("dateType"):
                    self.listed("CI_DateTypeCode", "revision")
            if identifier is not None:
                code, namespace = identifier
                with self.inside("identifier", "RS_Identifier"):
                    self.string("code", code)
                    self.string("codeSpace", namespace)

    def constraints(self) -> None:
        with self.inside("resourceConstraints", "MD_LegalConstraints"):
            with self.inside("useConstraints"):
                self.listed("MD_RestrictionCode", "otherRestrictions")
            self.string("otherConstraints", self.service.rights)
        with self.inside("resourceConstraints", "MD_LegalConstraints"):
            with self.inside("accessConstraints"):
                self.listed("MD_RestrictionCode", "otherRestrictions")
            self.anchor("otherConstraints", _NO_LIMITATIONS, self.service.say(phrase("no limitations on public access")))

    def box(self, box: BBox) -> None:
        with self.inside("EX_Extent", "geographicElement", "EX_GeographicBoundingBox"):
            west, south, east, north = box
            sides = {
                "westBoundLongitude": west,
                "eastBoundLongitude": east,
                "southBoundLatitude": south,
                "northBoundLatitude": north,
            }
            for name, value in sides.items():
                with self.inside(name):
                    self.leaf(f"{{{GCO}}}Decimal", degrees(value))

    def online(self, url: str, name: str) -> None:
        with self.inside("transferOptions", "MD_DigitalTransferOptions", "onLine", "CI_OnlineResource"):
            with self.inside("linkage"):
                self.leaf(f"{{{GMD}}}URL", url)
            self.string("protocol", ATOM_TYPE)
            self.string("name", name)
            with self.inside("function"):
                self.listed("CI_OnLineFunctionCode", "download")

    def lineage(self, level: str, statement: str | None = None) -> None:
        with self.inside("dataQualityInfo", "DQ_DataQuality"):
            with self.inside("scope", "DQ_Scope", "level"):
                self.listed("MD_ScopeCode", level)
            if statement:
                with self.inside("lineage", "LI_Lineage"):
                    self.string("statement", statement)


def service_record(service: Service, found: Sequence[tuple[Dataset, Sequence[Representation]]]) -> bytes:
    """The metadata of the service. Its first linkage is the service feed, which links back here (R6)."""
    changed_at = max((one.offered.changed_at for one, _ in found), default="")
    writer = _Writer(service, service.record, "service", changed_at)
    with writer.inside("identificationInfo", f"{{{SRV}}}SV_ServiceIdentification"):
        writer.citation(service.title)
        writer.string("abstract", service.subtitle)
        writer.contact("pointOfContact")
        with writer.inside("descriptiveKeywords", "MD_Keywords"):
            writer.anchor("keyword", _CATEGORIES, "infoFeatureAccessService")
        writer.constraints()
        with writer.inside(f"{{{SRV}}}serviceType"):
            writer.leaf(f"{{{GCO}}}LocalName", "download")
        box = around(each.box for _, representations in found for each in representations)
        if box is not None:
            with writer.inside(f"{{{SRV}}}extent"):
                writer.box(box)
        with writer.inside(f"{{{SRV}}}couplingType"):
            element = writer.leaf(f"{{{SRV}}}SV_CouplingType", "tight")
            element.set("codeList", f"{_LISTS}#SV_CouplingType")
            element.set("codeListValue", "tight")
        with writer.inside(f"{{{SRV}}}containsOperations", f"{{{SRV}}}SV_OperationMetadata"):
            with writer.inside(f"{{{SRV}}}operationName"):
                writer.leaf(f"{{{GCO}}}CharacterString", "Get Download Service Metadata")
            with writer.inside(f"{{{SRV}}}DCP"):
                element = writer.leaf(f"{{{SRV}}}DCPList", "WebServices")
                element.set("codeList", f"{_LISTS}#DCPList")
                element.set("codeListValue", "WebServices")
            with writer.inside(f"{{{SRV}}}connectPoint", f"{{{GMD}}}CI_OnlineResource", "linkage"):
                writer.leaf(f"{{{GMD}}}URL", service.feed)
        for one, _ in found:
            coupled = etree.SubElement(writer.at, f"{{{SRV}}}operatesOn")
            coupled.set(f"{{{XLINK}}}href", service.dataset_record(one.resource.id))
            coupled.set("uuidref", legal(one.code))
    with writer.inside("distributionInfo", "MD_Distribution"):
        writer.online(service.feed, service.title)
    writer.lineage("service")
    return written(writer.root)


def dataset_record(service: Service, one: Dataset, found: Sequence[Representation]) -> bytes:
    """The metadata of a data set."""
    resource = one.resource
    url = service.dataset_record(resource.id)
    writer = _Writer(service, url, "dataset", one.offered.changed_at)
    for uri in dict.fromkeys(each.crs for each in found if each.crs != UNKNOWN):
        with writer.inside("referenceSystemInfo", "MD_ReferenceSystem", "referenceSystemIdentifier", "RS_Identifier"):
            writer.anchor("code", uri, uri)
    with writer.inside("identificationInfo", "MD_DataIdentification"):
        writer.citation(one.title, (one.code, service.home))
        writer.string("abstract", one.abstract)
        writer.contact("pointOfContact")
        writer.constraints()
        with writer.inside("language"):
            writer.code("LanguageCode", _LANGUAGES, _ISO_639_2[service.lang])
        box = around(each.box for each in found)
        if box is not None:
            with writer.inside("extent"):
                writer.box(box)
    with writer.inside("distributionInfo", "MD_Distribution"):
        for label in dict.fromkeys(each.format_label for each in found if each.format_label):
            with writer.inside("distributionFormat", "MD_Format"):
                writer.string("name", label)
                with writer.inside("version"):
                    writer.at.set(f"{{{GCO}}}nilReason", "unknown")
        writer.online(service.dataset_feed(resource.id), one.title)
    source = service.origin.url or service.origin.upstream
    writer.lineage("dataset", service.say(phrase("A copy of what {source} publishes, verified file by file", source=source)))
    return written(writer.root)
