"""Carries out what is due and what is handed over, one sync after the other; what is due at the same time is one sync.

What is handed over and what is due take turns. While the window is closed nothing scheduled begins, and what is under way is broken
off: its partial files stay, and it is due again when the window opens.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, tzinfo

from mirror.errors import Locked, MirrorError, os_error_text
from mirror.events import Emit, Note, RunBegan, RunEnded, fan_out
from mirror.planning.agenda import Turn, allowed_from, begun, corrected, crashed, due_at, ended
from mirror.planning.schedule import Timing
from mirror.planning.timetable import Window
from mirror.service.jobs import Job
from mirror.service.memory import Handed, Memory, remember, remembered
from mirror.service.timing import timings, window_of
from mirror.settings import Settings
from mirror.store.catalogue import to_text
from mirror.store.query import Reader
from mirror.sync import Clock, Report, sync
from mirror.upstream.session import Patience

_MOST_HANDED = 32
_LOOK = 30.0  # seconds: a clock that was set is noticed after so long


@dataclass(frozen=True, slots=True)
class Due:
    """A scheduled subscription, and when its next run begins."""

    name: str
    at: datetime


class Runner:
    """The work of the service. One object for its whole life; `reload` gives it other settings."""

    def __init__(
        self,
        settings: Settings,
        emit: Emit,
        now: Clock,
        *,
        share: float = 0.0,
        patience: Patience | None = None,
        finish: Callable[[Job, Report | None, MirrorError | None], None] = Job.end,
    ) -> None:
        """`share` is that of this host in the jitter, 0 to 1; `finish` ends a job whose sync has ended, at once or later."""
        self.settings = settings
        self.current: Job | None = None
        self.runs = 0
        self._emit = emit
        self._now = now
        self._share = share
        self._patience = patience
        self._finish = finish
        self._handed: deque[Job] = deque()
        self._turns: dict[str, Turn] = {}
        self._timings: dict[str, Timing] = {}
        self._window: tuple[Window | None, tzinfo] = window_of(settings, share)
        self._wake = asyncio.Event()
        self._stopping = False
        self._last_origin = ""
        self._task: asyncio.Task[Report] | None = None

    # -- what is due

    def start(self) -> None:
        """Take up what is remembered. Call once, before `run`."""
        self._timings = timings(self.settings, self._share)
        memory, now = remembered(self.settings.root), self._now()
        for name, timing in self._timings.items():
            turn = memory.turns.get(name, Turn())
            self._turns[name] = crashed(turn, timing, now) if turn.begun_at is not None else turn
        for one in memory.handed:
            names = tuple(name for name in one.names if name in self.settings.subscription)
            if names and not one.is_hopeless:
                self._emit(Note(f"goes on with the sync of {', '.join(names)} that a command asked for", "notice"))
                self._handed.append(Job(names, "command", retry=one.retry, starts=one.starts))
        self._remember()

    def reload(self, settings: Settings) -> None:
        """Go on with other settings. A run under way ends with those that it began with."""
        found, window = timings(settings, self._share), window_of(settings, self._share)
        self.settings, self._timings, self._window = settings, found, window
        for name in found:
            self._turns.setdefault(name, Turn())
        self._wake.set()

    def agenda(self, now: datetime | None = None) -> list[Due]:
        """The scheduled subscriptions, the next one first; of one that is being synced, what comes after that."""
        now = now or self._now()
        current = self.current
        under_way = current.names if current is not None else ()
        turns = self._corrected(now) | dict.fromkeys(under_way, Turn(now))
        # Asked from other threads too, while a reload may come in between.
        found = [
            Due(name, self._allowed(due_at(timing, turns.get(name, Turn()), now), now)) for name, timing in self._timings.items()
        ]
        return sorted(found, key=lambda due: (due.at, due.name))

    def _corrected(self, now: datetime) -> dict[str, Turn]:
        """What is remembered, as `now` has it be. Who only looks does not keep it: that is for who begins the next run."""
        timings, turns = self._timings, self._turns
        return {name: corrected(turn, timings[name], now) for name, turn in tuple(turns.items()) if name in timings}

    def _allowed(self, due: datetime, now: datetime) -> datetime:
        """When what is due may begin: what is late, not before the window is open now."""
        begins = allowed_from(due, *self._window)
        return allowed_from(now, *self._window) if begins < now else begins

    @property
    def zone(self) -> tzinfo:
        """The time zone in which people are told hours."""
        return self._window[1]

    @property
    def waiting(self) -> list[Job]:
        """What was handed over and has not begun."""
        return list(self._handed)

    # -- what is handed over

    def hand(self, job: Job) -> None:
        """Carry out this one too. Raises Locked where too many wait already."""
        if len(self._handed) >= _MOST_HANDED:
            raise Locked(f"{_MOST_HANDED} syncs wait for the service already; try later")
        self._handed.append(job)
        self._remember()
        self._wake.set()

    def ahead_of(self, job: Job) -> str:
        """What a job waits for, in words; empty if it does not."""
        if job is self.current or job not in self._handed:
            return ""
        return ", ".join((self.current or self._handed[0]).names)

    def withdraw(self, job: Job) -> None:
        """Stop a job that was handed over, or do not begin it."""
        job.cancel()
        if job in self._handed:
            self._handed.remove(job)
            self._remember()
            job.end(Report(outcome="interrupted", reason="withdrawn before it began; nothing was done"))

    def stop(self) -> None:
        """Begin nothing more; what is under way is broken off, and its partial files stay."""
        self._stopping = True
        self._cancel()
        for job in self.waiting:
            job.end(Report(outcome="interrupted", reason="the service has ended; the sync is done when it is started again"))
        self._wake.set()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # -- the work

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping:
            self._wake.clear()
            if (job := self._next()) is not None:
                await self._carry_out(job)
                continue
            await self._sleep()

    def _next(self) -> Job | None:
        """The next job: what was handed over and what is due take turns.

        What is due together is one sync, but for what failed last: that has one of its own, so that it fails for itself alone.
        """
        now = self._now()
        self._turns = self._corrected(now)
        due = [due.name for due in self.agenda(now) if due.at <= now]
        well = [name for name in due if not self._turns[name].failures]
        scheduled = Job(tuple(well or due[:1]), "schedule") if due else None
        if self._handed and not (scheduled is not None and self._last_origin == "command"):
            return self._handed.popleft()
        return scheduled

    async def _sleep(self) -> None:
        agenda = self.agenda()
        wait = min(_LOOK, max(0.0, (agenda[0].at - self._now()).total_seconds())) if agenda else _LOOK
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _carry_out(self, job: Job) -> None:
        settings, began = self.settings, self._now()
        self._begin(job, began)
        emit: Emit = fan_out(self._emit, job.emit)
        report: Report | None = None
        error: MirrorError | None = None
        self._task = asyncio.create_task(
            sync(settings, job.names, emit=emit, wait=job.wait, now=self._now, patience=self._patience, retry=job.retry)
        )
        job.on_cancel = self._cancel
        if job.cancelled or self._stopping:
            self._task.cancel()
        try:
            closed = await self._watch_window(job, self._task)
            report = self._task.result()
            if closed and report.outcome == "interrupted":
                report.reason = (
                    f"the window {settings.service.window} has closed; what was fetched is kept, and the run goes on in the next"
                )
        except MirrorError as problem:
            error = problem
        except asyncio.CancelledError:
            report = Report(outcome="interrupted", reason="interrupted before it began; nothing was done")
        except OSError as problem:
            error = MirrorError(os_error_text(problem))
        except Exception as problem:  # a mistake of ours: told in full, and the other subscriptions go on
            for line in traceback.format_exception(problem):
                for part in line.splitlines():
                    emit(Note(part, "warning"))
            error = MirrorError(f"a mistake in this program ended the run ({type(problem).__name__}: {problem}); please report it")
        finally:
            self._task = None
        self._end(job, report, error, settings, began)

    async def _watch_window(self, job: Job, task: asyncio.Task[Report]) -> bool:
        """Wait for the run to end, but no longer than the window is open; returns whether that has closed."""
        window, zone = self._window
        if job.origin == "command" or window is None:
            await asyncio.wait({task})
            return False
        while not task.done() and window.is_open(self._now(), zone):
            until = (window.next_change(self._now(), zone) - self._now()).total_seconds()
            self._wake.clear()
            woken = asyncio.ensure_future(self._wake.wait())
            await asyncio.wait({task, woken}, timeout=min(_LOOK, max(0.1, until)), return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
        if task.done():
            return False
        task.cancel()
        await asyncio.wait({task})
        return True

    def _begin(self, job: Job, at: datetime) -> None:
        self.current = job
        self._last_origin = job.origin
        if job.origin == "schedule":
            for name in job.names:
                self._turns[name] = begun(self._turns[name], at)
        job.starts += 1
        self._remember()
        self._emit(RunBegan(job.names, job.origin))

    def _end(self, job: Job, report: Report | None, error: MirrorError | None, settings: Settings, began: datetime) -> None:
        self.runs += 1
        at = self._now()
        outcomes = outcomes_of(settings, job.names, report, began)
        for name in job.names:
            turn, timing = self._turns.get(name), self._timings.get(name)
            if turn is None or timing is None:
                continue
            if job.origin == "schedule":
                self._turns[name] = ended(turn, timing, outcomes[name], at)
            elif outcomes[name] == "complete" and turn.failures:
                self._turns[name] = Turn(turn.served)
        self.current = None
        if self._stopping and job.origin == "command" and report is not None and report.outcome == "interrupted":
            job.starts = 0  # it has taken nobody down
            self._handed.appendleft(job)
        self._remember()
        outcome, reason = (report.outcome, report.reason) if report is not None else ("failed", str(error))
        files, size = (report.done["add"] + report.done["replace"], report.done["bytes"]) if report is not None else (0, 0)
        self._emit(RunEnded(job.names, outcome, reason, (at - began).total_seconds(), files, size))
        job.on_cancel = None
        self._finish(job, report, error)

    def _remember(self) -> None:
        try:
            under_way = [self.current] if self.current is not None and self.current.origin == "command" else []
            handed = [Handed(job.names, job.retry, job.starts) for job in (*under_way, *self._handed) if not job.cancelled]
            remember(self.settings.root, Memory(self._turns, tuple(handed)))
        except OSError as error:  # a full disk: after a restart a run is made up that need not be
            self._emit(Note(f"cannot write down when runs are due: {os_error_text(error)}", "warning"))


def outcomes_of(settings: Settings, names: Sequence[str], report: Report | None, began: datetime) -> dict[str, str]:
    """How a run ended for each of its subscriptions: one may be complete where another is not."""
    if report is None:
        return dict.fromkeys(names, "failed")
    found = dict.fromkeys(names, report.outcome)
    if report.outcome in ("complete", "interrupted"):
        return found
    try:
        with closing(Reader(settings.root, wait=1.0)) as reader:
            for row in reader.subscriptions():
                if row["subscription"] in found and row["outcome"] and (row["last_run"] or "") >= to_text(began):
                    found[row["subscription"]] = row["outcome"]
    except (MirrorError, OSError):
        pass  # it cannot be read, or somebody keeps it locked: then all go by the run
    return found
