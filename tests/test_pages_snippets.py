"""The parts of a config on the pages: they go into one that is there, and take what the page shows or say that they do not."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mirror.config_template import init_text
from mirror.demo.samples import sample_catalogue
from mirror.serving.pages.asked import Asked
from mirror.serving.pages.snippets import MOST_NAMED, Shown, name_of, snippet
from mirror.settings import from_mapping
from mirror.settings.known import KNOWN_UPSTREAMS, RESERVED_NAMES, UPSTREAM_NAME

from .served import ServedMirror, served_mirror
from .test_pages import EDITION, code_blocks, said

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path_factory.mktemp("snippets") / "root", sample_catalogue()) as served:
        yield served


async def test_they_go_into_the_config_that_init_writes(served: ServedMirror, tmp_path: Path) -> None:
    """Beside an upstream that is called as the mirror's own, and beside each other: no name is there twice."""
    config = init_text("gpf", KNOWN_UPSTREAMS["geoplateforme"].url, tmp_path / "other")
    paths = (
        "/gpf/BDTOPO",
        "/gpf/BDTOPO?zone=D038",
        "/gpf/BDTOPO?zone=D038&format=GPKG",
        "/gpf/BDTOPO?zone=D038&format=GPKG&crs=EPSG:2154",
        "/gpf/BDTOPO?zone=D038&from=2026-06-01",
        "/gpf/BDTOPO?zone=D038&from=2026-06-01&to=2026-07-01",
        "/gpf/BDTOPO?state=latest",
        "/gpf/BDTOPO?state=superseded",
        "/gpf/BDTOPO?q=isere",
        EDITION,
    )
    for number, path in enumerate(paths):
        *_, upstream, subscription = code_blocks(await served.ask(path))
        config += f"\n{upstream if not number else ''}\n{subscription}"
    settings = from_mapping(tomllib.loads(config), tmp_path, {})
    assert len(settings.subscription) == len(paths)
    (name,) = settings.upstream.keys() - {"gpf"}
    assert (settings.upstream[name].url, settings.upstream[name].requests_per_second) == (f"{served.url}/gpf/capabilities", 50)
    assert {one.upstream for one in settings.subscription.values()} == {name}


async def test_every_mirror_has_a_name_that_an_upstream_may_have() -> None:
    for upstream in ("geoplateforme", "a", "x" * 64, "A.b_c"):
        for host in ("mirror.example.org", "h", "127.0.0.1:8420", "[::1]:8420", f"{'long.' * 40}example"):
            name = name_of(upstream, f"http://{host}/geo/{upstream}/capabilities")
            assert UPSTREAM_NAME.fullmatch(name)
            assert name not in RESERVED_NAMES
    assert name_of("gpf", "https://mirror.example.org/gpf/capabilities") == "mirror-example-org-gpf"


async def test_what_cannot_be_said_is_taken_by_name_or_said_to_be_more(served: ServedMirror) -> None:
    """A few editions are named. Of many, a comment and the page say that the subscription takes more than is shown."""
    few = await served.ask("/gpf/BDTOPO?q=isere&state=superseded")
    wanted = _subscription(code_blocks(few)[-1])
    assert len(wanted["sub_resources"]) == 4
    assert wanted["edition"] == "all"
    assert "it names the editions that are shown now" in said(few)
    many = await served.ask("/gpf/LiDARHD-MNT?q=lidarhd")
    wanted = _subscription(code_blocks(many)[-1])
    assert "sub_resources" not in wanted
    assert "# Words and some states cannot be said" in code_blocks(many)[-1]
    assert 'class="note warn">Words and some states cannot be said' in many.text
    for path in ("/gpf/BDTOPO?zone=D038&format=gpkg", "/gpf/BDTOPO?state=latest", "/gpf/BDTOPO?from=2026-09-01"):
        assert "cannot be said" not in (await served.ask(path)).text, path
    nothing = await served.ask("/gpf/BDTOPO?q=nothing-like-it")
    assert "it takes 18 editions, not only the 0 that are shown" in said(nothing)


async def test_the_newest_among_days_is_named_one_by_one() -> None:
    """`edition` holds the days or the newest, not both; and a state that would take more now is not left at that."""
    for asked, shown in (
        (Asked(state="latest", start=date(2026, 1, 1)), Shown(1, 1, ["a"])),
        (Asked(state="current"), Shown(1, 2, ["a"])),
    ):
        assert _subscription(snippet("u", "http://h/u/capabilities", None, "R", asked, shown).subscription)["sub_resources"] == [
            "a"
        ]
    most = Shown(MOST_NAMED + 1, MOST_NAMED + 2, ["a"] * MOST_NAMED)
    found = snippet("u", "http://h/u/capabilities", None, "R", Asked(state="current"), most)
    assert found.remark
    assert "sub_resources" not in _subscription(found.subscription)


def _subscription(text: str) -> dict[str, Any]:
    (found,) = tomllib.loads(text)["subscription"].values()
    assert isinstance(found, dict)
    return found
