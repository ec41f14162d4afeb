"""The service over many syncs that find nothing new: its memory, and what one of them costs."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, at_most
from bench.ground import Ground
from mirror.demo.samples import sample_catalogue
from mirror.demo.service import SampleService
from mirror.service.handover import Handed, find_service
from mirror.settings import load

_WARM = 100  # syncs after which every pool and cache is as full as it gets


def service(ground: Ground) -> Iterator[Figure]:
    """As many syncs as `ground` has, handed over one after the other to a running service."""
    folder = ground.room("service")
    with _upstream() as url, _running(folder, url) as process:
        _sync(folder)
        sizes = []
        began, used = time.monotonic(), _used(process.pid)
        for number in range(ground.sizes.syncs):
            _sync(folder)
            if number in (_WARM - 1, ground.sizes.syncs - 1):
                sizes.append(_resident(process.pid))
        seconds, used = time.monotonic() - began, _used(process.pid) - used
    note = f"{sizes[0] / 2**20:.1f} MiB after {_WARM}, {sizes[1] / 2**20:.1f} MiB after {ground.sizes.syncs}"
    yield Figure("service: memory after all syncs / after the first ones", sizes[1] / sizes[0], goal=at_most(1.05), note=note)
    each = f"{seconds / ground.sizes.syncs * 1000:.0f} ms with the command that hands it over"
    yield Figure("service: processor time of a sync that finds nothing new", used / ground.sizes.syncs * 1000, "ms", note=each)


def _sync(folder: Path) -> None:
    settings = load(folder / "inspire-mirror.toml", {})
    place = find_service(settings, {})
    if place is None:
        raise RuntimeError("the service does not answer")
    with Handed(place, (), retry=False, wait=True) as handed:
        report = handed.follow(lambda event: None)
    if report.outcome != "complete":
        raise RuntimeError(f"a sync ended {report.outcome}: {report.reason}")


@contextmanager
def _running(folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "inspire-mirror.toml").write_text(
        f'root = "mirror"\n[serve]\nlisten = "127.0.0.1:0"\n[upstream.sample]\nurl = "{url}"\nrequests_per_second = 1000\n'
        '[subscription.all]\nresources = ["*"]\nedition = "all"\n',
        "utf-8",
    )
    with subprocess.Popen([sys.executable, "-m", "mirror", "-q", "run"], cwd=folder) as process:
        try:
            until = time.monotonic() + 60
            while find_service(load(folder / "inspire-mirror.toml", {}), {}) is None:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the service did not come up")
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()


@contextmanager
def _upstream() -> Iterator[str]:
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        sample, stop = SampleService(sample_catalogue()), asyncio.Event()
        await sample.start()
        started.set_result((sample.url, asyncio.get_running_loop(), stop))
        await stop.wait()
        await sample.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url, loop, stop = started.result(60)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def _resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def _used(pid: int) -> float:
    """Processor seconds."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return sum(int(field) for field in fields[11:13]) / os.sysconf("SC_CLK_TCK")
