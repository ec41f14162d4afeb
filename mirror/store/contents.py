"""What is inside published archives, and what of them lies unpacked: the rows of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mirror.store.catalogue import to_text
from mirror.store.index import Index
from mirror.vocabulary import media_type_of


@dataclass(frozen=True, slots=True)
class Unprobed:
    """A published archive into which nobody has looked yet."""

    id: int
    unit_id: int
    upstream: str
    resource: str
    sub_resource: str
    archive: str


@dataclass(frozen=True, slots=True)
class Extraction:
    """What lies unpacked of a sub-resource, `files` in number, or why nothing does.

    `settled` is the sub-resource's own of that time: while it is the same, so is all that it was made of.
    """

    digest: str
    settled: str | None
    files: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """A file inside an archive: its path there, and its unpacked size in bytes where the archive says it."""

    member: str
    size: int | None


class Contents:
    """Reads and writes what is inside archives. Who writes has looked into the very files that are published."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def expect(self, unit_id: int, archives: Iterable[str]) -> None:
        """These archives have been published, or replaced: what was known of them is void, and they are to be looked into."""
        rows = [(unit_id, archive) for archive in archives]
        with self._index.transaction() as sql:
            sql.executemany("DELETE FROM archives WHERE sub_resource_id = ? AND archive = ?", rows)
            sql.executemany("INSERT INTO archives (sub_resource_id, archive) VALUES (?, ?)", rows)
            if rows:
                # What could not be unpacked before may be whole now, also under the same MD5.
                sql.execute("DELETE FROM extractions WHERE sub_resource_id = ? AND error IS NOT NULL", (unit_id,))

    def unprobed(self, upstream: str) -> list[Unprobed]:
        """The archives of an upstream that are still to be looked into."""
        rows = self._index.connection.execute(
            "SELECT a.id, s.id, s.upstream, s.resource, s.sub_resource, a.archive FROM archives a "
            "JOIN sub_resources s ON s.id = a.sub_resource_id WHERE a.probed_at IS NULL AND s.upstream = ? ORDER BY a.id",
            (upstream,),
        )
        return [Unprobed(*row) for row in rows]

    def record_members(self, archive_id: int, members: Sequence[Content], *, at: datetime) -> None:
        """What an archive holds."""
        with self._index.transaction() as sql:
            sql.execute(
                "UPDATE archives SET probed_at = ?, members = ?, bytes = ?, error = NULL WHERE id = ?",
                (to_text(at), len(members), sum(m.size or 0 for m in members), archive_id),
            )
            sql.execute("DELETE FROM members WHERE archive_id = ?", (archive_id,))
            # The archive may have been replaced in the meantime, and its row with it: then there is nothing to add to.
            sql.executemany(
                "INSERT INTO members (archive_id, position, member, size, type) SELECT id, ?, ?, ?, ? FROM archives WHERE id = ?",
                [(n, m.member, m.size, media_type_of(m.member), archive_id) for n, m in enumerate(members)],
            )

    def record_unreadable(self, archive_id: int, error: str, *, at: datetime) -> None:
        """An archive could not be looked into."""
        with self._index.transaction() as sql:
            sql.execute("UPDATE archives SET probed_at = ?, error = ? WHERE id = ?", (to_text(at), error, archive_id))

    # -- unpacked

    def files_of(self, unit_id: int) -> dict[str, str]:
        """The SHA-256 of every sound published file of a sub-resource, by name."""
        rows = self._index.connection.execute(
            "SELECT file, sha256 FROM stored_files WHERE sub_resource_id = ? AND verified_at IS NOT NULL", (unit_id,)
        )
        return {row["file"]: row["sha256"] for row in rows}

    def extractions(self, unit_ids: Iterable[int]) -> dict[int, Extraction]:
        """What is known to lie unpacked of these sub-resources, or to have failed."""
        rows = self._index.connection.execute(
            "SELECT * FROM extractions WHERE sub_resource_id IN (SELECT value FROM json_each(?))", (json.dumps(list(unit_ids)),)
        )
        return {row["sub_resource_id"]: Extraction(row["digest"], row["settled"], row["files"], row["error"]) for row in rows}

    def unpacked_bytes(self, unit_id: int) -> int:
        """How many bytes the archives of a sub-resource hold unpacked, as far as looking into them has shown."""
        (size,) = self._index.connection.execute(
            "SELECT coalesce(sum(bytes), 0) FROM archives WHERE sub_resource_id = ?", (unit_id,)
        ).fetchone()
        return int(size)

    def record_extraction(
        self,
        unit_id: int,
        digest: str,
        *,
        settled: str | None = None,
        files: int = 0,
        size: int = 0,
        error: str | None = None,
        at: datetime,
    ) -> None:
        """A sub-resource has been unpacked (`files` of `size` bytes), or could not be, for the reason `error`."""
        with self._index.transaction() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO extractions (sub_resource_id, digest, settled, extracted_at, files, bytes, error) "
                "VALUES (?,?,?,?,?,?,?)",
                (unit_id, digest, settled, None if error else to_text(at), files, size, error),
            )

    def still_unpacked(self, unit_id: int, settled: str | None) -> None:
        """What lies unpacked of a sub-resource is what its archives hold in its present state too."""
        with self._index.transaction() as sql:
            sql.execute("UPDATE extractions SET settled = ? WHERE sub_resource_id = ?", (settled, unit_id))

    def forget_extraction(self, unit_id: int) -> None:
        """Nothing of a sub-resource lies unpacked any longer."""
        with self._index.transaction() as sql:
            sql.execute("DELETE FROM extractions WHERE sub_resource_id = ?", (unit_id,))


def digest_of(sha256_by_name: Iterable[tuple[str, str]]) -> str:
    """Names a state of some files: changes when one of them does."""
    text = "\n".join(f"{name} {sha256}" for name, sha256 in sorted(sha256_by_name))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
