"""What happened, for who asks: runs, the newest first, and changes of the mirror from a point on, the oldest first.

Nothing of it is ever deleted, and numbers only grow: what was answered for a number stays so. An index that was built anew begins
with 1 again; a cursor says so, as it holds a part of what stood at its number.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mirror.store.journal import REPLACED

CHANGES: Mapping[str, str] = {
    "published": "files came that were not here",
    "replaced": "other bytes took the place of files of the same name",
    "adopted": "files that were found in the folder were taken in",
    "withdrawn": "upstream no longer lists it; it is kept",
    "pruned": "retention has deleted it",
    "parked": "a file is wanted and not to be had yet",
    "damaged": "verify has found a file gone or wrong",
    "set-aside": "a file was moved away, as upstream has split its archive anew",
}
"""The kinds of changes, with their meaning. All but `replaced` are kinds of events."""

_LAST = 2**63 - 1
_LARGEST_PAGE = 4 * 2**20  # characters of reports


class RecordedRun(NamedTuple):
    """A run. Moments are ISO 8601 in UTC; one without an end still goes on, or was killed. `report` is what the command gave."""

    id: int
    command: str
    started_at: str
    finished_at: str | None
    outcome: str | None
    exit_code: int | None
    requests: int | None
    subscriptions: Sequence[str]
    report: Mapping[str, Any] | None


class Change(NamedTuple):
    """One thing that changed. `at` is ISO 8601 in UTC; what is not about a file or sub-resource has None there."""

    id: int
    at: str
    change: str
    upstream: str
    resource: str | None
    sub_resource: str | None
    file: str | None
    message: str
    run: int | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the history: what is behind it comes next. `mark` tells whether it is a place in this history; empty: any."""

    id: int
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.id}-{self.mark}" if self.mark else str(self.id)


class Stale(Exception):
    """A cursor is no place in this history: the index was built anew since."""


def recorded_runs(
    sql: sqlite3.Connection, *, before: int | None = None, commands: Collection[str] = (), limit: int, reports: bool = True
) -> tuple[list[RecordedRun], bool]:
    """The newest runs, those before a number if one is given, and whether there are more. Long reports make shorter pages."""
    rows = sql.execute(
        "SELECT id, command, started_at, finished_at, outcome, exit_code, requests, subscriptions, "
        "CASE WHEN ?1 THEN report END AS report FROM runs WHERE id < ?2 AND (?3 OR command IN "
        "(SELECT value FROM json_each(?4))) ORDER BY id DESC LIMIT ?5",
        (reports, _LAST if before is None else before, not commands, json.dumps(list(commands)), limit + 1),
    )
    found: list[RecordedRun] = []
    size = 0
    for row in rows:
        size += len(row["report"] or "")
        if found and (len(found) == limit or size > _LARGEST_PAGE):
            return found, True
        fields = dict(row)
        fields["subscriptions"] = json.loads(row["subscriptions"])
        fields["report"] = json.loads(row["report"]) if row["report"] else None
        found.append(RecordedRun(**fields))
    return found, False


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of changes; `cursor` is where the next one starts, `more` whether there is anything on it yet."""

    found: Sequence[Change]
    cursor: Cursor
    more: bool


_CHANGES = """
SELECT id, at, change, upstream, resource, sub_resource, file, message, run_id FROM (
    SELECT *, CASE WHEN kind = 'published' AND message GLOB ? THEN 'replaced' ELSE kind END AS change
      FROM events WHERE id > ? AND id < ?)
 WHERE upstream IS NOT NULL AND change IN (SELECT value FROM json_each(?)) ORDER BY id {turn} LIMIT ?
"""


def changes_after(sql: sqlite3.Connection, cursor: Cursor, *, kinds: Collection[str] = (), limit: int) -> Changes:
    """The changes behind a cursor, the oldest first. Raises Stale."""
    newest = _newest(sql)
    if cursor.id > newest or (cursor.mark and _mark(sql, cursor.id) != cursor.mark):
        raise Stale
    found = _changes(sql, cursor.id, None, kinds, limit + 1, "ASC")
    more = len(found) > limit
    # Where nothing more is to be told, what was left out needs no second look.
    last = found[limit - 1].id if more else newest
    return Changes(found[:limit], Cursor(last, _mark(sql, last)), more)


def newest_changes(
    sql: sqlite3.Connection, after: Cursor, *, before: int | None = None, kinds: Collection[str] = (), limit: int
) -> tuple[Sequence[Change], bool]:
    """The changes behind a cursor, those before a number if one is given, the newest first; whether there are more."""
    found = _changes(sql, after.id, before, kinds, limit + 1, "DESC")
    return found[:limit], len(found) > limit


def cursor_at(sql: sqlite3.Connection, moment: str) -> Cursor:
    """The place before the first event of a moment (ISO 8601 in UTC, or its beginning) or later, in the order of their numbers.

    What was written behind it follows, whatever the clock did meanwhile.
    """
    (first,) = sql.execute("SELECT min(id) FROM events WHERE at >= ?", (moment,)).fetchone()
    return Cursor(_newest(sql) if first is None else first - 1)


def history_id(sql: sqlite3.Connection) -> str:
    """Tells this history from that of any other index: when it began. Empty where it has not."""
    row = sql.execute("SELECT started_at FROM runs ORDER BY id LIMIT 1").fetchone()
    return str(row[0]) if row is not None else ""


def _changes(
    sql: sqlite3.Connection, after: int, before: int | None, kinds: Collection[str], limit: int, turn: Literal["ASC", "DESC"]
) -> list[Change]:
    chosen = json.dumps(list(kinds or CHANGES))
    rows = sql.execute(_CHANGES.format(turn=turn), (REPLACED, after, _LAST if before is None else before, chosen, limit))
    return [Change(*row) for row in rows]


def _newest(sql: sqlite3.Connection) -> int:
    (newest,) = sql.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return int(newest)


def _mark(sql: sqlite3.Connection, number: int) -> str:
    row = sql.execute("SELECT at, kind, upstream, resource, sub_resource, file FROM events WHERE id = ?", (number,)).fetchone()
    if row is None:
        return ""
    return hashlib.sha256(json.dumps([history_id(sql), *row]).encode()).hexdigest()[:8]
