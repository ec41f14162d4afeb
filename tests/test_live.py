"""What is going on: speeds over the last seconds, time left, transfers that come and go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.events import (
    Chunk,
    Event,
    Failed,
    FileKey,
    HookDone,
    HookFailed,
    HookKey,
    HookStarted,
    HookStopped,
    Planned,
    Published,
    Requested,
    Restarted,
    RunBegan,
    RunEnded,
    SetBack,
    Stage,
    TransferStarted,
    Verified,
    Walled,
)
from mirror.observing.live import Live, LiveRun, Meter, Snapshot

from .mirrored import LONG_AFTER, Mirrored
from .upstream import FakeUpstream, simple_catalogue

ONE, TWO = (FileKey("gpf", "R", "S", name) for name in ("one.7z", "two.7z"))


RUN = HookKey("lidar", "on_complete", "gpf")


class World:
    """A live view with a clock that is turned by hand."""

    def __init__(self) -> None:
        self.time = 100.0
        self.live = Live(clock=lambda: self.time, now=lambda: LONG_AFTER)

    def tell(self, *events: Event) -> None:
        for event in events:
            self.live(event)

    def run(self) -> LiveRun:
        found = self.live.snapshot().run
        assert found is not None
        return found


def test_nothing_runs_before_and_after_a_run() -> None:
    world = World()
    assert world.live.snapshot() == Snapshot(LONG_AFTER, None, (), ())
    world.tell(RunBegan(("topo",), "schedule"), TransferStarted(ONE, 10, 0))
    assert world.run().subscriptions == ("topo",)
    assert world.run().stage == "starting"
    world.tell(RunEnded(("topo",), "interrupted", "", 1.0))
    assert world.live.snapshot() == Snapshot(LONG_AFTER, None, (), ())


def test_a_transfer_has_its_share_its_speed_and_its_time_left() -> None:
    """What an earlier run has left counts as done, not as speed."""
    world = World()
    world.tell(RunBegan(("topo",), "command"), Stage("fetching"), Planned(1, 1, 7, 10_000), TransferStarted(ONE, 8000, 2000))
    for _ in range(10):
        world.time += 1
        world.tell(Chunk(ONE, 300))
    (transfer,) = world.live.snapshot().transfers
    assert (transfer.file, transfer.size, transfer.done, transfer.seconds) == ("one.7z", 8000, 5000, 10.0)
    assert transfer.bytes_per_second == pytest.approx(300)
    assert transfer.eta == pytest.approx(10)
    run = world.run()
    assert (run.files_planned, run.bytes_planned, run.bytes_done, run.bytes_received) == (2, 10_000, 5000, 3000)
    assert run.eta == pytest.approx(5000 / 300)


def test_a_speed_is_of_the_last_seconds_only() -> None:
    """A line that has died shows 0 after ten seconds, and no time that is left."""
    world = World()
    world.tell(
        RunBegan((), "command"), Stage("fetching"), Planned(1, 0, 0, 10**9), TransferStarted(ONE, 10**9, 0), Chunk(ONE, 10**6)
    )
    world.time += 11.5
    (transfer,) = world.live.snapshot().transfers
    assert (transfer.bytes_per_second, transfer.eta) == (0, None)
    assert world.run().eta is None


def test_transfers_go_when_they_end_in_whatever_way() -> None:
    world = World()
    world.tell(RunBegan((), "command"), Planned(4, 0, 0, 400))
    for end in (Verified(ONE, 100, 0), SetBack(ONE, "cut"), Failed(ONE, "u", "gone", 3)):
        world.tell(TransferStarted(ONE, 100, 0), Chunk(ONE, 50), TransferStarted(TWO, 100, 0), end)
        assert [found.file for found in world.live.snapshot().transfers] == ["two.7z"]
    world.tell(Published(ONE, 100, "add"))
    assert (world.run().files_done, world.run().files_failed, world.run().bytes_done) == (1, 1, 100)


def test_a_transfer_from_zero_again_has_nothing_done() -> None:
    world = World()
    world.tell(TransferStarted(ONE, 100, 60), Chunk(ONE, 20), Restarted(ONE, "changed"))
    assert [found.done for found in world.live.snapshot().transfers] == [0]


def test_walls_are_there_until_they_are_over() -> None:
    world = World()
    world.tell(Walled("gpf", 429, 5.0, 2.0))
    world.time += 3
    assert [(wall.upstream, wall.seconds) for wall in world.live.snapshot().walls] == [("gpf", 2.0)]
    world.time += 3
    assert world.live.snapshot().walls == ()


def test_commands_are_there_while_they_run_whatever_runs_beside_them() -> None:
    world = World()
    keys = [HookKey("lidar", "on_publish", "gpf", "R", f"S{number}") for number in range(3)]
    world.tell(HookStarted(keys[0], 1), HookStarted(keys[1], 1), HookStarted(keys[2], 1), HookStarted(RUN, 1))
    world.tell(RunBegan(("topo",), "schedule"), RunEnded(("topo",), "complete", "", 1.0, 0, 0))
    world.time += 3
    assert {(hook.sub_resource, hook.seconds) for hook in world.live.snapshot().hooks} == {
        ("S0", 3.0),
        ("S1", 3.0),
        ("S2", 3.0),
        ("", 3.0),
    }
    world.tell(HookDone(keys[0], 3.0, ""), HookFailed(keys[1], "why", 1, None), HookStopped(keys[2]))
    assert world.live.snapshot().as_json()["hooks"] == [
        {
            "subscription": "lidar",
            "hook": "on_complete",
            "upstream": "gpf",
            "resource": None,
            "sub_resource": None,
            "seconds": 3.0,
        }
    ]


def test_a_snapshot_is_json() -> None:
    world = World()
    world.tell(
        RunBegan(("topo",), "schedule"),
        Stage("listing"),
        Requested("gpf", "u"),
        TransferStarted(ONE, None, 0),
        Walled("gpf", 429, 5, 1),
    )
    found = json.loads(json.dumps(world.live.snapshot().as_json()))
    assert found["at"] == "2027-01-01T12:00:00Z"
    assert found["run"]["stage"] == "listing"
    assert found["run"]["eta"] is None
    assert found["transfers"][0]["size"] is None
    assert found["walls"] == [{"upstream": "gpf", "seconds": 5.0}]


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10**9)), max_size=60))
def test_a_meter_never_shows_more_than_came(steps: list[tuple[float, int]]) -> None:
    """Over any window: not negative, and within a second's worth of what came in the last ten seconds."""
    time = [50.0]
    meter = Meter(lambda: time[0])
    came: list[tuple[float, int]] = []
    for wait, size in steps:
        time[0] += wait
        meter.add(size)
        came.append((time[0], size))
    recent = sum(size for at, size in came if at >= time[0] - 11)
    assert 0 <= meter.speed() <= recent


async def test_a_real_sync_leaves_nothing_under_way(tmp_path: Path) -> None:
    """Every transfer that began is seen to end, and all planned bytes are done."""
    async with FakeUpstream(simple_catalogue(1, 3, 2)) as upstream:
        mirror = Mirrored(tmp_path, upstream)
        await mirror.sync()
        world = World()
        world.tell(RunBegan(("all",), "schedule"))
        stages = []
        for event in mirror.events:
            world.tell(event)
            if isinstance(event, Stage):
                stages.append(event.name)
        assert stages == ["listing", "planning", "fetching", "unpacking"]
        run = world.run()
        assert world.live.snapshot().transfers == ()
        assert run.files_done == run.files_planned == 6
        assert run.bytes_done == run.bytes_planned == run.bytes_received == 6000
