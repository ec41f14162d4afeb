"""`query` and `status`: questions to the index, answered without network and without a lock."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.amounts import count_text, size_text
from mirror.cli.app import Invocation, json_option, pass_invocation, print_json, print_json_array, reports_errors
from mirror.cli.options import check_days, filter_options
from mirror.cli.render import clean, clip, one_line, table, time_text
from mirror.errors import IndexMissing
from mirror.model import BBox
from mirror.store.lock import is_locked
from mirror.store.query import STATES, Filters, MirroredFile, Reader

if TYPE_CHECKING:
    from mirror.settings import Settings

_COLUMNS = tuple(name for name in MirroredFile._fields if name != "members")
_SHOWN = 200  # rows of a table for people, if no limit is given


@click.command(short_help="Ask what is in the mirror.")
@click.argument("text", metavar="[TEXT]...", nargs=-1)
@filter_options
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES, case_sensitive=False),
    help="State of the file. Repeatable, any case.",
)
@click.option("--member", "members", multiple=True, metavar="GLOB", help="Archives that hold such a file. Repeatable, any case.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many files.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header; lists are joined by semicolons.")
@click.option("--paths", is_flag=True, help="One absolute path a line, of files that are here.")
@click.option("-0", "--null", "null", is_flag=True, help="With --paths: end each with NUL instead of a newline, for xargs -0.")
@json_option
@pass_invocation
@reports_errors
def query(
    invocation: Invocation,
    text: tuple[str, ...],
    resources: tuple[str, ...],
    zones: tuple[str, ...],
    formats: tuple[str, ...],
    crs: tuple[str, ...],
    start: date | None,
    end: date | None,
    updated_from: date | None,
    bbox: BBox | None,
    latest: bool,
    upstreams: tuple[str, ...],
    states: tuple[str, ...],
    members: tuple[str, ...],
    limit: int | None,
    as_csv: bool,
    paths: bool,
    null: bool,
    as_json: bool,
) -> None:
    """List the files that match every filter and every word of TEXT. Words are found without accents: batiments finds Bâtiments.

    Reads the local index, never the network, and never waits for a sync.

    \b
    inspire-mirror query batiments --zone D038 --latest
    inspire-mirror query --resource BDTOPO --format GPKG --latest --paths -0 | xargs -0 -n1 load
    inspire-mirror query --member '*.gpkg' --zone D038
    """
    if sum((as_csv, paths, as_json)) > 1:
        raise click.UsageError("--json, --csv and --paths exclude one another")
    if null and not paths:
        raise click.UsageError("-0 goes with --paths")
    check_days(start, end)
    filters = Filters(
        " ".join(text), resources, zones, formats, crs, start, end, updated_from, bbox, latest, upstreams, states, limit, members
    )
    reader = Reader(_root(invocation))
    files = reader.files(filters)
    if as_json:
        print_json_array(file.as_json() for file in files)
    elif as_csv:
        _print_csv(files)
    elif paths:
        for file in files:
            if file.path is not None:
                click.echo(file.path, nl=not null)
                if null:
                    click.echo("\0", nl=False)
    else:
        _print_files(files, limit, quiet=invocation.quiet)


def _root(invocation: Invocation) -> Path:
    return invocation.settings(offline=True).root


def _print_csv(files: Iterator[MirroredFile]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for file in files:
        values = (getattr(file, name) for name in _COLUMNS)
        row = [";".join(value) if isinstance(value, tuple) else value for value in values]
        # A file gets every byte; a terminal must not obey what a name from outside has in it.
        writer.writerow([clean(value) if isinstance(value, str) else value for value in row] if sys.stdout.isatty() else row)


def _print_files(files: Iterator[MirroredFile], limit: int | None, *, quiet: bool) -> None:
    shown: list[MirroredFile] = []
    here = size = parked = 0
    for file in files:
        if file.path is None:
            parked += 1
        else:
            here += 1
            size += file.size or 0
        if limit is not None or len(shown) < _SHOWN or not sys.stdout.isatty():
            shown.append(file)
    if shown:
        _print_table(shown)
    if quiet:
        return
    missing = f"; {parked:,} parked, not here" if parked else ""
    more = f"; the first {_SHOWN} are shown, --limit or --json shows more" if here + parked > len(shown) else ""
    click.echo(f"{count_text(here, 'file')}, {size_text(size)}{missing}{more}", err=not sys.stdout.isatty())


def _print_table(files: Sequence[MirroredFile]) -> None:
    """A row per file. Where its name does not tell the sub-resource, that stands before it; upstreams too, if there are several."""
    several = len({file.upstream for file in files}) > 1
    alike = Counter((file.upstream, file.resource, file.file) for file in files)
    rows = []
    for file in files:
        told = file.file.startswith(file.sub_resource) and alike[file.upstream, file.resource, file.file] == 1
        name = file.file if told else f"{file.sub_resource}/{file.file}"
        facts = name, clip(file.zones), clip(file.formats), file.edition_date or "", size_text(file.size), file.state
        rows.append((*[file.upstream] * several, file.resource, *facts))
    columns = [*["upstream"] * several, "resource", "file", "zones", "formats", "edition", "size", "state"]
    table(columns, rows, right=["size"], names=["file"], drop=["formats", "zones", "edition", "resource", "size"])


@click.command(short_help="How each subscription stands.")
@json_option
@pass_invocation
@reports_errors
def status(invocation: Invocation, as_json: bool) -> None:
    """Per subscription: last success, newest publication upstream, files, bytes, what is missing; what is parked, and why."""
    settings = invocation.settings(offline=True)
    document = _standings(settings)
    if as_json:
        print_json(document)
        return
    rows = []
    for entry in document["subscriptions"]:
        rows.append(
            (
                entry["subscription"],
                entry["outcome"] or "never run",
                time_text(entry["last_success"]),
                entry["upstream_date"] or "",
                "?" if entry["expected"] is None else f"{entry['files']:,}/{entry['expected']:,}",
                size_text(entry["bytes"]),
                "?" if entry["failures"] is None else str(entry["failures"]),
                str(entry["parked"]),
            )
        )
    columns = ["subscription", "last run", "last success", "upstream date", "files", "size", "missing", "parked"]
    if rows:
        drop = ["size", "upstream date", "last run"]
        table(columns, rows, right=["files", "size", "missing", "parked"], names=["subscription"], drop=drop)
    for parked in document["parked"]:
        click.echo(clean(_parked_line(parked)))
    for failed in document["not_unpacked"]:
        click.echo(clean(f"not unpacked: {failed['resource']}/{failed['sub_resource']}: {failed['reason']}"))
    for hook in document["hooks"]:
        if hook["state"] != "waiting":
            click.echo(clean(_hook_line(hook)))
    for unlisted in document["unlisted"]:
        click.echo(clean(f"not listed: {unlisted['what']} of {unlisted['upstream']}: {unlisted['reason']}"))
    click.echo(f"{count_text(document['files'], 'file')}, {size_text(document['bytes'])} under {settings.root}")
    if (run := document["last_run"]) is not None:
        ended = f"{run['outcome']} at {time_text(run['finished_at'])}" if run["finished_at"] else run["outcome"]
        click.echo(f"last run: {run['command']}, started {time_text(run['started_at'])}, {ended}")


def _parked_line(parked: dict[str, Any]) -> str:
    where = f"{parked['resource']}/{parked['sub_resource']}/{parked['file']}"
    line = f"parked since {time_text(parked['since'])}: {where}: {parked['reason']}"
    if not parked["last_try"]:
        return line  # found wrong here: nothing was tried yet
    next_try = time_text(parked["next_try"]) if parked["next_try"] else "with the next sync"
    return f"{line} ({count_text(parked['attempts'], 'attempt')}, the last {time_text(parked['last_try'])}; next try: {next_try})"


def _hook_line(hook: dict[str, Any]) -> str:
    about = f" for {hook['resource']}/{hook['sub_resource']}" if hook["sub_resource"] else ""
    again = "next try: " + time_text(hook["next_try"]) if hook["next_try"] else "given up; `sync --retry` tries again"
    return (
        f"failing since {time_text(hook['since'])}: {hook['hook']} of {hook['subscription']}{about}: {one_line(hook['message'])} "
        f"({count_text(hook['attempts'], 'attempt')}, the last {time_text(hook['last_try'])}; {again})"
    )


def _standings(settings: Settings) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = {}
    document: dict[str, Any] = {
        "root": str(settings.root),
        "files": 0,
        "bytes": 0,
        "last_run": None,
        "parked": [],
        "unlisted": [],
        "not_unpacked": [],
        "hooks": [],
    }
    try:
        reader = Reader(settings.root)
    except IndexMissing as error:
        click.echo(f"inspire-mirror: {error}", err=True)
    else:
        known = {row["subscription"]: row for row in reader.subscriptions()}
        document["files"], document["bytes"] = reader.totals()
        document["last_run"], document["parked"], document["unlisted"] = reader.last_run(), reader.parked(), reader.unlisted()
        document["not_unpacked"], document["hooks"] = reader.not_unpacked(), reader.hooks()
        if document["last_run"] and not document["last_run"]["finished_at"]:
            document["last_run"]["outcome"] = "running" if is_locked(settings.root) else "killed"
    entries = []
    for name, subscription in settings.subscription.items():
        row = known.get(name, {})
        entries.append(
            {
                "subscription": name,
                "upstream": subscription.upstream,
                "outcome": row.get("outcome"),
                "last_run": row.get("last_run"),
                "last_success": row.get("last_success"),
                "upstream_date": row.get("upstream_date"),
                "files": row.get("files", 0),
                "expected": row.get("expected"),
                "bytes": row.get("bytes", 0),
                "failures": row.get("failures"),
                "parked": row.get("parked", 0),
                "next_run": None,
            }
        )
    document["subscriptions"] = entries
    return document
