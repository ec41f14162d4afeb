"""An answer before it is sent: a status, headers and a window of a body; ranges and conditions are settled here (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus

from aiohttp import web

from mirror.demo.body import Body, Held

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: the bytes of `body` from `start` up to `stop` (default: all), after a status and headers."""

    status: int
    body: Body
    headers: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    stop: int | None = None

    @property
    def end(self) -> int:
        """Where the bytes that are sent end."""
        return self.body.size if self.stop is None else self.stop

    @property
    def length(self) -> int:
        """How many bytes are sent."""
        return self.end - self.start

    def chunks(self) -> Iterator[bytes]:
        """The bytes that are sent, in pieces."""
        return self.body.chunks(self.start, self.end)


def problem(status: HTTPStatus, detail: str = "") -> Answer:
    """An answer that says what is wrong, for people."""
    return Answer(status, Held(f"{detail or status.phrase}\n".encode()), {"Content-Type": "text/plain;charset=UTF-8"})


def file_answer(body: Body, headers: Mapping[str, str], asked: Mapping[str, str]) -> Answer:
    """A file, or the part or the 304 that the request's headers `asked` for; `headers` are those of the whole file.

    Several ranges at once are not supported, so they get the whole file, as RFC 9110 allows. Without a validator no `If-Range` can
    hold, so it gets the whole file as well.
    """
    size = body.size
    if _unchanged(headers, asked):
        return Answer(HTTPStatus.NOT_MODIFIED, Held(b""), headers)
    headers = {**headers, "Accept-Ranges": "bytes"}
    wanted = _RANGE.fullmatch(asked.get("Range", ""))
    condition = asked.get("If-Range")
    if (
        wanted is None
        or wanted[0] == "bytes=-"
        or (condition and condition not in (headers.get("ETag"), headers.get("Last-Modified")))
    ):
        return Answer(HTTPStatus.OK, body, headers)
    if wanted[1]:
        start, stop = int(wanted[1]), min(int(wanted[2]) + 1 if wanted[2] else size, size)
    else:
        start, stop = max(size - int(wanted[2]), 0), size
    if start >= size or start >= stop:
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, Held(b""), {**headers, "Content-Range": f"bytes */{size}"})
    return Answer(HTTPStatus.PARTIAL_CONTENT, body, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}, start, stop)


def http_date(iso: str) -> str:
    """The day of an ISO 8601 text, at midnight, as an HTTP date. Raises ValueError where the text begins with no day."""
    return format_datetime(datetime.fromisoformat(iso[:10]).replace(tzinfo=UTC), usegmt=True)


async def begin(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Sends the status and headers of an answer, and promises all of its bytes."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = answer.length
    await response.prepare(request)
    return response


async def send(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Sends an answer; a HEAD gets no body."""
    response = await begin(request, answer)
    if request.method != "HEAD":
        for chunk in answer.chunks():
            await response.write(chunk)
    await response.write_eof()
    return response


def _unchanged(headers: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    if "ETag" in headers and "If-None-Match" in asked:
        return headers["ETag"] in re.split(r",\s*", asked["If-None-Match"])
    return "Last-Modified" in headers and asked.get("If-Modified-Since") == headers["Last-Modified"]
