"""A sync as the service has it: what it is of, who asked for it, who watches it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from mirror.errors import MirrorError
from mirror.events import Chunk, Event, FileKey
from mirror.sync import Report

_MOST_WAITING = 10_000  # events for one watcher; whoever reads slower loses count of bytes first, and then the connection


class Watcher:
    """Hands the events of a job to one who may read slowly: bytes that arrive meanwhile are told in one event per file."""

    def __init__(self) -> None:
        self.lagging = False
        """Whether it has fallen so far behind that it is given up."""

        self._events: deque[Event] = deque()
        self._bytes: dict[FileKey, int] = {}
        self._some = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Take one in; never waits."""
        if isinstance(event, Chunk):
            self._bytes[event.key] = self._bytes.get(event.key, 0) + event.size
        elif len(self._events) < _MOST_WAITING:
            self._flush()
            self._events.append(event)
        else:
            self.lagging = True
        self._some.set()

    def wake(self) -> None:
        """Let whoever waits look at how things stand."""
        self._some.set()

    async def wait(self, seconds: float) -> list[Event]:
        """What has come since the last call; waits for something to come, but only so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._some.wait()
        except TimeoutError:
            return []
        self._some.clear()
        self._flush()
        found, self._events = list(self._events), deque()
        return found

    def _flush(self) -> None:
        self._events.extend(Chunk(key, size) for key, size in self._bytes.items())
        self._bytes.clear()


@dataclass(eq=False)
class Job:
    """One sync of the subscriptions `names`: `scheduled`, or handed over by a command.

    It has ended when `report` or `error` is there.
    """

    names: tuple[str, ...]
    origin: Literal["schedule", "command"]
    retry: bool = False
    wait: bool = True
    """Whether it waits for a run of another process to give the mirror back."""

    report: Report | None = None
    error: MirrorError | None = None
    cancelled: bool = False
    starts: int = 0
    """How often it was begun by processes that did not end it."""

    watchers: list[Watcher] = field(default_factory=list)
    on_cancel: Callable[[], object] | None = None
    """Ends the run, once it has begun."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.report is not None or self.error is not None

    @property
    def outcome(self) -> str:
        """How it ended."""
        return self.report.outcome if self.report is not None else "failed"

    def emit(self, event: Event) -> None:
        """Show an event to whoever watches."""
        for watcher in self.watchers:
            watcher(event)

    def end(self, report: Report | None, error: MirrorError | None = None) -> None:
        """It is over."""
        self.report, self.error = report, error
        for watcher in self.watchers:
            watcher.wake()

    def cancel(self) -> None:
        """Whoever handed it over wants it stopped."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()
