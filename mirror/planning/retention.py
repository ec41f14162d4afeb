"""Which stored editions may go: the decisions of `prune`. Pure; what is stored, listed and known of listings comes in as facts.

A sub-resource is *governed* by a subscription whose filters it passes, whatever its edition and its place (`edition` and `bbox` say
what is fetched, not what is whose). It may go if it is governed, lies outside the last `keep` editions of *every* subscription that
governs it, is wanted by none, and was superseded long enough ago. What nobody governs stays: nothing says that it may go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil

from mirror.amounts import count_text, size_text
from mirror.model import Resource, SubResource
from mirror.planning.changes import EVERYTHING, fingerprint, is_due, scopes_for
from mirror.planning.selection import Wish, by_series, newest, select, wants_fields, wants_resource

OLDEST_LISTING = timedelta(days=7)
"""Older listings are no ground for a deletion."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one subscription says of old editions: `keep` of them stay per series, None: all."""

    wish: Wish
    keep: int | None


@dataclass(frozen=True, slots=True)
class Stored:
    """A sub-resource of which something is published here, with what the decision depends on. `bytes` are those of its `files`.

    `complete`: every wanted file is here, sound and on the disk. `latest`: the alias of its series leads to it. `superseded_at`:
    since when a newer complete edition is here, as far as is known.
    """

    id: int
    sub: SubResource
    files: int
    bytes: int
    complete: bool
    latest: bool = False
    superseded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a sub-resource outside the editions to keep, and why, in words for people.

    `refused` says why a guard keeps what would go; empty where none does. `governing` are the subscriptions that it belongs to.
    """

    stored: Stored
    delete: bool
    reason: str
    governing: tuple[str, ...]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdicts on one upstream, and how many files and bytes each of its subscriptions governs here."""

    verdicts: tuple[Verdict, ...] = ()
    governed: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def governs(wish: Wish, sub: SubResource) -> bool:
    """Whether a sub-resource belongs to a subscription, whatever its edition and place."""
    return wants_resource(wish, sub.resource) and wants_fields(wish, sub)


def decide(
    rules: Sequence[Rule],
    stored: Sequence[Stored],
    listed: Mapping[str, Sequence[SubResource]],
    *,
    now: datetime,
    grace: timedelta,
    gap: Callable[[str], str | None] = lambda resource: None,
    names: Collection[str] = (),
) -> Decision:
    """Judge every stored sub-resource of one upstream that lies outside the editions to keep.

    Args:
        rules: of every subscription to this upstream, named or not.
        stored: all that is published of it.
        listed: what the upstream lists, by resource id.
        now: the moment from which `grace` is counted back.
        grace: how long a superseded edition stays.
        gap: why the listing of a resource is no ground for a deletion; None where it is one.
        names: if any, only what one of these subscriptions governs is judged.
    """
    wanted = {(want.sub.resource, want.sub.id): want.wishes for want in select([rule.wish for rule in rules], listed).wanted}
    by_key = {(one.sub.resource, one.sub.id): one for one in stored}
    series = [[by_key[sub.resource, sub.id] for sub in members] for members in by_series(one.sub for one in stored)]
    governing: dict[int, list[Rule]] = {}
    kept: set[int] = set()
    governed: dict[str, tuple[int, int]] = {}
    for rule in rules:
        mine = [one for one in stored if governs(rule.wish, one.sub)]
        for one in mine:
            governing.setdefault(one.id, []).append(rule)
        governed[rule.wish.name] = sum(one.files for one in mine), sum(one.bytes for one in mine)
        ids = {one.id for one in mine}
        if rule.keep is not None:
            ids = {one.id for members in series for one in _last([one for one in members if one.id in ids], rule.keep)}
        kept |= ids
    verdicts = []
    for one in sorted(stored, key=lambda one: (one.sub.resource, one.sub.id)):
        over = governing.get(one.id, [])
        owners = tuple(rule.wish.name for rule in over)
        if not over or one.id in kept or (names and not set(names).intersection(owners)):
            continue
        delete, reason, refused = _judge(one, over, wanted.get((one.sub.resource, one.sub.id), ()), now, grace, gap)
        verdicts.append(Verdict(one, delete, reason, owners, refused))
    return Decision(tuple(verdicts), governed)


def _last(members: Sequence[Stored], keep: int) -> list[Stored]:
    """What of one series belongs to its last `keep` complete editions.

    What is incomplete pushes nothing out; it stays itself as long as it would be one of the last if it were complete.
    """
    complete = [one.sub for one in members if one.complete]
    last = {sub.id for sub in newest(complete, keep)}
    last |= {one.sub.id for one in members if not one.complete and one.sub in newest([*complete, one.sub], keep)}
    return [one for one in members if one.sub.id in last]


def _judge(
    one: Stored,
    rules: Sequence[Rule],
    wanted_by: Sequence[str],
    now: datetime,
    grace: timedelta,
    gap: Callable[[str], str | None],
) -> tuple[bool, str, str]:
    outside = f"not among the editions kept ({', '.join(f'{rule.wish.name}: keep = {rule.keep}' for rule in rules)})"
    if wanted_by:
        return False, f"{outside}, but wanted by {', '.join(wanted_by)}", ""
    if one.latest:
        return False, f"{outside}, but the alias of its series leads to it", ""
    # Of a clock that was set back, or of a row from before these moments were kept: it counts as superseded just now.
    since = min(one.superseded_at or now, now)
    if now - since < grace:
        return False, f"{outside}, but superseded only since {_minute(since)}: stays until {_minute(since + grace)} (grace)", ""
    if (problem := gap(one.sub.resource)) is not None:
        return False, f"{outside}, but {problem}", problem
    return True, f"{outside}; superseded since {_minute(since)}", ""


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def hindered(decision: Decision, obstacles: Mapping[int, str]) -> Decision:
    """The decision, once it is known of some sub-resources, by id, why their folders cannot be touched."""
    verdicts = tuple(
        replace(verdict, delete=False, reason=f"{verdict.reason}, but {obstacles[verdict.stored.id]}")
        if verdict.delete and verdict.stored.id in obstacles
        else verdict
        for verdict in decision.verdicts
    )
    return replace(decision, verdicts=verdicts)


def refused(decision: Decision, reason: str) -> Decision:
    """The decision, once a guard has said no to all of it."""
    verdicts = tuple(
        replace(verdict, delete=False, reason=f"{verdict.reason}, but {reason}", refused=reason) if verdict.delete else verdict
        for verdict in decision.verdicts
    )
    return replace(decision, verdicts=verdicts)


def excesses(decision: Decision, ratio: float) -> list[tuple[str, str]]:
    """The subscriptions of which too large a part would go, each with the reason why it is too much."""
    found = []
    for name, (files, size) in decision.governed.items():
        going = [verdict.stored for verdict in decision.verdicts if verdict.delete and name in verdict.governing]
        gone, gone_bytes = sum(one.files for one in going), sum(one.bytes for one in going)
        part = max(gone / files if files else 0.0, gone_bytes / size if size else 0.0)
        if part > ratio + 1e-9:
            found.append(
                (
                    name,
                    f"of {name}, {gone:,} of {count_text(files, 'file')} and {size_text(gone_bytes)} of {size_text(size)} would "
                    f"go, more than the {ratio:g} of it that [limits] max_delete_ratio allows; if that is meant, prune once with "
                    f"INSPIRE_MIRROR_LIMITS__MAX_DELETE_RATIO={ceil(part * 100) / 100:g}",
                )
            )
    return found


# -- whether listings are good enough


def upstream_gap(
    full_listed_at: datetime | None, unlisted: str | None, full_every: timedelta, now: datetime, *, rebuilding: bool = False
) -> str | None:
    """Why nothing may be deleted on the ground of what is known of an upstream; None where there is no reason.

    `full_listed_at` is when all of it was last listed, `unlisted` why the last sync could not list it, if it could not;
    `rebuilding` says that the index does not know yet all that is here of it.
    """
    if rebuilding:
        return "the index is being built anew, and does not know yet all that is here; run `inspire-mirror sync` first"
    if unlisted is not None:
        return f"the last sync could not list the upstream ({unlisted}); run `inspire-mirror sync` first"
    return _too_old("the last full listing of the upstream", full_listed_at, full_every, now)


def resource_gap(
    wishes: Iterable[Wish],
    resource: Resource,
    known: Mapping[str, tuple[str, datetime]],
    full_every: timedelta,
    now: datetime,
) -> str | None:
    """Why nothing may be deleted on the ground of the listing of a resource; None where there is no reason.

    Every listing that the subscriptions need of it must be there, of the resource as upstream now describes it, and young. `known`
    has the fingerprint and the moment of each complete listing by scope; one that could not be had again is not in it.
    """
    print_ = fingerprint(resource)
    name = f"the listing of {resource.id}"

    def problem(key: str) -> str | None:
        listing = known.get(key)
        if listing is None or listing[0] != print_:
            return f"{name} is missing or out of date; run `inspire-mirror sync` first"
        return _too_old(name, listing[1], full_every, now)

    if problem(EVERYTHING.key) is None:
        return None  # a listing of all of it stands for every part
    return next((found for scope in scopes_for(wishes, resource) if (found := problem(scope.key))), None)


def _too_old(what: str, listed_at: datetime | None, full_every: timedelta, now: datetime) -> str | None:
    advice = "run `inspire-mirror sync` first"
    if listed_at is None:
        return f"{what} is missing; {advice}"
    if not is_due(listed_at, OLDEST_LISTING, now):
        return None
    if listed_at > now:
        return f"{what} is dated {_minute(listed_at)}, in the future: the clock was wrong then, or is now; {advice}"
    if full_every > OLDEST_LISTING:
        advice += ", with full_listing_every at 7d or less"
    return f"{what} is of {_minute(listed_at)}, more than {OLDEST_LISTING.days} days old; {advice}"
