"""Which listings are not believed: those that have shrunk by far, and those that are older than what was seen before.

A listing can be complete and still be wrong: half a catalogue after a botched publication, or yesterday's from a server or a cache
that is behind. Taken at its word, it would mark what is there as withdrawn, and fetch again what was replaced. Each rule returns
why a listing is refused, for people, or None; `max_shrink_ratio = 1` switches all of them off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from mirror.phrases import Phrase, day, phrase, plural, tight_share
from mirror.planning.changes import published_day
from mirror.planning.volumes import archive_of

Days = Mapping[str, date | None]
"""The day of publication of each entry of a listing, by its id; None where it has none.

Of what was seen before, only the days that count (`counted`).
"""

_ADVICE = phrase("not believed, and nothing was changed; if it is right, run once with INSPIRE_MIRROR_LIMITS__MAX_SHRINK_RATIO=1")
_FEW = 2
"""Entries that must be missing before a part of a catalogue is held to be shrunken: one of two sub-resources may well go."""


def counted(updated: str | None, until: date | None) -> date | None:
    """The day of `updated` if it is not after `until`.

    A day that was still to come when it was seen says nothing of when that was published: a publisher whose clock was wrong will
    correct it, and that is not to go back.
    """
    day = published_day(updated)
    return day if day is not None and until is not None and day <= until else None


def refuse_resources(before: Days, listed: Days, most: float, today: date) -> str | None:
    """Whether a full listing of resources is refused, against `before`; more than the part `most` must not be missing."""
    if most >= 1:
        return None
    if before and not listed:
        return phrase("it lists no resource at all, where it listed {before}: {advice}", before=len(before), advice=_ADVICE)
    lost = len(before) - len(listed)
    if lost > most * len(before):
        return _fewer(plural(len(listed), "{n} resource", "{n} resources"), len(before), most)
    return _refuse_older(before, listed, today)


def refuse_sub_resources(before: Days, listed: Days, most: float, today: date) -> str | None:
    """Whether a listing of the sub-resources of a resource is refused; both are what the scopes that were listed would show."""
    if most >= 1:
        return None
    if _shrunken(len(before), len(listed), most):
        return _fewer(plural(len(listed), "{n} sub-resource", "{n} sub-resources"), len(before), most)
    return _refuse_older(before, listed, today)


def refuse_files(before: Iterable[str], listed: Iterable[str], most: float) -> str | None:
    """Whether a listing of the files of a sub-resource is refused. The volumes of an archive count as one: it may be split anew."""
    old, new = _units(before), _units(listed)
    if most >= 1 or not _shrunken(old, new, most):
        return None
    return phrase(
        "it lists {entries} where it listed {before} (volumes of an archive count as one), more than {most} fewer "
        "([limits] max_shrink_ratio): {advice}",
        entries=plural(new, "{n} file", "{n} files"),
        before=old,
        most=tight_share(most),
        advice=_ADVICE,
    )


def contradicts(before: Days, listed: Days, since: date) -> bool:
    """Whether a listing of what was published on `since` or later cannot be true, as far as is known.

    Of the resources that were published on that very day at least one must still be there, unless all were withdrawn: so
    everything has to be listed to know.
    """
    known = [name for name, day in before.items() if day == since]
    return bool(known) and not any(name in listed and (listed[name] or since) >= since for name in known)


def _shrunken(before: int, listed: int, most: float) -> bool:
    lost = before - listed
    return lost >= _FEW and lost > most * before


def _units(names: Iterable[str]) -> int:
    return len({(archive, True) if (archive := archive_of(name)) else (name, False) for name in names})


def _fewer(entries: str, before: int, most: float) -> Phrase:
    return phrase(
        "it lists {entries} where it listed {before}, more than {most} fewer ([limits] max_shrink_ratio): {advice}",
        entries=entries,
        before=before,
        most=tight_share(most),
        advice=_ADVICE,
    )


def _refuse_older(before: Days, listed: Days, today: date) -> str | None:
    """An older state of a listing has nothing as new as what was seen, and of what is in both, some has gone back and none forward.

    That the newest entry alone is missing is no such sign: it may have been withdrawn.
    """
    seen = max((day for day in before.values() if day), default=None)
    newest = max((day for day in listed.values() if day and day <= today), default=None)
    if seen is None or newest is None or newest >= seen:
        return None
    common = [(name, was, now) for name, was in before.items() if was and (now := listed.get(name))]
    back = [name for name, was, now in common if now < was]
    if not back or any(now > was for _, was, now in common):
        return None
    more = phrase("{one} and {n} more", one=back[0], n=len(back) - 1) if len(back) > 1 else back[0]
    return phrase(
        "it is older than the listing seen before: its newest entry is of {newest}, where {seen} was seen, and {entries} "
        "went back: {advice}",
        newest=day(newest.isoformat()),
        seen=day(seen.isoformat()),
        entries=more,
        advice=_ADVICE,
    )
