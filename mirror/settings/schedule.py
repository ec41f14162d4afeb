"""The ways to write a schedule. When it fires is for `planning.schedule` to say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mirror.planning.schedule import Schedule
from mirror.settings.units import parse_duration

_FORMS = 'must be "hourly", "daily 03:15", "every 6h" or five cron fields such as "15 3 * * *"'
_SHORTEST = timedelta(minutes=1)
_LONGEST = timedelta(days=366)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_CRON: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),  # 0 and 7 are both Sunday
)
"""Per field of a cron line: what it is, its lowest and highest number, and the names it takes for some."""

_ITEM = re.compile(r"(?:\*|(?P<first>[0-9a-z]{1,3})(?:-(?P<last>[0-9a-z]{1,3}))?)(?:/(?P<step>[0-9]{1,2}))?", re.ASCII)


def parse_schedule(value: object) -> Schedule:
    """The schedule that a text stands for. Raises ValueError with a text that says what is wrong with it."""
    if isinstance(value, Schedule):
        return value
    if not isinstance(value, str):
        raise ValueError(_FORMS)
    words = value.lower().split()
    text = " ".join(words)
    match words:
        case ["hourly"]:
            return Schedule(text, cron="0 * * * *")
        case ["daily", clock]:
            if not re.fullmatch(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", clock):
                raise ValueError('must have a time of day from 00:00 to 23:59 after "daily"')
            return Schedule(text, cron=f"{int(clock[3:])} {int(clock[:2])} * * *")
        case ["every", *rest] if rest:
            period = parse_duration(" ".join(rest))
            if not _SHORTEST <= period <= _LONGEST:
                raise ValueError("must be every minute or slower, and at least once a year")
            return Schedule(text, period=period)
        case [_, _, _, _, _]:
            for word, (name, low, high, names) in zip(words, _CRON, strict=True):
                _check_cron_field(word, name, low, high, names)
            schedule = Schedule(text, cron=text)
            try:
                schedule.after(datetime(2024, 1, 1, tzinfo=UTC), UTC)
            except ValueError:
                raise ValueError("must be a day that comes, not one that no month has") from None
            return schedule
        case _:
            raise ValueError(_FORMS)


def _check_cron_field(field: str, name: str, low: int, high: int, names: dict[str, int]) -> None:
    for text in field.split(","):
        item = _ITEM.fullmatch(text)
        if item is None:
            raise ValueError(f"must have a {name} that cron can read: a number, *, a-b, */n or a list of these")
        first, last = (_number(part, names) if part else None for part in (item["first"], item["last"]))
        for number in (first, last):
            if number is not None and not low <= number <= high:
                raise ValueError(f"must have a {name} from {low} to {high}")
        if first is not None and last is not None and first > last:
            raise ValueError(f"must have a range of {name} that goes up")
        if item["step"] is not None and not 1 <= int(item["step"]) <= high:
            raise ValueError(f"must have a step of {name} from 1 to {high}")


def _number(text: str, names: dict[str, int]) -> int:
    """The number that a cron word stands for; one below every range where it stands for none."""
    return int(text) if text.isdigit() else names.get(text, -1)
