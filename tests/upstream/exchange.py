"""One request to the fake upstream, its entry in the log, and the means to answer it rightly or wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.demo.answer import Answer, begin, send

if TYPE_CHECKING:
    from .fake import FakeUpstream


@dataclass(slots=True)
class Record:
    """A request as it came. `kind` is `capabilities`, `resource`, `sub-resource`, `download` or `other`, `ids` are decoded.

    `path` begins after the base (`/download/...`) and is percent-encoded as it was sent; `time` is in seconds of the fake's clock;
    `status` is None where no answer was begun.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    kind: str
    ids: tuple[str, ...]
    time: float
    status: int | None = None

    @property
    def page(self) -> int:
        """The page of a listing that was asked for."""
        return int(self.query.get("page", "1"))


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request under way; what a fault is given."""

    upstream: FakeUpstream
    request: web.Request
    record: Record

    def answer(self) -> Answer:
        """What the service would answer now."""
        return self.upstream.answer(self.request)

    def whole_answer(self) -> Answer:
        """What the service would answer now, had no range been asked for."""
        headers = self.request.headers.copy()
        headers.popall("Range", None)
        return self.upstream.answer(self.request.clone(headers=headers))

    async def send(self, answer: Answer) -> web.StreamResponse:
        """Sends an answer as a sound service does."""
        self.record.status = answer.status
        return await send(self.request, answer)

    async def send_part(self, answer: Answer, count: int) -> web.StreamResponse:
        """Promises all of an answer, and sends the first `count` bytes; returns when they have left this process."""
        self.record.status = answer.status
        if self.request.transport is not None:
            self.request.transport.set_write_buffer_limits(0)  # so that to drain is to have sent everything
        response = await begin(self.request, answer)
        self.request.writer.send_headers()
        for chunk in replace(answer, stop=min(answer.start + count, answer.end)).chunks():
            await response.write(chunk)
        await self.request.writer.drain()
        return response

    def abort(self) -> None:
        """Breaks the connection without another byte."""
        if self.request.transport is not None:
            self.request.transport.abort()
