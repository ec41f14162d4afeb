"""The routes below `/{upstream}/download/`: files, their checksums and metalinks, folders."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex

from aiohttp import web

from mirror.events import Note
from mirror.serving.absent import ids_of, not_here
from mirror.serving.answers import Document, respond
from mirror.serving.downloads import listings
from mirror.serving.downloads.conditions import CONDITIONS, Outcome, outcome_of, range_holds
from mirror.serving.downloads.headers import (
    body_headers,
    etag_of,
    file_headers,
    media_type,
    modified_of,
    plain_headers,
    whole_headers,
)
from mirror.serving.downloads.lookups import Lookups, Wanted
from mirror.serving.downloads.opening import Broken, Changing, Found, Opened, Place, Unopened
from mirror.serving.downloads.ranges import Span, Unsatisfiable, spans_of
from mirror.serving.downloads.sending import FileAnswer, Part
from mirror.serving.negotiation import listed
from mirror.serving.site import Site, path_of
from mirror.store.offer import Offer, OfferedFile

_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between looks at a file that is being replaced
_BACK_SOON, _BACK_LATER = "5", "300"  # seconds
_MOST_TOLD = 1000
_PAGE = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


def download_routes(site: Site) -> list[web.RouteDef]:
    """The routes to files, and to what goes with them."""
    files = _Files(site, Lookups(site.readers))

    async def get_file(request: web.Request) -> web.StreamResponse:
        place = Place(*(request.match_info[name] for name in ("upstream", "resource", "sub_resource", "name")))
        answer = await files.answer(request, place)
        if answer is None and place.name in (listings.MD5SUMS, listings.SHA256SUMS):
            answer = await document(request, lambda offer: listings.checksums(offer, *place.parts))
        if answer is None:
            raise await not_here(site, *place.parts)
        return answer

    async def get_folder(request: web.Request) -> web.StreamResponse:
        ids = ids_of(request)
        page = _page_of(request.query)

        def make(offer: Offer) -> Document | None:
            match ids:
                case (upstream,):
                    return listings.folder_of_upstream(offer, upstream)
                case (upstream, resource):
                    return listings.folder_of_resource(offer, upstream, resource, page)
                case (upstream, resource, sub_resource):
                    return listings.folder_of_sub(offer, upstream, resource, sub_resource, page)
            return None

        found = await site.answers.get(("folder", ids, page), make)
        if found is None:
            raise await not_here(site, *ids)
        return respond(request, found)

    async def get_metalink(request: web.Request) -> web.StreamResponse:
        upstream, resource, name = (request.match_info[name] for name in ("upstream", "resource", "sub_resource"))
        if name.endswith(listings.METALINK_SUFFIX):
            base, sub_resource = site.base(request), name.removesuffix(listings.METALINK_SUFFIX)
            found = await site.answers.get(
                ("metalink", base, upstream, resource, sub_resource),
                lambda offer: listings.metalink(offer, base, upstream, resource, sub_resource),
            )
            if found is not None:
                return respond(request, found)
        return await get_bare(request)

    async def get_bare(request: web.Request) -> web.StreamResponse:
        ids = [request.match_info[name] for name in ("upstream", "resource", "sub_resource") if name in request.match_info]
        if not await site.readers.ask(lambda offer: offer.offers(*ids)):
            raise await not_here(site, *ids)
        raise web.HTTPPermanentRedirect(f"{site.prefix()}{path_of(ids[0], 'download', *ids[1:])}/")

    async def document(request: web.Request, make: Callable[[Offer], Document | None]) -> web.StreamResponse | None:
        found = await site.answers.get(("sums", *request.match_info.values()), make)
        return respond(request, found) if found is not None else None

    # As aiohttp has it, a name has no braces; those of upstream may.
    upstream, resource, sub_resource, name = (f"{{{part}:[^/]+}}" for part in ("upstream", "resource", "sub_resource", "name"))
    folder = f"/{upstream}/download"
    return [
        web.get(f"{folder}/{resource}/{sub_resource}/{name}", get_file),  # first, as most of what is asked for is this
        web.get(folder, get_bare),
        web.get(f"{folder}/", get_folder),
        web.get(f"{folder}/{resource}", get_bare),
        web.get(f"{folder}/{resource}/", get_folder),
        web.get(f"{folder}/{resource}/{sub_resource}", get_metalink),
        web.get(f"{folder}/{resource}/{sub_resource}/", get_folder),
    ]


@dataclass(slots=True)
class _Files:
    """Answers with files."""

    site: Site
    lookups: Lookups
    told: OrderedDict[Place, str] = field(default_factory=OrderedDict)
    """The files of which the log says already what is wrong with them."""

    async def answer(self, request: web.Request, place: Place) -> web.StreamResponse | None:
        """The answer with a file; None where there is none."""
        headers = {name: listed(request, name) for name in CONDITIONS if name in request.headers}
        # Conditions on a file that nginx sends are about the tags that nginx gives: it judges them.
        accel = self.site.settings.serve.accel

        def outcome(file: OfferedFile) -> Outcome:
            return "send" if accel else outcome_of(headers, etag_of(file), modified_of(file))

        found = await self._look_up(place, lambda file: outcome(file) == "send")
        match found:
            case None:
                return None
            case Changing():
                raise web.HTTPServiceUnavailable(
                    text="this file is being replaced by a newer one; try again", headers={"Retry-After": _BACK_SOON}
                )
            case Broken(why):
                self._tell(place, why)
                raise web.HTTPServiceUnavailable(
                    text="this file cannot be had until it is mended", headers={"Retry-After": _BACK_LATER}
                )
            case Unopened(file):
                status = 304 if outcome(file) == "not modified" else 412
                return web.Response(status=status, headers=file_headers(file, datetime.now(UTC)))
            case Opened(file, stream):
                self.told.pop(place, None)
                try:
                    return _by_nginx(found, accel, place) if accel else _with_bytes(request, found, datetime.now(UTC))
                except BaseException:
                    stream.close()
                    raise

    async def _look_up(self, place: Place, needs_bytes: Callable[[OfferedFile], bool]) -> Found:
        """Whoever comes while it is being replaced is kept waiting for a moment."""
        root = self.site.settings.root
        for wait in (*_WAITS, None):
            found = await self.lookups.look_up(root, Wanted(place, needs_bytes))
            if wait is None or not isinstance(found, Changing | Broken):
                return found
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    def _tell(self, place: Place, why: str) -> None:
        """In the log, once: those who ask for it ask often."""
        if self.told.get(place) == why:
            return
        self.told[place] = why
        while len(self.told) > _MOST_TOLD:
            self.told.popitem(last=False)
        self.site.emit(Note(f"cannot be served: data/{'/'.join(place.parts)}: {why}; verify --repair mends it", "warning"))


def _by_nginx(opened: Opened, accel: str, place: Place) -> web.StreamResponse:
    """nginx opens the file itself, a moment later: of its bytes nothing can be said here that must be true of them."""
    opened.stream.close()
    headers = {**plain_headers(opened.file), "Cache-Control": "no-cache, no-transform"}
    return web.Response(headers={**headers, "X-Accel-Redirect": f"{accel.rstrip('/')}{path_of(*place.parts)}"})


def _with_bytes(request: web.Request, opened: Opened, now: datetime) -> web.StreamResponse:
    file = opened.file
    headers = file_headers(file, now)
    spans: tuple[Span, ...] = ()
    if request.method == "GET" and range_holds(request.headers.get("If-Range"), etag_of(file), modified_of(file), now):
        try:
            spans = spans_of(_only(request.headers.getall("Range", [])), file.size)
        except Unsatisfiable:
            opened.stream.close()
            return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
    headers |= body_headers(file, request.headers.get("Want-Repr-Digest"))
    if len(spans) > 1:
        return _in_parts(opened, spans, headers)
    if spans:
        headers["Content-Range"] = spans[0].of(file.size)
        return FileAnswer(opened.stream, [Part(b"", spans[0])], status=206, headers=headers, length=spans[0].length)
    headers |= whole_headers(file)
    whole = [Part(b"", Span(0, file.size))] if file.size else []
    return FileAnswer(opened.stream, whole, status=200, headers=headers, length=file.size)


def _in_parts(opened: Opened, spans: tuple[Span, ...], headers: Mapping[str, str]) -> web.StreamResponse:
    """multipart/byteranges (RFC 9110, 14.6)."""
    file, boundary = opened.file, token_hex(16)
    kind = media_type(file.remote.media_type)
    parts = [
        Part(
            f"\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {span.of(file.size)}\r\n\r\n".encode("ascii"),
            span,
        )
        for span in spans
    ]
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = sum(len(part.head) + part.span.length for part in parts) + len(tail)
    typed = {**headers, "Content-Type": f"multipart/byteranges; boundary={boundary}"}
    return FileAnswer(opened.stream, parts, tail, status=206, headers=typed, length=length)


def _only(values: list[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def _page_of(query: Mapping[str, str]) -> int:
    text = query.get("page", "1")
    if not _PAGE.fullmatch(text):
        raise web.HTTPBadRequest(text="page must be a number from 1")
    return int(text)
