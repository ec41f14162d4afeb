"""What a run is doing at this moment: a consumer of the event stream that can be looked at from any thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

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
from mirror.phrases import phrase

STAGES: Mapping[str, str] = {
    "starting": phrase("starting"),
    "listing": phrase("listing"),
    "planning": phrase("planning"),
    "fetching": phrase("fetching"),
    "unpacking": phrase("unpacking"),
}
"""What a run is at, as people are told."""

WINDOW = 10.0
"""Seconds over which speeds are measured: long enough to be steady, short enough to show that nothing comes any more."""


class Meter:
    """Bytes per second over the last seconds, in steps of one second."""

    __slots__ = ("_began", "_clock", "_seconds")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._seconds: deque[list[float]] = deque()

    def add(self, size: int) -> None:
        """So many bytes have come."""
        second = float(int(self._clock()))
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += size
            return
        self._seconds.append([second, size])
        while self._seconds[0][0] < second - WINDOW:
            self._seconds.popleft()

    def speed(self) -> float:
        """Bytes per second."""
        now = self._clock()
        size = sum(size for second, size in tuple(self._seconds) if second >= now - WINDOW)
        return float(size) / min(WINDOW, max(1.0, now - self._began))


_HEARD = frozenset(
    {
        Chunk,
        Requested,
        TransferStarted,
        Verified,
        Published,
        Restarted,
        SetBack,
        Failed,
        Walled,
        Planned,
        Stage,
        RunBegan,
        RunEnded,
        HookStarted,
        HookDone,
        HookFailed,
        HookStopped,
    }
)


@dataclass(frozen=True, slots=True)
class LiveTransfer:
    """A file that is being fetched. `size` is None where nobody says; `eta` in seconds, None where it cannot be told."""

    upstream: str
    resource: str
    sub_resource: str
    file: str
    size: int | None
    done: int
    bytes_per_second: float
    seconds: float
    eta: float | None


@dataclass(frozen=True, slots=True)
class LiveWall:
    """An upstream that has told us to stop, and for how many more seconds."""

    upstream: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run under way. Sizes in bytes. `bytes_done` counts what earlier runs have left in staging, as `bytes_planned` does."""

    subscriptions: tuple[str, ...]
    origin: Literal["schedule", "command", ""]
    started_at: datetime
    seconds: float
    stage: str
    requests: int
    files_planned: int | None
    files_done: int
    files_failed: int
    bytes_planned: int | None
    bytes_done: int
    bytes_received: int
    bytes_per_second: float
    eta: float | None


@dataclass(frozen=True, slots=True)
class LiveHook:
    """A command that runs, since so many seconds. `resource` and `sub_resource` are empty where it is about a run."""

    subscription: str
    hook: Literal["on_publish", "on_failure", "on_complete"]
    upstream: str
    resource: str
    sub_resource: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at what is going on. `run` is None while nothing runs."""

    at: datetime
    run: LiveRun | None
    transfers: tuple[LiveTransfer, ...]
    walls: tuple[LiveWall, ...]
    hooks: tuple[LiveHook, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON: moments in ISO 8601, speeds and seconds rounded."""
        run = None
        if self.run is not None:
            run = _rounded(asdict(self.run))
            run["started_at"] = _text(self.run.started_at)
        return {
            "at": _text(self.at),
            "run": run,
            "transfers": [_rounded(asdict(transfer)) for transfer in self.transfers],
            "walls": [_rounded(asdict(wall)) for wall in self.walls],
            "hooks": [
                {name: None if value == "" else value for name, value in _rounded(asdict(hook)).items()} for hook in self.hooks
            ],
        }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in facts.items()}


class _Transfer:
    __slots__ = ("began", "done", "meter", "size")

    def __init__(self, size: int | None, done: int, clock: Callable[[], float]) -> None:
        self.size = size
        self.done = done
        self.began = clock()
        self.meter = Meter(clock)


class Live:
    """Takes in events, thousands per second if need be, and gives a snapshot whenever asked."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._clock = clock
        self._now = now
        self._walls: dict[str, float] = {}
        self._hooks: dict[HookKey, float] = {}  # with when each began: they outlast the run that gave rise to them
        self._meter = Meter(clock)
        self._running = False
        self._reset((), "")

    def _reset(self, names: tuple[str, ...], origin: Literal["schedule", "command", ""]) -> None:
        self._names = names
        self._origin: Literal["schedule", "command", ""] = origin
        self._started_at = self._now()
        self._began = self._clock()
        self._stage = "starting"
        self._requests = self._done = self._failed = self._settled = self._received = 0
        self._planned: Planned | None = None
        self._transfers: dict[FileKey, _Transfer] = {}

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        if type(event) not in _HEARD:
            return
        match event:
            case Chunk(key, size):
                self._received += size
                self._meter.add(size)
                if (transfer := self._transfers.get(key)) is not None:
                    transfer.done += size
                    transfer.meter.add(size)
            case Requested():
                self._requests += 1
            case TransferStarted(key, size, offset):
                self._transfers[key] = _Transfer(size, offset, self._clock)
            case Verified(key, size, _):
                self._transfers.pop(key, None)
                self._settled += size
            case Published():
                self._done += 1
            case Restarted() | SetBack() | Failed():
                self._disappoint(event)
            case Walled(upstream, _, seconds, _):
                self._walls[upstream] = self._clock() + seconds
            case Planned():
                self._planned = event
            case Stage(name):
                self._running = True
                self._stage = name
                if name == "unpacking":
                    self._transfers = {}
            case HookStarted(key, _):
                self._hooks[key] = self._clock()
            case HookDone(key) | HookFailed(key) | HookStopped(key):
                self._hooks.pop(key, None)
            case RunBegan(names, origin):
                self._reset(names, origin)
                self._running = True
            case RunEnded():
                self._reset((), "")
                self._running = False

    def _disappoint(self, event: Restarted | SetBack | Failed) -> None:
        if isinstance(event, Restarted):
            if (transfer := self._transfers.get(event.key)) is not None:
                transfer.done = 0
            return
        self._transfers.pop(event.key, None)
        self._failed += isinstance(event, Failed)

    def snapshot(self) -> Snapshot:
        """How things are now."""
        clock, speed = self._clock(), self._meter.speed()
        transfers = tuple(self._look_at(key, found, clock) for key, found in tuple(self._transfers.items()))
        walls = tuple(LiveWall(name, until - clock) for name, until in tuple(self._walls.items()) if until > clock)
        run = None
        if self._running:
            planned = self._planned
            done = self._settled + sum(found.done for found in transfers)
            left = max(0, planned.bytes - done) if planned is not None else None
            run = LiveRun(
                self._names,
                self._origin,
                self._started_at,
                clock - self._began,
                self._stage,
                self._requests,
                planned.add + planned.replace if planned is not None else None,
                self._done,
                self._failed,
                planned.bytes if planned is not None else None,
                done,
                self._received,
                speed,
                left / speed if left and speed and self._stage == "fetching" else None,
            )
        hooks = tuple(
            LiveHook(key.subscription, key.hook, key.upstream, key.resource, key.sub_resource, clock - began)
            for key, began in tuple(self._hooks.items())
        )
        return Snapshot(self._now(), run, transfers, walls, hooks)

    def _look_at(self, key: FileKey, found: _Transfer, clock: float) -> LiveTransfer:
        speed = found.meter.speed()
        left = max(0, found.size - found.done) if found.size is not None else None
        return LiveTransfer(
            key.upstream,
            key.resource,
            key.sub_resource,
            key.file,
            found.size,
            found.done,
            speed,
            clock - found.began,
            left / speed if left is not None and speed else None,
        )
