"""What happened: runs, events, and how each subscription stands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mirror.amounts import count_text
from mirror.events import FileKey
from mirror.planning.retention import OLDEST_LISTING
from mirror.store.catalogue import to_text
from mirror.store.index import Index


@dataclass(frozen=True, slots=True)
class Standing:
    """How a subscription stands after a run. `bytes` are those of its files that are here."""

    subscription: str
    upstream: str
    outcome: str
    expected: int
    present: int
    bytes: int
    failures: int
    parked: int
    upstream_date: str | None


REPLACED = "*; * in the place of other bytes"
"""A glob on what an event `published` says where files took the place of others."""


ONE_FILE = "1 file,"
"""How what an event `published` says begins where it is about the file that it names, and no other."""


def publication_text(files: int, size: int, replaced: int) -> str:
    """What an event `published` says: how many files came, their bytes, and how many of them took the place of others."""
    text = f"{count_text(files, 'file')}, {size} bytes"
    return f"{text}; {replaced} in the place of other bytes" if replaced else text


class Journal:
    """Writes runs and events; what is written stays."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.run: int | None = None
        """The id of the run that has begun."""

    def start(self, command: str, subscriptions: Sequence[str], *, at: datetime) -> None:
        """A run begins. Runs that never finished were killed: their rows keep saying so."""
        with self._index.transaction() as sql:
            sql.execute("UPDATE runs SET outcome = 'killed' WHERE finished_at IS NULL AND outcome IS NULL")
            (self.run,) = sql.execute(
                "INSERT INTO runs (command, started_at, subscriptions) VALUES (?, ?, ?) RETURNING id",
                (command, to_text(at), json.dumps(list(subscriptions), ensure_ascii=False)),
            ).fetchone()

    def finish(self, outcome: str, exit_code: int, requests: int, report: Mapping[str, object], *, at: datetime) -> None:
        """The run ends; `report` is the JSON that the command gave."""
        with self._index.transaction() as sql:
            sql.execute(
                "UPDATE runs SET finished_at = ?, outcome = ?, exit_code = ?, requests = ?, report = ? WHERE id = ?",
                (to_text(at), outcome, exit_code, requests, json.dumps(report, ensure_ascii=False), self.run),
            )

    def event(self, kind: str, *, at: datetime, about: FileKey, message: str = "") -> None:
        """One thing that users may ask about later; empty parts of `about` stay out."""
        with self._index.transaction() as sql:
            sql.execute(
                "INSERT INTO events (run_id, at, kind, upstream, resource, sub_resource, file, message) VALUES (?,?,?,?,?,?,?,?)",
                (
                    self.run,
                    to_text(at),
                    kind,
                    about.upstream,
                    about.resource or None,
                    about.sub_resource or None,
                    about.file or None,
                    message,
                ),
            )

    def standing(self, facts: Standing, *, at: datetime) -> None:
        """How a subscription stands now; a success is a run after which nothing that it wants is missing."""
        success = facts.outcome == "complete"
        with self._index.transaction() as sql:
            sql.execute(
                "INSERT INTO subscriptions (subscription, upstream, last_run_at, last_success_at, outcome, upstream_date, "
                "expected, present, bytes, failures, parked) VALUES (?,?,?,?,?,?,?,?,?,?,?) "
                "ON CONFLICT (subscription) DO UPDATE SET "
                "upstream=excluded.upstream, last_run_at=excluded.last_run_at, "
                "last_success_at=coalesce(excluded.last_success_at, last_success_at), outcome=excluded.outcome, "
                "upstream_date=coalesce(excluded.upstream_date, upstream_date), expected=excluded.expected, "
                "present=excluded.present, bytes=excluded.bytes, failures=excluded.failures, parked=excluded.parked",
                (
                    facts.subscription,
                    facts.upstream,
                    to_text(at),
                    to_text(at) if success else None,
                    facts.outcome,
                    facts.upstream_date,
                    facts.expected,
                    facts.present,
                    facts.bytes,
                    facts.failures,
                    facts.parked,
                ),
            )

    def last_counts(self, subscriptions: Sequence[str]) -> tuple[int, int, int]:
        """Files expected, present and verified as of the last runs that came far enough to count them, over these subscriptions."""
        row = self._index.connection.execute(
            "SELECT coalesce(sum(expected), 0), coalesce(sum(present), 0), coalesce(sum(expected - failures), 0) "
            "FROM subscriptions WHERE expected IS NOT NULL AND subscription IN (SELECT value FROM json_each(?))",
            (json.dumps(list(subscriptions)),),
        ).fetchone()
        return row[0], row[1], row[2]

    def attempted(self, subscriptions: Mapping[str, str], outcome: str, *, at: datetime) -> None:
        """A run of these subscriptions (name -> upstream) ended before they could be counted: only the attempt is recorded."""
        with self._index.transaction() as sql:
            sql.executemany(
                "INSERT INTO subscriptions (subscription, upstream, last_run_at, outcome) VALUES (?,?,?,?) "
                "ON CONFLICT (subscription) DO UPDATE SET last_run_at=excluded.last_run_at, outcome=excluded.outcome",
                [(name, upstream, to_text(at), outcome) for name, upstream in subscriptions.items()],
            )

    # -- whether the last listing was believed

    def listed(self, upstream: str, *, at: datetime) -> None:
        """An upstream was listed and believed; said only where the time before it was not, or the journal would consist of it."""
        if self.why_unlisted(upstream, at=at) is not None:
            self.event("upstream-listed", at=at, about=FileKey(upstream, "", "", ""))

    def unlisted(self, upstream: str, reason: str, *, at: datetime) -> None:
        """An upstream could not be listed, or what it lists was not believed."""
        self.event("upstream-unlisted", at=at, about=FileKey(upstream, "", "", ""), message=reason)

    def why_unlisted(self, upstream: str, *, at: datetime) -> str | None:
        """Why the last sync that tried could not list an upstream; None if it could, or if that is longer ago than matters."""
        row = self._index.connection.execute(
            "SELECT kind, message FROM events WHERE at >= ? AND upstream = ? AND kind IN ('upstream-listed', 'upstream-unlisted') "
            "ORDER BY +id DESC LIMIT 1",  # the sign: by the index of moments, not by walking all there ever was
            (to_text(at - OLDEST_LISTING), upstream),
        ).fetchone()
        return str(row["message"]) if row is not None and row["kind"] == "upstream-unlisted" else None
