"""What stands before every handler: errors become answers, answers get their headers, requests are told as events."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mirror.errors import IndexUnusable, Locked, MirrorError
from mirror.events import Emit, Note
from mirror.serving.readers import TooBusy
from mirror.store.offer import GivenUp

_LONGEST = 30.0  # seconds until an answer begins

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""On every answer. Pages for people need a policy of their own, and set it themselves."""

_SERVER = "inspire-mirror"


class Problem(web.Response):
    """An error as JSON; `said` is what it says, for who makes a page of it."""

    def __init__(self, status: int, said: str) -> None:
        body = json.dumps({"error": said, "status": status})
        super().__init__(text=body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})
        self.said = said


def problem(status: int, text: str) -> web.Response:
    """An error as JSON."""
    return Problem(status, text)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Complete the headers of an answer that is about to be sent."""
    complete(response)


def complete(response: web.StreamResponse) -> None:
    """Add what every answer has."""
    headers = response.headers
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers["Server"] = _SERVER


def told(emit: Emit) -> Middleware:
    """Requests are told as events, at debug."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        emit(Note(f"{request.remote}: {request.method} {request.rel_url.raw_path[:200]} {response.status}", "debug"))
        return response

    return middleware


def guarded(emit: Emit) -> Middleware:
    """Whatever goes wrong is an answer, and says no more than whoever asked should know."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(_LONGEST):
                return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            said = error.text if error.text and not error.text.startswith(str(error.status)) else HTTPStatus(error.status).phrase
            answer = problem(error.status, said)
            for name in ("Allow", "WWW-Authenticate", "Retry-After"):
                for value in error.headers.getall(name, ()):
                    answer.headers.add(name, value)
            return answer
        except TimeoutError:
            return problem(503, "this took too long; try again")
        except (IndexUnusable, Locked) as error:
            emit(Note(f"HTTP: {request.method} {request.rel_url.raw_path[:200]}: {error}", "debug"))
            answer = problem(503, "the index cannot be read now; /health says why")
            answer.headers["Retry-After"] = "10"
            return answer
        except (TooBusy, GivenUp) as error:
            emit(Note(f"HTTP: {request.method} {request.rel_url.raw_path[:200]}: {error}", "debug"))
            answer = problem(503, str(error))
            answer.headers["Retry-After"] = "5"
            return answer
        except MirrorError as error:
            emit(Note(f"HTTP: {request.method} {request.rel_url.raw_path[:200]}: {error}", "warning"))
            return problem(503, "this cannot be answered now; the log says why")
        except Exception as error:
            # Whatever it is, it is said in the log and not to whoever asked, and the service lives on.
            emit(Note(f"HTTP: {request.method} {request.rel_url.raw_path[:200]}: {type(error).__name__}: {error}", "warning"))
            return problem(500, "this cannot be answered; the log says why")

    return middleware
