"""The fake upstream itself: what it logs, which faults come when, and how it bans a client that asks too often."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Self

from aiohttp import web

from mirror.demo.answer import Answer, problem
from mirror.demo.catalogue import Catalogue
from mirror.demo.service import BASE, DOWNLOAD, OTHER, Route, SampleService
from mirror.model import Level
from mirror.serving.geoplateforme.spelling import Document

from .exchange import Exchange, Record
from .faults import Fault, retry_after

KINDS = (*(level.value for level in Level), DOWNLOAD, OTHER)

Match = str | Callable[[Record], bool]
"""Which requests: one of `KINDS`, a glob on `Record.path`, or a function of the record."""


def on_page(kind: str, page: int) -> Callable[[Record], bool]:
    """Matches the requests for one page of a kind of listing."""
    return lambda record: record.kind == kind and record.page == page


class FakeUpstream(SampleService):
    """The sample service with a log and with faults.

    With `json=False` it writes XML whatever is asked for; with `xml_only_406` it refuses who takes nothing but JSON. `documents`
    make JSON documents out of the base of links, by their path after the base (`/capabilities`); they are served in place of what
    the catalogue says there, in JSON or spelt as XML. `clock` gives seconds, for the ban and the log.
    """

    def __init__(
        self,
        catalogue: Catalogue | None = None,
        *,
        json: bool = True,
        xml_only_406: bool = False,
        etags: bool = False,
        last_modified: bool = False,
        documents: Mapping[str, Callable[[str], Document]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(catalogue or Catalogue(), etags=etags, last_modified=last_modified)
        self.json = json and not xml_only_406
        self.xml_only_406 = xml_only_406
        self.documents = dict(documents or {})
        self.requests: list[Record] = []
        self._clock = clock
        self._scripts: list[_Script] = []
        self._ban: _Ban | None = None
        self._stopping = asyncio.Event()

    def count(self, match: Match | None = None, status: int | None = None) -> int:
        """How many requests came, of those that match, and were answered with `status`."""
        return len(self.matching(match, status))

    def matching(self, match: Match | None = None, status: int | None = None) -> list[Record]:
        """The requests that came, of those that match, and were answered with `status`, in their order."""
        matches = _matcher(match) if match is not None else lambda _: True
        return [record for record in self.requests if matches(record) and status in (None, record.status)]

    def clear(self) -> None:
        """Forgets the log."""
        self.requests.clear()

    def script(self, match: Match, faults: Iterable[Fault], *, forever: bool = False) -> None:
        """Lets the next requests that match meet these faults, one each, in order; `forever` repeats the last one.

        A request meets one fault at most: that of the first script that matches it and is not used up.
        """
        self._scripts.append(_Script(_matcher(match), deque(faults), forever))

    def heal(self) -> None:
        """Takes back all scripts and the ban."""
        self._scripts.clear()
        self._ban = None

    def ban(self, rate: int, seconds: float, growth: float = 1) -> None:
        """From now on, over `rate` requests in a second draw 429 for every request, for `seconds` after the last one made.

        By [O] `Retry-After` falls once the client stops asking too much; here every request during a ban extends it, by `growth`
        times as long as the one before, so that only a client passes that really stops.
        """
        self._ban = _Ban(rate, seconds, growth)

    async def stopped(self, within: float | None = None) -> bool:
        """Waits until the fake stops, or for that many seconds; says whether it has stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), within)
        return self._stopping.is_set()

    async def start(self, port: int = 0) -> str:
        self._stopping.clear()
        return await super().start(port)

    async def stop(self) -> None:
        self._stopping.set()
        await super().stop()

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Runs the fake in a thread with an event loop of its own, for tests that are synchronous."""
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="fake upstream")
        thread.start()
        try:
            loop, done = started.result()
            try:
                yield self
            finally:
                loop.call_soon_threadsafe(done.set)
        finally:
            thread.join()

    async def _serve(self, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        done = asyncio.Event()
        try:
            await self.start()
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result((asyncio.get_running_loop(), done))
        await done.wait()
        await self.stop()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        route = Route.of(request.rel_url.raw_path)
        path = request.rel_url.raw_path.removeprefix(BASE)
        record = Record(request.method, path, request.query, request.headers, route.kind, route.ids, self._clock())
        self.requests.append(record)
        exchange = Exchange(self, request, record)
        if self._ban is not None and (wait := self._ban.wait(record.time)):
            return await retry_after(429, math.ceil(wait))(exchange)
        for script in self._scripts:
            if script.matches(record) and (fault := script.next_fault()):
                return await fault(exchange)
        return await exchange.send(exchange.answer())

    def answer(self, request: web.Request) -> Answer:
        if self.xml_only_406 and super().wants_json(request) and "xml" not in request.headers.get("Accept", ""):
            return problem(HTTPStatus.NOT_ACCEPTABLE)
        return super().answer(request)

    def wants_json(self, request: web.Request) -> bool:
        return self.json and super().wants_json(request)

    def page(self, request: web.Request, route: Route) -> Answer | None:
        make = self.documents.get(request.rel_url.raw_path.removeprefix(BASE))
        if make is None:
            return super().page(request, route)
        document = make(self.base_for(request))
        return self.written(request, document, beyond=int(request.query.get("page", "1")) > document["pagecount"])


@dataclass(slots=True)
class _Script:
    matches: Callable[[Record], bool]
    faults: deque[Fault]
    forever: bool

    def next_fault(self) -> Fault | None:
        if not self.faults:
            return None
        return self.faults[0] if self.forever and len(self.faults) == 1 else self.faults.popleft()


@dataclass(slots=True)
class _Ban:
    rate: int
    seconds: float
    growth: float
    length: float = 0
    until: float = -math.inf
    recent: deque[float] = field(default_factory=deque)

    def wait(self, now: float) -> float:
        """The seconds for which a request at `now` is refused; 0 where it passes."""
        if now >= self.until:
            self.recent.append(now)
            while self.recent[0] <= now - 1:
                self.recent.popleft()
            if len(self.recent) <= self.rate:
                return 0
            self.recent.clear()
            self.length = self.seconds
        else:
            self.length *= self.growth
        self.until = now + self.length
        return self.length


def _matcher(match: Match) -> Callable[[Record], bool]:
    if not isinstance(match, str):
        return match
    if match in KINDS:
        return lambda record: record.kind == match
    return lambda record: fnmatchcase(record.path, match)
