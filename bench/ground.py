"""Where and how large: the folder that measurements use, the number of rounds, and the sizes of the input."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

KIB, MIB, GIB = 2**10, 2**20, 2**30

_DEBIAN = {"nginx": "nginx-light", "aria2c": "aria2", "curl": "curl", "openssl": "openssl", "7zz": "7zip", "wrk": "wrk"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """The input of the measurements; by default as the goals are stated for."""

    rounds: int = 5
    one_file: int = 2 * GIB
    large_files: int = 8
    large_file: int = 256 * MIB
    small_files: int = 3000
    small_file: int = 64 * KIB
    resources: int = 116
    sub_resources: int = 10_000
    files_each: int = 20
    rows: int = 200_000
    queried_sub_resources: int = 100_000
    queries: int = 500
    archive: int = GIB
    syncs: int = 1000
    served_file: int = GIB
    crowd: int = 200
    crowd_file: int = 32 * MIB


QUICK = Sizes(
    rounds=3,
    one_file=256 * MIB,
    large_file=32 * MIB,
    small_files=500,
    sub_resources=1000,
    rows=20_000,
    queried_sub_resources=5000,
    queries=100,
    archive=32 * MIB,
    syncs=200,
    served_file=128 * MIB,
    crowd_file=4 * MIB,
)


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder on the file system that is measured, and the sizes."""

    folder: Path
    sizes: Sizes

    @property
    def file_system(self) -> str:
        """The type of the file system, as the kernel calls it."""
        best, kind = -1, "unknown"
        for line in Path("/proc/self/mounts").read_text().splitlines():
            mount, found = line.split()[1:3]
            if self.folder.is_relative_to(mount) and len(mount) >= best:
                best, kind = len(mount), found
        return kind

    def room(self, name: str) -> Path:
        """An empty folder for one measurement."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def base_folder() -> Path:
    """`$BENCH_DIR`, else the system's folder for temporary files; there, in a folder of our own."""
    return Path(os.environ.get("BENCH_DIR") or tempfile.gettempdir()).resolve() / "inspire-mirror-bench"


def missing(tools: tuple[str, ...]) -> list[str]:
    """Those tools that are not installed, each with its Debian package."""
    return [f"{tool} (Debian package {_DEBIAN[tool]})" for tool in tools if shutil.which(tool) is None]
