"""How things stand, for people: the tables of `status`, what a service is doing, how available upstreams were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mirror.amounts import count_text, size_text
from mirror.cli.render import clean, one_line, table, time_text
from mirror.observing.standings import failing_hooks


def print_standings(document: Mapping[str, Any]) -> None:
    """The document of `mirror.observing.standings`, as a table and lines."""
    scheduled = any(entry["next_run"] for entry in document["subscriptions"])
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
                *[time_text(entry["next_run"]) if entry["next_run"] else ""] * scheduled,
            )
        )
    columns = ["subscription", "last run", "last success", "upstream date", "files", "size", "missing", "parked"]
    columns += ["next run"] * scheduled
    if rows:
        drop = ["size", "upstream date", "last run"]
        table(columns, rows, right=["files", "size", "missing", "parked"], names=["subscription"], drop=drop)
    for parked in document["parked"]:
        click.echo(clean(_parked_line(parked)))
    for failed in document["not_unpacked"]:
        click.echo(clean(f"not unpacked: {failed['resource']}/{failed['sub_resource']}: {failed['reason']}"))
    for hook in failing_hooks(document["hooks"]):
        click.echo(clean(_hook_line(hook)))
    for unlisted in document["unlisted"]:
        click.echo(clean(f"not listed: {unlisted['what']} of {unlisted['upstream']}: {unlisted['reason']}"))
    click.echo(f"{count_text(document['files'], 'file')}, {size_text(document['bytes'])} under {document['root']}")
    if (run := document["last_run"]) is not None:
        ended = f"{run['outcome']} at {time_text(run['finished_at'])}" if run["finished_at"] else run["outcome"]
        click.echo(f"last run: {run['command']}, started {time_text(run['started_at'])}, {ended}")


def _parked_line(parked: Mapping[str, Any]) -> str:
    where = f"{parked['resource']}/{parked['sub_resource']}/{parked['file']}"
    line = f"parked since {time_text(parked['since'])}: {where}: {parked['reason']}"
    if not parked["last_try"]:
        return line  # found wrong here: nothing was tried yet
    next_try = time_text(parked["next_try"]) if parked["next_try"] else "with the next sync"
    return f"{line} ({count_text(parked['attempts'], 'attempt')}, the last {time_text(parked['last_try'])}; next try: {next_try})"


def _hook_line(hook: Mapping[str, Any]) -> str:
    about = f" for {hook['resource']}/{hook['sub_resource']}" if hook["sub_resource"] else ""
    again = "next try: " + time_text(hook["next_try"]) if hook["next_try"] else "given up; `sync --retry` tries again"
    return (
        f"failing since {time_text(hook['since'])}: {hook['hook']} of {hook['subscription']}{about}: {one_line(hook['message'])} "
        f"({count_text(hook['attempts'], 'attempt')}, the last {time_text(hook['last_try'])}; {again})"
    )


def print_live(live: Mapping[str, Any]) -> None:
    """What a service is doing: the document of `mirror.observing.live`, with the number of runs that are `waiting`."""
    for wall in live["walls"]:
        click.echo(clean(f"{wall['upstream']} has told us to stop; {_time_left(wall['seconds'])} to wait"))
    if (run := live["run"]) is None:
        click.echo("the service is up and idle")
    else:
        click.echo(clean(_run_line(run)))
        rows = []
        for found in live["transfers"]:
            share = f"{100 * found['done'] / found['size']:.0f} %" if found["size"] else ""
            speed = f"{size_text(int(found['bytes_per_second']))}/s"
            rows.append((found["file"], size_text(found["size"]), share, speed, _time_left(found["eta"])))
        if rows:
            table(["file", "size", "done", "speed", "left"], rows, right=["size", "done", "speed", "left"], names=["file"])
    for hook in live.get("hooks", ()):
        about = f" for {hook['resource']}/{hook['sub_resource']}" if hook["sub_resource"] else ""
        click.echo(clean(f"running {hook['hook']} of {hook['subscription']}{about} for {_time_left(hook['seconds'])}"))
    if live["waiting"]:
        click.echo(f"waiting for a turn: {count_text(live['waiting'], 'sync')}")


def _run_line(run: Mapping[str, Any]) -> str:
    why = {"schedule": ", by schedule", "command": ", as a command asked"}.get(run["origin"], "")
    line = f"syncing {', '.join(run['subscriptions'])}{why}, for {_time_left(run['seconds'])}: {run['stage']}"
    if run["files_planned"] is not None:
        line += f"; {run['files_done']:,} of {count_text(run['files_planned'], 'file')}"
        line += f", {size_text(run['bytes_done'])} of {size_text(run['bytes_planned'])}"
    if run["stage"] == "fetching":
        line += f", {size_text(int(run['bytes_per_second']))}/s"
        line += f", {_time_left(run['eta'])} left" if run["eta"] is not None else ""
    if run["files_failed"]:
        line += f"; {run['files_failed']:,} failed"
    return line


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = int(seconds + 0.5)
    if whole < 90:
        return f"{whole} s"
    if whole < 90 * 60:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def print_upstreams(document: Mapping[str, Any]) -> None:
    """How available each upstream was: the document of `status --upstream`."""
    rows = []
    for upstream in document["upstreams"]:
        promised = upstream["promised"]
        for month in upstream["months"]:
            measured = month["availability"]
            verdict = "" if promised is None or measured is None else "kept" if measured >= promised else "missed"
            rows.append(
                (
                    upstream["upstream"],
                    month["month"],
                    "?" if measured is None else _percent(measured),
                    "" if promised is None else _percent(promised),
                    verdict,
                    f"{month['hours']:,}",
                    f"{month['hours_down']:,}",
                    f"{month['requests']:,}",
                    _latency(month["mean_seconds"]),
                    _latency(month["slowest_seconds"]),
                )
            )
    columns = ["upstream", "month", "available", "promised", "", "hours", "down", "requests", "mean", "slowest"]
    right = ["available", "promised", "hours", "down", "requests", "mean", "slowest"]
    if rows:
        table(columns, rows, right=right, names=["upstream"], drop=["slowest", "down", "promised"])
    for upstream in document["upstreams"]:
        if not upstream["months"]:
            click.echo(clean(f"{upstream['upstream']}: nothing was measured yet"))


def _percent(share: float) -> str:
    """Rounded down: 99.99 % is not 100 %."""
    return f"{int(share * 10_000) / 100:.2f} %" if share < 1 else "100 %"


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
