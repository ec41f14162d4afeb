"""Footprints on the ground: reading the positions of a feed, meeting a box, and the text that a database keeps.

Everything is in degrees (WGS 84) and, inside the program, in longitude/latitude order. Rings are filled polygons that lie side by
side: the feeds know no holes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import isfinite

from mirror.model import BBox, Footprint, Position, Ring

_SEPARATORS = str.maketrans(",;\t\r\n", "     ")

TERRITORIES: tuple[BBox, ...] = (
    # Where the data of the service lies, with a margin for the sea around it. No box overlaps another one with its axes swapped
    # (a test sees to that), so that a position inside tells in which order it was written.
    (-6.0, 41.0, 10.5, 51.7),  # metropolitan France with Corsica
    (-63.5, 14.2, -60.6, 18.4),  # Guadeloupe, Martinique, Saint-Martin, Saint-Barthélemy
    (-55.0, 1.9, -51.0, 6.5),  # Guyane
    (54.9, -21.7, 56.2, -20.6),  # La Réunion
    (44.6, -13.3, 45.6, -12.3),  # Mayotte
    (-57.0, 46.5, -55.8, 47.4),  # Saint-Pierre-et-Miquelon
    (-178.6, -14.7, -175.8, -12.9),  # Wallis-et-Futuna
    (-155.2, -28.2, -134.0, -7.5),  # Polynésie française
    (157.8, -23.2, 172.3, -17.5),  # Nouvelle-Calédonie
    (-109.6, 10.1, -108.9, 10.6),  # Clipperton
    (39.8, -22.8, 55.0, -11.0),  # Îles Éparses
    (50.0, -50.2, 78.0, -37.3),  # Crozet, Kerguelen, Saint-Paul and Amsterdam
    (136.0, -67.5, 142.1, -64.0),  # Terre Adélie, the coast
)


def parse_positions(text: str) -> list[Position]:
    """The numbers of a feed's polygon, two by two, in the order written. Commas, semicolons and newlines separate like spaces.

    Raises ValueError for anything but finite numbers in pairs.
    """
    if "_" in text:  # float() takes 1_000 for a number; a feed that says so means something else
        raise ValueError("not a list of numbers")
    values = [float(word) for word in text.translate(_SEPARATORS).split()]
    if len(values) % 2:
        raise ValueError(f"{len(values)} numbers do not make pairs")
    if not all(map(isfinite, values)):
        raise ValueError("a number is not finite")
    return list(zip(values[::2], values[1::2], strict=True))


def split_rings(positions: Iterable[Position]) -> tuple[Ring, ...]:
    """The rings of a flattened multipolygon.

    [O/L] `polygon` is one list for all parts: a ring closes where its first position comes again, and the next one follows. A last
    ring that never closes is closed. What encloses nothing, being fewer than three positions, is left out.
    """
    rings: list[Ring] = []
    ring: list[Position] = []
    for position in positions:
        ring.append(position)
        # Not at the second position: a first one written twice is no closed ring.
        if len(ring) > 2 and position == ring[0]:
            if len(ring) > 3:
                rings.append(tuple(ring))
            ring = []
    if len(ring) > 2:
        rings.append((*ring, ring[0]))
    return tuple(rings)


def footprint_from_lonlat(text: str) -> Footprint | None:
    """The footprint of a `polygon` written in longitude/latitude order, as JSON feeds do [O]. None where the text holds none."""
    try:
        return _footprint(parse_positions(text))
    except ValueError:
        return None


def footprint_from_xml(text: str) -> Footprint | None:
    """The footprint of a `georss:polygon`, or None where the text holds none.

    GeoRSS says latitude first, but which order the live service writes in XML is not confirmed, so the data decides: a value beyond
    ±90 is a longitude; else the reading that puts more of it into the known territories wins; else the standard does.
    """
    try:
        written = parse_positions(text)
    except ValueError:
        return None
    swapped = [(second, first) for first, second in written]
    if any(abs(first) > 90 for first, _ in written):
        return _footprint(written)
    if any(abs(second) > 90 for _, second in written):
        return _footprint(swapped)
    return _footprint(written if _known(written) > _known(swapped) else swapped)


def _known(positions: Iterable[Position]) -> int:
    """How many of these longitude/latitude positions lie in a known territory."""
    return sum(any(west <= x <= east and south <= y <= north for west, south, east, north in TERRITORIES) for x, y in positions)


def _footprint(positions: Sequence[Position]) -> Footprint | None:
    if any(abs(x) > 180 or abs(y) > 90 for x, y in positions):
        return None
    rings = split_rings(positions)
    return Footprint(rings) if rings else None


def around(boxes: Iterable[BBox | None]) -> BBox | None:
    """The box around boxes; None around none."""
    found = [box for box in boxes if box is not None]
    if not found:
        return None
    wests, souths, easts, norths = zip(*found, strict=True)
    return min(wests), min(souths), max(easts), max(norths)


@lru_cache(maxsize=1024)
def rectangle(box: BBox) -> Footprint:
    """A box as a footprint."""
    west, south, east, north = box
    return Footprint((((west, south), (east, south), (east, north), (west, north), (west, south)),))


def intersects(footprint: Footprint, bbox: BBox) -> bool:
    """Whether any ring, filled, meets the box; touching counts. A box whose west is east of its east crosses the antimeridian."""
    west, south, east, north = bbox
    boxes = [bbox] if west <= east else [(west, south, 180.0, north), (-180.0, south, east, north)]
    return any(_ring_meets(ring, box) for ring in footprint.rings for box in boxes)


def meets(footprint: Footprint, area: Ring) -> bool:
    """Whether any ring, filled, meets an area that a closed ring encloses; touching counts."""
    xs, ys = zip(*area, strict=True)
    box = min(xs), min(ys), max(xs), max(ys)
    corners = set(area)
    if len(corners) == 4 and corners == {(x, y) for x in (box[0], box[2]) for y in (box[1], box[3])}:
        return intersects(footprint, box)
    edges = list(pairwise(area))
    return any(_rings_meet(ring, area, edges, box) for ring in footprint.rings)


def _rings_meet(ring: Ring, area: Ring, edges: Sequence[tuple[Position, Position]], box: BBox) -> bool:
    if not _ring_meets(ring, box):
        return False
    for start, end in pairwise(ring):
        if _edge_meets(start, end, box) and any(_edges_meet(start, end, *edge) for edge in edges):
            return True
    # No two edges meet, so one lies wholly inside the other or wholly outside: one position tells.
    return _contains(ring, area[0]) or _contains(area, ring[0])


def _edges_meet(a: Position, b: Position, c: Position, d: Position) -> bool:
    """Whether two straight edges share a point: each has the ends of the other on both of its sides, or one of them on it."""
    if max(a[0], b[0]) < min(c[0], d[0]) or max(c[0], d[0]) < min(a[0], b[0]):
        return False
    if max(a[1], b[1]) < min(c[1], d[1]) or max(c[1], d[1]) < min(a[1], b[1]):
        return False
    return _side(a, b, c) * _side(a, b, d) <= 0 and _side(c, d, a) * _side(c, d, b) <= 0


def _side(a: Position, b: Position, position: Position) -> float:
    return (b[0] - a[0]) * (position[1] - a[1]) - (b[1] - a[1]) * (position[0] - a[0])


def _ring_meets(ring: Ring, bbox: BBox) -> bool:
    west, south, east, north = bbox
    xs, ys = zip(*ring, strict=True)
    if max(xs) < west or min(xs) > east or max(ys) < south or min(ys) > north:
        return False
    if any(_edge_meets(start, end, bbox) for start, end in pairwise(ring)):
        return True
    # No edge comes near the box, so it lies wholly inside the ring or wholly outside: one corner tells.
    return _contains(ring, (west, south))


def _edge_meets(start: Position, end: Position, bbox: BBox) -> bool:
    """Whether a straight edge and a box share a point: they do unless an axis, or the edge's own line, separates them."""
    (x1, y1), (x2, y2) = start, end
    west, south, east, north = bbox
    if max(x1, x2) < west or min(x1, x2) > east or max(y1, y2) < south or min(y1, y2) > north:
        return False
    sides = [(x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) for x in (west, east) for y in (south, north)]
    return min(sides) <= 0 <= max(sides)


def _contains(ring: Ring, position: Position) -> bool:
    """Whether a position off the ring's line is inside it: a ray to the east crosses the line an odd number of times."""
    x, y = position
    inside = False
    for (x1, y1), (x2, y2) in pairwise(ring):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


def footprint_to_text(footprint: Footprint) -> str:
    """Compact GeoJSON, a MultiPolygon with one polygon per ring: what the index stores and GIS tools read. Nothing is rounded."""
    return json.dumps({"type": "MultiPolygon", "coordinates": [[ring] for ring in footprint.rings]}, separators=(",", ":"))


def footprint_from_text(text: str) -> Footprint:
    """The footprint that `footprint_to_text` wrote. Raises ValueError for any other text."""
    try:
        shape = json.loads(text)
        if shape["type"] != "MultiPolygon":
            raise ValueError(f"expected a GeoJSON MultiPolygon, got {shape['type']!r}")
        rings = (ring for polygon in shape["coordinates"] for ring in polygon)
        footprint = Footprint(tuple(tuple((float(x), float(y)) for x, y in ring) for ring in rings))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a GeoJSON MultiPolygon: {error!r}") from None
    if not footprint.rings or not all(footprint.rings):
        raise ValueError("a GeoJSON MultiPolygon without rings")
    return footprint
