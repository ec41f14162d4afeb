"""What is asked of the service, and what it says: codes, namespaces, CRS, what is not there, pages for people, metadata."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lxml import etree

from mirror.serving.inspire.crs import UNKNOWN

from ..served import ServedMirror, served_mirror
from .mirrors import entries, feed, shapes
from .visit import ATOM, DLS, GEORSS, GMD, hrefs, member, text_of

GCO, GMX = "{http://www.isotc211.org/2005/gco}", "{http://www.isotc211.org/2005/gmx}"
DESCRIBE, GET = "/gpf/inspire/describe?spatial_dataset_identifier_code=", "/gpf/inspire/get?spatial_dataset_identifier_code="

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path_factory.mktemp("served"), shapes()) as served:
        yield served


async def test_a_crs_that_is_not_stated_or_has_no_uri_is_said_to_be_unknown(served: ServedMirror) -> None:
    found = entries(await feed(served, "/gpf/inspire/NOCRS.xml"))
    categories = [category for entry in found for category in entry.findall(f"{ATOM}category")]
    assert [category.get("term") for category in categories] == [UNKNOWN, UNKNOWN]
    assert [category.get("label") for category in categories] == ["système de coordonnées non précisé"] * 2


async def test_an_edition_in_two_crs_is_in_an_entry_of_each(served: ServedMirror) -> None:
    found = entries(await feed(served, "/gpf/inspire/TWOCRS.xml"))
    assert [entry.findall(f"{ATOM}category")[0].get("term", "").rpartition("/")[2] for entry in found] == ["2154", "2975"]
    assert len({hrefs(entry, "alternate")[-1] for entry in found}) == 1


async def test_a_data_set_is_found_by_its_code_and_its_id(served: ServedMirror) -> None:
    by_code = await served.ask(f"{DESCRIBE}FR-000%20%26%20co")
    by_id = await served.ask(f"{DESCRIBE}PACKED")
    assert (by_code.status, by_id.status, by_code.body == by_id.body) == (200, 200, True)
    assert (await served.ask("/gpf/inspire/PACKED.xml")).body == by_code.body


@pytest.mark.parametrize(
    ("namespace", "status"),
    [
        ("", 200),
        ("{inspire_dls:spatial_dataset_identifier_namespace?}", 200),
        ("https://other.example.org/gpf/inspire/", 200),  # ours, by another name of this host
        ("https://other.example.org/else/", 404),
        ("%0D%0Ax", 404),
    ],
)
async def test_a_namespace_that_is_ours_by_any_name_is_accepted(served: ServedMirror, namespace: str, status: int) -> None:
    answer = await served.ask(f"{DESCRIBE}SINGLE&spatial_dataset_identifier_namespace={namespace}")
    assert answer.status == status


async def test_a_namespace_can_be_looked_at(served: ServedMirror) -> None:
    root = await feed(served, "/gpf/inspire/service.xml")
    (namespace,) = {text_of(one) for one in root.iter(f"{DLS}spatial_dataset_identifier_namespace")}
    assert namespace == f"{served.url}/gpf/inspire/"
    assert (await served.ask(namespace)).status == 200


@pytest.mark.parametrize("crs", ["http://www.opengis.net/def/crs/EPSG/0/5490", "EPSG:5490", "5490", "urn:ogc:def:crs:EPSG::5490"])
async def test_a_crs_is_understood_in_all_spellings(served: ServedMirror, crs: str) -> None:
    root = await feed(served, f"{GET}OVERSEAS&crs={crs}")
    assert [hrefs(entry, "alternate")[-1].rpartition("/")[2] for entry in entries(root)] == [
        "OVERSEAS_1-0_GPKG_RGAF09UTM20_D971_2026-03-15.gpkg"
    ]


async def test_a_crs_that_there_is_nothing_in_finds_nothing_and_says_what_there_is(served: ServedMirror) -> None:
    root = await feed(served, f"{GET}SINGLE&crs=EPSG:3857")
    assert entries(root) == []
    assert "http://www.opengis.net/def/crs/EPSG/0/2154" in member(root, "subtitle")


async def test_without_a_crs_all_are_found(served: ServedMirror) -> None:
    for crs in ("", "&crs=", "&crs={inspire_dls:crs?}", "&crs=%7Binspire_dls:crs?%7D"):
        assert len(entries(await feed(served, f"{GET}OVERSEAS{crs}"))) == 2


async def test_without_a_code_the_answer_says_what_is_missing(served: ServedMirror) -> None:
    for path in (DESCRIBE, GET, f"{GET}%7Binspire_dls:spatial_dataset_identifier_code?%7D"):
        answer = await served.ask(path)
        assert answer.status == 400
        assert "spatial_dataset_identifier_code" in answer.json()["error"]
    assert (await served.ask(f"{GET}{'x' * 400}")).status == 400


@pytest.mark.parametrize(
    "odd", ["http://%5B", "%00", "%FF%FE", "%F0%9F%8C%B2", "'%22%3E%3Cx", "..%2F..%2F", "%0D%0AX:%20y", "%7B%7D", "1" * 250]
)
async def test_odd_values_are_answered_like_others(served: ServedMirror, odd: str) -> None:
    """With an answer or the news that there is none, in well-formed XML, and never with a fault of ours."""
    for path, statuses in (
        (f"{GET}SINGLE&crs={odd}", {200}),
        (f"{GET}{odd}", {404, 400}),
        (f"{DESCRIBE}{odd}", {404, 400}),
        (f"{DESCRIBE}SINGLE&spatial_dataset_identifier_namespace={odd}", {200, 404}),
        (f"{DESCRIBE}SINGLE&language={odd}", {200}),
        (f"/gpf/inspire/search?q={odd}", {200}),
        (f"/gpf/inspire/{odd}.xml", {404}),
        (f"/gpf/inspire/files/SINGLE/{odd}.xml", {404}),
        (f"/gpf/inspire/files/SINGLE/EPSG-2154_GPKG.xml?page={odd}", {404}),
    ):
        answer = await served.ask(path)
        assert answer.status in statuses, path
        if answer.headers["Content-Type"] == "application/atom+xml":
            assert etree.fromstring(answer.body).tag == f"{ATOM}feed"


async def test_what_is_not_there_is_not_found(served: ServedMirror) -> None:
    paths = (
        "/else/inspire/service.xml",
        "/gpf/inspire/ELSE.xml",
        "/gpf/inspire/metadata/dataset/ELSE.xml",
        "/gpf/inspire/dataset/ELSE.html",
        "/gpf/inspire/files/SINGLE/EPSG-4326_GPKG.xml",
        "/gpf/inspire/files/ELSE/EPSG-2154_GPKG.xml",
        "/gpf/inspire/..%2f..%2fetc%2fpasswd.xml",
    )
    for path in paths:
        for method in ("GET", "HEAD"):
            assert (await served.ask(path, method)).status == 404, path


async def test_head_has_what_get_has_and_who_has_it_already_is_told(served: ServedMirror) -> None:
    for path in ("service.xml", "opensearch.xml", "TILES.xml", "files/TILES/EPSG-2154_GPKG.xml", "metadata/service.xml"):
        got, head = await served.ask(f"/gpf/inspire/{path}"), await served.ask(f"/gpf/inspire/{path}", "HEAD")
        assert head.body == b""
        for name in ("Content-Type", "Content-Length", "ETag"):
            assert got.headers[name] == head.headers[name]
        assert (await served.ask(f"/gpf/inspire/{path}", If_None_Match=got.headers["ETag"])).status == 304


async def test_a_search_finds_every_word_whatever_case_and_accents(served: ServedMirror) -> None:
    for words in ("forets LANDES", "FORÊTS", "spaces"):
        text = (await served.ask(f"/gpf/inspire/search?q={words.replace(' ', '+').replace('Ê', '%C3%8A')}")).text
        assert "/gpf/inspire/dataset/SPACES.html" in text
        assert "/gpf/inspire/dataset/TILES.html" not in text
    assert "/gpf/inspire/dataset/" not in (await served.ask("/gpf/inspire/search?q=no+such+thing")).text


async def test_pages_are_in_the_language_of_who_reads(served: ServedMirror) -> None:
    english = await served.ask("/gpf/inspire/search?q=x", Accept_Language="en")
    french = await served.ask("/gpf/inspire/search?q=x", Accept_Language="fr-CA,en;q=0.5")
    assert ('lang="en"' in english.text, "Search the data sets" in english.text) == (True, True)
    assert ('lang="fr"' in french.text, "Rechercher dans les jeux de données" in french.text) == (True, True)
    assert english.headers["Vary"] == french.headers["Vary"] == "Accept-Language, Cookie"


async def test_the_page_of_a_data_set_leads_to_its_editions(served: ServedMirror) -> None:
    """Who comes from a catalogue, by the link of the feed, finds the pages of the mirror."""
    text = (await served.ask("/gpf/inspire/dataset/SPACES.html")).text
    assert f'href="{served.url}/gpf/SPACES"' in text
    assert (await served.ask("/gpf/SPACES", Accept="text/html")).status == 200


async def test_nothing_that_is_typed_or_published_is_markup(served: ServedMirror) -> None:
    for path in ("search?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "dataset/SPACES.html", ""):
        text = (await served.ask(f"/gpf/inspire/{path}")).text
        assert "<script" not in text
        assert "<landes>" not in text
    assert "&lt;landes&gt;" in (await served.ask("/gpf/inspire/dataset/SPACES.html")).text


async def test_a_record_says_what_the_feed_says(served: ServedMirror) -> None:
    record = await feed(served, "/gpf/inspire/metadata/dataset/OVERSEAS.xml")
    identifier = record.find(f".//{GMD}citation//{GMD}RS_Identifier")
    assert identifier is not None
    assert [text_of(one) for one in identifier.iter(f"{GCO}CharacterString")] == ["OVERSEAS", f"{served.url}/gpf/inspire/"]
    entry = next(
        one
        for one in entries(await feed(served, "/gpf/inspire/service.xml"))
        if f"{served.url}/gpf/inspire/metadata/dataset/OVERSEAS.xml" in hrefs(one, "describedby")
    )
    numbers = [float(word) for word in text_of(entry.find(f"{GEORSS}polygon")).split()]
    sides = [float(text_of(one)) for one in record.iter(f"{GCO}Decimal")]
    assert sides == [min(numbers[1::2]), max(numbers[1::2]), min(numbers[::2]), max(numbers[::2])]
    systems = [text_of(one) for one in record.findall(f".//{GMD}MD_ReferenceSystem//{GMX}Anchor")]
    assert systems == [one.get("term") for one in entry.findall(f"{ATOM}category")]
    assert [text_of(one) for one in record.iter(f"{GMD}URL")] == hrefs(entry, "alternate")


async def test_a_record_without_footprint_has_no_box(served: ServedMirror) -> None:
    record = await feed(served, "/gpf/inspire/metadata/dataset/NOWHERE.xml")
    assert record.find(f".//{GMD}EX_GeographicBoundingBox") is None
