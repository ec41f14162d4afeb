"""What retention reads and writes: the facts that it decides on, what is about to leave, and the rows of what has left.

A sub-resource leaves in three steps: it is announced, which hides its paths from every reader; its files are taken out of the tree;
its rows are removed, and the journal says what they held. What is announced and not removed was interrupted; see `sync/leaving.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mirror.amounts import count_text
from mirror.events import FileKey
from mirror.store.catalogue import from_text
from mirror.store.index import Index
from mirror.store.journal import Journal
from mirror.store.tree import Folder


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """A sub-resource of which something is stored: what the index knows that retention depends on. Sizes in bytes.

    `complete`: every wanted file was here, and none is parked, found wrong, or of a listing in doubt. `stamp` is the mtime in ns
    that its folder had when it was last looked through and complete, None if that is not known.
    """

    id: int
    folder: Folder
    files: int
    bytes: int
    complete: bool
    stamp: int | None
    latest: bool
    superseded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Leaving:
    """A sub-resource that is to go: why, and what the index says is published of it (sizes in bytes by file name)."""

    id: int
    folder: Folder
    reason: str
    edition_date: str | None
    unpacked: bool
    files: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(self.files.values())


class Departures:
    """Reads and writes what leaves. The caller holds the lock of the root."""

    def __init__(self, index: Index, journal: Journal) -> None:
        self._index = index
        self._journal = journal

    def stored(self, upstream: str) -> list[StoredFacts]:
        """Every sub-resource of an upstream of which something is stored, but what is leaving already."""
        rows = self._index.connection.execute(
            "SELECT s.id, s.resource, s.sub_resource, count(*) AS files, sum(f.size) AS bytes, s.latest, s.superseded_at, "
            "s.complete AND s.files_fingerprint IS NOT NULL AND count(f.verified_at) = count(*) "
            "AND NOT EXISTS (SELECT 1 FROM parked_files p WHERE p.sub_resource_id = s.id) AS complete, "
            "CASE WHEN s.settled IS NOT NULL THEN s.folder_stamp END AS stamp "
            "FROM sub_resources s JOIN stored_files f ON f.sub_resource_id = s.id "
            "WHERE s.upstream = ? AND s.id NOT IN (SELECT sub_resource_id FROM leaving) GROUP BY s.id",
            (upstream,),
        )
        return [
            StoredFacts(
                row["id"],
                Folder(upstream, row["resource"], row["sub_resource"]),
                row["files"],
                row["bytes"],
                bool(row["complete"]),
                row["stamp"],
                bool(row["latest"]),
                from_text(row["superseded_at"]),
            )
            for row in rows
        ]

    def files(self, unit_id: int) -> dict[str, int]:
        """Sizes in bytes of what is stored of a sub-resource, by name."""
        rows = self._index.connection.execute("SELECT file, size FROM stored_files WHERE sub_resource_id = ?", (unit_id,))
        return {row["file"]: row["size"] for row in rows}

    def is_unpacked(self, unit_id: int) -> bool:
        """Whether the index says that something lies unpacked of a sub-resource, or did."""
        row = self._index.connection.execute("SELECT 1 FROM extractions WHERE sub_resource_id = ?", (unit_id,)).fetchone()
        return row is not None

    # -- leaving

    def announce(self, unit_id: int, reason: str) -> list[tuple[str, int]]:
        """A sub-resource is about to leave. From here on no reader is given a path to its files. Returns what `take_back` needs.

        On the disk when this returns: a file is never out of the tree without a row that says why.
        """
        sql = self._index.connection
        sql.execute("PRAGMA synchronous = FULL")
        try:
            with self._index.transaction():
                before = [
                    (row["verified_at"], row["id"])
                    for row in sql.execute("SELECT id, verified_at FROM stored_files WHERE sub_resource_id = ?", (unit_id,))
                ]
                sql.execute("INSERT INTO leaving (sub_resource_id, reason) VALUES (?, ?)", (unit_id, reason))
                sql.execute("UPDATE stored_files SET verified_at = NULL WHERE sub_resource_id = ?", (unit_id,))
        finally:
            sql.execute("PRAGMA synchronous = NORMAL")
        return before

    def take_back(self, unit_id: int, before: Sequence[tuple[str, int]]) -> None:
        """What was announced could not leave, and all of it is in its place."""
        with self._index.transaction() as sql:
            sql.execute("DELETE FROM leaving WHERE sub_resource_id = ?", (unit_id,))
            sql.executemany("UPDATE stored_files SET verified_at = ? WHERE id = ?", before)

    def leaving(self, unit_id: int | None = None) -> list[Leaving]:
        """What was announced and has not been removed: all of it, or this one."""
        rows = self._index.connection.execute(
            "SELECT l.reason, s.id, s.upstream, s.resource, s.sub_resource, s.edition_date "
            "FROM leaving l JOIN sub_resources s ON s.id = l.sub_resource_id WHERE ?1 IS NULL OR s.id = ?1 "
            "ORDER BY s.upstream, s.resource, s.sub_resource",
            (unit_id,),
        )
        return [
            Leaving(
                row["id"],
                Folder(row["upstream"], row["resource"], row["sub_resource"]),
                row["reason"],
                row["edition_date"],
                self.is_unpacked(row["id"]),
                self.files(row["id"]),
            )
            for row in rows.fetchall()
        ]

    def remove(self, leaving: Leaving, *, at: datetime) -> None:
        """Its files have left the tree: the rows go, and the journal keeps what they said.

        What upstream still lists stays in the index as something that is not here; a later, wider subscription fetches it again.
        """
        with self._index.transaction() as sql:
            self._write_history(sql, leaving, at)
            for statement in _REMOVE:
                sql.execute(statement, (leaving.id,))
            (listed,) = sql.execute(
                "SELECT s.withdrawn_at IS NULL AND r.state = 'listed' FROM sub_resources s JOIN resources r "
                "ON r.upstream = s.upstream AND r.resource = s.resource WHERE s.id = ?",
                (leaving.id,),
            ).fetchone()
            for statement in _EMPTY if listed else _FORGET:
                sql.execute(statement, (leaving.id,))

    def _write_history(self, sql: sqlite3.Connection, leaving: Leaving, at: datetime) -> None:
        folder = leaving.folder
        about = FileKey(folder.upstream, folder.resource, folder.sub_resource, "")
        edition = f", edition {leaving.edition_date}" if leaving.edition_date else ""
        message = f"{count_text(len(leaving.files), 'file')}, {leaving.bytes} bytes{edition}: {leaving.reason}"
        self._journal.event("pruned", at=at, about=about, message=message)
        rows: Iterable[sqlite3.Row] = sql.execute(
            "SELECT file, size, sha256, fetched_at FROM stored_files WHERE sub_resource_id = ? ORDER BY file", (leaving.id,)
        ).fetchall()
        for row in rows:
            about = FileKey(folder.upstream, folder.resource, folder.sub_resource, row["file"])
            message = f"{row['size']} bytes, SHA-256 {row['sha256']}, fetched at {row['fetched_at']}"
            self._journal.event("pruned-file", at=at, about=about, message=message)


_REMOVE = (
    "DELETE FROM leaving WHERE sub_resource_id = ?",
    "DELETE FROM stored_files WHERE sub_resource_id = ?",
    "DELETE FROM parked_files WHERE sub_resource_id = ?",
    "DELETE FROM announced_files WHERE sub_resource_id = ?",
    "DELETE FROM archives WHERE sub_resource_id = ?",  # and with them their members
    "DELETE FROM extractions WHERE sub_resource_id = ?",
    "DELETE FROM wanted WHERE sub_resource_id = ?",
)
_EMPTY = (
    "UPDATE sub_resources SET state = 'listed', latest = 0, superseded_at = NULL, complete = 0, settled = NULL, settled_files = 0, "
    "settled_bytes = 0, folder_stamp = NULL, stored_files = 0, stored_bytes = 0 WHERE id = ?",
)
_FORGET = (
    "DELETE FROM footprints WHERE sub_resource_id = ?",
    "DELETE FROM search WHERE rowid = ?",
    "DELETE FROM sub_resources WHERE id = ?",  # and with it its terms and the listing of its files
)


def leaving_folders(connection: sqlite3.Connection) -> set[Folder]:
    """The sub-resources that are announced to leave, as any reader sees them; none in an index from before there was retention."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'leaving'").fetchone() is None:
        return set()
    rows = connection.execute(
        "SELECT s.upstream, s.resource, s.sub_resource FROM leaving l JOIN sub_resources s ON s.id = l.sub_resource_id"
    )
    return {Folder(*row) for row in rows}
