"""The pages in a real Chromium: what scripts add works by hand and by keyboard; all can use them, in any light and width."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from mirror.demo.samples import sample_catalogue

from .browser import chromium, looking, needs_chromium
from .served import ServedMirror, served_mirror

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("chromium")]

EDITION = "/gpf/BDTOPO/BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-09-15"
VOLUMES = "/gpf/BDORTHO/BDORTHO_2-0_RVB-0M20_TIFF_LAMB93_D038_2024-01-01"
PATHS = (
    "/",
    "/?q=isere&format=GPKG",
    "/?q=nothing+like+it&zone=D038",
    "/gpf/BDTOPO",
    "/gpf/LiDARHD-MNT?page=2&sort=-size",
    EDITION,
    VOLUMES,
    "/-/status",
    "/gpf/none",
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path_factory.mktemp("pages") / "root", sample_catalogue()) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


LOOKS = (("light", 1280, "en-GB"), ("dark", 360, "fr-FR"), ("dark", 1280, "en-GB"), ("light", 390, "fr-FR"))


@pytest.mark.parametrize(("scheme", "width", "locale"), LOOKS)
async def test_every_page_is_for_everybody(browser: Browser, served: ServedMirror, scheme: str, width: int, locale: str) -> None:
    """Axe finds nothing, nothing is wider than the window, no script fails, no policy is violated, nobody else is asked.

    Each page in both lights, and in both widths.
    """
    turn = LOOKS.index((scheme, width, locale)) // 2
    async with looking(browser, served.url, width=width, scheme=scheme, locale=locale) as looked:
        for path in PATHS[turn::2]:
            await looked.open(path)
            if path == "/gpf/none":
                looked.trouble = [text for text in looked.trouble if "404 (Not Found)" not in text]
            if path in ("/gpf/BDTOPO", EDITION):
                await expect(looked.page.locator(".canvas path.shape").first).to_be_visible()
            assert await looked.faults() == [], path
            assert await looked.overflow() <= 0, path
            assert await looked.page.locator("html").get_attribute("lang") == locale[:2]
            looked.hears_nothing()


async def test_colours_follow_the_light(browser: Browser, served: ServedMirror) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        async with looking(browser, served.url, scheme=scheme) as looked:
            await looked.open("/")
            grounds.append(await looked.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(18, 24, 28)"]


async def test_a_search_by_hand(browser: Browser, served: ServedMirror) -> None:
    """Words and a filter; fields that say nothing are not in the address; from the results to a file."""
    async with looking(browser, served.url) as looked:
        await looked.open("/")
        page = looked.page
        box = page.get_by_role("combobox", name="Words, names, codes")
        await box.fill("savoie")
        await box.press("Tab")  # what was suggested goes away
        await page.get_by_text("Filters", exact=True).click()
        await page.get_by_label("Format").select_option("SHP")
        await page.get_by_role("button", name="Apply").click()
        await page.wait_for_url("**/?q=savoie&format=SHP")
        await expect(page.locator("#results-title")).to_have_text("1 resource with 3 editions that match")
        await page.get_by_role("link", name="BD TOPO®").click()
        await expect(page.get_by_role("row")).to_have_count(4)
        await page.get_by_role("link", name="Edition", exact=True).click()
        await expect(page.get_by_role("columnheader", name="Edition")).to_have_attribute("aria-sort", "descending")
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download").first.click()
        assert (await download.value).suggested_filename == "BDTOPO_3-5_TOUSTHEMES_SHP_LAMB93_D073_2026-09-15.7z"
        looked.hears_nothing()


async def test_suggestions_by_keyboard(browser: Browser, served: ServedMirror) -> None:
    """They open while one types, the arrows choose, Enter goes there, Escape closes; who listens is told how many there are."""
    async with looking(browser, served.url) as looked:
        await looked.open("/")
        page = looked.page
        box = page.get_by_role("combobox", name="Words, names, codes")
        options = page.get_by_role("listbox").get_by_role("option")
        await box.press_sequentially("bdto")
        await expect(options.first).to_be_visible()
        await expect(box).to_have_attribute("aria-expanded", "true")
        await expect(page.locator("[aria-live=polite]").first).to_contain_text("Suggestions: ")
        await box.press("ArrowDown")
        await expect(options.first).to_have_attribute("aria-selected", "true")
        await expect(box).to_have_attribute("aria-activedescendant", "suggestion-0")
        assert await looked.faults() == []
        await box.press("ArrowUp")
        await expect(options.last).to_have_attribute("aria-selected", "true")
        await box.press("Escape")
        await expect(page.get_by_role("listbox")).to_be_hidden()
        await expect(box).to_have_attribute("aria-expanded", "false")
        await box.press("ArrowDown")
        await expect(options.first).to_be_visible()
        await box.press("ArrowDown")
        await box.press("Enter")
        await page.wait_for_url("**/gpf/BDTOPO")
        looked.hears_nothing()


async def test_the_first_tab_leads_to_the_content(browser: Browser, served: ServedMirror) -> None:
    async with looking(browser, served.url) as looked:
        await looked.open("/gpf/BDTOPO")
        await looked.page.keyboard.press("Tab")
        skip = looked.page.get_by_role("link", name="To the content")
        await expect(skip).to_be_focused()
        await expect(skip).to_be_in_viewport()
        await looked.page.keyboard.press("Enter")
        await expect(looked.page.locator("#main")).to_be_focused()


async def test_lines_are_copied(browser: Browser, served: ServedMirror) -> None:
    """Over the clipboard of the browser, or the old way where that is forbidden, as it is over http from another machine."""
    for rights in (("clipboard-read", "clipboard-write"), ("clipboard-read",)):
        async with looking(browser, served.url, rights=rights) as looked:
            await looked.open(EDITION)
            if "clipboard-write" not in rights:
                await looked.page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no')))")
            button = looked.page.get_by_role("button", name="Copy: Fetch one file")
            await button.click()
            await expect(looked.page.locator(".copy", has_text="Copied")).to_be_visible()
            text = await looked.page.evaluate("navigator.clipboard.readText()")
            assert text == f"curl -fLO {served.url}/gpf/download{EDITION.removeprefix('/gpf')}/{EDITION.rpartition('/')[2]}.7z"
            looked.hears_nothing()


async def test_the_language_is_chosen_and_remembered(browser: Browser, served: ServedMirror) -> None:
    async with looking(browser, served.url) as looked:
        await looked.open("/?q=savoie")
        await looked.page.get_by_role("link", name="FR").click()
        await looked.page.wait_for_url("**/?q=savoie&lang=fr")
        await expect(looked.page.get_by_role("button", name="Recherche")).to_be_visible()
        await looked.open("/-/status")
        await expect(looked.page.get_by_role("heading", level=1)).to_have_text("État de ce miroir")


async def test_the_map_finds_what_lies_overseas(browser: Browser, served: ServedMirror) -> None:
    """It offers the places with footprints, and no others."""
    async with looking(browser, served.url) as looked:
        await looked.open("/gpf/BDTOPO")
        place = looked.page.get_by_label("Go to")
        await expect(place).to_be_visible()
        assert await place.locator("option").all_inner_texts() == [
            "all footprints",
            "Metropolitan France",
            "Guadeloupe and Martinique",
        ]
        await place.select_option("Guadeloupe and Martinique")
        guadeloupe = looked.page.locator(".canvas path.shape").last
        await expect(guadeloupe).to_be_in_viewport()
        await guadeloupe.click()
        await looked.page.wait_for_url("**zone=D0971**")
        looked.hears_nothing()


async def test_the_status_refreshes_itself(browser: Browser, served: ServedMirror) -> None:
    """What is new comes by itself; what was opened stays open; nothing comes any more once it is paused."""
    async with looking(browser, served.url) as looked:
        page = looked.page
        await page.clock.install()
        await looked.open("/-/status")
        await page.get_by_text("The last runs, as a table").click()
        await page.get_by_role("heading", level=1).click()
        rows = page.get_by_role("group", name="Runs").get_by_role("row")
        before = await rows.count()
        await served.sync()
        await page.evaluate("document.activeElement.blur()")
        await page.clock.run_for(6000)
        await expect(rows).to_have_count(before + 1)
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("button", name="Go on")).to_be_visible()
        looked.hears_nothing()


async def test_all_is_there_without_scripts(browser: Browser, served: ServedMirror) -> None:
    """The search, the order of a table, the map with the parts overseas, the sums, the lines to copy."""
    async with looking(browser, served.url, js=False) as looked:
        page = looked.page
        await looked.open("/")
        await page.get_by_role("searchbox").fill("bdtopo")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/?q=bdtopo")
        await page.get_by_role("link", name="BD TOPO®").click()
        await expect(page.get_by_role("img", name="Map of Guadeloupe and Martinique: 1 area")).to_be_visible()
        await expect(page.get_by_role("combobox", name="Go to")).to_be_hidden()
        await page.get_by_role("link", name="Size").click()
        await page.wait_for_url("**sort=-size**")
        await page.locator("th a.id").first.click()
        await page.get_by_text("MD5, SHA-256").click()
        await expect(page.get_by_text("SHA-256", exact=True)).to_be_visible()
        looked.hears_nothing()


async def test_on_a_telephone_no_column_is_cut(browser: Browser, served: ServedMirror) -> None:
    """Tables are cards: nothing is wider than the window, sums that are opened included."""
    async with looking(browser, served.url, width=390, locale="fr-FR") as looked:
        for path in (VOLUMES, "/-/status"):
            await looked.open(path)
            for summary in await looked.page.locator("main summary").all():
                await summary.click()
            cut = await looked.page.evaluate(
                "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).length"
            )
            assert cut == 0, path
            assert await looked.overflow() <= 0


async def test_a_long_name_of_an_upstream_fits_a_telephone(browser: Browser, served: ServedMirror) -> None:
    """A mirror of a mirror has a name made of its host, as the parts of a config on the pages give it."""
    async with looking(browser, served.url, width=390, locale="fr-FR") as looked:
        await looked.open("/")
        for place in (".lead a", ".machines dt"):
            name = looked.page.locator(place).first
            await name.evaluate("(one) => { one.textContent = 'mirror-of-the-region-example-org-8420-geoplateforme' }")
            assert await name.evaluate("(one) => one.scrollWidth <= one.clientWidth || one.clientWidth === 0"), place
        assert await looked.overflow() <= 0


async def test_what_is_not_complete_stands_apart_from_the_map(browser: Browser, served: ServedMirror) -> None:
    async with looking(browser, served.url) as looked:
        await looked.open("/gpf/BDTOPO")
        columns = looked.page.locator(".columns")
        await columns.evaluate("(one) => one.insertAdjacentHTML('afterend', '<div class=\"note warn\">1</div>')")
        above, note = await columns.bounding_box(), await looked.page.locator(".note.warn").bounding_box()
        assert above is not None
        assert note is not None
        assert note["y"] >= above["y"] + above["height"] + 8


async def test_the_way_to_the_content_hides_nothing(browser: Browser, served: ServedMirror) -> None:
    async with looking(browser, served.url) as looked:
        await looked.open("/")
        await looked.page.keyboard.press("Tab")
        skip = await looked.page.get_by_role("link", name="To the content").bounding_box()
        brand = await looked.page.locator(".brand").bounding_box()
        assert skip is not None
        assert brand is not None
        assert skip["y"] + skip["height"] <= brand["y"]


async def test_a_map_of_one_department_shows_where_it_is(browser: Browser, served: ServedMirror) -> None:
    """All of the territory around it, and its name, which covers none of it, there and nearer."""
    async with looking(browser, served.url) as looked:
        await looked.open(EDITION)
        canvas, shape = looked.page.locator(".canvas"), looked.page.locator(".canvas path.shape")
        await expect(looked.page.locator(".leaflet-tooltip")).to_have_text("Isère")
        whole, department = await canvas.bounding_box(), await shape.bounding_box()
        assert whole is not None
        assert department is not None
        assert department["width"] < whole["width"] / 5
        label = looked.page.locator(".leaflet-tooltip")
        named = await label.bounding_box()
        assert named is not None
        assert named["y"] + named["height"] <= department["y"]
        await looked.page.get_by_role("button", name="Zoom in").click()
        await expect(looked.page.locator(".leaflet-zoom-anim")).to_have_count(0)
        named, department = await label.bounding_box(), await shape.bounding_box()
        assert named is not None
        assert department is not None
        assert named["y"] + named["height"] <= department["y"]


@pytest.mark.parametrize("locale", ["en-GB", "fr-FR"])
async def test_filters_are_one_row_with_their_button_in_a_wide_window(browser: Browser, served: ServedMirror, locale: str) -> None:
    async with looking(browser, served.url, width=1280, locale=locale) as looked:
        await looked.open("/gpf/BDTOPO")
        feet = []
        for place in (".fields #f-q", ".fields #f-state", ".fields button"):
            box = await looked.page.locator(place).bounding_box()
            assert box is not None
            feet.append(box["y"] + box["height"])
        assert max(feet) - min(feet) < 2, feet
        assert await looked.overflow() <= 0
