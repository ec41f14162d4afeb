"""What the mirror tells others of: editions that are here, complete and verified, with dates that show what changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from mirror.demo.catalogue import SampleFile, SampleSub
from mirror.store.index import FILE
from mirror.store.narrowing import Narrowing
from mirror.store.offer import Offer
from mirror.verifying import verify

from .mirrored import EVERYTHING, Mirrored
from .upstream import FakeUpstream, faults, replace_file, simple_catalogue, withdraw

T = TypeVar("T")
EVERY = Narrowing()


def asked(root: Path, question: Callable[[Offer], T]) -> T:
    offer = Offer(root)
    try:
        with offer.asking():
            return question(offer)
    finally:
        offer.close()


def subs(root: Path, narrowing: Narrowing = EVERY) -> list[str]:
    def question(offer: Offer) -> list[str]:
        names = [one.resource.id for one in offer.resources("gpf")]
        return [found.sub.id for name in names for found in offer.subs("gpf", name, narrowing)[0]]

    return asked(root, question)


async def test_what_is_here_is_offered_with_what_is_here_of_it(tmp_path: Path) -> None:
    catalogue = simple_catalogue(2, 3, 2)
    async with FakeUpstream(catalogue) as upstream:
        mirror = Mirrored(tmp_path, upstream)
        await mirror.sync()
    found = asked(tmp_path, lambda offer: offer.resources("gpf"))
    assert [one.resource.id for one in found] == [resource.id for resource in catalogue.resources]
    assert [one.sub_resources for one in found] == [3, 3]
    assert len(subs(tmp_path)) == 6


async def test_what_is_not_complete_is_not_offered(tmp_path: Path) -> None:
    """Whoever lists it would take it for all there is. Single files of it may be had."""
    catalogue = simple_catalogue(1, 2, 2)
    broken = catalogue.resources[0].subs[0]
    missing, there = (file.name for file in broken.files)
    async with FakeUpstream(catalogue) as upstream:
        upstream.script(lambda record: record.path.endswith(missing), [faults.status(404)], forever=True)
        mirror = Mirrored(tmp_path, upstream, all={**EVERYTHING, "publish": "each"})
        assert (await mirror.sync()).outcome == "incomplete"
    resource = catalogue.resources[0].id
    assert subs(tmp_path) == [catalogue.resources[0].subs[1].id]
    assert asked(tmp_path, lambda offer: offer.file("gpf", resource, broken.id, there))
    assert not asked(tmp_path, lambda offer: offer.file("gpf", resource, broken.id, missing))


@pytest.mark.parametrize("dated", [False, True], ids=["under the same date", "under a new date"])
async def test_replaced_bytes_show_by_a_date(tmp_path: Path, dated: bool) -> None:
    """Who compares dates, as every client of the feeds does, sees that there is something to fetch."""
    before = simple_catalogue(1, 1, 2)
    resource, sub = before.resources[0], before.resources[0].subs[0]
    assert sub.updated
    dates = []
    async with FakeUpstream(before) as upstream:
        mirror = Mirrored(tmp_path, upstream, all=EVERYTHING)
        mirror.clock.at = datetime.fromisoformat(f"{sub.updated}T12:00:00Z")  # so that the day of publication is looked at again
        for days, catalogue in (
            (0, before),
            (2, replace_file(before, resource.id, sub.id, other(sub), updated="2026-04-02" if dated else None)),
            (9, None),
        ):
            upstream.catalogue = catalogue or upstream.catalogue
            mirror.clock.pass_(days=days)
            assert (await mirror.sync()).outcome == "complete"
            found = asked(tmp_path, lambda offer: offer.sub("gpf", resource.id, sub.id))
            one = asked(tmp_path, lambda offer: offer.resource("gpf", resource.id))
            assert found is not None
            assert one is not None
            dates.append((found.sub.updated, one.resource.updated, found.changed_at[:10]))
    here = "2026-04-03T12:00:00Z"
    assert dates[0] == (sub.updated, sub.updated, sub.updated)
    assert dates[1] == (("2026-04-02" if dated else here), here, here[:10])
    assert dates[2] == dates[1]


def other(sub: SampleSub) -> SampleFile:
    """Its first file, with other bytes."""
    return SampleFile(sub.files[0].name, b"other bytes")


async def test_a_repair_is_no_change(tmp_path: Path) -> None:
    """The same bytes fetched again: who has them already need not fetch them again."""
    catalogue = simple_catalogue(1, 1, 2)
    resource, sub = catalogue.resources[0], catalogue.resources[0].subs[0]
    async with FakeUpstream(catalogue) as upstream:
        mirror = Mirrored(tmp_path, upstream)
        await mirror.sync()
        before = asked(tmp_path, lambda offer: offer.sub("gpf", resource.id, sub.id))
        (tmp_path / "data" / "gpf" / resource.id / sub.id / sub.files[0].name).unlink()
        mirror.clock.pass_(days=1)
        assert (await mirror.sync()).done["bytes"] > 0
    assert asked(tmp_path, lambda offer: offer.sub("gpf", resource.id, sub.id)) == before


async def test_what_verify_finds_wrong_is_not_offered_until_it_is_mended(tmp_path: Path) -> None:
    catalogue = simple_catalogue(1, 2, 2)
    resource, sub = catalogue.resources[0], catalogue.resources[0].subs[0]
    async with FakeUpstream(catalogue) as upstream:
        mirror = Mirrored(tmp_path, upstream)
        await mirror.sync()
        (tmp_path / "data" / "gpf" / resource.id / sub.id / sub.files[0].name).write_bytes(b"other")
        await verify(mirror.settings)
        assert sub.id not in subs(tmp_path)
        assert not asked(tmp_path, lambda offer: offer.file("gpf", resource.id, sub.id, sub.files[0].name))
        await mirror.sync()
        assert sub.id in subs(tmp_path)


async def test_what_upstream_no_longer_has_is_offered_and_marked(tmp_path: Path) -> None:
    catalogue = simple_catalogue(1, 2, 2)
    resource, sub = catalogue.resources[0], catalogue.resources[0].subs[0]
    async with FakeUpstream(catalogue) as upstream:
        mirror = Mirrored(tmp_path, upstream)
        mirror.limits["max_shrink_ratio"] = 1
        await mirror.sync()
        upstream.catalogue = withdraw(catalogue, resource.id, sub.id)
        mirror.clock.pass_(days=8)
        await mirror.sync()
    found = asked(tmp_path, lambda offer: offer.sub("gpf", resource.id, sub.id))
    assert found is not None
    assert (found.state, bool(found.withdrawn_at)) == ("withdrawn", True)


async def test_editions_are_asked_for_by_code_day_and_ground(tmp_path: Path) -> None:
    catalogue = simple_catalogue(1, 9, 1)
    async with FakeUpstream(catalogue) as upstream:
        await Mirrored(tmp_path, upstream).sync()
    assert len(subs(tmp_path, Narrowing(zone="D038"))) == 3
    assert len(subs(tmp_path, Narrowing(zone="d0038"))) == 3
    assert len(subs(tmp_path, Narrowing(zone="D0"))) == 0
    assert len(subs(tmp_path, Narrowing(zone="38"))) == 3
    assert len(subs(tmp_path, Narrowing(edition_from=date(2026, 6, 15), edition_to=date(2026, 6, 15)))) == 3
    assert len(subs(tmp_path, Narrowing(latest=True))) == 3
    assert len(subs(tmp_path, Narrowing(box=(0, 40, 10, 50)))) == 0  # they have no footprint
    resource = catalogue.resources[0].id
    page, total = asked(tmp_path, lambda offer: offer.subs("gpf", resource, order="edition", descending=True, limit=4, offset=4))
    assert (len(page), total) == (4, 9)
    assert [str(one.sub.edition_date) for one in page] == ["2026-06-15", "2026-06-15", "2026-03-15", "2026-03-15"]


async def test_an_index_of_before_is_read_after_the_next_sync(tmp_path: Path) -> None:
    async with FakeUpstream(simple_catalogue(1, 1, 1)) as upstream:
        await Mirrored(tmp_path, upstream).sync()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("ALTER TABLE resources DROP COLUMN identifier")
    offer = Offer(tmp_path)
    assert not offer.is_readable
    offer.close()
