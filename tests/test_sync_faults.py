"""One sync of an upstream that is wrong, hostile or away: what is sound is mirrored, and the rest is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.settings import from_mapping
from mirror.sync import sync

from .mirrored import EVERYTHING, HASTE, Mirrored, offered, only, without
from .upstream import FakeUpstream, faults, publish, simple_catalogue

CATALOGUE = simple_catalogue(resources=2, subs=6, files=2)
ALL = offered(CATALOGUE)
FIRST = CATALOGUE.resources[0].listed[0]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    return Mirrored(tmp_path / "root", upstream)


# -- what goes wrong upstream


async def test_a_child_that_is_being_published_is_asked_for_again(mirror: Mirrored) -> None:
    """[C] It answers 404 for a while; the listing and the files of others are not held up."""
    mirror.upstream.script(f"/resource/BDALPHA/{FIRST.id}", [faults.status(404), faults.status(404)])
    mirror.upstream.script(f"/download/BDALPHA/{FIRST.id}/*", [faults.status(404)])
    report = await mirror.sync()
    assert (report.exit_code, report.failed) == (0, [])
    assert mirror.tree() == ALL


async def test_a_listing_that_stays_away_leaves_the_run_incomplete(mirror: Mirrored) -> None:
    mirror.upstream.script(f"/resource/BDALPHA/{FIRST.id}", [faults.status(404)], forever=True)
    report = await mirror.sync()
    assert report.exit_code == 1
    assert [(failure.file, "404" in failure.reason) for failure in report.failed] == [(None, True)]
    assert report.failed[0].url.endswith(f"/resource/BDALPHA/{FIRST.id}")
    assert mirror.tree() == without(ALL, FIRST.id)
    mirror.upstream.heal()
    report = await mirror.sync()
    assert report.exit_code == 0
    assert mirror.requests() == {"capabilities": 1, "sub-resource": 1, "download": 2}
    assert mirror.tree() == ALL


async def test_a_resource_that_stays_away_is_listed_by_the_next_run(mirror: Mirrored) -> None:
    mirror.upstream.script("/resource/BDALPHA", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    assert mirror.tree() == only(ALL, "BDBRAVO")
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == ALL


async def test_a_file_that_stays_away_is_parked_and_tried_by_the_next_run(mirror: Mirrored) -> None:
    name = FIRST.files[1].name
    mirror.upstream.script(f"/download/*/{name}", [faults.status(404)], forever=True)
    report = await mirror.sync()
    assert (report.exit_code, [failure.file for failure in report.failed]) == (1, [name])
    assert mirror.tree() == without(ALL, FIRST.id)
    assert mirror.rows("SELECT file, path, state FROM files WHERE state = 'parked'") == [(name, None, "parked")]
    assert mirror.rows("SELECT outcome, failures, parked FROM subscriptions") == [("incomplete", 2, 1)]
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.paths("download") == [f"/download/BDALPHA/{FIRST.id}/{name}"]
    assert mirror.tree() == ALL
    assert mirror.rows("SELECT count(*) FROM parked_files") == [(0,)]
    assert mirror.staged() == []


async def test_a_wrong_md5_parks_its_own_sub_resource_and_no_other(mirror: Mirrored) -> None:
    bad = replace(FIRST, files=(replace(FIRST.files[0], md5="0" * 32), FIRST.files[1]))
    mirror.upstream.catalogue = publish(CATALOGUE, "BDALPHA", bad)
    report = await mirror.sync()
    assert report.exit_code == 1
    assert ["upstream is wrong" in failure.reason for failure in report.failed] == [True]
    assert mirror.tree() == without(ALL, FIRST.id)
    mirror.upstream.catalogue = CATALOGUE
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == ALL


async def test_published_each_the_sound_files_of_a_sub_resource_are_there(mirror: Mirrored) -> None:
    mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}
    bad = replace(FIRST, files=(replace(FIRST.files[0], md5="0" * 32), FIRST.files[1]))
    mirror.upstream.catalogue = publish(CATALOGUE, "BDALPHA", bad)
    report = await mirror.sync()
    assert (report.exit_code, len(report.failed)) == (1, 1)
    assert mirror.tree() == {path: md5 for path, md5 in ALL.items() if not path.endswith(f"/{bad.files[0].name}")}
    assert mirror.aliases()["BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D001"].endswith("2026-06-15")


async def test_a_name_listed_twice_with_other_facts_is_parked(mirror: Mirrored) -> None:
    twice = replace(FIRST, files=(*FIRST.files, replace(FIRST.files[0], md5="1" * 32)))
    mirror.upstream.catalogue = publish(CATALOGUE, "BDALPHA", twice)
    for _ in range(2):
        report = await mirror.sync()
        assert (report.exit_code, [failure.file for failure in report.failed]) == (1, [FIRST.files[0].name])
        assert mirror.tree() == without(ALL, FIRST.id)


async def test_a_name_listed_twice_alike_is_one_file(mirror: Mirrored) -> None:
    twice = replace(FIRST, files=(*FIRST.files, FIRST.files[0]))
    mirror.upstream.catalogue = publish(CATALOGUE, "BDALPHA", twice)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == ALL


HOSTILE = ["..", "../../../evil", "a/b", ".hidden", "nul\x07", "CON", "x" * 300]


@pytest.mark.parametrize("name", HOSTILE)
async def test_unsafe_file_names_never_leave_the_tree(mirror: Mirrored, name: str) -> None:
    """The rest is published (`each`), the run is incomplete, and says so each time."""
    hostile = replace(FIRST, files=(*FIRST.files, SampleFile(name, b"evil")))
    mirror.upstream.catalogue = publish(CATALOGUE, "BDALPHA", hostile)
    mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}
    for _ in range(2):
        report = await mirror.sync()
        assert report.exit_code == 1
        assert len(report.failed) == 1
    assert mirror.tree() == ALL
    assert {path.name for path in mirror.root.parent.iterdir()} == {"root"}
    assert {path.name for path in mirror.root.iterdir()} == {"data", "current", ".staging", "index.sqlite"}


@pytest.mark.parametrize("name", ["..", ".hidden", "CON", "x" * 300])
async def test_unsafe_ids_never_become_folders(mirror: Mirrored, name: str) -> None:
    """A wanted sub-resource that cannot be kept is a gap that each run tells of."""
    mirror.upstream.catalogue = publish(CATALOGUE, "BDALPHA", replace(FIRST, id=name))
    for _ in range(2):
        report = await mirror.sync()
        assert (report.exit_code, len(report.failed)) == (1, 1)
    assert mirror.tree() == ALL
    mirror.tables = {"bravo": {"resources": ["BDBRAVO"]}}
    assert (await mirror.sync()).exit_code == 0


async def test_an_unsafe_resource_is_left_out(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = Catalogue((*CATALOGUE.resources, SampleResource("..", (SampleSub("X"),))))
    report = await mirror.sync()
    assert report.exit_code == 1
    assert "unsafe name" in report.failed[0].reason
    assert mirror.tree() == ALL


async def test_an_upstream_that_is_down_leaves_the_mirror_as_it_is(mirror: Mirrored) -> None:
    await mirror.sync()
    mirror.upstream.script(lambda record: True, [faults.status(500)], forever=True)
    mirror.clock.pass_(days=30)
    before = mirror.tree(), mirror.aliases(), mirror.states()
    report = await mirror.sync()
    assert (report.outcome, report.exit_code) == ("unavailable", 5)
    assert "500" in report.reason
    assert (mirror.tree(), mirror.aliases(), mirror.states()) == before
    assert mirror.rows("SELECT outcome, expected, last_success_at < last_run_at FROM subscriptions") == [("unavailable", 24, 1)]


async def test_of_two_upstreams_one_that_is_down_does_not_hold_up_the_other(mirror: Mirrored) -> None:
    await mirror.sync()
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
        mirror.upstream.script("capabilities", [faults.status(500)], forever=True)
        report = await sync(from_mapping(tables, mirror.root, {}), now=mirror.clock, patience=HASTE)
    assert (report.outcome, report.exit_code) == ("incomplete", 1)
    assert "gpf" in report.reason
    assert len(list((mirror.root / "data" / "chunk").rglob("*.bin"))) == 6
    assert mirror.tree() == ALL
    standing = dict(mirror.rows("SELECT subscription, outcome || ' ' || present FROM subscriptions"))
    assert standing == {"all": "unavailable 24", "more": "complete 6"}
    assert mirror.rows("SELECT count(*) FROM wanted WHERE subscription = 'all'") == [(12,)]
