"""A listing that has shrunk by far, or that is older than what was seen, is refused and said; nothing is changed by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.events import ListingRefused, Withdrawn
from mirror.planning.guards import Days, contradicts, counted, refuse_files, refuse_resources, refuse_sub_resources
from mirror.settings import from_mapping
from mirror.sync import Report, sync

from .command import run, write_config
from .mirrored import EVERYTHING, HASTE, Mirrored, edition, offered, only, rewritten
from .upstream import FakeUpstream, faults, publish, simple_catalogue, withdraw

# -- the rules

TODAY = date(2026, 6, 1)
OVERRIDE = "run once with INSPIRE_MIRROR_LIMITS__MAX_SHRINK_RATIO=1"


def days(count: int, day: date | None = None) -> Days:
    return {f"R{number}": day for number in range(count)}


def on(**entries: int | None) -> Days:
    """Entries of days of May 2026; days beyond are of June."""
    return {name: None if day is None else date(2026, 4, 30) + timedelta(day) for name, day in entries.items()}


@pytest.mark.parametrize(
    ("before", "listed", "most", "refused"),
    [
        (0, 0, 0.4, False),
        (0, 5, 0.4, False),
        (5, 5, 0.4, False),
        (5, 3, 0.4, False),  # 40 %, and no more
        (5, 2, 0.4, True),
        (2, 1, 0.4, True),
        (100, 50, 0.5, False),
        (100, 49, 0.5, True),
        (100, 99, 0, True),
        (1, 0, 0.999, True),
        (3, 0, 1, False),
    ],
)
def test_a_catalogue_may_lose_a_part_of_its_resources(before: int, listed: int, most: float, refused: bool) -> None:
    reason = refuse_resources(days(before), days(listed), most, TODAY)
    assert (reason is not None) is refused
    if reason:
        assert str(before) in reason
        assert OVERRIDE in reason


@pytest.mark.parametrize(
    ("before", "listed", "refused"),
    [(1, 0, False), (2, 1, False), (2, 0, True), (3, 1, True), (5, 3, False), (6, 3, True), (9, 9, False)],
)
def test_a_part_of_a_catalogue_is_shrunken_when_two_are_gone_and_more_than_the_ratio(
    before: int, listed: int, refused: bool
) -> None:
    """Of sub-resources and of files alike. One that goes may well have been withdrawn."""
    assert (refuse_sub_resources(days(before), days(listed), 0.4, TODAY) is not None) is refused
    assert (refuse_files(days(before), days(listed), 0.4) is not None) is refused
    assert refuse_files(days(before), days(listed), 1) is None


def test_entries_that_take_the_place_of_others_are_no_loss() -> None:
    """Each new edition has a new name; the old ones may all go when the new ones come."""
    assert refuse_sub_resources(on(a1=1, b1=1, c1=1), on(a2=9, b2=9, c2=9), 0.1, TODAY) is None


def test_the_volumes_of_an_archive_count_as_one_file() -> None:
    split = [f"x.7z.{number:03d}" for number in range(1, 21)]
    assert refuse_files([*split, "x.md5"], ["x.7z", "x.md5"], 0.1) is None
    assert refuse_files(["a.7z.001", "b.7z.001", "c.7z.001"], ["a.7z.001", "a.7z.002", "a.7z.003"], 0.4) is not None


@pytest.mark.parametrize(
    ("before", "listed", "refused"),
    [
        (on(a=5, b=9), on(a=5, b=9), False),
        (on(a=5, b=9), on(a=5, b=7), True),
        (on(a=5, b=9), on(a=4, b=7), True),
        (on(a=5, b=9), on(a=5), False),  # the newest alone was withdrawn
        (on(a=5, b=9, c=9), on(a=5, b=9, c=2), False),  # one was put right, and others are as new as before
        (on(a=5, b=9), on(a=6, b=7), False),  # one has gone forward: this is no older state of the whole
        (on(a=5, b=9), on(a=40, b=7), False),  # also beyond today
        (on(a=5, b=9), on(a=5, b=7, c=40), True),  # an entry of the future makes nothing newer
        (on(a=5, b=9), on(a=5, b=None), False),
        (on(a=None, b=None), on(a=5, b=5), False),
        (on(), on(a=5), False),
    ],
)
def test_what_is_older_than_the_last_listing(before: Days, listed: Days, refused: bool) -> None:
    for judge in (refuse_resources, refuse_sub_resources):
        reason = judge(before, listed, 0.5, TODAY)
        assert (reason is not None) is refused
        if reason:
            assert "older than the listing seen before: its newest entry is of 2026-05-07, where 2026-05-09 was seen" in reason
            assert OVERRIDE in reason
        assert judge(before, listed, 1, TODAY) is None


LISTINGS = st.dictionaries(st.sampled_from("abcdefgh"), st.none() | st.dates(date(2026, 1, 1), TODAY), max_size=8)


@given(LISTINGS, LISTINGS, st.floats(0, 0.99))
def test_what_only_grows_and_goes_forward_is_never_refused(
    before: dict[str, date | None], more: dict[str, date | None], most: float
) -> None:
    """Whatever else is published: an honest upstream is not stopped."""
    listed = {**more, **{name: max(filter(None, (day, more.get(name))), default=None) for name, day in before.items()}}
    assert refuse_resources(before, listed, most, TODAY) is None
    assert refuse_sub_resources(before, listed, most, TODAY) is None


@given(LISTINGS, LISTINGS, st.floats(0, 1))
def test_a_refusal_is_one_line(before: dict[str, date | None], listed: dict[str, date | None], most: float) -> None:
    for reason in (refuse_resources(before, listed, most, TODAY), refuse_sub_resources(before, listed, most, TODAY)):
        assert reason is None or ("\n" not in reason and OVERRIDE in reason)


@pytest.mark.parametrize(
    ("before", "listed", "expected"),
    [
        (on(a=5, b=9), on(b=9), False),
        (on(a=5, b=9), on(b=12), False),  # it went forward
        (on(a=5, b=9), on(), True),
        (on(a=5, b=9), on(c=12), True),
        (on(a=5, b=9, c=9), on(c=9), False),  # one of that day is enough
        (on(a=5, b=9), on(b=7), True),  # an upstream that does not filter
        (on(a=5, b=9), on(b=None), False),
        (on(a=5), on(), False),
    ],
)
def test_changes_that_cannot_be_all(before: Days, listed: Days, expected: bool) -> None:
    assert contradicts(before, listed, date(2026, 5, 9)) is expected


def test_a_day_that_was_to_come_when_it_was_seen_does_not_count() -> None:
    assert counted("2026-05-09T10:00:00+01:00", date(2026, 5, 9)) == date(2026, 5, 9)
    assert counted("2026-05-10", date(2026, 5, 9)) is None
    assert counted("2026-05-09", None) is None
    assert counted(None, date(2026, 5, 9)) is None


# -- whole syncs

CATALOGUE = simple_catalogue(resources=4, subs=6, files=2)
ALL = offered(CATALOGUE)
ALPHA, BRAVO = CATALOGUE.resources[:2]
NEW = edition(ALPHA.listed[-1], "2026-11-15", "2026-12-01")


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    """A mirror of everything, after its first sync."""
    made = Mirrored(tmp_path / "root", upstream)
    assert (await made.sync()).exit_code == 0
    return made


def standing(mirror: Mirrored) -> tuple[Any, ...]:
    """All that a refusal must not change."""
    resources = mirror.rows("SELECT resource, state, updated, fingerprint FROM resources ORDER BY 1")
    return mirror.tree(), mirror.aliases(), mirror.states(), resources, mirror.rows("SELECT * FROM upstreams")


def refusals(mirror: Mirrored) -> list[str]:
    return [event.what for event in mirror.events if isinstance(event, ListingRefused)]


async def refused(mirror: Mirrored, *words: str) -> Report:
    """A sync that is refused, and that says so wherever people look."""
    mirror.clock.pass_(minutes=1)
    report = await mirror.sync()
    assert (report.outcome, report.exit_code) == ("refused", 4)
    for word in (*words, OVERRIDE):
        assert word in report.reason
    assert any(failure.file is None and words[0] in failure.reason for failure in report.failed)
    assert mirror.rows("SELECT outcome, exit_code FROM runs ORDER BY id DESC LIMIT 1") == [("refused", 4)]
    assert mirror.rows(
        "SELECT count(*) > 0 FROM events WHERE kind = 'listing-refused' AND run_id = (SELECT max(id) FROM runs)"
    ) == [(1,)]
    assert mirror.rows("SELECT outcome, last_success_at < last_run_at FROM subscriptions") == [("refused", 1)]
    return report


async def accepted(mirror: Mirrored) -> None:
    """The advice of a refusal is followed: one run with the ratio 1. After it there is nothing to say."""
    mirror.limits = {**mirror.limits, "max_shrink_ratio": 1}
    assert (await mirror.sync()).exit_code == 0
    del mirror.limits["max_shrink_ratio"]
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0


def halved() -> Catalogue:
    return replace(CATALOGUE, resources=CATALOGUE.resources[:2])


async def test_a_catalogue_that_shrinks_by_half_is_refused_and_the_mirror_is_untouched(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = publish(halved(), ALPHA.id, NEW)
    mirror.clock.pass_(days=8)
    before = standing(mirror)
    report = await refused(mirror, "it lists 2 resources where it listed 4, more than 40% fewer")
    assert mirror.requests() == {"capabilities": 1}
    assert standing(mirror) == before
    assert report.account.agrees, "what is known stands"
    assert report.account.expected == len(mirror.tree())
    await refused(mirror, "it lists 2 resources where it listed 4")
    assert standing(mirror) == before
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, NEW)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_a_catalogue_that_is_half_as_large_for_good_is_taken_on_request(mirror: Mirrored) -> None:
    """What is gone is kept, as withdrawn."""
    mirror.upstream.catalogue = halved()
    mirror.clock.pass_(days=8)
    await refused(mirror, "2 resources")
    await accepted(mirror)
    assert mirror.tree() == ALL
    assert {state for name, state in mirror.states().items() if "CHARLIE" in name or "DELTA" in name} == {"withdrawn"}


async def test_the_ratio_is_that_of_the_config(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = withdraw(CATALOGUE, BRAVO.id)
    mirror.clock.pass_(days=8)
    mirror.limits = {**mirror.limits, "max_shrink_ratio": 0.2}
    await refused(mirror, "more than 20% fewer")
    mirror.limits = {**mirror.limits, "max_shrink_ratio": 0.25}
    assert (await mirror.sync()).exit_code == 0


async def test_a_plan_is_refused_too(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = halved()
    mirror.clock.pass_(days=8)
    report, actions = await mirror.plan()
    assert (report.exit_code, actions) == (4, [])
    assert "2 resources" in report.reason


async def test_a_resource_that_lists_half_is_refused_alone(mirror: Mirrored) -> None:
    """What is known of it stands, nothing is fetched for it, the rest of the run goes on; it is looked at again each time."""
    half = replace(ALPHA, subs=(*ALPHA.listed[:2], NEW), updated="2026-12-01")
    other = edition(BRAVO.listed[-1], "2026-11-15", "2026-12-01")
    mirror.upstream.catalogue = publish(replace(CATALOGUE, resources=(half, *CATALOGUE.resources[1:])), BRAVO.id, other)
    (mirror.root / "data" / "gpf" / ALPHA.id / ALPHA.listed[0].id / ALPHA.listed[0].files[0].name).unlink()
    states = mirror.states()
    report = await refused(mirror, "BDALPHA: it lists 3 sub-resources where it listed 6, more than 40% fewer")
    assert refusals(mirror) == ["BDALPHA"]
    assert mirror.paths("sub-resource") == [f"/resource/BDBRAVO/{other.id}"]
    assert {path.split("/")[2] for path in mirror.paths("download")} == {"BDBRAVO"}
    assert only(mirror.tree(), "BDBRAVO") == only(offered(mirror.upstream.catalogue), "BDBRAVO")
    assert (report.account.expected, report.account.present, report.account.verified) == (50, 49, 49)
    assert {name: state for name, state in mirror.states().items() if "ALPHA" in name and "2026-06-15" not in name} == {
        name: state for name, state in states.items() if "ALPHA" in name and "2026-06-15" not in name
    }
    assert not [event for event in mirror.events if isinstance(event, Withdrawn)]

    await refused(mirror, "BDALPHA: it lists 3 sub-resources where it listed 6")
    assert mirror.requests() == {"capabilities": 1, "resource": 1}
    whole = publish(CATALOGUE, ALPHA.id, NEW)
    mirror.upstream.catalogue = publish(whole, BRAVO.id, other)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_a_resource_that_is_half_as_large_for_good_is_taken_on_request(mirror: Mirrored) -> None:
    half = replace(ALPHA, subs=ALPHA.listed[:3], updated="2026-12-01")
    mirror.upstream.catalogue = replace(CATALOGUE, resources=(half, *CATALOGUE.resources[1:]))
    await refused(mirror, "3 sub-resources")
    await accepted(mirror)
    assert mirror.tree() == ALL
    assert [name for name, state in mirror.states().items() if state == "withdrawn"] == [sub.id for sub in ALPHA.listed[3:]]


async def test_a_listing_of_a_part_is_judged_by_that_part(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Two of three editions of a zone are gone, where the resource as a whole has grown."""
    upstream.catalogue = simple_catalogue(resources=1, subs=9, files=1)
    mirror = Mirrored(tmp_path / "root", upstream, one={"resources": ["*"], "zones": ["D038"], "edition": "all"})
    await mirror.sync()
    (resource,) = upstream.catalogue.resources
    kept = [sub for sub in resource.listed if "D038" not in sub.id] + [sub for sub in resource.listed if "D038" in sub.id][:1]
    more = [replace(sub, id=f"{sub.id}_B", files=()) for sub in kept[:6]]
    upstream.catalogue = Catalogue((replace(resource, subs=(*kept, *more), updated="2026-12-01"),))
    await refused(mirror, "it lists 1 sub-resource where it listed 3")
    assert len(mirror.tree()) == 3


async def test_a_wider_listing_than_the_last_one_is_no_loss(tmp_path: Path, upstream: FakeUpstream) -> None:
    mirror = Mirrored(tmp_path / "root", upstream, one={"resources": ["BDALPHA"], "edition": "all"})
    await mirror.sync()
    mirror.tables = {"one": {"resources": ["BDALPHA"], "zones": ["D038"], "edition": "all"}}
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    mirror.tables = {"one": {"resources": ["BDALPHA"], "edition": "all"}}
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert set(mirror.states().values()) == {"current", "superseded"}


async def test_a_sub_resource_that_lists_few_of_its_files_is_refused_alone(mirror: Mirrored) -> None:
    tiles = SampleSub("TILES", updated="2026-12-01", files=tuple(SampleFile(f"{n}.tif", Pattern(100, str(n))) for n in range(6)))
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, tiles)
    assert (await mirror.sync()).exit_code == 0
    few = replace(tiles, files=(*tiles.files[:2], SampleFile("new.tif", b"new")), updated="2026-12-02")
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, few)
    before = mirror.tree()
    report = await refused(mirror, "BDALPHA/TILES: it lists 3 files where it listed 6 (volumes of an archive count as one)")
    assert refusals(mirror) == ["TILES"]
    assert "download" not in mirror.requests()
    assert mirror.tree() == before
    assert report.account.agrees
    await refused(mirror, "BDALPHA/TILES")
    assert mirror.paths("sub-resource") == ["/resource/BDALPHA/TILES"]
    await accepted(mirror)
    assert only(mirror.tree(), "TILES").keys() == only(before, "TILES").keys() | {"BDALPHA/TILES/new.tif"}


async def test_an_archive_that_is_split_into_fewer_volumes_is_no_loss(mirror: Mirrored) -> None:
    def split(count: int, day: str) -> SampleSub:
        volumes = tuple(SampleFile(f"A.7z.{n:03d}", Pattern(100, f"{day}{n}")) for n in range(1, count + 1))
        return SampleSub("A", updated=day, files=volumes)

    for count, day in ((10, "2026-12-01"), (2, "2026-12-02")):
        mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, split(count, day))
        assert (await mirror.sync()).exit_code == 0
    assert len(only(mirror.tree(), "/A/")) == 2


async def test_of_two_upstreams_one_that_is_refused_does_not_hold_up_the_other(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = halved()
    mirror.clock.pass_(days=8)
    async with FakeUpstream(simple_catalogue(resources=1)) as other:
        tables: dict[str, Any] = {
            "root": str(mirror.root),
            "upstream": {
                "gpf": {"url": mirror.upstream.url, "requests_per_second": 100_000},
                "chunk": {"url": other.url, "requests_per_second": 100_000},
            },
            "subscription": {"all": {**EVERYTHING, "upstream": "gpf"}, "more": {**EVERYTHING, "upstream": "chunk"}},
            "limits": {"min_free": 0},
        }
        report = await sync(from_mapping(tables, mirror.root, {}), now=mirror.clock, patience=HASTE)
    assert (report.outcome, report.exit_code) == ("refused", 4)
    assert "upstream gpf: it lists 2 resources" in report.reason
    assert len(list((mirror.root / "data" / "chunk").rglob("*.bin"))) == 6
    assert mirror.tree() == ALL
    assert dict(mirror.rows("SELECT subscription, outcome FROM subscriptions")) == {"all": "refused", "more": "complete"}


# -- older than what was seen


async def test_a_feed_older_than_the_last_one_seen_is_refused(mirror: Mirrored) -> None:
    """A server that is behind, or somebody who replays yesterday. The listing of changes alone shows that something is wrong."""
    newer = publish(CATALOGUE, ALPHA.id, NEW)
    mirror.upstream.catalogue = newer
    assert (await mirror.sync()).exit_code == 0
    before = standing(mirror)
    mirror.upstream.catalogue = CATALOGUE
    told = "its newest entry is of 2026-07-02, where 2026-12-01 was seen, and BDALPHA went back"
    for _ in range(2):
        await refused(mirror, told)
        assert [record.query.get("updatedFrom") for record in mirror.upstream.requests] == ["2026-12-01", None]
        assert standing(mirror) == before
    mirror.clock.pass_(days=8)
    await refused(mirror, told)
    assert mirror.requests() == {"capabilities": 1}
    assert standing(mirror) == before
    mirror.upstream.catalogue = newer
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(newer)


async def test_an_older_feed_that_is_meant_is_taken_on_request(mirror: Mirrored) -> None:
    """And from then on changes are asked for from its own newest day."""
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, NEW)
    await mirror.sync()
    mirror.upstream.catalogue = CATALOGUE
    await refused(mirror, "older")
    await accepted(mirror)
    assert mirror.states()[NEW.id] == "withdrawn"
    await mirror.sync()
    assert [record.query["updatedFrom"] for record in mirror.upstream.requests] == ["2026-07-02"]


async def test_that_the_newest_product_is_withdrawn_is_no_older_feed(mirror: Mirrored) -> None:
    """It is even noticed at once, and costs one listing of everything."""
    extra = SampleResource("BDEXTRA", (replace(ALPHA.listed[0], id="X", updated="2026-12-01"),))
    mirror.upstream.catalogue = replace(CATALOGUE, resources=(*CATALOGUE.resources, extra))
    await mirror.sync()
    mirror.upstream.catalogue = CATALOGUE
    assert (await mirror.sync()).exit_code == 0
    assert mirror.states()["X"] == "withdrawn"
    assert mirror.requests() == {"capabilities": 2}
    await mirror.sync()
    assert [record.query["updatedFrom"] for record in mirror.upstream.requests] == ["2026-07-02"]


async def test_a_resource_whose_feed_is_behind_is_refused_alone(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(ALPHA.listed[0], "new", updated="2026-12-01"))
    await mirror.sync()
    newer = publish(mirror.upstream.catalogue, ALPHA.id, rewritten(ALPHA.listed[1], "newer", updated="2026-12-02"))
    mirror.upstream.catalogue = newer
    mirror.upstream.script("/resource/BDALPHA", [faults.stale(CATALOGUE)], forever=True)
    before = mirror.tree()
    await refused(
        mirror, "BDALPHA: it is older than the listing seen before: its newest entry is of 2026-07-02, where 2026-12-01 was seen"
    )
    assert mirror.tree() == before
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(newer)


# -- a publisher whose clock is wrong


@pytest.mark.parametrize("wrong", ["2027-01-04", "2099-01-01"])
@pytest.mark.parametrize("level", ["one of all", "all"])
async def test_a_clock_that_was_ahead_may_be_put_right(tmp_path: Path, upstream: FakeUpstream, wrong: str, level: str) -> None:
    """Though the wrong day has come in the meantime; what was published under it is mirrored, before and after."""
    before = publish(CATALOGUE, ALPHA.id, replace(NEW, updated=wrong))
    if level == "all":
        before = Catalogue((SampleResource("BDALPHA", tuple(replace(sub, updated=wrong) for sub in (*ALPHA.listed, NEW))),))
    upstream.catalogue = before
    mirror = Mirrored(tmp_path / "root", upstream)
    mirror.clock.at = datetime(2027, 1, 1, 12, tzinfo=UTC)
    assert (await mirror.sync()).exit_code == 0
    for _ in range(6):
        mirror.clock.pass_(days=1)
        assert (await mirror.sync()).exit_code == 0
    resources = []
    for resource in upstream.catalogue.resources:
        subs = tuple(rewritten(sub, "right", updated="2026-12-30") if sub.updated == wrong else sub for sub in resource.subs)
        resources.append(replace(resource, subs=subs))
    upstream.catalogue = Catalogue(tuple(resources))
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(upstream.catalogue)


async def test_what_is_published_under_a_day_long_past_is_found_by_the_listing_of_everything(mirror: Mirrored) -> None:
    """A clock that is behind hides a publication from the listing of changes; nothing is refused, and nothing is lost."""
    behind = rewritten(ALPHA.listed[0], "behind", updated="1970-01-01")
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, behind)
    assert (await mirror.sync()).exit_code == 0
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)


# -- as users see it


def test_a_refusal_on_the_command_line(tmp_path: Path) -> None:
    """Exit code 4; sync, plan and status say what was refused and what to do, and doing it helps."""
    with FakeUpstream(CATALOGUE).in_thread() as fake:
        write_config(tmp_path, fake.url, 'all]\nresources = ["*"]\nedition = "all"', more="[limits]\nmin_free = 0")
        assert run("sync", cwd=tmp_path).code == 0
        fake.catalogue = replace(
            CATALOGUE, resources=(replace(ALPHA, subs=ALPHA.listed[:2], updated="2026-12-01"), *CATALOGUE.resources[1:])
        )
        told = "BDALPHA: it lists 2 sub-resources where it listed 6, more than 40% fewer"
        outcome = run("sync", "--json", cwd=tmp_path)
        assert (outcome.code, outcome.json["outcome"], outcome.json["exit_code"]) == (4, "refused", 4)
        assert told in outcome.json["reason"]
        assert told in outcome.json["failed"][0]["reason"]
        assert f"refused: upstream gpf: {told}" in outcome.err
        plain = run("-q", "sync", cwd=tmp_path)
        assert plain.code == 4
        assert told in plain.err
        status = run("status", cwd=tmp_path)
        assert told in status.out
        assert OVERRIDE in status.out
        assert [(entry["outcome"], entry["failures"]) for entry in run("status", "--json", cwd=tmp_path).json["subscriptions"]] == [
            ("refused", 0)
        ]
        assert run("plan", cwd=tmp_path).code == 4
        assert run("sync", cwd=tmp_path, INSPIRE_MIRROR_LIMITS__MAX_SHRINK_RATIO="1").code == 0
        assert run("sync", cwd=tmp_path).code == 0
        assert told not in run("status", cwd=tmp_path).out
