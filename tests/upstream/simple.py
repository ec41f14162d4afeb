"""Catalogues for tests: regular ones of any size that cost nothing, and what a publication makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import product

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.model import Term

_ZONES = ("D038", "D073", "D001")
_FORMATS = ("GPKG",)
_EDITIONS = ("2026-03-15", "2026-06-15", "2026-09-15")
_NAMES = ("ALPHA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOXTROT")


def simple_catalogue(
    resources: int = 2,
    subs: int = 3,
    files: int = 2,
    size: int = 1000,
    *,
    zones: Sequence[str] = _ZONES,
    formats: Sequence[str] = _FORMATS,
    editions: Sequence[str] = _EDITIONS,
    suffix: str = ".bin",
) -> Catalogue:
    """`resources` products (`BDALPHA`, `BDBRAVO`, ..., then with numbers) of `subs` sub-resources of `files` files of `size` bytes.

    Sub-resources are named like `BDALPHA_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-03-15`. They go through the zones first, then the
    editions, then the formats, so that three make one edition of each zone; when all are used up, through the themes `T2`,
    `T3`, ... A file is named after its sub-resource, with `-1`, `-2`, ... where there are several, and `suffix`. Bytes differ
    from file to file. A sub-resource is published 17 days after its edition date.
    """
    return Catalogue(tuple(_resource(number, subs, files, size, zones, formats, editions, suffix) for number in range(resources)))


def publish(catalogue: Catalogue, resource: str, sub: SampleSub) -> Catalogue:
    """With `sub` added to a resource, or in the place of the one of that id; the resource is added if there is none."""
    old = catalogue.resource(resource) or SampleResource(resource)
    new = replace(old, subs=(*(other for other in old.subs if other.id != sub.id), sub))
    return replace(catalogue, resources=(*(other for other in catalogue.resources if other.id != resource), new))


def withdraw(catalogue: Catalogue, resource: str, sub: str | None = None) -> Catalogue:
    """Without a sub-resource or, where `sub` is None, without the whole resource."""
    resources = []
    for old in catalogue.resources:
        if old.id != resource:
            resources.append(old)
        elif sub is not None:
            resources.append(replace(old, subs=tuple(other for other in old.subs if other.id != sub)))
    return replace(catalogue, resources=tuple(resources))


def replace_file(catalogue: Catalogue, resource: str, sub: str, file: SampleFile, updated: str | None = None) -> Catalogue:
    """With `file` in the place of the one of that name, as mutable names are replaced.

    `updated` is the new day of the sub-resource, by default the old one. Raises KeyError where there is no such sub-resource.
    """
    found = catalogue.resource(resource)
    old = found.sub(sub) if found else None
    if old is None:
        raise KeyError((resource, sub))
    files = tuple(file if other.name == file.name else other for other in old.files)
    return publish(catalogue, resource, replace(old, files=files, updated=updated or old.updated))


def _resource(
    number: int,
    subs: int,
    files: int,
    size: int,
    zones: Sequence[str],
    formats: Sequence[str],
    editions: Sequence[str],
    suffix: str,
) -> SampleResource:
    resource_id = f"BD{_NAMES[number]}" if number < len(_NAMES) else f"BD{number:04d}"
    variants = list(product(formats, editions, zones))
    made = []
    for index in range(subs):
        form, edition, zone = variants[index % len(variants)]
        theme = "TOUSTHEMES" if index < len(variants) else f"T{index // len(variants) + 1}"
        sub_id = f"{resource_id}_3-5_{theme}_{form}_LAMB93_{zone}_{edition}"
        names = [f"{sub_id}{suffix}"] if files == 1 else [f"{sub_id}-{n}{suffix}" for n in range(1, files + 1)]
        made.append(
            SampleSub(
                sub_id,
                updated=(date.fromisoformat(edition) + timedelta(days=17)).isoformat(),
                edition_date=edition,
                zones=(Term(zone, f"{zone} Département"),),
                formats=(Term(form, form),),
                files=tuple(SampleFile(name, Pattern(size, name)) for name in names),
            )
        )
    return SampleResource(
        resource_id, tuple(made), title=f"BD {resource_id[2:].title()}®", abstract=f"Produit d’essai {resource_id}"
    )
