"""A file comes out right, whatever happens on the way, or it comes out as an error that says why; and nothing is fetched twice."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.body import read
from mirror.errors import TransferError, UpstreamUnavailable
from mirror.events import Chunk, Event, Retrying, TransferStarted, Verified

from .fetching import MIB, NAME, PATH, QUICK, Bench, bench
from .upstream import Fault, faults

SIZE = 2 * MIB + 12_345
SMALL = 200_000


@pytest.fixture
async def big(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, SIZE) as made:
        yield made


async def refused(at: Bench, **facts: Any) -> TransferError:
    """The error that a transfer ends with; nothing is ready then."""
    with pytest.raises(TransferError) as caught:
        await at.fetch(at.listed(**facts))
    assert not at.ready.exists()
    assert "\n" not in str(caught.value)
    return caught.value


# -- verified


@pytest.mark.parametrize("size", [0, 1, 65_536, MIB - 1, MIB, MIB + 1, 5 * MIB + 7])
async def test_every_byte_and_both_hashes(tmp_path: Path, size: int) -> None:
    async with bench(tmp_path, size) as at:
        staged = await at.fetch()
        assert at.right(staged)
        content = read(at.body)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        assert (staged.hashes.size, staged.hashes.md5, staged.hashes.sha256) == (size, md5, hashlib.sha256(content).hexdigest())
        assert staged.resumed == 0
        assert sum(event.size for event in at.of(Chunk)) == size
        assert [event.offset for event in at.of(TransferStarted)] == [0]
        assert [(event.size, event.resumed) for event in at.of(Verified)] == [(size, 0)]
        assert at.upstream.count() == 1


@pytest.mark.parametrize("size", [0, SMALL, SIZE])
@pytest.mark.parametrize("facts", [{"size": None}, {"md5": None}, {"size": None, "md5": None}])
async def test_what_the_feed_does_not_say_is_not_checked(tmp_path: Path, size: int, facts: dict[str, None]) -> None:
    async with bench(tmp_path, size) as at:
        assert at.right(await at.fetch(at.listed(**facts)))


@pytest.mark.parametrize("size", [SMALL, SIZE])
async def test_a_wrong_md5_is_tried_three_times_and_is_then_the_upstreams_fault(tmp_path: Path, size: int) -> None:
    async with bench(tmp_path, size) as at:
        error = await refused(at, md5="0" * 32)
        assert "upstream is wrong: MD5 is" in str(error)
        assert (error.attempts, error.retry) == (3, False)
        assert at.asked() == [None] * 3
        assert at.kept()[1] == 0


@pytest.mark.parametrize("size", [SMALL, SIZE])
@pytest.mark.parametrize("at_byte", [0, 100_000])
async def test_a_wrong_byte_on_the_way_is_fetched_again(tmp_path: Path, size: int, at_byte: int) -> None:
    async with bench(tmp_path, size) as at:
        at.upstream.script("download", [faults.wrong_bytes(at_byte)] * 2)
        assert at.right(await at.fetch())
        assert at.asked() == [None] * 3


@pytest.mark.parametrize("by", [-1, 1, 50_000, -50_000])
async def test_a_wrong_length_is_seen_before_the_body_is_read(tmp_path: Path, by: int) -> None:
    async with bench(tmp_path, SIZE) as at:
        at.upstream.script("download", [faults.wrong_length(by)], forever=True)
        error = await refused(at)
        assert f"{SIZE + by} bytes are served where {SIZE} are listed" in str(error)
        assert not error.retry
        assert at.of(Chunk) == []


async def test_a_file_that_was_verified_in_an_earlier_run_is_not_asked_for(big: Bench) -> None:
    """It counts by its hash alone."""
    big.ready.parent.mkdir()
    big.ready.write_bytes(read(big.body))
    staged = await big.fetch()
    assert big.right(staged)
    assert staged.resumed == SIZE
    assert big.upstream.count() == 0


@pytest.mark.parametrize("content", [b"", b"x" * SIZE])
async def test_a_file_that_only_seems_to_be_verified_is_fetched(big: Bench, content: bytes) -> None:
    big.ready.parent.mkdir()
    big.ready.write_bytes(content)
    assert big.right(await big.fetch())
    assert big.asked() == [None]


# -- cut


@pytest.mark.parametrize("offset", [0, 1, 1000, MIB - 1, MIB, MIB + 1, SIZE - 1])
async def test_cut_anywhere_it_goes_on_from_there(big: Bench, offset: int) -> None:
    """From there, or up to a MiB before: what waits in aiohttp's buffer when the connection breaks, it does not give out."""
    big.upstream.script("download", [faults.cut_after(offset)])
    staged = await big.fetch()
    assert big.right(staged)
    first, second = big.asked()
    assert first is None
    begin = int((second or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    assert offset - MIB <= begin <= offset
    assert begin == offset or offset > MIB // 2
    assert sum(event.size for event in big.of(Chunk)) == SIZE
    assert [event.reason for event in big.of(Retrying)] == ["the connection was cut"]


@pytest.mark.parametrize("offset", [1, SMALL - 1])
async def test_small_files_go_on_too(tmp_path: Path, offset: int) -> None:
    async with bench(tmp_path, SMALL) as at:
        at.upstream.script("download", [faults.cut_after(offset)])
        assert at.right(await at.fetch())
        assert at.asked() == [None, f"bytes={offset}-"]


async def test_cuts_without_number_while_each_attempt_comes_further(big: Bench) -> None:
    cuts = [faults.cut_after(50_000)] * 40
    big.upstream.script("download", cuts)
    assert big.right(await big.fetch())
    assert big.asked() == [None, *(f"bytes={50_000 * number}-" for number in range(1, 41))]


async def test_attempts_that_come_no_further_end(big: Bench) -> None:
    big.upstream.script("download", [faults.cut_after(MIB), faults.cut_after(0)], forever=True)
    error = await refused(big)
    assert "cut" in str(error)
    assert (error.attempts, error.retry) == (7, True)
    assert big.kept() == (MIB, MIB)


async def test_a_few_fruitless_attempts_do_not_count_once_it_goes_on(big: Bench) -> None:
    fruitless = [faults.status(500)] * 5
    big.upstream.script("download", [*fruitless, faults.cut_after(1000), *fruitless, faults.cut_after(1000), *fruitless])
    assert big.right(await big.fetch())


@pytest.mark.parametrize(
    "fault", [faults.status(500), faults.status(503), faults.close_before_response(), faults.cut_after(0), faults.stall()]
)
async def test_what_passes_is_tried_again(big: Bench, fault: Fault) -> None:
    big.upstream.script("download", [fault, fault])
    assert big.right(await big.fetch())


async def test_a_wall_is_waited_out(big: Bench) -> None:
    big.upstream.script("download", [faults.cut_after(1000), faults.retry_after(429, 0), faults.retry_after(503, 0)])
    assert big.right(await big.fetch())
    assert big.asked() == [None, "bytes=1000-", "bytes=1000-", "bytes=1000-"]


async def test_walls_without_end_keep_what_has_come(big: Bench) -> None:
    big.upstream.script("download", [faults.cut_after(1000), faults.retry_after(429, 0)], forever=True)
    with pytest.raises(UpstreamUnavailable):
        await big.fetch()
    assert big.kept() == (1000, 1000)


async def test_a_stall_ends_when_nothing_comes_for_the_idle_time(big: Bench) -> None:
    big.upstream.script("download", [faults.stall(MIB + 5)])
    assert big.right(await big.fetch())
    assert big.asked() == [None, f"bytes={MIB + 5}-"]
    assert [event.reason for event in big.of(Retrying)] == ["the server has gone silent"]


async def test_a_connection_that_stays_slow_is_left_for_another(tmp_path: Path) -> None:
    patience = replace(QUICK, idle=5, min_speed=1_000_000, slow_for=0.3)
    async with bench(tmp_path, SIZE, patience=patience) as at:
        at.upstream.script("download", [faults.trickle(100_000)])
        assert at.right(await at.fetch())
        assert [event.reason.split(" for ")[0] for event in at.of(Retrying)] == ["slower than 1000 kB/s"]
        first, second = at.asked()
        assert first is None
        assert second is not None


async def test_our_own_limit_is_not_the_servers_slowness(tmp_path: Path) -> None:
    """A bandwidth below the least speed must not make us reconnect again and again."""
    patience = replace(QUICK, idle=5, min_speed=100e6, slow_for=0.1)
    async with bench(tmp_path, 4 * MIB, patience=patience, session={"bandwidth": 8e6}) as at:
        assert at.right(await at.fetch())
        assert at.asked() == [None]


# -- speed


async def test_the_bandwidth_limit_is_for_all_bytes(tmp_path: Path) -> None:
    """Every byte that comes is charged to the limit of the session, small files and last batches included."""
    for size in (SMALL, SIZE):
        async with bench(tmp_path / str(size), size, session={"bandwidth": 1e12}) as at:
            pace = at.session._spending
            spent: list[float] = []
            take = pace.take

            async def counted(units: float = 1.0, *, take: Any = take, spent: list[float] = spent) -> None:
                spent.append(units)
                await take(units)

            pace.take = counted  # type: ignore[method-assign]
            await at.fetch()
            assert sum(spent) == size


# -- secrets and addresses


async def test_the_key_is_in_no_event_error_or_sidecar(tmp_path: Path) -> None:
    async with bench(tmp_path, SIZE, session={"api_key": "s3cr3t"}) as at:
        at.upstream.script("download", [faults.cut_after(MIB), faults.close_before_response()], forever=True)
        error = await refused(at)
        assert "s3cr3t" not in repr(at.events) + str(error) + at.part.with_name(f"{NAME}.part.json").read_text()
        assert {record.query["apikey"] for record in at.upstream.requests} == {"s3cr3t"}
        assert {record.path for record in at.upstream.requests} == {PATH}


# -- interrupted


async def test_interrupted_it_keeps_what_has_come_and_goes_on_in_the_next_run(big: Bench) -> None:
    big.upstream.script("download", [faults.stall(MIB + 70_000)])
    came = asyncio.Event()

    def notice(event: Event) -> None:
        big.events.append(event)
        if sum(chunk.size for chunk in big.of(Chunk)) >= MIB:
            came.set()

    first = Bench(big.upstream, big.session, big.folder, big.body, events=_Noticing(notice))
    task = asyncio.create_task(first.fetch())
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held, claimed = big.kept()
    assert held == claimed >= MIB
    staged = await big.fetch()
    assert big.right(staged)
    assert staged.resumed == claimed
    assert big.asked() == [None, f"bytes={claimed}-"]
    assert [event.offset for event in big.of(TransferStarted)] == [0, claimed]
    assert big.of(Verified)[-1].resumed == claimed


class _Noticing(list[Event]):
    """A list of events that tells of each."""

    def __init__(self, notice: Any) -> None:
        super().__init__()
        self._notice = notice

    def append(self, event: Event) -> None:
        self._notice(event)
