"""Amounts in words, the same in messages, tables and logs. English unless a `Notation` says otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ISO_DAY = re.compile(r"(\d{4})-(\d\d)(?:-(\d\d))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Notation:
    """How readers of a language write amounts. `gap` stands between a number and its unit."""

    point: str
    thousands: str
    gap: str
    sizes: tuple[str, str, str, str, str]
    days: str
    day_first: bool


ENGLISH = Notation(".", ",", " ", ("B", "kB", "MB", "GB", "TB"), "d", day_first=False)

FRENCH = Notation(",", "\u202f", "\u202f", ("o", "ko", "Mo", "Go", "To"), "j", day_first=True)
"""Octets, a decimal comma, and narrow spaces that do not break, as the Imprimerie nationale has it; days as 23/11/2026."""


def size_text(size: int | None, notation: Notation = ENGLISH) -> str:
    """Bytes for people: decimal units, as disks and downloads are sold and plural."""
    if size is None:
        return "?"
    amount, whole, last = float(size), notation.sizes[0], notation.sizes[-1]
    for unit in notation.sizes:
        if amount < 999.5 or unit == last:
            break
        amount /= 1000
    places = 0 if unit == whole or amount >= 99.95 else 1
    return f"{_decimal(amount, places, notation)}{notation.gap}{unit}"


def speed_text(bytes_per_second: float, notation: Notation = ENGLISH) -> str:
    """`10.0 MB/s`."""
    return f"{size_text(int(bytes_per_second), notation)}/s"


def count_text(count: int, singular: str, plural: str = "") -> str:
    """`1 file`, `2 files`, `200,000 files`; in English only, see `mirror.phrases.plural`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def number_text(number: int, notation: Notation = ENGLISH) -> str:
    """`200,000`."""
    return f"{number:,}".replace(",", notation.thousands)


def share_text(share: float, notation: Notation = ENGLISH) -> str:
    """A part of a whole, in percent without decimals."""
    return f"{_decimal(100 * share, 0, notation)}{notation.gap}%"


def tight_share_text(share: float, notation: Notation = ENGLISH) -> str:
    """The same in running text: English has no blank there."""
    return f"{_decimal(100 * share, 0, notation)}{notation.gap if notation.gap != ' ' else ''}%"


def availability_text(share: float, notation: Notation = ENGLISH) -> str:
    """A part of a whole in percent, rounded down: 99.99 % is not 100 %."""
    places, percent = (2, int(share * 10_000) / 100) if share < 1 else (0, 100.0)
    return f"{_decimal(percent, places, notation)}{notation.gap}%"


def latency_text(seconds: float | None, notation: Notation = ENGLISH) -> str:
    """How long an answer took; empty where there was none."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{_decimal(seconds * 1000, 0, notation)}{notation.gap}ms"
    return f"{_decimal(seconds, 1, notation)}{notation.gap}s"


def seconds_text(seconds: float, notation: Notation = ENGLISH) -> str:
    """Seconds with one decimal."""
    return f"{_decimal(seconds, 1, notation)}{notation.gap}s"


def span_text(seconds: float | None, notation: Notation = ENGLISH) -> str:
    """How long something takes, in its two largest units; empty where nobody knows."""
    if seconds is None:
        return ""
    gap, whole = notation.gap, int(seconds + 0.5)
    if whole < 90:
        return f"{whole}{gap}s"
    if whole < 90 * 60:
        return f"{whole // 60}{gap}min {whole % 60}{gap}s" if whole < 600 else f"{whole // 60}{gap}min"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}{gap}h {minutes}{gap}min" if hours < 48 else f"{hours // 24}{gap}{notation.days} {hours % 24}{gap}h"


def moment_text(moment: str, notation: Notation = ENGLISH) -> str:
    """An ISO 8601 moment of the index, to the minute."""
    return f"{day_text(moment[:10], notation)} {moment[11:16]} UTC"


def day_text(day: str, notation: Notation = ENGLISH) -> str:
    """An ISO 8601 day, or month; what is neither stays as it is."""
    if not notation.day_first or not (found := _ISO_DAY.fullmatch(day)):
        return day
    return "/".join(part for part in reversed(found.groups()) if part)


def _decimal(number: float, places: int, notation: Notation) -> str:
    return f"{number:.{places}f}".replace(".", notation.point)
