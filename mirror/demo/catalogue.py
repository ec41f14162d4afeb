"""What the sample upstream offers: resources, their sub-resources and files, as frozen values.

A catalogue never changes; a publication is another catalogue, put in the place of the first (`SampleService.catalogue`). Members
that a resource does not state are derived from its sub-resources, and those of a file from its bytes. A member that is None is
missing from the feeds, as any member of the live ones may be; `omit` takes out the others by the name they have in JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from mirror.demo.body import Body, body_of
from mirror.geometry import rectangle
from mirror.model import Footprint, Term
from mirror.vocabulary import media_type_of


class _Derived(Enum):
    DERIVED = "derived"


Derived = Literal[_Derived.DERIVED]
DERIVED: Final = _Derived.DERIVED
"""The default of members that follow from the content."""

Terms = tuple[Term, ...]
Extra = tuple[tuple[str, str], ...]
"""Members that no client knows, as they appear in the live feeds over time: names and texts."""


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A file of a sub-resource.

    `md5` (hex) and `size` (bytes) are what the feed claims, by default the truth. `contents` are the media types that the feed
    claims are inside, by default the file's own. `href` takes the place of the regular address, for feeds that link to elsewhere.
    """

    name: str
    data: bytes | Path | Body
    md5: str | Derived | None = DERIVED
    size: int | Derived | None = DERIVED
    rel: str | None = "alternate"
    media_type: str | Derived | None = DERIVED
    contents: tuple[str, ...] | Derived | None = DERIVED
    href: str | None = None
    omit: frozenset[str] = frozenset()
    extra: Extra = ()

    @property
    def body(self) -> Body:
        """The bytes that a download gets."""
        return body_of(self.data)

    @property
    def stated_md5(self) -> str | None:
        """The MD5 that the feed states."""
        return self.body.md5() if self.md5 is DERIVED else self.md5

    @property
    def stated_size(self) -> int | None:
        """The length in bytes that the feed states."""
        return self.body.size if self.size is DERIVED else self.size

    @property
    def stated_type(self) -> str | None:
        """The media type of the file itself."""
        if self.media_type is DERIVED:
            return media_type_of(self.name)
        return self.media_type

    @property
    def stated_contents(self) -> tuple[str, ...] | None:
        """The media types that are said to be inside."""
        if self.contents is DERIVED:
            return (self.stated_type,) if self.stated_type else None
        return self.contents


@dataclass(frozen=True)
class SampleSub:
    """One edition of a resource for a zone, format and CRS.

    Files are listed in the order given, as the live order is no particular one [C]. `updated` and `edition_date` are texts as the
    feed has them, ISO 8601 unless a test wants otherwise; `crs` codes are `EPSG:2154`. A `polygon` of None is the null of the live
    feeds, which is common [L].
    """

    id: str
    title: str | Derived | None = DERIVED
    abstract: str | Derived | None = DERIVED
    updated: str | None = "2026-01-15"
    edition_date: str | None = "2026-01-01"
    zones: Terms | None = ()
    formats: Terms | None = ()
    crs: Terms | None = (Term("EPSG:2154", "RGF93 v1 / Lambert-93 -- France"),)
    resolutions: Terms | None = ()
    polygon: Footprint | None = None
    files: tuple[SampleFile, ...] = ()
    omit: frozenset[str] = frozenset()
    extra: Extra = ()

    # [L] live_entries_2026-09.json: title and content repeat the id where the producer gave no others.
    @property
    def stated_title(self) -> str | None:
        """The title, by default the id."""
        return self.id if self.title is DERIVED else self.title

    @property
    def stated_abstract(self) -> str | None:
        """The abstract, by default the id."""
        return self.id if self.abstract is DERIVED else self.abstract

    def file(self, name: str) -> SampleFile | None:
        """The file of that name, or None."""
        return next((file for file in self.files if file.name == name), None)


@dataclass(frozen=True)
class SampleResource:
    """A product with its sub-resources, which are listed in alphabetical order of their ids [O]."""

    id: str
    subs: tuple[SampleSub, ...] = ()
    title: str | Derived | None = DERIVED
    abstract: str | None = None
    identifier: str | Derived | None = DERIVED
    updated: str | Derived | None = DERIVED
    edition_from: str | Derived | None = DERIVED
    edition_to: str | Derived | None = DERIVED
    zones: Terms | Derived | None = DERIVED
    formats: Terms | Derived | None = DERIVED
    crs: Terms | Derived | None = DERIVED
    resolutions: Terms | Derived | None = DERIVED
    polygon: Footprint | Derived | None = DERIVED
    omit: frozenset[str] = frozenset()
    extra: Extra = ()

    @cached_property
    def listed(self) -> tuple[SampleSub, ...]:
        """The sub-resources in the order of the feed."""
        return tuple(sorted(self.subs, key=lambda sub: sub.id))

    @cached_property
    def _by_id(self) -> dict[str, SampleSub]:
        return {sub.id: sub for sub in reversed(self.subs)}

    def sub(self, sub_id: str) -> SampleSub | None:
        """The sub-resource of that id (the first, where it is listed twice), or None."""
        return self._by_id.get(sub_id)

    @property
    def stated_title(self) -> str | None:
        """The title, by default the id."""
        return self.id if self.title is DERIVED else self.title

    @property
    def stated_identifier(self) -> str | None:
        """The `spatialDatasetIdentifierCode`, by default the id."""
        return self.id if self.identifier is DERIVED else self.identifier

    @cached_property
    def stated_updated(self) -> str | None:
        """The latest `updated`."""
        return max((sub.updated for sub in self.subs if sub.updated), default=None) if self.updated is DERIVED else self.updated

    @cached_property
    def stated_edition_from(self) -> str | None:
        """The first edition date."""
        return min(self._editions, default=None) if self.edition_from is DERIVED else self.edition_from

    @cached_property
    def stated_edition_to(self) -> str | None:
        """The last edition date."""
        return max(self._editions, default=None) if self.edition_to is DERIVED else self.edition_to

    @cached_property
    def stated_zones(self) -> Terms | None:
        """All zones."""
        return _union(sub.zones for sub in self.subs) if self.zones is DERIVED else self.zones

    @cached_property
    def stated_formats(self) -> Terms | None:
        """All formats."""
        return _union(sub.formats for sub in self.subs) if self.formats is DERIVED else self.formats

    @cached_property
    def stated_crs(self) -> Terms | None:
        """All coordinate reference systems."""
        return _union(sub.crs for sub in self.subs) if self.crs is DERIVED else self.crs

    @cached_property
    def stated_resolutions(self) -> Terms | None:
        """All resolutions."""
        return _union(sub.resolutions for sub in self.subs) if self.resolutions is DERIVED else self.resolutions

    @cached_property
    def stated_polygon(self) -> Footprint | None:
        """The box around all sub-resources, as the live capabilities have it [L]."""
        if self.polygon is not DERIVED:
            return self.polygon
        boxes = [sub.polygon.bbox for sub in self.subs if sub.polygon]
        if not boxes:
            return None
        wests, souths, easts, norths = zip(*boxes, strict=True)
        return rectangle((min(wests), min(souths), max(easts), max(norths)))

    @property
    def _editions(self) -> list[str]:
        return [sub.edition_date for sub in self.subs if sub.edition_date]


@dataclass(frozen=True)
class Catalogue:
    """All that the upstream offers at one moment; resources are listed in alphabetical order of their ids [O].

    `updated` is the day that the capabilities feed states.
    """

    resources: tuple[SampleResource, ...] = ()
    title: str = "Public Download Service of Géoplateforme"
    updated: str | None = "2026-10-01"

    @cached_property
    def listed(self) -> tuple[SampleResource, ...]:
        """The resources in the order of the feed."""
        return tuple(sorted(self.resources, key=lambda resource: resource.id))

    @cached_property
    def _by_id(self) -> dict[str, SampleResource]:
        return {resource.id: resource for resource in reversed(self.resources)}

    def resource(self, resource_id: str) -> SampleResource | None:
        """The resource of that id (ids are case-sensitive [L]), or None."""
        return self._by_id.get(resource_id)


def _union(members: Iterable[Terms | None]) -> Terms:
    terms = {term.code: term for member in members for term in member or ()}
    return tuple(terms[code] for code in sorted(terms))
