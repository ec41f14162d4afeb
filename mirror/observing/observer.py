"""Who looks at a mirror from outside: asks index and disk for facts, and adds what the running service knows.

Every question here blocks for as long as the index takes to answer; an event loop asks in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mirror.errors import IndexMissing, MirrorError
from mirror.events import Event, RunEnded
from mirror.observing.availability import Available, available, offline_hours
from mirror.observing.counters import Counters
from mirror.observing.health import Facts, Health, SubscriptionFacts, UpstreamFacts, judge
from mirror.observing.live import Live
from mirror.observing.standings import NextRuns, failing_hooks, standings
from mirror.phrases import joined, phrase
from mirror.settings import Settings
from mirror.settings.hours import find_zone
from mirror.store.catalogue import from_text
from mirror.store.index import FILE
from mirror.store.observed import Observed, ParkedCount, PastRun, StoredCount, UpstreamHour
from mirror.store.query import Reader
from mirror.sync import Clock, utc_now

_WAIT = 5.0  # seconds for who keeps the index locked: whoever asks about health wants to hear that it is
_LOOK_BACK = timedelta(days=30)
_SILENT_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the root, in bytes; `free` is what this user may still write."""

    size: int
    free: int


@dataclass(frozen=True, slots=True)
class Look:
    """One look at index and disk. Without an index everything is empty; `problem` says why it cannot be read."""

    at: datetime
    disk: Disk | None
    problem: str = ""
    no_index: bool = False
    schema: int = 0
    standings: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_state: Sequence[StoredCount] = ()
    parked: Sequence[ParkedCount] = ()
    runs: Sequence[PastRun] = ()
    subscriptions: Sequence[SubscriptionFacts] = ()
    available: Sequence[Available] = ()
    failing_hooks: Sequence[str] = ()
    """The commands whose last try failed, in words for people; those that fail in the same way for many things are one."""

    hooks_failing: int = 0

    silent: dict[str, int] = field(default_factory=dict)
    """The last hours, of one day, in which each upstream was asked and answered nothing."""


@dataclass(slots=True)
class Service:
    """What only the running service knows; it sets these. Each is asked for when somebody looks."""

    next_runs: Callable[[], NextRuns] = dict
    waiting: Callable[[], int] = lambda: 0
    """Runs that wait for their turn."""

    stalled: Callable[[], float] = lambda: 0.0
    """For how many seconds the run under way has shown no progress, beyond what is allowed; 0 where it has."""


class Observer:
    """Answers for `/health`, `/metrics` and `status`, of one mirror. A consumer of the events of all its runs."""

    def __init__(
        self, settings: Settings, *, now: Clock = utc_now, live: Live | None = None, service: Service | None = None
    ) -> None:
        self.settings = settings
        """May be replaced at any time by newer ones."""

        self.live = live or Live(now=now)
        self.counters = Counters()
        self.service = service or Service()
        self.now = now
        """The clock by which it judges."""

        self._seen = False
        self.remember_index()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self.counters(event)
        self.live(event)
        if isinstance(event, RunEnded):
            self.remember_index()

    def remember_index(self) -> None:
        """If there is an index now, that it is gone later is a fault, whether or not somebody has asked meanwhile."""
        self._seen = self._seen or (self.settings.root / FILE).exists()

    def status(self) -> dict[str, Any]:
        """The document of `status --json`, and what is going on in `live`. Raises IndexUnusable, Locked."""
        document = standings(self.settings, self.service.next_runs())
        document["live"] = self.going_on()
        return document

    def going_on(self) -> dict[str, Any]:
        """What is going on, the `live` of `status --json`. Asks neither index nor disk."""
        return {**self.live.snapshot().as_json(), "waiting": self.service.waiting()}

    def health(self) -> Health:
        """Whether all is well; what cannot be asked is a reason, never an error."""
        return judge(self.facts(self.look()))

    def facts(self, look: Look) -> Facts:
        """What health depends on, as of this look."""
        walled = {wall.upstream: wall.seconds for wall in self.live.snapshot().walls}
        parked = {found.upstream: found for found in look.parked}
        upstreams = [
            UpstreamFacts(
                name,
                walled.get(name, 0.0),
                look.silent.get(name, 0),
                parked[name].files if name in parked else 0,
                parked[name].since if name in parked else None,
            )
            for name in dict.fromkeys([*self.settings.upstream, *parked])
        ]
        refused = next((run.reason for run in look.runs if run.command == "sync" and run.outcome == "refused"), "")
        return Facts(
            look.at,
            look.subscriptions,
            upstreams,
            look.disk.free if look.disk else None,
            self.settings.limits.min_free,
            look.problem,
            look.no_index,
            refused,
            look.failing_hooks,
            self.service.stalled(),
        )

    def look(self) -> Look:
        """Ask index and disk."""
        at, disk = self.now(), _disk(self.settings)
        try:
            reader = Reader(self.settings.root, wait=_WAIT)
        except IndexMissing as error:
            # A disk that is not mounted looks like a mirror that was never synced, but for who has seen it before.
            gone = self._seen or (self.settings.root / "data").is_dir()
            return Look(at, disk, problem=str(error) if gone else "", no_index=not gone)
        except (MirrorError, OSError) as error:
            return Look(at, disk, problem=" ".join(str(error).split()))
        self._seen = True
        try:
            return self._read(reader, at, disk)
        except (MirrorError, OSError) as error:
            return Look(at, disk, problem=" ".join(str(error).split()))
        finally:
            reader.close()

    def _read(self, reader: Reader, at: datetime, disk: Disk | None) -> Look:
        # All answers are of one state of the index, whatever a sync writes meanwhile.
        reader.connection.execute("BEGIN")
        observed = Observed(reader)
        rows = {row["subscription"]: row for row in reader.subscriptions()}
        first = {
            name: observed.first_run(name) for name in self.settings.subscription if not rows.get(name, {}).get("last_success")
        }
        hooks = reader.hooks()
        unlisted = {row["upstream"] for row in reader.unlisted()}
        hours = observed.hours(self.settings.upstream, at - _LOOK_BACK)
        hosts = {name: upstream.host for name, upstream in self.settings.upstream.items()}
        offline = offline_hours(hours, hosts)
        measured = [hour for hour in hours if hour.hour not in offline]
        return Look(
            at,
            disk,
            schema=observed.schema(),
            standings={name: row for name, row in rows.items() if name in self.settings.subscription},
            by_state=observed.by_state(),
            parked=observed.parked(),
            failing_hooks=[_hook_text(row) for row in failing_hooks(hooks)],
            hooks_failing=sum(row["state"] != "waiting" for row in hooks),
            runs=observed.last_runs(),
            subscriptions=self._subscriptions(rows, first, unlisted, observed.wrong()),
            available=[available(name, [h.counts for h in measured if h.upstream == name]) for name in self.settings.upstream],
            silent={name: _silent([h for h in measured if h.upstream == name], at) for name in self.settings.upstream},
        )

    def _subscriptions(
        self,
        rows: Mapping[str, Mapping[str, Any]],
        first: Mapping[str, datetime | None],
        unlisted: Collection[str],
        wrong: Mapping[str, int],
    ) -> list[SubscriptionFacts]:
        facts = []
        for name, settings in self.settings.subscription.items():
            row = rows.get(name, {})
            facts.append(
                SubscriptionFacts(
                    name,
                    settings.upstream,
                    settings.schedule,
                    find_zone(settings.timezone or self.settings.service.timezone),
                    settings.stale_after,
                    row.get("outcome"),
                    first.get(name),
                    from_text(row.get("last_run")),
                    from_text(row.get("last_success")),
                    row.get("failures"),
                    wrong.get(name, 0),
                    settings.upstream in unlisted,
                )
            )
        return facts


def _hook_text(row: Mapping[str, Any]) -> str:
    what = phrase("{hook} of {subscription}", hook=row["hook"], subscription=row["subscription"])
    if not row["sub_resource"]:
        return what
    return phrase("{what} for {unit}", what=what, unit=joined("/", (row["resource"], row["sub_resource"])))


def _silent(hours: Sequence[UpstreamHour], at: datetime) -> int:
    silent = 0
    least = (at - _SILENT_WITHIN).strftime("%Y-%m-%dT%H")
    for hour in reversed(hours):
        if hour.hour < least or hour.counts.answered:
            break
        silent += bool(hour.counts.failed)
    return silent


def _disk(settings: Settings) -> Disk | None:
    with suppress(OSError):
        place = settings.root
        while not place.exists() and place != place.parent:
            place = place.parent  # nothing was synced yet: the disk that it will be on
        stats = os.statvfs(place)
        return Disk(stats.f_blocks * stats.f_frsize, stats.f_bavail * stats.f_frsize)
    return None
