"""What has to be listed again, and how narrowly: the difference between a crawl and a resync.

Upstream dates are of day resolution, so a listing made on the day of a publication may miss a later publication of that same day.
Such a listing is read once more after that day has ended (`unsettled`); until then the change is bounded by a day, never lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product

from mirror.model import RemoteFile, Resource, SubResource, Term
from mirror.planning.edition import Between
from mirror.planning.selection import Fold, Wish, matches, wants_resource
from mirror.vocabulary import fold_format, fold_zone

_GLOB = frozenset("*?[")
# A day of publication is over, for everyone in Europe and for caches on the way, six hours after it ended in UTC.
_SETTLING = timedelta(days=1, hours=6)
_CLOCKS_DIFFER = timedelta(days=1)
_MOST_SCOPES = 64
_SAYS_NOTHING = frozenset({"url", "identifier"})  # of whether there is anything new
_TERMS = frozenset({"zones", "formats", "crs", "resolutions"})


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """The upstream's own filters that narrow the listing of one resource; empty strings and None leave a filter out.

    Codes are spelled as upstream publishes them. Dates are days of edition, both included.
    """

    zone: str = ""
    format: str = ""
    start: date | None = None
    end: date | None = None

    @property
    def key(self) -> str:
        """A canonical text; empty for the whole resource."""
        return "&".join(
            f"{name}={value}"
            for name, value in (("zone", self.zone), ("format", self.format), ("from", self.start), ("to", self.end))
            if value
        )

    def holds(self, sub: SubResource) -> bool:
        """Whether a listing under this scope would surely have shown this sub-resource.

        Whether upstream counts the days themselves in is not documented, so a sub-resource of such a day proves nothing.
        """
        return (
            (not self.zone or any(term.code == self.zone for term in sub.zones))
            and (not self.format or any(term.code == self.format for term in sub.formats))
            and (self.start is None or (sub.edition_date is not None and self.start < sub.edition_date))
            and (self.end is None or (sub.edition_date is not None and sub.edition_date < self.end))
        )


EVERYTHING = Scope()


def scopes_for(wishes: Iterable[Wish], resource: Resource) -> tuple[Scope, ...]:
    """The narrowest set of listings of `resource` that shows all that `wishes` can want of it; none if no wish names it."""
    scopes: set[Scope] = set()
    for wish in wishes:
        if not wants_resource(wish, resource.id):
            continue
        zones = _codes(wish.zones, resource.zones, fold_zone)
        formats = _codes(wish.formats, resource.formats, fold_format)
        start = end = None
        if isinstance(wish.edition, Between):
            # Whether upstream counts the bounds in is not documented: a day more on either side costs nothing.
            start = wish.edition.start and wish.edition.start - timedelta(days=1)
            end = wish.edition.end and wish.edition.end + timedelta(days=1)
        scopes |= {Scope(zone, format_, start, end) for zone, format_ in product(zones, formats)}
    if EVERYTHING in scopes or len(scopes) > _MOST_SCOPES:
        return (EVERYTHING,)
    return tuple(sorted(scopes, key=lambda scope: scope.key))


def _codes(wanted: Sequence[str], published: Sequence[Term], fold: Fold) -> set[str]:
    """The spellings under which upstream may know the wanted codes; one empty code where they cannot be narrowed down.

    A code that the resource does not announce is asked for as the user wrote it: announcements have been wrong, and one request
    with an empty answer is cheaper than a gap.
    """
    if not wanted:
        return {""}
    codes: set[str] = set()
    for glob in wanted:
        known = {term.code for term in published if matches(fold(term.code), (fold(glob),))}
        if _GLOB & set(glob):
            if not published:
                return {""}
            codes |= known
        else:
            codes |= known or {glob}
    return codes


def fingerprint(entry: Resource | SubResource) -> str:
    """Changes when anything that upstream says of this entry changes, except where it is served from, what codes are called, and by
    what code catalogues know it.
    """
    parts = []
    for name in type(entry).__slots__:
        value = getattr(entry, name)
        if name in _TERMS:
            parts.append([term.code for term in value])
        elif name not in _SAYS_NOTHING:
            parts.append(value)
    return _digest(parts)


def files_digest(files: Iterable[RemoteFile], published: str | None = None) -> str:
    """Changes when a listing of files does, whatever its order.

    A file without an MD5 may be replaced and look the same: `published`, the publication of the sub-resource, stands in for it.
    """
    return _digest(sorted((f.name, -1 if f.size is None else f.size, f.md5 or f"published {published}") for f in files))


def _digest(value: object) -> str:
    return hashlib.blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def published_day(updated: str | None) -> date | None:
    """The day of `updated` as published, None if there is none."""
    try:
        return date.fromisoformat((updated or "")[:10])
    except ValueError:
        return None


def is_due(done_at: datetime, every: timedelta, now: datetime) -> bool:
    """Whether what was done at `done_at` is to be done again, as it is every so often.

    A moment that lies in the future is none: a clock was wrong then, or is now. A day of it passes, as clocks are put right by
    minutes, and zones by hours.
    """
    return not -_CLOCKS_DIFFER < now - done_at < every


def unsettled(updated: str | None, listed_at: datetime, now: datetime) -> bool:
    """Whether a listing was made before the day of its publication was over, and that day is over now.

    What is dated into the future tells nothing about when it was published: its listings hold for the day they were made on.
    """
    settled = _settled_at(updated, listed_at)
    return settled is not None and listed_at < settled <= now


def publication(updated: str | None, listed_at: datetime | None) -> str | None:
    """What a listing of that moment tells of the last publication: its day, and whether another may have followed on that day.

    All that files without an MD5 are known by: two publications of one day look the same until the day is over.
    """
    settled = None if listed_at is None else _settled_at(updated, listed_at)
    early = settled is not None and listed_at is not None and listed_at < settled
    return f"{updated}, seen on that day" if early else updated


def _settled_at(updated: str | None, listed_at: datetime) -> datetime | None:
    day = published_day(updated)
    if day is None:
        return None
    day = min(day, listed_at.astimezone(UTC).date())
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + _SETTLING


def next_high_water(
    listed: Iterable[Resource], known: Mapping[str, Resource], previous: date | None, now: datetime, *, full: bool
) -> date | None:
    """The day from which the next resync asks for changes, that day included: the newest day of publication that counts.

    A day that was still to come when it was first seen does not count, then or later: it would hide every change until then, and
    tells nothing of when that was published. A full listing says anew what the newest day is, changes can only add to `previous`.
    """
    today = now.astimezone(UTC).date()
    days = [previous] if previous and not full else []
    for resource in listed:
        day, before = published_day(resource.updated), known.get(resource.id)
        if day is None or day > today:
            continue
        if before is None or before.updated != resource.updated or (previous is not None and day <= previous):
            days.append(day)
    return max(days, default=None)
