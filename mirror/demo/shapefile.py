"""A small, valid shapefile of polygons (ESRI, 1998), as the files that make it up: the same bytes for the same content."""

from __future__ import annotations

import struct
from datetime import date
from itertools import pairwise

from mirror.demo.layer import Box, Layer, PlaneRing, box

_POLYGON = 5
_WIDTHS = (24, 40, 12)  # bytes for the key, the text and the number
_DECIMALS = 2


def shapefile(layer: Layer, day: str) -> dict[str, bytes]:
    """The files by name: `.cpg`, `.dbf`, `.prj`, `.shp` and `.shx`, stating that they were last changed on `day` (ISO 8601)."""
    name = layer.name.upper()
    shapes, index, words = [], [], 50  # lengths and offsets count words of 16 bits; the header has 50
    for number, feature in enumerate(layer.features, start=1):
        record = _record(feature.ring)
        length = len(record) // 2
        shapes.append(struct.pack(">2i", number, length) + record)
        index.append(struct.pack(">2i", words, length))
        words += 4 + length
    return {
        f"{name}.cpg": b"UTF-8\n",
        f"{name}.dbf": _table(layer, date.fromisoformat(day)),
        f"{name}.prj": layer.crs.wkt.encode(),
        f"{name}.shp": _header(words, layer.box) + b"".join(shapes),
        f"{name}.shx": _header(50 + 4 * len(index), layer.box) + b"".join(index),
    }


def _record(ring: PlaneRing) -> bytes:
    clockwise = ring if _area(ring) < 0 else ring[::-1]
    points = b"".join(struct.pack("<2d", *position) for position in clockwise)
    return struct.pack("<i4d3i", _POLYGON, *box(ring), 1, len(ring), 0) + points


def _header(words: int, bounds: Box) -> bytes:
    return struct.pack(">7i", 9994, 0, 0, 0, 0, 0, words) + struct.pack("<2i8d", 1000, _POLYGON, *bounds, 0, 0, 0, 0)


def _table(layer: Layer, day: date) -> bytes:
    """The attributes in dBASE III. Text is UTF-8, as the `.cpg` says, and is padded by bytes."""
    fields = [
        struct.pack("<11sc4xBB14x", column.upper().encode(), kind, width, decimals)
        for column, kind, width, decimals in zip(layer.columns, (b"C", b"C", b"N"), _WIDTHS, (0, 0, _DECIMALS), strict=True)
    ]
    rows = [
        b" "
        + feature.key.encode()[: _WIDTHS[0]].ljust(_WIDTHS[0])
        + feature.text.encode()[: _WIDTHS[1]].ljust(_WIDTHS[1])
        + f"{feature.number:{_WIDTHS[2]}.{_DECIMALS}f}".encode()
        for feature in layer.features
    ]
    sizes = (len(rows), 32 + 32 * len(fields) + 1, 1 + sum(_WIDTHS))
    head = struct.pack("<4BIHH20x", 3, day.year - 1900, day.month, day.day, *sizes)
    return head + b"".join(fields) + b"\r" + b"".join(rows) + b"\x1a"


def _area(ring: PlaneRing) -> float:
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring)) / 2
