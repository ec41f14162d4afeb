"""A year of nightly syncs in minutes: in the end the tree is the truth, and it has cost little more than the least possible.

A small one runs with every suite; `make year` runs that of a service with 116 resources and prints what it has cost.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.store.index import FILE
from mirror.sync import Report

from .forked import Syncs
from .mirrored import tree_of
from .year import Service, Year


class Watched:
    """A year whose promises are looked after every night."""

    def __init__(self, year: Year) -> None:
        self.year = year
        self.seen: dict[str, str] = {}

    def look(self, report: Report) -> None:
        """Whatever came of the night: nothing is gone, and what calls itself complete has all that was published until then."""
        year = self.year
        with closing(sqlite3.connect(year.root / FILE)) as index:
            rows = dict(
                index.execute("SELECT resource || '/' || sub_resource || '/' || file, md5 FROM files WHERE path IS NOT NULL")
            )
        assert self.seen.keys() <= rows.keys() or report.outcome != "complete"
        self.seen = rows
        if report.outcome == "complete":
            year.silent = {path: day for path, day in year.silent.items() if rows[path] != year.truth[path]}
            assert all(day > year.day for day in year.silent.values()), f"not noticed: {year.silent}"
            assert {path: md5 for path, md5 in year.truth.items() if path not in year.silent} == {
                path: md5 for path, md5 in rows.items() if path not in year.silent
            }
        if year.day.day == 1:
            assert tree_of(year.root / "data" / "gpf") == rows

    def finish(self, syncs: Syncs) -> None:
        """A last sync in fair weather, after all has been listed once more: the tree is the truth to the last byte."""
        year = self.year
        year.day += timedelta(days=8)
        while year._chance("outage", 1 / 60) or year._chance("kill", 1 / 30):
            year.day += timedelta(days=1)
        year.outcomes.clear()
        for _ in range(3):
            year.sync(syncs, self.look, 0)
        assert year.outcomes["complete"]
        assert tree_of(year.root / "data" / "gpf") == year.truth


def _simulate(folder: Path, *, resources: int, days: int, seed: int) -> str:
    began = time.monotonic()
    service = Service()
    with service.in_thread() as upstream, Syncs() as syncs:
        year = Year(upstream, folder / "root", resources=resources, days=days, seed=seed)
        watched = Watched(year)
        year.live(syncs, watched.look)
        table = year.table()
        watched.finish(syncs)
    return f"\n{table}; {time.monotonic() - began:.0f} s\n"


@pytest.mark.timeout(300)
def test_a_quarter_of_a_small_service(tmp_path: Path) -> None:
    """Each kind of request stays near what our rules ask for; faults and kills cost the rest."""
    _simulate(tmp_path, resources=12, days=60, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_year(tmp_path: Path) -> None:
    seed = int(os.environ.get("YEAR_SEED", "2026"))
    sys.stdout.write(_simulate(tmp_path, resources=116, days=365, seed=seed))
