"""When a file of which upstream serves other bytes than it lists is tried again. Pure: the clock comes in as an argument.

To find out that such a file is still wrong costs whole downloads, so that the tries become rarer. Whatever costs nothing to try (a
404, a refused name, an upstream that is down) is tried by every run, and is none of this module's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mirror.model import RemoteFile
from mirror.phrases import moment, phrase, plural

_FIRST_DELAYS = (timedelta(0), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(hours=16))
LONGEST_DELAY = timedelta(days=7)
"""No file is given up, and none is tried more rarely than this."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Parked:
    """A wanted file that could not be had, as it was listed then; `updated` is of its sub-resource.

    `failed_runs` is how many runs in a row have ended with wrong bytes. `next_try` is None if the next run tries.
    """

    url: str
    size: int | None
    md5: str | None
    updated: str | None
    reason: str
    failed_runs: int = 0
    next_try: datetime | None = None

    def is_listed_as(self, file: RemoteFile, updated: str | None) -> bool:
        """Whether upstream still lists what was tried: if not, nothing is known against the file."""
        return (self.url, self.size, self.md5, self.updated) == (file.url, file.size, file.md5, updated)


def delay_after(failed_runs: int) -> timedelta:
    """How long a file is left alone after so many runs in a row that ended with wrong bytes; zero lets the next run try."""
    if failed_runs <= len(_FIRST_DELAYS):
        return _FIRST_DELAYS[max(failed_runs, 1) - 1]
    doublings = min(failed_runs - len(_FIRST_DELAYS), 8)  # by then it is the longest in any case
    return min(_FIRST_DELAYS[-1] * (1 << doublings), LONGEST_DELAY)


def is_due(failed_runs: int, next_try: datetime | None, now: datetime) -> bool:
    """Whether the time of the next try has come.

    It also has if it lies further off than any failure up to now could have put it: the clock was wrong then, or has been set back.
    """
    return next_try is None or next_try <= now or next_try - now > delay_after(failed_runs)


def after_failure(
    known: Parked | None, file: RemoteFile, updated: str | None, *, wrong: bool, at: datetime
) -> tuple[int, datetime | None]:
    """The `failed_runs` and `next_try` of a file that a run could not have; `wrong` says that the bytes were not those listed.

    A failure that says nothing about the bytes does not end a row of those that did, and lets the next run try.
    """
    runs = known.failed_runs if known is not None and known.is_listed_as(file, updated) else 0
    if not wrong:
        return runs, None
    delay = delay_after(runs + 1)
    return runs + 1, at + delay if delay else None


@dataclass(frozen=True, slots=True)
class Parking:
    """The parked files of a sub-resource by name, as of `now`."""

    files: Mapping[str, Parked] = field(default_factory=dict)
    now: datetime = _LONG_AGO

    def keeps(self, file: RemoteFile, updated: str | None) -> str | None:
        """Why a file, listed like this in a sub-resource published on `updated`, is not to be tried yet; None if it is."""
        parked = self.files.get(file.name)
        if parked is None or not parked.is_listed_as(file, updated) or is_due(parked.failed_runs, parked.next_try, self.now):
            return None
        assert parked.next_try is not None  # noqa: S101 - else it would be due
        until = parked.next_try.astimezone(UTC)
        return phrase(
            "parked until {until} after {runs}: {reason}",
            until=moment(until.isoformat()),
            runs=plural(parked.failed_runs, "{n} run", "{n} runs"),
            reason=parked.reason,
        )


NOTHING_PARKED = Parking()
