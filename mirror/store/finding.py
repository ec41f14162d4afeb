"""What people look for among what is offered: by words and filters, a page at a time, in bounded time.

Whatever somebody types, one question walks so many editions and takes so long, and no more: where that does not suffice, the answer
says so.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from heapq import nlargest
from typing import Literal

from mirror.errors import MirrorError
from mirror.store.offer import Offer, OfferedSub
from mirror.store.wording import match_of, plain, question_of, words_of
from mirror.vocabulary import fold_crs, fold_format, fold_zone

Column = Literal["edition", "zone", "format", "crs", "size", "updated", "id"]
"""What editions may be put in the order of."""

MOST_FOUND = 50_000
"""Editions that one search looks at; of what matches beyond, nothing is said but that there is more."""

_MOST_ORDERED = 2000  # editions that are put in order while somebody types
_TAKES_AT_MOST = 3.0  # seconds
_STEPS = 20_000  # of SQLite's machine, between two looks at the clock
_OFFERED = "s.complete = 1 AND s.stored_files > 0"
_COLUMNS: dict[Column, str] = {
    "edition": "s.edition_date",
    "zone": "s.zones",
    "format": "s.formats",
    "crs": "s.crs",
    "size": "s.stored_bytes",
    "updated": "s.updated",
    "id": "s.sub_resource",
}


class TooMuch(MirrorError):
    """An answer would take longer than others may be made to wait for it."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for; None and the empty text do not filter. Codes are compared folded, days of edition are included."""

    text: str = ""
    upstream: str | None = None
    resource: str | None = None
    zone: str | None = None
    format: str | None = None
    crs: str | None = None
    start: date | None = None
    end: date | None = None
    state: Literal["current", "superseded", "withdrawn"] | None = None
    latest: bool = False

    @property
    def is_all(self) -> bool:
        """Whether nothing narrows it, or only the upstream."""
        return self == Sought(upstream=self.upstream)


@dataclass(frozen=True, slots=True)
class FoundResource:
    """A resource with editions that match, how many of them there are, and some of the newest."""

    upstream: str
    resource: str
    title: str
    abstract: str
    editions: int
    newest: str | None
    shown: tuple[OfferedSub, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A page of what matches; `resources` and `editions` are the totals, as far as was looked (`whole`: to the end)."""

    page: tuple[FoundResource, ...]
    resources: int
    editions: int | None
    """None where everything is asked for, and nobody has counted."""

    whole: bool


@contextmanager
def bounded(offer: Offer, seconds: float = _TAKES_AT_MOST) -> Iterator[None]:
    """No question in here takes longer. Raises TooMuch."""
    until = time.monotonic() + seconds
    offer.connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise TooMuch("this question takes too long to answer; narrow it") from error
        raise
    finally:
        offer.connection.set_progress_handler(None, 0)


def search(offer: Offer, sought: Sought, *, limit: int, offset: int, each: int) -> Found:
    """The resources with editions that match, `each` of the newest of them with it. Those whose name it is come first."""
    if sought.is_all:
        return _all(offer, sought.upstream, limit, offset, each)
    where, values = _where(offer, sought)
    walk = "sub_resources s"
    if words := _words(sought.text):
        walk = "search CROSS JOIN sub_resources s ON s.id = search.rowid"
        where, values = f"search MATCH ? AND {where}", [match_of(words), *values]
    # No order is asked for: the walk ends as soon as there is more than can be shown.
    rows = offer.connection.execute(
        f"SELECT s.upstream, s.resource, s.edition_date, s.id FROM {walk} WHERE {where} LIMIT ?", [*values, MOST_FOUND + 1]
    ).fetchall()
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for row in rows[:MOST_FOUND]:
        groups.setdefault((row[0], row[1]), []).append((row[2] or "", row[3]))
    names = {plain(word) for word in words_of(sought.text)}

    def rank(key: tuple[str, str]) -> tuple[int, str, str]:
        return -len(names & {plain(word) for word in words_of(key[1])}), key[1].casefold(), key[0]

    page = sorted(groups, key=rank)[offset : offset + limit]
    found = tuple(_found(offer, *key, len(groups[key]), nlargest(each, groups[key])) for key in page)
    return Found(found, len(groups), min(len(rows), MOST_FOUND), len(rows) <= MOST_FOUND)


def _all(offer: Offer, upstream: str | None, limit: int, offset: int, each: int) -> Found:
    of = "" if upstream is None else " AND r.upstream = ?"
    values = [] if upstream is None else [upstream]
    keys = offer.connection.execute(
        "SELECT r.upstream, r.resource FROM resources r WHERE EXISTS (SELECT 1 FROM sub_resources s WHERE "
        f"{_OFFERED} AND s.upstream = r.upstream AND s.resource = r.resource){of} ORDER BY r.resource COLLATE NOCASE, r.upstream",
        values,
    ).fetchall()
    found = []
    for name, resource in keys[offset : offset + limit]:
        editions, newest = _counted(offer, name, resource, each)
        found.append(_found(offer, name, resource, editions, newest))
    return Found(tuple(found), len(keys), None, whole=True)


def _counted(offer: Offer, upstream: str, resource: str, each: int) -> tuple[int, list[tuple[str, int]]]:
    of = f"FROM sub_resources s WHERE {_OFFERED} AND s.upstream = ? AND s.resource = ?"
    count = offer.connection.execute(f"SELECT count(*) {of}", (upstream, resource)).fetchone()[0]
    newest = offer.connection.execute(
        f"SELECT coalesce(s.edition_date, ''), s.id {of} ORDER BY 1 DESC, s.sub_resource LIMIT ?", (upstream, resource, each)
    )
    return count, [(row[0], row[1]) for row in newest]


def _found(offer: Offer, upstream: str, resource: str, editions: int, newest: list[tuple[str, int]]) -> FoundResource:
    row = offer.connection.execute(
        "SELECT title, abstract FROM resources WHERE upstream = ? AND resource = ?", (upstream, resource)
    ).fetchone()
    title, abstract = (row[0], row[1]) if row is not None else ("", "")
    shown = tuple(offer.subs_by_id([number for _, number in newest]))
    return FoundResource(upstream, resource, title, abstract, editions, newest[0][0] or None if newest else None, shown)


def editions(
    offer: Offer, sought: Sought, *, order: Column, descending: bool, limit: int, offset: int
) -> tuple[list[OfferedSub], int]:
    """The editions that match, of a resource, in an order; and how many there are in all."""
    where, values = _of_resource(offer, sought)
    total = offer.connection.execute(f"SELECT count(*) FROM sub_resources s WHERE {where}", values).fetchone()[0]
    turn = " DESC" if descending else ""
    then = "s.edition_date DESC, s.sub_resource" if order != "edition" else "s.zones, s.sub_resource"
    rows = offer.connection.execute(
        f"SELECT s.id FROM sub_resources s WHERE {where} ORDER BY {_COLUMNS[order]}{turn}, {then} LIMIT ? OFFSET ?",
        [*values, limit, offset],
    )
    return offer.subs_by_id([row[0] for row in rows]), total


@dataclass(frozen=True, slots=True)
class Ground:
    """Editions on the same ground: its `footprint` as the index has it, the codes of their zones, how many they are."""

    footprint: str
    zones: str
    editions: int
    sub_resource: str
    """One of them: the only one, where there is one."""


def grounds(offer: Offer, sought: Sought, *, limit: int) -> list[Ground]:
    """The grounds of the editions of a resource that match, at most so many."""
    where, values = _of_resource(offer, sought)
    rows = offer.connection.execute(
        "SELECT s.footprint, s.zones, count(*), max(s.sub_resource) FROM sub_resources s "
        f"WHERE {where} AND s.footprint IS NOT NULL GROUP BY s.zones, s.footprint LIMIT ?",
        [*values, limit],
    )
    return [Ground(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Missing:
    """An edition that is wanted and not all here, or not sound.

    `here` are the files of it that are sound, `damaged` those that `verify` has found gone or wrong; `reason` is why one of its
    files cannot be had, None where nobody has said so.
    """

    sub_resource: str
    here: int
    listed: int | None
    reason: str | None
    damaged: int


def missing(offer: Offer, upstream: str, resource: str, *, limit: int) -> tuple[list[Missing], int]:
    """The editions of a resource that some subscription wants and that cannot be offered, at most so many; and their number."""
    where = (
        f"s.upstream = ? AND s.resource = ? AND NOT ({_OFFERED}) AND s.withdrawn_at IS NULL "
        "AND s.id IN (SELECT w.sub_resource_id FROM wanted w)"
    )
    total = offer.connection.execute(f"SELECT count(*) FROM sub_resources s WHERE {where}", (upstream, resource)).fetchone()[0]
    damaged = (
        "(SELECT count(*) FROM stored_files f WHERE f.sub_resource_id = s.id AND f.verified_at IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM announced_files a WHERE a.sub_resource_id = s.id AND a.file = f.file))"
    )
    rows = offer.connection.execute(
        f"SELECT s.sub_resource, s.stored_files - {damaged}, s.listed_files, "
        f"(SELECT p.reason FROM parked_files p WHERE p.sub_resource_id = s.id LIMIT 1), {damaged} "
        f"FROM sub_resources s WHERE {where} ORDER BY s.sub_resource LIMIT ?",
        (upstream, resource, limit),
    )
    return [Missing(*row) for row in rows], total


def members(offer: Offer, sub_id: int, *, endings: tuple[str, ...], limit: int) -> list[tuple[str, str]]:
    """The members of an edition's archives whose names end so, as archive and path inside it."""
    tests = " OR ".join("lower(m.member) LIKE ?" for _ in endings)
    rows = offer.connection.execute(
        "SELECT a.archive, m.member FROM archives a JOIN members m ON m.archive_id = a.id "
        f"WHERE a.sub_resource_id = ? AND ({tests}) ORDER BY a.archive, m.position LIMIT ?",
        [sub_id, *(f"%{ending}" for ending in endings), limit],
    )
    return [(row[0], row[1]) for row in rows]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is offered of an upstream: editions, files, and their bytes."""

    upstream: str
    editions: int
    files: int
    size: int


def holdings(offer: Offer) -> list[Holdings]:
    """What is offered, by upstream."""
    rows = offer.connection.execute(
        "SELECT s.upstream, count(*), sum(s.stored_files), sum(s.stored_bytes) FROM sub_resources s "
        f"WHERE {_OFFERED} GROUP BY s.upstream ORDER BY s.upstream"
    )
    return [Holdings(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run, finished or not; `seconds` and `size` (bytes fetched) are 0 where nobody knows."""

    id: int
    command: str
    started_at: str
    finished_at: str | None
    outcome: str | None
    seconds: float
    files: int
    size: int


def runs(offer: Offer, *, limit: int) -> list[RunFacts]:
    """The last runs, the newest first."""
    rows = offer.connection.execute(
        "SELECT id, command, started_at, finished_at, outcome, "
        "coalesce((julianday(finished_at) - julianday(started_at)) * 86400.0, 0), "
        "CASE WHEN json_valid(report) THEN coalesce(json_extract(report, '$.done.add'), 0) "
        "+ coalesce(json_extract(report, '$.done.replace'), 0) ELSE 0 END, "
        "CASE WHEN json_valid(report) THEN coalesce(json_extract(report, '$.done.bytes'), 0) ELSE 0 END "
        "FROM runs ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [RunFacts(*row) for row in rows]


def choices(offer: Offer, kind: Literal["zone", "format", "crs"], *, limit: int) -> list[tuple[str, str]]:
    """The codes that editions can be narrowed by, with their labels."""
    # From one code to the next, off the index: there are few codes, whatever there is of editions.
    rows = offer.connection.execute(
        "WITH RECURSIVE c (code) AS (SELECT min(code) FROM sub_resource_terms WHERE kind = ?1 UNION ALL "
        "SELECT (SELECT min(t.code) FROM sub_resource_terms t WHERE t.kind = ?1 AND t.code > c.code) FROM c "
        "WHERE c.code IS NOT NULL) "
        "SELECT c.code, coalesce((SELECT max(label) FROM terms WHERE kind = ?1 AND code = c.code), '') FROM c "
        "WHERE c.code IS NOT NULL LIMIT ?2",
        (kind, limit),
    )
    return [(row[0], row[1]) for row in rows]


def suggested_resources(offer: Offer, text: str, *, limit: int) -> list[tuple[str, str, str]]:
    """Resources with every word, or the beginning of it, in their id or title: upstream, id and title."""
    words = [plain(word) for word in words_of(text)]
    found = []
    for row in offer.connection.execute("SELECT upstream, resource, title FROM resources ORDER BY resource COLLATE NOCASE"):
        own = [plain(word) for word in words_of(f"{row['resource']} {row['title']}")]
        if words and all(any(mine.startswith(word) for mine in own) for word in words) and _offers(offer, row[0], row[1]):
            found.append((row["upstream"], row["resource"], row["title"]))
            if len(found) == limit:
                break
    return found


def suggested_editions(offer: Offer, text: str, *, limit: int) -> list[OfferedSub]:
    """Editions that a text finds: those that are current before those that are superseded, the newest first."""
    if not (words := _words(text)):
        return []
    # Of very many, the first that are found are put in order.
    rows = offer.connection.execute(
        "SELECT id FROM (SELECT s.id, s.withdrawn_at, s.state, s.edition_date, s.sub_resource FROM search "
        f"CROSS JOIN sub_resources s ON s.id = search.rowid WHERE search MATCH ? AND {_OFFERED} LIMIT {_MOST_ORDERED}) "
        "ORDER BY withdrawn_at IS NOT NULL, state = 'superseded', edition_date DESC, sub_resource LIMIT ?",
        (match_of(words), limit),
    )
    return offer.subs_by_id([row[0] for row in rows])


def title_of(offer: Offer, upstream: str, resource: str) -> str:
    """The title of a resource; empty where it has none."""
    row = offer.connection.execute(
        "SELECT title FROM resources WHERE upstream = ? AND resource = ?", (upstream, resource)
    ).fetchone()
    return row[0] or "" if row is not None else ""


def _offers(offer: Offer, upstream: str, resource: str) -> bool:
    sql = f"SELECT 1 FROM sub_resources s WHERE {_OFFERED} AND s.upstream = ? AND s.resource = ? LIMIT 1"
    return offer.connection.execute(sql, (upstream, resource)).fetchone() is not None


def _words(text: str) -> tuple[str, ...]:
    """What the full-text index is asked for."""
    return question_of(text).words


def _of_resource(offer: Offer, sought: Sought) -> tuple[str, list[object]]:
    where, values = _where(offer, sought)
    if words := _words(sought.text):
        # The words of the resource are looked for too: the full-text index then lists no more than what is of it.
        own = " AND ".join(f'"{word}"' for word in words_of(sought.resource or ""))
        match = f"({match_of(words)})" + (f" AND (resource : ({own}))" if own else "")
        where, values = f"{where} AND s.id IN (SELECT rowid FROM search WHERE search MATCH ?)", [*values, match]
    return where, values


def _where(offer: Offer, sought: Sought) -> tuple[str, list[object]]:
    """All but the words of the text."""
    parts = [_OFFERED]
    values: list[object] = []

    def add(part: str, *given: object) -> None:
        parts.append(part)
        values.extend(given)

    if sought.upstream is not None:
        add("s.upstream = ?", sought.upstream)
    if sought.resource is not None:
        add("s.resource = ?", sought.resource)
    coded = (("zone", sought.zone, fold_zone), ("format", sought.format, fold_format), ("crs", sought.crs, fold_crs))
    for kind, code, fold in coded:
        if code is not None:
            add(_TERM, kind, fold(code))
    question = question_of(sought.text)
    if sought.text.strip() and not question.everything:
        add("0")  # no word in it: nothing is called so
    for end in question.extensions:
        form = fold_format(end)
        if offer.connection.execute("SELECT 1 FROM sub_resource_terms WHERE kind = 'format' AND code = ?", (form,)).fetchone():
            add(_TERM, "format", form)
        else:
            add(_ENDING, f"%.{end}", f"%.{end}.%")
    if sought.start:
        add("s.edition_date >= ?", sought.start.isoformat())
    if sought.end:
        add("s.edition_date <= ?", sought.end.isoformat())
    if sought.state == "withdrawn":
        add("s.withdrawn_at IS NOT NULL")
    elif sought.state is not None:
        add("s.withdrawn_at IS NULL AND (s.state = 'superseded') = ?", sought.state == "superseded")
    if sought.latest:
        add("s.latest = 1")
    return " AND ".join(parts), values


_TERM = "EXISTS (SELECT 1 FROM sub_resource_terms t WHERE t.kind = ? AND t.code = ? AND t.sub_resource_id = s.id)"
_ENDING = "EXISTS (SELECT 1 FROM stored_files f WHERE f.sub_resource_id = s.id AND (f.file LIKE ? OR f.file LIKE ?))"
