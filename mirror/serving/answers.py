"""Documents that are made of the index, kept until the index changes: most of what is asked for is asked for again."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import count

from aiohttp import web

from mirror.serving.negotiation import listed
from mirror.serving.readers import Lane, Readers
from mirror.store.offer import Offer

_MOST_BYTES = 64 * 2**20
_ENTRY = 2048  # bytes that a kept document takes besides its body
_COSTLY = 0.05  # seconds; what takes longer to make holds for a while, whatever a sync under way changes meanwhile
_HOLDS = 10.0  # times what it took
_HOLDS_AT_MOST = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Document:
    """A body with its media type, as it is sent with the status 200. `vary` names the request headers that it depends on.

    `is_of_now` says whether all of it was read of the index just now: what is of a moment ago is kept for seconds at most.
    """

    body: bytes
    content_type: str
    vary: str = ""
    is_of_now: bool = True
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.body).hexdigest()[:32]}"')


@dataclass(slots=True)
class _Kept:
    document: Document
    version: Hashable | None
    good_until: float
    holds_until: float
    begun: int


class Answers:
    """Makes documents, and remembers them by a key that says all that they depend on besides the index."""

    def __init__(self, readers: Readers, *, most_bytes: int = _MOST_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._readers = readers
        self._most_bytes = most_bytes
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._bytes = 0
        self._making: dict[Hashable, asyncio.Task[Document | None]] = {}
        self._begun = count()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    async def get(
        self,
        key: Hashable,
        make: Callable[[Offer], Document | None],
        lane: Lane = "listings",
        *,
        version: Hashable | None = None,
    ) -> Document | None:
        """The document, or None where `make` finds that there is none. Raises what `Readers.ask` and `make` raise.

        `repr(key)` tells keys apart; what is kept of it does not grow with it. `version` is that of the index where `make` goes by
        one that was looked up before.
        """
        key = hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).digest()
        kept = self._kept.get(key)
        version = self._readers.version() if version is None else version
        if kept is not None:
            now = self._clock()
            is_same = version is not None and kept.version == version
            if (is_same and now < kept.good_until) or now < kept.holds_until:
                self._kept.move_to_end(key)
                return kept.document
        # Who comes while it is being made waits for the same; if the index has changed since it was begun, it is made anew.
        turn = (key, version)
        task = self._making.get(turn)
        if task is None:
            task = self._making[turn] = asyncio.create_task(self._make(key, version, make, lane))
            task.add_done_callback(lambda task: self._is_made(turn, task))
        return await asyncio.shield(task)

    async def _make(
        self, key: Hashable, version: Hashable | None, make: Callable[[Offer], Document | None], lane: Lane
    ) -> Document | None:
        def timed(offer: Offer) -> tuple[Document | None, float]:
            begun = self._clock()
            return make(offer), self._clock() - begun

        begun = next(self._begun)
        document, cost = await self._readers.ask(timed, lane)
        if document is None:  # names of what is not there are endless
            return None
        until = self._clock() + min(cost * _HOLDS, _HOLDS_AT_MOST) if cost > _COSTLY else 0.0
        good_until = math.inf if document.is_of_now else self._clock() + _HOLDS_AT_MOST
        self._keep(key, _Kept(document, version, good_until, until, begun))
        return document

    def _is_made(self, turn: Hashable, task: asyncio.Task[Document | None]) -> None:
        self._making.pop(turn, None)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone, and then nobody looks at it

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        before = self._kept.get(key)
        if before is not None and before.begun > kept.begun:  # what took longer than a newer one would be given for seconds again
            return
        self._forget(key)
        self._kept[key] = kept
        self._bytes += len(kept.document.body) + _ENTRY
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept.document.body) + _ENTRY


def respond(request: web.Request, document: Document | None) -> web.Response:
    """The answer with a document, or 304 for who has it already. Raises HTTPNotFound where there is none."""
    if document is None:
        raise web.HTTPNotFound
    headers = {"ETag": document.etag, "Cache-Control": "no-cache"}
    if document.vary:
        headers["Vary"] = document.vary
    known = [tag.strip().removeprefix("W/") for tag in listed(request, "If-None-Match").split(",")]
    if document.etag in known or known == ["*"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=document.body, headers={"Content-Type": document.content_type, **headers})
