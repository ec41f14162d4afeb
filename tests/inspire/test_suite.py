"""The checks can fail: each is given what breaks its requirement, and all of them the examples of the guidance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from ..served import served_mirror
from . import dataset_checks, metadata_checks, opensearch_checks, service_checks, trap_checks
from .edits import again, both, called, later, put, say, take
from .metadata_checks import GCO, GMX, HREF, SRV
from .mirrors import shapes, visit
from .suite import CHECKS, failed, findings
from .visit import ATOM, ATOM_TYPE, DLS, GEORSS, GMD, OS, XML, Answer, Element, Visit, downloads, get_templates, links

MODULES = (service_checks, dataset_checks, opensearch_checks, trap_checks, metadata_checks)
EXAMPLES = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "inspire" / "tg-examples"


@dataclass
class Web:
    """What a service has answered, to be changed before the checks look at it again; no network is behind it."""

    url: str
    now: datetime
    answers: dict[tuple[str, str], Answer]

    @property
    def base(self) -> str:
        return self.url.removesuffix("service.xml")

    def visit(self) -> Visit:
        async def ask(url: str, method: str) -> Answer:
            return self.answers.get((url, method), Answer(404, "application/json", 0))

        return Visit(ask, self.url, self.now)

    def change(self, name: str, edit: Callable[[Element], object]) -> None:
        """Edits a document; `name` is its address below `inspire/`."""
        key = (self.base + name, "GET")
        root = etree.fromstring(self.answers[key].body)
        edit(root)
        self.answers[key] = replace(self.answers[key], body=etree.tostring(root))

    def answer(self, url: str, **changes: object) -> None:
        """Answers otherwise, to any method."""
        for method in ("GET", "HEAD"):
            known = self.answers.get((url, method), Answer(200, "text/plain", 0))
            self.answers[url, method] = replace(known, **changes)  # type: ignore[arg-type]  # what the fields are called


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Web:
    async def record() -> Web:
        async with served_mirror(tmp_path_factory.mktemp("recorded"), shapes()) as served:
            looked = visit(served)
            assert failed(await findings(looked)) == {}
            return Web(looked.url, looked.now, looked.known)

    return asyncio.run(record())


@pytest.fixture
def web(recorded: Web) -> Web:
    return replace(recorded, answers=dict(recorded.answers))


def entry(root: Element, number: int = 0) -> Element:
    return root.findall(f"{ATOM}entry")[number]


def rel(name: str, kind: str = "") -> str:
    return f"{ATOM}link[@rel='{name}']" + (f"[@type='{kind}']" if kind else "")


SERVICE, OSD, SINGLE, TILES, PACKED, BOTH = (
    "service.xml",
    "opensearch.xml",
    "SINGLE.xml",
    "TILES.xml",
    "PACKED.xml",
    "BOTH.xml",
)
ENTRY = f"{ATOM}entry"
SERVICE_RECORD, SINGLE_RECORD = "metadata/service.xml", "metadata/dataset/SINGLE.xml"
HTML_URL, GET_URL = f"{OS}Url[@type='text/html']", f"{OS}Url[@type='{ATOM_TYPE}'][@rel='results']"
LINKAGE = f".//{GMD}distributionInfo//{GMD}URL"
CODE = f"{DLS}spatial_dataset_identifier_code"
NAMESPACE = f"{DLS}spatial_dataset_identifier_namespace"


def at(name: str, *edits: Callable[[Element], object]) -> Callable[[Web], None]:
    """A break: this document with these edits."""
    return lambda web: web.change(name, both(*edits))


def first_file(web: Web, name: str = SINGLE) -> str:
    """The address of the first file of a data set."""
    root = etree.fromstring(web.answers[web.base + name, "GET"].body)
    return downloads(entry(root))[0].get("href", "")


def drop(web: Web, part: str) -> None:
    """Nothing is there any more at addresses with this in them."""
    for key in [key for key in web.answers if part in key[0]]:
        del web.answers[key]


def with_charset(web: Web) -> None:
    """The first answer to a Get Spatial Data Set has a parameter in its type."""
    web.answer(next(url for url, _ in web.answers if "/get?" in url), content_type=f"{ATOM_TYPE};charset=utf-8")


def found_anyway(web: Web) -> None:
    """A code that nobody knows is found."""
    web.answer(next(url for url, _ in web.answers if "no-such-code" in url), status=200)


def same_types(root: Element) -> None:
    """All alternate links of all entries are of one type."""
    for one in root.findall(f"{ENTRY}/{ATOM}link"):
        if one.get("rel") == "alternate":
            one.set("type", "application/zip")


def with_two_templates(root: Element) -> None:
    again(GET_URL)(root)
    root.findall(GET_URL)[1].set("type", "application/zip")
    assert len(get_templates(root)) == 2


def only_one_section(root: Element) -> None:
    for one in links(entry(root), "section")[1:]:
        entry(root).remove(one)


def lon_lat(root: Element) -> None:
    """Far overseas, axes swapped, a latitude would be beyond the pole."""
    for one in root.iter(f"{GEORSS}polygon"):
        one.text = "-176.1 -13.3 -176.1 -13.1 -176.0 -13.1 -176.1 -13.3"


BREAKS: dict[str, list[Callable[[Web], None]]] = {
    "R1": [at(SERVICE, again(ENTRY))],
    "R2": [
        at(SINGLE, take(f"{ENTRY}/{ATOM}updated")),
        at(SERVICE, again(f"{ATOM}title")),
        at(TILES, put(f"{ENTRY}/{ATOM}link", colour="red")),
        lambda web: web.answer(web.base + SINGLE, content_type="text/html"),
    ],
    "R3": [
        at(SERVICE, lon_lat),
        at(SINGLE, say(f".//{GEORSS}polygon", "44 4 45 4 45 5")),
        at(SINGLE, say(f".//{GEORSS}polygon", "44 4 45")),
    ],
    "R4": [
        at(OSD, say(f"{OS}ShortName", "longer than sixteen")),
        at(OSD, take(f"{OS}Description")),
        at(OSD, put(f"{OS}Url", type=None)),
        at(OSD, again(f"{OS}ShortName")),
        at(OSD, say(f"{OS}Description", "x" * 1025)),
        at(OSD, say(f"{OS}LongName", "x" * 49)),
        at(OSD, say(f"{OS}Developer", "x" * 65)),
        at(OSD, say(f"{OS}Contact", "the GIS team")),
        at(OSD, say(f"{OS}SyndicationRight", "free")),
        at(OSD, lambda root: etree.SubElement(root, f"{OS}Attribution").__setattr__("text", "x" * 257)),
        at(OSD, lambda root: etree.SubElement(root, f"{OS}Tags").__setattr__("text", "x" * 257)),
        at(OSD, lambda root: etree.SubElement(root, f"{OS}Keyword")),
        at(OSD, put(f"{OS}Query", role="sample")),
        at(OSD, put(f"{OS}Query", title="x" * 257)),
        at(OSD, put(f"{OS}Query", count="one")),
        at(OSD, put(GET_URL, template="https://example.org/?crs={crs?}")),
        at(OSD, put(GET_URL, template="https://example.org/?crs={dls:crs?}")),
        at(OSD, put(GET_URL, template="https://example.org/{ }?q=é")),
    ],
    "R5": [at(SERVICE, say(f"{ATOM}title", " "))],
    "R6": [
        at(SERVICE, take(rel("describedby"))),
        at(SERVICE_RECORD, say(LINKAGE, "https://example.org/")),
        lambda web: drop(web, "metadata/service.xml"),
    ],
    "R7": [at(SERVICE, put(rel("self"), href="https://example.org/")), at(SERVICE, put(rel("self"), hreflang="en"))],
    "R8": [at(SERVICE, take(rel("search"))), at(SERVICE, put(rel("search"), href="opensearch.xml"))],
    "R9": [at(SERVICE, say(f"{ATOM}id", "urn:uuid:1"))],
    "R10": [at(SERVICE, take(f"{ATOM}rights"))],
    "R11": [at(SERVICE, say(f"{ATOM}updated", "2026-01-01")), at(SERVICE, say(f"{ATOM}updated", "2011-01-01T00:00:00Z"))],
    "R12": [at(SERVICE, take(f"{ATOM}author/{ATOM}email")), at(SERVICE, say(f"{ATOM}author/{ATOM}name", "—"))],
    "R13": [at(SERVICE, take(f"{ENTRY}/{CODE}")), at(SERVICE, say(f"{ENTRY}/{NAMESPACE}", "--"))],
    "R14": [
        at(SERVICE, again(f"{ENTRY}/{rel('describedby')}")),
        lambda web: drop(web, "metadata/dataset/SINGLE.xml"),
        at(SERVICE_RECORD, take(f".//{SRV}operatesOn")),
    ],
    "R15": [at(SERVICE, again(f"{ENTRY}/{rel('alternate')}")), lambda web: drop(web, "inspire/SINGLE.xml")],
    "R16": [at(SERVICE, put(f"{ENTRY}/{rel('alternate')}", rel="related"))],
    "R17": [at(SERVICE, take(f"{ENTRY}/{ATOM}id"))],
    "R18": [at(SERVICE, say(f"{ENTRY}/{ATOM}title", ""))],
    "R19": [at(SERVICE, say(f"{ENTRY}/{ATOM}updated", "2999-01-01T00:00:00Z")), at(SERVICE, take(f"{ENTRY}/{ATOM}updated"))],
    "R20": [at(SERVICE, take(f"{ENTRY}/{ATOM}category")), at(SERVICE, put(f"{ENTRY}/{ATOM}category", label=""))],
    "R21": [at(SINGLE, take(f"{ATOM}title"))],
    "R22": [at(SINGLE, say(f"{ATOM}id", "https://example.org/"))],
    "R23": [at(SINGLE, take(f"{ATOM}rights"))],
    "R24": [at(SINGLE, say(f"{ATOM}updated", "2026-01-01T12:00:00"))],
    "R25": [at(SINGLE, say(f"{ATOM}author/{ATOM}email", "nobody"))],
    "R26": [
        at(SINGLE, take(ENTRY)),
        lambda web: web.answer(first_file(web), status=404),
        lambda web: web.answer(first_file(web), length=0),
    ],
    "R27": [
        at(PACKED, same_types),
        at(SERVICE, put(f"{ENTRY}/{ATOM}category", term="http://www.opengis.net/def/crs/EPSG/0/3857")),
    ],
    "R28": [at(SINGLE, take(rel("describedby", "text/html"))), lambda web: drop(web, "dataset/SINGLE.html")],
    "R29": [lambda web: web.answer(first_file(web), length=1), at(TILES, put(f"{ENTRY}/{rel('section')}", length=None))],
    "R30": [lambda web: web.answer(first_file(web), content_type="text/plain"), at(TILES, put(f"{ENTRY}/{ATOM}link", type="zip"))],
    "R31": [at(SINGLE, put(f"{ENTRY}/{rel('alternate')}", hreflang=None))],
    "R32": [at(TILES, only_one_section)],
    "R33": [at(TILES, take(f"{ENTRY}/{rel('alternate')}"))],
    "R34": [at(SINGLE, put(f"{ENTRY}/{rel('alternate')}", type="application/x-7z-compressed"))],
    "R35": [at(SINGLE, take(f"{ENTRY}/{ATOM}category")), at(SINGLE, put(f"{ENTRY}/{ATOM}category", term="EPSG:2154"))],
    "R36": [at(OSD, take(f"{OS}Language"))],
    "R37": [lambda web: drop(web, "language=xx")],
    "R38": [at(OSD, again(f"{OS}Language"), say(f"{OS}Language", "en")), at(SINGLE, lambda root: root.set(f"{XML}lang", "de"))],
    "R39": [lambda web: drop(web, OSD)],
    "R40": [at(OSD, put(f"{OS}Url[@rel='self']", template="https://example.org/"))],
    "R41": [at(OSD, take(HTML_URL)), lambda web: drop(web, "q=test")],
    "R42": [at(OSD, take(f"{OS}Url[@rel='describedby']")), lambda web: drop(web, "inspire/describe")],
    "R43": [at(OSD, take(GET_URL)), lambda web: drop(web, "inspire/get"), at(SINGLE, take(f"{ENTRY}/{rel('alternate')}"))],
    "R44": [at(OSD, take(f"{OS}Query")), at(OSD, put(f"{OS}Query", language=None))],
    "R45": [at(OSD, take(f"{OS}Language")), at(OSD, say(f"{OS}Language", "en"))],
    "T1": [
        at(TILES, put(rel("self"), href="https://example.org/")),
        at("files/TILES/EPSG-2154_GPKG.xml", say(f"{ATOM}id", "https://example.org/")),
        lambda web: web.answer(web.base + SINGLE, status=301),
    ],
    "T2": [at(SERVICE, take(f"{ENTRY}/{NAMESPACE}")), lambda web: drop(web, "namespace=&")],
    "T3": [at(OSD, with_two_templates), with_charset],
    "T4": [lambda web: drop(web, "EPSG%2F0%2F5490"), found_anyway],
    "T5": [lambda web: drop(web, "%7BsearchTerms"), lambda web: drop(web, "{searchTerms}")],
    "T6": [at("files/TILES/EPSG-2154_GPKG.xml", say(f"{ENTRY}/{ATOM}updated", "2009-01-01T00:00:00Z"))],
    "T7": [at(BOTH, same_types), at(PACKED, same_types)],
    "T8": [
        at(BOTH, lambda root: [say(f"{ATOM}title", "the same")(one) for one in root.findall(ENTRY)]),
        at(SINGLE, put(f"{ENTRY}/{rel('alternate')}", href="https://example.org/download?file=a.gpkg")),
        at(TILES, put(f"{ENTRY}/{rel('section')}", hreflang=None)),
    ],
    "T9": [at(SERVICE_RECORD, say(LINKAGE, "https://example.org/"))],
    "T10": [
        at(SINGLE, put(f"{ENTRY}/{rel('alternate')}", href="https://example.org/a.gpkg")),
        lambda web: web.answer(first_file(web, TILES), status=404),
    ],
    "MD1": [
        lambda web: drop(web, SERVICE_RECORD),
        lambda web: drop(web, SINGLE_RECORD),
        lambda web: web.answer(web.base + SINGLE_RECORD, body=web.answers[web.base + SERVICE_RECORD, "GET"].body),
        *[
            at(name, edit)
            for name in (SERVICE_RECORD, SINGLE_RECORD)
            for edit in (
                later(f"{GMD}dateStamp"),
                later(f"{GMD}language"),
                later(f"{GMD}identificationInfo"),
                later(f".//{GMD}citation"),
                later(f".//{GMD}citation//{GMD}title"),
                later(f".//{GMD}resourceConstraints"),
                later(f".//{GMD}westBoundLongitude"),
                later(f".//{GMD}specification"),
                later(f".//{GMD}distributionInfo//{GMD}linkage"),
                take(f".//{GMD}report"),
                take(f".//{GMD}explanation"),
                take(f".//{GMD}electronicMailAddress"),
                take(f".//{GMD}pointOfContact"),
                take(f".//{GMD}resourceConstraints"),
                take(f".//{GMD}abstract"),
                take(f"{GMD}contact"),
                take(f"{GMD}language"),
                take(f"{GMD}dateStamp"),
                again(f"{GMD}hierarchyLevel"),
                again(f".//{GMD}linkage"),
                say(f".//{GMD}citation//{GMD}title/*", " "),
                say(f".//{GMD}abstract/*", ""),
                say(f".//{GMD}dateStamp/*", "1 November"),
                say(f".//{GMD}electronicMailAddress/*", "the GIS team"),
                say(f".//{GMD}northBoundLatitude/*", "145"),
                say(f".//{GMD}westBoundLongitude/*", "west"),
                say(f".//{GMD}linkage/*", "not an address"),
                put(f".//{GMD}LanguageCode", codeListValue="fr"),
                put(f".//{GMD}CI_RoleCode", codeListValue=None),
                put(f".//{GMD}CI_RoleCode", codeList=""),
                put(f".//{GMD}pass", **{f"{GCO}nilReason": None}),
                put(f".//{GMD}accessConstraints/../{GMD}otherConstraints/*", **{HREF: "http://example.org/no"}),
                called(f".//{GMD}abstract", f"{GMD}Abstract"),
                called(f".//{GMD}abstract/*", f"{GMX}CharacterString"),
                called(f".//{GMD}EX_GeographicBoundingBox", "{http://www.opengis.net/gml}Envelope"),
                lambda root: root.set("colour", "red"),
            )
        ],
        at(SERVICE_RECORD, later(f".//{SRV}serviceType")),
        at(SERVICE_RECORD, later(f".//{SRV}couplingType")),
        at(SERVICE_RECORD, later(f".//{SRV}DCP")),
        at(SERVICE_RECORD, take(f".//{SRV}containsOperations")),
        at(SERVICE_RECORD, take(f".//{GMD}thesaurusName")),
        at(SERVICE_RECORD, take(f".//{GMD}levelDescription")),
        at(SERVICE_RECORD, say(f".//{SRV}serviceType/*", "view")),
        at(SERVICE_RECORD, put(f".//{SRV}SV_CouplingType", codeListValue="loose")),
        at(SERVICE_RECORD, put(f".//{SRV}operatesOn", **{HREF: "SINGLE.xml"})),
        at(SINGLE_RECORD, take(f".//{GMD}distributionFormat")),
        at(SINGLE_RECORD, take(f".//{GMD}lineage")),
        at(SINGLE_RECORD, take(f".//{GMD}MD_DataIdentification/{GMD}language")),
        at(SINGLE_RECORD, put(f".//{GMD}MD_DataIdentification", id="1 2")),
    ],
    "MD2": [
        at(SERVICE_RECORD, take(f".//{SRV}operatesOn")),
        at(SERVICE_RECORD, put(f".//{SRV}operatesOn", **{HREF: "https://example.org/record.xml#data"})),
        at(SINGLE_RECORD, put(f".//{GMD}MD_DataIdentification", id="other")),
        at(SINGLE_RECORD, put(f".//{GMD}MD_DataIdentification", uuid="other")),
    ],
    "MD3": [
        at(SINGLE_RECORD, say(f".//{GMD}RS_Identifier/{GMD}codeSpace/*", "https://example.org/")),
        at(SINGLE_RECORD, say(f".//{GMD}citation//{GMD}RS_Identifier/{GMD}code/*", "other")),
        at(SINGLE_RECORD, take(f"{GMD}referenceSystemInfo")),
        at(SINGLE_RECORD, say(LINKAGE, "https://example.org/")),
        at(SINGLE_RECORD, take(f".//{GMD}MD_Identifier")),
        lambda web: drop(web, "dataset/SINGLE.html"),
    ],
    "rec9": [at(SINGLE, take(rel("up")))],
    "rec10": [
        at(TILES, put(f"{ENTRY}/{rel('section')}", bbox="4,44,6,45")),
        at(TILES, put(f"{ENTRY}/{rel('section')}", time="2026")),
    ],
}


def test_every_check_is_broken_here() -> None:
    assert BREAKS.keys() == {one.id for one in CHECKS}


@pytest.mark.parametrize("identifier", [pytest.param(one.id, id=one.id) for one in CHECKS])
async def test_a_check_fails_on_what_breaks_its_requirement(web: Web, recorded: Web, identifier: str) -> None:
    checks = [one for one in CHECKS if one.id == identifier]
    assert failed(await findings(web.visit(), checks)) == {}
    for spoil in BREAKS[identifier]:
        web.answers = dict(recorded.answers)
        spoil(web)
        assert identifier in failed(await findings(web.visit(), checks)), spoil


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason=f"the examples of the guidance are not at {EXAMPLES}")
async def test_the_examples_of_the_guidance_fail_where_they_are_no_service() -> None:
    """Their structure passes; what has to be fetched is not there, and their own faults are found."""
    names = {
        "http://xyz.org/download/en.xml": "service.xml",
        "http://xyz.org/data/waternetwork_feed.xml": "dataset.xml",
        "http://xyz.org/search/opensearchdescription.xml": "opensearchdescription.example35.xml",
    }
    answers = {(url, "GET"): Answer(200, ATOM_TYPE, None, (EXAMPLES / name).read_bytes()) for url, name in names.items()}
    web = Web("http://xyz.org/download/en.xml", datetime(2026, 11, 1, tzinfo=UTC), answers)
    problems = failed(await findings(web.visit()))
    structure = {"R1", "R2", "R3", "R5", "R7", "R9", "R10", "R11", "R12", "R13", "R15", "R16", "R17", "R18", "R19"}
    structure |= {"R21", "R23", "R24", "R25", "R31", "R32", "R33", "R35", "R36", "R39", "rec10"}
    assert not structure & problems.keys(), {name: problems[name] for name in structure & problems.keys()}
    faults = {
        "R22",  # the id of the data set feed is not its address
        "R40",  # self of the description is another address than that of the link to it
        "R44",  # the example is of another code than the entry
        "T6",  # entries of the data set feed are dated 2011
        "T3",  # the one template is of another type
        "R26",  # the files are not there
    }
    assert faults <= problems.keys()
