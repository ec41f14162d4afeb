"""The pages as they are sent: what they say, in which language, how much at most; nothing that a feed says is ever markup."""

from __future__ import annotations

import re
import tomllib
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.demo.samples import sample_catalogue
from mirror.geometry import rectangle
from mirror.model import Term
from mirror.planning.selection import matches
from mirror.serving.pages.rendering import POLICY
from mirror.settings import from_mapping

from .served import Answered, ServedMirror, served_mirror
from .upstream import FakeUpstream, faults, simple_catalogue, withdraw

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
EDITION = "/gpf/BDTOPO/BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-09-15"
PATHS = ("/", "/?q=isere&page=2", "/gpf/BDTOPO", EDITION, "/-/status")


class _Tags(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


def links(answer: Answered) -> list[str]:
    return [link for link in _Tags(answer.text).values("href") if not link.startswith("#")]


def said(answer: Answered) -> str:
    return " ".join(" ".join(_Tags(answer.text).words).split())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedMirror]:
    """One for all who only look at it."""
    async with served_mirror(tmp_path_factory.mktemp("served") / "root", sample_catalogue()) as served:
        yield served


# -- every page


async def test_every_page_is_whole_and_guarded(served: ServedMirror) -> None:
    """A strict policy, no script or style of its own, what it depends on; and 304 for who has it, where it is of the index."""
    for path in PATHS:
        answer = await served.ask(path)
        assert answer.status == 200, path
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Vary"] == "Accept-Language, Cookie"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        found = _Tags(answer.text)
        assert not found.values("style"), path
        assert all(attributes.get("src") for tag, attributes in found.tags if tag == "script"), path
        assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")], path
        assert "style" not in [tag for tag, _ in found.tags]
        if path != "/-/status":
            assert (await served.ask(path, If_None_Match=answer.headers["ETag"])).status == 304
        assert (await served.ask(path, "HEAD")).body == b""


async def test_every_link_leads_somewhere(served: ServedMirror) -> None:
    """From the pages, as far as links within the mirror go."""
    seen: set[str] = set()
    waiting = [*PATHS]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = await served.ask(path)
        assert answer.status == 200, path
        if path in PATHS:
            waiting += [link.partition("#")[0] for link in links(answer)]
    assert len(seen) > 60


async def test_static_files_are_kept_for_good_by_their_content(served: ServedMirror) -> None:
    page = await served.ask("/gpf/BDTOPO")
    files = [link for link in [*links(page), *_Tags(page.text).values("src")] if "/-/static/" in link]
    assert len(files) >= 6
    for link in files:
        answer = await served.ask(link, Accept_Encoding="identity")
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert (await served.ask(link, If_None_Match=answer.headers["ETag"])).status == 304
        packed = await served.ask(link, Accept_Encoding="gzip")
        assert packed.headers["Vary"] == "Accept-Encoding"
        if len(answer.body) > 500:
            assert packed.headers["Content-Encoding"] == "gzip"
            assert len(packed.body) < len(answer.body) / 2
    assert "immutable" not in (await served.ask("/-/static/site.css?v=old")).headers["Cache-Control"]
    for name in ("none.css", "..%2frouting.py", "%2e%2e%2f%2e%2e%2fsite.py"):
        assert (await served.ask(f"/-/static/{name}")).status == 404


# -- languages


async def test_the_language_is_that_of_the_address_then_the_cookie_then_the_browser(served: ServedMirror) -> None:
    for headers, query, lang in (
        ({}, "", "en"),
        ({"Accept_Language": "fr-CA, en;q=0.5"}, "", "fr"),
        ({"Accept_Language": "fr", "Cookie": "lang=en"}, "", "en"),
        ({"Cookie": "lang=en"}, "?lang=fr", "fr"),
        ({"Accept_Language": "de"}, "?lang=xx", "en"),
    ):
        answer = await served.ask("/" + query, **headers)
        assert f'<html lang="{lang}">' in answer.text
        assert ("Set-Cookie" in answer.headers) is bool(query)
    cookie = (await served.ask("/gpf/BDTOPO?lang=fr")).headers["Set-Cookie"]
    assert re.fullmatch(r"lang=fr; HttpOnly; Max-Age=31536000; Path=/; SameSite=Lax", cookie)


async def test_amounts_are_written_as_the_language_does(served: ServedMirror) -> None:
    english, french = said(await served.ask(EDITION)), said(await served.ask(EDITION, Accept_Language="fr"))
    assert "2026-09-15" in english
    assert "15/09/2026" in french
    assert "2.1 kB" in english
    assert "2,1 ko" in french
    assert "2,1\u202fko" in (await served.ask(EDITION, Accept_Language="fr")).text


# -- what feeds say is never markup

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7 * 7 }} javascript:alert(3) & ‮"
ODD = "a\"b'c&d;<e>{f}[g]*?#%25+ $(touch x) `y`"


def hostile_catalogue() -> Catalogue:
    sub = SampleSub(
        ODD,
        title=HOSTILE,
        abstract=HOSTILE,
        updated="2026-10-01",
        edition_date="2026-09-01",
        zones=(Term("D0'\"<38", HOSTILE),),
        formats=(Term("<b>GPKG", HOSTILE),),
        crs=(Term("javascript:x", HOSTILE),),
        polygon=rectangle((5.0, 45.0, 6.0, 46.0)),
        files=(SampleFile(f"{ODD}.gpkg", b"x"), SampleFile("javascript:alert(1).7z", b"y")),
    )
    return Catalogue((SampleResource(f"R {ODD}", (sub,), title=HOSTILE, abstract=HOSTILE),), updated="2026-10-01")


async def test_what_a_feed_says_is_shown_and_never_run(tmp_path: Path) -> None:
    async with served_mirror(tmp_path / "root", hostile_catalogue()) as served:
        resource = f"/gpf/{quote(f'R {ODD}', safe='')}"
        for path in (
            "/",
            f"/?q={quote(HOSTILE)}",
            "/?zone=" + quote(HOSTILE),
            resource,
            f"{resource}/{quote(ODD, safe='')}",
            "/-/status",
        ):
            answer = await served.ask(path)
            assert answer.status == 200, path
            found = _Tags(answer.text)
            assert {attributes.get("src") for tag, attributes in found.tags if tag in ("script", "img")} == {
                value for value in found.values("src") if value.startswith("/-/static/")
            }
            assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")], path
            assert all(re.match(r"[/#?]", link) and not link.startswith("//") for link in found.values("href")), path
            assert "49" not in answer.text.partition("<main")[2].partition("7 * 7")[0][-5:]
        shown = said(await served.ask(resource))
        assert HOSTILE.split(" javascript")[0] in shown
        suggested = await served.ask("/-/suggest?q=script")
        assert suggested.headers["Content-Type"].startswith("application/json")
        assert next(one["path"] for one in suggested.json()["suggestions"]) == resource
        for link in links(await served.ask(f"{resource}/{quote(ODD, safe='')}")):
            if not re.match(r"/gpf/(inspire|resource|download)/", link):  # those are of other rooms
                assert (await served.ask(link.partition("#")[0])).status == 200, link


async def test_lines_to_copy_are_quoted(tmp_path: Path) -> None:
    """For a shell, each is one word; the snippet is TOML, and its globs mean this resource and edition and nothing else."""
    async with served_mirror(tmp_path / "root", hostile_catalogue()) as served:
        page = await served.ask(f"/gpf/{quote(f'R {ODD}', safe='')}/{quote(ODD, safe='')}")
        *lines, upstream, subscription = code_blocks(page)
        assert any(line.startswith("curl -fLo ") for line in lines)
        bare = [re.sub("'[^']*'", "", line.replace("""'"'"'""", "")) for line in lines]  # what is in no quotes
        assert not any("$" in line or "`" in line for line in bare)
        config = tomllib.loads(upstream + subscription)
        (name,) = config["subscription"]
        settings = from_mapping({"root": str(tmp_path / "other"), **config}, tmp_path, {})
        wanted = settings.subscription[name]
        assert settings.upstream[wanted.upstream].url == f"{served.url}/gpf/capabilities"
        assert matches(f"R {ODD}", wanted.resources)
        assert not matches(f"R {ODD}x".replace("*?", "zz"), wanted.resources)
        assert matches(ODD, wanted.sub_resources or ())


def code_blocks(answer: Answered) -> list[str]:
    import html

    return [html.unescape(text) for text in re.findall(r'<code translate="no">(.*?)</code></pre>', answer.text, re.DOTALL)]


# -- searching


async def test_words_and_filters_find_what_is_here(served: ServedMirror) -> None:
    for query, heading in (
        ("", "5 resources"),
        ("q=bdtopo", "1 resource with 18 editions that match"),
        ("q=bdtopo+D038&format=gpkg", "1 resource with 3 editions that match"),
        ("q=ISERE", "2 resources with 7 editions that match"),
        ("zone=GLP", "1 resource with 6 editions that match"),
        ("state=latest&zone=D073", "2 resources with 3 editions that match"),
        ("state=superseded&q=bdtopo", "1 resource with 12 editions that match"),
        ("from=2026-09-01&to=2026-09-20", "1 resource with 6 editions that match"),
        ("crs=5490", "1 resource with 6 editions that match"),
        ("q=md5", "1 resource with 2 editions that match"),
        ("q=BDORTHO_2-0_RVB-0M20_TIFF_LAMB93_D038_2024-01-01.7z.002", "1 resource with 1 edition that match"),
        ("q=nothing-like-it", "Nothing here matches."),
        ("q=***", "Nothing here matches."),
        ("q=%22+OR+NOT+%28", "Nothing here matches."),
        ("upstream=other", "Nothing here matches."),
    ):
        answer = await served.ask(f"/?{query}")
        assert f">{heading}</h2>" in answer.text, query


async def test_what_is_mistyped_is_said_and_left_out(served: ServedMirror) -> None:
    answer = await served.ask("/?from=01/02/2026&page=-3&state=odd&sort=none&zone=%00%0a")
    assert answer.status == 200
    assert "“01/02/2026” is not a date" in said(answer)
    assert ">5 resources</h2>" in answer.text
    assert "There is no such page" in said(await served.ask("/?page=99999999999"))
    assert "There is no such page" in said(await served.ask("/gpf/BDTOPO?page=7"))


async def test_suggestions_are_few_and_lead_to_pages(served: ServedMirror) -> None:
    found = (await served.ask("/-/suggest?q=savo")).json()["suggestions"]
    assert ("zone", "D073") in [(one["kind"], one["code"]) for one in found]
    assert 1 < len(found) <= 8
    for one in found:
        assert (await served.ask(one["path"])).status == 200
    assert (await served.ask("/-/suggest?q=")).json() == {"suggestions": []}
    assert (await served.ask("/-/suggest?q=" + "x" * 5000)).json() == {"suggestions": []}


# -- resources and editions


async def test_editions_are_sorted_and_paged_by_links(served: ServedMirror) -> None:
    def ids(answer: Answered) -> list[str]:
        return re.findall(r'<a class="id" href="[^"]*/([^"/]+)"', answer.text)

    whole = ids(await served.ask("/gpf/LiDARHD-MNT?sort=id"))
    rest = ids(await served.ask("/gpf/LiDARHD-MNT?sort=id&page=2"))
    assert (len(whole), len(rest)) == (50, 10)
    assert sorted(whole + rest) == whole + rest
    assert ids(await served.ask("/gpf/LiDARHD-MNT?sort=-id"))[0] == rest[-1]
    sizes = re.findall(r'<td role="cell" class="right">([^<]+)<', (await served.ask("/gpf/LiDARHD-MNT?sort=-size")).text)
    assert sizes[0] == "9.8 kB"


async def test_states_are_told(served: ServedMirror, tmp_path: Path) -> None:
    """What upstream has withdrawn is marked as that, and stays."""
    assert 'class="state superseded"' in (await served.ask("/gpf/BDTOPO")).text
    catalogue = simple_catalogue(1, 3)
    resource, gone = catalogue.resources[0].id, catalogue.resources[0].listed[0].id
    async with served_mirror(tmp_path / "root", catalogue) as other:
        other.mirror.upstream_options["full_listing_every"] = "1s"
        other.mirror.clock.pass_(days=1)
        await other.sync(withdraw(catalogue, resource, gone))
        page = await other.ask(f"/gpf/{resource}/{gone}")
        assert '<span class="state withdrawn">withdrawn</span>' in page.text
        assert "since 2027-01-02" in said(page)
        assert gone in (await other.ask(f"/gpf/{resource}?state=withdrawn")).text


async def test_what_is_not_complete_is_said_openly(tmp_path: Path) -> None:
    """On the page of the resource, with the reason, and on that of the status; it is offered nowhere."""
    catalogue = simple_catalogue(1, 3, 2)
    sub = catalogue.resources[0].listed[0].id
    async with served_mirror(tmp_path / "root", catalogue, sync=False) as served:
        served.mirror.upstream.script(f"*/download/*/{sub}/*-1.bin", [faults.status(403)], forever=True)
        assert (await served.sync()).outcome == "incomplete"
        page = await served.ask(f"/gpf/{catalogue.resources[0].id}")
        assert "1 edition is wanted and not complete here" in said(page)
        assert "403" in said(page)
        assert f'href="/gpf/{catalogue.resources[0].id}/{sub}"' not in page.text
        assert (await served.ask(f"/gpf/{catalogue.resources[0].id}/{sub}")).status == 404
        status = said(await served.ask("/-/status"))
        assert "Parked: wanted, and not to be had yet" in status
        assert "403" in status


async def test_footprints_are_drawn_and_given_as_geojson(served: ServedMirror) -> None:
    page = await served.ask("/gpf/BDTOPO")
    assert 'aria-label="Map of Metropolitan France: 2 areas"' in page.text
    assert 'aria-label="Map of Guadeloupe and Martinique: 1 area"' in page.text
    answer = await served.ask("/-/footprints/gpf/BDTOPO?zone=D038")
    assert answer.headers["Content-Type"] == "application/geo+json"
    (feature,) = answer.json()["features"]
    assert feature["properties"]["label"] == "D038 Isère"
    assert (await served.ask("/-/footprints/gpf/none")).status == 404
    assert len((await served.ask("/-/footprints/gpf/LiDARHD-MNT")).json()["features"]) == 60


# -- bounded


async def test_a_resource_of_thousands_is_a_page_like_others(tmp_path: Path) -> None:
    """4,000 editions with as many footprints: a page of bounded size, of which each filter makes less."""
    async with served_mirror(tmp_path / "root", simple_catalogue(1, 1, 1)) as served:
        multiply(served, 4000)
        resource = served.mirror.rows("SELECT resource FROM resources")[0][0]
        answer = await served.ask(f"/gpf/{resource}")
        assert answer.status == 200
        assert len(answer.body) < 400_000
        assert answer.text.count('<tr role="row">') == 51
        assert len((await served.ask("/-/footprints/gpf/" + resource)).json()["features"]) == 3000
        assert "There are more footprints than can be drawn" in said(answer)
        assert "1 to 50 of 4,001" in said(answer)
        home = await served.ask("/?q=" + resource)
        assert len(home.body) < 30_000
        assert "1 resource with 4,001 editions that match" in said(home)


def multiply(served: ServedMirror, count: int) -> None:
    """Copies of the one edition, each on ground of its own."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(served.root / "index.sqlite")) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(sub_resources)")]
        first = dict(zip(columns, connection.execute("SELECT * FROM sub_resources").fetchone(), strict=True))
        for number in range(count):
            x, y = -4 + number % 100 / 10, 42 + number // 100 / 10
            ring = [[x, y], [x + 0.1, y], [x + 0.1, y + 0.1], [x, y + 0.1], [x, y]]
            row = {
                **first,
                "id": first["id"] + number + 1,
                "sub_resource": f"COPY-{number:05d}",
                "footprint": f'{{"type":"MultiPolygon","coordinates":[[{ring}]]}}',
            }
            marks = ",".join("?" * len(columns))
            connection.execute(f"INSERT INTO sub_resources VALUES ({marks})", [row[column] for column in columns])  # noqa: S608
            connection.execute(
                "INSERT INTO search (rowid, resource, sub_resource, title, abstract, about_resource, labels, files) "
                "VALUES (?, ?, ?, '', '', '', '', '')",
                (row["id"], row["resource"], row["sub_resource"]),
            )
        connection.execute("ANALYZE")  # as a sync does; else SQLite takes it for a table of one row


# -- where it is served, and where there is nothing


async def test_a_mirror_that_is_not_at_the_root_of_its_host(served: ServedMirror, request: pytest.FixtureRequest) -> None:
    """All links within it begin with the path of `public_url`; lines to copy with all of it."""
    served.configure(public_url="https://example.org/geo/mirror")
    request.addfinalizer(lambda: served.configure(public_url=None))
    for path in (*PATHS, "/gpf/none"):
        answer = await served.ask(path, **BROWSER)
        found = _Tags(answer.text)
        for link in [*links(answer), *found.values("src"), *found.values("action"), *found.values("data-suggest")]:
            assert link.startswith("/geo/mirror/"), (path, link)
    assert any("https://example.org/geo/mirror/gpf/download/" in line for line in code_blocks(await served.ask(EDITION)))
    assert (await served.ask("/gpf")).headers["Location"] == "/geo/mirror/?upstream=gpf"
    assert all(one["path"].startswith("/geo/mirror/") for one in (await served.ask("/-/suggest?q=bdtopo")).json()["suggestions"])


async def test_errors_are_pages_for_browsers_and_json_for_programs(served: ServedMirror) -> None:
    for path, status in (
        ("/gpf/none", 404),
        ("/none/BDTOPO", 404),
        ("/gpf/download/a/b/c", 404),
        ("/gpf/capabilities?polygon=x", 400),
    ):
        page = await served.ask(path, **BROWSER, Accept_Language="fr")
        assert page.status == status
        assert '<html lang="fr">' in page.text
        assert page.headers["Content-Security-Policy"] == POLICY
        assert "Accept" in page.headers["Vary"]
        answer = await served.ask(path)
        assert (answer.status, answer.json()["status"]) == (status, status)
    refused = await served.ask("/", "POST", **BROWSER)
    assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD")
    assert "This mirror can only be read." in said(refused)


async def test_without_an_index_pages_say_what_to_do(tmp_path: Path) -> None:
    async with served_mirror(tmp_path / "root", simple_catalogue(1, 1), sync=False) as served:
        for path in ("/", "/gpf/BDTOPO"):
            page = await served.ask(path, **BROWSER)
            assert (page.status, page.headers["Retry-After"]) == (503, "60")
            assert "inspire-mirror sync" in said(page)
        assert (await served.ask("/")).json()["status"] == 503
        status = await served.ask("/-/status", **BROWSER)
        assert status.status == 200
        assert "Nothing has been synced yet." in said(status)
        assert (await served.ask("/other/thing")).status == 404


async def test_an_upstream_of_which_nothing_is_here(tmp_path: Path) -> None:
    async with FakeUpstream(simple_catalogue(1, 1)) as other, served_mirror(tmp_path / "root", simple_catalogue(1, 1)) as served:
        table = served.observer.settings.upstream["gpf"].model_copy(update={"url": other.url})
        served.observer.settings = served.observer.settings.model_copy(
            update={"upstream": {**served.observer.settings.upstream, "later": table}}
        )
        assert "Nothing of later is here yet" in said(await served.ask("/"))
        assert (await served.ask("/later")).headers["Location"] == "/?upstream=later"


async def test_an_index_that_cannot_be_read_is_a_page_too(tmp_path: Path) -> None:
    async with served_mirror(tmp_path / "root", simple_catalogue(1, 1), sync=False) as served:
        served.root.mkdir(exist_ok=True)
        (served.root / "index.sqlite").write_bytes(b"no database" * 100)
        page = await served.ask("/gpf/BDTOPO", **BROWSER)
        assert page.status == 503
        assert "This cannot be answered now" in said(page)
