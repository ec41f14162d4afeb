"""File systems of a test's own: small ones that can be filled to the page, and read-only ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

PAGE = 4096
_INSIDE = "TESTS_IN_OWN_MOUNTS"


@lru_cache(maxsize=1)
def may_mount() -> bool:
    """Whether this process may mount a file system."""
    folder = tempfile.mkdtemp()
    try:
        if _quiet("mount", "-t", "tmpfs", "none", folder) != 0:
            return False
        return _quiet("umount", folder) == 0
    finally:
        os.rmdir(folder)


def need_mounts() -> None:
    """Skip a test where nothing can be mounted, here or in a namespace of its own; in CI, fail."""
    if may_mount():
        return
    if _quiet("unshare", "-rm", "true") == 0:
        pytest.skip("may not mount here; run in a mount namespace of its own by the first test of this file")
    if os.environ.get("CI"):
        pytest.fail("neither mount nor unshare -rm works here")
    pytest.skip("neither mount nor unshare -rm is permitted")


def run_in_own_mounts(file: str) -> None:
    """Run the tests of a file in a mount namespace of their own, where this process may not mount."""
    if may_mount() or os.environ.get(_INSIDE):
        pytest.skip("may mount without that")
    need_namespace = _quiet("unshare", "-rm", "true") == 0
    if not need_namespace:
        need_mounts()
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-m", "pytest", file], env={**os.environ, _INSIDE: "1"}, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout


def _quiet(*command: str) -> int:
    if shutil.which(command[0]) is None:
        return 127
    return subprocess.run(command, capture_output=True, check=False).returncode


class Disk:
    """A mounted tmpfs of `size` bytes and, if given, as many `inodes`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._filler = place / "filler"

    @property
    def free(self) -> int:
        """Free pages."""
        stats = os.statvfs(self.place)
        return stats.f_bavail * stats.f_frsize // PAGE

    def leave(self, pages: int) -> None:
        """Fill it until just so many pages are free; None of what others have written is touched."""
        self.clear()
        if (size := (self.free - pages) * PAGE) > 0:
            with open(self._filler, "wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, size)

    def leave_inodes(self, count: int) -> None:
        """Make empty files until just so many more can be made."""
        self.clear()
        folder = self.place / "fillers"
        folder.mkdir()
        for number in range(os.statvfs(self.place).f_favail - count):
            (folder / str(number)).touch()

    def clear(self) -> None:
        """Take the filling away."""
        self._filler.unlink(missing_ok=True)
        shutil.rmtree(self.place / "fillers", ignore_errors=True)

    def read_only(self) -> None:
        """From now on nothing can be written."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.place)], check=True)

    def writable(self) -> None:
        """The reverse."""
        subprocess.run(["mount", "-o", "remount,rw", str(self.place)], check=True)


@contextmanager
def disk(place: Path, size: int, inodes: int = 0) -> Iterator[Disk]:
    """A tmpfs at `place`, a folder to be made, of `size` bytes."""
    place.mkdir(parents=True)
    options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=True)
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", str(place)], check=True)
