"""How things stand, for people: the tables of `status`, what a service is doing, how available upstreams were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirror.cli.render import clean, one_line, show, table
from mirror.language import ENGLISH, Language
from mirror.observing.live import STAGES
from mirror.observing.outcomes import OUTCOMES
from mirror.observing.standings import failing_hooks
from mirror.phrases import (
    availability,
    day,
    joined,
    latency,
    moment,
    number,
    phrase,
    plural,
    share,
    size,
    span,
    speed,
)


def print_standings(document: Mapping[str, Any], language: Language = ENGLISH) -> None:
    """The document of `mirror.observing.standings`, as a table and lines."""
    _print_subscriptions(document["subscriptions"], language)
    lines = [_parked_line(parked) for parked in document["parked"]]
    lines += [
        phrase("not unpacked: {unit}: {reason}", unit=f"{failed['resource']}/{failed['sub_resource']}", reason=failed["reason"])
        for failed in document["not_unpacked"]
    ]
    lines += [_hook_line(hook) for hook in failing_hooks(document["hooks"])]
    lines += [
        phrase(
            "not listed: {what} of {upstream}: {reason}",
            what=phrase("resources") if found["what"] == "resources" else found["what"],
            upstream=found["upstream"],
            reason=found["reason"],
        )
        for found in document["unlisted"]
    ]
    total = phrase(
        "{files}, {size} under {root}", files=_files(document["files"]), size=size(document["bytes"]), root=document["root"]
    )
    lines.append(total)
    if (run := document["last_run"]) is not None:
        outcome = _outcome(run["outcome"])
        if run["finished_at"]:
            outcome = phrase("{outcome} at {moment}", outcome=outcome, moment=moment(run["finished_at"]))
        lines.append(
            phrase(
                "last run: {command}, started {moment}, {outcome}",
                command=run["command"],
                moment=moment(run["started_at"]),
                outcome=outcome,
            )
        )
    for line in lines:
        show(clean(language.put(line)))


def _print_subscriptions(subscriptions: list[dict[str, Any]], language: Language) -> None:
    scheduled = any(entry["next_run"] for entry in subscriptions)
    rows = []
    for entry in subscriptions:
        expected = entry["expected"]
        rows.append(
            (
                entry["subscription"],
                _outcome(entry["outcome"]),
                moment(entry["last_success"]),
                day(entry["upstream_date"] or ""),
                "?" if expected is None else joined("/", (number(entry["files"]), number(expected))),
                size(entry["bytes"]),
                "?" if entry["failures"] is None else str(entry["failures"]),
                str(entry["parked"]),
                *[moment(entry["next_run"]) if entry["next_run"] else ""] * scheduled,
            )
        )
    if not rows:
        return
    subscription, last_run, upstream_date = phrase("subscription"), phrase("last run"), phrase("upstream date")
    numbers = files, amount, missing, parked = phrase("files"), phrase("size"), phrase("missing"), phrase("parked")
    next_run = phrase("next run")
    columns = [subscription, last_run, phrase("last success"), upstream_date, files, amount, missing, parked]
    columns += [next_run] * scheduled
    drop = [amount, upstream_date, last_run, missing, next_run]
    table(columns, rows, right=numbers, names=[subscription], drop=drop, language=language)


def _outcome(outcome: str | None) -> str:
    return OUTCOMES.get(outcome, outcome or "")


def _files(count: int) -> str:
    return plural(count, "{n} file", "{n} files")


def _attempts(count: int) -> str:
    return plural(count, "{n} attempt", "{n} attempts")


def _parked_line(parked: Mapping[str, Any]) -> str:
    facts = {
        "since": moment(parked["since"]),
        "where": f"{parked['resource']}/{parked['sub_resource']}/{parked['file']}",
        "reason": parked["reason"],
    }
    if not parked["last_try"]:
        return phrase("parked since {since}: {where}: {reason}", **facts)  # found wrong here: nothing was tried yet
    return phrase(
        "parked since {since}: {where}: {reason} ({attempts}, the last {last_try}; next try: {next_try})",
        attempts=_attempts(parked["attempts"]),
        last_try=moment(parked["last_try"]),
        next_try=moment(parked["next_try"]) if parked["next_try"] else phrase("with the next sync"),
        **facts,
    )


def _hook_line(hook: Mapping[str, Any]) -> str:
    what = phrase("{hook} of {subscription}", hook=hook["hook"], subscription=hook["subscription"])
    if hook["sub_resource"]:
        what = phrase("{what} for {unit}", what=what, unit=joined("/", (hook["resource"], hook["sub_resource"])))
    again = phrase("given up; `sync --retry` tries again")
    if hook["next_try"]:
        again = phrase("next try: {moment}", moment=moment(hook["next_try"]))
    return phrase(
        "failing since {since}: {what}: {message} ({attempts}, the last {last_try}; {again})",
        since=moment(hook["since"]),
        what=what,
        message=one_line(hook["message"]),
        attempts=_attempts(hook["attempts"]),
        last_try=moment(hook["last_try"]),
        again=again,
    )


def print_live(live: Mapping[str, Any], language: Language = ENGLISH) -> None:
    """What a service is doing: the document of `mirror.observing.live`, with the number of runs that are `waiting`."""
    for wall in live["walls"]:
        line = phrase("{upstream} has told us to stop; {span} to wait", upstream=wall["upstream"], span=span(wall["seconds"]))
        show(clean(language.put(line)))
    if (run := live["run"]) is None:
        show(language.put(phrase("the service is up and idle")))
    else:
        show(clean(language.put(_run_line(run))))
        rows = []
        for found in live["transfers"]:
            part = share(found["done"] / found["size"]) if found["size"] else ""
            rows.append((found["file"], size(found["size"]), part, speed(found["bytes_per_second"]), span(found["eta"])))
        if rows:
            numbers = phrase("size"), phrase("done"), phrase("speed"), phrase("left")
            table([phrase("file"), *numbers], rows, right=numbers, names=[phrase("file")], language=language)
    for hook in live.get("hooks", ()):
        show(clean(language.put(_running_hook_line(hook))))
    if live["waiting"]:
        syncs = plural(live["waiting"], "{n} sync", "{n} syncs")
        show(language.put(phrase("waiting for a turn: {syncs}", syncs=syncs)))


def _running_hook_line(hook: Mapping[str, Any]) -> str:
    facts = {"hook": hook["hook"], "subscription": hook["subscription"], "span": span(hook["seconds"])}
    if not hook["sub_resource"]:
        line: str = phrase("running {hook} of {subscription} for {span}", **facts)
        return line
    unit = f"{hook['resource']}/{hook['sub_resource']}"
    return phrase("running {hook} of {subscription} for {unit} for {span}", **facts, unit=unit)


def _run_line(run: Mapping[str, Any]) -> str:
    facts = {
        "names": ", ".join(run["subscriptions"]),
        "span": span(run["seconds"]),
        "stage": STAGES.get(run["stage"], run["stage"]),
    }
    match run["origin"]:
        case "schedule":
            line: str = phrase("syncing {names}, by schedule, for {span}: {stage}", **facts)
        case "command":
            line = phrase("syncing {names}, as a command asked, for {span}: {stage}", **facts)
        case _:
            line = phrase("syncing {names}, for {span}: {stage}", **facts)
    after: list[str] = []
    if run["files_planned"] is not None:
        after.append(phrase("{done} of {files}", done=number(run["files_done"]), files=_files(run["files_planned"])))
        after.append(phrase("{done} of {size}", done=size(run["bytes_done"]), size=size(run["bytes_planned"])))
    if run["stage"] == "fetching":
        after.append(speed(run["bytes_per_second"]))
        if run["eta"] is not None:
            after.append(phrase("{span} left", span=span(run["eta"])))
    if after:
        line = phrase("{first}; {second}", first=line, second=joined(", ", after))
    if run["files_failed"]:
        failed = plural(run["files_failed"], "{n} failed", "{n} failed")
        line = phrase("{first}; {second}", first=line, second=failed)
    return line


def print_upstreams(document: Mapping[str, Any], language: Language = ENGLISH) -> None:
    """How available each upstream was: the document of `status --upstream`."""
    rows = []
    for upstream in document["upstreams"]:
        promised = upstream["promised"]
        for month in upstream["months"]:
            measured = month["availability"]
            verdict = ""
            if promised is not None and measured is not None:
                verdict = phrase("kept") if measured >= promised else phrase("missed")
            rows.append(
                (
                    upstream["upstream"],
                    day(month["month"]),
                    "?" if measured is None else availability(measured),
                    "" if promised is None else availability(promised),
                    verdict,
                    number(month["hours"]),
                    number(month["hours_down"]),
                    number(month["requests"]),
                    latency(month["mean_seconds"]),
                    latency(month["slowest_seconds"]),
                )
            )
    name, promise = phrase("upstream"), phrase("promised")
    down, slowest = phrase("down"), phrase("slowest")
    right = [phrase("available"), promise, phrase("hours"), down, phrase("requests"), phrase("mean"), slowest]
    columns = [name, phrase("month"), *right[:2], "", *right[2:]]
    if rows:
        table(columns, rows, right=right, names=[name], drop=[slowest, down, promise], language=language)
    for upstream in document["upstreams"]:
        if not upstream["months"]:
            line = phrase("{upstream}: nothing was measured yet", upstream=upstream["upstream"])
            show(clean(language.put(line)))
