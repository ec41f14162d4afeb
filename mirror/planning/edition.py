"""Which editions of a series are wanted: the last ones, all of them, or those of a span of days.

`parse_edition` reads what the config says; `str()` of its result writes it back in the same form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

MOST_EDITIONS = 9999
"""The largest number of last editions that can be asked for: beyond it, `all` was meant."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest `count` editions of each series."""

    count: int = 1

    def __str__(self) -> str:
        return "latest" if self.count == 1 else str(self.count)


@dataclass(frozen=True, slots=True)
class All:
    """Every edition that upstream lists."""

    def __str__(self) -> str:
        return "all"


@dataclass(frozen=True, slots=True)
class Between:
    """The editions dated from `start` to `end`, both included; an end that is None is open."""

    start: date | None
    end: date | None

    def __contains__(self, day: date) -> bool:
        return (self.start is None or self.start <= day) and (self.end is None or day <= self.end)

    def __str__(self) -> str:
        return f"{self.start or ''}..{self.end or ''}"


Edition = Latest | All | Between

_SPAN = re.compile(r"(?P<start>[0-9]{4}-[0-9]{2}-[0-9]{2})?\.\.(?P<end>[0-9]{4}-[0-9]{2}-[0-9]{2})?")
_FORMS = 'must be "latest", "all", a number of last editions, or days such as "2024-01-01..2025-12-31"'


def parse_edition(value: object) -> Edition:
    """Read `"latest"`, `"all"`, `3` or `"2024-01-01..2025-12-31"` (either end may be left empty).

    Raises ValueError with a text that says what is allowed, and does not repeat the value.
    """
    if isinstance(value, Latest | All | Between):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return _last(value)
    if not isinstance(value, str):
        raise ValueError(_FORMS)
    text = value.strip().lower()
    if text == "latest":
        return Latest()
    if text == "all":
        return All()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return _last(int(text))
    if span := _SPAN.fullmatch(text):
        return _between(span["start"], span["end"])
    raise ValueError(_FORMS)


def _last(count: int) -> Latest:
    if not 1 <= count <= MOST_EDITIONS:
        raise ValueError(f'must be a number of last editions from 1 to {MOST_EDITIONS}; "all" takes every one')
    return Latest(count)


def _between(start: str | None, end: str | None) -> Between:
    if not start and not end:
        raise ValueError('must have a day on at least one side of ".."; "all" takes every edition')
    try:
        span = Between(date.fromisoformat(start) if start else None, date.fromisoformat(end) if end else None)
    except ValueError:
        raise ValueError("must have days that exist, written YYYY-MM-DD") from None
    if span.start and span.end and span.start > span.end:
        raise ValueError("must have the earlier day first")
    return span
