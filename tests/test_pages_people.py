"""What people need to find their way: names instead of codes, what is wrong and why, other ways to have it, their language."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.demo.samples import sample_catalogue
from mirror.language import ENGLISH
from mirror.serving.origin import Origin
from mirror.serving.pages.asked import Asked
from mirror.serving.pages.rendering import render
from mirror.serving.pages.resource import edition_facts
from mirror.serving.pages.titles import choices_of, zone_name
from mirror.store.offer import Offer
from mirror.verifying import verify

from .served import ServedMirror, served_mirror
from .test_pages import BROWSER, EDITION, code_blocks, links, said
from .upstream import simple_catalogue

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOLUMES = "/gpf/BDORTHO/BDORTHO_2-0_RVB-0M20_TIFF_LAMB93_D038_2024-01-01"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path_factory.mktemp("people") / "root", sample_catalogue()) as served:
        yield served


async def test_what_verify_found_wrong_is_said_with_the_reason(tmp_path: Path) -> None:
    """On the page of the resource with right numbers; at the top of the status, as /health has it; in the language of who reads."""
    catalogue = simple_catalogue(1, 2, 2)
    resource = catalogue.resources[0].id
    async with served_mirror(tmp_path / "root", catalogue) as served:
        assert "Not all is well" not in said(await served.ask("/-/status"))
        (sub, name), *_ = served.mirror.rows(
            "SELECT s.sub_resource, f.file FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id"
        )
        path = next(path for path in (served.root / "data").rglob(name) if path.parent.name == sub)
        path.chmod(0o644)
        path.write_bytes(b"not what was published")
        await verify(served.mirror.settings, full=True)
        page = said(await served.ask(f"/gpf/{resource}"))
        assert "1 edition is wanted and not complete here" in page
        assert f"{sub} · 1 of 2 files · 1 damaged file: verify found it gone or wrong; the next sync fetches it again" in page
        french = said(await served.ask(f"/gpf/{resource}", Accept_Language="fr"))
        assert "1 fichier endommagé : verify l’a trouvé absent ou altéré" in french.replace("\u202f", " ").replace("\xa0", " ")
        for language in ("en", "fr"):  # machines read English
            health = (await served.ask("/health", Accept_Language=language)).json()
            assert health["status"] == "warning"
            assert health["reasons"][0]["message"] == "1 file of gpf cannot be had; `status` says which and why"
        status = said(await served.ask("/-/status"))
        assert "Not all is well files that cannot be had (gpf): see below" in status
        assert "3 files here" in status
        assert "1 file parked" in status
        assert "3 / 4" in status
        answer = await served.ask("/-/status", Accept_Language="fr")
        assert "Tout ne va pas bien fichiers qui ne peuvent être obtenus (gpf) : voir ci-dessous" in said(answer)
        assert "(gpf)\xa0: " in answer.text


async def test_a_superseded_edition_leads_to_the_newest_at_the_top(served: ServedMirror) -> None:
    """Beside the mark, before all else that the page says; the newest edition leads to no other there."""
    head, old, new = EDITION.removesuffix("2026-09-15"), "2026-03-15", "2026-09-15"
    for language, mark, text in (
        ("en", "superseded", "newest edition: 2026-09-15"),
        ("fr", "remplacée", "édition la plus récente\xa0: 15/09/2026"),
    ):
        answer = await served.ask(head + old, Accept_Language=language)
        top, _, _ = answer.text.partition("<dl")
        assert f'<a href="{head}{new}">{text}</a>' in top
        assert top.index(mark) < top.index(text)
        assert text not in (await served.ask(head + new, Accept_Language=language)).text


async def test_editions_are_named_for_people(served: ServedMirror) -> None:
    for language, title in (("en", "BD TOPO® – Isère – GPKG – 2026-09-15"), ("fr", "BD TOPO® – Isère – GPKG – 15/09/2026")):
        answer = await served.ask(EDITION, Accept_Language=language)
        assert f"<h1>{title}</h1>" in answer.text
        assert EDITION.rpartition("/")[2] in said(answer)
    for path, resource in (("/gpf/BDTOPO", "BDTOPO"), ("/gpf/BDORTHO", "BDORTHO")):
        assert f"{resource} · {resource}" not in said(await served.ask(path))


async def test_suggestions_have_names_and_what_is_current_comes_first(served: ServedMirror) -> None:
    found = [one for one in (await served.ask("/-/suggest?q=tousthemes")).json()["suggestions"] if one["kind"] == "edition"]
    states = [one["state"] for one in found]
    assert states == sorted(states, key=["current", "superseded", "withdrawn"].index)
    assert set(states) == {"current", "superseded"}
    assert all(re.fullmatch(r"BD TOPO® – \w+ – \w+ – 2026-\d\d-\d\d", one["text"]) for one in found)
    french = (await served.ask("/-/suggest?q=tousthemes", Accept_Language="fr")).json()["suggestions"]
    assert "remplacée" in {one.get("state") for one in french}


async def test_a_department_is_found_by_its_number(served: ServedMirror) -> None:
    assert "D038 Isère" in said(await served.ask("/?q=38"))
    assert ">2 resources with 7 editions that match</h2>" in (await served.ask("/?q=38")).text
    zones = [one for one in (await served.ask("/-/suggest?q=38")).json()["suggestions"] if one["kind"] == "zone"]
    assert (zones[0]["code"], zones[0]["text"]) == ("D038", "Isère")


async def test_a_zone_is_listed_once_however_it_is_spelt(served: ServedMirror) -> None:
    assert choices_of("zone", [("D0971", "D0971 Guadeloupe"), ("D971", ""), ("GLP", "Guadeloupe"), ("D038", "D038 Isère")]) == [
        ("D038", "Isère"),
        ("D971", "Guadeloupe"),
    ]
    assert zone_name("FXX", "FXX") == "FXX"
    page = (await served.ask("/gpf/BDTOPO?zone=GLP")).text
    (chosen,) = re.findall(r'<option value="([^"]+)" selected>([^<]+)</option>', page)
    assert chosen == ("D0971", "D0971 · Guadeloupe")


async def test_what_is_fetched_first_is_an_archive(served: ServedMirror) -> None:
    """With all of its volumes; never the file with its sums."""
    one, *_ = code_blocks(await served.ask(EDITION))
    assert one.endswith(".7z")
    first, *_ = code_blocks(await served.ask(VOLUMES))
    assert re.findall(r"7z\.\d+|md5", first) == ["7z.001", "7z.002", "7z.003"]
    names = re.findall(r'<th scope="row" role="rowheader"><a [^>]*>([^<]+)<', (await served.ask(VOLUMES)).text)
    assert names == sorted(names)


async def test_programs_are_led_to_what_is_for_them(served: ServedMirror) -> None:
    home = await served.ask("/")
    assert '<link rel="alternate" type="application/atom+xml" href="/gpf/inspire/service.xml"' in home.text
    for link in (
        "/gpf/inspire/service.xml",
        "/gpf/capabilities",
        "/gpf/download/",
        "/api/openapi.json",
        "/api/changes.atom",
    ):
        assert link in links(home)
        assert (await served.ask(link)).status == 200
    assert "/gpf/inspire/BDTOPO.xml" in links(await served.ask(EDITION))


async def test_below_an_unknown_upstream_it_is_said_which_are_here(served: ServedMirror) -> None:
    page = await served.ask("/nope/BDTOPO", **BROWSER)
    assert "There is no “nope” on this mirror. Here are: gpf" in said(page)
    assert "/?upstream=gpf" in links(page)
    assert "Here are" not in said(await served.ask("/gpf/nope", **BROWSER))


async def test_fields_that_nobody_filled_in_are_not_in_the_address(served: ServedMirror) -> None:
    answer = await served.ask("/?q=bdtopo&zone=&format=&from=&lang=fr")
    assert (answer.status, answer.headers["Location"]) == (303, "/?q=bdtopo&lang=fr")
    assert (await served.ask("/gpf/BDTOPO?q=&zone=")).headers["Location"] == "/gpf/BDTOPO"
    odd = await served.ask("/%2f%2fevil.example/x?q=")
    assert odd.status == 404 or odd.headers["Location"].startswith("/%2F%2F")


async def test_errors_are_in_the_language_of_who_reads(served: ServedMirror, request: pytest.FixtureRequest) -> None:
    served.configure(token="s3cret")  # noqa: S106
    request.addfinalizer(lambda: served.configure(token=None))
    page = await served.ask("/-/status", **BROWSER, Accept_Language="fr")
    assert page.status == 401
    assert said(page).count("jeton est nécessaire") == 1
    assert "this needs a token" not in page.text


async def test_what_cannot_be_had_now_says_when_to_come_back(tmp_path: Path) -> None:
    async with served_mirror(tmp_path / "root", simple_catalogue(1, 1)) as served:
        resource, sub, name = served.mirror.rows(
            "SELECT s.resource, s.sub_resource, f.file FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id"
        )[0]
        next((served.root / "data").rglob(name)).unlink()
        page = await served.ask(f"/gpf/download/{resource}/{sub}/{name}", **BROWSER, Accept_Language="fr")
        assert page.status == 503
        assert "ce fichier n’est pas disponible tant qu’il n’est pas réparé" in said(page)
        assert "Réessayez dans" in said(page)
        assert "dans un instant" not in said(page)


async def test_terms_of_use_lead_to_their_text(served: ServedMirror) -> None:
    origin = Origin("gpf", "https://data.geopf.fr/telechargement/capabilities", None)
    _, _, resource, sub = EDITION.split("/")

    def page(offer: Offer) -> bytes:
        facts = edition_facts(offer, origin, resource, sub, Asked(), "http://h", "")
        assert facts is not None
        return render("edition.html", ENGLISH, "", EDITION, **facts)

    assert b'<a href="https://cartes.gouv.fr/cgu-licences" rel="noopener">' in await served.site.readers.ask(page)
