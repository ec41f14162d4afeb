"""What the mirror may tell others of and give away: editions that are here, complete and verified. Questions to the index only.

An edition is offered whole or not at all. While files of it are being replaced it stays in the listings, with the files that are
about to go: nobody who lists it in that moment may take it for gone. What `verify` has found wrong is not offered until it is
mended.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mirror.errors import MirrorError
from mirror.geometry import around, footprint_from_text, rectangle
from mirror.model import BBox, Footprint, RemoteFile, Resource, SubResource, Term
from mirror.planning.volumes import archive_of
from mirror.store.index import FILE, connect_reader, identity_of, reading_rows, why_unusable
from mirror.store.narrowing import EVERYTHING, OFFERED, Narrowing, where_of
from mirror.store.rows import box_of, day_of, strings_of
from mirror.vocabulary import media_type_of

Order = Literal["id", "title", "edition"]

_STEPS = 20_000  # of SQLite's machine, well under a millisecond, until it is asked whether to go on
_TOO_LONG = "this question takes too long; ask for less at once"

_FILE = """
SELECT f.id, f.file, f.url, f.size, f.md5, f.sha256, f.fetched_at, f.verified_at, l.media_type, l.rel, l.contents, l.position
  FROM stored_files f LEFT JOIN listed_files l ON l.sub_resource_id = f.sub_resource_id AND l.file = f.file
 WHERE f.sub_resource_id = ? AND (f.verified_at IS NOT NULL
       OR EXISTS (SELECT 1 FROM announced_files a WHERE a.sub_resource_id = f.sub_resource_id AND a.file = f.file))
 GROUP BY f.id
"""


class GivenUp(MirrorError):
    """A question that took too long, or whose answer nobody waits for any more."""


@dataclass(frozen=True, slots=True)
class OfferedResource:
    """A resource of which something is offered.

    `resource` is as upstream describes it, but for what depends on what is here: zones, formats, CRS, resolutions, editions,
    footprint (the box around it), and `updated`, which is never before the day on which it last changed here, so that whoever asks
    for what has changed since a day is told. `changed_at` is that moment, ISO 8601 in UTC. `size` is in bytes.
    """

    upstream: str
    resource: Resource
    changed_at: str
    sub_resources: int
    files: int
    size: int
    withdrawn: bool
    """Upstream has nothing of it any more."""


@dataclass(frozen=True, slots=True)
class OfferedSub:
    """An edition that is offered; `size` in bytes, moments in ISO 8601 (UTC).

    `sub.updated` is upstream's date, or ours where bytes were replaced under the same date of upstream's: who compares dates has to
    see that. `state` is `current`, `superseded` or `withdrawn`; `latest` marks the newest of its series, withdrawn or not.
    """

    id: int
    upstream: str
    sub: SubResource
    series: str
    state: str
    latest: bool
    withdrawn_at: str | None
    changed_at: str
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """A file that is offered: `remote` with the size and MD5 of the bytes that are here. `fetched_at` is ISO 8601 (UTC)."""

    id: int
    remote: RemoteFile
    size: int
    md5: str
    sha256: str
    fetched_at: str
    verified_at: str | None
    """None for the moments in which it is being replaced."""


class Offer:
    """Questions to the index of one root, by one thread. Raises IndexUnusable or Locked where it cannot be opened."""

    def __init__(self, root: Path, *, wait: float = 5.0) -> None:
        self.path = root / FILE
        self._identity = identity_of(self.path)
        self.connection = connect_reader(root, wait=wait)
        self._labels: dict[tuple[str, str, str], str] | None = None
        self._until: Callable[[], bool] = lambda: False
        self._schema = self.connection.execute("SELECT 1 FROM pragma_table_info('resources') WHERE name = 'identifier'").fetchone()

    def close(self) -> None:
        """Give the connection back."""
        self.connection.close()

    @contextmanager
    def asking(self, until: Callable[[], bool] = lambda: False) -> Iterator[sqlite3.Connection]:
        """All that is asked inside is of one state of the index. What SQLite refuses comes out as what users can do about it.

        Once `until` says so, asked every now and then, it is given up. Raises GivenUp.
        """
        self._labels = None
        self._until = until
        self.connection.set_progress_handler(until, _STEPS)
        try:
            with reading_rows():
                self.connection.execute("BEGIN")
                try:
                    yield self.connection
                finally:
                    self.connection.set_progress_handler(None, 0)
                    self.connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise GivenUp(_TOO_LONG) from error
            raise why_unusable(self.path, error) from error

    def check(self) -> None:
        """To be called by who works long on what was read. Raises GivenUp."""
        if self._until():
            raise GivenUp(_TOO_LONG)

    @property
    def version(self) -> int:
        """Of what is asked inside this `asking`: another number once anybody has changed the index."""
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    @property
    def is_outdated(self) -> bool:
        """Whether the index is another file by now, or has got a log: then this connection may not see what is done to it."""
        return identity_of(self.path) != self._identity

    def renew(self) -> None:
        """What is asked from here on, inside `asking`, is of the index as it is now."""
        self._labels = None
        self.connection.execute("ROLLBACK")
        self.connection.execute("BEGIN")

    @property
    def is_readable(self) -> bool:
        """Whether this index has what is asked here; one that an older version wrote has it after the next sync."""
        return self._schema is not None

    # -- resources

    def upstreams(self) -> list[str]:
        """The upstreams of which anything is offered."""
        rows = self.connection.execute(f"SELECT DISTINCT s.upstream FROM sub_resources s WHERE {OFFERED} ORDER BY 1")
        return [row[0] for row in rows]

    def resources(self, upstream: str) -> list[OfferedResource]:
        """What is offered of an upstream, in the order of the ids."""
        return [self._resource(row) for row in self._described(upstream, None)]

    def resource(self, upstream: str, resource: str) -> OfferedResource | None:
        """One of them; None where nothing of it is offered."""
        for row in self._described(upstream, resource):
            return self._resource(row)
        return None

    def titles(self, upstream: str) -> dict[str, str]:
        """What each resource is called of which something is offered."""
        rows = self.connection.execute(
            "SELECT r.resource, r.title FROM resources r WHERE r.upstream = ? AND EXISTS (SELECT 1 FROM sub_resources s "
            f"WHERE {OFFERED} AND s.upstream = r.upstream AND s.resource = r.resource) ORDER BY 1",
            (upstream,),
        )
        return {row["resource"]: row["title"] for row in rows}

    def identifiers(self, upstream: str) -> dict[str, str]:
        """Under which code catalogues know each resource of an upstream, empty where it states none; offered or not."""
        rows = self.connection.execute("SELECT resource, identifier FROM resources WHERE upstream = ? ORDER BY 1", (upstream,))
        return {row["resource"]: row["identifier"] for row in rows}

    def _described(self, upstream: str, resource: str | None) -> Iterable[_Described]:
        one = "" if resource is None else " AND s.resource = ?"
        values = [upstream, *([] if resource is None else [resource])]
        # Editions that are alike in their codes are put together: such groups are few. LEFT JOIN keeps the order of the tables.
        groups: dict[str, list[sqlite3.Row]] = {}
        for row in self.connection.execute(
            "SELECT s.resource, s.zones, s.formats, s.crs, s.resolutions, min(s.edition_date) AS first, "
            "max(s.edition_date) AS last, max(s.changed_at) AS changed_at, "
            "count(*) AS subs, sum(s.stored_files) AS files, sum(s.stored_bytes) AS size, "
            "min(s.withdrawn_at IS NOT NULL) AS withdrawn, "
            "min(f.west) AS west, min(f.south) AS south, max(f.east) AS east, max(f.north) AS north "
            "FROM sub_resources s LEFT JOIN footprints f ON f.sub_resource_id = s.id "
            f"WHERE {OFFERED} AND s.upstream = ?{one} "
            "GROUP BY s.resource, s.crs, s.formats, s.zones, s.resolutions ORDER BY s.resource",
            values,
        ):
            groups.setdefault(row["resource"], []).append(row)
        for name, alike in groups.items():
            row = self.connection.execute(
                "SELECT * FROM resources WHERE upstream = ? AND resource = ?", (upstream, name)
            ).fetchone()
            if row is not None:
                yield _Described(row, alike, around(map(box_of, alike)))

    def _resource(self, found: _Described) -> OfferedResource:
        row, alike = found.row, found.alike
        changed_at = max((group["changed_at"] or "" for group in alike), default="")
        return OfferedResource(
            row["upstream"],
            Resource(
                row["resource"],
                row["url"],
                row["title"],
                row["abstract"],
                newer(row["updated"], changed_at),
                day_of(min((group["first"] for group in alike if group["first"]), default=None)),
                day_of(max((group["last"] for group in alike if group["last"]), default=None)),
                zones=self._union(row["upstream"], "zone", alike),
                formats=self._union(row["upstream"], "format", alike),
                crs=self._union(row["upstream"], "crs", alike),
                resolutions=self._union(row["upstream"], "resolution", alike),
                footprint=rectangle(found.box) if found.box else None,
                identifier=row["identifier"],
            ),
            changed_at,
            sum(group["subs"] for group in alike),
            sum(group["files"] for group in alike),
            sum(group["size"] for group in alike),
            withdrawn=row["state"] == "withdrawn" or all(group["withdrawn"] for group in alike),
        )

    # -- editions

    def subs(
        self,
        upstream: str,
        resource: str,
        narrowing: Narrowing = EVERYTHING,
        *,
        order: Order = "id",
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
        keep: Callable[[Footprint], bool] | None = None,
    ) -> tuple[list[OfferedSub], int]:
        """The editions of a resource that are asked for, and how many there are beyond `limit` and `offset` too.

        `keep` judges their footprints, if it is given; what has none is then left out.
        """
        where, values = where_of(upstream, resource, narrowing)
        turn = " DESC" if descending else ""
        column = {"id": "s.sub_resource", "title": "s.title", "edition": "s.edition_date"}[order]
        ordered = f"ORDER BY {column}{turn}, s.sub_resource{turn}"
        if keep is not None:
            rows = self.connection.execute(
                f"SELECT s.id, s.footprint FROM sub_resources s WHERE {where} AND s.footprint IS NOT NULL {ordered}",
                values,
            )
            ids = []
            for row in rows:
                self.check()
                if keep(footprint_from_text(row["footprint"])):
                    ids.append(row["id"])
            total, ids = len(ids), ids[offset : None if limit is None else offset + limit]
            where, values = "s.id IN (SELECT value FROM json_each(?))", [json.dumps(ids)]
            window = ""
        else:
            total = self.connection.execute(f"SELECT count(*) FROM sub_resources s WHERE {where}", values).fetchone()[0]
            window = f"LIMIT {-1 if limit is None else int(limit)} OFFSET {int(offset)}"
        rows = self.connection.execute(f"SELECT s.* FROM sub_resources s WHERE {where} {ordered} {window}", values)
        return [self._sub(row) for row in rows], total

    def sub(self, upstream: str, resource: str, sub_resource: str) -> OfferedSub | None:
        """One edition; None where it is not offered."""
        row = self.connection.execute(
            f"SELECT s.* FROM sub_resources s WHERE {OFFERED} AND s.upstream = ? AND s.resource = ? AND s.sub_resource = ?",
            (upstream, resource, sub_resource),
        ).fetchone()
        return self._sub(row) if row is not None else None

    def offers(self, upstream: str, resource: str | None = None, sub_resource: str | None = None) -> bool:
        """Whether an edition is offered, or any of a resource or upstream."""
        columns = {"upstream": upstream, "resource": resource, "sub_resource": sub_resource}
        asked = {column: value for column, value in columns.items() if value is not None}
        where = " AND ".join([OFFERED, *(f"s.{column} = ?" for column in asked)])
        found = self.connection.execute(f"SELECT 1 FROM sub_resources s WHERE {where} LIMIT 1", (*asked.values(),)).fetchone()
        return found is not None

    def subs_by_id(self, ids: Sequence[int]) -> list[OfferedSub]:
        """The editions with these ids of the index, in this order."""
        rows = self.connection.execute(
            "SELECT s.* FROM sub_resources s WHERE s.id IN (SELECT value FROM json_each(?))", [json.dumps(list(ids))]
        )
        found = {row["id"]: self._sub(row) for row in rows}
        return [found[number] for number in ids if number in found]

    def series(self, upstream: str, series: str, *, limit: int, but: int) -> list[OfferedSub]:
        """The editions of a series, the newest first, without the one with the id `but`."""
        rows = self.connection.execute(
            f"SELECT s.* FROM sub_resources s WHERE {OFFERED} AND s.upstream = ? AND s.series = ? AND s.id <> ? "
            "ORDER BY s.latest DESC, s.edition_date DESC, s.sub_resource DESC LIMIT ?",
            (upstream, series, but, limit),
        )
        return [self._sub(row) for row in rows]

    def _sub(self, row: sqlite3.Row) -> OfferedSub:
        upstream, republished = row["upstream"], row["republished_at"]
        return OfferedSub(
            row["id"],
            upstream,
            SubResource(
                row["resource"],
                row["sub_resource"],
                row["url"],
                row["title"],
                row["abstract"],
                newer(row["updated"], republished) if republished else row["updated"],
                day_of(row["edition_date"]),
                zones=self.terms(upstream, "zone", strings_of(row["zones"])),
                formats=self.terms(upstream, "format", strings_of(row["formats"])),
                crs=self.terms(upstream, "crs", strings_of(row["crs"])),
                resolutions=self.terms(upstream, "resolution", strings_of(row["resolutions"])),
                footprint=footprint_from_text(row["footprint"]) if row["footprint"] else None,
            ),
            row["series"],
            "withdrawn" if row["withdrawn_at"] else "superseded" if row["state"] == "superseded" else "current",
            bool(row["latest"]),
            row["withdrawn_at"],
            row["changed_at"] or "",
            row["stored_files"],
            row["stored_bytes"],
        )

    # -- files

    def files(self, sub_id: int, *, limit: int | None = None, offset: int = 0, by_name: bool = False) -> list[OfferedFile]:
        """The files of an edition, by their names or in upstream's order (which is none); what it no longer lists comes last."""
        order = "f.file" if by_name else "l.position IS NULL, l.position, f.file"
        rows = self.connection.execute(
            f"{_FILE} ORDER BY {order} LIMIT ? OFFSET ?",
            (sub_id, -1 if limit is None else limit, offset),
        )
        return [_file(row) for row in rows]

    def file(self, upstream: str, resource: str, sub_resource: str, name: str) -> OfferedFile | None:
        """One file, also of an edition that is not offered as a whole: each that is here and sound may be had."""
        row = self.connection.execute(
            "SELECT id FROM sub_resources WHERE upstream = ? AND resource = ? AND sub_resource = ?",
            (upstream, resource, sub_resource),
        ).fetchone()
        if row is None:
            return None
        found = self.connection.execute(_FILE.replace("GROUP BY", "AND f.file = ? GROUP BY"), (row["id"], name)).fetchone()
        return _file(found) if found is not None else None

    # -- labels

    def labels(self, upstream: str, kind: str) -> list[tuple[str, str]]:
        """The codes of a kind (`zone`, `format`, `crs`, `resolution`) with their labels, as upstream publishes them."""
        rows = self.connection.execute("SELECT code, label FROM terms WHERE upstream = ? AND kind = ?", (upstream, kind))
        return [(row["code"], row["label"]) for row in rows]

    def terms(self, upstream: str, kind: str, codes: Iterable[str]) -> tuple[Term, ...]:
        """Codes of a kind with their labels; those have none that upstream has never said what they mean."""
        if self._labels is None:
            rows = self.connection.execute("SELECT upstream, kind, code, label FROM terms")
            self._labels = {(row["upstream"], row["kind"], row["code"]): row["label"] for row in rows}
        return tuple(Term(code, self._labels.get((upstream, kind, code), "")) for code in codes)

    def _union(self, upstream: str, kind: str, alike: Sequence[sqlite3.Row]) -> tuple[Term, ...]:
        column = kind if kind == "crs" else f"{kind}s"
        return self.terms(upstream, kind, sorted({code for group in alike for code in strings_of(group[column])}))


@dataclass(frozen=True, slots=True)
class _Described:
    """A resource's row, its editions in groups that are alike, and the box around them."""

    row: sqlite3.Row
    alike: Sequence[sqlite3.Row]
    box: BBox | None


def newer(published: str | None, changed_at: str) -> str | None:
    """Upstream's date, or the moment (to the second) of a change here on a later day."""
    if not changed_at or (published and published[:10] >= changed_at[:10]):
        return published
    return f"{changed_at[:19]}Z"


def _file(row: sqlite3.Row) -> OfferedFile:
    name = row["file"]
    listed = row["rel"] is not None
    return OfferedFile(
        row["id"],
        RemoteFile(
            name,
            row["url"],
            row["size"],
            row["md5"],
            (row["media_type"] if listed else "") or media_type_of(name),
            row["rel"] if listed else "section" if archive_of(name) not in (None, name) else "alternate",
            strings_of(row["contents"]) if listed else (),
        ),
        row["size"],
        row["md5"],
        row["sha256"],
        row["fetched_at"],
        row["verified_at"],
    )
