"""Whether all is well, and if not, why. Pure: facts in, reasons out.

What fails the check (503) is what keeps a mirror from doing its duty and does not pass by itself: it is out of date beyond its
limit, the disk is about to keep it from being brought up to date, its index cannot be read, its service does nothing any more.
Everything else is said and passes (200): it is not ours to mend, or mends itself, and if it lasts the mirror goes stale.

Reasons are phrases: machines read them in English, the page on the state of the mirror in the language of who reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

from mirror.observing.outcomes import OUTCOMES
from mirror.phrases import moment, phrase, plural, size
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
        found.append(Reason("no-index", phrase("nothing was synced yet; the first sync makes the index")))
    if facts.free is None:
        found.append(Reason("root", phrase("the root of the mirror cannot be read; is its disk mounted?")))
    elif facts.free < facts.min_free:
        text = phrase(
            "{free} free, less than the {least} of [limits] min_free: syncs fetch nothing more",
            free=size(facts.free),
            least=size(facts.min_free),
        )
        found.append(Reason("disk-low", text))
    if facts.stalled:
        stuck = _span(timedelta(seconds=facts.stalled))
        found.append(Reason("stalled", phrase("the run under way has shown no progress for {span}", span=stuck)))
    for subscription in facts.subscriptions:
        if (reason := _stale(subscription, facts.now)) is not None:
            found.append(reason)
    for upstream in facts.upstreams:
        found += _about(upstream, facts.now)
    if facts.refused:
        found.append(Reason("refused", phrase("the last sync was refused: {reason}", reason=facts.refused)))
    for hook in facts.failing_hooks:
        found.append(Reason("hooks", phrase("a command fails: {hook}", hook=hook)))
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
    message: str = phrase(
        "{subscription} has never been complete, since its first sync on {moment}",
        subscription=facts.name,
        moment=_moment(facts.known_since),
    )
    if facts.last_success is not None:
        message = phrase(
            "{subscription} was last complete {span} ago, on {moment}",
            subscription=facts.name,
            span=_span(now - facts.last_success),
            moment=_moment(facts.last_success),
        )
    if facts.outcome and facts.last_run:
        outcome = OUTCOMES.get(facts.outcome)
        ended = phrase(
            "its last sync ended {outcome} on {moment}",
            # Machines have read the name of the outcome here all along.
            outcome=outcome if outcome == facts.outcome else facts.outcome,
            moment=_moment(facts.last_run),
        )
        message = phrase("{first}; {second}", first=message, second=ended)
    return Reason("stale", message, facts.name, facts.upstream)


def _about(upstream: UpstreamFacts, now: datetime) -> list[Reason]:
    name, found = upstream.name, []
    if upstream.walled > 0:
        text = phrase(
            "{upstream} has told this address to stop (HTTP 429 or 503); nothing is asked for another {span}",
            upstream=name,
            span=_span(timedelta(seconds=upstream.walled)),
        )
        found.append(Reason("upstream-walled", text, upstream=name))
    if upstream.silent_hours:
        text = phrase("{upstream} has answered nothing in the last hour", upstream=name)
        if upstream.silent_hours > 1:
            text = phrase(
                "{upstream} has answered nothing in the last {hours} hours in which it was asked",
                upstream=name,
                hours=upstream.silent_hours,
            )
        found.append(Reason("upstream-silent", text, upstream=name))
    if upstream.parked:
        files = plural(upstream.parked, "{n} file", "{n} files")
        text = phrase("{files} of {upstream} cannot be had; `status` says which and why", files=files, upstream=name)
        if upstream.parked_since:
            text = phrase(
                "{files} of {upstream} cannot be had, the oldest for {span}; `status` says which and why",
                files=files,
                upstream=name,
                span=_span(now - upstream.parked_since),
            )
        found.append(Reason("parked", text, upstream=name))
    return found


def _moment(value: datetime | None) -> str:
    return moment(value.astimezone(UTC).isoformat()) if value else phrase("an unknown day")


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return plural(seconds, "{n} second", "{n} seconds")
    if seconds < 2 * 3600:
        return plural(seconds // 60, "{n} minute", "{n} minutes")
    if seconds < 2 * 86400:
        return plural(seconds // 3600, "{n} hour", "{n} hours")
    return plural(seconds // 86400, "{n} day", "{n} days")
