"""What is here: published files, and which edition of a series is the newest. What is parked is in `parked`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from mirror.model import RemoteFile, SubResource
from mirror.planning.plan import Kept
from mirror.planning.series import edition_order
from mirror.planning.volumes import archives_in
from mirror.store.catalogue import to_text
from mirror.store.contents import Contents
from mirror.store.index import Index, reading_rows
from mirror.store.parked import ParkedFiles
from mirror.store.tree import Folder

_CLOCK_BEHIND = timedelta(days=60)
"""Changes that are noted further in the future were noted by a clock that was ahead, not by one that is right now."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A published file with the facts it was verified with. `size` in bytes, hashes in lower-case hex."""

    remote: RemoteFile
    size: int
    md5: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Announced:
    """A file that a run was about to publish or, if `leaving`, to set aside; `updated` is of its sub-resource."""

    unit_id: int
    upstream: str
    resource: str
    sub_resource: str
    updated: str | None
    file: StoredFile

    @property
    def leaving(self) -> bool:
        """Such a file is announced without an address: it is not to be had there any longer."""
        return not self.file.remote.url


@dataclass(frozen=True, slots=True)
class Held:
    """A published file as `verify` reads it back. `size` in bytes; `sound` until a verification finds it wrong."""

    id: int
    upstream: str
    resource: str
    sub_resource: str
    file: str
    size: int
    md5: str
    sha256: str
    sound: bool


class Holdings:
    """Reads and writes what is published. The caller has put the bytes in place, durably, before a row says so."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._contents = Contents(index)
        self.parked = ParkedFiles(index)

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[object]:
        """Group what follows into one commit; if `durable`, one that a power cut cannot undo."""
        return self._index.transaction(durable=durable)

    def indexed(self, unit_id: int) -> dict[str, Kept]:
        """What the index says is published of a sub-resource, by file name."""
        rows = self._index.connection.execute(
            "SELECT file, size, md5, updated, verified_at FROM stored_files WHERE sub_resource_id = ?", (unit_id,)
        )
        return {row["file"]: Kept(row["size"], row["md5"], row["updated"], row["verified_at"] is not None) for row in rows}

    def announce(self, unit_id: int, updated: str | None, files: Iterable[StoredFile], leaving: Iterable[str] = ()) -> None:
        """Files are about to be published, others to be set aside: until `record` and `forget` nobody is told that what they
        replace, or what leaves, is here.
        """
        rows = [(unit_id, f.remote.name, f.remote.url, f.size, f.md5, f.sha256, updated) for f in files]
        going = [(unit_id, name) for name in leaving]
        with self._index.transaction() as sql:
            sql.executemany("INSERT OR REPLACE INTO announced_files VALUES (?,?,?,?,?,?,?)", rows)
            sql.executemany(
                "INSERT OR REPLACE INTO announced_files SELECT sub_resource_id, file, '', size, md5, sha256, updated "
                "FROM stored_files WHERE sub_resource_id = ? AND file = ?",
                going,
            )
            sql.executemany(
                "UPDATE stored_files SET verified_at = NULL WHERE sub_resource_id = ? AND file = ?",
                [*(row[:2] for row in rows), *going],
            )
            sql.execute("UPDATE sub_resources SET settled = NULL WHERE id = ?", (unit_id,))

    def announced(self) -> list[Announced]:
        """What was announced and neither recorded nor disowned."""
        rows = self._index.connection.execute(
            "SELECT a.*, s.upstream, s.resource, s.sub_resource FROM announced_files a "
            "JOIN sub_resources s ON s.id = a.sub_resource_id"
        )
        return [
            Announced(
                row["sub_resource_id"],
                row["upstream"],
                row["resource"],
                row["sub_resource"],
                row["updated"],
                StoredFile(RemoteFile(row["file"], row["url"]), row["size"], row["md5"], row["sha256"]),
            )
            for row in rows
        ]

    def disown(self, announced: Announced, sha256: str | None, *, at: datetime) -> None:
        """What was announced of a file has not happened; `sha256` is of what is in its place: if that is the file from before, it
        is sound again.
        """
        key = announced.unit_id, announced.file.remote.name
        with self._index.transaction() as sql:
            sql.execute("DELETE FROM announced_files WHERE sub_resource_id = ? AND file = ?", key)
            sql.execute(
                "UPDATE stored_files SET verified_at = ? WHERE sub_resource_id = ? AND file = ? AND sha256 = ?",
                (to_text(at), *key, sha256),
            )

    def forget(self, unit_id: int, files: Iterable[str]) -> None:
        """Files have been set aside out of the published tree: their rows go, and the counts of their sub-resource."""
        with self._index.transaction() as sql:
            for file in files:
                row = sql.execute(
                    "DELETE FROM stored_files WHERE sub_resource_id = ? AND file = ? RETURNING size", (unit_id, file)
                ).fetchone()
                sql.execute("DELETE FROM announced_files WHERE sub_resource_id = ? AND file = ?", (unit_id, file))
                if row is not None:
                    sql.execute(
                        "UPDATE sub_resources SET stored_files = stored_files - 1, stored_bytes = stored_bytes - ? WHERE id = ?",
                        (row["size"], unit_id),
                    )

    def record(
        self, unit_id: int, updated: str | None, files: Sequence[StoredFile], *, fresh: Collection[str] = (), at: datetime
    ) -> None:
        """Files have been published: their rows, the counts of their sub-resource, and an end to their being parked.

        `updated` is the `publication` of their sub-resource that they were fetched from. The files named in `fresh` were put into
        the tree, not found there: where their bytes are new, that is a publication of which subscriptions take notice.
        """
        moment = to_text(at)
        rows = [(unit_id, f.remote.name, f.remote.url, f.size, f.md5, f.sha256, updated, moment, moment) for f in files]
        with self._index.transaction() as sql:
            names = unit_id, json.dumps([row[1] for row in rows])
            new = self._new_bytes(sql, unit_id, [f for f in files if f.remote.name in fresh])
            if new:
                self._date_change(sql, unit_id, updated, moment)
            replaced, replaced_bytes = sql.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM stored_files "
                "WHERE sub_resource_id = ? AND file IN (SELECT value FROM json_each(?))",
                names,
            ).fetchone()
            sql.executemany(
                "INSERT INTO stored_files (sub_resource_id, file, url, size, md5, sha256, updated, fetched_at, verified_at) "
                "VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (sub_resource_id, file) DO UPDATE SET url=excluded.url, "
                "size=excluded.size, md5=excluded.md5, sha256=excluded.sha256, updated=excluded.updated, "
                "fetched_at=excluded.fetched_at, verified_at=excluded.verified_at",
                rows,
            )
            sql.execute("DELETE FROM parked_files WHERE sub_resource_id = ? AND file IN (SELECT value FROM json_each(?))", names)
            self._contents.expect(unit_id, [archive.name for archive in archives_in(row[1] for row in rows)])
            sql.execute("DELETE FROM announced_files WHERE sub_resource_id = ? AND file IN (SELECT value FROM json_each(?))", names)
            sql.execute(
                "UPDATE sub_resources SET stored_files = stored_files + ?, stored_bytes = stored_bytes + ?, "
                "settled = NULL WHERE id = ?",
                (len(rows) - replaced, sum(row[3] for row in rows) - replaced_bytes, unit_id),
            )
            if new or sql.execute("SELECT 1 FROM sub_resources WHERE id = ? AND changed_at IS NULL", (unit_id,)).fetchone():
                self._change(sql, unit_id, moment)
            if new:
                sql.execute("UPDATE sub_resources SET publication = publication + 1 WHERE id = ?", (unit_id,))
                sql.execute(
                    "UPDATE stored_files SET publication = (SELECT publication FROM sub_resources WHERE id = ?1) "
                    "WHERE sub_resource_id = ?1 AND file IN (SELECT value FROM json_each(?2))",
                    (unit_id, json.dumps(new)),
                )

    def _date_change(self, sql: sqlite3.Connection, unit_id: int, updated: str | None, moment: str) -> None:
        """New bytes come in. Whoever has taken this sub-resource from here sees that by its date, or by ours if it has none that
        is new: upstream's are days. Nobody has taken it that was never complete.
        """
        sql.execute(
            "UPDATE sub_resources SET republished_at = CASE WHEN (complete OR settled_files > 0) AND EXISTS (SELECT 1 FROM "
            "stored_files WHERE sub_resource_id = ?2 AND substr(updated, 1, 10) IS substr(?3, 1, 10)) THEN ?1 END WHERE id = ?2",
            (self._change(sql, unit_id, moment), unit_id, updated),
        )

    def _change(self, sql: sqlite3.Connection, unit_id: int, moment: str) -> str:
        """What is offered of a sub-resource changes: the moment of that, which is written down.

        It comes after every change that was told before, whatever the clock says now: whoever asks for what is new since then would
        else not be told. A clock that was far ahead once does not count.
        """
        (newest,) = sql.execute(
            "SELECT max(o.changed_at) FROM sub_resources s JOIN sub_resources o ON o.upstream = s.upstream "
            "WHERE s.id = ? AND o.changed_at < ?",
            (unit_id, to_text(datetime.fromisoformat(moment) + _CLOCK_BEHIND)),
        ).fetchone()
        if newest is not None and newest > moment:
            moment = to_text(datetime.fromisoformat(newest) + timedelta(seconds=1))
        sql.execute("UPDATE sub_resources SET changed_at = ? WHERE id = ?", (moment, unit_id))
        return moment

    def _new_bytes(self, sql: sqlite3.Connection, unit_id: int, files: Sequence[StoredFile]) -> list[str]:
        """The names of those files that are not what was published under their names before: a repair brings nothing new."""
        if not files:
            return []
        before = dict(
            sql.execute(
                "SELECT file, sha256 FROM stored_files WHERE sub_resource_id = ? AND file IN (SELECT value FROM json_each(?))",
                (unit_id, json.dumps([f.remote.name for f in files])),
            ).fetchall()
        )
        return [f.remote.name for f in files if before.get(f.remote.name) != f.sha256]

    def settle(self, unit_id: int, settled: str, folder_stamp: int | None, *, files: int, size: int, at: datetime) -> None:
        """Every wanted file of a sub-resource is here: `files` of `size` bytes in all.

        `settled` names the listing and the filter for which that holds, `folder_stamp` the state of the folder. From now on it is
        offered: if it was not before, that is a change to those who look.
        """
        with self._index.transaction() as sql:
            if not sql.execute("SELECT complete FROM sub_resources WHERE id = ?", (unit_id,)).fetchone()[0]:
                self._change(sql, unit_id, to_text(at))
            sql.execute(
                "UPDATE sub_resources SET complete = 1, settled = ?, folder_stamp = ?, settled_files = ?, settled_bytes = ? "
                "WHERE id = ?",
                (settled, folder_stamp, files, size, unit_id),
            )
            sql.execute("DELETE FROM parked_files WHERE sub_resource_id = ?", (unit_id,))

    def unsettle(self, unit_id: int) -> None:
        """A published file is gone. Until then, an older state of the whole sub-resource counts as complete."""
        with self._index.transaction() as sql:
            sql.execute("UPDATE sub_resources SET complete = 0, settled = NULL WHERE id = ?", (unit_id,))

    # -- series

    def knows(self, folder: Folder) -> bool:
        """Whether the index says that anything of this sub-resource is published."""
        row = self._index.connection.execute(
            "SELECT stored_files FROM sub_resources WHERE upstream = ? AND resource = ? AND sub_resource = ?",
            (folder.upstream, folder.resource, folder.sub_resource),
        ).fetchone()
        return bool(row and row["stored_files"])

    @reading_rows()
    def newest_of(self, upstream: str, series: str) -> tuple[str, str] | None:
        """The newest complete sub-resource of a series that is here, as (resource, sub-resource)."""
        rows = self._index.connection.execute(
            "SELECT resource, sub_resource, updated, edition_date FROM sub_resources "
            "WHERE upstream = ? AND series = ? AND complete AND stored_files",
            (upstream, series),
        )
        best = max(rows, key=lambda row: edition_order(_bare(row)), default=None)
        return (best["resource"], best["sub_resource"]) if best is not None else None

    @reading_rows()
    def refresh_states(self, upstream: str, *, at: datetime) -> dict[str, tuple[str, str]]:
        """Work out `latest`, `state` and `superseded_at` of every sub-resource; returns (resource, sub-resource) of the newest by
        series.

        A sub-resource counts as superseded from the first time on that this finds a newer complete edition beside it, withdrawn or
        not. A moment that lies after `at` was written by a clock that has been set back since: `at` takes its place.
        """
        moment = to_text(at)
        with self._index.transaction() as sql:
            rows = sql.execute(
                "SELECT id, resource, sub_resource, updated, edition_date, series, state, latest, superseded_at, withdrawn_at, "
                "complete, stored_files, EXISTS (SELECT 1 FROM parked_files p WHERE p.sub_resource_id = s.id) AS parked "
                "FROM sub_resources s WHERE upstream = ?",
                (upstream,),
            ).fetchall()
            order = {row["id"]: edition_order(_bare(row)) for row in rows if row["stored_files"]}
            newest: dict[str, sqlite3.Row] = {}
            for row in rows:
                if row["stored_files"] and row["complete"]:
                    best = newest.setdefault(row["series"], row)
                    if order[best["id"]] < order[row["id"]]:
                        newest[row["series"]] = row
            changes = []
            for row in rows:
                best_row = newest.get(row["series"])
                latest = int(best_row is not None and best_row["id"] == row["id"])
                here = bool(row["stored_files"])
                newer_is_here = here and best_row is not None and order[row["id"]] < order[best_row["id"]]
                since = min(row["superseded_at"] or moment, moment) if newer_is_here else None
                if not here:
                    state = "parked" if row["parked"] else "listed"
                elif row["withdrawn_at"] is not None:
                    state = "withdrawn"
                else:
                    state = "superseded" if newer_is_here else "current"
                if (state, latest, since) != (row["state"], row["latest"], row["superseded_at"]):
                    changes.append((state, latest, since, row["id"]))
            sql.executemany("UPDATE sub_resources SET state = ?, latest = ?, superseded_at = ? WHERE id = ?", changes)
        return {series: (row["resource"], row["sub_resource"]) for series, row in newest.items()}

    # -- verify

    def mark_verified(self, ids: Iterable[int], *, at: datetime) -> None:
        """These files were hashed and are what was published."""
        with self._index.transaction() as sql:
            sql.executemany("UPDATE stored_files SET verified_at = ? WHERE id = ?", [(to_text(at), i) for i in ids])

    def is_listed(self, stored_id: int) -> bool:
        """Whether upstream still lists a published file, so that it could be had again."""
        row = self._index.connection.execute(
            "SELECT 1 FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id "
            "JOIN listed_files l ON l.sub_resource_id = s.id AND l.file = f.file WHERE f.id = ? AND s.withdrawn_at IS NULL",
            (stored_id,),
        ).fetchone()
        return row is not None

    def mark_damaged(self, ids: Iterable[int]) -> None:
        """These files are gone or are not what was published: the next sync fetches them again."""
        with self._index.transaction() as sql:
            for i in ids:
                sql.execute("UPDATE stored_files SET verified_at = NULL WHERE id = ?", (i,))
                sql.execute(
                    "UPDATE sub_resources SET settled = NULL, complete = 0 "
                    "WHERE id = (SELECT sub_resource_id FROM stored_files WHERE id = ?)",
                    (i,),
                )

    # -- subscriptions

    def save_wanted(self, subscription: str, unit_ids: Iterable[int]) -> None:
        """Which sub-resources a subscription wants, as of this sync."""
        with self._index.transaction() as sql:
            sql.execute("DELETE FROM wanted WHERE subscription = ?", (subscription,))
            sql.executemany("INSERT INTO wanted VALUES (?, ?)", [(subscription, i) for i in unit_ids])


def held_files(connection: sqlite3.Connection, subscriptions: Sequence[str] = ()) -> Iterator[Held]:
    """Every published file, in the order of the tree; only those that `subscriptions` want, if any are named."""
    # The names travel as one JSON array: no SQL is put together from them.
    rows = connection.execute(
        "SELECT f.id, s.upstream, s.resource, s.sub_resource, f.file, f.size, f.md5, f.sha256, f.verified_at IS NOT NULL "
        "FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id WHERE ?1 = '[]' OR s.id IN "
        "(SELECT sub_resource_id FROM wanted WHERE subscription IN (SELECT value FROM json_each(?1))) "
        "ORDER BY s.upstream, s.resource, s.sub_resource, f.file",
        (json.dumps(list(subscriptions)),),
    )
    for row in rows:
        yield Held(*row)


def _bare(row: sqlite3.Row) -> SubResource:
    """As much of a sub-resource as its place among the editions depends on."""
    day = date.fromisoformat(row["edition_date"]) if row["edition_date"] else None
    return SubResource(row["resource"], row["sub_resource"], "", updated=row["updated"], edition_date=day)
