"""Who asks for what is not here is told so at once, in one line that says what is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .served import ServedMirror, served_mirror
from .upstream import simple_catalogue

CATALOGUE = simple_catalogue(1, 1, 1)
(SUB,) = CATALOGUE.resources[0].listed
NAME = SUB.files[0].name


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path / "root", CATALOGUE) as mirror:
        yield mirror


NO_UPSTREAM = "there is no upstream 'none' here; there are: gpf"
NO_RESOURCE = "nothing of a resource 'NONE' of 'gpf' is here; /gpf/capabilities lists what is"
NO_SUB = "there is no sub-resource 'NONE' of 'BDALPHA' here that is complete; /gpf/resource/BDALPHA lists those that are"
NO_FILE = f"there is no file 'none.7z' of '{SUB.id}' here; /gpf/download/BDALPHA/{SUB.id}/ lists those that are"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none/capabilities", NO_UPSTREAM),
        ("/none/resource/BDALPHA", NO_UPSTREAM),
        ("/none/download", NO_UPSTREAM),
        ("/none/download/", NO_UPSTREAM),
        (f"/none/download/BDALPHA/{SUB.id}/{NAME}", NO_UPSTREAM),
        ("/gpf/resource/NONE", NO_RESOURCE),
        (f"/gpf/resource/NONE/{SUB.id}", NO_RESOURCE),
        ("/gpf/download/NONE", NO_RESOURCE),
        ("/gpf/download/NONE/", NO_RESOURCE),
        ("/gpf/resource/BDALPHA/NONE", NO_SUB),
        ("/gpf/download/BDALPHA/NONE", NO_SUB),
        ("/gpf/download/BDALPHA/NONE/", NO_SUB),
        ("/gpf/download/BDALPHA/NONE/MD5SUMS", NO_SUB),
        ("/gpf/download/BDALPHA/NONE.meta4", NO_SUB.replace("NONE", "NONE.meta4")),
        (f"/gpf/download/BDALPHA/{SUB.id}/none.7z", NO_FILE),
        (f"/gpf/download/BDALPHA/{SUB.id}/?page=2", "there is nothing at this address"),
        ("/none/inspire/service.xml", NO_UPSTREAM),
        ("/gpf/inspire/NONE.xml", NO_RESOURCE),
        ("/gpf/inspire/metadata/dataset/NONE.xml", NO_RESOURCE),
        ("/none/BDALPHA", NO_UPSTREAM),
        ("/gpf/NONE", NO_RESOURCE),
        ("/gpf/BDALPHA/NONE", NO_SUB),
    ],
)
async def test_the_first_part_that_is_not_here_is_named(served: ServedMirror, path: str, said: str, method: str) -> None:
    answer = await served.ask(path, method)
    assert answer.status == 404
    if method == "GET":
        assert answer.json() == {"error": said, "status": 404}


async def test_what_it_lists_is_there(served: ServedMirror) -> None:
    for said in (NO_RESOURCE, NO_SUB, NO_FILE):
        (path,) = (word for word in said.split() if word.startswith("/"))
        assert (await served.ask(path)).status == 200
    served.configure(public_url="https://mirror.example.org/geo")
    assert "; /geo/gpf/capabilities lists" in (await served.ask("/gpf/download/NONE/")).json()["error"]


async def test_nothing_long_and_nothing_unprintable_comes_back(served: ServedMirror) -> None:
    said = (await served.ask(f"/gpf/resource/{'x' * 4000}")).json()["error"]
    assert len(said) < 250
    said = (await served.ask("/%1b%5b31m%0a/capabilities")).json()["error"]
    assert said.isprintable()


async def test_an_upstream_of_the_config_may_have_nothing_yet(tmp_path: Path) -> None:
    async with served_mirror(tmp_path, simple_catalogue(0, 0, 0)) as served:
        assert (await served.ask("/gpf/download/")).json()["error"] == "nothing of 'gpf' is here yet"
        assert (await served.ask("/gpf/download")).status == 404
        assert (await served.ask("/gpf/capabilities")).status == 200


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/gpf/capabilities/?zone=D075", "/gpf/capabilities?zone=D075"),
        ("/gpf/resource/BDALPHA/", "/gpf/resource/BDALPHA"),
        ("/gpf/BDALPHA/", "/gpf/BDALPHA"),
        (f"/gpf/BDALPHA/{SUB.id}/", f"/gpf/BDALPHA/{SUB.id}"),
        ("/gpf/inspire/service.xml/", "/gpf/inspire/service.xml"),
    ],
)
async def test_a_slash_too_many_leads_to_where_there_is_none(served: ServedMirror, path: str, there: str) -> None:
    answer = await served.ask(path)
    assert (answer.status, answer.headers["Location"]) == (308, there)
    assert (await served.ask(there)).status == 200


@pytest.mark.parametrize("path", ["//evil.example/capabilities/", "//evil.example/x/", "/%2F/x/y/z/", "/gpf/BDALPHA/a/b/c/"])
async def test_no_slash_leads_to_another_host_or_where_nothing_is(served: ServedMirror, path: str) -> None:
    answer = await served.ask(path)
    assert answer.status == 404
    assert "Location" not in answer.headers
