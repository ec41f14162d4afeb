"""A mirror under test: a fake upstream, a root, a clock that stands still, and looks at what a sync made of them."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleSub
from mirror.events import Event
from mirror.pruning import PruneReport, prune
from mirror.settings import Settings, from_mapping
from mirror.store.index import FILE
from mirror.sync import PlannedAction, Report, plan, sync
from mirror.upstream.session import Patience

from .upstream import FakeUpstream

HASTE = Patience(connect=5, idle=5, min_speed=0, retry_for=0.2, first_wait=0.001, longest_wait=0.002, index=0.1)
"""Waits that no test has to sit through."""

EVERYTHING = {"resources": ["*"], "edition": "all"}

LONG_AFTER = datetime(2027, 1, 1, 12, tzinfo=UTC)
"""After everything in `simple_catalogue` was published."""


class Clock:
    """A clock that moves when told."""

    def __init__(self, at: datetime = LONG_AFTER) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **parts: float) -> None:
        """Let time pass: `pass_(days=1)`."""
        self.at += timedelta(**parts)


class Mirrored:
    """A mirror of one fake upstream, `gpf`, under `root`."""

    def __init__(self, root: Path, upstream: FakeUpstream, **tables: Mapping[str, Any]) -> None:
        self.root = root
        self.upstream = upstream
        self.clock = Clock()
        self.tables: dict[str, Mapping[str, Any]] = dict(tables) or {"all": EVERYTHING}
        """The subscriptions; change them to change the config."""

        self.upstream_options: dict[str, Any] = {}
        self.limits: dict[str, Any] = {"min_free": 0}
        self.patience = HASTE
        self.events: list[Event] = []

    @property
    def settings(self) -> Settings:
        """The config as it is now."""
        upstream = {"url": self.upstream.url, "requests_per_second": 100_000, **self.upstream_options}
        tables = {"root": str(self.root), "limits": self.limits, "upstream": {"gpf": upstream}, "subscription": self.tables}
        return from_mapping(tables, self.root, {})

    async def sync(self, *names: str) -> Report:
        """One sync. The log of the upstream and the events are of this run only."""
        self.upstream.clear()
        self.events.clear()
        return await sync(self.settings, names, emit=self.events.append, now=self.clock, patience=self.patience)

    async def prune(self, *names: str, dry_run: bool = False) -> PruneReport:
        """One prune, or the preview of one; nothing may be asked of the upstream."""
        self.upstream.clear()
        report = await prune(self.settings, names, dry_run=dry_run, emit=self.events.append, now=self.clock)
        assert self.upstream.requests == []
        return report

    async def plan(self, *, keeps: bool = False) -> tuple[Report, list[PlannedAction]]:
        """What a sync would do."""
        self.upstream.clear()
        actions: list[PlannedAction] = []
        report = await plan(self.settings, visit=actions.append, keeps=keeps, now=self.clock, patience=self.patience)
        return report, actions

    def requests(self) -> dict[str, int]:
        """How many requests of each kind came since the last run began."""
        kinds = [record.kind for record in self.upstream.requests]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}

    def paths(self, kind: str) -> list[str]:
        """What was asked for, of a kind, without the query."""
        return sorted(record.path for record in self.upstream.matching(kind))

    def tree(self) -> dict[str, str]:
        """MD5 of every published file, by path below `data/gpf`."""
        return tree_of(self.root / "data" / "gpf")

    def aliases(self) -> dict[str, str]:
        """The name of the sub-resource that each alias leads to, by series."""
        folder = self.root / "current" / "gpf"
        return {link.name: link.readlink().name for link in sorted(folder.iterdir())} if folder.is_dir() else {}

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the index answers."""
        with closing(sqlite3.connect(self.root / FILE)) as connection:
            return connection.execute(sql, values).fetchall()

    def states(self) -> dict[str, str]:
        """The state of each sub-resource in the index."""
        return dict(self.rows("SELECT sub_resource, state FROM sub_resources ORDER BY sub_resource"))

    def staged(self) -> list[str]:
        """The files in staging that a run would have to clear away or go on with."""
        base = self.root / ".staging"
        return sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file() and path.name != "lock")


def tree_of(folder: Path) -> dict[str, str]:
    """MD5 of every file below a folder, by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return found


def offered(catalogue: Catalogue) -> dict[str, str]:
    """What a tree that holds everything holds: the MD5 of each file's bytes by path."""
    return {
        f"{resource.id}/{sub.id}/{file.name}": file.body.md5()
        for resource in catalogue.resources
        for sub in resource.subs
        for file in sub.files
    }


def without(tree: Mapping[str, str], *subs: str) -> dict[str, str]:
    """A tree without some sub-resources."""
    return {path: md5 for path, md5 in tree.items() if path.split("/")[1] not in subs}


def only(tree: Mapping[str, str], *words: str) -> dict[str, str]:
    """What of a tree has one of these words in its path."""
    return {path: md5 for path, md5 in tree.items() if any(word in path for word in words)}


def edition(sub: SampleSub, day: str, updated: str) -> SampleSub:
    """Another edition of a sub-resource, with files of its own."""
    name = sub.id[:-10] + day
    files = tuple(
        SampleFile(file.name.replace(sub.id, name), Pattern(file.body.size, f"{file.name} {day}"), rel=file.rel)
        for file in sub.files
    )
    return replace(sub, id=name, edition_date=day, updated=updated, files=files)


def rewritten(sub: SampleSub, seed: str, *, updated: str | None = None, size: int | None = None) -> SampleSub:
    """A sub-resource whose files were all replaced in place: same names, other bytes."""
    files = tuple(
        replace(file, data=Pattern(file.body.size if size is None else size, f"{seed} {file.name}")) for file in sub.files
    )
    return replace(sub, files=files, updated=updated or sub.updated)


def volumes(sub_id: str, count: int = 3, size: int = 400, *, seed: str = "", zone_files: Sequence[SampleFile] = ()) -> SampleSub:
    """A sub-resource that is one archive in volumes, and what else is given."""
    files = [SampleFile(f"{sub_id}.7z.{n:03d}", Pattern(size, f"{seed}{sub_id}{n}"), rel="section") for n in range(1, count + 1)]
    return SampleSub(sub_id, updated="2026-10-02", edition_date="2026-09-15", files=(*files, *zone_files))
