"""A mirror that is served over HTTP: really synced from a fake upstream, answered over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from multidict import CIMultiDict

from mirror.demo.catalogue import Catalogue
from mirror.events import Event
from mirror.observing.observer import Observer
from mirror.serving.answers import Answers
from mirror.serving.app import make_app
from mirror.serving.listener import Listener
from mirror.serving.site import Site
from mirror.settings.addresses import Address
from mirror.sync import Report

from .mirrored import Mirrored
from .upstream import FakeUpstream


@dataclass(frozen=True)
class Answered:
    """An answer that came whole."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ServedMirror:
    """A mirror of the fake upstream `gpf`, at `url`; `serve` is the table of its config, to be changed at will."""

    mirror: Mirrored
    observer: Observer
    site: Site
    client: aiohttp.ClientSession
    url: str = ""
    serve: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.mirror.root

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Answered:
        """One request, `path` as it is sent, percent-encoded. Redirects are not followed; nothing is unpacked."""
        from yarl import URL

        address = path if path.startswith("http") else self.url + path
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, URL(address, encoded=True), headers=named, allow_redirects=False) as response:
            return Answered(response.status, response.headers.copy(), await response.read())

    async def sync(self, catalogue: Catalogue | None = None) -> Report:
        """Publish a catalogue upstream, if one is given, and sync."""
        if catalogue is not None:
            self.mirror.upstream.catalogue = catalogue
        self.configure()
        return await self.mirror.sync()

    def configure(self, **serve: Any) -> None:
        """Have the settings of now taken, as after a reload; `serve` are keys of the table [serve]."""
        self.serve.update(serve)
        self.observer.settings = settings_of(self.mirror, self.serve)


def settings_of(mirror: Mirrored, serve: Mapping[str, Any]) -> Any:
    """The settings of a mirror with a table [serve]."""
    from mirror.settings.schema import Serve

    return mirror.settings.model_copy(update={"serve": Serve.model_validate(dict(serve), context={"folder": mirror.root})})


@asynccontextmanager
async def served_mirror(
    root: Path, source: Catalogue | FakeUpstream, *, sync: bool = True, **serve: Any
) -> AsyncIterator[ServedMirror]:
    """A mirror of all of a catalogue, synced (unless told otherwise) and served; `serve` are keys of the table [serve]."""
    fake = source if isinstance(source, FakeUpstream) else FakeUpstream(source)
    async with fake as upstream, aiohttp.ClientSession(auto_decompress=False) as client:
        mirror = Mirrored(root, upstream)
        observer = Observer(settings_of(mirror, serve), now=mirror.clock)
        events: list[Event] = []
        site = Site(observer, events.append)
        # What took long holds for seconds: not for days, which pass within one on the clock of the mirror.
        site.answers = Answers(site.readers, clock=lambda: mirror.clock().timestamp())
        served = ServedMirror(mirror, observer, site, client, serve=dict(serve), events=events)
        if sync:
            assert (await served.sync()).outcome == "complete"
        listener = Listener(make_app(site, fresh=0), Address("127.0.0.1", 0))
        await listener.start()
        served.url = listener.url
        try:
            yield served
        finally:
            await listener.stop()
