"""What is answered where no request could be made of what came: like every other error, and without a word of what was sent."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from mirror.serving.guards import complete, problem

LARGEST_LINE = 8190  # bytes
LARGEST_FIELD = LARGEST_LINE + 2
"""Bytes of a header with its name. Not as many as of a line: an error tells which of both was too long by its limit alone."""


class Conversation(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, or went wrong outside all handlers. Raises ConnectionError where one has begun."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, and cannot become another one")
        if isinstance(exc, LineTooLong):
            status = 414 if exc.args[1] == LARGEST_LINE else 431
        answer = problem(status, _SAID.get(status, HTTPStatus(status).phrase))
        complete(answer)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send it. An error from before any handler is asked, as for an `Expect` that nobody knows, would quote the request."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = problem(resp.status, HTTPStatus(resp.status).phrase)
            complete(resp)
        return await super().finish_response(request, resp, start_time)


_SAID = {
    400: "this is no HTTP request that can be read",
    414: "the address is too long",
    431: "a header is too long",
    500: "this cannot be answered",
}
