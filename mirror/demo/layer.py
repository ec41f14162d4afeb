"""A layer of polygons with a few attributes: what the sample data sets show, before a format is chosen for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y, in the units of a CRS."""

PlaneRing = tuple[tuple[float, float], ...]
"""A closed line, in the units of a CRS."""


@dataclass(frozen=True, slots=True)
class Crs:
    """A coordinate reference system: its EPSG number, its name, the word for it in IGN's file names, its definition in WKT 1."""

    epsg: int
    name: str
    word: str
    wkt: str


@dataclass(frozen=True, slots=True)
class Feature:
    """A polygon without holes, with a key, a text and a number."""

    key: str
    text: str
    number: float
    ring: PlaneRing


@dataclass(frozen=True, slots=True)
class Layer:
    """Features of one kind; `columns` names their key, text and number."""

    name: str
    description: str
    crs: Crs
    columns: tuple[str, str, str]
    features: tuple[Feature, ...]

    @property
    def box(self) -> Box:
        """The smallest box around all features."""
        return box(position for feature in self.features for position in feature.ring)


def box(positions: Iterable[tuple[float, float]]) -> Box:
    """The smallest box around positions."""
    xs, ys = zip(*positions, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
