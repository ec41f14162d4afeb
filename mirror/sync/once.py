"""One sync, or one plan, from the lock to the report."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mirror.amounts import count_text
from mirror.errors import GuardRefused, Locked
from mirror.events import Emit
from mirror.planning.plan import Park
from mirror.settings import Settings
from mirror.store.index import FILE, Index, connect_reader
from mirror.store.lock import root_lock
from mirror.sync.planner import verb
from mirror.sync.reconcile import reconcile
from mirror.sync.report import Account, Report
from mirror.sync.run import Run
from mirror.sync.wiring import Clock, utc_now, wishes_of
from mirror.upstream.session import Patience

_LOCK_POLL = 0.2  # seconds


async def sync(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    emit: Emit = lambda event: None,
    wait: bool = False,
    now: Clock = utc_now,
    patience: Patience | None = None,
    only: Collection[tuple[str, str, str]] | None = None,
) -> Report:
    """Bring the mirror up to date with the subscriptions `names`, or with all; of those, with the sub-resources `only`, if given.

    A member of `only` is (upstream, resource, sub-resource).

    The report says how it ended: an upstream that cannot be had, a refused plan and an interrupt are outcomes, not errors.

    Raises:
        ConfigError: the settings cannot be used.
        Locked: another run holds the root and `wait` is false.
        IndexUnusable: the index cannot be opened.
    """
    wishes_of(settings, names)
    try:
        lock = await hold_lock(settings.root, wait=wait)
    except asyncio.CancelledError:
        _take_back_cancel()
        return Report(outcome="interrupted", reason="interrupted while waiting for another run; nothing was done")
    except GuardRefused as error:  # the root cannot be written
        return Report(outcome="refused", reason=str(error))
    with lock, Index(settings.root) as index:
        run = Run(settings, names, index, emit, now, patience, only)
        report, began = run.report, now()
        run.journal.start("sync", [wish.name for wish in run.wishes], at=began)
        try:
            await _sync(run)
        except GuardRefused as error:
            report.outcome, report.reason = "refused", str(error)
        except asyncio.CancelledError:
            _take_back_cancel()
            report.outcome, report.reason = (
                "interrupted",
                "interrupted; what was fetched is kept, and the next sync goes on from there",
            )
        except (OSError, sqlite3.Error) as error:
            report.outcome, report.reason = "incomplete", _broken_off(error)
            with suppress(OSError, sqlite3.Error):
                run.close_account()
        report.seconds = (now() - began).total_seconds()
        try:
            if report.outcome in ("refused", "unavailable", "interrupted"):
                run.journal.attempted({wish.name: wish.upstream for wish in run.wishes}, report.outcome, at=now())
            run.journal.finish(report.outcome, report.exit_code, report.requests, report.as_json(), at=now())
        except sqlite3.Error as error:
            report.outcome = "incomplete" if report.outcome == "complete" else report.outcome
            report.reason = report.reason or _broken_off(error)
        return report


def _broken_off(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, sqlite3.Error):
        return f"the index could not be written: {error}; what was published is intact, and the next sync takes it in"
    where = f" ({error.filename})" if error.filename else ""
    return f"the disk failed: {error.strerror or error}{where}; what was published before is intact"


async def hold_lock(root: Path, *, wait: bool) -> ExitStack:
    """The lock of `root`, to be entered; waits for it in a way that lets an interrupt through. Raises Locked, GuardRefused."""
    while True:
        with ExitStack() as stack:
            try:
                stack.enter_context(root_lock(root))
                return stack.pop_all()
            except Locked:
                if not wait:
                    raise
        await asyncio.sleep(_LOCK_POLL)


def _take_back_cancel() -> None:
    """The interrupt has been heard: it becomes an outcome, and what follows must not meet it again."""
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


async def _sync(run: Run) -> None:
    report = run.report
    await asyncio.to_thread(run.tree.recover)
    await asyncio.to_thread(run.archiving.recover)
    await reconcile(run.tree, run.holdings, at=run.now())
    async with run.sessions():
        if not await run.list_and_plan():
            return
        run.sweep()
        run.guard_space()
        try:
            await run.transfer()
            await run.unpack()
        except BaseException:
            run.refresh_states()
            raise
        run.close_account()
    listed = not run.excuses and all(upstream.refreshed.complete for upstream in run.upstreams)
    if not (listed and report.account.agrees and not report.failed):
        report.outcome = "incomplete"
        report.reason = run.excuse or _shortfall(report)


def _shortfall(report: Report) -> str:
    if report.not_unpacked and report.account.agrees:
        what = count_text(report.not_unpacked, "sub-resource")
        return f"all files are here, but {what} could not be unpacked; `status` says which and why"
    missing = report.account.expected - report.account.verified
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
) -> Report:
    """What `sync` would do: `visit` gets each action, the ones that keep a file only if `keeps`. Changes nothing under the root.

    Works on a copy of the index, so that it needs no lock and a listing made for it leaves no trace. As for `sync`, an upstream
    that cannot be had, a refusal and an interrupt are outcomes. Raises ConfigError, IndexUnusable.
    """
    with _copy_of_index(settings.root) as index:
        run = Run(settings, names, index, emit, now, patience)
        report, began = run.report, now()
        planned = False
        try:
            async with run.sessions():
                planned = await run.list_and_plan()
        except GuardRefused as error:
            report.outcome, report.reason = "refused", str(error)
        except asyncio.CancelledError:
            _take_back_cancel()
            report.outcome, report.reason = "interrupted", "interrupted; a plan changes nothing"
        if planned:
            parked = 0
            for upstream, wanted, action in run.actions(keeps=keeps):
                parked += isinstance(action, Park)
                sub, file = wanted.unit.sub, action.file
                visit(PlannedAction(verb(action), action.reason, upstream, sub.resource, sub.id, file.name, file.size))
            counts = report.planned
            report.account = Account(sum(counts.values()) - counts["bytes"] + parked, counts["keep"], counts["keep"])
            if run.excuses or report.failed or parked:
                report.outcome, report.reason = "incomplete", run.excuse or "some of what is wanted cannot be had"
            try:
                run.guard_space()
            except GuardRefused as error:
                report.outcome, report.reason = "refused", str(error)
        report.seconds = (now() - began).total_seconds()
        return report


@contextmanager
def _copy_of_index(root: Path) -> Iterator[Index]:
    with tempfile.TemporaryDirectory(prefix="inspire-mirror-plan-") as folder:
        copy = Path(folder)
        if (root / FILE).exists():
            with closing(connect_reader(root)) as source, closing(sqlite3.connect(copy / FILE)) as target:
                source.backup(target)
        with Index(copy) as index:
            yield index
