"""`inspire-mirror serve`: the mirror over HTTP, without the service that syncs it; both may run at once, at two addresses."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from mirror.errors import ConfigError, MirrorError
from mirror.events import Emit, Note
from mirror.observing.observer import Observer
from mirror.observing.standings import standings
from mirror.service.handover import ask, find_service
from mirror.service.notify import Notify
from mirror.service.service import Ended
from mirror.serving.app import make_app
from mirror.serving.listener import Listener
from mirror.serving.site import Site
from mirror.settings import Settings


async def serve_only(
    settings: Settings, load: Callable[[], Settings], emit: Emit, *, environ: Mapping[str, str] | None = None
) -> Ended:
    """Answer until a signal ends it; `load` reads the config anew. Raises ConfigError where it cannot listen."""
    notify = Notify(os.environ if environ is None else environ)
    observer = Observer(settings)
    site = Site(observer, emit)
    site.status = lambda: _status(observer.settings, os.environ if environ is None else environ)
    listener = Listener(make_app(site), settings.serve.listen)
    ended: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    def end(by: signal.Signals) -> None:
        if not ended.done():
            ended.set_result(by)

    def reload() -> None:
        notify.reloading()
        try:
            fresh = load()
            if (fresh.root, fresh.serve.listen) != (observer.settings.root, observer.settings.serve.listen):
                raise ConfigError("root and [serve] listen cannot change while it runs; restart it")
            observer.settings = fresh
            emit(Note("the config was read again", "notice"))
        except (ConfigError, ValueError, OverflowError) as error:
            emit(Note(f"the config was not taken; the old one stays in effect: {error}", "warning"))
        notify.ready(f"serving at {listener.url}")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await listener.start()
    try:
        notify.ready(f"serving at {listener.url}")
        emit(Note(f"serves the mirror at {site.seen_at(listener.url)}", "notice"))
        return Ended(await ended, 0)
    finally:
        notify.stopping()
        await listener.stop()


def _status(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """The document of `status --json`, with what a running service of this mirror tells."""
    told: dict[str, Any] = {}
    with suppress(MirrorError, OSError):
        place = find_service(settings, environ)
        told = ask(place, "status") if place is not None else {}
    document = standings(settings, {name: datetime.fromisoformat(at) for name, at in told.get("next_runs", {}).items()})
    document["live"] = told.get("live")
    return document
