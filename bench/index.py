"""Rows into the index: those of listings, those of published files, and one commit per file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench import synthetic
from bench.figures import Figure, at_least
from bench.ground import Ground
from bench.ours import UPSTREAM
from bench.published import listed, stored
from mirror.planning.changes import EVERYTHING
from mirror.store.catalogue import Catalogue, Unit
from mirror.store.holdings import Holdings
from mirror.store.index import Index

_BASE = "https://upstream.example/telechargement"


def rows(ground: Ground) -> Iterator[Figure]:
    """Files of sub-resources of twenty, a transaction for each sub-resource, as a sync writes them."""
    each, units_wanted = ground.sizes.files_each, ground.sizes.rows // ground.sizes.files_each
    source = list(listed(synthetic.catalogue(max(1, units_wanted // 1000), units_wanted, each), _BASE))
    rates: dict[str, list[float]] = {"sub-resources": [], "listed files": [], "published files": []}
    for _ in range(ground.sizes.rounds):
        room, at = ground.room("rows"), datetime.now(UTC)
        with Index(room) as index:
            catalogue, holdings = Catalogue(index), Holdings(index)
            catalogue.save_resources(UPSTREAM, [resource for resource, _ in source], complete=True)
            began = time.perf_counter()
            for resource, subs in source:
                catalogue.save_listing(UPSTREAM, resource, [EVERYTHING], [one.sub for one in subs], at=at)
            rates["sub-resources"].append(units_wanted / (time.perf_counter() - began))
            units = _units(catalogue)
            work = [(units[resource.id, one.sub.id], one.files, stored(one.files)) for resource, subs in source for one in subs]
            began = time.perf_counter()
            for unit, files, _ in work:
                catalogue.save_files(unit, files, at=at)
            rates["listed files"].append(units_wanted * each / (time.perf_counter() - began))
            began = time.perf_counter()
            for unit, _, published in work:
                holdings.record(unit.id, unit.sub.updated, published, at=at)
            rates["published files"].append(units_wanted * each / (time.perf_counter() - began))
        shutil.rmtree(room)
    for what, found in rates.items():
        goal = None if what == "sub-resources" else at_least(80_000)
        yield Figure(f"rows into the index, {what}", median(found), "rows/s", goal, f"{units_wanted:,} sub-resources of {each}")


def seconds_per_commit(folder: Path, files: int) -> float:
    """How long it takes to enter one published file in a transaction of its own; `files` of one sub-resource."""
    ((resource, (one,)),) = listed(synthetic.catalogue(1, 1, files), _BASE)
    at = datetime.now(UTC)
    with Index(folder) as index:
        catalogue, holdings = Catalogue(index), Holdings(index)
        catalogue.save_resources(UPSTREAM, [resource], complete=True)
        catalogue.save_listing(UPSTREAM, resource, [EVERYTHING], [one.sub], at=at)
        unit = catalogue.unit(UPSTREAM, resource.id, one.sub.id)
        catalogue.save_files(unit, one.files, at=at)
        files_stored = stored(one.files)
        began = time.perf_counter()
        for file in files_stored:
            holdings.record(unit.id, unit.sub.updated, [file], at=at)
        taken = time.perf_counter() - began
    shutil.rmtree(folder)
    return taken / files


def _units(catalogue: Catalogue) -> dict[tuple[str, str], Unit]:
    return {(unit.sub.resource, unit.sub.id): unit for unit in catalogue.units(UPSTREAM)}
