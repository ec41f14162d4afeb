"""Sizes and durations as people write them, to bytes and time and back.

Every `parse_` raises ValueError with a text that says what is allowed and does not repeat the value; every `format_` writes a text
that its `parse_` reads back to the same value.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

LARGEST_SIZE = 2**63 - 1
"""In bytes: what a signed 64-bit number of the index or a file system can hold."""

LONGEST_DURATION = timedelta(days=3660)
"""Whatever is longer is a mistake, and would lead beyond the calendar when it is added to a moment."""

_SIZE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "PB": 10**15,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "PiB": 2**50,
}
_SIZE_BY_LOWER = {name.lower(): factor for name, factor in _SIZE_UNITS.items()}
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""In seconds. Months and years are left out: they have no fixed length."""

# At most 19 digits and 6 decimals: enough for any disk and any century, and exact in a Decimal, which has 28.
_QUANTITY = re.compile(r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,6})?)\s*(?P<unit>[a-z]*)", re.IGNORECASE | re.ASCII)

_SIZE_FORMS = 'must be a size such as "500 MB" or "20 GiB", or a whole number of bytes'
_DURATION_FORMS = 'must be a duration with its unit (s, m, h, d or w), such as "30s", "6h" or "7d"'


def parse_size(value: object) -> int:
    """Bytes from `"500 MB"` (powers of 1000), `"20 GiB"` (powers of 1024), `"1.5 TB"` or a plain number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (quantity := _QUANTITY.fullmatch(value.strip())):
        factor = _SIZE_BY_LOWER.get(quantity["unit"].lower() or "b")
        if factor is None:
            raise ValueError(_SIZE_FORMS)
        size = round(Decimal(quantity["number"]) * factor)
    else:
        raise ValueError(_SIZE_FORMS)
    if not 0 <= size <= LARGEST_SIZE:
        raise ValueError("must be a size from 0 to 8 EiB")
    return size


def parse_rate(value: object) -> int:
    """Bytes per second from a size, with or without the `/s` that people like to add."""
    return parse_size(value.strip().removesuffix("/s") if isinstance(value, str) else value)


def format_size(size: int) -> str:
    """The shortest exact spelling: `64 kB`, `20 GiB`, `1234567 B`."""
    exact = [(size // factor, name) for name, factor in _SIZE_UNITS.items() if size % factor == 0]
    number, name = min(exact, key=lambda spelling: spelling[0]) if size else (0, "B")
    return f"{number} {name}"


def parse_duration(value: object) -> timedelta:
    """Time from `"30s"`, `"90m"`, `"6h"`, `"7d"` or `"2w"`; a bare number is refused, as nobody can see its unit."""
    if isinstance(value, timedelta):
        return value
    quantity = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    factor = _DURATION_UNITS.get(quantity["unit"].lower()) if quantity else None
    if quantity is None or factor is None:
        raise ValueError(_DURATION_FORMS)
    try:
        duration = timedelta(microseconds=round(Decimal(quantity["number"]) * factor * 10**6))
    except OverflowError:
        duration = timedelta.max
    if duration > LONGEST_DURATION:
        raise ValueError("must be a duration of ten years at most")
    return duration


def format_duration(duration: timedelta) -> str:
    """The largest unit up to days that divides it: a week is `7d`, ninety minutes are `90m`, half a second is `0.5s`."""
    micros = duration // timedelta(microseconds=1)
    seconds, rest = divmod(micros, 10**6)
    if rest:
        return f"{seconds}.{rest:06d}".rstrip("0") + "s"
    unit = next((unit for unit in "dhm" if seconds and seconds % _DURATION_UNITS[unit] == 0), "s")
    return f"{seconds // _DURATION_UNITS[unit]}{unit}"
