"""What an index that was made anew has still to learn from the tree: which upstreams' folders, and rows for what they hold.

The mark is set in the transaction that records an index's first run, and goes when all was taken in: a run that is killed in
between leaves it to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from mirror.model import Resource, SubResource
from mirror.store.catalogue import Catalogue, to_text
from mirror.store.holdings import Holdings, StoredFile
from mirror.store.index import Index


class Rebuilding:
    """Reads and writes the marks, and the rows of what only the tree still knows."""

    def __init__(self, index: Index, catalogue: Catalogue, holdings: Holdings) -> None:
        self._index = index
        self._catalogue = catalogue
        self._holdings = holdings

    @property
    def is_new(self) -> bool:
        """Whether no run was ever recorded in this index."""
        return self._index.connection.execute("SELECT 1 FROM runs").fetchone() is None

    def mark(self, upstreams: Iterable[str], *, at: datetime) -> None:
        """There are files of these upstreams that the index does not know. To be called as its first run is recorded."""
        with self._index.transaction() as sql:
            sql.executemany(
                "INSERT OR IGNORE INTO rebuilding (upstream, since) VALUES (?, ?)", [(name, to_text(at)) for name in upstreams]
            )

    def marked(self) -> frozenset[str]:
        """The upstreams whose files are still to be taken in."""
        return frozenset(row[0] for row in self._index.connection.execute("SELECT upstream FROM rebuilding"))

    def done(self, upstream: str) -> None:
        """All that was found of an upstream is in the index."""
        with self._index.transaction() as sql:
            sql.execute("DELETE FROM rebuilding WHERE upstream = ?", (upstream,))

    def siblings(self, upstream: str, resource: str) -> list[SubResource]:
        """The sub-resources of a resource that are in the index."""
        return [unit.sub for unit in self._catalogue.units(upstream) if unit.sub.resource == resource]

    def take_in_listed(
        self, unit_id: int, files: Iterable[tuple[str | None, Sequence[StoredFile]]], *, whole: bool, at: datetime
    ) -> None:
        """Published files of a sub-resource that upstream lists and nobody wants, by the day of publication that they are of.

        `whole` says that they are all that it lists.
        """
        with self._index.transaction() as sql:
            for updated, group in files:
                self._holdings.record(unit_id, updated, group, at=at)
            if whole:
                sql.execute("UPDATE sub_resources SET complete = 1 WHERE id = ?", (unit_id,))

    def take_in_withdrawn(
        self, upstream: str, sub: SubResource, files: Sequence[StoredFile], *, series: str | None, at: datetime
    ) -> None:
        """Published files of a sub-resource that upstream no longer lists; what `sub` says of it is what its name tells.

        `series` is the name of its series where that is known otherwise.

        It counts as complete: nobody can say any more what it lacks, and it was published under the rule that it appears whole.
        """
        with self._index.transaction() as sql:
            resource = Resource(sub.resource, "")
            key = upstream, sub.resource
            if sql.execute("SELECT 1 FROM resources WHERE upstream = ? AND resource = ?", key).fetchone() is None:
                self._catalogue.save_resources(upstream, [resource], complete=False)
                sql.execute("UPDATE resources SET state = 'withdrawn', fingerprint = '' WHERE upstream = ? AND resource = ?", key)
            self._catalogue.save_listing(upstream, resource, (), [sub], at=at)
            (unit_id,) = sql.execute(
                "UPDATE sub_resources SET withdrawn_at = ?, state = 'withdrawn', complete = 1, series = coalesce(?, series) "
                "WHERE upstream = ? AND resource = ? AND sub_resource = ? RETURNING id",
                (to_text(at), series, *key, sub.id),
            ).fetchone()
            self._holdings.record(unit_id, None, files, at=at)
