"""A mirror that is scrubbed: by a clock of its own, with looks at when each file was last hashed."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from mirror.events import Checked, Event, Note
from mirror.scrubbing import Scrubbed, scrub

from .mirrored import Mirrored, offered
from .upstream import simple_catalogue

CATALOGUE = simple_catalogue(resources=2, subs=3, files=2)
FILES = sorted(offered(CATALOGUE))
FIRST = CATALOGUE.resources[0].listed[0]


class Scrubs:
    """Scrubs in which the time passes only by reading: each file takes a second, and what the events are is kept."""

    def __init__(self, mirror: Mirrored, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.mirror = mirror
        self.meanwhile = meanwhile
        self.seconds = 0.0
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Checked):
            self.seconds += 1
            self.mirror.clock.pass_(seconds=1)
            self.meanwhile()

    async def __call__(self, seconds: float, *names: str, repair: bool = False) -> Scrubbed:
        return await scrub(
            self.mirror.settings,
            names,
            budget=timedelta(seconds=seconds),
            repair=repair,
            emit=self.emit,
            now=self.mirror.clock,
            clock=lambda: self.seconds,
            grace=0,
        )

    def notes(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note)]


def moments(mirror: Mirrored) -> dict[str, str]:
    """When each file was last hashed: the part of the day, by path."""
    rows = mirror.rows("SELECT resource || '/' || sub_resource || '/' || file, substr(verified_at, 1, 19) FROM files")
    return {path: moment[5:] if moment else "" for path, moment in rows}


def path_of(mirror: Mirrored, name: str) -> Path:
    return mirror.root / "data" / "gpf" / name


def flip(path: Path) -> None:
    """Change a byte, and nothing else that a look at the file would show."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
