"""The pace never exceeds its rate, whoever asks and however; and a wall stops everybody."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.pace import Gate, Pace

from .virtual_time import VirtualLoop, run

EVENNESS = 0.004  # seconds by which a turn may come early: shorter sleeps are saved up
ROUNDING = 1e-6


def turns(rate: float, pauses: list[list[float]]) -> list[float]:
    """When the turns came of workers that pause so long before each of their requests."""
    loop = VirtualLoop()
    pace = Pace(rate, loop.time)
    came: list[float] = []

    async def worker(its_pauses: list[float]) -> None:
        for pause in its_pauses:
            await asyncio.sleep(pause)
            await pace.take()
            came.append(loop.time())

    async def main() -> None:
        await asyncio.gather(*map(worker, pauses))

    run(loop, main())
    return came


@given(
    st.floats(0.2, 200),
    st.lists(st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.1, 3.0]), min_size=1, max_size=20), min_size=1, max_size=8),
)
def test_no_second_has_more_requests_than_the_rate_allows(rate: float, pauses: list[list[float]]) -> None:
    """In any stretch of time from one turn to a later one, and after any pause: nothing is saved up for a burst."""
    came = turns(rate, pauses)
    assert len(came) == sum(map(len, pauses))
    for first, start in enumerate(came):
        for later in range(first + 1, len(came)):
            assert came[later] - start >= (later - first) / rate - EVENNESS - ROUNDING


def test_a_free_way_is_not_waited_for() -> None:
    assert turns(4, [[1.0]]) == [1.0]


@given(st.integers(1, 100), st.lists(st.integers(1, 1 << 20), min_size=2, max_size=30))
def test_a_bandwidth_is_kept_whatever_the_sizes(megabytes: int, sizes: list[int]) -> None:
    """The pace counts any unit: with bytes it is the bandwidth limit. What has come must have had its time before more is taken."""
    loop = VirtualLoop()
    pace = Pace(megabytes * 1e6, loop.time)

    async def main() -> None:
        for size in sizes:
            await pace.take(size)

    run(loop, main())
    assert loop.time() >= sum(sizes[:-1]) / (megabytes * 1e6) - EVENNESS - ROUNDING


def passing(rate: float, workers: int, each: int, walls: dict[float, float]) -> tuple[list[float], Gate, list[bool]]:
    """When requests passed a gate while walls came up: `walls` are seconds of length by their time."""
    loop = VirtualLoop()
    gate = Gate(rate, loop.time)
    came: list[float] = []
    fresh: list[bool] = []

    async def worker() -> None:
        for _ in range(each):
            await gate.pass_through()
            came.append(loop.time())

    async def upstream() -> None:
        for at, seconds in walls.items():
            await asyncio.sleep(at - loop.time())
            fresh.append(gate.raise_wall(seconds))

    async def main() -> None:
        await asyncio.gather(upstream(), *(worker() for _ in range(workers)))

    run(loop, main())
    return came, gate, fresh


def test_a_wall_stops_all_workers_and_then_they_go_on_slower() -> None:
    came, gate, fresh = passing(10, workers=8, each=10, walls={2.05: 5})
    assert fresh == [True]
    assert not [at for at in came if 2.05 < at < 7.05 - ROUNDING]
    after = came[bisect_left(came, 7.0) :]
    assert len(after) == 80 - 21
    gaps = [later - earlier for earlier, later in pairwise(after)]
    assert min(gaps[1:]) >= 1 / 5 - EVENNESS - ROUNDING
    assert gate.rate == 5


def test_many_voices_of_one_ban_slow_down_once() -> None:
    """Eight requests may be under way when the ban begins, and all are told so."""
    came, gate, fresh = passing(10, workers=8, each=5, walls={1.0: 5, 1.01: 5, 1.02: 4.9})
    assert fresh == [True, False, False]
    assert gate.rate == 5
    assert not [at for at in came if 1.01 < at < 6.01 - ROUNDING]


def test_ban_upon_ban_is_slower_and_slower_but_never_stands_still() -> None:
    _, gate, _ = passing(8, workers=1, each=1, walls={float(at): 1 for at in range(0, 40, 2)})
    assert gate.rate == 0.25


def test_a_pace_that_was_slow_from_the_start_is_not_made_faster_by_a_ban() -> None:
    _, gate, _ = passing(0.1, workers=1, each=1, walls={1.0: 1})
    assert gate.rate == 0.1


def test_the_pace_recovers_by_a_quarter_a_minute_up_to_what_is_allowed() -> None:
    came, gate, _ = passing(4, workers=2, each=1000, walls={1.0: 5})
    per_minute = [len([at for at in came if start <= at < start + 60]) for start in (6, 66, 126, 186, 246)]
    assert per_minute[0] <= 121
    assert per_minute == sorted(per_minute)
    assert max(per_minute) <= 241
    assert gate.rate == 4
