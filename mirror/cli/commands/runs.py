"""`plan`, `sync` and `verify`: the commands that work on the mirror."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mirror.amounts import count_text, size_text
from mirror.cli.app import Invocation, finish, json_option, pass_invocation, print_json, reports_errors, say
from mirror.cli.options import Duration, names_argument
from mirror.cli.render import clean, show, table, time_text

if TYPE_CHECKING:
    from mirror.language import Language
    from mirror.settings import Settings
    from mirror.sync import PlannedAction, Report
    from mirror.verifying import Findings

T = TypeVar("T")


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; SIGINT and SIGTERM cancel it once, so that it can put things in order and report."""

    async def supervised() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        return await task

    try:
        return asyncio.run(supervised())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@click.command(short_help="Show what a sync would do, and why.")
@names_argument
@click.option("--all", "keeps", is_flag=True, help="Also list the files that are simply kept.")
@click.option("--files", is_flag=True, help="A line per file instead of one per sub-resource.")
@click.option("--retry", is_flag=True, help="As if for `sync --retry`.")
@json_option
@pass_invocation
@reports_errors
def plan(invocation: Invocation, names: tuple[str, ...], keeps: bool, files: bool, retry: bool, as_json: bool) -> None:
    """Show what `sync` would do for the subscriptions NAME (default: all), and why: files, bytes, disk space. Changes nothing."""
    finish(show_plan(invocation, names, keeps=keeps, files=files, retry=retry, as_json=as_json))


def show_plan(
    invocation: Invocation,
    names: Sequence[str],
    *,
    keeps: bool = False,
    files: bool = False,
    retry: bool = False,
    as_json: bool = False,
) -> int:
    """Make a plan and print it; returns the exit code."""
    from mirror.events import Event, Planned
    from mirror.sync import plan as make_plan

    language = invocation.language()
    settings = _settings(invocation, language)
    actions: list[PlannedAction] = []
    with invocation.watcher(language=language) as watch:

        def emit(event: Event) -> None:
            if not isinstance(event, Planned):  # it is what the table is about to say
                watch(event)

        report = run_until_signal(make_plan(settings, names, visit=actions.append, keeps=keeps, retry=retry, emit=emit))
    if as_json:
        _print_plan_json(report, actions)
    else:
        _print_plan(settings, report, actions, language, by_file=files or keeps)
    _print_end(report, language)
    return report.exit_code


def _settings(invocation: Invocation, language: Language | None = None) -> Settings:
    from mirror.settings import warnings

    settings = invocation.settings()
    if not invocation.quiet:
        for remark in warnings(settings):
            say(remark, "warning", language)
    return settings


def _print_plan_json(report: Report, actions: Sequence[PlannedAction]) -> None:
    """The document of `plan --json`, written action by action: as one text, a large plan would take more memory than the plan."""
    head = json.dumps(report.as_json(), ensure_ascii=False, indent=2).removesuffix("\n}")
    click.echo(head + ',\n  "actions": [', nl=False)
    for number, action in enumerate(actions):
        fields = {name: getattr(action, name) for name in type(action).__slots__}
        click.echo(("," if number else "") + "\n    " + json.dumps(fields, ensure_ascii=False), nl=False)
    click.echo("\n  ]\n}" if actions else "]\n}")


def _print_plan(settings: Settings, report: Report, actions: Sequence[PlannedAction], language: Language, *, by_file: bool) -> None:
    from mirror.phrases import number, phrase, size
    from mirror.sync import free_space

    verbs = _verbs()
    action, amount, why = phrase("action"), phrase("size"), phrase("why")
    rows: list[tuple[str, ...]]
    if by_file:
        rows = [(verbs[a.action], f"{a.resource}/{a.sub_resource}/{a.file}", size(a.size), a.reason) for a in actions]
        if rows:
            file = phrase("file")
            table([action, file, amount, why], rows, right=[amount], names=[file], wrap=why, language=language)
    else:
        grouped: dict[tuple[str, str, str, str], tuple[int, int]] = {}
        for a in actions:
            key = a.action, a.resource, a.sub_resource, a.reason
            count, total = grouped.get(key, (0, 0))
            grouped[key] = count + 1, total + (a.size or 0)
        rows = [
            (verbs[verb], f"{resource}/{sub_resource}", number(count), size(total), reason)
            for (verb, resource, sub_resource, reason), (count, total) in grouped.items()
        ]
        if rows:
            unit, files = phrase("sub-resource"), phrase("files")
            columns = [action, unit, files, amount, why]
            table(columns, rows, right=[files, amount], names=[unit], drop=[files], wrap=why, language=language)
    if report.outcome in ("unavailable", "interrupted"):
        return
    planned = report.planned
    free = free_space(settings.root)
    line = phrase(
        "{add} to add, {replace} to replace, {keep} to keep: {size} to fetch; {free} free under {root}, {left} after it",
        **{name: number(planned[name]) for name in ("add", "replace", "keep")},
        size=size(planned["bytes"]),
        free=size(free),
        root=settings.root,
        left=size(free - planned["bytes"]),
    )
    show(clean(language.put(line)))


def _verbs() -> dict[str, str]:
    from mirror.phrases import phrase

    return {
        "add": phrase("add"),
        "replace": phrase("replace"),
        "adopt": phrase("adopt"),
        "keep": phrase("keep"),
        "park": phrase("park"),
        "hold": phrase("hold"),
    }


@click.command(short_help="Fetch, verify, publish and index what is wanted.")
@names_argument
@click.option("--dry-run", is_flag=True, help="Show the plan instead; the same as `plan`.")
@click.option("--wait", is_flag=True, help="Wait for a running sync instead of ending with exit code 3.")
@click.option("--retry", is_flag=True, help="Try parked files and failed commands now, whatever their next try.")
@json_option
@pass_invocation
@reports_errors
def sync(invocation: Invocation, names: tuple[str, ...], dry_run: bool, wait: bool, retry: bool, as_json: bool) -> None:
    """Bring the mirror up to date with the subscriptions NAME (default: all), once.

    Ends with exit code 0 only if everything wanted is here and verified. Ctrl-C stops it cleanly; the next sync goes on from there.

    Where the service runs, it does the sync, and this command shows how it goes; Ctrl-C then asks whether to leave it running.
    """
    if dry_run:
        finish(show_plan(invocation, names, retry=retry, as_json=as_json))
    report = _by_service(invocation, names, wait=wait, retry=retry) or _by_itself(invocation, names, wait=wait, retry=retry)
    if as_json:
        print_json(report.as_json())
        _print_end(report)
    elif not (invocation.quiet and report.exit_code == 0):
        _print_sync(report)
    finish(report.exit_code)


def _by_itself(invocation: Invocation, names: Sequence[str], *, wait: bool, retry: bool) -> Report:
    from mirror.hooks import sync_with_hooks

    settings = _settings(invocation)
    with invocation.watcher() as watch:
        report = run_until_signal(sync_with_hooks(settings, names, emit=watch, wait=wait, retry=retry))
    if settings.service.textfile is not None:
        from mirror.observing.textfile import write_textfile

        if problem := write_textfile(settings):
            say(problem, "warning")
    return report


def _by_service(invocation: Invocation, names: Sequence[str], *, wait: bool, retry: bool) -> Report | None:
    """Have the running service do it, and watch; None where no service of this mirror runs.

    A command of a hook does it by itself: the service waits for that command before it would tell how the sync ended.

    Ctrl-C leaves it running there; on a terminal it asks first. What this user's config says is not looked at but for the root.
    """
    from mirror.hooks.surroundings import hook_around
    from mirror.service.handover import Handed, ServiceGone, find_service
    from mirror.sync import Report

    settings = invocation.settings(offline=True)
    place = None if hook_around(os.environ, settings.root) else find_service(settings, os.environ)
    if place is None:
        return None
    with Handed(place, names, retry=retry, wait=wait) as handed:
        while True:
            try:
                with invocation.watcher() as watch:
                    return handed.follow(watch)
            except ServiceGone as error:
                return Report(outcome="interrupted", reason=str(error))
            except KeyboardInterrupt:
                if not _stop_it():
                    click.echo("inspire-mirror: left running in the service; `inspire-mirror status` tells how it goes", err=True)
                    raise
                handed.cancel()


def _stop_it() -> bool:
    """Whether a sync in the hands of the service is to be stopped; where nobody can be asked, it is not."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return not click.confirm("Leave the sync running in the service?", default=True, err=True)
    except click.Abort:
        return False


def _print_sync(report: Report) -> None:
    done, account = report.done, report.account
    if report.outcome in ("complete", "incomplete") or account.expected:
        click.echo(
            f"{report.outcome}: {account.verified:,} of {count_text(account.expected, 'wanted file')} here and verified; "
            f"{done['add']:,} added, {done['replace']:,} replaced, {size_text(done['bytes'])} fetched"
            + (f", {size_text(done['resumed_bytes'])} resumed" if done["resumed_bytes"] else "")
            + f", {count_text(report.requests, 'request')}, {report.seconds:.1f} s"
            + (f"; {count_text(failed, 'command')} failed" if (failed := report.failed_commands) else "")
        )
    _print_end(report)


def _print_end(report: Report, language: Language | None = None) -> None:
    if report.reason:
        say(report.reason, language=language)


@click.command(short_help="Check the tree against the index.")
@names_argument
@click.option("--full", is_flag=True, help="Hash every file, not only compare sizes.")
@click.option("--budget", type=Duration(), help="Hash, for so long (30m, 2h), the files that were hashed longest ago.")
@click.option(
    "--repair",
    is_flag=True,
    help="Set wrong files aside (.staging/quarantine) and fetch them again; rebuild a lost or damaged index.",
)
@click.option("--wait", is_flag=True, help="With --repair: wait for a running sync instead of ending with exit code 3.")
@json_option
@pass_invocation
@reports_errors
def verify(
    invocation: Invocation, names: tuple[str, ...], full: bool, budget: timedelta | None, repair: bool, wait: bool, as_json: bool
) -> None:
    """Compare the files of the subscriptions NAME (default: everything in the mirror) with the index.

    Ends with exit code 1 if something is missing or wrong and was not repaired. Files that are not ours are reported and left
    alone.

    With --budget it is a scrub: run it every night, and each file has its turn. It looks for no files that are not ours.
    """
    from mirror.scrubbing import scrub
    from mirror.verifying import verify as run_verify

    if wait and not repair:
        raise click.UsageError("--wait goes with --repair: nothing else waits for a sync")
    settings = invocation.settings(offline=not repair)
    findings: Findings
    with invocation.watcher() as watch:
        if budget:
            findings = run_until_signal(scrub(settings, names, budget=budget, repair=repair, wait=wait, emit=watch))
        else:
            findings = run_until_signal(run_verify(settings, names, full=full, repair=repair, wait=wait, emit=watch))
    if as_json:
        print_json(findings.as_json())
    else:
        _print_findings(findings, quiet=invocation.quiet)
    finish(findings.exit_code)


def _print_findings(findings: Findings, *, quiet: bool) -> None:
    from mirror.scrubbing import Scrubbed

    for fault in findings.all_faults:
        click.echo(f"{'repaired' if fault.repaired else 'wrong'}: {fault.path}: {fault.problem}")
    if findings.repair and findings.exit_code:
        say("what was wrong is set aside in .staging/quarantine; the next sync fetches it")
        _print_end(findings.repair)
    for path in () if quiet else findings.foreign:
        click.echo(f"not ours, left alone: {path}")
    if not quiet or findings.all_faults:
        how = "hashed" if findings.hashed else "compared by size"
        repaired = sum(fault.repaired for fault in findings.all_faults)
        click.echo(
            f"{count_text(findings.files, 'file')} ({size_text(findings.bytes)}) {how}: "
            f"{count_text(len(findings.all_faults), 'fault')}" + (f", {repaired} repaired" if repaired else "")
        )
        if isinstance(findings, Scrubbed):
            oldest = findings.oldest_verified_at
            since = f"; the one that has waited longest was hashed {time_text(oldest)}" if oldest else ""
            click.echo(f"{count_text(findings.files_left, 'file')} left for the next scrub{since}")
