"""Whatever goes wrong on the way or at the publisher: no wrong byte is published, no published file is lost, no gap is silent.

Each fault is met by a whole sync over sockets: once, after which all must be right; and for ever, after which all else must be
right, what is missing must be told, and the next run without the fault must put it right.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.events import Walled
from mirror.verifying import verify

from .mirrored import HASTE, Mirrored, edition, offered, only, rewritten, without
from .test_crawl import document, members
from .upstream import FakeUpstream, Fault, faults, on_page, publish, replace_file, simple_catalogue, withdraw

CATALOGUE = simple_catalogue(resources=2, subs=3, files=2)
ALL = offered(CATALOGUE)
ALPHA, BRAVO = CATALOGUE.resources
SUB = ALPHA.listed[0]
FILE = SUB.files[0]
FEEDS = ("capabilities", "resource", "sub-resource")
CHILD = {"resource": "/resource/BDALPHA", "sub-resource": f"/resource/BDALPHA/{SUB.id}", "download": f"/download/*/{FILE.name}"}
"""One request of each level below the capabilities."""


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    made = Mirrored(tmp_path / "root", upstream)
    made.patience = replace(HASTE, idle=0.5)
    return made


async def sound(mirror: Mirrored) -> None:
    """Every published file is what the index says it is, and nothing is left in staging."""
    findings = await verify(mirror.settings, full=True, now=mirror.clock)
    assert (findings.faults, findings.foreign) == ([], [])


async def complete(mirror: Mirrored) -> None:
    """A sync after which everything is here."""
    report = await mirror.sync()
    assert (report.outcome, report.exit_code, report.failed) == ("complete", 0, [])
    assert report.account.agrees
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    assert mirror.staged() == []
    await sound(mirror)


# -- once, and for ever

PASSING: dict[str, Fault] = {
    "cut at the first byte": faults.cut_after(1),
    "cut in the middle": faults.cut_after(300),
    "no answer": faults.close_before_response(),
    "silence": faults.stall(10),
    "HTTP 500": faults.status(500),
    "HTTP 502": faults.status(502),
    "HTTP 503": faults.status(503),
    "HTTP 504": faults.status(504),
    "HTTP 429": faults.retry_after(429, 0),
    "HTTP 503 with a wall": faults.retry_after(503, 0),
    "HTML with 200": faults.html_200(),
    "half the body, with its length": faults.truncated_body(),
    "nothing, with 200": faults.status(200, {"Content-Type": "application/json"}),
    "packed": faults.gzip_body(),
}
"""What may befall any request, and pass."""

OF_FILES: dict[str, Fault] = {
    "a wrong byte": faults.wrong_bytes(7),
    "a byte too many": faults.wrong_length(1),
    "a byte too few": faults.wrong_length(-1),
    "cut before the last byte": faults.cut_after(999),
    "HTTP 404": faults.status(404),
    "HTTP 416": faults.status_416(),
}

OF_PAGES: dict[str, Fault] = {
    "a total too high": document(lambda found: found.update(totalentries=found["totalentries"] + 1)),
    "a total too low": document(lambda found: found.update(totalentries=found["totalentries"] - 1)),
    "no total": members(totalentries=None, pagecount=None),
    "another page": members(page=2),
    "an entry less": document(lambda found: found["entry"].pop()),
    "a page count too high": members(pagecount=3),
    "no feed": faults.status(200, {"Content-Type": "application/json"}, b'{"error": "maintenance"}'),
}


@pytest.mark.parametrize("level", [*FEEDS, "download"])
@pytest.mark.parametrize("fault", PASSING)
async def test_what_passes_leaves_no_trace(mirror: Mirrored, level: str, fault: str) -> None:
    mirror.patience = replace(mirror.patience, retry_for=30)
    mirror.upstream.script(level, [PASSING[fault]])
    await complete(mirror)


@pytest.mark.parametrize("fault", OF_FILES)
async def test_a_file_that_comes_wrong_is_fetched_again(mirror: Mirrored, fault: str) -> None:
    mirror.upstream.script("download", [OF_FILES[fault]] * 2)
    await complete(mirror)


@pytest.mark.parametrize("level", FEEDS)
@pytest.mark.parametrize("fault", OF_PAGES)
async def test_a_page_that_lies_is_read_again(mirror: Mirrored, level: str, fault: str) -> None:
    mirror.upstream.script(level, [OF_PAGES[fault]])
    await complete(mirror)


LASTING = {**PASSING, "HTTP 403": faults.status(403), "HTTP 401": faults.status(401), "HTTP 410": faults.status(410)}
del LASTING["HTTP 429"], LASTING["HTTP 503 with a wall"]  # those are for the whole upstream, see below
LASTS_FOR_FEEDS = {**LASTING, **OF_PAGES, "HTTP 404": faults.status(404)}
del LASTS_FOR_FEEDS["packed"]  # which is all right for a feed
LASTS_FOR_FILES = {**LASTING, **OF_FILES}
for name in ("cut in the middle", "cut before the last byte", "silence"):  # bring it all in the end; take long
    del LASTS_FOR_FILES[name]


@pytest.mark.parametrize(
    ("level", "fault"),
    [
        *((level, fault) for level in ("resource", "sub-resource") for fault in LASTS_FOR_FEEDS),
        *(("download", fault) for fault in LASTS_FOR_FILES),
    ],
)
async def test_what_lasts_holds_back_its_own_part_alone_and_is_told(mirror: Mirrored, level: str, fault: str) -> None:
    """What was here before stays, whatever a wrong listing would make of it; the next run without the fault puts it right."""
    await complete(mirror)
    changed = rewritten(SUB, "later", updated="2026-12-01")
    new = publish(publish(CATALOGUE, ALPHA.id, changed), BRAVO.id, edition(BRAVO.listed[0], "2026-11-15", "2026-12-02"))
    mirror.upstream.catalogue = new
    scripts = LASTS_FOR_FILES if level == "download" else LASTS_FOR_FEEDS
    mirror.upstream.script(CHILD[level], [scripts[fault]], forever=True)
    report = await mirror.sync()
    assert (report.outcome, report.exit_code, len(report.failed)) == ("incomplete", 1, 1)
    assert report.failed[0].file == (FILE.name if level == "download" else None)
    assert report.account.agrees is (level == "resource")  # what a resource would list is not known
    assert only(mirror.tree(), "BDBRAVO") == only(offered(new), "BDBRAVO")
    assert only(mirror.tree(), "BDALPHA") == only(ALL, "BDALPHA")
    assert "withdrawn" not in mirror.states().values()
    await sound(mirror)
    mirror.upstream.heal()
    mirror.clock.pass_(days=400)  # a parked file is tried again after a time
    await complete(mirror)


@pytest.mark.parametrize("fault", [*LASTS_FOR_FEEDS, "HTTP 429"])
async def test_capabilities_that_cannot_be_had_leave_the_mirror_as_it_is(mirror: Mirrored, fault: str) -> None:
    await complete(mirror)
    mirror.upstream.catalogue = withdraw(CATALOGUE, ALPHA.id, SUB.id)
    mirror.upstream.script("capabilities", [{**LASTS_FOR_FEEDS, **PASSING}[fault]], forever=True)
    mirror.clock.pass_(days=8)
    before = mirror.tree(), mirror.states(), mirror.aliases()
    report = await mirror.sync()
    assert (report.outcome, report.exit_code) == ("unavailable", 5)
    assert (mirror.tree(), mirror.states(), mirror.aliases()) == before


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("level", FEEDS)
async def test_half_a_feed_of_the_right_length_is_never_half_used(tmp_path: Path, form: str, level: str) -> None:
    """Cut at every tenth of its length. Nothing is taken for withdrawn, and nothing of it is listed."""

    def half(part: int) -> Fault:
        async def fault(exchange: Any) -> Any:
            answer = exchange.answer()
            return await exchange.send(replace(answer, stop=answer.length * part // 10))

        return fault

    async with FakeUpstream(CATALOGUE, json=form == "json") as upstream:
        mirror = Mirrored(tmp_path / "root", upstream)
        await complete(mirror)
        states = mirror.states()
        for part in range(1, 10):
            mirror.clock.pass_(days=8)
            upstream.script(CHILD.get(level, level), [half(part)], forever=True)
            assert (await mirror.sync()).exit_code == (5 if level == "capabilities" else 1)
            assert mirror.states() == states
            upstream.heal()
        assert mirror.tree() == ALL
        await complete(mirror)


# -- storms and bans


async def test_a_storm_of_errors_is_weathered(mirror: Mirrored) -> None:
    """Every other request fails, each time in another way."""
    storm = [faults.status(code) for code in (500, 502, 503, 504)] + [faults.close_before_response(), faults.cut_after(20)]
    mirror.patience = replace(mirror.patience, retry_for=60)
    mirror.upstream.script(lambda _: True, [fault for bad in storm * 8 for fault in (bad, faults.fine())])
    await complete(mirror)


async def test_a_storm_in_the_middle_of_a_run_keeps_what_came_and_the_next_run_goes_on(mirror: Mirrored) -> None:
    """From the fifth download on the whole upstream is down."""
    mirror.upstream.script("download", [faults.fine()] * 4)
    mirror.upstream.script("download", [faults.status(503)], forever=True)
    report = await mirror.sync()
    assert report.exit_code == 1
    assert mirror.tree().items() <= ALL.items()
    mirror.upstream.heal()
    mirror.clock.pass_(days=400)
    await complete(mirror)


async def test_a_ban_that_lengthens_with_each_request_is_sat_out(mirror: Mirrored) -> None:
    """All workers stop, listings and downloads alike, and the run comes through."""
    mirror.upstream_options = {"requests_per_second": 30, "downloads": 2}
    mirror.patience = replace(mirror.patience, retry_for=60)
    mirror.upstream.ban(rate=20, seconds=0.5, growth=2)
    await complete(mirror)
    assert [event for event in mirror.events if isinstance(event, Walled)]
    assert mirror.upstream.count(status=429) <= 4


async def test_a_ban_without_end_ends_the_run_and_what_came_stays(mirror: Mirrored) -> None:
    mirror.upstream.script("download", [faults.fine()] * 4)
    mirror.upstream.script(lambda _: True, [faults.fine()] * 9)
    mirror.upstream.script(lambda _: True, [faults.retry_after(429, 0)], forever=True)
    report = await mirror.sync()
    assert report.exit_code in (1, 5)
    assert "keeps refusing requests (HTTP 429" in report.reason
    assert mirror.tree().items() <= ALL.items()
    mirror.upstream.heal()
    await complete(mirror)


# -- feeds that are wrong about their files

LIES: dict[str, Callable[[SampleFile], SampleFile]] = {
    "MD5": lambda file: replace(file, md5="0" * 32),
    "length": lambda file: replace(file, size=file.body.size + 1),
    "length of nothing": lambda file: replace(file, size=0),
    "MD5 of another file": lambda file: replace(file, md5=SUB.files[1].body.md5()),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_feed_that_is_wrong_about_a_file_parks_its_sub_resource_alone(mirror: Mirrored, lie: str) -> None:
    """For as long as the feed says so; once it is put right, under the old date or a new one, the file comes."""
    wrong = replace(SUB, files=(LIES[lie](FILE), SUB.files[1]))
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, wrong)
    for _ in range(2):
        report = await mirror.sync()
        assert (report.exit_code, [failure.file for failure in report.failed]) == (1, [FILE.name])
        assert mirror.tree() == without(ALL, SUB.id)
        assert mirror.rows("SELECT file, path FROM files WHERE state = 'parked'") == [(FILE.name, None)]
        mirror.clock.pass_(days=400)
    mirror.upstream.catalogue = CATALOGUE
    await complete(mirror)


async def test_a_file_that_is_replaced_while_it_is_sent_is_never_mixed(mirror: Mirrored) -> None:
    """Half of the old and half of the new is neither. The new one comes, if not in this run then in the next."""
    new = replace_file(CATALOGUE, ALPHA.id, SUB.id, SampleFile(FILE.name, Pattern(1000, "new")), updated="2026-12-01")
    mirror.upstream.script(CHILD["download"], [faults.replace_during(new)])
    report = await mirror.sync()
    assert report.exit_code == 1
    assert mirror.tree() == without(offered(new), SUB.id)
    await complete(mirror)


async def test_a_large_file_is_replaced_between_two_parts_of_it(tmp_path: Path) -> None:
    """Cut in the old one, gone on in the new one: no part of the old is in what is published."""

    def catalogue(seed: str, day: str) -> Catalogue:
        file = SampleFile("large.7z", Pattern(3 << 20, seed))
        return Catalogue((SampleResource("R", (SampleSub("S", updated=day, files=(file,)),)),))

    async with FakeUpstream(catalogue("old", "2026-10-01"), etags=True) as upstream:
        upstream.script("download", [faults.cut_after(2 << 20)])
        upstream.script("download", [faults.status(500)], forever=True)
        mirror = Mirrored(tmp_path / "root", upstream)
        assert (await mirror.sync()).exit_code == 1
        upstream.heal()
        upstream.catalogue = catalogue("new", "2026-10-02")
        mirror.clock.pass_(days=400)
        await complete(mirror)


async def test_an_edition_that_is_replaced_in_place_is_replaced_whole(mirror: Mirrored) -> None:
    """Until every new file is verified, the old ones stay; then all of them change at once."""
    await complete(mirror)
    new = publish(CATALOGUE, ALPHA.id, rewritten(SUB, "again", updated="2026-12-01"))
    mirror.upstream.catalogue = new
    mirror.upstream.script(f"/download/*/{SUB.files[1].name}", [faults.wrong_bytes()], forever=True)
    assert (await mirror.sync()).exit_code == 1
    assert mirror.tree() == ALL
    mirror.upstream.heal()
    mirror.clock.pass_(days=400)
    await complete(mirror)
    assert mirror.states()[SUB.id] == "current"


async def test_one_name_in_two_sub_resources_is_two_files(mirror: Mirrored) -> None:
    """With other bytes of the same length, and whichever of them is replaced later."""

    def sub(name: str, seed: str, day: int) -> SampleSub:
        return SampleSub(name, updated=f"2026-11-{day:02}", files=(SampleFile("data.7z", Pattern(5000, seed)),))

    catalogue = Catalogue((SampleResource("R", (sub("ONE", "1", 1), sub("TWO", "2", 2))),))
    for change in (sub("ONE", "1", 1), sub("TWO", "22", 3), sub("ONE", "11", 4), sub("TWO", "11", 5), sub("TWO", "2", 6)):
        mirror.upstream.catalogue = catalogue = publish(catalogue, "R", change)
        await complete(mirror)
        listed = {f"R/{one.id}/data.7z": one.files[0].body.md5() for one in catalogue.resources[0].subs}
        assert {path.removeprefix("data/gpf/"): md5 for path, md5 in mirror.rows("SELECT path, md5 FROM files")} == listed


# -- entries that come twice, that move, that go and come back


async def test_entries_that_are_listed_twice_are_mirrored_once(mirror: Mirrored) -> None:
    """Resources, sub-resources and files."""

    def twice(found: Any) -> None:
        found["entry"].insert(0, found["entry"][-1])

    for level in FEEDS:
        mirror.upstream.script(level, [document(twice)], forever=True)
    await complete(mirror)
    assert mirror.rows("SELECT count(*) FROM files") == [(len(ALL),)]


@pytest.mark.parametrize("what", ["published", "withdrawn"])
async def test_pages_that_shift_while_they_are_read(tmp_path: Path, what: str) -> None:
    """The mirror is that of after the publication, with nothing of a mixture of both."""
    before = simple_catalogue(resources=1, subs=60, files=1, size=100)
    (resource,) = before.resources
    if what == "published":
        after = publish(before, resource.id, SampleSub("AAA", updated="2026-12-01", files=(SampleFile("a.7z", b"first"),)))
    else:
        after = withdraw(before, resource.id, resource.listed[0].id)
    async with FakeUpstream(before) as upstream:
        upstream.script(on_page("resource", 1), [faults.shift(after)])
        mirror = Mirrored(tmp_path / "root", upstream)
        await complete(mirror)


async def test_a_listed_child_that_is_not_there_for_a_while_comes_back(mirror: Mirrored) -> None:
    for level in ("resource", "sub-resource", "download"):
        mirror.upstream.script(CHILD[level], [faults.status(404)] * 2)
    await complete(mirror)


async def test_a_resource_that_vanishes_is_withdrawn_and_kept_and_taken_up_again_when_it_comes_back(tmp_path: Path) -> None:
    catalogue = simple_catalogue(resources=3, subs=3, files=2)
    alpha = catalogue.resources[0]
    async with FakeUpstream(catalogue) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream)
        await complete(mirror)
        upstream.catalogue = withdraw(catalogue, alpha.id)
        mirror.clock.pass_(days=8)
        report = await mirror.sync()
        assert (report.exit_code, report.account.expected) == (0, 12)
        assert mirror.tree() == offered(catalogue)
        assert {mirror.states()[sub.id] for sub in alpha.subs} == {"withdrawn"}
        assert mirror.rows("SELECT DISTINCT state FROM files WHERE resource = ? AND path IS NOT NULL", alpha.id) == [("withdrawn",)]
        changed = rewritten(alpha.listed[0], "while it was gone", updated="2027-01-05")
        upstream.catalogue = publish(catalogue, alpha.id, changed)
        mirror.clock.pass_(days=1)
        await complete(mirror)
        assert {mirror.states()[sub.id] for sub in alpha.subs} == {"current"}
        assert len(mirror.paths("download")) == 2


async def test_an_edition_that_vanishes_and_comes_back_with_other_bytes(mirror: Mirrored) -> None:
    await complete(mirror)
    mirror.upstream.catalogue = withdraw(CATALOGUE, ALPHA.id, SUB.id)
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert (mirror.tree(), mirror.states()[SUB.id]) == (ALL, "withdrawn")
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(SUB, "back", updated="2027-01-08"))
    await complete(mirror)
    assert mirror.states()[SUB.id] == "current"
