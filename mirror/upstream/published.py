"""A page of a feed as published: its members found, stripped and counted, not yet given a meaning.

The JSON and the XML reader both end here, so that whatever follows cannot tell which of the two it came from. A member that is
missing is the empty text, the empty tuple or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from sys import intern

from mirror.model import Footprint, Term
from mirror.vocabulary import normalise_crs

LARGEST_COUNT = 2**63 - 1
"""Sizes and paging facts beyond what a database can hold are no facts."""

_CACHED_POLYGON = 8192  # characters; longer ones are of whole countries and rare, and would only fill the cache


@dataclass(slots=True)
class PublishedLink:
    """A link of an entry. `rel` is empty where upstream gives none; `length` is in bytes."""

    href: str = ""
    rel: str = ""
    media_type: str = ""
    length: int | None = None


@dataclass(slots=True)
class PublishedEntry:
    """An entry of any level. `content` is the abstract of a resource or sub-resource, and the MD5 of a file; `identifier`
    is the code of the spatial data set that a resource is."""

    id: str
    title: str
    content: str
    summary: str
    updated: str
    edition_date: str
    edition_start: str
    edition_end: str
    zones: tuple[Term, ...]
    formats: tuple[Term, ...]
    crs: tuple[Term, ...]
    resolutions: tuple[Term, ...]
    media_types: tuple[str, ...]
    footprint: Footprint | None
    links: list[PublishedLink]
    identifier: str = ""


@dataclass(slots=True)
class PublishedPage:
    """A page of any level. An entry that is no entry at all (JSON can hold anything) is None in its place."""

    title: str
    page: int | None
    page_size: int | None
    page_count: int | None
    total: int | None
    entries: list[PublishedEntry | None]


def as_count(value: object) -> int | None:
    """A size or number: a whole number from 0 to 2**63 - 1, or the text of one. None for anything else."""
    if isinstance(value, str):
        digits = value.strip()
        # Bounded before it is converted: a text of a million digits would cost seconds.
        value = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 20 else None
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None


# The same few zones, formats, CRS, media types and footprints recur in thousands of entries: each is made once and shared.


@lru_cache(maxsize=4096)
def _term(code: str, label: str) -> Term:
    return Term(code, label)


@lru_cache(maxsize=4096)
def terms(pairs: tuple[tuple[str, str], ...]) -> tuple[Term, ...]:
    """The terms of (code, label) pairs: identical ones once, in order, none without a code."""
    return tuple(dict.fromkeys(_term(code, label) for code, label in pairs if code))


@lru_cache(maxsize=4096)
def crs_terms(pairs: tuple[tuple[str, str], ...]) -> tuple[Term, ...]:
    """The same for the CRS of categories, with codes as `EPSG:2154` where they name one."""
    return terms(tuple((normalise_crs(code), label) for code, label in pairs))


@lru_cache(maxsize=4096)
def _media_types(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(intern(name) for name in names if name))


def media_types(names: Iterable[str]) -> tuple[str, ...]:
    """Media types, each once, in order."""
    return _media_types(tuple(names))


_cached_footprint = lru_cache(maxsize=512)(lambda read, text: read(text))


def shared_footprint(read: Callable[[str], Footprint | None], text: str) -> Footprint | None:
    """The footprint that `read` makes of a polygon's text; the same text gives the same object."""
    if not text:
        return None
    if len(text) > _CACHED_POLYGON:
        return read(text)
    footprint: Footprint | None = _cached_footprint(read, text)
    return footprint
