"""What a run leaves for the commands of its subscriptions: which were published, how it ended for each. It runs none of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from mirror.events import Event, Failed, ListingFailed, ListingRefused, NotUnpacked, Published
from mirror.planning.selection import Wish
from mirror.settings import Settings
from mirror.store.hook_jobs import HookQueue
from mirror.store.index import Index
from mirror.store.journal import Journal, Standing
from mirror.sync.refresh import WantedUnit
from mirror.sync.report import EXIT_CODES, Report

_MOST_FAILED = 1000  # failures that a manifest lists; `failed_files` has their number

Unit = tuple[str, str, str]


class Hooking:
    """Reads the events of a run, and enters the jobs that come of it."""

    def __init__(
        self, settings: Settings, index: Index, journal: Journal, wishes: Sequence[Wish], now: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._wishes = wishes
        self._journal = journal
        self._now = now
        self._queue = HookQueue(index, [name for name, table in settings.subscription.items() if table.on_publish])
        self._units: dict[str, set[Unit]] = {}
        self._standings: dict[str, Standing] = {}
        self._outcomes: dict[str, str] = {}
        self._published: Counter[Unit] = Counter()
        self._failed: list[tuple[str, Unit | None, dict[str, Any]]] = []

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case Published(key, _, action) if action != "adopt":
                self._published[key.upstream, key.resource, key.sub_resource] += 1
            case Failed(key, url, reason, attempts):
                unit = key.upstream, key.resource, key.sub_resource
                self._fail(key.upstream, unit, url=url, file=key.file, reason=reason, attempts=attempts)
            case NotUnpacked(key, url, reason):
                unit = key.upstream, key.resource, key.sub_resource
                self._fail(key.upstream, unit, url=url, file=None, reason=reason, attempts=1)
            case ListingFailed(upstream, _, url, reason, attempts):
                self._fail(upstream, None, url=url, file=None, reason=reason, attempts=attempts)
            case ListingRefused(upstream, _, url, reason):
                self._fail(upstream, None, url=url, file=None, reason=reason, attempts=1)

    def _fail(self, upstream: str, unit: Unit | None, **facts: object) -> None:
        named = {} if unit is None else {"resource": unit[1], "sub_resource": unit[2]}
        self._failed.append((upstream, unit, {**named, **facts}))

    def published(self, unit_id: int, wishes: Iterable[str]) -> None:
        """Files of a sub-resource that these subscriptions want were published: part of that transaction."""
        for name in wishes:
            self._queue.notice(name, [unit_id], run=self._journal.run, at=self._now())

    def counted(self, standing: Standing, units: Sequence[WantedUnit]) -> None:
        """A subscription was counted. It takes notice also of what was published for others, or by a run that was killed."""
        name, upstream = standing.subscription, standing.upstream
        self._standings[name], self._outcomes[name] = standing, standing.outcome
        self._units[name] = {(upstream, one.unit.sub.resource, one.unit.sub.id) for one in units}
        self._queue.notice(name, [one.unit.id for one in units], run=self._journal.run, at=self._now())

    def missing(self, wishes: Iterable[Wish], outcome: Literal["unavailable", "refused"]) -> None:
        """The upstream of these subscriptions could not be had, or its listing was refused."""
        self._outcomes.update({wish.name: outcome for wish in wishes})

    def ended(self, report: Report) -> None:
        """The run has ended: a job for each subscription that has a command for how it ended. An interrupted run has not ended."""
        if report.outcome == "interrupted":
            return
        for wish in self._wishes:
            table = self._settings.subscription[wish.name]
            self._queue.resume(wish.name)
            failed = [facts for upstream, unit, facts in self._failed if self._concerns(wish, upstream, unit)]
            outcome = self._outcome(wish.name, failed, report)
            hook: Literal["on_complete", "on_failure"] = "on_complete" if outcome == "complete" else "on_failure"
            if getattr(table, hook):
                facts = self._facts(wish.name, outcome, failed, report)
                self._queue.ran(wish.name, hook, wish.upstream, facts, run=self._journal.run, at=self._now())

    def _concerns(self, wish: Wish, upstream: str, unit: Unit | None) -> bool:
        return upstream == wish.upstream and (unit is None or wish.name not in self._units or unit in self._units[wish.name])

    def _outcome(self, name: str, failed: Sequence[object], report: Report) -> str:
        if report.outcome == "complete" or name not in self._outcomes:
            return report.outcome
        if self._outcomes[name] != "complete":
            return self._outcomes[name]
        # All its files are here. What else the run could not do is no matter of this subscription alone, unless it is the only one.
        return "incomplete" if failed or len(self._wishes) == 1 else "complete"

    def _facts(self, name: str, outcome: str, failed: Sequence[Mapping[str, Any]], report: Report) -> dict[str, Any]:
        standing = self._standings.get(name)
        units = self._units.get(name, set())
        published = [
            {"resource": unit[1], "sub_resource": unit[2], "files": files}
            for unit, files in sorted(self._published.items())
            if unit in units
        ]
        return {
            "outcome": outcome,
            "exit_code": EXIT_CODES[outcome],
            "reason": None if outcome == "complete" else report.reason or None,
            "failed": list(failed[:_MOST_FAILED]),
            "failed_files": len(failed),
            "account": {
                "expected": standing.expected if standing else None,
                "present": standing.present if standing else None,
                "verified": standing.expected - standing.failures if standing else None,
            },
            "published": published,
        }
