"""How the values of the model are spelt in rows of the index, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from sys import intern

from mirror.geometry import footprint_to_text
from mirror.model import BBox, Resource, SubResource, Term
from mirror.vocabulary import fold_crs, fold_format, fold_zone


@lru_cache(maxsize=65536)
def strings_of(text: str) -> tuple[str, ...]:
    """The texts of a JSON array; the same few thousand come again and again."""
    return tuple(intern(item) for item in json.loads(text))


def day_text(day: date | None) -> str | None:
    """A day as YYYY-MM-DD."""
    return day.isoformat() if day else None


def day_of(text: str | None) -> date | None:
    """The reverse of `day_text`."""
    return date.fromisoformat(text) if text else None


def codes_text(entry: Resource | SubResource) -> tuple[str, str, str, str]:
    """The codes of zones, formats, CRS and resolutions, as JSON arrays."""
    return (
        json.dumps([term.code for term in entry.zones], ensure_ascii=False),
        json.dumps([term.code for term in entry.formats], ensure_ascii=False),
        json.dumps([term.code for term in entry.crs], ensure_ascii=False),
        json.dumps([term.code for term in entry.resolutions], ensure_ascii=False),
    )


def ground_text(entry: Resource | SubResource) -> str | None:
    """The footprint as GeoJSON."""
    return footprint_to_text(entry.footprint) if entry.footprint else None


def box_of(row: sqlite3.Row) -> BBox | None:
    """The box that a row of `footprints`, or of several of them, says; the R-tree has it as 32-bit floats."""
    if row["west"] is None:
        return None
    return round(row["west"], 4), round(row["south"], 4), round(row["east"], 4), round(row["north"], 4)


def folded_terms(sub: SubResource) -> Iterable[tuple[str, tuple[Term, ...], Callable[[str], str]]]:
    """The terms that can be asked for, with what folds their codes, by kind."""
    return (("zone", sub.zones, fold_zone), ("format", sub.formats, fold_format), ("crs", sub.crs, fold_crs))


@lru_cache(maxsize=4096)
def array_text(texts: tuple[str, ...]) -> str:
    """A JSON array of texts."""
    return json.dumps(texts, ensure_ascii=False)
