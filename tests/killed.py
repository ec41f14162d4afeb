"""A mirror that is synced, and killed, in processes of their own; what it is compared with, and what holds at every moment."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.errors import IndexDamaged, IndexMissing
from mirror.model import Term
from mirror.planning.volumes import archive_of
from mirror.store.index import FILE, connect_reader

from .forked import Syncs
from .mirrored import edition, offered, rewritten, tree_of, volumes
from .upstream import FakeUpstream, publish, withdraw

LARGE = 3 << 20


def _archive(zone: str, day: str) -> SampleSub:
    sub = volumes(
        f"BDORTHO_2-0_RVB-0M20_JP2-E080_LAMB93_{zone}_{day}", zone_files=(SampleFile(f"{zone}.md5", f"{zone} {day}".encode()),)
    )
    return replace(sub, edition_date=day, zones=(Term(zone),))


_TILES = SampleSub(
    "LHD_AB",
    updated="2026-08-01",
    edition_date="2026-07-01",
    files=(
        *(SampleFile(f"LHD_FXX_{n:04d}_6543.copc.laz", Pattern(500 + n, f"tile {n}")) for n in range(15)),
        *volumes("LHD_AB_index").files,
    ),
)
_LARGE = SampleSub("LARGE_2026", updated="2026-08-01", files=(SampleFile("large.7z", Pattern(LARGE, "large")),))
ARCHIVES = tuple(_archive(zone, day) for zone in ("D038", "D073") for day in ("2024-01-01", "2025-01-01"))
FIRST = Catalogue((SampleResource("BDORTHO", ARCHIVES), SampleResource("LIDAR", (_TILES,)), SampleResource("SCAN", (_LARGE,))))


def _second() -> Catalogue:
    """Of everything something: replaced in place, whole and in part, added, a new edition, withdrawn."""
    made = publish(FIRST, "BDORTHO", rewritten(ARCHIVES[1], "again", updated="2026-11-01"))
    made = publish(made, "BDORTHO", edition(ARCHIVES[3], "2026-01-01", "2026-11-01"))
    made = withdraw(made, "BDORTHO", ARCHIVES[0].id)
    tiles = [*rewritten(_TILES, "again").files[:5], *_TILES.files[5:-3], *rewritten(_TILES, "again").files[-3:]]
    tiles.append(SampleFile("new.copc.laz", b"new"))
    made = publish(made, "LIDAR", replace(_TILES, files=tuple(tiles), updated="2026-11-01"))
    return publish(made, "SCAN", rewritten(_LARGE, "again", updated="2026-11-01"))


GENERATIONS = (FIRST, _second())


@dataclass
class Root:
    """A mirror that is synced, and killed, in processes of their own."""

    path: Path
    upstream: FakeUpstream
    syncs: Syncs
    generations: Sequence[Catalogue] = field(default_factory=lambda: GENERATIONS)
    unwanted: Collection[str] = ()
    """Resources that no subscription names."""

    def settings(self) -> dict[str, Any]:
        return {
            "root": str(self.path),
            "limits": {"min_free": 0},
            "upstream": {"gpf": {"url": self.upstream.url, "requests_per_second": 100_000}},
            "subscription": {
                "whole": {"resources": [name for name in ("BDORTHO", "SCAN") if name not in self.unwanted], "edition": "all"},
                "each": {"resources": ["LIDAR"], "publish": "each"},
            },
        }

    def sync(self, strike: Callable[[Callable[[], None]], None] = lambda kill: None, **order: Any) -> int:
        """One sync; `strike` arranges for it to be killed, `order` is more of what `forked` knows."""
        self.upstream.clear()
        self.upstream.heal()
        return self.syncs.run(self.settings(), self.path.parent, strike, **order)

    def tree(self) -> dict[str, str]:
        return tree_of(self.path / "data" / "gpf")

    def aliases(self) -> dict[str, str]:
        return {link.name: os.readlink(link) for link in sorted((self.path / "current" / "gpf").iterdir())}

    def index(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the index holds, but row ids, moments and what tells of the runs themselves."""
        with closing(sqlite3.connect(self.path / FILE)) as sql:
            return {query: sorted(sql.execute(query).fetchall(), key=repr) for query in _CONTENT}

    def staged(self) -> list[Path]:
        return [path for path in (self.path / ".staging").rglob("*") if path.is_file() and path.name != "lock"]

    def state(self, requests: int) -> Undisturbed:
        """All of it, for comparison."""
        staged = sorted(str(path.relative_to(self.path)) for path in self.staged())
        return Undisturbed(self.tree(), self.aliases(), self.index(), requests, staged)

    def check_sound(self) -> None:
        """What holds at every moment: no wrong byte, no archive of two generations, no row of a file that is not there so."""
        here = self.tree()
        known = [offered(generation) for generation in self.generations]
        for path, md5 in here.items():
            assert md5 in {generation.get(path) for generation in known}, path
        for generation_of in wholes_of(self.generations):
            found = {path: md5 for path, md5 in here.items() if path.startswith(generation_of)}
            states = [{p: md5 for p, md5 in generation.items() if p.startswith(generation_of)} for generation in known]
            assert not found or found in states, found
        self.check_rows(here)

    def check_rows(self, here: Mapping[str, str]) -> None:
        """No row hands out a file that is not there, or is another."""
        try:
            with closing(connect_reader(self.path)) as sql:
                rows = sql.execute("SELECT path, md5 FROM files WHERE path IS NOT NULL").fetchall()
        except (IndexMissing, IndexDamaged):
            return  # nobody is told anything
        assert {path.removeprefix("data/gpf/"): md5 for path, md5 in rows}.items() <= here.items()


def wholes_of(generations: Sequence[Catalogue]) -> set[str]:
    """What appears in one step, by the beginning of its path: the sub-resources of BDORTHO, the volumes of any archive."""
    paths = [path for generation in generations for path in offered(generation)]
    subs = {path[: path.rindex("/") + 1] for path in paths if path.startswith("BDORTHO/")}
    return subs | {path[: path.rindex(".") + 1] for path in paths if archive_of(path) and not path.startswith("BDORTHO/")}


_SUB = "SELECT s.resource, s.sub_resource"
_CONTENT = (
    "SELECT upstream, high_water FROM upstreams",
    "SELECT upstream, resource, title, abstract, updated, edition_from, edition_to, zones, formats, crs, url, state, fingerprint "
    "FROM resources",
    "SELECT upstream, resource, scope, fingerprint FROM listings",
    f"{_SUB}, title, abstract, edition_date, updated, zones, formats, crs, resolutions, footprint, url, series, state, latest, "
    "withdrawn_at IS NULL, fingerprint, files_fingerprint, files_digest, listed_files, listed_bytes, complete, settled, "
    "settled_files, settled_bytes, stored_files, stored_bytes FROM sub_resources s",
    f"{_SUB}, t.kind, t.code FROM sub_resource_terms t JOIN sub_resources s ON s.id = t.sub_resource_id",
    f"{_SUB}, l.file, l.position, l.url, l.size, l.md5, l.rel FROM listed_files l JOIN sub_resources s ON s.id = l.sub_resource_id",
    f"{_SUB}, f.file, f.url, f.size, f.md5, f.sha256, f.updated, f.verified_at IS NULL "
    "FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id",
    f"{_SUB}, p.file, p.reason FROM parked_files p JOIN sub_resources s ON s.id = p.sub_resource_id",
    "SELECT resource, sub_resource, file, path, size, md5, state, latest FROM files",
    "SELECT upstream, kind, code, label FROM terms",
    f"{_SUB}, w.subscription FROM wanted w JOIN sub_resources s ON s.id = w.sub_resource_id",
    "SELECT resource, sub_resource, title, labels, files FROM search",
    "SELECT subscription, upstream, outcome, upstream_date, expected, present, bytes, failures, parked FROM subscriptions",
)


@dataclass(frozen=True)
class Undisturbed:
    """What a sync of a generation, after those before it, comes to; and how many requests it takes."""

    tree: dict[str, str]
    aliases: dict[str, str]
    index: dict[str, list[tuple[Any, ...]]]
    requests: int
    staged: list[str] = field(default_factory=list)
