"""A clock that is wrong, or jumps: nothing is lost, nothing is hidden for longer than the clock is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

import pytest

from mirror.planning.changes import is_due

from .mirrored import LONG_AFTER, Clock, Mirrored, edition, offered, rewritten
from .upstream import FakeUpstream, publish, simple_catalogue

FIRST = simple_catalogue(2, 3, 2)
SUB = FIRST.resources[0].subs[0]
SILENT = publish(FIRST, "BDALPHA", rewritten(SUB, "silently"))
"""Files replaced in place under the old date: only a listing of everything shows that."""
DECADES = timedelta(days=30 * 365)


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Mirrored]:
    async with FakeUpstream(FIRST) as fake:
        yield Mirrored(tmp_path / "root", fake)


@pytest.mark.parametrize("wrong", [LONG_AFTER - timedelta(days=365), LONG_AFTER + DECADES])
async def test_a_clock_that_was_wrong_hides_no_change(mirror: Mirrored, wrong: datetime) -> None:
    """As soon as it is right again everything is listed, as what was listed in the future, or long ago, has no age."""
    mirror.clock.at = wrong
    assert (await mirror.sync()).exit_code == 0
    mirror.clock.at = LONG_AFTER
    mirror.upstream.catalogue = SILENT
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(SILENT)
    assert (await mirror.sync()).requests == 1


@pytest.mark.parametrize("wrong", [LONG_AFTER - timedelta(days=365), LONG_AFTER + DECADES])
async def test_a_clock_that_is_wrong_for_a_while_deletes_nothing(mirror: Mirrored, wrong: datetime) -> None:
    """Between right runs; and what is published meanwhile is found, at the latest when it is right again."""
    await mirror.sync()
    mirror.clock.at = wrong
    second = publish(FIRST, "BDALPHA", edition(SUB, "2026-12-15", "2026-12-20"))
    mirror.upstream.catalogue = second
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree().items() >= offered(FIRST).items()
    assert "withdrawn" not in mirror.states().values()
    mirror.clock.at = LONG_AFTER + timedelta(days=1)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(second)


async def test_a_clock_that_jumps_within_a_run(mirror: Mirrored) -> None:
    """Each time it is asked it says another year. The runs end complete, and a week later everything has been listed again."""
    jumps = cycle([LONG_AFTER, LONG_AFTER + DECADES, LONG_AFTER - timedelta(days=365)])

    class Jumping(Clock):
        def __call__(self) -> datetime:
            return next(jumps)

    right, mirror.clock = mirror.clock, Jumping()
    for catalogue in (FIRST, publish(FIRST, "BDALPHA", edition(SUB, "2026-12-15", "2026-12-20"))):
        mirror.upstream.catalogue = catalogue
        report = await mirror.sync()
        assert report.exit_code == 0
        assert report.seconds < 1000
        assert mirror.tree() == offered(catalogue)
    mirror.clock = right
    mirror.clock.pass_(days=8)
    mirror.upstream.catalogue = publish(mirror.upstream.catalogue, "BDALPHA", rewritten(SUB, "silently"))
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)


def test_clocks_that_differ_by_hours_cost_no_listing() -> None:
    """A clock is put right by minutes, and a mirror moves to a machine in another zone: that is no reason to list everything."""
    now, week = datetime(2026, 1, 8, tzinfo=UTC), timedelta(days=7)
    assert not is_due(now, week, now)
    assert not is_due(now + timedelta(hours=12), week, now)
    assert is_due(now + timedelta(days=1), week, now)
    assert not is_due(now - timedelta(days=6), week, now)
    assert is_due(now - week, week, now)
