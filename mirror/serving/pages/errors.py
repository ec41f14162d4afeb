"""Errors for who looks with a browser: pages like the others, that say what to do. Programs go on to get JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mirror.errors import MirrorError
from mirror.phrases import Phrase, phrase, span
from mirror.serving.guards import Problem
from mirror.serving.pages.rendering import CONTENT_TYPE, POLICY, VARY, render
from mirror.serving.site import Site, language_of
from mirror.store.offer import Offer

_KEPT = ("Allow", "WWW-Authenticate", "Retry-After", "Cache-Control")
_LONGEST = 64  # characters of a name that nobody knows


def errors_as_pages(site: Site) -> Middleware:
    """What `guards.guarded` has made JSON of an error becomes a page for browsers; it stands before that in the row."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if not isinstance(answer, Problem) or not is_browser(request):
            return answer
        upstreams = await _upstreams(site, request) if answer.status == 404 else []
        later = answer.headers.get("Retry-After", "")
        page = error_page(
            site, request, answer.status, answer.said, upstreams=upstreams, seconds=int(later) if later.isdecimal() else None
        )
        for name in _KEPT:
            for number, value in enumerate(answer.headers.getall(name, ())):
                if number == 0:
                    page.headers[name] = value
                else:
                    page.headers.add(name, value)
        return page

    return middleware


async def _upstreams(site: Site, request: web.Request) -> list[str]:
    """Those that are here, if the address asks for one that is not."""
    asked = request.path.split("/")[1]
    names = list(site.settings.upstream)
    with suppress(MirrorError):  # the config knows enough
        names += await site.readers.ask(Offer.upstreams)
    return list(dict.fromkeys(names)) if asked not in (*names, "-", "api") else []


def error_page(
    site: Site,
    request: web.Request,
    status: int,
    detail: str = "",
    missing: bool = False,
    *,
    upstreams: Sequence[str] = (),
    seconds: int | None = None,
) -> web.Response:
    """The page for a status; `detail` is in English, and is put into the language where we know it.

    `missing` says that there is no index yet, `upstreams` are those that are here instead of one that is not, `seconds` when to
    come back.
    """
    title, text = _MISSING if missing else _SAID.get(status, _SAID[400 if status < 500 else 500])
    if status == 503 and seconds is not None and not missing:
        text = phrase("Try again in {span}.", span=span(seconds))
    known = _DETAILS.get(detail)
    body = render(
        "error.html",
        language_of(request),
        site.prefix(),
        "/",
        title=title,
        text=text,
        status=status,
        detail=detail if known is None else known,
        known=known is not None,
        missing=missing,
        asked_for=request.path.split("/")[1][:_LONGEST],
        upstreams=upstreams,
    )
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-store",
        "Vary": f"Accept, {VARY}",
    }
    return web.Response(body=body, status=status, headers=headers)


def is_browser(request: web.Request) -> bool:
    """Browsers name HTML; those who name nothing, or anything, are programs."""
    return "text/html" in request.headers.get("Accept", "")


_MISSING: tuple[Phrase, Phrase] = (
    phrase("Nothing has been mirrored yet"),
    phrase("There is no index: the first sync makes it. Who runs this mirror can start one now."),
)
_SAID: dict[int, tuple[Phrase, Phrase]] = {
    400: (phrase("This request was not understood"), phrase("Something in the address is not as it should be.")),
    401: (
        phrase("This is not for everybody"),
        phrase("A token is needed. Reload this page: the browser asks for a user, any will do, and for a password: the token."),
    ),
    404: (
        phrase("There is nothing at this address"),
        phrase("It may never have been mirrored, or is not complete at the moment. A search may find what you are looking for."),
    ),
    405: (phrase("This cannot be done"), phrase("This mirror can only be read.")),
    500: (phrase("This went wrong"), phrase("It is our fault, not yours; the log of the mirror says why.")),
    503: (phrase("This cannot be answered now"), phrase("Try again in a moment.")),
}
_DETAILS: dict[str, Phrase] = {
    str(known): known
    for known in (
        phrase("the token of this mirror was not read"),
        phrase("this file cannot be had until it is mended"),
        phrase("this file is being replaced by a newer one; try again"),
        phrase("this took too long; try again"),
        phrase("the index cannot be read now; /health says why"),
        phrase("this cannot be answered now; the log says why"),
        phrase("this cannot be answered; the log says why"),
        phrase("this question takes too long; ask for less at once"),
        phrase("this question takes too long to answer; narrow it"),
        phrase("the Host header of this request is no host"),
        phrase("page must be a number from 1"),
    )
}
"""What other rooms say in English, word for word, so that it can be put into the language of who reads it."""
