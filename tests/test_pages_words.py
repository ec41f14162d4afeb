"""Nothing on a page was forgotten: what people read is a message of the catalogue, or data."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mirror.language import french
from mirror.observing.health import CODES, Health, judge
from mirror.phrases import phrase
from mirror.serving.origin import Origin
from mirror.serving.pages.asked import asked_of
from mirror.serving.pages.footprints import FRAMES
from mirror.serving.pages.rendering import render
from mirror.serving.pages.resource import edition_facts, resource_facts
from mirror.serving.pages.search import Beside, search_facts
from mirror.serving.pages.status import charts, status_facts
from mirror.store.finding import runs

from .served import served_mirror
from .test_french import HOOK, MARKED, STANDING, unmarked, words
from .test_health import EVERYTHING, ROOTLESS, UNSYNCED, daily
from .upstream import faults, simple_catalogue

_READ = (
    "aria-label",
    "placeholder",
    "title",
    "alt",
    "data-label",
    "data-counted",
    "data-copy",
    "data-copied",
    "data-in",
    "data-out",
)
_OURS = {
    "inspire",
    "mirror",
    "atom",
    "md",
    "sha",
    "meta",
    "sums",
    "en",
    "fr",
    "english",
    "français",
    "utc",
    "ko",
    "mo",
    "min",
    "ms",
    "j",
}


class _Read(HTMLParser):
    """What people read or hear of a page, without what is to be copied or typed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._skipped = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skipped += tag in ("code", "datalist")
        self.found += [value for name, value in attrs if name in _READ and value]

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in ("code", "datalist")

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.found.append(data)


def forgotten(page: bytes, data: set[str]) -> set[str]:
    """The words of a page that are neither in a message nor in what it is about."""
    left = words(unmarked(" \n ".join(_Read(page.decode()).found)))
    return left - data - _OURS


async def test_everything_that_pages_say_is_a_message(tmp_path: Path) -> None:
    catalogue = simple_catalogue(2, 3, 2)
    resource = catalogue.resources[0]
    sub = resource.listed[0]
    async with served_mirror(tmp_path / "root", catalogue, sync=False) as served:
        served.mirror.upstream.script(f"*/download/*/{resource.listed[1].id}/*-1.bin", [faults.status(403)], forever=True)
        await served.sync()
        rows: list[tuple[Any, ...]] = []
        for table in ("resources", "sub_resources", "terms", "parked_files", "stored_files", "subscriptions", "runs"):
            rows += served.mirror.rows(f"SELECT * FROM {table}")  # noqa: S608
        data = words(str(rows)) | words("gpf http elsewhere later zzz")
        origin = Origin("gpf", "http://upstream.example", None)
        nothing = asked_of({})

        async def say(template: str, facts: Any) -> None:
            found = await served.site.readers.ask(facts)
            assert found is not None
            assert forgotten(render(template, MARKED, "", "/", **found), data) == set(), template

        asked = asked_of({"q": resource.id, "from": "x", "state": "current"})
        for question in (nothing, asked, asked_of({"q": "zzz"}), asked_of({"page": "9"})):
            await say(
                "search.html", lambda offer, q=question: search_facts(offer, q, ("gpf", "later"), Beside().read(offer, None)[0])
            )
        for question in (nothing, asked_of({"q": "zzz"}), asked_of({"page": "9"})):
            await say("resource.html", lambda offer, q=question: resource_facts(offer, origin, resource.id, q, "http://h", ""))
        await say("edition.html", lambda offer: edition_facts(offer, origin, resource.id, sub.id, nothing, "http://h", ""))
        last = await served.site.readers.ask(lambda offer: runs(offer, limit=9))
        standing = status_facts(served.site)
        transfer = {"file": sub.id, "size": 10, "done": 5, "bytes_per_second": 10.0, "eta": 3.0}
        # The index and why a sync was refused are quoted, as data.
        quoted = replace(EVERYTHING, index_problem="403", refused="403", failing_hooks=["all"], subscriptions=[daily(name="all")])
        reasons = {reason.code: reason for facts in (quoted, ROOTLESS, UNSYNCED) for reason in judge(facts).reasons}
        assert set(reasons) == set(CODES)
        standing["health"] = Health(tuple(reasons.values()))
        standing["parked"] = []
        standing["live"] = {
            "run": {
                "subscriptions": ["all"],
                "stage": "fetching",
                "seconds": 3.0,
                "bytes_per_second": 9.0,
                "eta": 3.0,
                "files_planned": 3,
                "files_done": 1,
                "bytes_planned": 9,
                "bytes_done": 3,
            },
            "transfers": [transfer, {**transfer, "size": None}],
            "walls": [{"upstream": "gpf", "seconds": 3}],
            "hooks": [{"hook": "all", "subscription": "all", "seconds": 3.0}],
            "waiting": 2,
        }
        standing["hooks"] = [{**HOOK, "hook": "all", "subscription": "all", "message": "403"}]
        standing["not_unpacked"] = [{"resource": "all", "sub_resource": "all", "reason": "403"}]
        standing["unlisted"] = [{"what": "resources", "upstream": "gpf", "reason": "403"}]
        outcomes = (None, "complete", "incomplete", "refused", "unavailable", "interrupted", "running", "killed", "failed")
        standing["document"]["subscriptions"] = [{**STANDING, "subscription": "all", "outcome": outcome} for outcome in outcomes]
        page = render("status.html", MARKED, "", "/-/status", **standing, runs=last, charts=charts(last))
        assert forgotten(page, data) == set()
        told = unescape(render("status.html", french(), "", "/-/status", **standing, runs=last, charts=charts(last)).decode())
        for code in set(CODES) - {"index"}:
            message = reasons[code].message
            assert french().put(message) in told, code
            assert message not in told, code
        page = render(
            "error.html",
            MARKED,
            "",
            "/",
            title=phrase("Search"),
            text=phrase("Search"),
            status=404,
            detail="",
            known=False,
            missing=True,
            asked_for="later",
            upstreams=("gpf",),
        )
        assert forgotten(page, data) == set()
        assert re.search("⟦", page.decode())
    assert all(isinstance(name, type(phrase("x"))) for name, _ in FRAMES)
