"""Footprints on maps: drawn as SVG for everybody, a frame for each part of the world that data is of; as GeoJSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import cos, radians
from pathlib import Path
from typing import Any

from mirror.geometry import TERRITORIES
from mirror.model import BBox, Footprint, Position, Ring
from mirror.phrases import phrase

MOST_SHAPES = 3000
"""On one map; what is beyond is not drawn, and the page says so."""

_MOST_LINKED = 150  # beyond that, shapes are one line each for all: nobody aims at them
_MOST_POINTS = 400  # of a ring
_SIDE = 400.0  # units of the longer side of a frame
_MARGIN = 0.04

FRAMES: tuple[tuple[str, BBox], ...] = tuple(
    zip(
        (
            phrase("Metropolitan France"),
            phrase("Guadeloupe and Martinique"),
            phrase("French Guiana"),
            phrase("La Réunion"),
            phrase("Mayotte"),
            phrase("Saint-Pierre-et-Miquelon"),
            phrase("Wallis and Futuna"),
            phrase("French Polynesia"),
            phrase("New Caledonia"),
            phrase("Clipperton"),
            phrase("Scattered Islands"),
            phrase("French Southern Lands"),
            phrase("Adélie Land"),
        ),
        TERRITORIES,
        strict=True,
    )
)
"""The parts of the world that most data is of, each with its name."""

ELSEWHERE = phrase("Elsewhere")


@dataclass(frozen=True, slots=True)
class Shape:
    """Ground on a map: its rings, what stands beside it, and where it leads to."""

    rings: tuple[Ring, ...]
    label: str
    href: str


@dataclass(frozen=True, slots=True)
class DrawnShape:
    """A shape as the data of an SVG path."""

    path: str
    label: str
    href: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """One frame of a map. `land` is the path of the coast and borders, `all_of` that of all shapes where they are too many."""

    name: str
    width: int
    height: int
    land: str
    shapes: tuple[DrawnShape, ...]
    all_of: str
    count: int


def drawings(shapes: Sequence[Shape]) -> tuple[Drawing, ...]:
    """The frames in which anything lies."""
    by_frame: dict[int, list[tuple[Shape, tuple[Ring, ...]]]] = {}
    for shape in shapes:
        parts: dict[int, list[Ring]] = {}
        for ring in shape.rings:
            parts.setdefault(_frame_of(ring), []).append(ring)
        for number, rings in parts.items():
            by_frame.setdefault(number, []).append((shape, tuple(rings)))
    found = []
    for number, inside in sorted(by_frame.items()):
        if number < len(FRAMES):
            name, box = FRAMES[number]
        else:
            name, box = ELSEWHERE, _box_around(ring for _, rings in inside for ring in rings)
        found.append(_drawing(name, box, inside))
    return tuple(found)


def _drawing(name: str, box: BBox, inside: Sequence[tuple[Shape, tuple[Ring, ...]]]) -> Drawing:
    plane = _plane(box)
    linked = len(inside) <= _MOST_LINKED
    drawn = [(_path(rings, plane), shape) for shape, rings in inside]
    return Drawing(
        name,
        round(plane.width),
        round(plane.height),
        _land(box),
        tuple(DrawnShape(path, shape.label, shape.href) for path, shape in drawn if path) if linked else (),
        "" if linked else "".join(path for path, _ in drawn),
        len(inside),
    )


def _frame_of(ring: Ring) -> int:
    """The frame that a ring lies in, by the middle of its box; the one after the last for what lies in none, or is larger."""
    west, south, east, north = _box_around([ring])
    x, y = (west + east) / 2, (south + north) / 2
    for number, (_, (left, bottom, right, top)) in enumerate(FRAMES):
        if left <= x <= right and bottom <= y <= top and east - west <= 2 * (right - left):
            return number
    return len(FRAMES)


def _box_around(rings: Iterable[Ring]) -> BBox:
    west, south, east, north = Footprint(tuple(rings)).bbox
    room = max(0.5, _MARGIN * max(east - west, north - south))
    return max(-180.0, west - room), max(-90.0, south - room), min(180.0, east + room), min(90.0, north + room)


@dataclass(frozen=True, slots=True)
class _Plane:
    """Degrees to units of a drawing: plate carrée, true to scale along the middle."""

    west: float
    north: float
    per_x: float
    per_y: float
    width: float
    height: float

    def at(self, position: Position) -> Position:
        return round((position[0] - self.west) * self.per_x, 1), round((self.north - position[1]) * self.per_y, 1)


@lru_cache(maxsize=64)
def _plane(box: BBox) -> _Plane:
    west, south, east, north = box
    narrow = max(0.2, cos(radians((south + north) / 2)))
    width, height = (east - west) * narrow, north - south
    scale = _SIDE / max(width, height)
    return _Plane(west, north, scale * narrow, scale, width * scale, height * scale)


def _path(rings: Iterable[Ring], plane: _Plane) -> str:
    parts = []
    for ring in rings:
        step = max(1, len(ring) // _MOST_POINTS)
        points = [plane.at(position) for position in ring[::step]]
        kept = [points[0], *(after for before, after in pairwise(points) if before != after)]
        if len(kept) < 3:  # smaller than a dot: it still has to be seen
            x, y = kept[0]
            kept = [(x - 1, y - 1), (x + 1, y - 1), (x + 1, y + 1), (x - 1, y + 1)]
        parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in kept) + "Z")
    return "".join(parts)


@lru_cache(maxsize=1)
def _coast() -> tuple[Ring, ...]:
    land = json.loads((Path(__file__).parent / "static" / "land.json").read_text("utf-8"))
    return tuple(tuple((x, y) for x, y in polygon[0]) for polygon in land["coordinates"])


@lru_cache(maxsize=64)
def _land(box: BBox) -> str:
    """The land within a box."""
    plane = _plane(box)
    rings = [cut for ring in _coast() if (cut := _clipped(ring, box))]
    return _path(rings, plane)


def _clipped(ring: Ring, box: BBox) -> Ring:
    """What of a ring lies in a box (Sutherland and Hodgman); empty where nothing does."""
    points: list[Position] = list(ring)
    for axis, limit, sign in ((0, box[0], 1), (0, box[2], -1), (1, box[1], 1), (1, box[3], -1)):
        cut: list[Position] = []
        for before, after in zip([points[-1], *points[:-1]], points, strict=True):
            was, is_ = sign * (before[axis] - limit), sign * (after[axis] - limit)
            if (was < 0) != (is_ < 0):
                t = was / (was - is_)
                cut.append((before[0] + t * (after[0] - before[0]), before[1] + t * (after[1] - before[1])))
            if is_ >= 0:
                cut.append(after)
        if len(cut) < 3:
            return ()
        points = cut
    return tuple(points)


def geojson(shapes: Iterable[Shape]) -> dict[str, Any]:
    """The shapes as a FeatureCollection, to about ten metres."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"label": shape.label, "href": shape.href},
                "geometry": {"type": "MultiPolygon", "coordinates": [[_rounded(ring)] for ring in shape.rings]},
            }
            for shape in shapes
        ],
    }


def _rounded(ring: Ring) -> list[Position]:
    step = max(1, len(ring) // _MOST_POINTS)
    points = [(round(x, 4), round(y, 4)) for x, y in ring[::step]]
    return points if points[0] == points[-1] else [*points, points[0]]
