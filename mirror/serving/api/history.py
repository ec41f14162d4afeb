"""`/api/runs`, `/api/changes` and the Atom feed of changes: what happened, page by page."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from mirror.serving.answers import Document, respond
from mirror.serving.api.feed import Feed, written
from mirror.serving.api.parameters import (
    CHANGE_FEED,
    CHANGE_LIST,
    MOST_CHANGES,
    MOST_RUNS,
    RUN_LIST,
    RUNS,
    SOME_CHANGES,
    asked,
    flag,
    number,
    one,
    several,
    wrong,
)
from mirror.serving.site import Site, path_of
from mirror.store.catalogue import to_text
from mirror.store.history import (
    CHANGES,
    Change,
    Cursor,
    RecordedRun,
    Stale,
    changes_after,
    cursor_at,
    history_id,
    newest_changes,
    recorded_runs,
)
from mirror.store.lock import is_locked
from mirror.store.offer import Offer

Given = Sequence[tuple[str, str]]

_CURSOR = re.compile(r"([0-9]{1,18})(?:-([0-9a-f]{8}))?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_BLANK_FOR_PLUS = re.compile(r" (?=[0-9]{2}:?[0-9]{2}$)", re.ASCII)  # what a + in an address means
_GONE = frozenset({"pruned", "parked", "set-aside"})
"""Changes behind which there is nothing to be had."""


def runs_handler(site: Site) -> Callable[[web.Request], Any]:
    """Answers `/api/runs`."""

    async def get_runs(request: web.Request) -> web.StreamResponse:
        given = asked(request, RUN_LIST)
        before, limit = number(given, "before"), number(given, "limit", most=MOST_RUNS) or RUNS
        commands, reports = several(given, "command"), flag(given, "reports", default=True)
        base = site.base(request)

        def ask(offer: Offer) -> Document:
            runs, more = recorded_runs(offer.connection, before=before, commands=commands, limit=limit, reports=reports)
            link = _link(base, "/api/runs", given, before=str(runs[-1].id)) if more else None
            return _json({"runs": [_run(run, site) for run in runs], "next": link})

        return respond(request, await site.readers.ask(ask))

    return get_runs


def changes_handler(site: Site) -> Callable[[web.Request], Any]:
    """Answers `/api/changes`."""

    async def get_changes(request: web.Request) -> web.StreamResponse:
        given = asked(request, CHANGE_LIST)
        since, limit = _since(given), number(given, "limit", most=MOST_CHANGES) or SOME_CHANGES
        kinds = several(given, "kind", CHANGES)
        base = site.base(request)

        def make(offer: Offer) -> Document:
            page = changes_after(offer.connection, _place(offer.connection, since), kinds=kinds, limit=limit)
            link = _link(base, "/api/changes", given, since=str(page.cursor)) if page.more else None
            href = _folders(offer, base)
            found = [{**change._asdict(), "href": href(change)} for change in page.found]
            return _json({"changes": found, "cursor": str(page.cursor), "next": link})

        return await _answer(request, site, (base, str(since), limit, kinds), make)

    return get_changes


def feed_handler(site: Site) -> Callable[[web.Request], Any]:
    """Answers `/api/changes.atom`."""

    async def get_feed(request: web.Request) -> web.StreamResponse:
        given = asked(request, CHANGE_FEED)
        since, limit = _since(given), number(given, "limit", most=MOST_CHANGES) or SOME_CHANGES
        before, kinds = number(given, "before"), several(given, "kind", CHANGES)
        base = site.base(request)

        def make(offer: Offer) -> Document:
            after = _place(offer.connection, since)
            if isinstance(since, Cursor):
                changes_after(offer.connection, after, limit=1)  # is it a place in this history?
            found, more = newest_changes(offer.connection, after, before=before, kinds=kinds, limit=limit)
            here = _link(base, "/api/changes.atom", given)
            older = _link(base, "/api/changes.atom", given, before=str(found[-1].id)) if more else None
            href = _folders(offer, base)
            entries = [(change, _page(change, base), href(change)) for change in found]
            feed = Feed(history_id(offer.connection), here, base + "/", older, entries)
            return Document(written(feed), "application/atom+xml; charset=utf-8")

        return await _answer(request, site, (base, tuple(given)), make)

    return get_feed


async def _answer(request: web.Request, site: Site, key: object, make: Callable[[Offer], Document]) -> web.StreamResponse:
    try:
        return respond(request, await site.answers.get((request.path, key), make))
    except Stale:
        text = "since: this is no place in the history of this mirror, whose index was built anew; ask again with a day"
        raise web.HTTPGone(text=text) from None


def _since(given: Given) -> Cursor | str:
    """A cursor, or a moment in UTC as the index writes it."""
    value = one(given, "since")
    if value is None:
        return Cursor(0)
    if cursor := _CURSOR.fullmatch(value):
        return Cursor(int(cursor[1]), cursor[2] or "")
    with suppress(ValueError):
        if _DAY.fullmatch(value):
            return date.fromisoformat(value).isoformat()
        if _DAY.match(value):
            return to_text(_in_utc(datetime.fromisoformat(_BLANK_FOR_PLUS.sub("+", value))))
    wrong("since", f"{value!r} is no day (2026-10-06), no moment (2026-10-06T12:00:00Z) and no cursor of an answer")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:  # within a day of the first or last moment that there is
        return moment.replace(tzinfo=UTC)


def _place(sql: sqlite3.Connection, since: Cursor | str) -> Cursor:
    return since if isinstance(since, Cursor) else cursor_at(sql, since)


def _run(run: RecordedRun, site: Site) -> Mapping[str, Any]:
    found = run._asdict()
    if run.finished_at is None and run.outcome is None:
        found["outcome"] = "running" if is_locked(site.settings.root) else "killed"
    return found


def _folders(offer: Offer, base: str) -> Callable[[Change], str | None]:
    """Says where what has changed can be had: the folder of the sub-resource, where there is one now."""
    offers = cache(offer.offers)  # many changes are about the same few

    def href(change: Change) -> str | None:
        if change.resource is None or change.sub_resource is None or change.change in _GONE:
            return None
        if not offers(change.upstream, change.resource, change.sub_resource):
            return None
        return base + path_of(change.upstream, "download", change.resource, change.sub_resource) + "/"

    return href


def _page(change: Change, base: str) -> str:
    """The page for people that it is about."""
    return base + (path_of(change.upstream, change.resource) if change.resource is not None else "/")


def _link(base: str, path: str, given: Given, **changed: str) -> str:
    """The same question with another value."""
    kept = [(name, value) for name, value in given if name not in changed]
    query = urlencode([*kept, *changed.items()])
    return f"{base}{path}?{query}" if query else f"{base}{path}"


def _json(document: Mapping[str, Any]) -> Document:
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    return Document(text.encode("utf-8", "backslashreplace"), "application/json; charset=utf-8")
