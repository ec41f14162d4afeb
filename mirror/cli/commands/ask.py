"""`query` and `status`: questions to the index, answered without network and without a lock."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.amounts import count_text, size_text
from mirror.cli.app import Invocation, json_option, pass_invocation, print_json, print_json_array, reports_errors, say
from mirror.cli.options import check_days, filter_options
from mirror.cli.render import clean, clip, table
from mirror.errors import ConfigError, MirrorError
from mirror.model import BBox
from mirror.store.query import STATES, Filters, MirroredFile, Reader
from mirror.store.written import csv_lines

if TYPE_CHECKING:
    from mirror.language import Language
    from mirror.settings import Settings

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
    # A file gets every byte; a terminal must not obey what a name from outside has in it.
    sys.stdout.writelines(csv_lines(files, shown=clean if sys.stdout.isatty() else str))


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
@click.option("--upstream", "upstreams", is_flag=True, help="Instead: how available each upstream was, month by month.")
@json_option
@pass_invocation
@reports_errors
def status(invocation: Invocation, upstreams: bool, as_json: bool) -> None:
    """Per subscription: last success, newest publication upstream, files, bytes, what is missing; what is parked, and why."""
    from mirror.cli.standing import print_live, print_standings, print_upstreams
    from mirror.observing.standings import standings, upstream_standings

    settings, language = invocation.settings(offline=True), invocation.language()
    if upstreams:
        document = upstream_standings(settings)
        show: Callable[[dict[str, Any], Language], None] = print_upstreams
    else:
        service = _ask_service(settings)
        next_runs = {name: datetime.fromisoformat(at) for name, at in service.get("next_runs", {}).items()}
        document = standings(settings, next_runs, tell=lambda error: say(str(error), "notice", language))
        document["live"] = service.get("live")
        show = print_standings
    if as_json:
        print_json(document)
        return
    show(document, language)
    if live := document.get("live"):
        print_live(live, language)


def _ask_service(settings: Settings) -> dict[str, Any]:
    """How things stand with the running service of this mirror; nothing where there is none, or it does not talk to this user."""
    from mirror.service.handover import ask, find_service

    try:
        place = find_service(settings, os.environ)
        return ask(place, "status") if place is not None else {}
    except ConfigError as error:  # there is one, for others
        say(str(error), "warning")
        return {}
    except (MirrorError, OSError):
        return {}
