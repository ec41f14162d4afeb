"""What is at which path. So far what machines look at: `/health` and `/metrics`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Generic, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mirror.events import Emit, Note
from mirror.observing.health import Health
from mirror.observing.metrics import CONTENT_TYPE, exposition
from mirror.observing.observer import Observer

T = TypeVar("T")

_FRESH = 1.0
"""Seconds for which an answer is given again: whoever asks more often costs nothing."""

_LONGEST = 30.0  # seconds for one answer
_LARGEST_BODY = 64 * 1024  # bytes of a request; nothing here takes any

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "inspire-mirror",
}
"""On every answer. Pages for people will need a policy of their own, and set it themselves."""


class Shared(Generic[T]):
    """The answer to a question that many ask: it is asked in a thread, once at a time, and holds for a moment."""

    def __init__(self, question: Callable[[], T], clock: Callable[[], float] = time.monotonic, fresh: float = _FRESH) -> None:
        self._question = question
        self._fresh = fresh
        self._clock = clock
        self._asking: asyncio.Task[T] | None = None
        self._since = 0.0

    async def answer(self) -> T:
        """The answer, as old as it may be. What the question raises comes out, and is not kept."""
        task = self._asking
        if task is None or (task.done() and (self._clock() - self._since >= self._fresh or task.exception() is not None)):
            task = self._asking = asyncio.ensure_future(self._ask())
        return await asyncio.shield(task)

    async def _ask(self) -> T:
        answer = await asyncio.to_thread(self._question)
        self._since = self._clock()
        return answer


def make_app(observer: Observer, emit: Emit = lambda event: None, *, fresh: float = _FRESH) -> web.Application:
    """The application for one mirror. Requests are told as events, at debug; `fresh` is for how many seconds answers hold."""
    health = Shared(observer.health, fresh=fresh)
    metrics = Shared(lambda: exposition(observer), fresh=fresh)

    async def get_health(request: web.Request) -> web.StreamResponse:
        return _health(await health.answer(), as_text=_prefers_text(request.headers.get("Accept", "")))

    async def get_metrics(request: web.Request) -> web.StreamResponse:
        body = await metrics.answer()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})

    app = web.Application(middlewares=[_told(emit), _guarded(emit)], client_max_size=_LARGEST_BODY)
    app.router.add_get("/health", get_health)
    app.router.add_get("/metrics", get_metrics)
    app.on_response_prepare.append(_add_headers)
    return app


def problem(status: int, text: str) -> web.Response:
    """An error as JSON."""
    return web.json_response({"error": text, "status": status}, status=status, headers={"Cache-Control": "no-store"})


def _health(found: Health, *, as_text: bool) -> web.Response:
    status = 503 if found.status == "failing" else 200
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    if as_text:
        return web.Response(text=found.as_text(), status=status, headers=headers)
    body = json.dumps(found.as_json(), ensure_ascii=False, indent=2) + "\n"
    return web.Response(text=body, status=status, content_type="application/json", headers=headers)


def _prefers_text(accept: str) -> bool:
    """Whether plain text is named before JSON: curl and scripts that name nothing get JSON."""
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in ("text/plain", "text/*"):
            return True
        if kind in ("application/json", "application/*"):
            return False
    return False


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        if name not in response.headers or name == "Server":
            response.headers[name] = value


def _told(emit: Emit) -> Middleware:
    @web.middleware
    async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        emit(Note(f"{request.remote}: {request.method} {request.rel_url.raw_path[:200]} {response.status}", "debug"))
        return response

    return told


def _guarded(emit: Emit) -> Middleware:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(_LONGEST):
                return await handler(request)
        except web.HTTPException as error:
            answer = problem(error.status, HTTPStatus(error.status).phrase)
            if allow := error.headers.get("Allow"):
                answer.headers["Allow"] = allow
            return answer
        except TimeoutError:
            return problem(503, "this took too long; try again")
        except Exception as error:
            # Whatever it is, it is said in the log and not to whoever asked, and the service lives on.
            emit(Note(f"HTTP: {request.method} {request.rel_url.raw_path[:200]}: {type(error).__name__}: {error}", "warning"))
            return problem(500, "this cannot be answered; the log says why")

    return guarded
