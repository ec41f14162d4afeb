"""The three promises, as looks at a root from the outside: never a wrong byte, never a file lost, never a silent gap.

A `Ledger` remembers what it has seen published and what users did to it by hand, and compares that with the truth.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mirror.store.index import FILE
from mirror.sync import Report

from .mirrored import tree_of
from .truth import Tables, Truth, governs, matches

_AT_HOME = {"data", "current", "extracted", ".staging", FILE, f"{FILE}-wal", f"{FILE}-shm"}
_VOLUME = re.compile(r"(?P<archive>.+)\.\d{3}")


@dataclass
class Ledger:
    """What is known of one root, which mirrors one upstream, `gpf`. Paths are below `data/gpf`."""

    root: Path
    truth: Truth
    seen: dict[str, str] = field(default_factory=dict)
    """MD5 of what was published at the last look."""
    foreign: dict[str, str] = field(default_factory=dict)
    """Files that users have put there."""
    damaged: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Published files that users have changed: their MD5 before and since."""
    deleted: set[str] = field(default_factory=set)
    """Published files that users have taken away and that have not come back."""
    loose: set[tuple[str, str]] = field(default_factory=set)
    """Sub-resources that need not be whole: users had their hands in them, or they were published file by file."""
    here_since: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """When something of a sub-resource was first seen here."""
    globs: set[tuple[str, ...]] = field(default_factory=lambda: {()})
    """What was ever wanted of sub-resources."""

    # -- what holds at every moment

    def look(self) -> None:
        """Check all that must hold after each step, whatever went wrong in it."""
        tree = tree_of(self.root / "data" / "gpf")
        self._no_wrong_byte(tree)
        self._nothing_lost(tree)
        self._nothing_in_two_minds(tree)
        self._nothing_elsewhere()
        self._aliases_lead_somewhere()
        self.seen = {path: md5 for path, md5 in tree.items() if path not in self.foreign}
        self.deleted -= self.seen.keys()
        self.here_since = {key: self.here_since.get(key, self.truth.now) for key, _ in _folders(self.seen)}
        self._rows_are_true(tree)
        self._unpacked_is_whole()

    def _no_wrong_byte(self, tree: Mapping[str, str]) -> None:
        for path, md5 in tree.items():
            if path in self.foreign:
                assert md5 == self.foreign[path], f"somebody's file was changed: {path}"
            elif self.damaged.get(path, ("", ""))[1] != md5:
                assert md5 in self.truth.generations(path), f"published, and never offered: {path}"
                self.damaged.pop(path, None)

    def _nothing_lost(self, tree: Mapping[str, str]) -> None:
        for path in (self.seen.keys() | self.foreign.keys()) - tree.keys():
            if path in self.damaged:
                continue  # moved aside to be fetched again
            assert _VOLUME.fullmatch(path), f"lost: {path}"
            assert any(place.parts[-2:] == Path(path).parts[-2:] for place in self._quarantine()), f"a volume is lost: {path}"

    def _quarantine(self) -> Iterable[Path]:
        for path in (self.root / ".staging" / "quarantine").rglob("*"):
            yield path.with_name(path.name.partition("~")[0])

    def _nothing_in_two_minds(self, tree: Mapping[str, str]) -> None:
        for (resource, sub), ours in _folders({path: md5 for path, md5 in tree.items() if path not in self.foreign}):
            if (resource, sub) in self.loose:
                continue
            states = list(self.truth.states(resource, sub))
            assert any(
                wanted.items() <= ours.items()
                for state in states
                for globs in self.globs
                if (wanted := {name: md5 for name, md5 in state.items() if matches(name, globs)})
            ), f"in part, or of two generations: {resource}/{sub} {sorted(ours)}"
            for archive in {found["archive"] for name in ours if (found := _VOLUME.fullmatch(name))}:
                volumes = _volumes(ours, archive)
                assert volumes in [_volumes(state, archive) for state in states], f"volumes of two archives: {sorted(volumes)}"

    def _nothing_elsewhere(self) -> None:
        assert set(os.listdir(self.root)) <= _AT_HOME
        assert {path.name for path in self.root.parent.iterdir()} <= {self.root.name, "outside"}

    def _aliases_lead_somewhere(self) -> None:
        for link in self._aliases():
            target = os.readlink(link)
            assert target.startswith("../../data/gpf/"), target
            folder = link.parent / target
            assert folder.is_dir() or any(path.startswith(f"{folder.parent.name}/{folder.name}/") for path in self.deleted), target

    def _aliases(self) -> list[Path]:
        folder = self.root / "current" / "gpf"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _rows_are_true(self, tree: Mapping[str, str]) -> None:
        for path, size, md5, _ in self.rows():
            if path not in self.deleted and path not in self.damaged:
                assert tree.get(path) == md5, f"the index says otherwise of {path}"
                assert (self.root / "data" / "gpf" / path).stat().st_size == size
        for sub, rows, size, counted, counted_size in self.query(
            "SELECT s.sub_resource, count(f.id), coalesce(sum(f.size), 0), s.stored_files, s.stored_bytes FROM sub_resources s "
            "LEFT JOIN stored_files f ON f.sub_resource_id = s.id GROUP BY s.id"
        ):
            assert (rows, size) == (counted, counted_size), f"miscounted: {sub}"

    def _unpacked_is_whole(self) -> None:
        """What lies unpacked is of one archive that was offered, all of it and nothing else."""
        base = self.root / "extracted" / "gpf"
        for (resource, sub), here in _folders(tree_of(base) if base.is_dir() else {}):
            if (resource, sub) not in self.loose:
                offered = [self.truth.inside.get(md5) for state in self.truth.states(resource, sub) for md5 in state.values()]
                assert here in offered, f"unpacked in part, or of no archive: {resource}/{sub} {here}"

    def is_here(self, path: str, size: int, md5: str | None) -> bool:
        """Whether a file is there with this size and, if it is given, MD5."""
        place = self.root / "data" / "gpf" / path
        return place.is_file() and place.stat().st_size == size and md5 in (None, tree_of(place.parent).get(place.name))

    def rows(self) -> list[tuple[str, int, str, str]]:
        """Path, size, MD5 and state of each published file."""
        return self.query(
            "SELECT resource || '/' || sub_resource || '/' || file, size, md5, state FROM files WHERE path IS NOT NULL"
        )

    @property
    def is_indexed(self) -> bool:
        """Whether there is an index; what a first run leaves that is killed before its first commit is none."""
        if not (self.root / FILE).exists():
            return False
        with closing(sqlite3.connect(self.root / FILE)) as index:
            return bool(index.execute("SELECT count(*) FROM sqlite_master WHERE name = 'files'").fetchone()[0])

    def query(self, sql: str) -> list[Any]:
        """What the index answers; nothing where there is none yet."""
        if not self.is_indexed:
            return []
        with closing(sqlite3.connect(self.root / FILE)) as index:
            return index.execute(sql).fetchall()

    # -- what holds after a run that calls itself complete

    def complete(self, report: Report, tables: Tables) -> None:
        """Check that nothing that `tables` want is missing."""
        as_published = {**self.seen, **{path: before for path, (before, _) in self.damaged.items() if path in self.seen}}
        numbers, missing = self.truth.may_be_missing(tables, as_published)
        assert not missing, f"a silent gap: {missing}"
        account = report.account
        assert account.expected == account.present == account.verified, account
        assert account.expected in numbers, f"{account.expected} files are said to be wanted, not {numbers}"
        assert not report.failed
        assert report.exit_code == 0
        self.truth.noticed()

        unpacking = {name: table for name, table in tables.items() if table.get("extract")}
        for resource, sub in self.truth.surely_wanted(unpacking):
            self._is_unpacked(resource, sub)

    def _is_unpacked(self, resource: str, sub: str) -> None:
        place = self.root / "extracted" / "gpf" / resource / sub
        for path, md5 in self.seen.items():
            if path.startswith(f"{resource}/{sub}/") and path.endswith(".zip") and (resource, sub) not in self.loose:
                assert tree_of(place) == self.truth.inside[md5], f"not unpacked: {path}"

    def pruned(self, subs: Iterable[tuple[str, str]], tables: Tables, *, grace: timedelta) -> None:
        """Check that these sub-resources, and nothing else, are gone, and that retention let them go; forget them."""
        tree = tree_of(self.root / "data" / "gpf")
        for resource, sub in subs:
            assert self.truth.was_ever_unwanted(tables, resource, sub), f"pruned, and wanted: {sub}"
            rules = [table for table in tables.values() if governs(table, resource, sub)]
            assert rules, f"pruned, and nobody's: {sub}"
            newer = [
                (name, since)
                for (where, name), since in self.here_since.items()
                if where == resource and name.rpartition("_")[0] == sub.rpartition("_")[0] and name > sub
            ]
            for table in rules:
                assert len([name for name, _ in newer if governs(table, resource, name)]) >= table["keep"], (
                    f"pruned too early: {sub}"
                )
            assert any(self.truth.now - since >= grace for _, since in newer), f"pruned within grace: {sub}"
            gone = {path for path in self.seen if path.startswith(f"{resource}/{sub}/")}
            assert not gone & tree.keys(), f"in part still here: {sub}"
            assert not (self.root / "extracted" / "gpf" / resource / sub).exists()
            for path in gone:
                del self.seen[path]
                self.damaged.pop(path, None)
        assert self.seen.keys() <= tree.keys(), "more is gone than was said"

    def complete_for_all(self, again: bool) -> None:
        """Check what else holds where all subscriptions are complete; `again` says that they were after the last run, too."""
        self._aliases_are_newest()
        if again:  # a run sweeps as it begins
            staging = self.root / ".staging"
            left = [path for path in staging.rglob("*") if path.is_file() and path != staging / "lock"]
            assert all(path.is_relative_to(staging / "quarantine") for path in left), f"left in staging: {left}"

    def _aliases_are_newest(self) -> None:
        """Each leads to the newest edition that the index knows; one that is only here in part may be passed over."""
        newest: dict[str, str] = {}
        for (resource, sub), here in _folders({path: md5 for path, _, md5, _ in self.rows()}):
            if any(state.items() <= here.items() for state in self.truth.states(resource, sub) if state):
                series = f"{resource}/{sub.rpartition('_')[0]}"
                newest[series] = max(newest.get(series, ""), sub)
        targets = [Path(os.readlink(link)).parts[-2:] for link in self._aliases()]
        leading = {f"{resource}/{sub.rpartition('_')[0]}": sub for resource, sub in targets}
        for series, sub in newest.items():
            if not any(path.startswith(f"{series}_") for path in self.deleted | self.damaged.keys()):
                assert leading.get(series, "") >= sub, f"the alias of {series} leads to {leading.get(series)}"
        assert len(leading) == len(targets)

    def account_is_true(self, report: Report) -> None:
        """Check the numbers of any run."""
        account = report.account
        assert account.verified <= account.present <= account.expected
        if report.outcome in (
            "complete",
            "incomplete",
        ):  # others may have ended before they could count, and tell of the last that did
            assert account.present <= len(self.seen)
        assert (report.outcome == "complete") == (report.exit_code == 0)
        assert report.outcome == "complete" or report.reason


def _folders(tree: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """The files of each sub-resource of a tree."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for path, md5 in tree.items():
        resource, sub, name = path.split("/", 2)
        found.setdefault((resource, sub), {})[name] = md5
    yield from found.items()


def _volumes(files: Mapping[str, str], archive: str) -> dict[str, str]:
    return {name: md5 for name, md5 in files.items() if name.startswith(f"{archive}.") and _VOLUME.fullmatch(name)}
