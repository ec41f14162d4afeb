"""What the capabilities say of the service itself, and in which spelling: they are the first that a client reads of a mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirror.demo.catalogue import SampleSub
from mirror.model import Term

from .served import ServedMirror, served_mirror
from .upstream import publish, simple_catalogue

JSON = "application/json"


async def document(served: ServedMirror, path: str) -> dict[str, Any]:
    answer = await served.ask(f"/gpf/{path}", Accept=JSON)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/JSON", JSON),
        ("application/json, text/plain, */*", JSON),
        ("application/json, application/xml;q=0.9", JSON),
        ("application/json;q=0.5, application/xml", "application/atom+xml"),
        ("application/json;q=0", "application/atom+xml"),
        ("text/html, */*;q=0.8", "application/atom+xml"),
        ("", "application/atom+xml"),
    ],
)
async def test_json_is_for_who_likes_it_no_less_than_xml(tmp_path: Path, accept: str, kind: str) -> None:
    """Media types are the same in any case, and a quality of 0 means: not this (RFC 9110, 8.3.1 and 12.4.2)."""
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1)) as served:
        answer = await served.ask("/gpf/capabilities", Accept=accept)
    assert answer.headers["Content-Type"].partition(";")[0] == kind


@pytest.mark.parametrize(
    "path", ["capabilities", "capabilities?limit=1", "capabilities?limit=1&page=2", "capabilities?zone=nowhere"]
)
async def test_the_capabilities_say_when_the_service_changed_whatever_is_shown_of_it(tmp_path: Path, path: str) -> None:
    """A page, or a filter that finds nothing, does not change the day: upstream's is that of the service, and Atom wants one."""
    catalogue = simple_catalogue(2, 1, 1)
    async with served_mirror(tmp_path, catalogue) as served:
        served.mirror.clock.pass_(days=8)
        late = SampleSub("BDBRAVO_late", updated="2026-12-30", zones=(Term("D038"),), files=catalogue.resources[0].subs[0].files)
        await served.sync(publish(catalogue, "BDBRAVO", late))
        assert (await document(served, path))["updated"] == served.mirror.clock.at.date().isoformat()


async def test_the_head_of_the_capabilities_is_spelt_as_upstreams(tmp_path: Path) -> None:
    """The author has a name and an address, each in its member, and each link to a language the title in that language."""
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1)) as served:
        contact = "SIG de l’Isère <sig@example.org>"
        served.observer.settings = served.observer.settings.model_copy(update={"contact": contact})
        for lang in ("eng", "fre"):
            page = await document(served, f"capabilities?lang={lang}")
            assert page["author"] == {"name": "SIG de l’Isère", "email": "sig@example.org"}
            titles = {link["hreflang"]: link["title"] for link in page["link"] if "hreflang" in link}
            assert titles == {"en": "Mirror of gpf", "fr": "Miroir de gpf"}
            assert page["title"] == titles[page["lang"]]
