"""Which entries a request for a listing gets: the filters and the paging of the live service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from mirror.demo.catalogue import Catalogue, SampleResource, SampleSub, Terms
from mirror.model import BBox, Footprint
from mirror.serving.geoplateforme.asked import Window, paging_of

_SUB_FILTERS = frozenset({"zone", "format", "crs", "editionDateFrom", "editionDateTo", "polygon"})

T = TypeVar("T")


def window(entries: Sequence[T], query: Mapping[str, str]) -> Window[T]:
    """The page that `page` and `limit` ask for."""
    paging = paging_of(query)
    return Window(tuple(entries[paging.offset : paging.offset + paging.size]), paging.page, paging.size, len(entries))


def resources(catalogue: Catalogue, query: Mapping[str, str]) -> list[SampleResource]:
    """The resources that pass the filters of the capabilities [O]."""
    return [
        resource
        for resource in catalogue.listed
        if _of_terms(query, resource.stated_zones, resource.stated_formats, resource.stated_crs)
        and _of_period(query, "updatedFrom", "updatedTo", resource.stated_updated, resource.stated_updated)
        and _of_period(query, "editionDateFrom", "editionDateTo", resource.stated_edition_from, resource.stated_edition_to)
        and _of_ground(query, resource.stated_polygon)
    ]


def sub_resources(resource: SampleResource, query: Mapping[str, str]) -> Sequence[SampleSub]:
    """The sub-resources that pass the filters of a resource: those of the capabilities without `updated*` [O]."""
    if _SUB_FILTERS.isdisjoint(query):
        return resource.listed  # the usual case, where a listing may have tens of thousands
    return [
        sub
        for sub in resource.listed
        if _of_terms(query, sub.zones, sub.formats, sub.crs)
        and _of_period(query, "editionDateFrom", "editionDateTo", sub.edition_date, sub.edition_date)
        and _of_ground(query, sub.polygon)
    ]


def _of_terms(query: Mapping[str, str], zones: Terms | None, formats: Terms | None, crs: Terms | None) -> bool:
    """Codes are compared as they are written; a CRS with or without its `EPSG:`."""
    for name, terms in (("zone", zones), ("format", formats)):
        if name in query and all(term.code != query[name] for term in terms or ()):
            return False
    wanted = query.get("crs")
    return wanted is None or any(term.code.rpartition(":")[2] == wanted.rpartition(":")[2] for term in crs or ())


def _of_period(query: Mapping[str, str], name_from: str, name_to: str, first: str | None, last: str | None) -> bool:
    """Whether the days `first` to `last` touch the period asked for; what has no date is in no period [I]."""
    after, before = query.get(name_from), query.get(name_to)
    if after is not None and (last is None or last[:10] < after):
        return False
    return before is None or (first is not None and first[:10] <= before)


def _of_ground(query: Mapping[str, str], footprint: Footprint | None) -> bool:
    """Whether the boxes around the polygon asked for (`x1,y1;x2,y2;...` in EPSG:4326 [O]) and around the footprint intersect."""
    if "polygon" not in query:
        return True
    if footprint is None:
        return False
    west, south, east, north = _box(query["polygon"])
    w, s, e, n = footprint.bbox
    return w <= east and west <= e and s <= north and south <= n


def _box(polygon: str) -> BBox:
    """Raises ValueError where the text is no polygon."""
    positions = [tuple(map(float, pair.split(","))) for pair in polygon.split(";")]
    xs, ys = zip(*positions, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
