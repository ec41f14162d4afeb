"""What the upstreams list, as of the last complete listings: resources, sub-resources and their files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from sys import intern

from mirror.geometry import footprint_from_text
from mirror.model import Footprint, RemoteFile, Resource, SubResource, Term
from mirror.planning.changes import Scope, files_digest, fingerprint, publication
from mirror.planning.series import series_key
from mirror.store.index import Index, reading_rows
from mirror.store.rows import array_text, codes_text, day_of, day_text, folded_terms, ground_text, strings_of
from mirror.store.wording import search_words


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """`high_water` is the newest day of publication seen, `full_listed_at` when all resources were last listed."""

    high_water: date | None = None
    full_listed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListingFacts:
    """For which state of the resource a listing was made, and when."""

    fingerprint: str
    listed_at: datetime


@dataclass(frozen=True, slots=True)
class Unit:
    """A sub-resource with what the index knows of it. Sizes in bytes.

    `settled` names the listing and file globs for which it was complete, with how many files of how many bytes, and `folder_stamp`
    its folder's mtime in ns at that time.
    """

    id: int
    sub: SubResource
    fingerprint: str
    series: str
    files_fingerprint: str | None
    files_listed_at: datetime | None
    files_digest: str | None
    listed_files: int
    listed_bytes: int
    settled: str | None
    settled_files: int
    settled_bytes: int
    folder_stamp: int | None
    stored_files: int


def to_text(moment: datetime) -> str:
    """ISO 8601 in UTC, to the microsecond, so that text sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def from_text(text: str | None) -> datetime | None:
    """The reverse of `to_text`."""
    return datetime.fromisoformat(text) if text else None


class Catalogue:
    """Reads and writes complete listings. Callers hand in only listings that were proved complete."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._labels: dict[tuple[str, str, str], str] = {
            (row["upstream"], row["kind"], row["code"]): row["label"] for row in index.connection.execute("SELECT * FROM terms")
        }
        self._known_terms: dict[tuple[str, str, str], tuple[Term, ...]] = {}

    # -- upstreams and resources

    @reading_rows()
    def upstream(self, upstream: str) -> UpstreamFacts:
        """How far the listing of an upstream has come."""
        row = self._index.connection.execute("SELECT * FROM upstreams WHERE upstream = ?", (upstream,)).fetchone()
        if row is None:
            return UpstreamFacts()
        high_water = date.fromisoformat(row["high_water"]) if row["high_water"] else None
        return UpstreamFacts(high_water, from_text(row["full_listed_at"]))

    def save_upstream(self, upstream: str, facts: UpstreamFacts) -> None:
        """Record how far the listing of an upstream has come."""
        with self._index.transaction() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO upstreams (upstream, high_water, full_listed_at) VALUES (?, ?, ?)",
                (
                    upstream,
                    facts.high_water.isoformat() if facts.high_water else None,
                    to_text(facts.full_listed_at) if facts.full_listed_at else None,
                ),
            )

    @reading_rows()
    def resources(self, upstream: str) -> dict[str, Resource]:
        """The resources that the upstream listed last, by id."""
        rows = self._index.connection.execute(
            "SELECT * FROM resources WHERE upstream = ? AND state = 'listed' ORDER BY resource", (upstream,)
        )
        return {row["resource"]: self._resource(row) for row in rows}

    def save_resources(
        self, upstream: str, resources: Sequence[Resource], *, complete: bool, facts: UpstreamFacts | None = None
    ) -> None:
        """Take in a capabilities listing and how far it came; `complete` says that a resource missing from it is withdrawn."""
        with self._index.transaction() as sql:
            if facts is not None:
                self.save_upstream(upstream, facts)
            known = {
                row["resource"]: (row["fingerprint"], row["state"])
                for row in sql.execute("SELECT resource, fingerprint, state FROM resources WHERE upstream = ?", (upstream,))
            }
            for resource in resources:
                print_ = fingerprint(resource)
                if known.get(resource.id) == (print_, "listed"):
                    continue
                self._save_labels(upstream, resource)
                sql.execute(
                    "INSERT INTO resources (upstream, resource, title, abstract, updated, edition_from, edition_to, zones, "
                    "formats, crs, resolutions, footprint, url, fingerprint, identifier) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) "
                    "ON CONFLICT (upstream, resource) DO UPDATE SET title=excluded.title, abstract=excluded.abstract, "
                    "updated=excluded.updated, edition_from=excluded.edition_from, edition_to=excluded.edition_to, "
                    "zones=excluded.zones, formats=excluded.formats, crs=excluded.crs, resolutions=excluded.resolutions, "
                    "footprint=excluded.footprint, url=excluded.url, fingerprint=excluded.fingerprint, "
                    "identifier=excluded.identifier, state='listed'",
                    (
                        upstream,
                        resource.id,
                        resource.title,
                        resource.abstract,
                        resource.updated,
                        day_text(resource.edition_from),
                        day_text(resource.edition_to),
                        *codes_text(resource),
                        ground_text(resource),
                        resource.url,
                        print_,
                        resource.identifier,
                    ),
                )
            # No reason to take a resource in again, so that it is looked after by itself.
            sql.executemany(
                "UPDATE resources SET identifier = ?3 WHERE upstream = ?1 AND resource = ?2 AND identifier <> ?3",
                [(upstream, resource.id, resource.identifier) for resource in resources],
            )
            if complete:
                gone = known.keys() - {resource.id for resource in resources}
                sql.executemany(
                    "UPDATE resources SET state = 'withdrawn' WHERE upstream = ? AND resource = ?",
                    [(upstream, name) for name in gone],
                )
                sql.executemany("DELETE FROM listings WHERE upstream = ? AND resource = ?", [(upstream, name) for name in gone])

    # -- sub-resources

    @reading_rows()
    def listings(self, upstream: str) -> dict[str, dict[str, ListingFacts]]:
        """The complete listings of sub-resources, by resource and scope key."""
        found: dict[str, dict[str, ListingFacts]] = {}
        for row in self._index.connection.execute("SELECT * FROM listings WHERE upstream = ?", (upstream,)):
            facts = ListingFacts(row["fingerprint"], datetime.fromisoformat(row["listed_at"]))
            found.setdefault(row["resource"], {})[row["scope"]] = facts
        return found

    @reading_rows()
    def save_listing(
        self,
        upstream: str,
        resource: Resource,
        scopes: Collection[Scope],
        subs: Sequence[SubResource],
        *,
        at: datetime,
    ) -> list[str]:
        """Take in the complete listing of `resource` under `scopes`; returns the ids that it shows to be withdrawn."""
        with self._index.transaction() as sql:
            rows = sql.execute("SELECT * FROM sub_resources WHERE upstream = ? AND resource = ?", (upstream, resource.id))
            known = {row["sub_resource"]: row for row in rows}
            for sub in subs:
                row = known.get(sub.id)
                print_ = fingerprint(sub)
                if row is None or row["fingerprint"] != print_:
                    self._save_sub_resource(sql, upstream, resource, sub, print_, at)
                if row is not None and row["withdrawn_at"] is not None:
                    sql.execute("UPDATE sub_resources SET withdrawn_at = NULL, state = 'listed' WHERE id = ?", (row["id"],))
            gone = [
                row
                for name, row in known.items()
                if row["withdrawn_at"] is None
                and name not in {sub.id for sub in subs}
                and any(scope.holds(self._sub_resource(row, _nowhere)) for scope in scopes)
            ]
            sql.executemany("UPDATE sub_resources SET withdrawn_at = ? WHERE id = ?", [(to_text(at), row["id"]) for row in gone])
            sql.executemany(
                "INSERT OR REPLACE INTO listings (upstream, resource, scope, fingerprint, listed_at) VALUES (?,?,?,?,?)",
                [(upstream, resource.id, scope.key, fingerprint(resource), to_text(at)) for scope in scopes],
            )
        return [row["sub_resource"] for row in gone]

    def doubt(self, upstream: str, resource: str, unit_id: int | None = None) -> None:
        """A listing that was due could not be had: what is known of it stays, and it is due again in the next run."""
        with self._index.transaction() as sql:
            if unit_id is None:
                sql.execute("DELETE FROM listings WHERE upstream = ? AND resource = ?", (upstream, resource))
            else:
                sql.execute("UPDATE sub_resources SET files_fingerprint = NULL WHERE id = ?", (unit_id,))

    def withdraw_resources(self, upstream: str, *, at: datetime) -> list[tuple[str, str]]:
        """Mark the sub-resources of withdrawn resources as withdrawn; returns (resource, sub-resource) of each."""
        with self._index.transaction() as sql:
            rows = sql.execute(
                "SELECT id, resource, sub_resource FROM sub_resources WHERE upstream = ? AND withdrawn_at IS NULL AND resource IN "
                "(SELECT resource FROM resources WHERE upstream = ? AND state = 'withdrawn')",
                (upstream, upstream),
            ).fetchall()
            sql.executemany("UPDATE sub_resources SET withdrawn_at = ? WHERE id = ?", [(to_text(at), row["id"]) for row in rows])
        return [(row["resource"], row["sub_resource"]) for row in rows]

    @reading_rows()
    def units(self, upstream: str, *, footprints: bool = False) -> list[Unit]:
        """All sub-resources that the upstream lists now. Footprints are read only on demand: they weigh more than all the rest."""
        ground = footprint_from_text if footprints else _nowhere
        rows = self._index.connection.execute(
            "SELECT s.* FROM sub_resources s JOIN resources r ON r.upstream = s.upstream AND r.resource = s.resource "
            "WHERE s.upstream = ? AND s.withdrawn_at IS NULL AND r.state = 'listed' ORDER BY s.resource, s.sub_resource",
            (upstream,),
        )
        return [self._unit(row, ground) for row in rows]

    def unit(self, upstream: str, resource: str, sub_resource: str) -> Unit:
        """One sub-resource that is in the index. Raises LookupError."""
        row = self._index.connection.execute(
            "SELECT * FROM sub_resources WHERE upstream = ? AND resource = ? AND sub_resource = ?",
            (upstream, resource, sub_resource),
        ).fetchone()
        if row is None:
            raise LookupError(sub_resource)
        with reading_rows():
            return self._unit(row, _nowhere)

    @reading_rows()
    def reread(self, unit_ids: Iterable[int]) -> dict[int, Unit]:
        """These sub-resources as they are in the index now, by row id, without footprints."""
        rows = self._index.connection.execute(
            "SELECT * FROM sub_resources WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(unit_ids)),)
        )
        return {row["id"]: self._unit(row, _nowhere) for row in rows}

    # -- files

    def save_files(self, unit: Unit, files: Sequence[RemoteFile], *, at: datetime) -> None:
        """Take in the complete listing of files of a sub-resource."""
        with self._index.transaction() as sql:
            sql.execute("DELETE FROM listed_files WHERE sub_resource_id = ?", (unit.id,))
            sql.executemany(
                "INSERT INTO listed_files (sub_resource_id, position, file, url, size, md5, media_type, rel, contents) "
                "VALUES (?,?,?,?,?,?,?,?,?)",
                [
                    (unit.id, n, f.name, f.url, f.size, f.md5, f.media_type, f.rel, array_text(f.contents))
                    for n, f in enumerate(files)
                ],
            )
            sql.execute(
                "UPDATE sub_resources SET files_fingerprint = ?, files_listed_at = ?, files_digest = ?, listed_files = ?, "
                "listed_bytes = ? WHERE id = ?",
                (
                    unit.fingerprint,
                    to_text(at),
                    files_digest(files, publication(unit.sub.updated, at)),
                    len(files),
                    sum(f.size or 0 for f in files),
                    unit.id,
                ),
            )
            # A change to a full-text row costs as much as the twenty rows of its files: most have no word to add.
            words = search_words(unit.sub.id, files)
            row = sql.execute("SELECT files FROM search WHERE rowid = ?", (unit.id,)).fetchone()
            if row is not None and row["files"] != words:
                sql.execute("UPDATE search SET files = ? WHERE rowid = ?", (words, unit.id))

    @reading_rows()
    def files(self, unit_id: int) -> list[RemoteFile]:
        """The files that upstream lists in a sub-resource, in the feed's order."""
        rows = self._index.connection.execute("SELECT * FROM listed_files WHERE sub_resource_id = ? ORDER BY position", (unit_id,))
        return [
            RemoteFile(
                row["file"], row["url"], row["size"], row["md5"], intern(row["media_type"]), row["rel"], strings_of(row["contents"])
            )
            for row in rows
        ]

    # -- rows and objects

    def _save_sub_resource(
        self, sql: sqlite3.Connection, upstream: str, resource: Resource, sub: SubResource, print_: str, at: datetime
    ) -> None:
        self._save_labels(upstream, sub)
        (row_id,) = sql.execute(
            "INSERT INTO sub_resources (upstream, resource, sub_resource, title, abstract, edition_date, updated, zones, formats, "
            "crs, resolutions, footprint, url, series, fingerprint, listed_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) "
            "ON CONFLICT (upstream, resource, sub_resource) DO UPDATE SET title=excluded.title, abstract=excluded.abstract, "
            "edition_date=excluded.edition_date, updated=excluded.updated, zones=excluded.zones, formats=excluded.formats, "
            "crs=excluded.crs, resolutions=excluded.resolutions, footprint=excluded.footprint, url=excluded.url, "
            "series=excluded.series, fingerprint=excluded.fingerprint, listed_at=excluded.listed_at RETURNING id",
            (
                upstream,
                resource.id,
                sub.id,
                sub.title,
                sub.abstract,
                day_text(sub.edition_date),
                sub.updated,
                *codes_text(sub),
                ground_text(sub),
                sub.url,
                series_key(sub).slug,
                print_,
                to_text(at),
            ),
        ).fetchone()
        sql.execute("DELETE FROM sub_resource_terms WHERE sub_resource_id = ?", (row_id,))
        sql.executemany(
            "INSERT OR IGNORE INTO sub_resource_terms (kind, code, sub_resource_id) VALUES (?, ?, ?)",
            [(kind, fold(term.code), row_id) for kind, terms, fold in folded_terms(sub) for term in terms],
        )
        sql.execute("DELETE FROM footprints WHERE sub_resource_id = ?", (row_id,))
        if sub.footprint is not None:
            west, south, east, north = sub.footprint.bbox
            sql.execute("INSERT INTO footprints VALUES (?, ?, ?, ?, ?)", (row_id, west, east, south, north))
        labels = " ".join(f"{term.code} {term.label}" for _, terms, _ in folded_terms(sub) for term in terms)
        sql.execute("DELETE FROM search WHERE rowid = ?", (row_id,))
        sql.execute(
            "INSERT INTO search (rowid, resource, sub_resource, title, abstract, about_resource, labels, files) "
            "VALUES (?,?,?,?,?,?,?,'')",
            (row_id, resource.id, sub.id, sub.title, sub.abstract, f"{resource.title} {resource.abstract}", labels),
        )
        # The words of file names come back with the listing of files, which a new fingerprint asks for in any case.

    def _save_labels(self, upstream: str, entry: Resource | SubResource) -> None:
        kinds = ("zone", entry.zones), ("format", entry.formats), ("crs", entry.crs), ("resolution", entry.resolutions)
        for kind, terms in kinds:
            for term in terms:
                key = upstream, kind, term.code
                if term.label and self._labels.get(key) != term.label:
                    self._labels[key] = term.label
                    self._known_terms.clear()
                    self._index.connection.execute(
                        "INSERT OR REPLACE INTO terms (upstream, kind, code, label) VALUES (?, ?, ?, ?)", (*key, term.label)
                    )

    def _terms(self, upstream: str, kind: str, codes: str) -> tuple[Term, ...]:
        found = self._known_terms.get((upstream, kind, codes))
        if found is None:
            found = tuple(Term(code, self._labels.get((upstream, kind, code), "")) for code in strings_of(codes))
            self._known_terms[upstream, kind, codes] = found
        return found

    def _fields(self, row: sqlite3.Row) -> Mapping[str, tuple[Term, ...]]:
        upstream = row["upstream"]
        return {
            "zones": self._terms(upstream, "zone", row["zones"]),
            "formats": self._terms(upstream, "format", row["formats"]),
            "crs": self._terms(upstream, "crs", row["crs"]),
            "resolutions": self._terms(upstream, "resolution", row["resolutions"]),
        }

    def _resource(self, row: sqlite3.Row) -> Resource:
        return Resource(
            row["resource"],
            row["url"],
            row["title"],
            row["abstract"],
            row["updated"],
            day_of(row["edition_from"]),
            day_of(row["edition_to"]),
            **self._fields(row),
            footprint=footprint_from_text(row["footprint"]) if row["footprint"] else None,
            identifier=row["identifier"],
        )

    def _sub_resource(self, row: sqlite3.Row, ground: Callable[[str], Footprint | None]) -> SubResource:
        return SubResource(
            intern(row["resource"]),
            row["sub_resource"],
            row["url"],
            row["title"],
            "",  # nothing that decides reads the abstract
            row["updated"],
            day_of(row["edition_date"]),
            **self._fields(row),
            footprint=ground(row["footprint"]) if row["footprint"] else None,
        )

    def _unit(self, row: sqlite3.Row, ground: Callable[[str], Footprint | None]) -> Unit:
        return Unit(
            row["id"],
            self._sub_resource(row, ground),
            row["fingerprint"],
            row["series"],
            row["files_fingerprint"],
            from_text(row["files_listed_at"]),
            row["files_digest"],
            row["listed_files"] or 0,
            row["listed_bytes"] or 0,
            row["settled"],
            row["settled_files"],
            row["settled_bytes"],
            row["folder_stamp"],
            row["stored_files"],
        )


def _nowhere(_: str) -> None:
    return None
