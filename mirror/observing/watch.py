"""The upstream watch of the service: when nobody has asked an upstream anything for an hour, it is asked for one small page.

What a sync asks is counted by the sync itself, which writes it down under its own lock. Here only probes are counted; what syncs
ask shows when none is needed.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

import aiohttp

from mirror.errors import MirrorError, RequestFailed, UpstreamUnavailable
from mirror.events import Answered, Emit, Event, Note, Walled, fan_out
from mirror.settings import Settings
from mirror.settings import Upstream as UpstreamSettings
from mirror.store.hours import UpstreamHours
from mirror.store.index import FILE, Index
from mirror.store.lock import root_lock
from mirror.store.observed import Observed
from mirror.store.query import Reader
from mirror.sync import Clock, open_session, utc_now
from mirror.upstream.geoplateforme import ACCEPT, Geoplateforme
from mirror.upstream.tally import Hours, Tally, hour_of

_SOON = 60.0  # seconds after the start of the service: a restart loop must not become a request loop
_RETRY = 60.0  # seconds until what could not be written down is tried again
_IDLE = 3600.0


class Asker(Protocol):
    """Asks an upstream for one small page; tells in events how that went. Raises what a request raises."""

    def __call__(self, name: str, upstream: UpstreamSettings, emit: Emit) -> Awaitable[None]:
        """Ask once."""


async def ask(name: str, upstream: UpstreamSettings, emit: Emit, contact: str | None = None) -> None:
    """One GET of the capabilities, one entry long; only the head of the answer is waited for."""
    session = open_session(name, upstream, contact, emit)
    url = upstream.url
    if upstream.dialect != "inspire":
        page = Geoplateforme(upstream.url)
        request = page.page(page.capabilities(), 1, 1)
        url = f"{request.url}?{'&'.join(f'{key}={value}' for key, value in request.query.items())}"
    async with session, session.open(url, {"Accept": ACCEPT}, kind="probe"):
        pass


class Watch:
    """Knows when each upstream was heard of last, and asks those that were not. A consumer of the events of all syncs."""

    def __init__(
        self,
        settings: Settings,
        emit: Emit = lambda event: None,
        *,
        now: Clock = utc_now,
        clock: Callable[[], float] = time.monotonic,
        asker: Asker | None = None,
        save: Callable[[Hours, datetime], Awaitable[bool]] | None = None,
    ) -> None:
        """`emit` gets the events of probes; `asker` and `save` stand in for the network and the index."""
        self._settings = settings
        self._tally = Tally(now)
        self._emit = fan_out(self, self._tally, emit)
        self._now = now
        self._clock = clock
        self._asker = asker
        self._save = save or self._save_in_thread
        began = clock()
        self._began = began
        self._heard: dict[str, float] = {}
        self._wall_until: dict[str, float] = {}
        self._unsaved = False
        self._changed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Take in an event of a sync, or of a probe."""
        match event:
            case Answered(upstream=upstream):
                self._heard[upstream] = self._clock()
            case Walled(upstream=upstream, seconds=seconds):
                if upstream in self._settings.upstream:
                    # The limit is that of the address: whoever else is on that host waits as well.
                    host = self._settings.upstream[upstream].host
                    self._wall_until[host] = max(self._wall_until.get(host, 0.0), self._clock() + seconds)

    def configure(self, settings: Settings) -> None:
        """From now on by these settings."""
        self._settings = settings
        self._changed.set()

    async def run_forever(self) -> None:
        """Probe and write down, until cancelled; then what is left is written down, if nobody is in the way."""
        await self.look_back()
        try:
            while True:
                for name in self.due():
                    await self.probe(name)
                await self.save()
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), self._pause())
        finally:
            await asyncio.shield(self.save())

    async def probe(self, name: str) -> None:
        """Ask an upstream for one small page, whatever was asked before. Failures are counted, not raised."""
        upstream = self._settings.upstream[name]
        asker: Asker = self._asker or self._ask
        try:
            await asker(name, upstream, self._emit)
        except (MirrorError, aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) if isinstance(error, RequestFailed | UpstreamUnavailable) else type(error).__name__
            self._emit(Note(f"{name}: the hourly request was not answered: {why}", "debug"))
        # Also where it came to no request at all, as for an address that is not to be asked: not again at once.
        self._heard[name] = self._clock()

    async def save(self) -> bool:
        """Write down what was counted; false where another run has the mirror or it cannot be written, and it is kept for later."""
        hours = self._tally.take()
        if not hours:
            self._unsaved = False
            return True
        saved = await self._save(hours, self._now())
        if not saved:
            self._tally.give_back(hours)
        self._unsaved = not saved
        return saved

    async def _ask(self, name: str, upstream: UpstreamSettings, emit: Emit) -> None:
        await ask(name, upstream, emit, self._settings.contact)

    async def _save_in_thread(self, hours: Hours, at: datetime) -> bool:
        return await asyncio.to_thread(write_hours, self._settings, hours, at)

    async def look_back(self) -> None:
        """Read from the index: who was heard of in this hour, before this service was started, need not be asked again at once."""
        if self._asker is not None:
            return
        for name in await asyncio.to_thread(heard_in, self._settings, self._now()):
            self._heard.setdefault(name, self._clock())

    @property
    def _every(self) -> float:
        return self._settings.service.probe_every.total_seconds()

    def _due_at(self) -> Mapping[str, float]:
        """By upstream that some subscription needs, when it is to be asked; what has a wall up, once that is down."""
        if not self._every:
            return {}
        due = {}
        for name in dict.fromkeys(found.upstream for found in self._settings.subscription.values()):
            heard = self._heard.get(name)
            at = self._began + min(_SOON, self._every) if heard is None else heard + self._every
            due[name] = max(at, self._wall_until.get(self._settings.upstream[name].host, 0.0))
        return due

    def due(self) -> list[str]:
        """The upstreams that are to be asked now."""
        return [name for name, at in self._due_at().items() if at <= self._clock()]

    def _pause(self) -> float:
        pause = min([at - self._clock() for at in self._due_at().values()], default=_IDLE)
        return max(0.0, min(pause, _RETRY if self._unsaved else _IDLE))


def write_hours(settings: Settings, hours: Hours, at: datetime) -> bool:
    """Add to the index what was counted. False where that cannot be now: a sync runs, there is no index yet, the disk refuses."""
    if not (settings.root / FILE).exists():
        return False
    try:
        with root_lock(settings.root, brief=True), Index(settings.root, wait=1.0) as index:
            UpstreamHours(index).add(hours, at=at)
    except (MirrorError, OSError, sqlite3.Error):
        return False
    return True


def heard_in(settings: Settings, moment: datetime) -> list[str]:
    """The upstreams that were asked in the hour of `moment`, or in the one before it late enough, as far as the index knows."""
    every = min(settings.service.probe_every, timedelta(hours=1))
    try:
        reader = Reader(settings.root, wait=1.0)
    except MirrorError:
        return []
    try:
        return [
            found.upstream for found in Observed(reader).hours(settings.upstream, moment - every) if found.hour == hour_of(moment)
        ]
    except MirrorError:
        return []
    finally:
        reader.close()
