"""The outline of land on the maps of the pages: made once of Natural Earth's countries, and kept with the source.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m packing.coastline package/countries-10m.json

Natural Earth is in the public domain; world-atlas spells it as TopoJSON, in which neighbours share the arcs of their borders. They
are thinned out arc by arc, so that they still fit: finely where the data of the service lies, coarsely in the rest of the world.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import hypot
from pathlib import Path
from typing import Any

from mirror.geometry import TERRITORIES
from mirror.model import Position, Ring

LAND = Path(__file__).resolve().parent.parent / "mirror/serving/pages/static/land.json"

_COARSE = 0.35  # degrees by which a line may be off, far from all data
_FINE = 0.025
_FINEST = 0.006  # on the islands, which are small
_LEAST = 1.0  # degrees: what is smaller is left out, far from all data
_LEAST_NEAR = 0.04


def near(position: Position) -> float:
    """By how much a line may be off at a place."""
    x, y = position
    for number, (west, south, east, north) in enumerate(TERRITORIES[:-1]):
        if west <= x <= east and south <= y <= north:
            return _FINE if number == 0 or east - west > 8 else _FINEST
    return _COARSE


def thinned(line: Sequence[Position]) -> list[Position]:
    """The line with fewer positions (Douglas and Peucker); its ends stay."""
    keep = {0, len(line) - 1}
    spans = [(0, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        far, at = 0.0, 0
        for number in range(first + 1, last):
            off = _off(line[number], line[first], line[last]) / near(line[number])
            if off > far:
                far, at = off, number
        if far > 1:
            keep.add(at)
            spans += [(first, at), (at, last)]
    return [line[number] for number in sorted(keep)]


def _off(p: Position, a: Position, b: Position) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    t = max(0.0, min(1.0, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length)) if length else 0.0
    return hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy)


def rings(topology: dict[str, Any]) -> Iterator[Ring]:
    """The outer rings of all countries that are worth drawing."""
    (kx, ky), (ox, oy) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for arc in topology["arcs"]:
        places = zip(accumulate(step[0] for step in arc), accumulate(step[1] for step in arc), strict=True)
        arcs.append(thinned([(x * kx + ox, y * ky + oy) for x, y in places]))
    for country in topology["objects"]["countries"]["geometries"]:
        parts = country.get("arcs", [])
        for polygon in [parts] if country["type"] == "Polygon" else parts:
            ring: list[Position] = []
            for number in polygon[0]:
                arc = arcs[number] if number >= 0 else arcs[~number][::-1]
                ring += arc[1:] if ring else arc
            xs, ys = [x for x, _ in ring], [y for _, y in ring]
            extent = max(max(xs) - min(xs), max(ys) - min(ys))
            close = any(near(position) != _COARSE for position in ring)
            if len(ring) >= 4 and extent >= (_LEAST_NEAR if close else _LEAST):
                yield tuple((round(x, 3 if close else 1), round(y, 3 if close else 1)) for x, y in ring)


def main() -> None:
    """The file of world-atlas is the argument."""
    topology = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    land = {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings(topology)]}
    LAND.write_text(json.dumps(land, separators=(",", ":")), "utf-8")
    print(f"{LAND}: {LAND.stat().st_size} bytes, {len(land['coordinates'])} rings")


if __name__ == "__main__":
    main()
