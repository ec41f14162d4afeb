"""Commands that are to be run for what happened: a queue in the index, so that no kill and no power cut loses one.

A run enters jobs with `HookQueue`, in the transaction of the fact that they are about. Who runs them reads with `open_jobs`, and
writes with `begun` and `ended`, each in a transaction of its own beside whatever run is under way.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mirror.store.catalogue import from_text, to_text
from mirror.store.index import Index, reading_rows

Hook = Literal["on_publish", "on_failure", "on_complete"]

_SAME = "subscription = ? AND hook = ? AND upstream = ? AND resource = ? AND sub_resource = ?"
_OPEN = f"{_SAME} AND finished_at IS NULL"


@dataclass(frozen=True, slots=True)
class HookJob:
    """A command to be run, or one that was given up.

    `whole` says that all wanted files of its sub-resource are here, `unpacked` that its archives lie unpacked in that state, `here`
    that anything of it is; `run_ended` that the run in which it came up has finished or is known to be dead.
    """

    id: int
    subscription: str
    hook: Hook
    upstream: str
    resource: str
    sub_resource: str
    publication: int
    handled: int
    facts: Mapping[str, Any]
    attempts: int
    since: datetime | None
    next_try: datetime | None
    outcome: str | None
    message: str
    run_ended: bool
    here: bool
    whole: bool
    unpacked: bool

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What it is about: there is one open job for it at most."""
        return self.subscription, self.hook, self.upstream, self.resource, self.sub_resource


class HookQueue:
    """Enters jobs. `publishing` are the subscriptions that have a command for what is published."""

    def __init__(self, index: Index, publishing: Collection[str]) -> None:
        self._index = index
        self._publishing = frozenset(publishing)

    def notice(self, subscription: str, unit_ids: Iterable[int], *, run: int | None, at: datetime) -> None:
        """Let a subscription take notice of what was published in these sub-resources since it last did.

        One without a command takes notice as well: what came before it had one is not new to it.
        """
        with self._index.transaction() as sql:
            rows = sql.execute(
                "SELECT s.id, s.upstream, s.resource, s.sub_resource, s.publication, coalesce(h.publication, 0) AS handled "
                "FROM json_each(?2) j JOIN sub_resources s ON s.id = j.value "
                "LEFT JOIN hook_seen h ON h.sub_resource_id = s.id AND h.subscription = ?1 "
                "WHERE s.publication > coalesce(h.publication, 0)",
                (subscription, json.dumps(list(unit_ids))),
            ).fetchall()
            for row in rows:
                sql.execute(
                    "INSERT OR REPLACE INTO hook_seen (subscription, sub_resource_id, publication) VALUES (?, ?, ?)",
                    (subscription, row["id"], row["publication"]),
                )
                if subscription in self._publishing:
                    key = subscription, "on_publish", row["upstream"], row["resource"], row["sub_resource"]
                    self._enter(sql, key, run, at, publication=row["publication"], handled=row["handled"])

    def ran(
        self,
        subscription: str,
        hook: Literal["on_failure", "on_complete"],
        upstream: str,
        facts: Mapping[str, Any],
        *,
        run: int | None,
        at: datetime,
    ) -> None:
        """A run has ended with these `facts` for a subscription. What an earlier one published and nobody was told of is added."""
        with self._index.transaction() as sql:
            self._enter(sql, (subscription, hook, upstream, "", ""), run, at, facts=facts)

    def resume(self, subscription: str) -> None:
        """A sync has ended: what somebody has stopped, and `held`, may run again."""
        with self._index.transaction() as sql:
            sql.execute(
                "UPDATE hook_jobs SET next_try = NULL "
                "WHERE subscription = ? AND finished_at IS NULL AND outcome IS NULL AND next_try IS NOT NULL",
                (subscription,),
            )

    def _enter(
        self,
        sql: sqlite3.Connection,
        key: tuple[str, str, str, str, str],
        run: int | None,
        at: datetime,
        *,
        publication: int | None = None,
        handled: int | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """One job takes the place of the one that waits for the same thing: only how it stands last matters."""
        waiting = sql.execute(f"DELETE FROM hook_jobs WHERE {_OPEN} RETURNING handled, facts", key).fetchone()  # noqa: S608
        if waiting is not None:
            handled = waiting["handled"]
            if facts is not None:
                facts = {**facts, "published": _joined(json.loads(waiting["facts"])["published"], facts["published"])}
        sql.execute(
            "INSERT INTO hook_jobs (subscription, hook, upstream, resource, sub_resource, run_id, publication, handled, facts, "
            "created_at) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (*key, run, publication, handled, None if facts is None else json.dumps(facts, ensure_ascii=False), to_text(at)),
        )


def _joined(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    named = [(one["resource"], one["sub_resource"]) for one in now]
    return [*(one for one in before if (one["resource"], one["sub_resource"]) not in named), *now]


def has_jobs(connection: sqlite3.Connection) -> bool:
    """Whether the index knows of jobs at all: one that an older version wrote, and no run has opened since, does not."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hook_jobs'").fetchone() is not None


def open_jobs(connection: sqlite3.Connection, *, run_under_way: bool) -> list[HookJob]:
    """Every job that is not done, those that were given up too, in the order in which they came up.

    `run_under_way` says that some run holds the root: then a run without an end may be that one, else it was killed.
    """
    if not has_jobs(connection):
        return []
    rows = connection.execute(
        "SELECT j.*, s.stored_files, s.complete, s.settled, e.settled AS unpacked, e.error, EXISTS (SELECT 1 FROM runs r "
        "WHERE r.id = j.run_id AND r.finished_at IS NULL AND r.outcome IS NULL) AS unfinished "
        "FROM hook_jobs j LEFT JOIN sub_resources s USING (upstream, resource, sub_resource) "
        "LEFT JOIN extractions e ON e.sub_resource_id = s.id WHERE j.finished_at IS NULL ORDER BY j.id"
    )
    with reading_rows():
        return [
            HookJob(
                row["id"],
                row["subscription"],
                row["hook"],
                row["upstream"],
                row["resource"],
                row["sub_resource"],
                row["publication"] or 0,
                row["handled"] or 0,
                json.loads(row["facts"] or "{}"),
                row["attempts"],
                from_text(row["since"]),
                from_text(row["next_try"]),
                row["outcome"],
                row["message"],
                run_ended=not (row["unfinished"] and run_under_way),
                here=bool(row["stored_files"]),
                whole=bool(row["complete"] and row["settled"]),
                unpacked=row["settled"] is not None and row["unpacked"] == row["settled"] and row["error"] is None,
            )
            for row in rows
        ]


def begun(sql: sqlite3.Connection, job: HookJob, *, at: datetime) -> bool:
    """An attempt begins; False if the job is no longer what it was: another one has taken its place, or somebody has run it."""
    changed = sql.execute(
        "UPDATE hook_jobs SET attempts = attempts + 1, started_at = ? WHERE id = ? AND attempts = ? AND finished_at IS NULL",
        (to_text(at), job.id, job.attempts),
    )
    return changed.rowcount == 1


def broken_off(sql: sqlite3.Connection, job: HookJob) -> None:
    """The attempt that had begun was ended by us, and counts for nothing."""
    sql.execute("UPDATE hook_jobs SET attempts = ?, started_at = NULL WHERE id = ?", (job.attempts, job.id))


def held(sql: sqlite3.Connection, subscription: str, *, until: datetime, at: datetime) -> None:
    """Somebody does not want the commands of a subscription to run now: what is due waits for the next sync, or until then."""
    sql.execute(
        "UPDATE hook_jobs SET next_try = ? WHERE subscription = ? AND finished_at IS NULL "
        "AND (outcome IS NULL OR (outcome = 'failed' AND next_try <= ?))",
        (to_text(until), subscription, to_text(at)),
    )


def done(sql: sqlite3.Connection, job: HookJob, message: str, *, at: datetime) -> None:
    """The command has succeeded. A job that has come up meanwhile goes on from this publication."""
    sql.execute(f"DELETE FROM hook_jobs WHERE {_SAME} AND outcome = 'done'", job.key)  # noqa: S608
    sql.execute(
        "UPDATE hook_jobs SET finished_at = ?, outcome = 'done', message = ?, next_try = NULL WHERE id = ?",
        (to_text(at), message, job.id),
    )
    sql.execute(f"UPDATE hook_jobs SET handled = max(coalesce(handled, 0), ?) WHERE {_OPEN}", (job.publication, *job.key))  # noqa: S608
    _event(sql, job, "hook-run", message, at)


def failed(sql: sqlite3.Connection, job: HookJob, message: str, *, next_try: datetime | None, at: datetime) -> None:
    """The command has failed; without a `next_try` it is given up."""
    sql.execute(
        "UPDATE hook_jobs SET outcome = ?, message = ?, next_try = ?, since = coalesce(since, ?) WHERE id = ?",
        ("failed" if next_try else "given-up", message, to_text(next_try) if next_try else None, to_text(at), job.id),
    )
    _event(sql, job, "hook-failed" if next_try else "hook-given-up", message, at)


def dropped(sql: sqlite3.Connection, job: HookJob) -> None:
    """There is nothing to run any more: the subscription has no such command now, or what was published has gone."""
    sql.execute("DELETE FROM hook_jobs WHERE id = ? AND finished_at IS NULL", (job.id,))


def _event(sql: sqlite3.Connection, job: HookJob, kind: str, message: str, at: datetime) -> None:
    sql.execute(
        "INSERT INTO events (at, kind, upstream, resource, sub_resource, message) VALUES (?,?,?,?,?,?)",
        (
            to_text(at),
            kind,
            job.upstream,
            job.resource or None,
            job.sub_resource or None,
            f"{job.subscription} {job.hook}: {message}",
        ),
    )
