"""Questions to the index. Reads only, never waits for a sync, and needs only the standard library, so that it starts at once."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache, wraps
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from mirror.geometry import footprint_from_text, intersects
from mirror.model import BBox
from mirror.planning.volumes import archive_of
from mirror.store.index import FILE, connect_reader, reading_rows, why_unusable
from mirror.store.wording import Question, match_of, question_of
from mirror.vocabulary import fold_crs, fold_format, fold_zone

T = TypeVar("T")

STATES = ("current", "superseded", "withdrawn", "parked")


@dataclass(frozen=True, slots=True)
class Filters:
    """What to look for. Empty and None do not filter; codes and ids are globs, whatever their case and spelling.

    `start` and `end` are days of edition, both included; `updated_from` a day of publication; `bbox` is west, south, east, north in
    degrees; `limit` a number of files. `members` are globs on the paths inside archives, or on their last part: they find the
    files (all volumes of an archive) that hold such a member.
    """

    text: str = ""
    resources: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    crs: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    updated_from: date | None = None
    bbox: BBox | None = None
    latest: bool = False
    upstreams: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    limit: int | None = None
    members: tuple[str, ...] = ()


class MirroredFile(NamedTuple):
    """A file of the mirror. `size` in bytes, dates in ISO 8601; `path` is absolute, None for what is parked.

    A named tuple, as answers hold thousands: it is made in a tenth of the time of a frozen dataclass.
    """

    upstream: str
    resource: str
    sub_resource: str
    title: str
    file: str
    path: str | None
    url: str
    size: int | None
    md5: str | None
    sha256: str | None
    zones: tuple[str, ...]
    formats: tuple[str, ...]
    crs: tuple[str, ...]
    edition_date: str | None
    updated: str | None
    state: str
    fetched_at: str | None
    verified_at: str | None
    members: tuple[str, ...] | None = None
    """The paths inside the archive that were asked for; None where none were."""

    def as_json(self) -> dict[str, Any]:
        """The object of `query --json`; `members` is in it if the question named some."""
        found = self._asdict()
        if self.members is None:
            del found["members"]
        return found


_SUB_RESOURCES = """
SELECT s.id, s.upstream, s.resource, s.sub_resource, s.title, s.zones, s.formats, s.crs, s.edition_date, s.updated,
       CASE WHEN s.state IN ('listed', 'parked') THEN 'current' ELSE s.state END AS state
  FROM sub_resources s WHERE {where} ORDER BY s.upstream, s.resource, s.sub_resource
"""
_STORED = """
SELECT file, url, size, md5, sha256, fetched_at, verified_at FROM stored_files WHERE sub_resource_id = ? ORDER BY file
"""
# GLOB lets * run across "/", and the second form compares with the last part of the path.
_HOLDING = """
SELECT a.sub_resource_id, a.archive, m.member FROM members m JOIN archives a ON a.id = m.archive_id WHERE {tests}
 ORDER BY m.archive_id, m.position
"""
_MEMBER_TEST = "lower(m.member) GLOB ?{n} OR lower(m.member) GLOB '*/' || ?{n}"
_PARKED = """
SELECT p.file, p.url, p.size, p.md5, NULL, NULL, NULL FROM parked_files p WHERE p.sub_resource_id = ?
   AND NOT EXISTS (SELECT 1 FROM stored_files f WHERE f.sub_resource_id = p.sub_resource_id AND f.file = p.file)
"""

_WITH_EXTENSION = """
SELECT DISTINCT sub_resource_id FROM stored_files WHERE file LIKE ? OR file LIKE ?
 UNION SELECT sub_resource_id FROM parked_files WHERE file LIKE ? OR file LIKE ?
"""

Row = Sequence[Any]
"""A file as `_STORED` and `_PARKED` give it."""


@contextmanager
def asking(reader: Reader) -> Iterator[None]:
    """What SQLite refuses, and what rows hold that nobody has written there, comes out as what users can do about it."""
    try:
        with reading_rows():
            yield
    except sqlite3.Error as error:
        raise why_unusable(reader.path, error) from error


def _answer(question: Callable[[Reader], T]) -> Callable[[Reader], T]:
    @wraps(question)
    def asked(reader: Reader) -> T:
        with asking(reader):
            return question(reader)

    return asked


class Reader:
    """Questions to the index of one root."""

    def __init__(self, root: Path, *, wait: float = 30.0) -> None:
        """`wait` is for how many seconds who has locked even readers out is waited for. Raises IndexUnusable, Locked."""
        self._data = root / "data"
        self.path = root / FILE
        self.connection = connect_reader(root, wait=wait)

    def close(self) -> None:
        """Give the connection back."""
        self.connection.close()

    def files(self, filters: Filters) -> Generator[MirroredFile, None, None]:
        """The files that match, in the order of the tree; all of one state of the index, whatever a sync does meanwhile.

        Raises IndexDamaged where it turns out to be.
        """
        with asking(self):
            self.connection.execute("BEGIN")
            try:
                yield from islice(self._files(filters), None if filters.limit is None else min(filters.limit, sys.maxsize))
            finally:
                self.connection.execute("ROLLBACK")

    def _files(self, filters: Filters) -> Iterator[MirroredFile]:
        holding = self._holding(filters.members) if filters.members else None
        where, values = self._where(filters, holding)
        pick = self._by_text(question_of(filters.text)) if filters.text else None
        parked = not filters.latest and self.connection.execute("SELECT 1 FROM parked_files").fetchone() is not None
        # What a sub-resource's files have in common is read and turned into objects once; its files come in order off an index.
        for sub in self.connection.execute(_SUB_RESOURCES.format(where=where), values):
            rows: Sequence[Row] = self.connection.execute(_STORED, (sub["id"],)).fetchall()
            if parked:
                rows = sorted([*rows, *self.connection.execute(_PARKED, (sub["id"],))], key=itemgetter(0))
            if pick is not None:
                rows = pick(sub["id"], rows)
            for file in self._of(sub, rows):
                if filters.states and file.state not in filters.states:
                    continue
                if holding is None:
                    yield file
                elif members := holding[sub["id"]].get(archive_of(file.file) or file.file):
                    yield file._replace(members=tuple(members))

    def _where(self, filters: Filters, holding: Collection[int] | None) -> tuple[str, list[object]]:
        parts: list[str] = []
        values: list[object] = []

        def add(part: str, *given: object) -> None:
            parts.append(part)
            values.extend(given)

        # One set of ids is walked, that of the filter which leaves the fewest; for each id the others are looked up.
        walked = False
        if filters.text:
            walked = True
            question = question_of(filters.text)
            if question.words or not question.extensions:
                add("s.id IN (SELECT rowid FROM search WHERE search MATCH ?)", match_of(question.words))
            else:
                add("s.id IN (SELECT value FROM json_each(?))", json.dumps(self._with_extensions(question.extensions)))
        if filters.bbox is not None:
            walked = True
            add("s.id IN (SELECT value FROM json_each(?))", json.dumps(self._covering(filters.bbox)))
        if holding is not None:
            walked = True
            add("s.id IN (SELECT value FROM json_each(?))", json.dumps(list(holding)))
        coded = (("zone", filters.zones, fold_zone), ("format", filters.formats, fold_format), ("crs", filters.crs, fold_crs))
        for kind, globs, fold in coded:
            if globs:
                tests = " OR ".join("t.code GLOB ?" if _is_glob(glob) else "t.code = ?" for glob in globs)
                terms = f"FROM sub_resource_terms t WHERE t.kind = '{kind}' AND ({tests})"
                if walked or (filters.resources and kind != "zone"):
                    part = f"EXISTS (SELECT 1 {terms} AND t.sub_resource_id = s.id)"
                else:
                    part = f"s.id IN (SELECT t.sub_resource_id {terms})"
                walked = True
                add(part, *(_sqlite_glob(fold(glob)) for glob in globs))
        if filters.resources:
            names = self._matching("resource", filters.resources)
            add(f"s.resource IN ({_marks(names)})", *names)
        if filters.upstreams:
            names = self._matching("upstream", filters.upstreams)
            add(f"s.upstream IN ({_marks(names)})", *names)
        if filters.start:
            add("s.edition_date >= ?", filters.start.isoformat())
        if filters.end:
            add("s.edition_date <= ?", filters.end.isoformat())
        if filters.updated_from:
            add("substr(s.updated, 1, 10) >= ?", filters.updated_from.isoformat())
        if filters.latest:
            add("s.latest = 1")
        return " AND ".join(parts) or "1", values

    def _matching(self, column: Literal["upstream", "resource"], globs: Sequence[str]) -> list[str]:
        """The names that match, whatever their case; they are few, so that comparing them here is cheaper than for each file."""
        folded = [_sqlite_glob(glob).upper() for glob in globs]
        rows = self.connection.execute(f"SELECT DISTINCT {column} FROM resources")  # noqa: S608 - one of two words
        names = [row[0] for row in rows]
        test = "SELECT " + " OR ".join("?1 GLOB ?" for _ in folded)
        return [name for name in names if self.connection.execute(test, (name.upper(), *folded)).fetchone()[0]]

    def _covering(self, bbox: BBox) -> list[int]:
        west, south, east, north = bbox
        rows = self.connection.execute(
            "SELECT s.id, s.footprint FROM footprints f JOIN sub_resources s ON s.id = f.sub_resource_id "
            "WHERE f.west <= ? AND f.east >= ? AND f.south <= ? AND f.north >= ?",
            (east, west, north, south),
        )
        return [row["id"] for row in rows if (shape := footprint_from_text(row["footprint"])) and intersects(shape, bbox)]

    def _holding(self, globs: Sequence[str]) -> dict[int, dict[str, list[str]]]:
        """The archives that hold such members, with these members, by sub-resource."""
        tests = " OR ".join(_MEMBER_TEST.format(n=number) for number in range(1, len(globs) + 1))
        found: dict[int, dict[str, list[str]]] = {}
        for sub, archive, member in self.connection.execute(
            _HOLDING.format(tests=tests), [_sqlite_glob(glob).lower() for glob in globs]
        ):
            found.setdefault(sub, {}).setdefault(archive, []).append(member)
        return found

    def _by_text(self, question: Question) -> Callable[[int, Sequence[Row]], Sequence[Row]]:
        """Picks the files of a sub-resource that a text found: all, if it describes the sub-resource, or those that it names."""

        @cache
        def described_by(*words: str) -> frozenset[int]:
            columns = "{resource sub_resource title abstract about_resource labels} : (" + match_of(words) + ")"
            return frozenset(row[0] for row in self.connection.execute("SELECT rowid FROM search WHERE search MATCH ?", (columns,)))

        def pick(sub: int, rows: Sequence[Row]) -> Sequence[Row]:
            if not question.of_names and sub in described_by(*question.everything):
                return rows
            # What describes the sub-resource need not be in the name of each file; all else must.
            told = {word for word in question.free if sub in described_by(word)}
            told_ends = {end for end in question.extensions if sub in described_by(end)}
            found: dict[int, list[Row]] = {}
            for row in rows:
                ends = question.ends_of(row[0])
                if ends is not None and ends | told_ends >= set(question.extensions) and question.words_in(row[0], told):
                    found.setdefault(len(ends), []).append(row)
            # An extension may also be the format that describes all of a sub-resource; files that bear it come first.
            if found:
                return found[max(found)]
            if sub in described_by(*question.everything):
                return rows
            return [row for row in rows if question.all_in(row[0])]

        return pick

    def _with_extensions(self, extensions: Sequence[str]) -> list[int]:
        """The sub-resources that each of these extensions describes, as their format, or that have a file with it.

        For what is no format it reads the name of every file: a quarter of a second for a million of them.
        """
        found: list[set[int]] = []
        for end in extensions:
            rows = self.connection.execute("SELECT rowid FROM search WHERE search MATCH ?", (match_of((end,)),)).fetchall()
            code = "SELECT 1 FROM sub_resource_terms WHERE kind = 'format' AND code = ?"
            if self.connection.execute(code, (fold_format(end),)).fetchone() is None:
                rows += self.connection.execute(_WITH_EXTENSION, (f"%.{end}", f"%.{end}.%") * 2).fetchall()
            found.append({row[0] for row in rows})
        return list(set.intersection(*found))

    def _of(self, sub: sqlite3.Row, rows: Iterable[Row]) -> Iterator[MirroredFile]:
        _, upstream, resource, sub_resource, title, zones, formats, crs, edition_date, updated, state = sub
        folder = f"{self._data}/{upstream}/{resource}/{sub_resource}/"
        fields = _codes(zones), _codes(formats), _codes(crs), edition_date, updated
        for file, url, size, md5, sha256, fetched_at, verified_at in rows:
            here = verified_at is not None  # else parked, or found wrong by verify
            yield MirroredFile(
                upstream,
                resource,
                sub_resource,
                title,
                file,
                folder + file if here else None,
                url,
                size,
                md5,
                sha256,
                *fields,
                state if here else "parked",
                fetched_at,
                verified_at,
            )

    # -- how things stand

    @_answer
    def subscriptions(self) -> list[dict[str, Any]]:
        """How each subscription that was ever synced stands."""
        # What verify has found since the last run is missing as much as what that run could not fetch.
        missing = dict(
            self.connection.execute(
                # What is missing is little, what is wanted may be all there is.
                "SELECT s.subscription, count(*) FROM subscriptions s CROSS JOIN (SELECT sub_resource_id, file FROM parked_files "
                "UNION SELECT sub_resource_id, file FROM stored_files WHERE verified_at IS NULL) m WHERE EXISTS (SELECT 1 FROM "
                "wanted w WHERE w.subscription = s.subscription AND w.sub_resource_id = m.sub_resource_id) GROUP BY 1"
            ).fetchall()
        )
        standings = []
        for row in map(dict, self.connection.execute("SELECT * FROM subscriptions ORDER BY subscription")):
            row["parked"] = missing.get(row["subscription"], 0)
            # By the words of `status --json`.
            row["last_run"], row["last_success"] = row.pop("last_run_at"), row.pop("last_success_at")
            row["files"] = row.pop("present")
            row["failures"] = None if row["expected"] is None else max(row["failures"], row["parked"])
            standings.append(row)
        return standings

    @_answer
    def parked(self) -> list[dict[str, Any]]:
        """The files that are wanted and not to be had, with the reasons. `next_try` is None if the next sync tries."""
        rows = self.connection.execute(
            "SELECT s.upstream, s.resource, s.sub_resource, p.file, p.url, p.reason, p.attempts, p.since, p.last_try, p.next_try "
            "FROM parked_files p JOIN sub_resources s ON s.id = p.sub_resource_id "
            "UNION ALL SELECT s.upstream, s.resource, s.sub_resource, f.file, f.url, ?, 0, coalesce((SELECT max(e.at) "
            "FROM events e WHERE e.kind = 'damaged' AND e.sub_resource = s.sub_resource AND e.file = f.file), f.fetched_at), "
            "NULL, NULL FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id WHERE f.verified_at IS NULL AND "
            "NOT EXISTS (SELECT 1 FROM parked_files p WHERE p.sub_resource_id = f.sub_resource_id AND p.file = f.file) "
            "ORDER BY 1, 2, 3, 4",
            ("verify found it gone or wrong; the next sync fetches it again",),
        )
        return [dict(row) for row in rows]

    @_answer
    def not_unpacked(self) -> list[dict[str, Any]]:
        """The sub-resources that could not be unpacked, with the reasons."""
        rows = self.connection.execute(
            "SELECT s.upstream, s.resource, s.sub_resource, e.error AS reason FROM extractions e "
            "JOIN sub_resources s ON s.id = e.sub_resource_id WHERE e.error IS NOT NULL ORDER BY 1, 2, 3"
        )
        return [dict(row) for row in rows]

    @_answer
    def hooks(self) -> list[dict[str, Any]]:
        """The commands that are still to be run, have failed or were given up, in their order."""
        if self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hook_jobs'").fetchone() is None:
            return []  # an older version wrote this index
        rows = self.connection.execute(
            "SELECT subscription, hook, upstream, nullif(resource, '') AS resource, nullif(sub_resource, '') AS sub_resource, "
            "coalesce(outcome, 'waiting') AS state, attempts, created_at, since, started_at AS last_try, next_try, message "
            "FROM hook_jobs WHERE finished_at IS NULL ORDER BY id"
        )
        return [dict(row) for row in rows]

    @_answer
    def unlisted(self) -> list[dict[str, Any]]:
        """What the last sync could not list, with the reasons: there may be files behind it that nobody knows of yet."""
        rows = self.connection.execute(
            "SELECT upstream, resource AS what, message AS reason, at FROM events "
            "WHERE kind IN ('listing-failed', 'listing-refused') AND run_id = (SELECT max(id) FROM runs WHERE command = 'sync') "
            "ORDER BY id"
        )
        return [dict(row) for row in rows]

    @_answer
    def last_run(self) -> dict[str, Any] | None:
        """The newest run, finished or not."""
        row = self.connection.execute(
            "SELECT id, command, started_at, finished_at, outcome, exit_code, requests FROM runs ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return dict(row) if row else None

    @_answer
    def totals(self) -> tuple[int, int]:
        """Files that are here, and their bytes."""
        row = self.connection.execute("SELECT coalesce(sum(stored_files), 0), coalesce(sum(stored_bytes), 0) FROM sub_resources")
        files, size = row.fetchone()
        return files, size


@lru_cache(maxsize=4096)
def _codes(text: str) -> tuple[str, ...]:
    """A JSON array of codes; a few thousand of them make up any catalogue."""
    return tuple(json.loads(text))


def _marks(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))


def _is_glob(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _sqlite_glob(glob: str) -> str:
    # What is no UTF-8 on a command line comes as lone surrogates, which nothing in the index can hold or match.
    return glob.replace("[!", "[^").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
