"""Resources that upstream lists in a way that cannot be taken: without a usable id, or under one that no folder may have.

They are remembered until a complete listing no longer has them, as most runs list only what has changed: what may be wanted and is
not to be had must be said by every run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mirror.store.index import Index


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry of the capabilities that was left out. `name` is empty where it has no usable one."""

    name: str
    url: str
    reason: str


class RefusedEntries:
    """Reads and writes them."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def update(self, upstream: str, entries: Iterable[RefusedEntry], *, complete: bool) -> list[RefusedEntry]:
        """Take in those of a listing; `complete` says that it was one of everything. Returns all that are known now."""
        with self._index.transaction() as sql:
            if complete:
                sql.execute("DELETE FROM refused_entries WHERE upstream = ?", (upstream,))
            sql.executemany(
                "INSERT OR REPLACE INTO refused_entries (upstream, resource, url, reason) VALUES (?, ?, ?, ?)",
                [(upstream, entry.name, entry.url, entry.reason) for entry in entries],
            )
            rows = sql.execute("SELECT resource, url, reason FROM refused_entries WHERE upstream = ? ORDER BY 1, 3", (upstream,))
            return [RefusedEntry(*row) for row in rows]

    def nameless(self, upstream: str) -> bool:
        """Whether an upstream lists something of which nobody can say what it is."""
        row = self._index.connection.execute("SELECT 1 FROM refused_entries WHERE upstream = ? AND resource = ''", (upstream,))
        return row.fetchone() is not None
