"""What a request for a listing asks for: the filters, the paging and the order of the live service."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Generic, Literal, TypeVar

from mirror.geometry import parse_positions
from mirror.model import Ring

DEFAULT_LIMIT = 10  # [O]
LARGEST_LIMIT = 50  # [O]; what is larger is clamped without a word [C]

_LARGEST_PAGE = 10**9
_MOST_DIGITS = 9
_MOST_POSITIONS = 500
_LONGEST_WORD = 200
_ONCE = frozenset({
    "zone", "format", "crs", "thematic", "polygon", "updatedFrom", "updatedTo", "editionDateFrom", "editionDateTo",
    "page", "limit", "sortEntriesBy", "sortEntriesOrder", "lang",
})  # fmt: skip

T = TypeVar("T")


class NotUnderstood(ValueError):
    """A parameter that cannot be read; the message is for whoever asked."""


@dataclass(frozen=True, slots=True)
class Window(Generic[T]):
    """A page of a listing of `total` entries; `size` is the limit in force, not the number of entries."""

    entries: tuple[T, ...]
    page: int
    size: int
    total: int

    @property
    def count(self) -> int:
        """How many pages there are; none where nothing is listed [I]."""
        return -(-self.total // self.size)

    @property
    def beyond(self) -> bool:
        """Whether the page asked for comes after the last one."""
        return self.page > max(self.count, 1)


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of how many entries at most."""

    page: int = 1
    size: int = DEFAULT_LIMIT

    @property
    def offset(self) -> int:
        """The number of entries before the page."""
        return (self.page - 1) * self.size


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters of a request, None where it has none. Days are included; `polygon` is a ring in longitude, latitude."""

    paging: Paging = Paging()
    zone: str | None = None
    format: str | None = None
    crs: str | None = None
    thematic: str | None = None
    updated_from: date | None = None
    updated_to: date | None = None
    edition_from: date | None = None
    edition_to: date | None = None
    polygon: Ring | None = None
    order: Literal["id", "title", "edition"] = "id"
    descending: bool = False
    lang: str = "en"


def paging_of(query: Mapping[str, str]) -> Paging:
    """The page that `page` and `limit` ask for. A number that is none, or 0, counts as not given [I]; `pageSize` is ignored [C]."""
    return Paging(_number(query.get("page"), 1), min(_number(query.get("limit"), DEFAULT_LIMIT), LARGEST_LIMIT))


def asked_of(query: Mapping[str, str]) -> Asked:
    """What the parameters of a request ask for [O]; those that the service does not know are ignored. Raises NotUnderstood.

    Nowhere is it said what upstream makes of a parameter that comes twice: rather no answer than one to another question.
    """
    for name, count in Counter(name for name, _ in query.items()).items():
        if count > 1 and name in _ONCE:
            raise NotUnderstood(f"{name} may be given only once")
    return Asked(
        paging_of(query),
        _word(query, "zone"),
        _word(query, "format"),
        _word(query, "crs"),
        _word(query, "thematic"),
        _day(query, "updatedFrom"),
        _day(query, "updatedTo"),
        _day(query, "editionDateFrom"),
        _day(query, "editionDateTo"),
        _polygon(query.get("polygon")),
        _order(query.get("sortEntriesBy")),
        _descending(query.get("sortEntriesOrder")),
        lang_of(query),
    )


def lang_of(query: Mapping[str, str]) -> str:
    """`fre` and `eng` say the documents [O], `fr` and `en` the links of the feeds [L]."""
    return "fr" if query.get("lang", "").lower() in ("fr", "fre", "fra") else "en"


def _number(text: str | None, default: int) -> int:
    digits = text.lstrip("0") if text and text.isascii() and text.isdecimal() else ""
    if not digits:
        return default
    return _LARGEST_PAGE if len(digits) > _MOST_DIGITS else int(digits)


def _word(query: Mapping[str, str], name: str) -> str | None:
    text = query.get(name, "").strip()
    if len(text) > _LONGEST_WORD:
        raise NotUnderstood(f"{name} must be a code of at most {_LONGEST_WORD} characters")
    return text or None


def _day(query: Mapping[str, str], name: str) -> date | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text[:10], re.ASCII):
            raise ValueError
        return date.fromisoformat(text[:10])
    except ValueError:
        raise NotUnderstood(f"{name} must be a day, as YYYY-MM-DD") from None


def _polygon(text: str | None) -> Ring | None:
    """`x1,y1;x2,y2;...` in EPSG:4326 [O], closed or not."""
    if not text or not text.strip():
        return None
    try:
        positions = parse_positions(text)
    except ValueError:
        positions = []
    if len(positions) < 3 or not all(abs(x) <= 180 and abs(y) <= 90 for x, y in positions):
        raise NotUnderstood("polygon must be at least three positions, longitude first, as x1,y1;x2,y2;x3,y3")
    if len(positions) > _MOST_POSITIONS:
        raise NotUnderstood(f"polygon must have at most {_MOST_POSITIONS} positions")
    return tuple(positions) if positions[0] == positions[-1] else (*positions, positions[0])


def _order(text: str | None) -> Literal["id", "title", "edition"]:
    match (text or "").lower():
        case "":
            return "id"
        case "title":
            return "title"
        case "editiondate":
            return "edition"
        case _:
            raise NotUnderstood("sortEntriesBy must be title or editionDate")


def _descending(text: str | None) -> bool:
    match (text or "").lower():
        case "" | "asc":
            return False
        case "desc":
            return True
        case _:
            raise NotUnderstood("sortEntriesOrder must be asc or desc")
