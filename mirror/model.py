"""The one model that every room shares: what upstream lists, what is wanted, what is stored.

Everything here is frozen and slotted, is parsed once at the edge, and knows no network, disk or database. The words are those of
docs/design.md: an *upstream* has *resources*, a resource has *sub-resources* (one edition for one zone, format and CRS), a
sub-resource has *files*.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Generic, TypeVar

Position = tuple[float, float]
"""Longitude and latitude in degrees (WGS 84), in this order."""

Ring = tuple[Position, ...]
"""A closed line: the last position repeats the first."""

BBox = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


@dataclass(frozen=True, slots=True)
class Term:
    """A code with its label, as upstream publishes it: a zone, a format, a resolution, a CRS."""

    code: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Footprint:
    """The ground that a resource or sub-resource covers: one or more rings in longitude/latitude order."""

    rings: tuple[Ring, ...]

    @property
    def bbox(self) -> BBox:
        """The smallest box around all rings."""
        xs = [x for ring in self.rings for x, _ in ring]
        ys = [y for ring in self.rings for _, y in ring]
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True, slots=True)
class Resource:
    """A product (Géoplateforme) or spatial data set (INSPIRE), as an entry of the capabilities describes it.

    `updated` is ISO 8601 text as published: a day, or a day with time and offset, of day resolution either way. `crs` codes are
    normalised to `EPSG:2154` where they name one. `identifier` is the code by which catalogues know the data set, often another
    word than the id.
    """

    id: str
    url: str
    title: str = ""
    abstract: str = ""
    updated: str | None = None
    edition_from: date | None = None
    edition_to: date | None = None
    zones: tuple[Term, ...] = ()
    formats: tuple[Term, ...] = ()
    crs: tuple[Term, ...] = ()
    resolutions: tuple[Term, ...] = ()
    footprint: Footprint | None = None
    identifier: str = ""


@dataclass(frozen=True, slots=True)
class SubResource:
    """One edition of a resource for a zone, format and CRS, as an entry of the resource's feed describes it."""

    resource: str
    id: str
    url: str
    title: str = ""
    abstract: str = ""
    updated: str | None = None
    edition_date: date | None = None
    zones: tuple[Term, ...] = ()
    formats: tuple[Term, ...] = ()
    crs: tuple[Term, ...] = ()
    resolutions: tuple[Term, ...] = ()
    footprint: Footprint | None = None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the feed of its sub-resource lists it.

    `size` is in bytes and `md5` lower-case hex; both are None where the feed is silent. `rel` is `section` for a volume of a split
    archive, `alternate` otherwise. `contents` are the media types that upstream says are inside the archive.
    """

    name: str
    url: str
    size: int | None = None
    md5: str | None = None
    media_type: str = ""
    rel: str = "alternate"
    contents: tuple[str, ...] = ()


Entry = Resource | SubResource | RemoteFile
E = TypeVar("E", Resource, SubResource, RemoteFile)


class Level(StrEnum):
    """The three levels of feeds, from the outside in."""

    CAPABILITIES = "capabilities"
    RESOURCE = "resource"
    SUB_RESOURCE = "sub-resource"


@dataclass(frozen=True, slots=True)
class Page(Generic[E]):
    """One page of a listing. The paging facts are None where the feed does not state them."""

    entries: tuple[E, ...]
    page: int | None = None
    page_size: int | None = None
    page_count: int | None = None
    total: int | None = None
    title: str = ""
    rejected: tuple[str, ...] = ()
    """One line per entry that could not be taken (no id, an impossible name, ...): never silently left out."""
