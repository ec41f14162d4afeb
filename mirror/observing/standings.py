"""How the mirror stands: the document of `status --json`, for the command line, the service and whoever asks over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from mirror.errors import IndexMissing
from mirror.observing.availability import months
from mirror.phrases import number, phrase
from mirror.settings import Settings
from mirror.settings.known import promised_availability
from mirror.store.catalogue import to_text
from mirror.store.lock import is_locked
from mirror.store.observed import Observed
from mirror.store.query import Reader

NextRuns = Mapping[str, datetime]
"""When each subscription is synced next, by its name; what is missing is not scheduled, or nobody runs the schedule."""


def standings(
    settings: Settings, next_runs: NextRuns | None = None, *, tell: Callable[[IndexMissing], None] = lambda error: None
) -> dict[str, Any]:
    """How each subscription stands, what is parked, what the last run was. `tell` hears that there is no index yet.

    Raises IndexUnusable, Locked for an index that is there and cannot be read.
    """
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
    known: dict[str, dict[str, Any]] = {}
    try:
        reader = Reader(settings.root)
    except IndexMissing as error:
        tell(error)
    else:
        try:
            known = {row["subscription"]: row for row in reader.subscriptions()}
            document["files"], document["bytes"] = reader.totals()
            document["last_run"], document["parked"], document["unlisted"] = reader.last_run(), reader.parked(), reader.unlisted()
            document["not_unpacked"], document["hooks"] = reader.not_unpacked(), reader.hooks()
        finally:
            reader.close()
        if document["last_run"] and not document["last_run"]["finished_at"]:
            document["last_run"]["outcome"] = "running" if is_locked(settings.root) else "killed"
    document["subscriptions"] = [
        _standing(name, found.upstream, known.get(name, {}), (next_runs or {}).get(name))
        for name, found in settings.subscription.items()
    ]
    return document


def _standing(name: str, upstream: str, row: Mapping[str, Any], next_run: datetime | None) -> dict[str, Any]:
    return {
        "subscription": name,
        "upstream": upstream,
        "outcome": row.get("outcome"),
        "last_run": row.get("last_run"),
        "last_success": row.get("last_success"),
        "upstream_date": row.get("upstream_date"),
        "files": row.get("files", 0),
        "expected": row.get("expected"),
        "bytes": row.get("bytes", 0),
        "failures": row.get("failures"),
        "parked": row.get("parked", 0),
        "next_run": to_text(next_run) if next_run is not None else None,
    }


def upstream_standings(settings: Settings) -> dict[str, Any]:
    """How available each upstream was, month by month: the document of `status --upstream --json`.

    Raises IndexUnusable, Locked.
    """
    reader = Reader(settings.root)
    try:
        hours = Observed(reader).hours()
    finally:
        reader.close()
    by_month = months(hours, {name: upstream.host for name, upstream in settings.upstream.items()})
    names = [*settings.upstream, *(name for name in by_month if name not in settings.upstream)]
    return {
        "upstreams": [
            {
                "upstream": name,
                "url": settings.upstream[name].url if name in settings.upstream else None,
                "promised": promised_availability(settings.upstream[name].url) if name in settings.upstream else None,
                "months": [{"month": found.month, **found.available.as_json()} for found in by_month.get(name, [])],
            }
            for name in names
        ]
    }


def failing_hooks(hooks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of the `hooks` of a document, those that fail; where one fails with the same words for many, one that stands for all.

    Its sub-resource says of how many others that is true as well; its next try is the first of all.
    """
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for hook in hooks:
        if hook["state"] != "waiting":
            groups.setdefault((hook["subscription"], hook["hook"], hook["message"]), []).append(hook)
    found = []
    for first, *others in groups.values():
        shown = dict(first)
        if others:
            everyone = (first, *others)
            shown["sub_resource"] = phrase("{name} and {n} more", name=first["sub_resource"], n=number(len(others)))
            shown["since"] = min((hook["since"] for hook in everyone if hook["since"]), default=None)
            shown["last_try"] = max((hook["last_try"] for hook in everyone if hook["last_try"]), default=None)
            shown["next_try"] = min((hook["next_try"] for hook in everyone if hook["next_try"]), default=None)
        found.append(shown)
    return found
