"""A sync, and then the commands that are due after it: what `inspire-mirror sync` does where no service runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from mirror.amounts import count_text
from mirror.events import Emit, Note
from mirror.hooks.runner import TROUBLE, HookRunner, HookSummary, when_text
from mirror.hooks.surroundings import hook_around
from mirror.settings import Settings
from mirror.store.hook_jobs import HookJob
from mirror.sync import Clock, Failure, Report, sync, utc_now
from mirror.upstream.session import Patience


async def sync_with_hooks(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    emit: Emit = lambda event: None,
    wait: bool = False,
    now: Clock = utc_now,
    patience: Patience | None = None,
    retry: bool = False,
) -> Report:
    """As `sync`, and then, without its lock, what is due of the commands of these subscriptions; `retry` is for them as well.

    A command that fails, or has failed and waits for its next try, makes a run that was complete incomplete. None is run after an
    interrupt, and none within a command of this same mirror, which would wait for itself. Raises what `sync` raises.
    """
    around = hook_around(os.environ, settings.root)
    if around:
        settings = _without_endings(settings)
    report = await sync(settings, names, emit=emit, wait=wait, now=now, patience=patience, retry=retry)
    if around:
        emit(Note(f"commands are left to who runs {around}, which has called this sync and would be waited for", "notice"))
        return report
    return await commands_after(report, settings, names, emit=emit, now=now, retry=retry)


def _without_endings(settings: Settings) -> Settings:
    """Without the commands for how a run ends: one of them that syncs would be its own cause for ever."""
    tables = {name: table.model_copy(update={"on_complete": (), "on_failure": ()}) for name, table in settings.subscription.items()}
    return settings.model_copy(update={"subscription": tables})


async def commands_after(
    report: Report,
    settings: Settings,
    names: Sequence[str],
    *,
    emit: Emit,
    now: Clock = utc_now,
    retry: bool = False,
    withdrawn: Callable[[], bool] = lambda: True,
) -> Report:
    """Run what is due of the commands of these subscriptions after the sync that `report` is of; see `sync_with_hooks`.

    Cancelled, it asks whether they were `withdrawn`: then they wait for the next sync, else whoever comes next takes them up.
    """
    if report.outcome == "interrupted":
        return report
    try:
        summary = await HookRunner(lambda: settings, emit, now).run_due(names or None, retry=retry, withdrawn=withdrawn)
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        report.outcome = "interrupted"
        report.reason = "interrupted while commands were running; what was fetched is here, and the next sync runs them again"
        return report
    except Exception as error:  # whatever it is: what was synced is here all the same, and whoever waits has to hear of it
        mistake = f"a mistake in this program ({type(error).__name__}: {error}); please report it"
        what = str(error) if isinstance(error, TROUBLE) else mistake
        emit(Note(f"commands could not be run, and are left to the next sync: {what}", "warning"))
        _fall_short(report, f"all files are here, but commands could not be run: {what}")
        return report
    _account_for(summary, report)
    return report


def _account_for(summary: HookSummary, report: Report) -> None:
    for job in summary.failing:
        reason = f"{_name(job)}: {job.message.splitlines()[0] if job.message else 'failed'} ({when_text(job.next_try)})"
        report.failed.append(Failure("", None, reason, job.attempts))
    if summary.failing:
        what = count_text(len(summary.failing), "command")
        _fall_short(report, f"all files are here, but {what} failed: {report.failed[-1].reason}; `status` says which and why")


def _fall_short(report: Report, reason: str) -> None:
    if report.outcome == "complete":
        report.outcome, report.reason = "incomplete", reason


def _name(job: HookJob) -> str:
    about = f" for {job.resource}/{job.sub_resource}" if job.sub_resource else ""
    return f"{job.hook} of {job.subscription}{about}"
