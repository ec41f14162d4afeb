"""How the service is seen from outside: it answers over HTTP, watches its upstreams, and writes the textfile after each run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from mirror.events import Emit, Event, Note, RunEnded, fan_out
from mirror.observing.observer import Observer
from mirror.observing.textfile import write_textfile
from mirror.observing.watch import Watch
from mirror.serving.app import make_app
from mirror.serving.listener import Listener
from mirror.serving.site import Site
from mirror.settings import Settings
from mirror.sync import Clock, utc_now


class Outlook:
    """A consumer of the events of all runs. `observer.service` is for the service to fill in."""

    def __init__(
        self, settings: Settings, emit: Emit, *, now: Clock = utc_now, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`emit` is the log: it gets what is told here, and the events of probes."""
        self.observer = Observer(settings, now=now)
        self._emit = emit
        self._watch = Watch(settings, fan_out(self.observer, emit), now=now, clock=clock)
        self._site = Site(self.observer, emit)
        self._listener = Listener(make_app(self._site), settings.serve.listen)
        self._writing: set[asyncio.Task[None]] = set()

    def __call__(self, event: Event) -> None:
        """Take in an event of a run."""
        self.observer(event)
        self._watch(event)
        if isinstance(event, RunEnded) and self.observer.settings.service.textfile is not None:
            task = asyncio.get_running_loop().create_task(self._write_textfile())
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    @property
    def url(self) -> str:
        """Where it answers."""
        return self._listener.url

    def configure(self, settings: Settings) -> None:
        """From now on by these settings; where it listens stays."""
        self.observer.settings = settings
        self._watch.configure(settings)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer and watch while the body runs. Raises ConfigError where it cannot listen."""
        await self._listener.start()
        self._emit(Note(f"serves the mirror at {self._site.seen_at(self.url)}", "notice"))
        watch = asyncio.create_task(self._keep_watch())
        try:
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await self._listener.stop()
            if self._writing:
                await asyncio.wait(self._writing, timeout=2)

    async def _keep_watch(self) -> None:
        try:
            await self._watch.run_forever()
        except Exception as error:  # it only counts: the mirror goes on without it
            self._emit(Note(f"a mistake in this program ended the watch of the upstreams ({error!r}); please report it", "warning"))

    async def _write_textfile(self) -> None:
        if problem := await asyncio.to_thread(write_textfile, self.observer.settings):
            self._emit(Note(problem, "warning"))
