"""`demo`: the whole of it on a small sample upstream on loopback."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.amounts import count_text, size_text
from mirror.cli.app import Invocation, finish, json_option, pass_invocation, print_json, reports_errors
from mirror.cli.render import table

if TYPE_CHECKING:
    from mirror.demo.tour import Demo


@click.command(short_help="Try it all on a small sample upstream; needs no network.")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default="inspire-mirror-demo")
@click.option("--serve", is_flag=True, help="Then keep the sample upstream running until Ctrl-C, to try sync and catalog on it.")
@json_option
@pass_invocation
@reports_errors
def demo(invocation: Invocation, folder: Path, serve: bool, as_json: bool) -> None:
    """Start a small sample upstream on loopback, sync from it into DIR, and show the result. Needs no network.

    DIR (default: inspire-mirror-demo) keeps the config and the mirror, so that `query`, `status` and `verify` can be tried on it.
    """
    from mirror.cli.commands.runs import run_until_signal
    from mirror.demo.tour import run_demo

    def show(result: Demo) -> None:
        bars.close()  # before anything else is written to the terminal
        if as_json:
            print_json(result.as_json())
        elif not (invocation.quiet and result.exit_code == 0):
            _show(result, serving=serve)
        sys.stdout.flush()

    with ExitStack() as bars:
        watch = invocation.watcher()
        bars.enter_context(watch)
        result = run_until_signal(run_demo(folder, watch, show if serve else None))
    if not serve:
        show(result)
    finish(result.exit_code)


def _show(demo: Demo, *, serving: bool) -> None:
    """Print what happened, and what to try next."""
    first, second = demo.first, demo.second
    click.echo(
        f"first sync: {first.outcome}: {first.done['add']} files ({size_text(first.done['bytes'])}) fetched and verified; "
        f"{first.account.verified} of {first.account.expected} wanted files are here; {count_text(first.requests, 'request')}"
    )
    click.echo(f"second sync: {second.outcome}: nothing had changed upstream; {count_text(second.requests, 'request')}")
    click.echo("\nthe newest edition of each series (inspire-mirror query --latest):")
    newest = Counter((file.resource, file.sub_resource, file.edition_date or "", ", ".join(file.zones)) for file in demo.files)
    rows = [(resource, sub, zones, edition, str(count)) for (resource, sub, edition, zones), count in sorted(newest.items())]
    table(["resource", "sub-resource", "zones", "edition", "files"], rows, right=["files"], names=["sub-resource"], drop=["zones"])
    click.echo(f"\nthe mirror is in {os.path.relpath(demo.root)}: data/ has the files, current/ a link per series. Try:")
    name = "inspire-mirror" if shutil.which("inspire-mirror") else os.path.relpath(sys.argv[0])
    online = ("catalog", "plan", "sync") if serving else ()
    for command in ("query batiments --zone D038", "query --resource BDORTHO --paths", "status", "verify --full", "serve", *online):
        click.echo(f"  {name} -c {os.path.relpath(demo.config)} {command}")
    if serving:
        click.echo("\nthe sample upstream is running; Ctrl-C stops it")
    else:
        click.echo(f"\nthe sample upstream has stopped; to try catalog, plan and sync on it: {name} demo --serve")
