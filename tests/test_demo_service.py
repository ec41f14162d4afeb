"""The sample upstream: what it lists and serves is what the live service would."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import feedparser
import py7zr
import pytest
from lxml import etree
from yarl import URL

from mirror.demo.body import Pattern, read
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.demo.geopackage import APPLICATION_ID
from mirror.demo.samples import sample_catalogue
from mirror.demo.service import SampleService
from mirror.model import Footprint, Term
from mirror.namespaces import ATOM, GEORSS, GPF_DL

from .upstream import recordings, simple_catalogue

RECORDED = Path(__file__).parents[2] / "shared" / "fixtures" / "gpf"
NEEDS_RECORDINGS = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded responses of the live service are not here")
JSON = {"Accept": "application/json"}


class Read:
    """An answer, read to its end."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def feed(self) -> etree._Element:
        return etree.fromstring(self.body)


async def fetch(url: str, headers: dict[str, str] | None = None, method: str = "GET") -> Read:
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as response:
        return Read(response, await response.read())


@pytest.fixture
async def sample() -> AsyncIterator[SampleService]:
    async with SampleService(sample_catalogue()) as service:
        yield service


LEVELS = (
    "/capabilities",
    "/resource/BDTOPO",
    "/resource/LiDARHD-MNT?limit=50",
    "/resource/LiDARHD-MNT/LiDARHD-MNT_1-0__ASC_LAMB93_AA_2025-04-01?page=2&limit=50",
    "/resource/BDORTHO/BDORTHO_2-0_RVB-0M20_TIFF_LAMB93_D038_2024-01-01",
    "/resource/limites_administratives/departements",
)


@pytest.mark.parametrize("path", LEVELS)
async def test_json_and_xml_carry_the_same(sample: SampleService, path: str) -> None:
    """Counts, ids, MD5 and lengths agree between the two spellings of a page."""
    document = (await fetch(sample.base + path, JSON)).document
    feed = (await fetch(sample.base + path)).feed
    for name in ("page", "pagesize", "pagecount", "totalentries"):
        assert feed.get(f"{{{GPF_DL}}}{name}") == str(document[name])
    entries = feed.findall(f"{{{ATOM}}}entry")
    assert [entry.findtext(f"{{{ATOM}}}id") for entry in entries] == [entry["id"] for entry in document["entry"]]
    assert [entry.findtext(f"{{{ATOM}}}content") for entry in entries] == [entry.get("content") for entry in document["entry"]]
    lengths = [link.get(f"{{{GPF_DL}}}length") for link in feed.iterfind(f"{{{ATOM}}}entry/{{{ATOM}}}link")]
    stated = [entry["link"][0].get("length") for entry in document["entry"]]
    assert lengths == [None if length is None else str(length) for length in stated]


@pytest.mark.parametrize("path", LEVELS)
async def test_feedparser_reads_the_xml(sample: SampleService, path: str) -> None:
    answer = await fetch(sample.base + path)
    parsed = feedparser.parse(io.BytesIO(answer.body))
    assert not parsed.bozo
    assert len(parsed.entries) == len((await fetch(sample.base + path, JSON)).document["entry"])


async def test_json_by_header_or_by_parameter_and_xml_otherwise(sample: SampleService) -> None:
    assert (await fetch(sample.url, JSON)).headers["Content-Type"] == "application/json"
    assert (await fetch(f"{sample.url}?outputFormat=application/json")).document["totalentries"] == 5
    assert (await fetch(sample.url)).feed.tag == f"{{{ATOM}}}feed"


async def test_positions_are_lon_lat_in_json_and_lat_lon_in_xml(sample: SampleService) -> None:
    """In JSON all rings of a footprint stand in one list; in XML each is a polygon of its own."""
    path = f"{sample.base}/resource/BDTOPO?zone=D0971&limit=1"
    positions = (await fetch(path, JSON)).document["entry"][0]["polygon"].split()
    polygons = (await fetch(path)).feed.findall(f".//{{{GEORSS}}}polygon")
    assert len(polygons) > 1
    swapped = " ".join(polygon.text or "" for polygon in polygons).split()
    assert positions[:2] == ["-61.81", "16.31"]
    assert swapped[::2] == positions[1::2]
    assert swapped[1::2] == positions[::2]
    assert len(positions) == 2 * (6 + 5)


@NEEDS_RECORDINGS
@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("/capabilities", "official_capabilities.json"),
        ("/resource/limites_administratives", "official_resource.json"),
        ("/resource/limites_administratives/departements", "official_subresource.json"),
    ],
)
async def test_json_has_the_members_of_the_live_service(sample: SampleService, path: str, recorded: str) -> None:
    """Members, and those of entries and links, are the recorded ones, and of the same types."""
    ours = (await fetch(sample.base + path, JSON)).document
    live = json.loads((RECORDED / recorded).read_text(encoding="utf-8"))
    ours["entry"] = [entry for entry in ours["entry"] if "limites_administratives" in entry["id"]]
    assert shape(ours) == shape(live)


def shape(value: Any) -> Any:
    """Members and types; of a list of objects, all members that occur in it. Null stands for any type."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items() if name not in ("polygon", "bbox")} | {
            name: "positions" for name in ("polygon", "bbox") if name in value
        }
    if isinstance(value, list):
        shapes = [shape(item) for item in value]
        return [{name: item[name] for item in shapes for name in item}] if isinstance(shapes[0], dict) else shapes[:1]
    return type(value)


async def test_pages_are_of_ten_unless_asked_and_of_fifty_at_most(sample: SampleService) -> None:
    url = f"{sample.base}/resource/LiDARHD-MNT"
    for asked, size, count in (
        ("", 10, 6),
        ("?limit=7", 7, 9),
        ("?limit=5000", 50, 2),
        ("?pageSize=50", 10, 6),
        ("?limit=x", 10, 6),
    ):
        document = (await fetch(url + asked, JSON)).document
        assert (document["pagesize"], document["pagecount"], document["totalentries"]) == (size, count, 60)
        assert len(document["entry"]) == size


async def test_pages_together_are_the_listing_in_alphabetical_order(sample: SampleService) -> None:
    url = f"{sample.base}/resource/LiDARHD-MNT?limit=50&page="
    ids = [entry["id"] for page in (1, 2) for entry in (await fetch(f"{url}{page}", JSON)).document["entry"]]
    assert len(ids) == len(set(ids)) == 60
    assert ids == sorted(ids)
    beyond = await fetch(f"{url}3", JSON)
    assert (beyond.status, beyond.body) == (200, b"")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("zone=D073", {"BDORTHO", "BDTOPO"}),
        ("zone=d073", set()),
        ("format=SHP", {"BDTOPO", "limites_administratives"}),
        ("crs=EPSG:5490", {"BDTOPO"}),
        ("crs=4326", {"ADMIN-EXPRESS-COG"}),
        ("updatedFrom=2026-09-29", {"ADMIN-EXPRESS-COG", "BDTOPO"}),
        ("updatedTo=2025-01-01", {"limites_administratives"}),
        ("editionDateFrom=2026-09-15", {"ADMIN-EXPRESS-COG", "BDTOPO"}),
        ("editionDateFrom=2022-01-01&editionDateTo=2022-12-31", {"limites_administratives"}),
        ("polygon=-62,15.9;-61,15.9;-61,16.6;-62,16.6;-62,15.9", {"BDTOPO"}),
    ],
)
async def test_filters_of_the_capabilities(sample: SampleService, query: str, expected: set[str]) -> None:
    document = (await fetch(f"{sample.url}?{query}", JSON)).document
    assert {entry["id"].rpartition("/")[2] for entry in document["entry"]} == expected
    assert document["totalentries"] == len(expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("zone=D038", 6),
        ("zone=D038&format=GPKG", 3),
        ("editionDateFrom=2026-06-01&editionDateTo=2026-07-01", 6),
        ("crs=EPSG:2154", 12),
        ("polygon=4,44;5,44;5,46;4,46;4,44", 6),
        ("updatedFrom=2026-10-01", 18),
    ],
)
async def test_filters_of_a_resource(sample: SampleService, query: str, expected: int) -> None:
    """The same as of the capabilities, without `updated*`."""
    assert (await fetch(f"{sample.base}/resource/BDTOPO?{query}", JSON)).document["totalentries"] == expected


async def test_a_polygon_that_is_none_is_refused(sample: SampleService) -> None:
    assert (await fetch(f"{sample.url}?polygon=here")).status == 400


async def test_an_empty_listing_is_a_feed_without_entries(sample: SampleService) -> None:
    document = (await fetch(f"{sample.url}?zone=D099", JSON)).document
    assert (document["totalentries"], document["pagecount"], document["entry"]) == (0, 0, [])


@pytest.mark.parametrize(
    "path",
    [
        "/resource/NONE",
        "/resource/bdtopo",
        "/resource/BDTOPO/NONE",
        "/download/BDTOPO/NONE/NONE",
        "/resource",
        "/resource/a/b/c",
        "/x",
    ],
)
async def test_unknown_ids_and_paths_are_not_found(sample: SampleService, path: str) -> None:
    assert (await fetch(sample.base + path)).status == 404


async def test_other_methods_are_not_allowed(sample: SampleService) -> None:
    assert (await fetch(sample.url, method="POST")).status == 405


async def test_every_listed_file_downloads_as_stated(sample: SampleService) -> None:
    """Name, length and MD5 of the feed are those of the bytes, for every file of one resource with volumes and side files."""
    base = f"{sample.base}/resource/BDORTHO"
    for sub in (await fetch(base, JSON)).document["entry"]:
        for entry in (await fetch(sub["id"], JSON)).document["entry"]:
            answer = await fetch(entry["link"][0]["href"])
            assert len(answer.body) == entry["link"][0]["length"]
            assert hashlib.md5(answer.body, usedforsecurity=False).hexdigest() == entry["content"]
            assert "ETag" not in answer.headers
            assert "Last-Modified" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=0-99", 206, 0, 100),
        ("bytes=70000-", 206, 70_000, 200_000),
        ("bytes=-5", 206, 199_995, 200_000),
        ("bytes=199999-999999", 206, 199_999, 200_000),
        ("bytes=0-1,5-6", 200, 0, 200_000),
        ("octets=1-2", 200, 0, 200_000),
        ("bytes=200000-", 416, 0, 0),
        ("bytes=5-4", 416, 0, 0),
    ],
)
async def test_ranges(asked: str, status: int, start: int, stop: int) -> None:
    pattern = Pattern(200_000, "range")
    async with SampleService(one_file(SampleFile("f", pattern))) as service:
        answer = await fetch(f"{service.base}/download/R/S/f", {"Range": asked})
    assert (answer.status, answer.body) == (status, read(pattern, start, stop))
    expected = {206: f"bytes {start}-{stop - 1}/200000", 416: "bytes */200000", 200: None}[status]
    assert answer.headers.get("Content-Range") == expected


async def test_validators_and_conditions_where_they_are_wanted() -> None:
    """With them, an unchanged file is a 304, and a range whose condition fails is the whole file."""
    async with SampleService(one_file(SampleFile("f", b"0123456789")), etags=True, last_modified=True) as service:
        url = f"{service.base}/download/R/S/f"
        first = await fetch(url)
        assert first.headers["Last-Modified"] == "Thu, 15 Jan 2026 00:00:00 GMT"
        etag = first.headers["ETag"]
        assert (await fetch(url, {"If-None-Match": etag})).status == 304
        assert (await fetch(url, {"If-Modified-Since": first.headers["Last-Modified"]})).status == 304
        assert (await fetch(url, {"Range": "bytes=5-", "If-Range": etag})).body == b"56789"
        assert (await fetch(url, {"Range": "bytes=5-", "If-Range": '"old"'})).status == 200


async def test_head_states_the_length_without_a_body() -> None:
    async with SampleService(one_file(SampleFile("f", Pattern(10**12)))) as service:
        answer = await fetch(f"{service.base}/download/R/S/f", method="HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "1000000000000", b"")


def test_a_pattern_is_the_same_from_any_position() -> None:
    pattern = Pattern(300_000, "seed")
    whole = read(pattern)
    assert len(whole) == 300_000
    for start, stop in ((0, 1), (65_535, 65_537), (65_536, 131_072), (299_999, 300_000), (5, 5), (0, 0)):
        assert read(pattern, start, stop) == whole[start:stop]
    assert pattern.md5() == hashlib.md5(whole, usedforsecurity=False).hexdigest()
    assert len({whole[at : at + 65_536] for at in range(0, 262_144, 65_536)}) == 4
    assert read(Pattern(3, "a")) != read(Pattern(3, "b"))


async def test_any_member_may_be_missing() -> None:
    """None leaves a member out, a polygon of None is null, and `omit` takes out whatever is named."""
    file = SampleFile("f", b"", md5=None, size=None, rel=None, media_type=None, contents=None, omit=frozenset({"id"}))
    bare = SampleSub(
        "S",
        title=None,
        abstract=None,
        updated=None,
        edition_date=None,
        zones=None,
        formats=None,
        crs=None,
        resolutions=None,
        files=(file,),
        extra=(("novelty", "x"),),
    )
    resource = SampleResource("R", (bare,), title=None, identifier=None, crs=None, omit=frozenset({"polygon", "link"}))
    async with SampleService(Catalogue((resource,), updated=None)) as service:
        pages = [await fetch(service.base + path, JSON) for path in ("/capabilities", "/resource/R", "/resource/R/S")]
        assert (await fetch(f"{service.base}/resource/R")).feed.findtext(f".//{{{GPF_DL}}}novelty") == "x"
    entries = [page.document["entry"][0] for page in pages]
    assert set(entries[0]) == {"id", "zone", "format", "resolution"}
    assert set(entries[1]) == {"id", "link", "polygon", "novelty"}
    assert entries[1]["polygon"] is None
    assert set(entries[2]) == {"link"}
    assert set(entries[2]["link"][0]) == {"href", "bbox"}


async def test_names_are_encoded_in_links_and_decoded_in_requests() -> None:
    """A name may hold anything; its link leads to it."""
    name = "../é #1%2F?.bin"
    async with SampleService(one_file(SampleFile(name, b"x"))) as service:
        link = (await fetch(f"{service.base}/resource/R/S", JSON)).document["entry"][0]["link"][0]["href"]
        assert link.startswith(f"{service.base}/download/R/S/..%2F")
        async with aiohttp.ClientSession() as session, session.get(URL(link, encoded=True)) as response:
            assert await response.read() == b"x"


async def test_a_catalogue_may_be_exchanged_while_the_service_runs(sample: SampleService) -> None:
    sample.catalogue = simple_catalogue(resources=3)
    assert (await fetch(sample.url, JSON)).document["totalentries"] == 3


def test_the_sample_shows_the_oddities_of_the_real_service() -> None:
    """A wrong zone code, null polygons, volumes out of order, a side file before its archive, a mutable name, plain files."""
    catalogue = sample_catalogue()
    subs = {sub.id: (resource, sub) for resource in catalogue.resources for sub in resource.subs}
    names = {sub_id: [file.name for file in sub.files] for sub_id, (_, sub) in subs.items()}
    assert any(sub.zones == (Term("D0971", "D971 Guadeloupe"),) and "_D971_" in sub_id for sub_id, (_, sub) in subs.items())
    assert any(sub.polygon is None for _, sub in subs.values())
    assert any(sub_id.endswith("_LATEST") for sub_id in subs)
    split = names["BDORTHO_2-0_RVB-0M20_TIFF_LAMB93_D038_2024-01-01"]
    assert [name.rpartition(".")[2] for name in split] == ["md5", "003", "002", "001"]
    assert [name.rpartition(".")[2] for name in names["departements"]] == ["cpg", "dbf", "prj", "shp", "shx"]
    assert max(len(resource.subs) for resource in catalogue.resources) > 50
    assert max(len(files) for files in names.values()) > 50


def test_the_sample_is_small_and_the_same_in_every_run() -> None:
    """Two runs list the same MD5 for every file."""
    program = (
        "from mirror.demo.samples import sample_catalogue\n"
        "for r in sample_catalogue().resources:\n"
        "    for s in r.subs:\n"
        "        for f in s.files: print(r.id, s.id, f.name, f.stated_size, f.stated_md5)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    files = [(r, s, f) for r in sample_catalogue().resources for s in r.subs for f in s.files]
    assert run.stdout.splitlines() == [f"{r.id} {s.id} {f.name} {f.stated_size} {f.stated_md5}" for r, s, f in files]
    assert sum(file.body.size for _, _, file in files) < 3_000_000


def test_archives_open_and_hold_what_ign_delivers(tmp_path: Path) -> None:
    """Every archive, split or not, opens and has IGN's folders; the packages in it are GeoPackages with features."""
    packages = 0
    for resource in sample_catalogue().resources:
        for sub in resource.subs:
            parts = sorted((file.name, read(file.body)) for file in sub.files if ".7z" in file.name)
            if not parts:
                continue
            with py7zr.SevenZipFile(io.BytesIO(b"".join(content for _, content in parts))) as archive:
                members = archive.getnames()
                archive.extractall(tmp_path)  # checks every CRC
            assert all(member.startswith(f"{sub.id}/{resource.id}/") for member in members)
            assert any("/1_DONNEES_LIVRAISON_" in member for member in members)
            for member in members:
                if member.endswith(".gpkg"):
                    packages += 1
                    check_geopackage(tmp_path / member, f"EPSG:{sub.crs[0].code[5:]}" if sub.crs else "")
    assert packages == 14


def check_geopackage(path: Path, crs: str) -> None:
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        (table, srs_id) = database.execute("SELECT table_name, srs_id FROM gpkg_contents WHERE data_type = 'features'").fetchone()
        organization = "SELECT organization || ':' || organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE srs_id = ?"
        assert database.execute(organization, (srs_id,)).fetchone() == (crs,)
        column = database.execute("SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (table,)).fetchone()[0]
        blobs = [blob for (blob,) in database.execute(f'SELECT "{column}" FROM "{table}"')]  # noqa: S608 - names of our own
        assert blobs
        for blob in blobs:
            assert blob[:2] == b"GP"
            assert struct.unpack_from("<i", blob, 4) == (srs_id,)
            (count,) = struct.unpack_from("<I", blob, 40 + 9)
            points = struct.unpack_from(f"<{2 * count}d", blob, 40 + 13)
            assert points[:2] == points[-2:]
    finally:
        database.close()


def test_shapefiles_say_their_true_length() -> None:
    """Headers of `.shp` and `.shx` count the words of their files, and the index has an entry for each row of the table."""
    sub = next(sub for resource in sample_catalogue().resources for sub in resource.subs if sub.id == "departements")
    parts = {file.name.rpartition(".")[2]: read(file.body) for file in sub.files}
    for part in ("shp", "shx"):
        assert struct.unpack_from(">i", parts[part], 24)[0] * 2 == len(parts[part])
    rows, head, row = struct.unpack_from("<IHH", parts["dbf"], 4)
    assert (len(parts["shx"]) - 100) // 8 == rows == 2
    assert len(parts["dbf"]) == head + rows * row + 1


@NEEDS_RECORDINGS
async def test_recordings_lead_to_their_own_files() -> None:
    """The recorded feeds, with links to the fake, and the ten files that they list, with the MD5 that they state."""
    async with recordings(RECORDED) as upstream:
        (resource,) = (await fetch(upstream.url, JSON)).document["entry"]
        (sub,) = (await fetch(resource["id"], JSON)).document["entry"]
        files = (await fetch(sub["id"], JSON)).document["entry"]
        assert len(files) == 10
        for entry in files:
            content = (await fetch(entry["id"])).body
            assert hashlib.md5(content, usedforsecurity=False).hexdigest() == entry["content"]
        assert len((await fetch(sub["id"])).feed.findall(f"{{{ATOM}}}entry")) == 10
        assert upstream.count("download", status=200) == 10
        assert (await fetch(f"{upstream.url}?page=2")).body == b""


@NEEDS_RECORDINGS
async def test_recordings_may_keep_the_live_links() -> None:
    async with recordings(RECORDED, verbatim=True) as upstream:
        document = (await fetch(upstream.url, JSON)).document
    assert document == json.loads((RECORDED / "official_capabilities.json").read_text(encoding="utf-8"))


def one_file(file: SampleFile) -> Catalogue:
    ground = Footprint((((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)),))
    return Catalogue((SampleResource("R", (SampleSub("S", polygon=ground, files=(file,)),)),))
