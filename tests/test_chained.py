"""A mirror of the mirror: the same bytes and answers as of a mirror of upstream itself, at the same cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.catalogue import Catalogue, SampleFile, SampleSub
from mirror.demo.samples import sample_catalogue
from mirror.model import Term
from mirror.settings import Settings, from_mapping
from mirror.store.query import Filters, Reader
from mirror.sync import Report, sync
from mirror.verifying import verify

from .mirrored import EVERYTHING, HASTE, offered, tree_of
from .served import ServedMirror, served_mirror
from .upstream import faults, publish, replace_file, simple_catalogue, withdraw

_OF_THE_PLACE = ("path", "url", "fetched_at", "verified_at", "state")
"""What differs between two mirrors of the same: where they are, when they fetched, and what is gone from where."""


@dataclass
class Chain:
    """A mirror `first`, and one that was made of it."""

    first: ServedMirror
    root: Path

    @property
    def settings(self) -> Settings:
        upstream = {"url": f"{self.first.url}/gpf/capabilities", "requests_per_second": 100_000}
        tables = {
            "root": str(self.root),
            "limits": {"min_free": 0},
            "upstream": {"gpf": upstream},
            "subscription": {"all": EVERYTHING},
        }
        return from_mapping(tables, self.root, {})

    async def sync(self, *, days: float = 0) -> Report:
        """Sync the first, then the second; before that let days pass."""
        self.first.mirror.clock.pass_(days=days)
        assert (await self.first.sync()).outcome == "complete"
        return await self.second()

    async def second(self) -> Report:
        """Sync only the second."""
        return await sync(self.settings, now=self.first.mirror.clock, patience=HASTE)

    def trees(self) -> tuple[dict[str, str], dict[str, str]]:
        return tree_of(self.first.root / "data"), tree_of(self.root / "data")

    def answers(self, **filters: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return answers(self.first.root, **filters), answers(self.root, **filters)


def answers(root: Path, **filters: Any) -> list[dict[str, Any]]:
    reader = Reader(root)
    try:
        found = [file.as_json() for file in reader.files(Filters(**filters))]
    finally:
        reader.close()
    return [{name: value for name, value in file.items() if name not in _OF_THE_PLACE} for file in found]


@asynccontextmanager
async def chained(tmp_path: Path, catalogue: Catalogue) -> AsyncIterator[Chain]:
    async with served_mirror(tmp_path / "first", catalogue) as first:
        yield Chain(first, tmp_path / "second")


async def test_the_second_mirror_is_as_the_first(tmp_path: Path) -> None:
    async with chained(tmp_path, sample_catalogue()) as chain:
        report = await chain.second()
        assert (report.outcome, report.failed) == ("complete", [])
        first, second = chain.trees()
        assert first == second
        assert len(first) > 20
        for filters in ({}, {"text": "batiments"}, {"zones": ("D038",)}, {"bbox": (5.0, 45.0, 6.0, 46.0)}, {"latest": True}):
            first_answer, second_answer = chain.answers(**filters)
            assert first_answer == second_answer
            assert first_answer, filters


async def test_no_change_costs_as_little_as_with_upstream(tmp_path: Path) -> None:
    async with chained(tmp_path, simple_catalogue(3, 6, 2)) as chain:
        await chain.second()
        await chain.sync(days=2)  # the listings of the first day are read once more
        theirs = await chain.first.sync()
        ours = await chain.second()
        assert ours.outcome == "complete"
        assert ours.requests == theirs.requests == 1


async def test_what_upstream_publishes_arrives_at_the_end_of_the_chain(tmp_path: Path) -> None:
    """A new edition, bytes replaced under a new date and under the old one, and a sub-resource that upstream dates long ago."""
    catalogue = simple_catalogue(2, 3, 2)
    async with chained(tmp_path, catalogue) as chain:
        await chain.second()
        resource = catalogue.resources[0]
        sub = resource.subs[0]
        files = (SampleFile("new.bin", b"new"),)
        new = replace(sub, id=f"{sub.id}_new", edition_date="2027-01-02", updated="2027-01-02", files=files)
        late = SampleSub("late", updated="2026-04-01", zones=(Term("D038"),), files=(SampleFile("late.bin", b"late"),))
        chain.first.mirror.upstream_options["full_listing_every"] = "1d"  # to find what comes without a date
        named = sub.files[0].name
        for change in (
            partial(publish, resource=resource.id, sub=new),
            partial(publish, resource=resource.id, sub=late),
            partial(replace_file, resource=resource.id, sub=sub.id, file=SampleFile(named, b"other"), updated="2027-01-03"),
        ):
            chain.first.mirror.upstream.catalogue = change(chain.first.mirror.upstream.catalogue)
            report = await chain.sync(days=2)
            assert report.outcome == "complete"
            first, second = chain.trees()
            assert first == second
            assert report.requests < 30


async def test_bytes_replaced_under_the_same_date_arrive(tmp_path: Path) -> None:
    """Upstream's dates are days, and a second publication of one day shows by none of them."""
    catalogue = simple_catalogue(1, 2, 2)
    resource = catalogue.resources[0]
    sub = resource.subs[0]
    assert sub.updated
    replaced = replace_file(catalogue, resource.id, sub.id, SampleFile(sub.files[0].name, b"of the same day"))
    async with served_mirror(tmp_path / "first", catalogue, sync=False) as first:
        chain = Chain(first, tmp_path / "second")
        first.mirror.clock.at = datetime.fromisoformat(f"{sub.updated}T12:00:00Z")
        await chain.sync()
        first.mirror.upstream.catalogue = replaced
        await chain.sync(days=0.1)
        await chain.sync(days=2)
        ours, theirs = chain.trees()
        assert ours == theirs
        assert len(set(ours.values()) - set(offered(catalogue).values())) == 1


async def test_what_upstream_withdraws_stays_in_both(tmp_path: Path) -> None:
    catalogue = simple_catalogue(1, 4, 1)
    async with chained(tmp_path, catalogue) as chain:
        await chain.second()
        before = chain.trees()[1]
        chain.first.mirror.limits["max_shrink_ratio"] = 1
        chain.first.mirror.upstream.catalogue = withdraw(catalogue, "BDALPHA", catalogue.resources[0].subs[0].id)
        assert (await chain.sync(days=8)).outcome == "complete"
        assert chain.trees() == (before, before)


async def test_nobody_takes_a_mirror_without_an_index_for_an_empty_one(tmp_path: Path) -> None:
    async with chained(tmp_path, simple_catalogue(1, 2, 1)) as chain:
        await chain.second()
        before = chain.trees()[1]
        for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
            (chain.first.root / name).unlink(missing_ok=True)
        chain.first.mirror.clock.pass_(days=8)
        report = await chain.second()
        assert report.outcome == "unavailable"
        assert chain.trees()[1] == before


@pytest.mark.parametrize("damage", ["complete", "verify"])
async def test_what_is_broken_in_the_first_is_kept_in_the_second(tmp_path: Path, damage: str) -> None:
    """An edition that is not whole is not listed: for the second it is gone, which deletes nothing."""
    catalogue = simple_catalogue(1, 3, 2)
    resource, sub = catalogue.resources[0], catalogue.resources[0].subs[0]
    async with chained(tmp_path, catalogue) as chain:
        await chain.second()
        before = chain.trees()[1]
        (chain.first.root / "data" / "gpf" / resource.id / sub.id / sub.files[0].name).write_bytes(b"wrong")
        await verify(chain.first.mirror.settings, full=damage == "verify")
        chain.first.mirror.clock.pass_(days=8)
        await chain.second()
        assert chain.trees()[1] == before
        assert (await chain.sync(days=8)).outcome == "complete"
        assert chain.trees() == (before, before)


async def until_equal(chain: Chain, *, days: int = 3) -> None:
    """Well before the next full listing, the second has what the first has."""
    for _ in range(days):
        assert (await chain.sync(days=1)).outcome == "complete"
    first, second = chain.trees()
    assert first == second


async def settled(chain: Chain) -> None:
    """Both have listed everything that they have seen on the day of its publication once more."""
    await chain.second()
    await chain.sync(days=2)


async def damage(chain: Chain, sub: SampleSub) -> None:
    """A file of a sub-resource goes wrong in the first, and `verify` finds that."""
    (chain.first.root / "data" / "gpf" / "BDALPHA" / sub.id / sub.files[0].name).write_bytes(b"wrong")
    await verify(chain.first.mirror.settings, full=True)


async def test_what_was_broken_when_the_second_began_arrives_once_it_is_mended(tmp_path: Path) -> None:
    """A repair brings no new bytes, and yet there is something to fetch for who has never had it."""
    catalogue = simple_catalogue(1, 3, 2)
    async with chained(tmp_path, catalogue) as chain:
        chain.first.mirror.clock.pass_(days=5)
        await damage(chain, catalogue.resources[0].subs[0])
        await chain.second()
        assert len(chain.trees()[1]) == 4
        await until_equal(chain)


async def test_bytes_replaced_while_it_was_broken_arrive(tmp_path: Path) -> None:
    """Under a date that the second knows: it had them before they went wrong here."""
    catalogue = simple_catalogue(1, 2, 2)
    sub = catalogue.resources[0].subs[0]
    async with chained(tmp_path, catalogue) as chain:
        await settled(chain)
        await damage(chain, sub)
        other = SampleFile(sub.files[0].name, b"other bytes")
        chain.first.mirror.upstream.catalogue = replace_file(catalogue, "BDALPHA", sub.id, other)
        chain.first.mirror.upstream_options["full_listing_every"] = "1d"
        await until_equal(chain)


async def test_what_changes_while_a_clock_is_behind_arrives(tmp_path: Path) -> None:
    catalogue = simple_catalogue(1, 2, 2)
    sub = catalogue.resources[0].subs[0]
    async with chained(tmp_path, catalogue) as chain:
        await settled(chain)
        clock = chain.first.mirror.clock
        right = clock.at
        clock.at = right - timedelta(days=20)
        other = SampleFile(sub.files[0].name, b"other bytes")
        assert (
            await chain.first.sync(replace_file(catalogue, "BDALPHA", sub.id, other, updated="2026-12-20"))
        ).outcome == "complete"
        clock.at = right
        await until_equal(chain)


async def test_what_takes_days_to_be_complete_arrives_when_it_is(tmp_path: Path) -> None:
    """Its files came on days for which the second has asked already."""
    catalogue = simple_catalogue(1, 3, 2)
    missing = catalogue.resources[0].subs[0].files[1].name
    async with served_mirror(tmp_path / "first", catalogue, sync=False) as first:
        chain = Chain(first, tmp_path / "second")
        first.mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}
        first.mirror.upstream.script(lambda record: record.path.endswith(missing), [faults.status(404)], forever=True)
        assert (await first.sync()).outcome == "incomplete"
        first.mirror.clock.pass_(days=4)
        assert (await chain.second()).outcome == "complete"
        first.mirror.upstream.heal()
        await until_equal(chain)
