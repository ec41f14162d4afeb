"""One sync, or one plan, from the lock to the report."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mirror.amounts import count_text
from mirror.errors import GuardRefused, Locked, os_error_text
from mirror.events import Emit, Note, Stage, Waiting
from mirror.phrases import phrase
from mirror.planning.plan import Hold, Park
from mirror.settings import Settings
from mirror.steps import step
from mirror.store.hours import UpstreamHours
from mirror.store.index import BUSY_WAIT, FILE, Index, connect_reader, is_busy
from mirror.store.lock import root_lock
from mirror.store.rescue import open_index, set_aside, shows_damage
from mirror.sync.planner import verb
from mirror.sync.reconcile import reconcile
from mirror.sync.report import Account, Report
from mirror.sync.run import Run
from mirror.sync.transfers import OBSTACLES
from mirror.sync.wiring import Clock, utc_now, wishes_of
from mirror.upstream.session import Patience

_LOCK_POLL = 0.2  # seconds
_INDEX_POLL = 0.1  # seconds, for which nothing else is done, and as many in which it is
_MOST_BRIEF = 50  # polls in a row for who holds the lock for a moment only


async def sync(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    emit: Emit = lambda event: None,
    wait: bool = False,
    now: Clock = utc_now,
    patience: Patience | None = None,
    only: Collection[tuple[str, str, str]] | None = None,
    retry: bool = False,
) -> Report:
    """Bring the mirror up to date with the subscriptions `names`, or with all; of those, with the sub-resources `only`, if given.

    A member of `only` is (upstream, resource, sub-resource). With `retry` parked files are tried too, whatever their next try.

    The report says how it ended: an upstream that cannot be had, a refused plan and an interrupt are outcomes, not errors.

    Raises:
        ConfigError: the settings cannot be used.
        Locked: another run holds the root and `wait` is false; or another program keeps the index locked.
        IndexUnusable: the index cannot be opened, or a newer version wrote it. A damaged one is set aside and made anew.
        OSError: a damaged index cannot be set aside.
    """
    wishes_of(settings, names)
    try:
        lock = await hold_lock(settings.root, wait=wait, emit=emit)
    except asyncio.CancelledError:
        _take_back_cancel()
        return Report(outcome="interrupted", reason="interrupted while waiting for another run; nothing was done")
    except GuardRefused as error:  # the root cannot be written
        return Report(outcome="refused", reason=str(error))
    step("run: lock taken")
    began = time.monotonic()
    remarks: list[str] = []

    def tell(remark: str) -> None:
        remarks.append(remark)
        emit(Note(remark, "warning"))

    def begin(index: Index) -> Run:
        run = Run(settings, names, index, emit, now, patience, only, retry=retry)
        run.begin("sync", at=now())
        return run

    if whose := _foreign_root(settings.root):
        tell(whose)
    with lock:
        busy_wait = patience.index if patience is not None else BUSY_WAIT
        try:
            index, run = await _open(lambda wait: open_index(settings.root, begin, tell, at=now(), wait=wait), busy_wait)
        except asyncio.CancelledError:
            _take_back_cancel()
            return Report(
                outcome="interrupted", reason="interrupted while waiting for the index; nothing was done", remarks=remarks
            )
        except GuardRefused as error:  # the disk has no room for the index
            return Report(outcome="refused", reason=str(error), remarks=remarks)
        run.report.remarks += remarks
        step("run: begun")
        try:
            damaged = await _to_its_end(run, index, began)
        finally:
            index.close()
        if damaged:
            run.report.reason = _set_index_aside(settings.root, run.report.reason, at=now())
        return run.report


async def _open(opening: Callable[[float], tuple[Index, Run]], wait: float) -> tuple[Index, Run]:
    """The index, with a run that has begun; who keeps it locked is waited for `wait` seconds, in a way that lets others work.

    Not in a thread: only the one that has opened an index may use it.
    """
    until = time.monotonic() + wait
    while True:
        try:
            index, run = opening(min(wait, _INDEX_POLL))
        except Locked:
            if time.monotonic() >= until:
                raise
            await asyncio.sleep(_INDEX_POLL)
        else:
            index.wait(wait)
            return index, run


def _foreign_root(root: Path) -> str:
    """What is to be said where the root user works in the mirror of somebody else; empty where that is not so."""
    try:
        owner = root.stat().st_uid
        if os.geteuid() != 0 or owner == 0:
            return ""
        name = pwd.getpwuid(owner).pw_name
    except (OSError, KeyError):
        return ""
    return f"{root} belongs to {name}, who may not change what root writes there: use sudo -u {name} next time, and chown -R {name}"


async def _to_its_end(run: Run, index: Index, began: float) -> bool:
    """Carry out a run that has begun, whatever comes in between; its report says how it ended. True if the index is damaged."""
    report, damaged, stopped = run.report, False, False
    try:
        await _sync(run)
    except GuardRefused as error:
        report.outcome, report.reason, stopped = "refused", str(error), True
        if run.transferring:
            with suppress(OSError, sqlite3.Error):
                run.close_account()
    except asyncio.CancelledError:
        _take_back_cancel()
        report.outcome, report.reason = "interrupted", "interrupted; what was fetched is kept, and the next sync goes on from there"
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        damaged = not isinstance(error, OSError) and shows_damage(index, error)
        report.outcome, report.reason = "incomplete", str(error) if damaged else broken_off(error, run.settings.root)
        with suppress(OSError, sqlite3.Error):
            if is_busy(error):
                index.hurry()
            if not damaged:
                run.close_account()
    report.seconds = time.monotonic() - began
    try:
        if not run.accounted and not damaged:
            report.account = _rough_account(run)
        if report.outcome in ("refused", "unavailable", "interrupted") and (stopped or not run.accounted):
            run.journal.attempted({wish.name: wish.upstream for wish in run.wishes}, report.outcome, at=run.now())
        run.finish()
        step("run: finished")
        with suppress(sqlite3.Error):  # how upstreams answered changes nothing about how the run ended
            UpstreamHours(index).add(run.watch.take(), at=run.now())
    except sqlite3.Error as error:
        damaged = damaged or shows_damage(index, error)
        report.outcome = "incomplete" if report.outcome == "complete" else report.outcome
        report.reason = report.reason or (str(error) if damaged else broken_off(error, run.settings.root))
    return damaged


def _rough_account(run: Run) -> Account:
    """Where a run ended before it could count: what the plan and the publications tell, else how things stood last."""
    planned, done = run.report.planned, run.report.done
    wanted = planned["add"] + planned["replace"] + planned["keep"]
    if not wanted:
        return Account(*run.journal.last_counts([wish.name for wish in run.wishes]))
    here = planned["keep"] + done["add"] + done["replace"]
    return Account(wanted, here, here)


def _set_index_aside(root: Path, problem: str, *, at: datetime) -> str:
    """The reason for which a run ended in its middle, after the index that let it down was moved out of the way."""
    try:
        place = set_aside(root, at).relative_to(root)
    except OSError as error:
        return f"the index is damaged ({problem}), and cannot be set aside: {error.strerror}; move it away, and sync again"
    return f"the index is damaged ({problem}); set aside as {place}: the next sync builds it anew from the files that are here"


def broken_off(error: OSError | sqlite3.Error | UnicodeDecodeError, root: Path) -> str:
    """In one line, why a run could not go on, and what that means."""
    if is_busy(error):
        return (
            "the index could not be written: another program (sqlite3 with an open transaction, for example) keeps it locked; what "
            "was published is intact, and the next sync takes it in"
        )
    if not isinstance(error, OSError):
        return f"the index could not be written: {error}; what was published is intact, and the next sync takes it in"
    text = os_error_text(error, root)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({text}); what was published before is intact: make room, and the next sync goes on from there"
    if isinstance(error, OBSTACLES):
        return f"cannot go on ({text}): move away what is there, or permit it; what was published before is intact"
    return f"the disk failed ({text}); what was published before is intact"


async def hold_lock(root: Path, *, wait: bool, emit: Emit = lambda event: None) -> ExitStack:
    """The lock of `root`, to be entered; waits for it in a way that lets an interrupt through. Raises Locked, GuardRefused.

    Who only writes something down is waited for in any case.
    """
    brief, told = 0, False
    while True:
        with ExitStack() as stack:
            try:
                stack.enter_context(root_lock(root))
                return stack.pop_all()
            except Locked as error:
                brief = brief + 1 if error.brief else 0
                if not wait and not 1 <= brief <= _MOST_BRIEF:
                    raise
                if not told and not error.brief:
                    told = True
                    emit(Waiting(error.holder))
        await asyncio.sleep(_LOCK_POLL)


def _take_back_cancel() -> None:
    """The interrupt has been heard: it becomes an outcome, and what follows must not meet it again."""
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


async def _sync(run: Run) -> None:
    report = run.report
    await asyncio.to_thread(run.tree.recover)
    await asyncio.to_thread(run.archiving.recover)
    step("run: recovered")
    await reconcile(run.tree, run.holdings, run.journal, at=run.now())
    await run.exit.finish()
    step("run: reconciled")
    async with run.sessions():
        run.emit(Stage("listing"))
        if not await run.list_and_plan():
            return
        step("run: planned")
        run.sweep()
        step("run: swept")
        run.guard_space()
        await run.rebuild()
        try:
            run.emit(Stage("fetching"))
            await run.transfer()
            run.emit(Stage("unpacking"))
            await run.unpack()
        except BaseException:
            with suppress(OSError, sqlite3.Error):  # what comes out is why it ended, not what that entails
                run.refresh_states()
            raise
        step("run: transferred")
        run.close_account()
        step("run: account closed")
    listed = not run.excuses and all(upstream.refreshed.complete for upstream in run.upstreams)
    if run.refusals:
        report.outcome, report.reason = "refused", run.refusal
    elif not (listed and report.account.agrees and not report.failed):
        report.outcome = "incomplete"
        report.reason = run.excuse or _shortfall(report)
    elif run.obstacles:
        report.outcome = "incomplete"
        report.reason = (
            f"{len(run.obstacles)} links in current/ cannot be made ({run.obstacles[0]}): move away what is there, or permit it"
        )


def _shortfall(report: Report) -> str:
    if report.not_unpacked and report.account.agrees:
        what = count_text(report.not_unpacked, "sub-resource")
        return f"all files are here, but {what} could not be unpacked; `status` says which and why"
    missing = report.account.expected - report.account.verified
    if not missing:
        return "some of what is wanted could not be listed, so there may be more of it; `status` says what and why"
    return f"{missing} of {report.account.expected} wanted files are not here as upstream lists them; `status` says which and why"


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """One line of a plan. `size` in bytes, None where upstream does not say."""

    action: str
    reason: str
    upstream: str
    resource: str
    sub_resource: str
    file: str
    size: int | None


async def plan(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    visit: Callable[[PlannedAction], None],
    keeps: bool = False,
    emit: Emit = lambda event: None,
    now: Clock = utc_now,
    patience: Patience | None = None,
    retry: bool = False,
) -> Report:
    """What `sync` would do: `visit` gets each action, the ones that keep a file only if `keeps`. Changes nothing under the root.

    Works on a copy of the index, so that it needs no lock and a listing made for it leaves no trace. As for `sync`, an upstream
    that cannot be had, a refusal and an interrupt are outcomes. Raises ConfigError, IndexUnusable.
    """
    with copy_of_index(settings.root) as index:
        run = Run(settings, names, index, emit, now, patience, retry=retry)
        report, began = run.report, time.monotonic()
        planned = False
        try:
            async with run.sessions():
                planned = await run.list_and_plan()
        except GuardRefused as error:
            report.outcome, report.reason = "refused", str(error)
        except asyncio.CancelledError:
            _take_back_cancel()
            report.outcome, report.reason = "interrupted", phrase("interrupted; a plan changes nothing")
        if planned:
            parked = 0
            for upstream, wanted, action in run.actions(keeps=keeps):
                parked += isinstance(action, Park | Hold)
                sub, file = wanted.unit.sub, action.file
                visit(PlannedAction(verb(action), action.reason, upstream, sub.resource, sub.id, file.name, file.size))
            counts = report.planned
            report.account = Account(sum(counts.values()) - counts["bytes"] + parked, counts["keep"], counts["keep"])
            if run.refusals:
                report.outcome, report.reason = "refused", run.refusal
            elif run.excuses or report.failed or parked:
                report.outcome, report.reason = "incomplete", run.excuse or phrase("some of what is wanted cannot be had")
            try:
                run.guard_space()
            except GuardRefused as error:
                report.outcome, report.reason = "refused", str(error)
        report.seconds = time.monotonic() - began
        return report


@contextmanager
def copy_of_index(root: Path) -> Iterator[Index]:
    """A copy of the index, open for writing and gone afterwards: for what is to change nothing. Raises IndexUnusable."""
    with tempfile.TemporaryDirectory(prefix="inspire-mirror-plan-") as folder:
        copy = Path(folder)
        if (root / FILE).exists():
            with closing(connect_reader(root)) as source, closing(sqlite3.connect(copy / FILE)) as target:
                source.backup(target)
        with Index(copy) as index:
            yield index
