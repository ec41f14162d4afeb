"""How the download service behaves beyond what the guidance asks for: codes, dates, languages, pages, what is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from lxml import etree

from mirror.model import SubResource
from mirror.serving.answers import Answers
from mirror.serving.inspire import representations
from mirror.serving.inspire.crs import UNKNOWN, crs_uri, same_crs
from mirror.serving.inspire.datasets import codes_of
from mirror.serving.inspire.service import Service
from mirror.serving.origin import Origin
from mirror.store.offer import OfferedSub
from mirror.verifying import verify

from ..served import ServedMirror, served_mirror
from .mirrors import shapes, visit, withdrawn
from .suite import failed, findings
from .test_requirements import synced
from .visit import ATOM, DLS, GEORSS, GMD, Element, hrefs, links, member, text_of

GCO, GMX = "{http://www.isotc211.org/2005/gco}", "{http://www.isotc211.org/2005/gmx}"
MIRROR = "{urn:inspire-mirror:feed}"
DESCRIBE, GET = "/gpf/inspire/describe?spatial_dataset_identifier_code=", "/gpf/inspire/get?spatial_dataset_identifier_code="


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path, shapes()) as served:
        yield served


async def feed(served: ServedMirror, path: str) -> Element:
    answer = await served.ask(path)
    assert answer.status == 200, path
    return etree.fromstring(answer.body)


def entries(root: Element) -> list[Element]:
    return root.findall(f"{ATOM}entry")


# -- what is in the feeds


async def test_of_each_series_the_newest_edition(served: ServedMirror) -> None:
    root = await feed(served, "/gpf/inspire/EDITIONS.xml")
    (entry,) = entries(root)
    assert [url.rpartition("/")[2] for url in hrefs(entry, "section")] == [
        "EDITIONS_1-0_GPKG_LAMB93_D038_2026-03-15.gpkg",
        "EDITIONS_1-0_GPKG_LAMB93_D073_2026-03-15.gpkg",
    ]
    assert [link.get("time") for link in links(entry, "section")] == ["2026-03-15"] * 2
    assert [link.get("bbox") for link in links(entry, "section")] == ["44.69 4.74 45.89 6.36"] * 2


async def test_an_edition_found_wrong_gives_way_to_the_one_before(served: ServedMirror) -> None:
    """Until it is mended: its series must not be missing from the feed meanwhile."""
    name = "EDITIONS_1-0_GPKG_LAMB93_D038_2026-03-15"
    path = served.root / "data" / "gpf" / "EDITIONS" / name / f"{name}.gpkg"
    path.write_bytes(b"other")
    await verify(served.mirror.settings)
    (entry,) = entries(await feed(served, "/gpf/inspire/EDITIONS.xml"))
    assert [link.get("time") for link in links(entry, "section")] == ["2025-03-15", "2026-03-15"]
    await served.sync()
    served.site.answers = Answers(served.site.readers)  # on a busy machine the one before would hold for a moment
    (entry,) = entries(await feed(served, "/gpf/inspire/EDITIONS.xml"))
    assert [link.get("time") for link in links(entry, "section")] == ["2026-03-15"] * 2


async def test_what_is_withdrawn_stays_and_is_marked(tmp_path: Path) -> None:
    async with synced(tmp_path, shapes(), withdrawn(shapes())) as served:
        service = {member(entry, "title"): entry for entry in entries(await feed(served, "/gpf/inspire/service.xml"))}
        states = {title: text_of(entry.find(f"{MIRROR}state")) for title, entry in service.items()}
        assert {title for title, state in states.items() if state} == {"Title of TILES"}
        gpkg, shp = entries(await feed(served, "/gpf/inspire/PACKED.xml"))
        assert (gpkg.find(f"{MIRROR}state"), text_of(shp.find(f"{MIRROR}state"))) == (None, "withdrawn")
        assert text_of(shp.find(f"{MIRROR}withdrawnAt")).startswith("2027-01-09")
        (entry,) = entries(await feed(served, "/gpf/inspire/EDITIONS.xml"))
        marks = {link.get("href", "").rpartition("/")[2]: link.get(f"{MIRROR}state") for link in links(entry, "section")}
        assert list(marks.values()) == ["withdrawn", None]
        assert "(retiré par le service amont)" in links(entry, "section")[0].get("title", "")


async def test_a_crs_that_is_not_stated_or_has_no_uri_is_said_to_be_unknown(served: ServedMirror) -> None:
    found = entries(await feed(served, "/gpf/inspire/NOCRS.xml"))
    categories = [category for entry in found for category in entry.findall(f"{ATOM}category")]
    assert [category.get("term") for category in categories] == [UNKNOWN, UNKNOWN]
    assert [category.get("label") for category in categories] == ["système de coordonnées non précisé"] * 2


async def test_an_edition_in_two_crs_is_in_an_entry_of_each(served: ServedMirror) -> None:
    found = entries(await feed(served, "/gpf/inspire/TWOCRS.xml"))
    assert [entry.findall(f"{ATOM}category")[0].get("term", "").rpartition("/")[2] for entry in found] == ["2154", "2975"]
    assert len({hrefs(entry, "alternate")[-1] for entry in found}) == 1


async def test_what_is_much_is_paged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has an end: entries with more files link to a feed with pages. All requirements are met by that too."""
    monkeypatch.setattr(representations, "MOST_LINKS", 1)
    monkeypatch.setattr(representations, "PAGE_FILES", 3)
    async with served_mirror(tmp_path, shapes()) as served:
        assert failed(await findings(visit(served))) == {}
        first = await feed(served, "/gpf/inspire/files/TILES/EPSG-2154_GPKG.xml")
        assert [rel for rel in ("first", "previous", "next", "last") if hrefs(first, rel)] == ["first", "next", "last"]
        second = await feed(served, hrefs(first, "next")[0].removeprefix(served.url))
        assert [rel for rel in ("first", "previous", "next", "last") if hrefs(second, rel)] == ["first", "previous", "last"]
        assert [len(entries(first)), len(entries(second))] == [3, 2]
        for page in ("0", "1", "3", "x", "-1", "99999999999"):
            answer = await served.ask(f"/gpf/inspire/files/TILES/EPSG-2154_GPKG.xml?page={page}")
            assert answer.status == 404, page


def test_files_are_linked_singly_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller ones first, none beyond the limit of an entry, all together within that of a feed."""

    class Sized(representations.Representation):
        files = 0

    def sized(name: str, files: int) -> representations.Representation:
        one = Sized(f"http://example.org/{name}", "", (), "", ())
        object.__setattr__(one, "files", files)
        return one

    found = [sized("a", 5000), sized("b", 4000), sized("c", 5001), sized("d", 5000), sized("e", 4500), sized("f", 5000)]
    singly = representations.linked_singly(found)
    assert [one.slug in singly for one in found] == [True, True, False, True, True, False]


def test_pages_have_every_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an edition is longer than a page."""
    monkeypatch.setattr(representations, "PAGE_FILES", 10)
    sub = SubResource("R", "S", "")
    for counts in ([1], [10], [3, 25, 0, 2], [10, 10], [7, 7, 7, 7]):
        subs = [OfferedSub(n, "gpf", sub, "s", "current", True, None, "2026", count, 0) for n, count in enumerate(counts)]
        one = representations.Representation("http://example.org/", "", (), "", tuple(subs))
        pages = [one.page(number) for number in range(1, one.pages + 1)]
        assert all(0 < sum(limit for _, _, limit in page) <= 10 for page in pages)
        files = [(found.id, at) for page in pages for found, offset, limit in page for at in range(offset, offset + limit)]
        assert files == [(n, at) for n, count in enumerate(counts) for at in range(count)]
        assert one.page(one.pages + 1) == []


# -- codes and namespaces


def test_a_code_is_that_of_the_catalogues_unless_it_would_not_tell() -> None:
    assert codes_of({"A": "x", "B": "y", "C": "", "D": "y", "E": "A", "F": "--", "G": "G"}) == {
        "A": "x",
        "B": "B",  # shared with D
        "C": "C",
        "D": "D",
        "E": "E",  # the id of A
        "F": "F",  # nothing to read in it
        "G": "G",
    }


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


# -- what is asked


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


async def test_an_upstream_of_the_config_of_which_nothing_is_here_is_an_empty_service(served: ServedMirror) -> None:
    for sub in (served.root / "data" / "gpf").iterdir():
        for path in sub.glob("*/*"):
            path.write_bytes(b"x")
    await verify(served.mirror.settings, full=True)
    assert entries(await feed(served, "/gpf/inspire/service.xml")) == []
    for name in ("opensearch.xml", "metadata/service.xml", "search?q=", ""):
        assert (await served.ask(f"/gpf/inspire/{name}")).status == 200


async def test_head_has_what_get_has_and_who_has_it_already_is_told(served: ServedMirror) -> None:
    for path in ("service.xml", "opensearch.xml", "TILES.xml", "files/TILES/EPSG-2154_GPKG.xml", "metadata/service.xml"):
        got, head = await served.ask(f"/gpf/inspire/{path}"), await served.ask(f"/gpf/inspire/{path}", "HEAD")
        assert head.body == b""
        for name in ("Content-Type", "Content-Length", "ETag"):
            assert got.headers[name] == head.headers[name]
        assert (await served.ask(f"/gpf/inspire/{path}", If_None_Match=got.headers["ETag"])).status == 304


# -- the pages for people


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


async def test_nothing_that_is_typed_or_published_is_markup(served: ServedMirror) -> None:
    for path in ("search?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "dataset/SPACES.html", ""):
        text = (await served.ask(f"/gpf/inspire/{path}")).text
        assert "<script" not in text
        assert "<landes>" not in text
    assert "&lt;landes&gt;" in (await served.ask("/gpf/inspire/dataset/SPACES.html")).text


# -- metadata


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


# -- who answers for it, and when


def service(contact: str | None = None, base: str = "https://mirror.example.org", url: str | None = None) -> Service:
    return Service(Origin("gpf", url, contact), base, date(2026, 11, 25), datetime(2026, 11, 25, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("contact", "base", "author", "email", "homepage"),
    [
        ("sig@example.org", "https://m.example.org", "sig@example.org", "sig@example.org", None),
        ("SIG de l’Isère <sig@isere.fr>", "https://m.example.org", "SIG de l’Isère", "sig@isere.fr", None),
        (
            "https://sig.example.org/x",
            "https://m.example.org",
            "https://sig.example.org/x",
            "webmaster@m.example.org",
            "https://sig.example.org/x",
        ),
        ("the GIS team, room 12", "https://m.example.org/geo", "the GIS team, room 12", "webmaster@m.example.org", None),
        (None, "https://m.example.org:8443", "inspire-mirror", "webmaster@m.example.org", None),
        (None, "http://127.0.0.1:8420", "inspire-mirror", "webmaster@mirror.invalid", None),
        (None, "http://[::1]:8420", "inspire-mirror", "webmaster@mirror.invalid", None),
        ("root@localhost", "http://localhost", "root@localhost", "webmaster@mirror.invalid", None),
        ("—", "http://gis", "inspire-mirror", "webmaster@mirror.invalid", None),
    ],
)
def test_a_feed_always_has_an_author_with_an_address(
    contact: str | None, base: str, author: str, email: str, homepage: str | None
) -> None:
    found = service(contact, base)
    assert (found.author, found.email, found.homepage) == (author, email, homepage)


@pytest.mark.parametrize(
    ("changed_at", "moment"),
    [
        ("2026-11-24T10:20:30.123456+00:00", "2026-11-24T10:20:30Z"),
        ("2026-11-24T10:20:30+02:00", "2026-11-24T08:20:30Z"),
        ("2026-11-24T10:20:30", "2026-11-24T10:20:30Z"),
        ("2011-12-31T23:59:59Z", "2012-01-01T00:00:00Z"),
        ("2026-11-25T12:00:01Z", "2026-11-25T00:00:00Z"),  # by a clock gone wrong
        ("2062-01-01T00:00:00Z", "2026-11-25T00:00:00Z"),
        ("", "2012-01-01T00:00:00Z"),
        ("yesterday", "2012-01-01T00:00:00Z"),
    ],
)
def test_dates_have_seconds_and_zone_and_lie_between_2012_and_now(changed_at: str, moment: str) -> None:
    assert service().moment(changed_at) == moment


async def test_what_is_dated_into_the_future_does_not_change_from_moment_to_moment(served: ServedMirror) -> None:
    """A clock that was wrong while syncing is put right: two answers still are the same bytes, and no date is to come."""
    served.mirror.clock.pass_(days=-30)
    first = (await served.ask("/gpf/inspire/service.xml")).body
    served.mirror.clock.pass_(minutes=5)
    assert (await served.ask("/gpf/inspire/service.xml")).body == first
    updated = {text_of(one) for one in etree.fromstring(first).iter(f"{ATOM}updated")}
    assert updated == {"2026-12-02T00:00:00Z"}
    assert failed(await findings(visit(served))) == {}


def test_terms_of_use_are_the_publishers() -> None:
    geoplateforme = service(url="https://data.geopf.fr/telechargement/capabilities")
    assert geoplateforme.rights.endswith("https://cartes.gouv.fr/cgu-licences")
    assert service(url="https://example.org/x").rights == "Conditions indiquées par le producteur\u00a0: https://example.org/x"
    assert service().rights == "Conditions indiquées par le producteur"


async def test_public_url_is_what_all_links_start_with(served: ServedMirror) -> None:
    own = (await served.ask("/gpf/inspire/service.xml")).text
    served.configure(public_url="https://mirror.example.org/geo/")
    public = (await served.ask("/gpf/inspire/service.xml")).text
    assert served.url in own
    assert served.url not in public
    assert 'href="https://mirror.example.org/geo/gpf/inspire/SINGLE.xml"' in public


# -- codes of CRS


@pytest.mark.parametrize(
    ("code", "uri"),
    [
        ("EPSG:2154", "http://www.opengis.net/def/crs/EPSG/0/2154"),
        ("https://www.opengis.net/def/crs/EPSG/0/2154", "http://www.opengis.net/def/crs/EPSG/0/2154"),
        ("OGC:CRS84", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"),
        ("https://example.org/crs/1", "https://example.org/crs/1"),
        ("IGNF:LAMB93", UNKNOWN),
        ("", UNKNOWN),
        ("http://x y", UNKNOWN),
    ],
)
def test_a_crs_is_named_by_its_uri(code: str, uri: str) -> None:
    assert crs_uri(code) == uri


def test_nothing_but_unknown_is_the_same_as_unknown() -> None:
    assert same_crs(UNKNOWN, UNKNOWN)
    assert not same_crs("IGNF:LAMB93", UNKNOWN)
    assert not same_crs(UNKNOWN, "http://www.opengis.net/def/crs/EPSG/0/2154")


def test_addresses_of_representations_are_their_own() -> None:
    """Whatever formats are called: two that are cleaned to one name, a long one, several at once."""
    base = representations.Representation("http://www.opengis.net/def/crs/EPSG/0/2154", "", ("GPKG",), "", ())
    names = [
        replace(base, formats=forms).slug for forms in (("GPKG",), ("A/B",), ("A-B",), ("A", "B"), (), ("X" * 300,), ("É",), ("È",))
    ]
    assert names[0] == "EPSG-2154_GPKG"
    assert len(set(names)) == len(names)
    assert all(len(name) < 200 and name.isascii() and "/" not in name for name in names)
