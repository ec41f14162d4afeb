"""`/api/query`: the files that match, as the command `query` gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from aiohttp import web

from mirror.serving.answers import Document, respond
from mirror.serving.api.parameters import QUERY, asked, flag, wrong
from mirror.serving.api.spool import Pieces, Spooled, Spools, is_there
from mirror.serving.negotiation import listed, weight_of
from mirror.serving.site import Site, path_of
from mirror.store.asking import FILTERS, Wrong, filters_of
from mirror.store.query import Filters, MirroredFile, Reader
from mirror.store.written import csv_lines, json_array, json_lines

JSON = "application/json"
_CSV = "text/csv"
_LINES = "application/x-ndjson"
_TYPES = {JSON: f"{JSON}; charset=utf-8", _CSV: f"{_CSV}; charset=utf-8; header=present", _LINES: f"{_LINES}; charset=utf-8"}
FORMS = tuple(_TYPES)
"""What is spoken here, by media type; the first is for who does not care."""

_WAIT = 5.0  # seconds for who keeps even readers out of the index
_STEPS = 20_000  # of SQLite, between looks whether anybody waits for the answer
_VARY = "Accept, Accept-Encoding"


def query_handler(site: Site, spools: Spools) -> Callable[[web.Request], Any]:
    """Answers `/api/query`."""

    async def get_query(request: web.Request) -> web.StreamResponse:
        given = asked(request, QUERY)
        filters = filters_of((name, value) for name, value in given if name in FILTERS)
        if isinstance(filters, Wrong):
            wrong(filters.name, filters.why)
        base = site.base(request) if flag(given, "links") else None
        form = preferred_form(listed(request, "Accept"))
        if base is not None and form == _CSV:
            wrong("links", "is not for CSV, which has the columns of the command")
        spool = spools.open(_pieces(site.settings.root, filters, form, base))
        kept = False
        try:
            whole = await spool.begun(is_waited_for=lambda: is_there(request))
            if whole is not None:
                return respond(request, Document(whole, _TYPES[form], vary=_VARY))
            kept = True
            return Spooled(spool, _TYPES[form], packed=takes_gzip(request.headers.get("Accept-Encoding", "")), vary=_VARY)
        finally:
            if not kept:
                spool.give_up()

    return get_query


def _pieces(root: Path, filters: Filters, form: str, base: str | None) -> Pieces:
    def pieces(is_given_up: Callable[[], bool]) -> Iterator[str]:
        if is_given_up():
            return
        reader = Reader(root, wait=_WAIT)
        try:
            reader.connection.set_progress_handler(is_given_up, _STEPS)
            with closing(reader.files(filters)) as files:
                if form == _CSV:
                    yield from csv_lines(files)
                else:
                    yield from (json_lines if form == _LINES else json_array)(_objects(files, base))
        finally:
            reader.close()

    return pieces


def _objects(files: Iterable[MirroredFile], base: str | None) -> Iterator[Mapping[str, Any]]:
    for file in files:
        found = file.as_json()
        if base is not None:
            here = path_of(file.upstream, "download", file.resource, file.sub_resource, file.file)
            found["href"] = base + here if file.path is not None else None
        yield found


def preferred_form(accept: str) -> str:
    """The media type among `FORMS` that an Accept header likes best; the first one where it likes none, or all alike."""
    liked = [(_liking(accept, kind), kind) for kind in FORMS]
    best = max(weight for weight, _ in liked)
    return next(kind for weight, kind in liked if weight == best)


def takes_gzip(accept: str) -> bool:
    """Whether an Accept-Encoding header takes gzip."""
    return weight_of(accept, "gzip", "x-gzip") > 0


def _liking(accept: str, kind: str) -> float:
    for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if (weight := weight_of(accept, name)) >= 0:
            return weight
    return 0.0
