"""The demo: a sample upstream, a config, two syncs and some questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiofiles
import aiofiles.os

from mirror.demo.samples import sample_catalogue
from mirror.demo.service import SampleService
from mirror.errors import ConfigError
from mirror.events import Emit
from mirror.settings import CONFIG_NAME, load
from mirror.store.query import Filters, MirroredFile, Reader
from mirror.sync import Report, sync

_CONFIG = """\
# Written by `inspire-mirror demo`. The sample upstream lives only as long as that command runs; to sync
# again, keep it running with `inspire-mirror demo --serve`.
# query, status and verify need no upstream: inspire-mirror -c {path} query --latest

root = "mirror"
contact = "demo@example.org"

[upstream.sample]
url = "{url}"
requests_per_second = 200                  # it is our own machine; the default of 4 suits public services
retry_for = "2s"

[subscription.topo]                        # two departments and an overseas one, the last two editions of each
resources = ["BDTOPO"]
zones = ["D038", "D073", "D971"]
formats = ["GPKG"]
edition = 2

[subscription.admin]
resources = ["ADMIN-EXPRESS*"]

[subscription.ortho]                       # an archive in volumes, with its .md5: published together or not at all
resources = ["BDORTHO"]

[subscription.lidar]                       # what meets a box, each tile as soon as it is verified
resources = ["LiDARHD*"]
bbox = [5.5, 44.7, 6.4, 45.9]
publish = "each"
"""


@dataclass(frozen=True, slots=True)
class Demo:
    """How the demo went: a first sync, a second one, and what the index then says."""

    config: Path
    root: Path
    first: Report
    second: Report
    files: tuple[MirroredFile, ...]

    @property
    def exit_code(self) -> int:
        """Of the worse of both syncs."""
        return max(self.first.exit_code, self.second.exit_code)

    def as_json(self) -> dict[str, Any]:
        """The document of `demo --json`."""
        return {
            "exit_code": self.exit_code,
            "config": str(self.config),
            "root": str(self.root),
            "first": self.first.as_json(),
            "second": self.second.as_json(),
            "files": [file.as_json() for file in self.files],
        }


async def run_demo(folder: Path, emit: Emit, stay: Callable[[Demo], None] | None = None) -> Demo:
    """Serve the samples on loopback, sync twice into `folder`, and read the index.

    With `stay`, which is told how it went, the samples are then served until this is cancelled.

    Raises:
        ConfigError: the folder has a config that the demo did not write, or cannot be written.
        MirrorError: as `sync`.
    """
    config = folder / CONFIG_NAME
    async with SampleService(sample_catalogue()) as service:
        await _write_config(config, service.url)
        settings = load(config.absolute(), {})
        first = await sync(settings, emit=emit)
        second = await sync(settings, emit=emit)
        reader = Reader(settings.root)
        files = tuple(reader.files(Filters(latest=True)))
        reader.close()
        demo = Demo(config, settings.root, first, second, files)
        if stay is not None:
            stay(demo)
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    return demo


async def _write_config(path: Path, url: str) -> None:
    try:
        await aiofiles.os.makedirs(path.parent, exist_ok=True)
        async with aiofiles.open(path, "a+", encoding="utf-8") as stream:
            await stream.seek(0)
            there = await stream.read()
            if there and not there.startswith(_CONFIG[:38]):
                raise ConfigError(f"{path} was not written by the demo and is left as it is; name another folder")
            await stream.truncate(0)
            await stream.write(_CONFIG.format(path=path, url=url))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot write {path}: {error.strerror if isinstance(error, OSError) else error}") from error
