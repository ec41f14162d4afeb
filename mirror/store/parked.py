"""What is wanted and not to be had: why, since when, at what cost, and when it is tried again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from mirror.model import RemoteFile
from mirror.planning.parking import Parked, after_failure, is_due
from mirror.store.catalogue import from_text, to_text
from mirror.store.index import Index


class ParkedFiles:
    """Reads and writes which files are parked."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def of(self, unit_id: int) -> dict[str, Parked]:
        """The parked files of a sub-resource, by name."""
        rows = self._index.connection.execute("SELECT * FROM parked_files WHERE sub_resource_id = ?", (unit_id,))
        return {row["file"]: _parked(row) for row in rows}

    def park(
        self,
        unit_id: int,
        file: RemoteFile,
        reason: str,
        attempts: int,
        *,
        at: datetime,
        updated: str | None = None,
        wrong: bool = False,
    ) -> None:
        """A wanted file cannot be had: remember why, since when, how many attempts it has cost in all, and when to try again.

        `updated` is of its sub-resource; `wrong` says that upstream serves other bytes than it lists, so that the tries become
        rarer.
        """
        moment = to_text(at)
        runs, next_try = after_failure(self.of(unit_id).get(file.name), file, updated, wrong=wrong, at=at)
        later = to_text(next_try) if next_try else None
        with self._index.transaction() as sql:
            sql.execute(
                "INSERT INTO parked_files (sub_resource_id, file, url, size, md5, reason, attempts, since, last_try, failed_runs, "
                "next_try, updated) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (sub_resource_id, file) DO UPDATE SET "
                "url=excluded.url, size=excluded.size, md5=excluded.md5, reason=excluded.reason, "
                "attempts=parked_files.attempts + excluded.attempts, last_try=excluded.last_try, "
                "failed_runs=excluded.failed_runs, next_try=excluded.next_try, updated=excluded.updated",
                (
                    unit_id,
                    file.name,
                    file.url,
                    file.size,
                    file.md5,
                    reason,
                    attempts,
                    moment,
                    moment,
                    runs,
                    later,
                    updated,
                ),
            )

    def suspects(self, upstream: str, *, at: datetime, retry: bool = False) -> set[tuple[str, str]]:
        """The (resource, sub-resource) of wrong files that are due, or with `retry` of all: their listing may have been mended."""
        rows = self._index.connection.execute(
            "SELECT s.resource, s.sub_resource, p.failed_runs, p.next_try FROM parked_files p "
            "JOIN sub_resources s ON s.id = p.sub_resource_id WHERE s.upstream = ? AND p.failed_runs > 0",
            (upstream,),
        )
        return {
            (row["resource"], row["sub_resource"])
            for row in rows
            if retry or is_due(row["failed_runs"], from_text(row["next_try"]), at)
        }

    def keep_only(self, unit_id: int, files: Collection[str]) -> None:
        """Forget the parked files of a sub-resource but these: the others are here by now, or no longer listed or wanted."""
        with self._index.transaction() as sql:
            sql.execute(
                "DELETE FROM parked_files WHERE sub_resource_id = ? AND file NOT IN (SELECT value FROM json_each(?))",
                (unit_id, json.dumps(list(files))),
            )

    def forget_unwanted(self, upstream: str, wanted: Iterable[int]) -> None:
        """Forget parked files of sub-resources that nobody wants any longer."""
        keep = set(wanted)
        with self._index.transaction() as sql:
            rows = sql.execute(
                "SELECT DISTINCT p.sub_resource_id FROM parked_files p JOIN sub_resources s ON s.id = p.sub_resource_id "
                "WHERE s.upstream = ?",
                (upstream,),
            ).fetchall()
            sql.executemany("DELETE FROM parked_files WHERE sub_resource_id = ?", [row[:1] for row in rows if row[0] not in keep])

    def count(self, unit_ids: Sequence[int]) -> int:
        """How many files of these sub-resources are parked."""
        (count,) = self._index.connection.execute(
            "SELECT count(*) FROM parked_files WHERE sub_resource_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(unit_ids)),),
        ).fetchone()
        return int(count)


def _parked(row: sqlite3.Row) -> Parked:
    return Parked(
        row["url"], row["size"], row["md5"], row["updated"], row["reason"], row["failed_runs"], from_text(row["next_try"])
    )
