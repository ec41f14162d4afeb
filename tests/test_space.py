"""`min_free` holds while a sync fills the disk, and others do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from mirror.demo.body import Pattern, read
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.errors import GuardRefused
from mirror.transfer.room import Room

from .mirrored import Mirrored, offered, only
from .mounts import PAGE, Disk, disk, need_mounts, run_in_own_mounts
from .upstream import Exchange, FakeUpstream

MIB = 1 << 20
LEAST = 10 * MIB
LARGE = SampleFile("large.7z", Pattern(48 * MIB, "large"))
CATALOGUE = Catalogue(
    (
        SampleResource("A", (SampleSub("SMALL", updated="2026-01-01", files=(SampleFile("small.7z", Pattern(1000, "small")),)),)),
        SampleResource("B", (SampleSub("LARGE", updated="2026-01-01", files=(LARGE,)),)),
    )
)


def test_in_a_namespace_where_mounting_needs_one() -> None:
    run_in_own_mounts(__file__)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    need_mounts()
    with disk(tmp_path / "disk", 80 * MIB) as made:
        yield made


async def test_a_sync_stops_when_others_fill_the_disk(small_disk: Disk) -> None:
    """Exit code 4 before less than `min_free` is left; what is whole is published, what is not goes on from there afterwards."""
    async with FakeUpstream(CATALOGUE) as upstream:
        mirror = Mirrored(small_disk.place / "root", upstream)
        mirror.limits = {"min_free": LEAST}
        mirror.upstream_options = {"downloads": 1}

        async def fills_up(exchange: Exchange) -> web.StreamResponse:
            answer = exchange.answer()
            response = await exchange.send_part(answer, 20 * MIB)
            small_disk.leave(LEAST // PAGE + 100)
            await response.write(read(answer.body, 20 * MIB, answer.end))
            return response

        upstream.script("/download/B/*", [fills_up])
        report = await mirror.sync()
        assert (report.outcome, report.exit_code) == ("refused", 4)
        assert "min_free" in report.reason
        assert "\n" not in report.reason
        assert mirror.tree() == only(offered(CATALOGUE), "SMALL")
        assert small_disk.free * PAGE >= LEAST - 6 * MIB  # what comes between two looks, and what the index still has to write
        sidecar = json.loads(next((mirror.root / ".staging" / "parts").rglob("*.json")).read_text("utf-8"))
        assert sidecar["offset"] > MIB
        ((outcome, missing),) = mirror.rows("SELECT outcome, failures FROM subscriptions")
        assert (outcome, missing) == ("refused", 1)
        small_disk.clear()
        report = await mirror.sync()
        assert report.exit_code == 0
        assert report.done["resumed_bytes"] == sidecar["offset"]
        assert mirror.tree() == offered(CATALOGUE)


async def test_a_sync_is_refused_before_it_fetches_anything(small_disk: Disk) -> None:
    """Where what it plans would not leave `min_free`, whatever the number of transfers at once."""
    async with FakeUpstream(CATALOGUE) as upstream:
        mirror = Mirrored(small_disk.place / "root", upstream)
        mirror.limits = {"min_free": 40 * MIB}
        report = await mirror.sync()
        assert (report.outcome, report.exit_code, mirror.requests().get("download")) == ("refused", 4, None)


async def test_a_file_of_unknown_size_is_watched_too(small_disk: Disk) -> None:
    """No plan can count its bytes; it is stopped on the way."""
    silent = Catalogue((SampleResource("B", (SampleSub("LARGE", updated="2026-01-01", files=(replace(LARGE, size=None),)),)),))
    async with FakeUpstream(silent) as upstream:
        mirror = Mirrored(small_disk.place / "root", upstream)
        mirror.limits = {"min_free": 60 * MIB}
        report = await mirror.sync()
        assert (report.outcome, report.exit_code) == ("refused", 4)
        assert small_disk.free * PAGE >= 60 * MIB - 6 * MIB


def test_the_disk_is_asked_once_for_4_mib_or_a_second() -> None:
    """However many transfers write, and however small what they write is."""
    moments = iter([0.0] * 34 + [n / 64 for n in range(640)])
    asked: list[int] = []
    room = Room(asked.append, lambda: next(moments))
    for _ in range(33):
        room.take(MIB)
    assert len(asked) == 9
    for _ in range(640):
        room.take(10)
    assert len(asked) == 9 + 9


def test_no_room_stays_no_room_until_there_is() -> None:
    free = [0]

    def refuse(size: int) -> None:
        if free[0] < size:
            raise GuardRefused("full")

    room = Room(refuse)
    for _ in range(3):
        with pytest.raises(GuardRefused):
            room.take(1)
    free[0] = 10
    room.take(1)
