"""Metadata by ISO 19139: of the service (R6), and of each data set (R14). It says what is known here; the publisher's says more.

The order of elements is that of the schemas of ISO 19139, which are the same in their editions of 2006 and 2007 for what is written
here; what has to be in a record beyond that, and how codes are written, is by the INSPIRE guidance on metadata 2.0.1 (C, 1, 3: the
chapters of its requirements).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
_REGISTER = "http://inspire.ec.europa.eu/metadata-codelist"
_NO_LIMITATIONS = f"{_REGISTER}/LimitationsOnPublicAccess/noLimitations"
_SERVICE_TYPES = f"{_REGISTER}/SpatialDataServiceType"
_CATEGORY = "infoFeatureAccessService"
_DATA = "data"
"""The id of the element that describes the data: what the record of the service points to in the record of a data set."""


@dataclass(frozen=True, slots=True)
class _Published:
    """A document with its address, the day that it was published, and its title in each language of records."""

    href: str
    day: str
    titles: Mapping[str, str]


# Titles are the official ones to the letter, apostrophes and spaces too: validators compare them (C.21).
_FOR_DATA = _Published(
    "http://data.europa.eu/eli/reg/2010/1089",
    "2010-12-08",
    {
        "fr": "Règlement (UE) n ° 1089/2010 de la Commission du 23 novembre 2010 portant modalités d'application de la directive"
        " 2007/2/CE du Parlement européen et du Conseil en ce qui concerne l'interopérabilité des séries et des services de données"
        " géographiques",
        "en": "Commission Regulation (EU) No 1089/2010 of 23 November 2010 implementing Directive 2007/2/EC of the European"
        " Parliament and of the Council as regards interoperability of spatial data sets and services",
    },
)
_FOR_SERVICES = _Published(
    "http://data.europa.eu/eli/reg/2009/976",
    "2009-10-20",
    {
        "fr": "Règlement (CE) n o 976/2009 de la Commission du 19 octobre 2009 portant modalités d’application de la directive"
        " 2007/2/CE du Parlement européen et du Conseil en ce qui concerne les services en réseau",
        "en": "Commission Regulation (EC) No 976/2009 of 19 October 2009 implementing Directive 2007/2/EC of the European"
        " Parliament and of the Council as regards the Network Services",
    },
)
_CATEGORIES = _Published(
    f"{_REGISTER}/SpatialDataServiceCategory",
    "2008-12-04",  # when Regulation 1205/2008 was, of which it is part D.4
    {"fr": "Classification des services de données géographiques", "en": "Classification of spatial data services"},
)


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

    def nothing(self, name: str) -> None:
        """An element that has to be there, for what is not known."""
        with self.inside(name):
            self.at.set(f"{{{GCO}}}nilReason", "unknown")

    def code(self, name: str, codes: str, value: str) -> None:
        tag = name if name.startswith("{") else f"{{{GMD}}}{name}"
        element = etree.SubElement(self.at, tag, codeList=codes, codeListValue=value)
        element.text = value

    def listed(self, name: str, value: str) -> None:
        self.code(name, f"{_LISTS}#{name.rpartition('}')[2]}", value)

    def contact(self, name: str) -> None:
        with self.inside(name, "CI_ResponsibleParty"):
            self.string("organisationName", self.service.author)
            with self.inside("contactInfo", "CI_Contact", "address", "CI_Address"):
                self.string("electronicMailAddress", self.service.email)
            with self.inside("role"):
                self.listed("CI_RoleCode", "distributor" if name == "pointOfContact" else "pointOfContact")

    def dated(self, day: str, kind: str) -> None:
        with self.inside("date", "CI_Date"):
            with self.inside("date"):
                self.leaf(f"{{{GCO}}}Date", day)
            with self.inside("dateType"):
                self.listed("CI_DateTypeCode", kind)

    def citation(self, title: str, code: str = "", page: str = "") -> None:
        """What the resource is called, and for a data set the code and the URI that identify it: the code as the feeds have it, in
        the namespace of the service (R13), and the URI that the guidance on metadata wants (1.3), which is that of its page.
        """
        with self.inside("citation", "CI_Citation"):
            self.string("title", title)
            self.dated(self.changed[:10], "revision")
            if code:
                with self.inside("identifier", "RS_Identifier"):
                    self.string("code", code)
                    self.string("codeSpace", self.service.home)
            if page:
                with self.inside("identifier", "MD_Identifier"):
                    self.anchor("code", page, page)

    def cited(self, name: str, document: _Published) -> None:
        with self.inside(name, "CI_Citation"):
            self.anchor("title", document.href, document.titles[self.service.lang])
            self.dated(document.day, "publication")

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

    def quality(self, level: str, rules: _Published, statement: str | None = None) -> None:
        """Whether the resource conforms to the rules for it, which nobody here has evaluated (C.20-C.22), and where it is from."""
        with self.inside("dataQualityInfo", "DQ_DataQuality"):
            with self.inside("scope", "DQ_Scope"):
                with self.inside("level"):
                    self.listed("MD_ScopeCode", level)
                if level == "service":  # what is no data has to be named (3.8)
                    with self.inside("levelDescription", "MD_ScopeDescription"):
                        self.string("other", level)
            with self.inside("report", "DQ_DomainConsistency", "result", "DQ_ConformanceResult"):
                self.cited("specification", rules)
                self.string("explanation", self.service.say(phrase("The mirror has not evaluated whether it conforms")))
                self.nothing("pass")
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
            writer.anchor("keyword", f"{_CATEGORIES.href}/{_CATEGORY}", _CATEGORY)
            writer.cited("thesaurusName", _CATEGORIES)
        writer.constraints()
        with writer.inside(f"{{{SRV}}}serviceType"):
            writer.leaf(f"{{{GCO}}}LocalName", "download").set("codeSpace", _SERVICE_TYPES)
        box = around(each.box for _, representations in found for each in representations)
        if box is not None:
            with writer.inside(f"{{{SRV}}}extent"):
                writer.box(box)
        with writer.inside(f"{{{SRV}}}couplingType"):
            writer.listed(f"{{{SRV}}}SV_CouplingType", "tight" if found else "loose")
        with writer.inside(f"{{{SRV}}}containsOperations", f"{{{SRV}}}SV_OperationMetadata"):
            with writer.inside(f"{{{SRV}}}operationName"):
                writer.leaf(f"{{{GCO}}}CharacterString", "Get Download Service Metadata")
            with writer.inside(f"{{{SRV}}}DCP"):
                writer.listed(f"{{{SRV}}}DCPList", "WebServices")
            with writer.inside(f"{{{SRV}}}connectPoint", f"{{{GMD}}}CI_OnlineResource", "linkage"):
                writer.leaf(f"{{{GMD}}}URL", service.feed)
        for one, _ in found:
            coupled = etree.SubElement(writer.at, f"{{{SRV}}}operatesOn")
            coupled.set(f"{{{XLINK}}}href", f"{service.dataset_record(one.resource.id)}#{_DATA}")
            coupled.set("uuidref", legal(one.code))
    with writer.inside("distributionInfo", "MD_Distribution"):
        writer.online(service.feed, service.title)
    writer.quality("service", _FOR_SERVICES)
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
        writer.at.set("id", _DATA)
        writer.at.set("uuid", legal(one.code))
        writer.citation(one.title, one.code, service.dataset_page(resource.id))
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
        for label in dict.fromkeys(legal(each.format_label) for each in found) or [""]:
            with writer.inside("distributionFormat", "MD_Format"):
                if label:
                    writer.string("name", label)
                else:
                    writer.nothing("name")
                writer.nothing("version")
        writer.online(service.dataset_feed(resource.id), one.title)
    source = service.origin.url or service.origin.upstream
    said = service.say(phrase("A copy of what {source} publishes, verified file by file", source=source))
    writer.quality("dataset", _FOR_DATA, said)
    return written(writer.root)
