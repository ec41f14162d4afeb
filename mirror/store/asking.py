"""Filters in words, as a command line or a query string names them, to `Filters`: one grammar for both.

What is wrong is a value, not an error: whoever asked says in which of his own words it was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from mirror.model import BBox
from mirror.store.query import STATES, Filters

_MOST_VALUES = 100  # of one filter that may be repeated: each is one more comparison for every sub-resource
_LARGEST = 2**62
_LONGEST_NUMBER = 1000  # digits
_YES = frozenset({"", "1", "true", "yes"})
_NO = frozenset({"0", "false", "no"})


@dataclass(frozen=True, slots=True)
class Wrong:
    """What cannot be taken: the name of the filter, and why, in words that go on from that name."""

    name: str
    why: str


REPEATABLE: Mapping[str, str] = {
    "resource": "resources",
    "zone": "zones",
    "format": "formats",
    "crs": "crs",
    "upstream": "upstreams",
    "state": "states",
    "member": "members",
}
"""The filters that may be named several times, with the field of `Filters` that holds them."""


def day_of_text(text: str) -> date:
    """A day, written as YYYY-MM-DD. Raises ValueError with what is wrong, as do all of these."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a day; write it as YYYY-MM-DD") from None


def box_of_text(text: str) -> BBox:
    """West, south, east and north in degrees."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not four numbers; write west,south,east,north in degrees, as 5.5,44.7,6.4,45.9") from None
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError(f"{text!r} is not a box in degrees: west,south,east,north, the smaller number first")
    return west, south, east, north


def flag_of_text(text: str) -> bool:
    """Yes or no; the mere name says yes."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(f"{text!r} is neither 1 nor 0")


def count_of_text(text: str, *, most: int = _LARGEST) -> int:
    """A number of things, at least one; more than `most` is as good as that."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else 0
    if number < 1:
        raise ValueError(f"{text!r} is not a number of 1 or more")
    return min(number, most)


def state_of_text(text: str) -> str:
    """The state of a file, in any case."""
    if text.lower() not in STATES:
        raise ValueError(f"{text!r} is none; there are {', '.join(STATES)}")
    return text.lower()


def why_no_days(start: date | None, end: date | None, *, names: tuple[str, str] = ("from", "to")) -> str:
    """Why days of edition leave nothing between them; empty if they do leave something. `names` are those of the two."""
    if start is not None and end is not None and start > end:
        return f"{names[0]} {start} is later than {names[1]} {end}"
    return ""


def filters_of(given: Iterable[tuple[str, str]]) -> Filters | Wrong:
    """The filters that these names and values are, in their order; all names are among `FILTERS`.

    The words of `q` may come one by one.
    """
    values: dict[str, list[str]] = {}
    for name, value in given:
        values.setdefault(name, []).append(value)
    fields: dict[str, Any] = {"text": " ".join(values.pop("q", []))}
    for name, several in values.items():
        try:
            if name in REPEATABLE:
                fields[REPEATABLE[name]] = _several(name, several)
            else:
                field, parse = _SINGLE[name]
                fields[field] = parse(_one(several))
        except ValueError as error:
            return Wrong(name, str(error))
    if why := why_no_days(fields.get("start"), fields.get("end")):
        return Wrong("from", why.removeprefix("from "))
    return Filters(**fields)


_SINGLE: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "from": ("start", day_of_text),
    "to": ("end", day_of_text),
    "updated_from": ("updated_from", day_of_text),
    "bbox": ("bbox", box_of_text),
    "latest": ("latest", flag_of_text),
    "limit": ("limit", count_of_text),
}
FILTERS = frozenset({"q", *REPEATABLE, *_SINGLE})
"""The names of all filters."""


def _one(values: Sequence[str]) -> str:
    if len(values) > 1:
        raise ValueError("may be given only once")
    return values[0]


def _several(name: str, values: Sequence[str]) -> tuple[str, ...]:
    if len(values) > _MOST_VALUES:
        raise ValueError(f"may be given at most {_MOST_VALUES} times")
    if not all(values):
        raise ValueError("must not be empty")
    return tuple(state_of_text(value) for value in values) if name == "state" else tuple(values)
