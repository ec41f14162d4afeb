"""The API of the Géoplateforme over the mirror: the members, paging, filters and order of upstream, of what is here."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from lxml import etree

from mirror.demo.catalogue import Catalogue, SampleResource, SampleSub
from mirror.demo.samples import sample_catalogue
from mirror.model import Footprint, Term
from mirror.namespaces import ATOM, GEORSS, GPF_DL
from mirror.serving.geoplateforme.spelling import MIRROR
from mirror.upstream.feed import parse_capabilities, parse_resource

from .served import Answered, ServedMirror, served_mirror
from .upstream import FakeUpstream, publish, simple_catalogue, withdraw

JSON = "application/json"
FILES = simple_catalogue().resources[0].subs[0].files


@pytest.fixture(scope="module")
def samples() -> Catalogue:
    return sample_catalogue()


@pytest.fixture(scope="module")
def synced(samples: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a mirror of the samples, synced once: most of what is asked here changes nothing."""
    root = tmp_path_factory.mktemp("synced")

    async def sync() -> None:
        async with served_mirror(root, samples):
            pass

    with ThreadPoolExecutor() as beside:
        beside.submit(asyncio.run, sync()).result()
    return root


@pytest.fixture
async def served(tmp_path: Path, synced: Path, samples: Catalogue) -> AsyncIterator[ServedMirror]:
    shutil.copytree(synced, tmp_path / "root", symlinks=True)
    async with served_mirror(tmp_path / "root", samples, sync=False) as mirror:
        yield mirror


async def document(served: ServedMirror, path: str) -> dict[str, Any]:
    answer = await served.ask(f"/gpf/{path}", Accept=JSON)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(page: dict[str, Any]) -> list[str]:
    return [entry["id"].rpartition("/")[2] for entry in page["entry"]]


def at_mirror(upstream: str, served: ServedMirror) -> str:
    """A document of upstream's, with the mirror's addresses."""
    return upstream.replace(served.mirror.upstream.base, f"{served.url}/gpf")


# -- as upstream has it


@pytest.mark.parametrize(
    "path",
    [
        "resource/BDTOPO?limit=50",
        "resource/BDTOPO?limit=7&page=2",
        "resource/BDTOPO?zone=D038&format=GPKG",
        "resource/BDTOPO?zone=D0971",  # as upstream spells it; here D971 finds it too
        "resource/BDTOPO?editionDateFrom=2026-06-15&editionDateTo=2026-06-15",
        "resource/BDTOPO?polygon=5,45;6,45;6,46;5,46",
        "resource/BDTOPO?crs=2154&lang=fre",
        "resource/BDORTHO",
        "resource/BDTOPO/{BDTOPO}",
        "resource/BDORTHO/{BDORTHO}?limit=2",
        "resource/BDORTHO/{BDORTHO}?limit=2&page=2",
    ],
)
@pytest.mark.parametrize("accept", [JSON, "application/atom+xml"])
async def test_a_page_is_upstreams_with_our_addresses(served: ServedMirror, samples: Catalogue, path: str, accept: str) -> None:
    """Member by member, in the same order: zones, dates, MD5 and lengths, links, paging."""
    named = {resource.id: resource.listed[0].id for resource in samples.resources}
    path = path.format(**named)
    theirs = await served.ask(f"{served.mirror.upstream.base}/{path}", Accept=accept)
    ours = await served.ask(f"/gpf/{path}", Accept=accept)
    assert (ours.status, ours.headers["Content-Type"]) == (200, theirs.headers["Content-Type"])
    if accept == JSON:
        expected = json.loads(at_mirror(theirs.text, served))
        assert list(ours.json()) == list(expected)
        assert ours.json() | {"updated": None} == expected | {"updated": None}
    else:
        assert undated(ours.text) == undated(at_mirror(theirs.text, served))


def undated(feed: str) -> str:
    """The feed without the date of its head: a resource's is that of its last change here, if that is later."""
    head, entry, rest = feed.partition("<entry>")
    return re.sub(r"<updated>.*?</updated>", "", head) + entry + rest


async def test_the_capabilities_list_what_is_here_of_each_resource(served: ServedMirror) -> None:
    """What describes a resource is upstream's; what depends on what is here is of that."""
    theirs = (await served.ask(f"{served.mirror.upstream.base}/capabilities?limit=50", Accept=JSON)).json()
    ours = await document(served, "capabilities?limit=50")
    assert list(ours) == list(theirs)
    assert [list(entry) for entry in ours["entry"]] == [list(entry) for entry in theirs["entry"]]
    for our, their in zip(ours["entry"], json.loads(at_mirror(json.dumps(theirs["entry"]), served)), strict=True):
        assert our["updated"] >= their["updated"]
        for entry in (our, their):
            entry["updated"] = None
            entry["zone"] = [zone["term"] for zone in entry["zone"]]  # one code has two labels there
        assert our == their


async def test_only_what_is_here_is_listed(tmp_path: Path, samples: Catalogue) -> None:
    async with served_mirror(tmp_path, samples, sync=False) as served:
        served.mirror.tables = {"one": {"resources": ["BDTOPO"], "zones": ["D038"], "formats": ["GPKG"], "edition": "latest"}}
        await served.sync()
        capabilities = await document(served, "capabilities")
        assert ids(capabilities) == ["BDTOPO"]
        (entry,) = capabilities["entry"]
        assert [zone["term"] for zone in entry["zone"]] == ["D038"]
        assert [form["term"] for form in entry["format"]] == ["GPKG"]
        assert (entry["editionDateStart"], entry["editionDateEnd"]) == ("2026-09-15", "2026-09-15")
        assert len(ids(await document(served, "resource/BDTOPO"))) == 1
        assert (await served.ask("/gpf/resource/BDORTHO")).status == 404


async def test_what_the_reader_makes_of_both_spellings_is_the_same(served: ServedMirror) -> None:
    for path in ("capabilities?limit=50", "resource/BDTOPO?limit=50"):
        xml, other = [(await served.ask(f"/gpf/{path}", Accept=accept)).body for accept in ("application/atom+xml", JSON)]
        for parse in (parse_capabilities, partial(parse_resource, resource="BDTOPO")):
            assert parse(xml) == parse(other)
            assert any(entry.footprint for entry in parse(xml).entries)


# -- paging and order


async def test_pages_hold_ten_entries_or_up_to_fifty(tmp_path: Path) -> None:
    async with served_mirror(tmp_path, simple_catalogue(1, 60, 1)) as served:
        facts = []
        for query in ("", "?limit=50", "?limit=1000", "?limit=0", "?limit=x", "?pageSize=3", "?page=2", "?page=7"):
            page = await document(served, f"resource/BDALPHA{query}")
            facts.append((page["page"], page["pagesize"], page["pagecount"], page["totalentries"], len(page["entry"])))
        assert facts == [
            (1, 10, 6, 60, 10),
            (1, 50, 2, 60, 50),
            (1, 50, 2, 60, 50),
            (1, 10, 6, 60, 10),
            (1, 10, 6, 60, 10),
            (1, 10, 6, 60, 10),
            (2, 10, 6, 60, 10),
            (7, 10, 6, 60, 0),
        ]
        whole = [name for page in range(1, 7) for name in ids(await document(served, f"resource/BDALPHA?page={page}"))]
        assert whole == sorted(whole)
        assert len(set(whole)) == 60


async def test_entries_are_sorted_as_asked(served: ServedMirror) -> None:
    by_day = await document(served, "resource/BDTOPO?sortEntriesBy=editionDate&sortEntriesOrder=desc&limit=50")
    days = [entry["editionDate"] for entry in by_day["entry"]]
    assert days == sorted(days, reverse=True)
    by_title = await document(served, "capabilities?sortEntriesBy=title&limit=50")
    titles = [entry["title"] for entry in by_title["entry"]]
    assert titles == sorted(titles)
    backwards = await document(served, "capabilities?sortEntriesBy=title&sortEntriesOrder=desc&limit=50")
    assert [entry["title"] for entry in backwards["entry"]] == titles[::-1]


async def test_a_number_beyond_all_bounds_is_clamped_like_any_other_that_is_too_large(served: ServedMirror) -> None:
    """Never taken for one that was not given: who asks for a page beyond the last gets no entries, not the first ones again."""
    huge = "9" * 30
    assert (await document(served, f"resource/BDTOPO?limit={huge}"))["pagesize"] == 50
    assert ids(await document(served, f"resource/BDTOPO?page={huge}")) == []


# -- filters


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("zone=D0038", {"BDTOPO", "BDORTHO", "LiDARHD-NUALID", "RGEALTI"}),
        ("format=shapefile", {"BDTOPO", "limites_administratives"}),
        ("zone=FRA", {"ADMIN-EXPRESS-COG"}),
        ("zone=nowhere", set()),
        ("crs=EPSG:5490", {"BDTOPO"}),
        ("thematic=Buildings", {"BDTOPO"}),
        ("thematic=BU", {"BDTOPO"}),
        ("editionDateFrom=2027-01-01", set()),
        ("editionDateTo=2024-06-01", {"BDORTHO", "limites_administratives"}),
        ("polygon=-62,16;-61,16;-61,16.6;-62,16.6", {"BDTOPO"}),
    ],
)
async def test_the_capabilities_are_narrowed(served: ServedMirror, query: str, expected: set[str]) -> None:
    known = set(ids(await document(served, "capabilities?limit=50")))
    found = set(ids(await document(served, f"capabilities?limit=50&{query}")))
    assert found == expected & known
    assert not expected or found


async def test_who_asks_what_has_changed_since_a_day_is_told(tmp_path: Path) -> None:
    """Even if upstream's own date is older: what is late here would else be missed for ever by who has seen a later day."""
    async with served_mirror(tmp_path, simple_catalogue(2, 3, 1)) as served:
        day = served.mirror.clock.at.date().isoformat()
        assert ids(await document(served, f"capabilities?updatedFrom={day}")) == ["BDALPHA", "BDBRAVO"]
        served.mirror.clock.pass_(days=3)
        later = served.mirror.clock.at.date().isoformat()
        assert ids(await document(served, f"capabilities?updatedFrom={later}")) == []
        late = SampleSub("BDBRAVO_late", updated="2026-05-05", zones=(Term("D038"),), files=FILES)
        catalogue = publish(served.mirror.upstream.catalogue, "BDBRAVO", late)
        served.mirror.upstream_options["full_listing_every"] = "1d"
        await served.sync(catalogue)
        assert ids(await document(served, f"capabilities?updatedFrom={later}")) == ["BDBRAVO"]
        assert ids(await document(served, f"capabilities?updatedTo={day}")) == ["BDALPHA"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("updatedFrom=yesterday", "updatedFrom"),
        ("editionDateTo=2026-13-01", "editionDateTo"),
        ("polygon=1,2", "polygon"),
        ("polygon=a,b;c,d;e,f", "polygon"),
        ("polygon=200,2;3,4;5,6", "polygon"),
        ("sortEntriesBy=size", "sortEntriesBy"),
        ("sortEntriesOrder=up", "sortEntriesOrder"),
        (f"zone={'x' * 300}", "zone"),
        ("zone=D075&zone=D092", "zone"),
        ("page=1&page=2", "page"),
    ],
)
async def test_what_cannot_be_read_is_said_by_name(served: ServedMirror, query: str, named: str) -> None:
    answer = await served.ask(f"/gpf/capabilities?{query}")
    assert answer.status == 400
    assert answer.json()["error"].startswith((f"{named} must be", f"{named} may be given only once"))


async def test_a_footprint_that_only_its_box_meets_is_left_out(tmp_path: Path) -> None:
    triangle = Footprint((((0.0, 44.0), (4.0, 44.0), (0.0, 48.0), (0.0, 44.0)),))
    sub = SampleSub("T_2026", polygon=triangle, files=FILES)
    async with served_mirror(tmp_path, Catalogue((SampleResource("T", (sub,)),))) as served:

        async def found(*positions: str) -> bool:
            return bool(ids(await document(served, f"resource/T?polygon={';'.join(positions)}")))

        assert await found("1,45", "1.5,45", "1,45.5")  # inside
        assert await found("-5,40", "9,40", "9,50", "-5,50")  # around
        assert await found("1,43", "2,45", "3,43")  # across an edge
        assert not await found("3,47", "3.9,47", "3.9,47.9")  # in the empty corner of its box
        assert not await found("3,47", "3.9,47", "3.9,47.9", "3,47.9")


# -- XML


async def test_positions_are_lon_lat_in_json_and_lat_lon_in_xml(served: ServedMirror) -> None:
    """Each ring of a footprint is a closed polygon of GeoRSS, in the north and east where France lies."""
    page = await document(served, "resource/BDTOPO?zone=D038&limit=1")
    flat = list(map(float, page["entry"][0]["polygon"].split()))
    feed = etree.fromstring((await served.ask("/gpf/resource/BDTOPO?zone=D038&limit=1")).body)
    (polygon,) = feed.findall(f".//{{{GEORSS}}}polygon")
    swapped = list(map(float, (polygon.text or "").split()))
    assert swapped[0::2] == flat[1::2]
    assert swapped[1::2] == flat[0::2]
    assert swapped[:2] == swapped[-2:]
    assert 41 < swapped[0] < 52
    assert feed.get(f"{{{GPF_DL}}}totalentries") == "6"
    assert feed.findtext(f"{{{ATOM}}}id") == f"{served.url}/gpf/resource/BDTOPO"


# -- withdrawn


async def test_what_upstream_has_withdrawn_is_listed_and_marked(tmp_path: Path) -> None:
    catalogue = simple_catalogue(1, 3, 1)
    gone = catalogue.resources[0].subs[1].id
    async with served_mirror(tmp_path, catalogue) as served:
        served.mirror.limits["max_shrink_ratio"] = 1
        served.mirror.clock.pass_(days=8)
        await served.sync(withdraw(catalogue, "BDALPHA", gone))
        entries = {entry["id"].rpartition("/")[2]: entry for entry in (await document(served, "resource/BDALPHA"))["entry"]}
        assert len(entries) == 3
        assert [name for name, entry in entries.items() if entry.get("state") == "withdrawn"] == [gone]
        feed = etree.fromstring((await served.ask(f"/gpf/resource/BDALPHA/{gone}")).body)
        assert feed.findtext(f"{{{MIRROR}}}state") == "withdrawn"
        served.mirror.clock.pass_(days=8)
        await served.sync(Catalogue((replace(catalogue.resources[0], id="BDOTHER"),)))
        (entry, _) = (await document(served, "capabilities"))["entry"]
        assert (entry["id"].rpartition("/")[2], entry["state"]) == ("BDALPHA", "withdrawn")


# -- addresses


async def test_links_begin_with_the_public_url(tmp_path: Path, samples: Catalogue) -> None:
    async with served_mirror(tmp_path, samples, public_url="https://sig.example.org/miroir") as served:
        text = (await served.ask("/gpf/capabilities?limit=50")).text
        assert "https://sig.example.org/miroir/gpf/resource/BDTOPO" in text
        assert urlsplit(served.url).netloc not in text


async def test_without_one_links_begin_as_the_request_did(served: ServedMirror) -> None:
    page = (await served.ask("/gpf/capabilities", Accept=JSON, Host="sig:8420")).json()
    assert page["id"] == "http://sig:8420/gpf/capabilities"


@pytest.mark.parametrize("host", ["evil.example/../x", 'a"onload="x', "a b", "user@host", ""])
async def test_a_host_that_is_none_does_not_come_back(served: ServedMirror, host: str) -> None:
    """It would stand in every link, and a cache on the way would give it to others."""
    assert (await served.ask("/gpf/capabilities", Host=host)).status == 400


async def test_names_are_encoded_in_links_and_found_by_them(tmp_path: Path) -> None:
    files = FILES
    strange = "BDé&<x>%20#{1}"
    catalogue = Catalogue((SampleResource(strange, (SampleSub(f"{strange}_S", files=files),), title='<b>"&'),))
    async with served_mirror(tmp_path, catalogue) as served:
        page = await document(served, "capabilities")
        address = page["entry"][0]["link"][0]["href"]
        assert address == f"{served.url}/gpf/resource/{quote(strange, safe='')}"
        below = (await served.ask(address, Accept=JSON)).json()
        last = (await served.ask(below["entry"][0]["link"][0]["href"], Accept=JSON)).json()
        assert len(last["entry"]) == 2
        assert (await served.ask(address)).text.count("&lt;b&gt;")


# -- HTTP


async def test_who_has_a_page_is_told_so_until_the_index_changes(served: ServedMirror) -> None:
    first = await served.ask("/gpf/capabilities")
    tag = first.headers["ETag"]
    again = await served.ask("/gpf/capabilities", If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    other = await served.ask("/gpf/capabilities", Accept=JSON, If_None_Match=tag)
    assert other.status == 200
    assert other.headers["Vary"] == "Accept"
    served.mirror.tables = {"one": {"resources": ["*"], "edition": "all"}}
    catalogue = publish(served.mirror.upstream.catalogue, "NEW", SampleSub("NEW_1", files=FILES))
    served.mirror.clock.pass_(days=8)
    await served.sync(catalogue)
    changed = await served.ask("/gpf/capabilities", If_None_Match=tag)
    assert changed.status == 200


async def test_head_says_what_get_says(served: ServedMirror) -> None:
    got, told = await served.ask("/gpf/capabilities"), await served.ask("/gpf/capabilities", "HEAD")
    assert (told.status, told.body) == (200, b"")
    assert told.headers["Content-Length"] == str(len(got.body))
    assert told.headers["ETag"] == got.headers["ETag"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed(served: ServedMirror, method: str) -> None:
    answer = await served.ask("/gpf/capabilities", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


async def test_what_nobody_knows_is_not_found(served: ServedMirror) -> None:
    for path in ("/other/capabilities", "/gpf/resource/NONE", "/gpf/resource/BDTOPO/NONE", "/gpf/resource/bdtopo"):
        assert (await served.ask(path)).status == 404, path


async def test_nothing_mirrored_yet_is_an_empty_listing_or_a_service_that_is_not_ready(tmp_path: Path, samples: Catalogue) -> None:
    """Without an index nobody knows what is here: that is no empty mirror, of which a mirror of this one would draw conclusions."""
    async with served_mirror(tmp_path, samples, sync=False) as served:
        answer = await served.ask("/gpf/capabilities")
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        served.mirror.tables = {"none": {"resources": ["NOTHING"]}}
        await served.sync()
        page = await document(served, "capabilities")
        assert (page["totalentries"], page["pagecount"], page["entry"]) == (0, 0, [])


async def test_many_who_ask_at_once_are_answered_alike(served: ServedMirror) -> None:
    answers: list[Answered] = await asyncio.gather(*(served.ask("/gpf/resource/BDTOPO") for _ in range(50)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}


async def test_an_index_that_was_built_anew_is_the_one_that_answers(served: ServedMirror, samples: Catalogue) -> None:
    """The old one is set aside by `sync` where it is damaged: a connection to it would answer for a mirror of before."""
    assert len(ids(await document(served, "capabilities?limit=50"))) == len(samples.resources)
    (served.root / "index.sqlite").write_bytes(b"this is no database" * 1000)
    (served.root / "index.sqlite-wal").unlink(missing_ok=True)
    (served.root / "index.sqlite-shm").unlink(missing_ok=True)
    served.mirror.tables = {"one": {"resources": ["BDTOPO"], "edition": "all"}}
    await served.sync()
    assert "BDTOPO" in ids(await document(served, "capabilities?limit=50"))


async def test_the_mirror_of_an_upstream_that_left_the_config_is_still_served(tmp_path: Path, samples: Catalogue) -> None:
    async with served_mirror(tmp_path, samples) as served, FakeUpstream(simple_catalogue()):
        served.observer.settings = served.observer.settings.model_copy(update={"upstream": {}, "subscription": {}})
        assert len(ids(await document(served, "capabilities?limit=50"))) == len(samples.resources)
