"""A listing that has shrunk by far, or that is older than what was seen, is refused and said; nothing is changed by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.events import ListingRefused, Withdrawn
from mirror.settings import from_mapping
from mirror.sync import Report, sync

from .command import run, write_config
from .mirrored import EVERYTHING, HASTE, Mirrored, edition, offered, only, rewritten
from .upstream import FakeUpstream, faults, publish, simple_catalogue, withdraw

OVERRIDE = "run once with INSPIRE_MIRROR_LIMITS__MAX_SHRINK_RATIO=1"
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
    assert report.account.agrees
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
    mirror.clock.pass_(days=8)  # everything is due, but for what hangs on the refused listing
    await refused(mirror, "BDALPHA: it lists 3 sub-resources where it listed 6")
    assert {path.split("/")[2] for path in mirror.paths("sub-resource")} == {"BDBRAVO", "BDCHARLIE", "BDDELTA"}
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
