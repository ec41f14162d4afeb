"""Archives in tests: which engines decode 7z, and the worker's jobs without its process, which takes most of the time.

In CI, a test that lacks 7-Zip fails; elsewhere it is skipped, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import py7zr.archiveinfo
import pytest

from mirror.archives import Bounds, Member, Unpacked
from mirror.archives.sevenzz import find_7zz
from mirror.archives.worker import answer
from mirror.errors import ArchiveError, ArchiveRefused

from .hostile import FORMATS

needs_7zz = pytest.mark.skipif(
    find_7zz() is None and not os.environ.get("CI"), reason="7-Zip is not installed (Debian package 7zip)"
)

ENGINES = (pytest.param("py7zr"), pytest.param("7zz", marks=needs_7zz))
BY_FORMAT = (
    *(pytest.param("x.7z", *engine.values, marks=engine.marks) for engine in ENGINES),
    *(pytest.param(name, None) for name in FORMATS if name != "x.7z"),
)
"""Each format with each engine that decodes it."""


def probe_here(paths: Sequence[Path], bounds: Bounds) -> tuple[Member, ...]:
    """As `archives.probe`."""
    return tuple(Member(*member) for member in _do(paths, bounds, task="probe")["members"])


def check_here(paths: Sequence[Path], bounds: Bounds, engine: str | None = None) -> None:
    """As `archives.test`."""
    _do(paths, bounds, task="test", engine=engine)


def unpack_here(paths: Sequence[Path], into: Path, bounds: Bounds, engine: str | None = None) -> Unpacked:
    """As `archives.unpack`, but what is left of a failure stays where it is."""
    into.mkdir()
    return Unpacked(**_do(paths, bounds, task="unpack", into=str(into), engine=engine))


def _do(paths: Sequence[Path], bounds: Bounds, **job: Any) -> dict[str, Any]:
    with _limits_of_py7zr():
        said = answer(
            {"engine": None, "paths": list(map(str, paths)), "bounds": asdict(bounds), **job}, lambda count: None, lambda: None
        )
    if "errno" in said:
        raise OSError(said["errno"], said["reason"], said["file"])
    if "error" in said:
        raise (ArchiveRefused if said.get("refused") else ArchiveError)(said["error"])
    return said


@contextmanager
def _limits_of_py7zr() -> Iterator[None]:
    """The worker lowers them for its one archive."""
    names = [name for name in vars(py7zr.archiveinfo) if name.startswith("MAX_")]
    before = {name: getattr(py7zr.archiveinfo, name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(py7zr.archiveinfo, name, value)
