"""Which of the editions that are offered are asked for, and how SQL says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from mirror.model import BBox
from mirror.vocabulary import fold_crs, fold_format, fold_zone

OFFERED = "s.complete = 1 AND s.stored_files > 0"
"""What makes an edition one that is offered, where `s` is its row; a partial index has the same words."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Which editions of a resource are asked for; None does not filter. Codes are compared folded, days are included."""

    zone: str | None = None
    format: str | None = None
    crs: str | None = None
    edition_from: date | None = None
    edition_to: date | None = None
    box: BBox | None = None
    """West, south, east, north: editions whose box does not meet it are left out."""

    latest: bool = False
    """Only the newest edition of each series."""


EVERYTHING = Narrowing()


def where_of(upstream: str, resource: str, narrowing: Narrowing) -> tuple[str, list[object]]:
    """The condition on the editions of a resource, and the values for its question marks."""
    parts = [OFFERED, "s.upstream = ?", "s.resource = ?"]
    values: list[object] = [upstream, resource]
    coded = (("zone", narrowing.zone, fold_zone), ("format", narrowing.format, fold_format), ("crs", narrowing.crs, fold_crs))
    for kind, code, fold in coded:
        if code is not None:
            parts.append("EXISTS (SELECT 1 FROM sub_resource_terms t WHERE t.kind = ? AND t.code = ? AND t.sub_resource_id = s.id)")
            values += [kind, fold(code)]
    if narrowing.edition_from:
        parts.append("s.edition_date >= ?")
        values.append(narrowing.edition_from.isoformat())
    if narrowing.edition_to:
        parts.append("s.edition_date <= ?")
        values.append(narrowing.edition_to.isoformat())
    if narrowing.box:
        west, south, east, north = narrowing.box
        parts.append(
            "s.id IN (SELECT f.sub_resource_id FROM footprints f "
            "WHERE f.west <= ? AND f.east >= ? AND f.south <= ? AND f.north >= ?)"
        )
        values += [east, west, north, south]
    if narrowing.latest:
        parts.append("s.latest = 1")
    return " AND ".join(parts), values
