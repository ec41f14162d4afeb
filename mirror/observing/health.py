"""Whether all is well, and if not, why. Pure: facts in, reasons out.

What fails the check (503) is what keeps a mirror from doing its duty and does not pass by itself: it is out of date beyond its
limit, the disk is about to keep it from being brought up to date, its index cannot be read, its service does nothing any more.
Everything else is said and passes (200): it is not ours to mend, or mends itself, and if it lasts the mirror goes stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

from mirror.amounts import count_text, size_text
from mirror.planning.schedule import Schedule

GRACE = timedelta(days=1)
"""What two missed runs are given on top: a sync may take hours."""


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """How a subscription stands. `known_since`: its first run, None if there was none.

    `shortfall` are the wanted files that are not here; `wrong` those of them of which upstream serves other bytes than it lists.
    """

    name: str
    upstream: str
    schedule: Schedule | None
    zone: tzinfo
    stale_after: timedelta | None
    outcome: str | None = None
    known_since: datetime | None = None
    last_run: datetime | None = None
    last_success: datetime | None = None
    shortfall: int | None = None
    wrong: int = 0
    unlisted: bool = False
    """Whether the last sync could not list all of its upstream: there may be more that is wanted."""


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """How an upstream behaves. `walled` in seconds that are left; `parked` are files that it lists and that are not to be had.

    `silent_hours` are the last hours in which it was asked, without an answer to any of it.
    """

    name: str
    walled: float = 0.0
    silent_hours: int = 0
    parked: int = 0
    parked_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that health depends on. Sizes in bytes. `free` is None where the root cannot be asked.

    `index_problem` is empty where the index can be read, `no_index` says that there is none yet; `stalled` for how many seconds a
    run has shown no progress, beyond what is allowed; `failing_hooks` names the commands whose last try failed.
    """

    now: datetime
    subscriptions: Sequence[SubscriptionFacts] = ()
    upstreams: Sequence[UpstreamFacts] = ()
    free: int | None = None
    min_free: int = 0
    index_problem: str = ""
    no_index: bool = False
    refused: str = ""
    failing_hooks: Sequence[str] = ()
    stalled: float = 0.0


Code = Literal[
    "stale", "parked", "disk-low", "upstream-walled", "upstream-silent", "refused", "index", "no-index", "hooks", "stalled", "root"
]
FAILING: frozenset[Code] = frozenset({"stale", "disk-low", "index", "stalled", "root"})
"""The reasons for which the check fails; the others are warnings."""

CODES: tuple[Code, ...] = (
    "stale",
    "disk-low",
    "index",
    "root",
    "stalled",
    "parked",
    "upstream-walled",
    "upstream-silent",
    "refused",
    "no-index",
    "hooks",
)


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is not as it should be."""

    code: Code
    message: str
    subscription: str | None = None
    upstream: str | None = None

    @property
    def failing(self) -> bool:
        """Whether the check fails for it."""
        return self.code in FAILING

    def as_json(self) -> dict[str, Any]:
        """The object of `/health`; what it is not about is left out."""
        found: dict[str, Any] = {"code": self.code, "severity": "failing" if self.failing else "warning", "message": self.message}
        if self.subscription is not None:
            found["subscription"] = self.subscription
        if self.upstream is not None:
            found["upstream"] = self.upstream
        return found


@dataclass(frozen=True, slots=True)
class Health:
    """The verdict."""

    reasons: tuple[Reason, ...] = ()

    @property
    def status(self) -> Literal["ok", "warning", "failing"]:
        """The worst of it."""
        if any(reason.failing for reason in self.reasons):
            return "failing"
        return "warning" if self.reasons else "ok"

    def as_json(self) -> dict[str, Any]:
        """The document of `/health`."""
        return {"status": self.status, "reasons": [reason.as_json() for reason in self.reasons]}

    def as_text(self) -> str:
        """The same as lines."""
        return "".join(f"{line}\n" for line in (self.status, *(f"{reason.code}: {reason.message}" for reason in self.reasons)))


def judge(facts: Facts) -> Health:
    """The reasons that these facts give, the failing ones first."""
    found: list[Reason] = []
    if facts.index_problem:
        found.append(Reason("index", facts.index_problem))
    elif facts.no_index:
        found.append(Reason("no-index", "nothing was synced yet; the first sync makes the index"))
    if facts.free is None:
        found.append(Reason("root", "the root of the mirror cannot be read; is its disk mounted?"))
    elif facts.free < facts.min_free:
        free, least = size_text(facts.free), size_text(facts.min_free)
        found.append(Reason("disk-low", f"{free} free, less than the {least} of [limits] min_free: syncs fetch nothing more"))
    if facts.stalled:
        found.append(Reason("stalled", f"the run under way has shown no progress for {_span(timedelta(seconds=facts.stalled))}"))
    for subscription in facts.subscriptions:
        if (reason := _stale(subscription, facts.now)) is not None:
            found.append(reason)
    for upstream in facts.upstreams:
        found += _about(upstream, facts.now)
    if facts.refused:
        found.append(Reason("refused", f"the last sync was refused: {facts.refused}"))
    for hook in facts.failing_hooks:
        found.append(Reason("hooks", f"a command fails: {hook}"))
    return Health(tuple(sorted(found, key=lambda reason: not reason.failing)))


def stale_at(facts: SubscriptionFacts) -> datetime | None:
    """When its last success becomes too old; None where that cannot be: it is not known to be run by a schedule.

    By the schedule that is the second run after it, and a day: with every rhythm, that of working days or of the month too. A run
    after which it was as good as can be counts like a success.
    """
    since = facts.last_success or facts.known_since
    if _as_good_as_can_be(facts):
        since = facts.last_run
    if since is None:
        return None
    if facts.stale_after is not None:
        return since + facts.stale_after
    if facts.schedule is None:
        return None
    try:
        return facts.schedule.after(facts.schedule.after(since, facts.zone), facts.zone) + GRACE
    except ValueError:
        return None


def _as_good_as_can_be(facts: SubscriptionFacts) -> bool:
    """Whether all that its last run left missing is what upstream serves with other bytes than it lists.

    Nobody here can mend that. It is said as long as it lasts; a mirror that lacks nothing else is not failing its readers.
    """
    return not facts.unlisted and facts.outcome == "incomplete" and 0 < (facts.shortfall or 0) <= facts.wrong


def _stale(facts: SubscriptionFacts, now: datetime) -> Reason | None:
    limit = stale_at(facts)
    if limit is None or now <= limit:
        return None
    if facts.last_success is None:
        message = f"{facts.name} has never been complete, since its first sync on {_day(facts.known_since)}"
    else:
        message = f"{facts.name} was last complete {_span(now - facts.last_success)} ago, on {_day(facts.last_success)}"
    why = f"; its last sync ended {facts.outcome} on {_day(facts.last_run)}" if facts.outcome and facts.last_run else ""
    return Reason("stale", message + why, facts.name, facts.upstream)


def _about(upstream: UpstreamFacts, now: datetime) -> list[Reason]:
    found = []
    if upstream.walled > 0:
        seconds = _span(timedelta(seconds=upstream.walled))
        text = f"{upstream.name} has told this address to stop (HTTP 429 or 503); nothing is asked for another {seconds}"
        found.append(Reason("upstream-walled", text, upstream=upstream.name))
    if upstream.silent_hours:
        since = (
            "in the last hour" if upstream.silent_hours == 1 else f"in the last {upstream.silent_hours} hours in which it was asked"
        )
        found.append(Reason("upstream-silent", f"{upstream.name} has answered nothing {since}", upstream=upstream.name))
    if upstream.parked:
        since = f", the oldest for {_span(now - upstream.parked_since)}" if upstream.parked_since else ""
        text = f"{count_text(upstream.parked, 'file')} of {upstream.name} cannot be had{since}; `status` says which and why"
        found.append(Reason("parked", text, upstream=upstream.name))
    return found


def _day(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else "an unknown day"


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return count_text(seconds, "second")
    if seconds < 2 * 3600:
        return count_text(seconds // 60, "minute")
    if seconds < 2 * 86400:
        return count_text(seconds // 3600, "hour")
    return count_text(seconds // 86400, "day")
