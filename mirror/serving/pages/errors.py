"""Errors for who looks with a browser: pages like the others, that say what to do. Programs go on to get JSON."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mirror.phrases import Phrase, phrase
from mirror.serving.guards import Problem
from mirror.serving.pages.rendering import CONTENT_TYPE, POLICY, VARY, render
from mirror.serving.site import Site, language_of

_KEPT = ("Allow", "WWW-Authenticate", "Retry-After", "Cache-Control")


def errors_as_pages(site: Site) -> Middleware:
    """What `guards.guarded` has made JSON of an error becomes a page for browsers; it stands before that in the row."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if not isinstance(answer, Problem) or not is_browser(request):
            return answer
        page = error_page(site, request, answer.status, answer.said)
        for name in _KEPT:
            for number, value in enumerate(answer.headers.getall(name, ())):
                if number == 0:
                    page.headers[name] = value
                else:
                    page.headers.add(name, value)
        return page

    return middleware


def error_page(site: Site, request: web.Request, status: int, detail: str = "", missing: bool = False) -> web.Response:
    """The page for a status; `detail` is in English. `missing` says that there is no index yet."""
    title, text = _MISSING if missing else _SAID.get(status, _SAID[400 if status < 500 else 500])
    body = render(
        "error.html",
        language_of(request),
        site.prefix(),
        "/",
        title=title,
        text=text,
        status=status,
        detail=detail,
        missing=missing,
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
    401: (phrase("This is not for everybody"), phrase("A token is needed to see this.")),
    404: (
        phrase("There is nothing at this address"),
        phrase("It may never have been mirrored, or is not complete at the moment. A search may find what you are looking for."),
    ),
    405: (phrase("This cannot be done"), phrase("This mirror can only be read.")),
    500: (phrase("This went wrong"), phrase("It is our fault, not yours; the log of the mirror says why.")),
    503: (phrase("This cannot be answered now"), phrase("Try again in a moment.")),
}
