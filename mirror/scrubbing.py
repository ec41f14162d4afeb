"""A rolling scrub: within a budget of time, hash again what was hashed longest ago; the next one goes on from there.

    oldest first -> look, hash (one file at a time, no lock) -> write down (the lock for a moment) -> repair, if asked

It reads beside syncs and everybody else, so it reads one file after the other, and takes the lock only to write down what it has
learnt. What a sync has changed meanwhile is left to the next scrub.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mirror.errors import GuardRefused, IndexUnusable, Locked
from mirror.events import Checked, Checking, Emit, Note
from mirror.settings import Settings
from mirror.store.ages import Aged, aged, known_wrong, longest_ago, oldest_first, renew
from mirror.store.holdings import Held, Holdings
from mirror.store.index import Index, connect_reader
from mirror.store.journal import Journal
from mirror.store.lock import root_lock
from mirror.store.tree import Folder, Tree
from mirror.sync import Clock, hold_lock, utc_now, wishes_of
from mirror.transfer.receive import sha256_file
from mirror.verifying import Fault, Findings, fetch_again, record_wrong, settle_killed

_ROWS = 200  # read at a time: an open read transaction would keep the write-ahead log from being folded in
_RECORD_EVERY = 30.0  # seconds: so much is read again after a kill
_LOCK_POLL = 0.2  # seconds
_BUSY = "another run holds the lock, so what this scrub has learnt is not written down; the next one reads it again"
_HASHED = ("SHA-256", "cannot be read")
"""How the problems begin that only reading shows, and that no second look need confirm."""


@dataclass(slots=True)
class Scrubbed(Findings):
    """What a scrub found. `budget` and `seconds` are what it might take and took; `files_left` are those it did not come to.

    `oldest_verified_at` is when the file was hashed that has waited longest now: every byte was seen right since then, but for the
    faults.
    """

    budget: float = 0.0
    seconds: float = 0.0
    files_left: int = 0
    oldest_verified_at: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The document of `verify --budget --json`."""
        return {
            **Findings.as_json(self),
            "budget": self.budget,
            "seconds": round(self.seconds, 3),
            "files_left": self.files_left,
            "oldest_verified_at": self.oldest_verified_at,
        }


async def scrub(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    budget: timedelta,
    repair: bool = False,
    wait: bool = False,
    emit: Emit = lambda event: None,
    now: Clock = utc_now,
    clock: Callable[[], float] = time.monotonic,
    grace: float = 5.0,
) -> Scrubbed:
    """Hash the files that were hashed longest ago until `budget` is used up; a file that was begun is read to its end.

    Needs no lock but to write down what it has learnt; if another run holds it for longer than `grace` seconds by then, that is not
    written down, and said. With `repair`, wrong files go to `.staging/quarantine` and their sub-resources are synced, which is not
    part of the budget. Cancelled, it stops within a block of hashing, and writes down what it has learnt. `clock` counts seconds.

    Raises:
        ConfigError: an unknown name.
        Locked: to repair, while another run holds the root at the beginning and `wait` is false.
        IndexUnusable: there is no index to compare with.
    """
    if names:
        wishes_of(settings, names)
    with closing(connect_reader(settings.root)):
        pass  # there must be an index: none is made on a disk that is not mounted
    if repair:
        # Who cannot repair should hear of it before half an hour of reading, not after.
        with await hold_lock(settings.root, wait=wait, emit=emit), Index(settings.root) as index:
            await settle_killed(Tree(settings.root), Holdings(index), Journal(index), at=now())
    work = _Scrub(settings, names, budget, repair, emit, now, clock)
    reading = asyncio.ensure_future(asyncio.to_thread(work.read))
    try:
        await asyncio.shield(reading)
    except asyncio.CancelledError:
        work.dropped = True
        await asyncio.wait([reading])
        if not work.record(at_last=True):
            emit(Note(_BUSY, "warning"))
        raise
    polls = grace / _LOCK_POLL
    while not (recorded := await asyncio.to_thread(work.record, at_last=True)) and (polls >= 1 or (wait and repair)):
        await asyncio.sleep(_LOCK_POLL)
        polls -= 1
    return await work.conclude(recorded=recorded, wait=wait)


class _Scrub:
    """One scrub under way."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        budget: timedelta,
        repair: bool,
        emit: Emit,
        now: Clock,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._names = names
        self._repair = repair
        self._emit = emit
        self._now = now
        self._clock = clock
        self._tree = Tree(settings.root)
        with closing(connect_reader(settings.root)) as reader:
            self._queue, self._bytes = oldest_first(reader, names)
            self._known = known_wrong(reader, names)
        if repair:
            # They are to be set aside, so it is time to look whether they still are wrong.
            self._queue = array("q", [one.held.id for one in self._known]) + self._queue
        self._findings = Scrubbed(hashed=True, budget=budget.total_seconds())
        self._sound: list[tuple[Aged, datetime]] = []
        self._wrong: list[tuple[Aged, str]] = []
        self._damaged: list[Held] = []
        self._passed = 0
        self._trouble = ""
        self.dropped = False

    # -- reading, in a thread

    def read(self) -> None:
        """Look at one file after the other until the budget is used up, or nobody waits for it any more."""
        self._emit(Checking(len(self._queue), self._bytes))
        began = recorded = self._clock()
        for one in self._files():
            if self.dropped or self._clock() - began >= self._findings.budget:
                break
            problem = self._problem(one.held)
            if self.dropped:
                break  # it was not read to its end
            self._take(one, problem)
            if self._clock() - recorded >= _RECORD_EVERY:
                self.record()
                recorded = self._clock()
        self._findings.seconds = self._clock() - began

    def _files(self) -> Iterator[Aged]:
        for start in range(0, len(self._queue), _ROWS):
            ids = self._queue[start : start + _ROWS]
            with closing(connect_reader(self._settings.root)) as reader:
                rows = {one.held.id: one for one in aged(reader, ids)}
            for row_id in ids:
                if row_id in rows:
                    yield rows[row_id]
                self._passed += 1

    def _take(self, one: Aged, problem: str | None) -> None:
        self._findings.files += 1
        self._findings.bytes += one.held.size
        self._emit(Checked(one.held.size))
        if problem is None:
            self._sound.append((one, self._now()))
        else:
            self._wrong.append((one, problem))

    def _problem(self, held: Held) -> str | None:
        if (problem := self._seen_problem(held)) is not None:
            return problem
        try:
            sha256 = sha256_file(self._path(held), lambda: self.dropped)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None if sha256 == held.sha256 else f"SHA-256 is {sha256}, {held.sha256} was published"

    def _seen_problem(self, held: Held) -> str | None:
        size = self._tree.published_size(Folder(held.upstream, held.resource, held.sub_resource), held.file)
        if size is None:
            return "missing"
        return None if size == held.size else f"{size} bytes, {held.size} were published"

    def _path(self, held: Held) -> Path:
        return self._tree.data / held.upstream / held.resource / held.sub_resource / held.file

    # -- writing down

    def record(self, *, at_last: bool = False) -> bool:
        """Write down what was learnt, and `at_last` what is wrong; False if another run holds the lock at this moment.

        Files that are wrong may be of a sync that was under way: only with the lock in hand is it sure that they are not.
        """
        if self._trouble or not (self._sound or (at_last and self._wrong)):
            return True
        try:
            connect_reader(self._settings.root).close()  # a disk that was taken away meanwhile must not get a new, empty index
            with root_lock(self._settings.root, brief=True), Index(self._settings.root) as index:
                renew(index, self._sound)
                self._sound = []
                if at_last:
                    self._record_wrong(index)
        except Locked:
            return False
        except (GuardRefused, IndexUnusable, sqlite3.Error, OSError) as error:
            self._trouble = f"what was verified could not be written down: {error}"
        return True

    def _record_wrong(self, index: Index) -> None:
        self._confirm(index.connection)
        # Interrupted, it repairs nothing: then what is wrong stays where it is.
        aside = self._repair and not self.dropped
        record_wrong(self._tree, Holdings(index), Journal(index), self._damaged, self._findings, quarantine=aside, at=self._now())

    def _confirm(self, connection: sqlite3.Connection) -> None:
        """What was found wrong becomes a fault, unless its row has changed or the file has come back: a sync was at work on it."""
        rows = {one.held.id: one for one in aged(connection, [one.held.id for one, _ in self._wrong])}
        for one, problem in self._wrong:
            if rows.get(one.held.id) != one or (not problem.startswith(_HASHED) and self._seen_problem(one.held) is None):
                continue
            self._damaged.append(one.held)
            self._findings.faults.append(self._fault(one.held, problem))
        self._wrong = []

    def _fault(self, held: Held, problem: str) -> Fault:
        return Fault(held.upstream, held.resource, held.sub_resource, held.file, str(self._path(held)), problem)

    # -- the end

    async def conclude(self, *, recorded: bool, wait: bool) -> Scrubbed:
        """Repair what was asked to be repaired, and say how things stand."""
        findings = self._findings
        if not recorded:
            self._trouble = _BUSY
        with closing(connect_reader(self._settings.root)) as reader:
            self._confirm(reader)
        if self._repair and self._damaged and not self._trouble:
            try:
                await fetch_again(self._settings, self._damaged, findings, emit=self._emit, wait=wait, now=self._now)
            except Locked as error:
                self._trouble = f"what is wrong is set aside, and fetched by the next sync: {error}"
        with closing(connect_reader(self._settings.root)) as reader:
            if not self._repair:
                still = {one.held.id for one in known_wrong(reader, self._names)}
                told = "found wrong before, and not fetched again yet; the next sync does"
                findings.faults += [self._fault(one.held, told) for one in self._known if one.held.id in still]
            findings.oldest_verified_at = longest_ago(reader, self._names)
        findings.files_left = len(self._queue) - self._passed
        if self._trouble:
            self._emit(Note(self._trouble, "warning"))
        return findings
