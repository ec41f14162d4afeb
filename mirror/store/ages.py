"""When each published file was last hashed: the order in which a scrub reads them, and what it writes down."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mirror.store.catalogue import to_text
from mirror.store.departures import leaving_folders
from mirror.store.holdings import Held
from mirror.store.index import Index
from mirror.store.tree import Folder

# The names of subscriptions travel as one JSON array: no SQL is put together from them.
_OF = (
    "FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id WHERE (?1 = '[]' OR s.id IN "
    "(SELECT sub_resource_id FROM wanted WHERE subscription IN (SELECT value FROM json_each(?1))))"
)
_HELD = (
    "SELECT f.id, s.upstream, s.resource, s.sub_resource, f.file, f.size, f.md5, f.sha256, f.verified_at IS NOT NULL, "
    "f.verified_at "
    "FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id WHERE f.id IN (SELECT value FROM json_each(?))"
)


@dataclass(frozen=True, slots=True)
class Aged:
    """A published file, with the moment at which its bytes were last hashed; None once a verification has found it wrong."""

    held: Held
    verified_at: str | None


def oldest_first(connection: sqlite3.Connection, subscriptions: Sequence[str] = ()) -> tuple[array[int], int]:
    """The row ids of what is published and not known to be wrong, those first that were hashed longest ago; and their bytes in all.

    Ids only: of millions of files they take some megabytes.
    """
    ids, size = array("q"), 0
    rows = connection.execute(
        f"SELECT f.id, f.size {_OF} AND f.verified_at IS NOT NULL "
        "ORDER BY f.verified_at, s.upstream, s.resource, s.sub_resource, f.file",
        (json.dumps(list(subscriptions)),),
    )
    for row in rows:
        ids.append(row[0])
        size += row[1]
    return ids, size


def known_wrong(connection: sqlite3.Connection, subscriptions: Sequence[str] = ()) -> list[Aged]:
    """What was published, has been found wrong since, and was not fetched again yet; in the order of the tree.

    What a prune has announced to take away is no fault.
    """
    rows = connection.execute(
        f"SELECT f.id {_OF} AND f.verified_at IS NULL ORDER BY s.upstream, s.resource, s.sub_resource, f.file",
        (json.dumps(list(subscriptions)),),
    )
    leaving = leaving_folders(connection)
    wrong = aged(connection, [row[0] for row in rows])
    return [one for one in wrong if Folder(one.held.upstream, one.held.resource, one.held.sub_resource) not in leaving]


def aged(connection: sqlite3.Connection, ids: Sequence[int]) -> list[Aged]:
    """These files as they are in the index now, in the order of `ids`; without those that are no longer there."""
    found = {row[0]: Aged(Held(*row[:-1]), row[-1]) for row in connection.execute(_HELD, (json.dumps(list(ids)),))}
    return [found[i] for i in ids if i in found]


def longest_ago(connection: sqlite3.Connection, subscriptions: Sequence[str] = ()) -> str | None:
    """When the file was hashed whose hashing is longest ago; None if there is none."""
    (moment,) = connection.execute(f"SELECT min(f.verified_at) {_OF}", (json.dumps(list(subscriptions)),)).fetchone()
    return None if moment is None else str(moment)


def renew(index: Index, sound: Iterable[tuple[Aged, datetime]]) -> None:
    """These files were hashed at that moment and are what was published; rows that have changed since they were read stay."""
    with index.transaction() as sql:
        sql.executemany(
            "UPDATE stored_files SET verified_at = ? WHERE id = ? AND sha256 = ? AND verified_at IS ? "
            "AND sub_resource_id NOT IN (SELECT sub_resource_id FROM leaving)",
            [(to_text(at), one.held.id, one.held.sha256, one.verified_at) for one, at in sound],
        )
