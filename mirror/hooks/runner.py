"""Runs what is due: the commands of one subscription in order, subscriptions side by side, each outcome written down at once."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from mirror.errors import IndexUnusable, Locked
from mirror.events import Emit, HookDone, HookFailed, HookKey, HookStarted, HookStopped, Note
from mirror.hooks.brake import Hold, hold_after, hold_text, in_order, most_failures
from mirror.hooks.command import Ended, Stop, run_command
from mirror.hooks.due import HELD, command_of, next_try, verdict
from mirror.hooks.manifest import Manifest, manifest_of
from mirror.hooks.surroundings import environment_for
from mirror.hooks.turn import Turn, turn_of
from mirror.settings import MASK, Settings
from mirror.settings.commands import filled
from mirror.steps import step
from mirror.store import hook_jobs
from mirror.store.catalogue import to_text
from mirror.store.hook_jobs import HookJob, open_jobs
from mirror.store.index import FILE, connect_reader, is_busy, writing_beside
from mirror.store.lock import is_locked
from mirror.sync import Clock

AT_ONCE = 2
"""Commands at a time, over all subscriptions: what loads a database is heavy."""

TROUBLE = (sqlite3.Error, OSError, IndexUnusable, Locked)
"""What an index or a disk may do at any time; anything else is a mistake of ours."""

T = TypeVar("T")

_LONGEST_SLEEP = timedelta(minutes=10)
_AFTERTROUBLE = 60.0  # seconds
_TURN_POLL = 0.2
_WORDS = 800  # characters of output that a failure is told with
_READ_WAIT = 1.0
_READS = 30  # tries, of a second each, to read what there is to do
_WRITES = 6  # tries, of ten seconds each, to write down an outcome


@dataclass(frozen=True, slots=True)
class HookSummary:
    """How many commands were run, and the jobs that have failed or were given up, of this time or before."""

    ran: int = 0
    failing: tuple[HookJob, ...] = ()


class _Streak:
    """Of one pass, by hook: how many of its last commands failed, one after the other, and how many were left for later."""

    def __init__(self) -> None:
        self.failed: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.command: dict[str, tuple[str, ...]] = {}


class HookRunner:
    """Runs the commands of subscriptions as their jobs in the index come due. It holds the lock of the root at no time."""

    def __init__(self, settings: Callable[[], Settings], emit: Emit, now: Clock) -> None:
        """`settings` gives those in effect, which may be others each time; the root stays."""
        self._settings = settings
        self._emit = emit
        self._now = now
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._woken = asyncio.Event()
        self._left: Counter[str] = Counter()
        self._holds: dict[tuple[str, str], Hold] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hook")

    def wake(self) -> None:
        """There may be something to run: a sync has ended, or the settings have changed."""
        self._woken.set()

    @contextmanager
    def leaving(self, names: Collection[str]) -> Iterator[None]:
        """Within, `run_forever` begins nothing of these subscriptions: another runner does, for somebody who waits."""
        self._left.update(names)
        try:
            yield
        finally:
            self._left.subtract(names)
            self.wake()

    async def run_due(
        self, names: Collection[str] | None = None, *, retry: bool = False, withdrawn: Callable[[], bool] = lambda: False
    ) -> HookSummary:
        """Run once what is due, of these subscriptions or of all; with `retry` also what failed and waits, or was given up.

        Where another process runs commands of a subscription, it waits for its turn. Cancelled, it ends the commands that run,
        within five seconds, and leaves them to the next time; where `withdrawn` says by then that somebody wanted them stopped,
        they wait for the next sync, or for six hours.
        """
        chosen = [job.subscription for job in await self._jobs() if names is None or job.subscription in names]
        ran = sum(await _all([self._pass(name, retry=retry, withdrawn=withdrawn) for name in dict.fromkeys(chosen)]))
        failing = tuple(job for job in await self._jobs(*chosen) if job.outcome in ("failed", "given-up")) if chosen else ()
        return HookSummary(ran, failing)

    async def run_forever(self) -> None:
        """Run what is due as it comes due, until cancelled."""
        lanes: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                self._woken.clear()
                due, pause = await self._outlook()
                for name in due:
                    if name not in lanes and not self._left[name]:
                        lanes[name] = asyncio.create_task(self._lane(name))
                await self._something_happens(lanes, pause)
        finally:
            await _end(lanes.values())

    async def _something_happens(self, lanes: dict[str, asyncio.Task[None]], pause: float) -> None:
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({woken, *lanes.values()}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        for name in [name for name, lane in lanes.items() if lane.done()]:
            lanes.pop(name).result()

    async def _lane(self, name: str) -> None:
        try:
            await self._pass(name, retry=False)
        except Exception as error:
            # Whatever it is, syncs go on, and so do the commands of others.
            what = str(error) if isinstance(error, TROUBLE) else f"{type(error).__name__}: {error}"
            self._emit(Note(f"the commands of {name} cannot be run at the moment: {what}", "warning"))
            await asyncio.sleep(_AFTERTROUBLE)

    # -- what there is to do

    async def _jobs(self, *names: str) -> list[HookJob]:
        root = self._settings().root
        if not (root / FILE).exists():
            return []  # nothing to start a thread for
        try:
            jobs = await self._ask(lambda connection: open_jobs(connection, run_under_way=is_locked(root)))
        except IndexUnusable:
            return []  # nothing is here yet, or a sync has to build the index anew first
        return [job for job in jobs if not names or job.subscription in names]

    async def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The answer of the index. Who keeps it locked is waited for, in threads that soon end: a signal is heard meanwhile."""
        for left in reversed(range(_READS)):
            try:
                return await asyncio.to_thread(self._ask_now, question)
            except (sqlite3.Error, Locked) as error:
                if not left or not (isinstance(error, Locked) or is_busy(error)):
                    raise
        raise AssertionError

    def _ask_now(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with closing(connect_reader(self._settings().root, wait=_READ_WAIT)) as connection:
            return question(connection)

    def _verdict(self, job: HookJob, *, retry: bool = False) -> str:
        return verdict(job, self._settings().subscription.get(job.subscription), at=self._now(), retry=retry)

    def _is_held(self, job: HookJob) -> bool:
        """Whether a job that is due waits for better times, as the last ones of its hook have failed."""
        hold = self._holds.get((job.subscription, job.hook))
        return hold is not None and hold.holds(command_of(job, self._settings().subscription[job.subscription]), self._now())

    async def _outlook(self) -> tuple[set[str], float]:
        """The subscriptions that have something due, and for how many seconds there is nothing else to do."""
        try:
            jobs = await self._jobs()
        except TROUBLE as error:
            self._emit(Note(f"the index cannot be asked which commands are due: {error}", "warning"))
            return set(), _AFTERTROUBLE
        verdicts = [(job, self._verdict(job)) for job in jobs]
        due = {job.subscription for job, found in verdicts if found == "void" or (found == "due" and not self._is_held(job))}
        at = self._now()
        moments = [*(job.next_try for job in jobs if job.next_try is not None), *(hold.until for hold in self._holds.values())]
        waits = [moment - at for moment in moments if moment > at]
        return due, min([_LONGEST_SLEEP, *waits]).total_seconds()

    # -- doing it

    async def _pass(self, name: str, *, retry: bool, withdrawn: Callable[[], bool] = lambda: False) -> int:
        """Run what is due of a subscription, each once, and what comes up meanwhile; returns how many commands were run."""
        ran, tried, streak = 0, set[int](), _Streak()
        async with self._turn(name) as turn:
            try:
                while jobs := [job for job in await self._jobs(name) if job.id not in tried]:
                    tried.update(job.id for job in jobs)
                    for job in in_order(jobs):
                        async with self._slots:
                            ran += await self._take(job, turn, streak, retry=retry)
            except asyncio.CancelledError:
                if withdrawn():
                    at = self._now()
                    await self._write(partial(hook_jobs.held, subscription=name, until=at + HELD, at=at))
                raise
        self._hold_back(name, streak)
        return ran

    async def _take(self, job: HookJob, turn: Turn, streak: _Streak, *, retry: bool) -> bool:
        """Run a job if it is due; returns whether it was run."""
        found = self._verdict(job, retry=retry)
        if found == "void":
            await self._write(partial(hook_jobs.dropped, job=job))
        if found != "due" or self._is_held(job):
            return False
        if streak.failed[job.hook] >= most_failures(self._holds.get((job.subscription, job.hook))):
            streak.left[job.hook] += 1
            streak.command[job.hook] = command_of(job, self._settings().subscription[job.subscription])
            return False
        ended = await self._run(job, self._settings(), turn)
        if ended is None:
            return False
        streak.failed[job.hook] += 1
        if ended.problem is None:
            streak.failed[job.hook] = 0
            self._holds.pop((job.subscription, job.hook), None)
        return True

    def _hold_back(self, name: str, streak: _Streak) -> None:
        """After a pass: the hooks of which something was left wait, and no other that was run does."""
        for hook, failures in streak.failed.items():
            before = self._holds.pop((name, hook), None)
            if left := streak.left[hook]:
                hold = self._holds[name, hook] = hold_after(before, failures, streak.command[hook], self._now())
                self._emit(Note(hold_text(hold, name, left), "warning"))

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[Turn]:
        told = False
        while True:
            with turn_of(self._settings().root, name) as turn:
                if turn is not None:
                    if await asyncio.to_thread(turn.end_orphan):
                        self._emit(Note(f"ended a command of {name} that had gone on without the mirror that began it", "warning"))
                    yield turn
                    return
            if not told:
                told = True
                self._emit(Note(f"waiting for the commands of {name} that another process runs"))
            await asyncio.sleep(_TURN_POLL)

    async def _run(self, job: HookJob, settings: Settings, turn: Turn) -> Ended | None:
        """Run a job, unless it is no longer what it was. Settings that change meanwhile are for the next one."""
        subscription = settings.subscription[job.subscription]
        try:
            manifest: Manifest = await self._ask(partial(manifest_of, root=settings.root, job=job, subscription=subscription))
        except LookupError:
            return None
        try:
            if not await self._write(partial(hook_jobs.begun, job=job, at=self._now())):
                return None
        except asyncio.CancelledError:
            await self._write(partial(hook_jobs.broken_off, job=job))
            raise
        step("hook: begun")
        key = HookKey(job.subscription, job.hook, job.upstream, job.resource, job.sub_resource)
        self._emit(HookStarted(key, job.attempts + 1))
        command = filled(command_of(job, subscription), manifest.values)
        stop = Stop()
        work = asyncio.get_running_loop().run_in_executor(
            self._threads,
            partial(
                run_command,
                command,
                json.dumps(manifest.document, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass") + b"\n",
                folder=settings.root,
                environ=environment_for(os.environ, job.hook, job.attempts + 1, manifest.values),
                timeout=subscription.hook_timeout.total_seconds(),
                stop=stop,
                started=turn.runs,
            ),
        )
        try:
            ended, cancelled = await _to_its_end(work, stop)
        finally:
            stop.close()
        step("hook: ended")
        try:
            await self._conclude(job, key, command[0], ended)
        except (sqlite3.Error, OSError, IndexUnusable):
            self._emit(HookStopped(key))  # it runs no more, though nobody knows how it ended
            raise
        if cancelled:
            raise asyncio.CancelledError
        return ended

    async def _conclude(self, job: HookJob, key: HookKey, program: str, ended: Ended) -> None:
        """Write down how a command ended, then say so."""
        at = self._now()
        words = self._masked(ended.output)[-_WORDS:]
        if ended.stopped:
            await self._write(partial(hook_jobs.broken_off, job=job))
            self._emit(HookStopped(key))
        elif ended.problem is None:
            took = f"done in {ended.seconds:.1f} s" + (f": {words}" if words else "")
            await self._write(partial(hook_jobs.done, job=job, message=took, at=at))
            step("hook: written down")
            self._emit(HookDone(key, ended.seconds, words))
        else:
            told = ended.problem if ended.problem.startswith(program) else f"{os.path.basename(program)} {ended.problem}"
            reason = told + (f": {words}" if words else "")
            again = next_try(job.attempts + 1, at)
            await self._write(partial(hook_jobs.failed, job=job, message=reason, next_try=again, at=at))
            self._emit(HookFailed(key, reason, job.attempts + 1, to_text(again) if again else None))

    def _masked(self, text: str) -> str:
        """A command that read our config may print what it found there."""
        for upstream in self._settings().upstream.values():
            if upstream.api_key is not None:
                text = text.replace(upstream.api_key.get_secret_value(), MASK)
        return text

    async def _write(self, change: Callable[[sqlite3.Connection], Any]) -> Any:
        """Write to the index, in a thread, to the end even if cancelled: what has happened must not be forgotten."""
        work = asyncio.ensure_future(asyncio.to_thread(self._write_now, change))
        cancelled = await _wait_for(work)
        result = work.result()
        if cancelled:
            raise asyncio.CancelledError
        return result

    def _write_now(self, change: Callable[[sqlite3.Connection], Any]) -> Any:
        for left in reversed(range(_WRITES)):
            try:
                with writing_beside(self._settings().root) as sql:
                    return change(sql)
            except sqlite3.Error as error:
                if not left or not is_busy(error):
                    raise
        raise AssertionError


async def _to_its_end(work: asyncio.Future[Ended], stop: Stop) -> tuple[Ended, bool]:
    """Wait for a command; cancelled, end it first, and say so."""
    try:
        return await asyncio.shield(work), False
    except asyncio.CancelledError:
        stop.set()
        await _wait_for(work)
        return work.result(), True


async def _wait_for(work: asyncio.Future[Any]) -> bool:
    """Wait for what cannot be given up; True if somebody wanted to meanwhile."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


async def _all(work: Sequence[Any]) -> list[Any]:
    """The results of all; where one fails or they are cancelled, all have ended before that comes out."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await _end(tasks)


async def _end(tasks: Collection[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def when_text(moment: datetime | None) -> str:
    """When a command is tried again, in words."""
    return f"next try {moment:%Y-%m-%d %H:%M} UTC" if moment else "given up"
