"""Large catalogues that cost nothing: regular, in the shape of the live service, with no bytes behind the files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice, product

from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.geometry import rectangle
from mirror.model import Term

ZONES = tuple(f"D{number:03d}" for number in range(1, 97) if number != 20)
FORMATS = ("GPKG", "SHP", "GeoTIFF")
_EDITIONS = ("2024-06-15", "2024-12-15", "2025-06-15", "2025-12-15")
NEWEST = "2026-09-01"
"""The day on which the last resource was published; only that one."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A body that is listed but never sent. `size` in bytes."""

    size: int
    name: str

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Nobody asks for it."""
        raise NotImplementedError

    def md5(self) -> str:
        """Some MD5, the same in every run."""
        return hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest()


def catalogue(resources: int, sub_resources: int, files_each: int) -> Catalogue:
    """`sub_resources` in all, spread evenly over `resources`; each has four editions, one after the other, of a zone and format."""
    shares = [sub_resources // resources + (number < sub_resources % resources) for number in range(resources)]
    return Catalogue(tuple(_resource(number, share, files_each, resources) for number, share in enumerate(shares)))


def resource_id(number: int) -> str:
    """The id of a resource, counted from 0."""
    return f"PRODUIT{number:03d}"


def _resource(number: int, count: int, files_each: int, resources: int) -> SampleResource:
    product_id = resource_id(number)
    last = number == resources - 1
    published = NEWEST if last else (date.fromisoformat(NEWEST) - timedelta(days=resources - number)).isoformat()
    variants = islice(product(ZONES, FORMATS, _EDITIONS), count)
    subs = tuple(_sub(product_id, zone, form, edition, published, files_each) for zone, form, edition in variants)
    return SampleResource(product_id, subs, title=f"Produit d’essai {number}", abstract=f"Données d’essai du produit {number}")


def _sub(product_id: str, zone: str, form: str, edition: str, published: str, files_each: int) -> SampleSub:
    sub_id = f"{product_id}_3-5_TOUSTHEMES_{form}_LAMB93_{zone}_{edition}"
    names = [f"{sub_id}.7z.{n:03d}" for n in range(1, files_each + 1)]
    west, south = divmod(ZONES.index(zone), 10)
    return SampleSub(
        sub_id,
        updated=published,
        edition_date=edition,
        zones=(Term(zone, f"{zone} Département"),),
        formats=(Term(form, form),),
        polygon=rectangle((west - 4.0, south + 42.0, west - 3.0, south + 43.0)),
        files=tuple(SampleFile(name, Unwritten(1000 + n, name), rel="section") for n, name in enumerate(names)),
    )
