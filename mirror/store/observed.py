"""What those who watch over a mirror ask its index: metrics, health, the availability of upstreams. Reads only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mirror.store.catalogue import from_text
from mirror.store.query import Reader, asking
from mirror.upstream.tally import Hour, hour_of


@dataclass(frozen=True, slots=True)
class StoredCount:
    """Files of one upstream in one state, and their bytes; of parked ones those that upstream lists."""

    upstream: str
    state: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ParkedCount:
    """Files of one upstream that are wanted and not to be had, of those that it still lists; `since` is that of the oldest."""

    upstream: str
    files: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class PastRun:
    """A finished run. `received` are bytes; `reason` is empty where it was complete."""

    command: str
    started_at: datetime
    seconds: float
    outcome: str
    exit_code: int
    reason: str
    requests: int
    received: int


@dataclass(frozen=True, slots=True)
class UpstreamHour:
    """How an upstream has answered in an hour, written as `2026-10-06T14`."""

    upstream: str
    hour: str
    counts: Hour


_BY_STATE = """
SELECT upstream, state, sum(stored_files), sum(stored_bytes) FROM sub_resources WHERE stored_files > 0 GROUP BY upstream, state
"""
# What verify has found wrong counts as parked, wherever it is: as in `status`.
_PARKED = """
SELECT s.upstream, count(*), coalesce(sum(p.size), 0), min(CASE WHEN s.withdrawn_at IS NULL THEN p.since END),
       sum(s.withdrawn_at IS NULL)
  FROM (SELECT sub_resource_id, file, size, since FROM parked_files UNION ALL
        SELECT f.sub_resource_id, f.file, f.size, NULL FROM stored_files f WHERE f.verified_at IS NULL AND NOT EXISTS
        (SELECT 1 FROM parked_files k WHERE k.sub_resource_id = f.sub_resource_id AND k.file = f.file)) AS p
  JOIN sub_resources s ON s.id = p.sub_resource_id GROUP BY 1
"""
_WRONG = """
SELECT s.subscription, count(*) FROM subscriptions s CROSS JOIN parked_files p WHERE p.failed_runs > 0 AND EXISTS
       (SELECT 1 FROM wanted w WHERE w.subscription = s.subscription AND w.sub_resource_id = p.sub_resource_id) GROUP BY 1
"""
_COMMANDS = ("prune", "sync")
_LAST_RUN = """
SELECT command, started_at, finished_at, outcome, exit_code, requests, report FROM runs
 WHERE command = ? AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1
"""
_FIRST_RUN = """
SELECT min(r.started_at) FROM runs r WHERE EXISTS (SELECT 1 FROM json_each(r.subscriptions) n WHERE n.value = ?)
"""


class Observed:
    """Questions to an index. One of an older version, which the next sync brings up to date, has fewer answers."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._sql = reader.connection

    def by_state(self) -> list[StoredCount]:
        """Files that are here or parked, by upstream and state."""
        with asking(self._reader):
            counts: dict[tuple[str, str], tuple[int, int]] = {}
            for upstream, state, files, size in self._sql.execute(_BY_STATE):
                key = upstream, "current" if state in ("listed", "parked") else state  # as the view `files` has it
                before = counts.get(key, (0, 0))
                counts[key] = before[0] + files, before[1] + size
            found = [StoredCount(*key, *count) for key, count in counts.items()]
            return found + [StoredCount(row[0], "parked", row[1], row[2]) for row in self._sql.execute(_PARKED)]

    def parked(self) -> list[ParkedCount]:
        """Parked files that upstream still lists."""
        with asking(self._reader):
            return [ParkedCount(row[0], row[4], from_text(row[3])) for row in self._sql.execute(_PARKED) if row[4]]

    def wrong(self) -> Mapping[str, int]:
        """By subscription, the parked files of which upstream serves other bytes than it lists."""
        with asking(self._reader):
            return dict(self._sql.execute(_WRONG).fetchall())

    def last_runs(self) -> list[PastRun]:
        """The last finished run of each command."""
        with asking(self._reader):
            rows = [self._sql.execute(_LAST_RUN, (command,)).fetchone() for command in _COMMANDS]
            return [_past_run(row) for row in rows if row is not None]

    def first_run(self, subscription: str) -> datetime | None:
        """When a subscription was run for the first time. Reads all runs."""
        with asking(self._reader):
            return from_text(self._sql.execute(_FIRST_RUN, (subscription,)).fetchone()[0])

    def hours(self, upstreams: Collection[str] | None = None, since: datetime | None = None) -> Sequence[UpstreamHour]:
        """How these upstreams, or all, have answered, by hour, from that of `since` on; none from before there was a count."""
        with asking(self._reader):
            if not self._has("upstream_hours"):
                return []
            of = "" if upstreams is None else "upstream IN (SELECT value FROM json_each(?2)) AND"
            rows = self._sql.execute(
                "SELECT upstream, hour, answered, failed, offline, probes, seconds, slowest FROM upstream_hours "  # noqa: S608 - ours
                f"WHERE {of} hour >= ?1 ORDER BY upstream, hour",
                (hour_of(since) if since else "", *(() if upstreams is None else (json.dumps(list(upstreams)),))),
            )
            return [UpstreamHour(row[0], row[1], Hour(*row[2:])) for row in map(tuple, rows)]

    def schema(self) -> int:
        """How many migrations have made the index what it is."""
        with asking(self._reader):
            if not self._has("_sqlite_migrations"):
                return 0
            return int(self._sql.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()[0])

    def _has(self, table: str) -> bool:
        return self._sql.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _past_run(row: sqlite3.Row) -> PastRun:
    report: dict[str, Any] = json.loads(row["report"] or "{}")
    began, ended = datetime.fromisoformat(row["started_at"]), datetime.fromisoformat(row["finished_at"])
    return PastRun(
        row["command"],
        began,
        (ended - began).total_seconds(),
        row["outcome"] or "",
        row["exit_code"] or 0,
        report.get("reason") or "",
        row["requests"] or 0,
        (report.get("done") or {}).get("bytes") or 0,
    )
