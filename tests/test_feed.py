"""Feed bytes to pages: the shapes of the live service, and what every reading of them must hold to."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import feedparser
import pytest

from mirror.errors import FeedError
from mirror.model import Page, RemoteFile, Resource, SubResource, Term
from mirror.upstream.feed import parse_capabilities, parse_resource, parse_sub_resource

BASE = "https://data.geopf.fr/telechargement"
LAMBERT_93 = Term("EPSG:2154", "RGF93 v1 / Lambert-93 -- France")
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><feed xmlns:georss="http://www.georss.org/georss" xmlns="http://www.w3.org/2005/Atom"'
    ' xmlns:gpf_dl="https://data.geopf.fr/annexes/ressources/xsd/gpf_dl.xsd" xml:lang="en"'
)

SUB_RESOURCES_XML = f"""{HEAD} gpf_dl:page="2" gpf_dl:pagesize="50" gpf_dl:pagecount="3" gpf_dl:totalentries="101">
  <title> BD TOPO® </title>
  <entry>
    <title>BDTOPO_3-5_D038</title>
    <link href="{BASE}/resource/BDTOPO/BDTOPO_3-5_D038" rel="alternate" type="application/atom+xml"/>
    <id>{BASE}/resource/BDTOPO/BDTOPO_3-5_D038</id>
    <updated>2026-07-07T14:59:00+01:00</updated>
    <content>Isère</content>
    <georss:polygon>44.69 4.74 44.69 6.36 45.88 6.36 45.88 4.74 44.69 4.74</georss:polygon>
    <gpf_dl:editionDate>2026-06-15</gpf_dl:editionDate>
    <category term="https://www.opengis.net/def/crs/EPSG/0/2154" label="{LAMBERT_93.label}"/>
    <gpf_dl:zone term="D038" label="D038 Isère"/>
    <gpf_dl:zone term="D073" label=""/>
    <gpf_dl:zone term="D038" label="D038 Isère"/>
    <gpf_dl:format term="GPKG" label="GPKG (GeoPackage)"/>
    <gpf_dl:resolution term="1m" label="1 m"/>
    <gpf_dl:novelty>ignored</gpf_dl:novelty>
  </entry>
</feed>""".encode()

SUB_RESOURCES_JSON: dict[str, Any] = {
    "page": 2, "pagesize": 50, "pagecount": 3, "totalentries": 101, "title": "BD TOPO®", "lang": "en",
    "entry": [{
        "title": "BDTOPO_3-5_D038",
        "link": [{"href": f"{BASE}/resource/BDTOPO/BDTOPO_3-5_D038", "rel": "alternate", "type": "text/xml", "bbox": None}],
        "id": f"{BASE}/resource/BDTOPO/BDTOPO_3-5_D038",
        "updated": "2026-07-07T14:59:00+01:00",
        "content": "Isère",
        "polygon": "4.74 44.69 6.36 44.69 6.36 45.88 4.74 45.88 4.74 44.69",
        "editionDate": "2026-06-15",
        "category": [{"term": "https://www.opengis.net/def/crs/EPSG/0/2154", "label": LAMBERT_93.label}],
        "zone": [{"term": "D038", "label": "D038 Isère"}, {"term": "D073", "label": ""}, {"term": "D038", "label": "D038 Isère"}],
        "format": {"term": "GPKG", "label": "GPKG (GeoPackage)"},
        "resolution": [{"term": "1m", "label": "1 m"}, {"label": "no code"}, None],
        "novelty": [1, {"ignored": True}],
    }],
}  # fmt: skip

FILES_XML = f"""{HEAD} gpf_dl:page="1" gpf_dl:pagesize="50" gpf_dl:pagecount="1" gpf_dl:totalentries="3"><title>Ortho</title>
  <entry><link href="{BASE}/download/R/S/S.7z.002" rel="section" type="application/octet-stream" gpf_dl:length="1048576"/>
    <id>{BASE}/download/R/S/S.7z.002</id><content>7E78B727D6BE295C486602FB74612074</content>
    <gpf_dl:mime_type>image/jp2</gpf_dl:mime_type><gpf_dl:mime_type>text/plain</gpf_dl:mime_type></entry>
  <entry><link href="{BASE}/download/R/S/S.7z.001" rel="section" type="application/octet-stream" gpf_dl:length="4294967296"/>
    <id>{BASE}/download/R/S/S.7z.001</id><content>d41d8cd98f00b204e9800998ecf8427e</content></entry>
  <entry><link href="{BASE}/download/R/S/S.md5" rel="alternate" type="text/plain" length="37"/>
    <id>{BASE}/download/R/S/S.md5</id><content>not a hash</content></entry>
</feed>""".encode()


def files(*entries: object, **members: object) -> Page[RemoteFile]:
    return parse_sub_resource(json.dumps({"entry": entries, **members}).encode())


def subs(*entries: object) -> Page[SubResource]:
    return parse_resource(json.dumps({"entry": entries}).encode(), "R")


def test_xml_gives_the_page_with_every_member() -> None:
    page = parse_resource(SUB_RESOURCES_XML, "BDTOPO")
    assert (page.page, page.page_size, page.page_count, page.total, page.title) == (2, 50, 3, 101, "BD TOPO®")
    (sub,) = page.entries
    assert sub.footprint is not None
    assert sub.footprint.bbox == (4.74, 44.69, 6.36, 45.88)
    assert sub == SubResource(
        resource="BDTOPO",
        id="BDTOPO_3-5_D038",
        url=f"{BASE}/resource/BDTOPO/BDTOPO_3-5_D038",
        title="BDTOPO_3-5_D038",
        abstract="Isère",
        updated="2026-07-07T14:59:00+01:00",
        edition_date=date(2026, 6, 15),
        zones=(Term("D038", "D038 Isère"), Term("D073", "")),
        formats=(Term("GPKG", "GPKG (GeoPackage)"),),
        crs=(LAMBERT_93,),
        resolutions=(Term("1m", "1 m"),),
        footprint=sub.footprint,
    )


def test_json_and_xml_of_one_listing_are_equal_pages() -> None:
    assert parse_resource(json.dumps(SUB_RESOURCES_JSON).encode(), "BDTOPO") == parse_resource(SUB_RESOURCES_XML, "BDTOPO")


def test_a_file_has_name_size_hash_and_kind() -> None:
    first, second, side = parse_sub_resource(FILES_XML).entries
    assert first == RemoteFile(
        name="S.7z.002",
        url=f"{BASE}/download/R/S/S.7z.002",
        size=1048576,
        md5="7e78b727d6be295c486602fb74612074",
        media_type="application/octet-stream",
        rel="section",
        contents=("image/jp2", "text/plain"),
    )
    assert second.size == 4294967296
    assert (side.size, side.md5, side.rel) == (37, None, "alternate"), "a length without namespace counts; what is no MD5 does not"


def test_feedparser_reads_the_same_titles_ids_links_lengths_and_hashes() -> None:
    """An independent reader agrees on what it can read."""
    theirs = feedparser.parse(FILES_XML)
    ours = parse_sub_resource(FILES_XML)
    assert theirs.feed.title == ours.title
    assert [entry.id.rsplit("/", 1)[1] for entry in theirs.entries] == [file.name for file in ours.entries]
    assert [(entry.links[0].href, entry.links[0].rel, entry.links[0].type) for entry in theirs.entries] == [
        (file.url, file.rel, file.media_type) for file in ours.entries
    ]
    assert [int(entry.links[0].length) for entry in theirs.entries] == [file.size for file in ours.entries]
    assert [entry.content[0].value.lower() for entry in theirs.entries][:2] == [file.md5 for file in ours.entries][:2]
    theirs, sub = feedparser.parse(SUB_RESOURCES_XML), parse_resource(SUB_RESOURCES_XML, "BDTOPO").entries[0]
    assert (theirs.entries[0].title, theirs.entries[0].updated) == (sub.title, sub.updated)


def test_feedparser_loses_the_page_count_and_repeated_zones() -> None:
    """Why it is no parser of record: a listing could not be proved complete, and zones would be missing."""
    theirs = feedparser.parse(SUB_RESOURCES_XML)
    assert "101" not in repr(theirs.feed)
    assert "D073" not in repr(theirs.entries[0])


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"{BASE}/resource/LiDARHD-NUALID", "LiDARHD-NUALID"),
        (f"{BASE}/resource/R/PARCS.JARDINS/", "PARCS.JARDINS"),
        (f"{BASE}/resource/R/S?apikey=k/x#y", "S"),
        (f"{BASE}/resource/R/S#y?z", "S"),
        (f"{BASE}/resource/R/a%20b+c", "a b+c"),
        (f"{BASE}/resource/R/%252e", "%2e"),
        (f"{BASE}/resource/R/a%2Fb", "a/b"),
        (f"{BASE}/resource/R/%2e%2e", ".."),
        ("BDTOPO", "BDTOPO"),
    ],
)
def test_a_name_is_the_last_segment_decoded_once(url: str, name: str) -> None:
    (sub,) = subs({"id": url}).entries
    (file,) = files({"link": {"href": url}}).entries
    assert (sub.id, file.name) == (name, name)


@pytest.mark.parametrize("url", ["", "https://data.geopf.fr", "https://data.geopf.fr/", "//", "?a=b", None, 5.5e400, [], {"x": 1}])
def test_an_entry_without_a_name_is_one_line_and_costs_no_other(url: object) -> None:
    page = subs({"id": url, "title": "Lost\nsheep"}, {"id": f"{BASE}/resource/R/S"})
    assert [sub.id for sub in page.entries] == ["S"]
    (line,) = page.rejected
    assert "entry 1" in line
    assert r"Lost\nsheep" in line
    assert "\n" not in line


def test_what_is_no_entry_at_all_is_rejected_too() -> None:
    page = subs(None, 3, {"id": "S"}, ["x"])
    assert len(page.entries) == 1
    assert [line.split(":")[0] for line in page.rejected] == ["entry 1", "entry 2", "entry 4"]


def test_a_name_that_is_no_text_is_rejected_rather_than_changed() -> None:
    """Two such names could become one."""
    page = subs({"id": f"{BASE}/resource/R/%E9t%E9"}, {"id": "R/\ud800"})
    assert page.entries == ()
    assert all("not valid UTF-8" in line for line in page.rejected)
    assert len(page.rejected) == 2


def test_id_and_link_stand_in_for_each_other() -> None:
    href = f"{BASE}/download/R/S/a.7z"
    assert subs({"link": {"href": f"{BASE}/resource/R/S"}}).entries[0].id == "S"
    assert files({"id": href}).entries == files({"link": [{"href": href}]}).entries == (RemoteFile("a.7z", href),)


def test_the_first_alternate_or_section_link_is_taken() -> None:
    links = [
        {"rel": "self", "href": "x/self"},
        {"rel": "section"},
        {"rel": "section", "href": "x/a"},
        {"rel": "alternate", "href": "x/b"},
    ]
    (file,) = files({"link": links}).entries
    assert (file.name, file.rel) == ("a", "section")
    (file,) = files({"link": {"rel": "enclosure", "href": "x/c"}}).entries
    assert (file.name, file.rel) == ("c", "enclosure")


def test_no_key_leaves_the_feed() -> None:
    """On the private service every URL carries `?apikey=` [O]."""
    key = "?apikey=SECRET#SECRET"
    entry = {"id": f"{BASE}/download/R/S/a.7z{key}", "link": {"href": f"{BASE}/download/R/S/a.7z{key}"}}
    nameless = {"id": f"https://data.geopf.fr/{key}", "title": "x"}
    garbled = {"id": f"{BASE}/%ff{key}"}
    pages: list[object] = [subs(entry, nameless, garbled), files(entry, nameless, garbled)]
    assert "SECRET" not in repr(pages)


@pytest.mark.parametrize(
    ("length", "size"),
    [(0, 0), (6, 6), ("6", 6), (" 6 ", 6), (-1, None), ("-1", None), (6.0, None), (True, None), (None, None), ("²", None),
     ([6], None), (2**63 - 1, 2**63 - 1), (2**63, None), ("9" * 4000, None), (float("nan"), None), ("6 MB", None)],
)  # fmt: skip
def test_a_size_is_a_whole_number_of_bytes_or_unknown(length: object, size: int | None) -> None:
    (file,) = files({"link": {"href": "x/a", "length": length}}).entries
    assert file.size == size


@pytest.mark.parametrize("content", [None, "", "0" * 31, "0" * 33, "g" * 32, "0" * 31 + "٣", ["0" * 32]])
def test_what_is_no_md5_is_none(content: object) -> None:
    assert files({"id": "a", "content": content}).entries[0].md5 is None


@pytest.mark.parametrize(
    ("text", "day"),
    [("2024-09-16", date(2024, 9, 16)), ("2026-07-07T14:59:00+01:00", date(2026, 7, 7)), (" 2024-09-16 ", date(2024, 9, 16)),
     ("2024-02-30", None), ("16/09/2024", None), ("2024-W01-1", None), ("20240916", None), (None, None), (20240916, None)],
)  # fmt: skip
def test_dates_begin_with_a_day_or_are_none(text: object, day: date | None) -> None:
    (sub,) = subs({"id": "S", "editionDate": text, "updated": text}).entries
    assert sub.edition_date == day
    assert sub.updated == (str(text).strip() if day else None)


def test_an_abstract_may_stand_in_the_summary() -> None:
    assert subs({"id": "S", "summary": " short "}).entries[0].abstract == "short"
    xml = f"{HEAD}><entry><id>S</id><summary>short</summary></entry></feed>".encode()
    assert parse_resource(xml, "R") == subs({"id": "S", "summary": "short"})


def test_markup_inside_xml_content_gives_its_text() -> None:
    xml = f'{HEAD}><entry><id>S</id><content type="xhtml"><div>a <b>b</b><!-- no --><![CDATA[ <c>]]></div></content></entry></feed>'
    assert parse_resource(xml.encode(), "R").entries[0].abstract == "a b <c>"


def test_terms_and_media_types_are_shared_between_entries() -> None:
    """Thousands of entries name the same few zones and formats."""
    entry = {**SUB_RESOURCES_JSON["entry"][0]}
    first, second = subs(entry, {**entry, "id": "S2"}).entries
    assert first.zones is second.zones
    assert first.crs is second.crs
    assert first.footprint is second.footprint
    (other,) = subs({"id": "S3", "zone": {"term": "D038", "label": "D038 Isère"}}).entries
    assert other.zones[0] is first.zones[0]


Parser = Callable[[bytes], object]
PARSERS: list[Parser] = [parse_capabilities, lambda body: parse_resource(body, "R"), parse_sub_resource]


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"Service unavailable", "something else"),
        (b"\xff\xfe<\x00f\x00", "something else"),
        (b"<!DOCTYPE html><html><body>Maintenance</body></html>", "HTML page"),
        (b"\xef\xbb\xbf\n<HTML lang='fr'><p>&nbsp;<br>", "HTML page"),
        (b"<?xml version='1.0'?><!-- x --><html xmlns='http://www.w3.org/1999/xhtml'/>", "HTML page"),
        (b"<ExceptionReport/>", "<ExceptionReport>"),
        (b"<feed><entry/></feed>", "<feed>"),
        (FILES_XML[:-20], "cut short"),
        (f"<!DOCTYPE feed [<!ENTITY e 'x'>]>{HEAD[38:]}><title>&e;</title></feed>".encode(), "DOCTYPE"),
        (f"<!DOCTYPE feed SYSTEM 'file:///etc/hostname'>{HEAD[38:]}></feed>".encode(), "DOCTYPE"),
        (f"{HEAD}><title>&nbsp;</title></feed>".encode(), "cannot be read"),
        (f"{HEAD}>{'<a>' * 100_000}".encode(), "cannot be read"),
        (b'{"entry": [', "cut short"),
        (b'{"entry": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"page": ' + b"9" * 10_000 + b"}", "number"),
        (b'{"entry": "\xff"}', "not UTF-8"),
        (b"[]", "a JSON list"),
        (b'{"error": "no"}', "none of entry"),
        (b'{"entry": "no"}', "list of entries"),
    ],
)
def test_what_is_no_feed_is_a_feed_error_of_one_line_that_says_so(parse: Parser, body: bytes, says: str) -> None:
    with pytest.raises(FeedError) as caught:
        parse(body)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_entity_bomb_does_no_harm() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE feed [<!ENTITY e0 "ha">{entities}]>{HEAD[38:]} gpf_dl:page="&e11;"><title>&e11;</title></feed>'
    with pytest.raises(FeedError):
        parse_capabilities(bomb.encode())


def test_a_page_beyond_the_size_limit_is_refused_unread() -> None:
    with pytest.raises(FeedError, match="at most 100 bytes"):
        parse_capabilities(SUB_RESOURCES_XML, size_limit=100)


def test_a_byte_order_mark_and_blank_lines_are_no_matter() -> None:
    for body in (SUB_RESOURCES_XML, json.dumps(SUB_RESOURCES_JSON).encode()):
        assert parse_resource(b"\xef\xbb\xbf \r\n" + body + b"\n\n", "BDTOPO") == parse_resource(body, "BDTOPO")


def test_latin_1_that_says_so_is_read() -> None:
    xml = "<?xml version='1.0' encoding='ISO-8859-1'?>" + SUB_RESOURCES_XML.decode().partition("?>")[2]
    assert parse_resource(xml.encode("latin-1"), "BDTOPO") == parse_resource(SUB_RESOURCES_XML, "BDTOPO")


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    r"""`"\ud83d"` alone could be kept by no database; a whole pair is a character like another."""
    (sub,) = subs({"id": "S", "title": "a\ud83db", "content": "\U0001f5fa"}).entries
    assert (sub.title, sub.abstract) == ("a\ufffdb", "\U0001f5fa")


FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "fixtures" / "gpf"


def fixture(name: str) -> bytes:
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"the captured feeds are not here: {path}")
    return path.read_bytes()


def test_the_official_capabilities() -> None:
    page = parse_capabilities(fixture("official_capabilities.json"))
    assert (page.page, page.page_size, page.page_count, page.total) == (1, 20, 1, 1)
    (resource,) = page.entries
    assert isinstance(resource, Resource)
    assert resource.footprint is not None
    assert resource.footprint.bbox == (-5.33254008, 41.20611066, 9.85432008, 51.20324649)
    assert (resource.id, resource.title, resource.updated) == ("limites_administratives", "Administrative units", "2024-09-16")
    assert resource.edition_from == resource.edition_to == date(2022, 9, 30)
    assert (resource.zones, resource.formats) == ((Term("FXX", "France métropolitaine"),), (Term("SHP", "Shapefile"),))
    assert resource.crs == (LAMBERT_93,)
    assert resource.abstract.startswith("Limites administratives")


def test_the_official_resource_has_a_multipolygon() -> None:
    (sub,) = parse_resource(fixture("official_resource.json"), "limites_administratives").entries
    assert (sub.resource, sub.id, sub.edition_date) == ("limites_administratives", "departements", date(2022, 9, 30))
    assert sub.footprint is not None
    assert len(sub.footprint.rings) == 2, "Corsica and the mainland"
    assert all(ring[0] == ring[-1] for ring in sub.footprint.rings)


def test_the_official_sub_resource_lists_ten_files() -> None:
    page = parse_sub_resource(fixture("official_subresource.json"))
    assert len(page.entries) == page.total == 10
    assert page.rejected == ()
    folder = FIXTURES / "files" / "limites_administratives" / "departements"
    assert {file.name: file.size for file in page.entries} == {path.name: path.stat().st_size for path in folder.iterdir()}
    assert all(file.md5 and file.rel == "alternate" for file in page.entries)


def test_the_live_entries_of_2026() -> None:
    live = json.loads(fixture("live_entries_2026-09.json"))["download_discovery"]
    name = "ADMIN-EXPRESS-COG-CARTOPLUS_4-0__GPKG_LAMB93_FRA_2026-01-01"
    (sub,) = subs(live["subresource"]).entries
    assert (sub.id, sub.updated, sub.footprint) == (name, "2026-07-07T14:59:00+01:00", None)
    assert sub.zones == (Term("FRA", "FRA France entière"),)
    (file,) = files(live["file"]).entries
    assert (file.name, file.size, file.md5) == (f"{name}.7z", 21683337, "7e78b727d6be295c486602fb74612074")
    assert file.contents[0] == "application/geopackage+sqlite3"


def test_the_live_xml_of_a_resource() -> None:
    page = parse_resource(fixture("versatiles_bdortho_resource_trimmed.xml"), "BDORTHO")
    assert (page.page, page.page_size, page.page_count, page.total, page.title) == (1, 10, 3, 6, "BD ORTHO®")
    assert [sub.id for sub in page.entries] == [sub.title for sub in page.entries]
    assert page.entries[-1].zones == (Term("D971", "D971 Guadeloupe"),)
    assert page.entries[-1].edition_date == date(2022, 1, 1)


def test_the_live_xml_of_a_sub_resource_without_ids() -> None:
    page = parse_sub_resource(fixture("versatiles_bdortho_subresource_trimmed.xml"))
    assert [file.name for file in page.entries] == ["x.md5", "x.7z", "x.7z.001", "readme.pdf"]
    assert page.total is None
