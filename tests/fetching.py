"""A bench for transfers: one file of a fake upstream, a fetcher, and what stands in staging."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mirror.demo.body import Body, Pattern, read
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.events import Event, FileKey
from mirror.model import RemoteFile
from mirror.transfer.fetch import Fetcher, Staged
from mirror.transfer.receive import Lane
from mirror.transfer.sidecar import Sidecar, load_sidecar, save_sidecar
from mirror.upstream.session import Patience, Session

from .upstream import FakeUpstream

MIB = 1 << 20
QUICK = Patience(idle=0.3, retry_for=0.05, first_wait=0.001, longest_wait=0.002)
NAME = "file.7z"
PATH = f"/download/R/S/{NAME}"

AnyEvent = TypeVar("AnyEvent", bound=Event)


def catalogue_of(body: Body, name: str = NAME) -> Catalogue:
    return Catalogue((SampleResource("R", (SampleSub("S", updated="2026-01-01", files=(SampleFile(name, body),)),)),))


@dataclass
class Bench:
    """What a test works on. `part` and `ready` are where a transfer keeps its bytes, before and after they are verified."""

    upstream: FakeUpstream
    session: Session
    folder: Path
    body: Body
    name: str = NAME
    events: list[Event] = field(default_factory=list)

    @property
    def part(self) -> Path:
        return self.folder / "parts" / f"{self.name}.part"

    @property
    def ready(self) -> Path:
        return self.folder / "ready" / self.name

    def listed(self, **facts: Any) -> RemoteFile:
        """The file as the feed lists it, but for `facts`."""
        url = f"{self.upstream.base}/download/R/S/{self.name}"
        return RemoteFile(**{"name": self.name, "url": url, "size": self.body.size, "md5": self.body.md5(), **facts})

    async def fetch(self, file: RemoteFile | None = None) -> Staged:
        """Fetch in a lane of its own, as a run of its own would."""
        lane = Lane("test")
        try:
            fetcher = Fetcher(self.session, lane, self.events.append)
            return await fetcher.fetch(file or self.listed(), FileKey("gpf", "R", "S", self.name), self.part, self.ready)
        finally:
            await asyncio.to_thread(lane.close)

    def right(self, staged: Staged) -> bool:
        """Whether every byte is there, and nothing is left of the way."""
        return staged.path.read_bytes() == read(self.body) and not list(self.folder.glob("parts/*"))

    def leave_behind(self, content: bytes, sidecar: Sidecar | None = None, **facts: Any) -> None:
        """A partial file of an earlier run, with a sidecar that is honest but for `facts`."""
        file = self.listed()
        honest = {"url": file.url, "size": file.size, "md5": file.md5, "validator": None, "offset": len(content)}
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.part.write_bytes(content)
        save_sidecar(self.part, sidecar or Sidecar(**{**honest, **facts}))

    def kept(self) -> tuple[int, int]:
        """Bytes in the partial file, and bytes that its sidecar claims."""
        sidecar = load_sidecar(self.part)
        return self.part.stat().st_size if self.part.exists() else 0, sidecar.offset if sidecar else 0

    def of(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def asked(self) -> list[str | None]:
        """The `Range` of each download that was asked for."""
        return [record.headers.get("Range") for record in self.upstream.matching("download")]


@asynccontextmanager
async def bench(
    folder: Path, body: Body | int, *, patience: Patience = QUICK, name: str = NAME, session: Any = None, **options: Any
) -> AsyncIterator[Bench]:
    """A bench for one file; `options` are those of the fake upstream, `session` those of the session."""
    made = Pattern(body, "bench") if isinstance(body, int) else body
    events: list[Event] = []
    async with (
        FakeUpstream(catalogue_of(made, name), **options) as upstream,
        Session(
            "gpf", upstream.url, emit=events.append, patience=patience, **{"requests_per_second": 10_000, **(session or {})}
        ) as client,
    ):
        yield Bench(upstream, client, folder, made, name, events)
