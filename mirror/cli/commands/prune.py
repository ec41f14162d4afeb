"""`prune`: the only command that deletes published files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mirror.amounts import count_text, size_text
from mirror.cli.app import Invocation, finish, json_option, pass_invocation, print_json, reports_errors, say
from mirror.cli.commands.runs import run_until_signal
from mirror.cli.options import names_argument
from mirror.cli.render import clean

if TYPE_CHECKING:
    from mirror.pruning import PruneAction, PruneReport


@click.command(short_help="Delete old editions that no subscription keeps.")
@names_argument
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted, and why.")
@click.option("--wait", is_flag=True, help="Wait for a running sync instead of ending with exit code 3.")
@json_option
@pass_invocation
@reports_errors
def prune(invocation: Invocation, names: tuple[str, ...], dry_run: bool, wait: bool, as_json: bool) -> None:
    """Delete the editions that are not among the last `keep` of their series, of the subscriptions NAME (default: all).

    Leaves what any subscription still wants, what was superseded within the last days (grace), and every file that is not the
    mirror's. Refuses without a complete listing of the last 7 days, or if too much would go at once (max_delete_ratio). Needs no
    network; without `keep` in the config it deletes nothing.
    """
    from mirror.pruning import prune as run_prune

    def show(action: PruneAction) -> None:
        if not (as_json or invocation.quiet):
            click.echo(_line(action))

    settings = invocation.settings(offline=True)
    watch = invocation.watcher(bars=False)
    report = run_until_signal(run_prune(settings, names, dry_run=dry_run, wait=wait, visit=show, emit=watch))
    if as_json:
        print_json(report.as_json())
    else:
        _print_end(report, quiet=invocation.quiet)
    finish(report.exit_code)


def _line(action: PruneAction) -> str:
    size = f"{count_text(action.files, 'file')}, {size_text(action.bytes)}"
    return clean(f"{action.action:6}  {action.resource}/{action.sub_resource} ({size}): {action.reason}")


def _print_end(report: PruneReport, *, quiet: bool) -> None:
    for path in () if quiet else report.foreign:
        click.echo(clean(f"not ours, left alone: {path}"))
    if not quiet:
        gone = report.deleted
        files = f"{count_text(gone['files'], 'file')}, {size_text(gone['bytes'])}"
        verb = "would delete" if report.dry_run else "deleted"
        click.echo(f"{verb} {count_text(gone['sub_resources'], 'sub-resource')}: {files}")
    if report.reason:
        say(clean(report.reason))
