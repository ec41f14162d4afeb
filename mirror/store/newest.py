"""The newest editions of a resource, taken together in SQL: what is said of thousands costs no more than their rows in an index.

No footprint is read where the box around it does: that is in the R-tree.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from mirror.geometry import footprint_from_text
from mirror.model import BBox, Footprint, SubResource, Term
from mirror.planning.series import edition_order
from mirror.store.narrowing import OFFERED
from mirror.store.offer import Offer, newer
from mirror.store.rows import box_of, day_of, strings_of

Codes = tuple[str, str]
"""The CRS and the formats of editions, as the index has them: JSON arrays."""

_POSITION: Final = 52
"""The most characters of a position in the index: two numbers with all their digits, brackets and commas."""


@dataclass(frozen=True, slots=True)
class Alike:
    """The newest editions of a resource with the same `codes`; `size` in bytes, moments in ISO 8601 (UTC).

    `changed_at` is the last moment at which one of them changed, `withdrawn_at` the last at which one was withdrawn, `withdrawn`
    whether all are, `box` what is around them.
    """

    codes: Codes
    crs: tuple[Term, ...]
    formats: tuple[Term, ...]
    editions: int
    files: int
    size: int
    changed_at: str
    withdrawn: bool
    withdrawn_at: str | None
    box: BBox | None


@dataclass(frozen=True, slots=True)
class NewEdition:
    """One of them: `id` is its number in the index, `name` its id upstream."""

    id: int
    resource: str
    name: str
    title: str
    edition_date: date | None
    changed_at: str
    withdrawn_at: str | None
    box: BBox | None


@dataclass(frozen=True, slots=True)
class Ground:
    """What is said of an edition at length. `footprint` is None where there is none, and where it is larger than was asked for."""

    abstract: str
    footprint: Footprint | None


class Newest:
    """The newest edition of each series of a resource, asked for in one state of the index.

    Where `verify` has found that one wrong, it is the one before until the next sync: what is marked as the newest is not offered,
    and the series would seem to be gone.
    """

    def __init__(self, offer: Offer, upstream: str, resource: str) -> None:
        self._offer = offer
        self._upstream = upstream
        self._where = f"{OFFERED} AND s.upstream = ? AND s.resource = ?"
        self._values: list[object] = [upstream, resource]
        instead = self._instead()
        # `latest` by itself: as a term with `=` it would bring in an index that knows nothing else of what is asked.
        if instead:
            self._where += " AND (s.latest OR s.id IN (SELECT value FROM json_each(?)))"
            self._values.append(json.dumps(instead))
        else:
            self._where += " AND s.latest"

    def _instead(self) -> list[int]:
        """The last editions of the series whose newest is not offered."""
        best: dict[str, tuple[object, int]] = {}
        for row in self._rows(
            "SELECT s.id, s.series, s.resource, s.sub_resource, s.edition_date, s.updated, s.republished_at FROM sub_resources s "
            f"WHERE {self._where} AND s.series IN (SELECT s.series FROM sub_resources s WHERE {self._where} "
            "GROUP BY s.series HAVING NOT max(s.latest))",
            self._values * 2,
        ):
            updated = newer(row["updated"], row["republished_at"]) if row["republished_at"] else row["updated"]
            day = day_of(row["edition_date"])
            order = edition_order(SubResource(row["resource"], row["sub_resource"], "", updated=updated, edition_date=day))
            known = best.get(row["series"])
            if known is None or known[0] < order:  # type: ignore[operator]
                best[row["series"]] = order, row["id"]
        return [number for _, number in best.values()]

    def alike(self) -> list[Alike]:
        """All of them, in groups."""
        rows = self._rows(
            "SELECT s.crs, s.formats, count(*) AS editions, sum(s.stored_files) AS files, sum(s.stored_bytes) AS size, "
            "max(s.changed_at) AS changed_at, max(s.withdrawn_at) AS withdrawn_at, min(s.withdrawn_at IS NOT NULL) AS withdrawn, "
            "min(f.west) AS west, min(f.south) AS south, max(f.east) AS east, max(f.north) AS north "
            f"FROM sub_resources s LEFT JOIN footprints f ON f.sub_resource_id = s.id WHERE {self._where} "
            "GROUP BY s.crs, s.formats ORDER BY s.crs, s.formats",
            self._values,
        )
        return [
            Alike(
                (row["crs"], row["formats"]),
                self._offer.terms(self._upstream, "crs", strings_of(row["crs"])),
                self._offer.terms(self._upstream, "format", strings_of(row["formats"])),
                row["editions"],
                row["files"],
                row["size"],
                row["changed_at"] or "",
                bool(row["withdrawn"]),
                row["withdrawn_at"],
                box_of(row),
            )
            for row in rows
        ]

    def counted(self, codes: Sequence[Codes]) -> Iterator[tuple[int, int]]:
        """The numbers of the editions with these codes, in the order of their ids upstream, each with how many files it has."""
        for row in self._coded("s.id, s.stored_files", codes, "ORDER BY s.sub_resource"):
            yield row["id"], row["stored_files"]

    def titles(self, codes: Sequence[Codes]) -> Iterator[str]:
        """The titles of the editions with these codes, in no order."""
        for row in self._coded("s.title", codes, ""):
            yield row["title"]

    def _coded(self, columns: str, codes: Sequence[Codes], order: str) -> Iterator[sqlite3.Row]:
        return self._rows(
            f"SELECT {columns} FROM json_each(?) c CROSS JOIN sub_resources s "
            "ON s.crs = json_extract(c.value, '$[0]') AND s.formats = json_extract(c.value, '$[1]') "
            f"WHERE {self._where} {order}",
            [json.dumps(codes), *self._values],
        )

    def _rows(self, question: str, values: Sequence[object]) -> Iterator[sqlite3.Row]:
        return self._offer.connection.execute(question, values)


def editions(offer: Offer, ids: Sequence[int]) -> list[NewEdition]:
    """The editions with these numbers in the index, in this order."""
    rows = offer.connection.execute(
        "SELECT s.id, s.resource, s.sub_resource, s.title, s.edition_date, s.changed_at, s.withdrawn_at, "
        "f.west, f.south, f.east, f.north FROM json_each(?) c CROSS JOIN sub_resources s ON s.id = c.value "
        "LEFT JOIN footprints f ON f.sub_resource_id = s.id ORDER BY c.key",
        [json.dumps(list(ids))],
    )
    return [
        NewEdition(
            row["id"],
            row["resource"],
            row["sub_resource"],
            row["title"],
            day_of(row["edition_date"]),
            row["changed_at"] or "",
            row["withdrawn_at"],
            box_of(row),
        )
        for row in rows
    ]


def ground(offer: Offer, edition: NewEdition, *, positions: int) -> Ground:
    """The abstract of an edition, and its footprint where its text is no longer than one of so many positions can be."""
    row = offer.connection.execute(
        "SELECT abstract, CASE WHEN length(footprint) <= ? THEN footprint END AS footprint FROM sub_resources WHERE id = ?",
        ((positions + 1) * _POSITION, edition.id),
    ).fetchone()
    return Ground(row["abstract"], footprint_from_text(row["footprint"]) if row["footprint"] else None)
