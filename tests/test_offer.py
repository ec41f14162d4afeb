"""What the mirror tells others of: editions that are here, complete and verified, and dates by which they see that something changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from mirror.demo.catalogue import Catalogue, SampleFile
from mirror.store.offer import Narrowing, Offer

from .mirrored import Mirrored
from .upstream import FakeUpstream, faults, simple_catalogue

T = TypeVar("T")


def asked(root: Path, question: Callable[[Offer], T]) -> T:
    offer = Offer(root)
    try:
        with offer.asking():
            return question(offer)
    finally:
        offer.close()


def subs(root: Path, narrowing: Narrowing | None = None) -> list[str]:
    return [
        found.sub.id
        for resource in asked(root, lambda offer: offer.resources("gpf"))
        for found in asked(root, lambda offer: offer.subs("gpf", resource.resource.id, narrowing or Narrowing()))[0]
    ]


def with_file(catalogue: Catalogue, data: bytes, *, updated: str | None = None) -> Catalogue:
    """The catalogue with other bytes in the first file of its first sub-resource."""
    resource = catalogue.resources[0]
    sub = resource.subs[0]
    changed = replace(sub, files=(SampleFile(sub.files[0].name, data), *sub.files[1:]), updated=updated or sub.updated)
    return Catalogue((replace(resource, subs=(changed, *resource.subs[1:])), *catalogue.resources[1:]))


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
    missing = catalogue.resources[0].subs[0].files[0].name
    async with FakeUpstream(catalogue) as upstream:
        upstream.rules.append(faults.Rule(faults.status(404), path=f"*{missing}"))
        mirror = Mirrored(tmp_path, upstream, all={"resources": ["*"], "edition": "all", "publish": "each"})
        await mirror.sync()
    broken = catalogue.resources[0].subs[0]
    assert broken.id not in subs(tmp_path)
    there = broken.files[1].name
    assert asked(tmp_path, lambda offer: offer.file("gpf", catalogue.resources[0].id, broken.id, there))
    assert not asked(tmp_path, lambda offer: offer.file("gpf", catalogue.resources[0].id, broken.id, missing))


@pytest.mark.parametrize("dated", [False, True], ids=["under the same date", "under a new date"])
async def test_replaced_bytes_show_by_a_date(tmp_path: Path, dated: bool) -> None:
    """Who compares dates, as every client of the feeds does, sees that there is something to fetch."""
    before = simple_catalogue(1, 2, 2)
    async with FakeUpstream(before) as upstream:
        mirror = Mirrored(tmp_path, upstream, all={"resources": ["*"], "edition": "all"})
        mirror.upstream_options = {"full_listing_every": "1s"}
        await mirror.sync()
        sub = before.resources[0].subs[0]
        dates = []
        for catalogue in (before, with_file(before, b"other bytes", updated="2026-12-30" if dated else None)):
            upstream.catalogue = catalogue
            mirror.clock.pass_(days=3)
            await mirror.sync()
            found = asked(tmp_path, lambda offer: offer.sub("gpf", before.resources[0].id, sub.id))
            assert found is not None
            dates.append(found.sub.updated)
    assert dates[0] == sub.updated
    if dated:
        assert dates[1] == "2026-12-30"
