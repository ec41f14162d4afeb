"""A disk that fills up, at every write: said in one line, nothing published is harmed, and with room the next sync goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .command import run, write_config
from .forked import Syncs
from .killed import GENERATIONS, Root, Undisturbed
from .mounts import Disk, disk, need_mounts, run_in_own_mounts
from .upstream import FakeUpstream

SIZE = 24 << 20
INODES = 5000
ENDS = (1, 4)
"""Incomplete, or refused."""


@pytest.mark.timeout(600)
def test_in_a_namespace_where_mounting_needs_one() -> None:
    run_in_own_mounts(__file__)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(GENERATIONS[0]).in_thread() as fake:
        yield fake


@dataclass
class Filled:
    """Two syncs on a disk that can be filled: a first one, and one in which everything changes."""

    disk: Disk
    upstream: FakeUpstream
    syncs: Syncs
    room: Path

    def __post_init__(self) -> None:
        self.ends: list[Undisturbed] = []
        self.passed: list[list[str]] = []
        for number in range(len(GENERATIONS)):
            root, log = self.before(number), self.room / f"passed-{number}"
            assert root.sync(passed=str(log)) == 0
            self.ends.append(root.state(0))
            self.passed.append(list(dict.fromkeys(log.read_text("utf-8").splitlines())))
            shutil.copytree(root.path, self.room / f"after-{number}", symlinks=True)

    def before(self, number: int) -> Root:
        """The root as it is before a sync, from a copy on another disk."""
        self.disk.clear()
        root = Root(self.disk.place / "root", self.upstream, self.syncs)
        shutil.rmtree(root.path, ignore_errors=True)
        if number:
            shutil.copytree(self.room / f"after-{number - 1}", root.path, symlinks=True)
        self.upstream.catalogue = GENERATIONS[number]
        return root

    def sync(self, root: Root, **order: Any) -> tuple[int, str]:
        """How a sync ends, and what it says."""
        said = self.room / "said"
        code = root.sync(said=str(said), **order)
        return code, said.read_text("utf-8")

    def check(self, number: int, root: Root, outcome: tuple[int, str]) -> None:
        """What holds after a sync that had no room, and after the next one, which has."""
        code, said = outcome
        # Where the last write failed all had been done before; what cannot be written then is only that it was.
        assert code in (0, *ENDS), said
        assert (code == 0) == (said == ""), said
        assert len(said.splitlines()) <= 1, said
        self.disk.clear()
        root.check_sound()
        assert self.sync(root) == (0, "")
        root.check_sound()
        end, expected = root.state(0), self.ends[number]
        assert (end.tree, end.aliases, end.index, end.staged) == (expected.tree, expected.aliases, expected.index, expected.staged)

    def full_from(self, number: int, left: int, *, inodes: bool = False) -> None:
        """Only so many pages, or inodes, are left when the sync begins."""
        root = self.before(number)
        if inodes:
            self.disk.leave_inodes(left)
        else:
            self.disk.leave(left)
        self.check(number, root, self.sync(root))

    def fills_up(self, number: int, step: str, *, occurrence: int = 1, left: int = 0, inodes: bool = False) -> None:
        """Somebody fills the disk when the sync passes a step, until only so many pages, or inodes, are left."""
        root = self.before(number)
        fill = {"fill": str(self.disk.place), "leave": left, "inodes": inodes}
        self.check(number, root, self.sync(root, step=step, occurrence=occurrence, **fill))


@pytest.fixture(scope="module")
def filled(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    need_mounts()
    room = tmp_path_factory.mktemp("full")
    with Syncs() as syncs, disk(room / "disk", SIZE, INODES) as made:
        yield Filled(made, upstream, syncs, room)


@pytest.mark.parametrize("pages", [0, 1, 5, 9, 40, 100, 130])
def test_a_disk_that_is_full_from_the_beginning(filled: Filled, pages: int) -> None:
    """There is no room for the lock, the index, its log and shared memory, one of its migrations, a listing."""
    filled.full_from(0, pages)


@pytest.mark.parametrize("inodes", [0, 1, 2, 3, 5, 8, 12, 20, 40])
def test_a_disk_that_can_hold_no_more_files(filled: Filled, inodes: int) -> None:
    """The folder of the lock, the lock, the index, its log and shared memory, what is in staging and in `data/`, aliases."""
    filled.full_from(0, inodes, inodes=True)


@pytest.mark.timeout(400)
def test_a_disk_that_fills_up_at_any_step(filled: Filled) -> None:
    """Each step once: whatever is written next cannot be."""
    last = {step: number for number, steps in enumerate(filled.passed) for step in steps}
    for step, number in last.items():
        filled.fills_up(number, step)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("inodes", [False, True])
@pytest.mark.parametrize("left", [0, 1, 2, 3])
@pytest.mark.parametrize("occurrence", [1, 2])
def test_a_disk_that_fills_up_at_any_step_of_each_sync(filled: Filled, occurrence: int, left: int, *, inodes: bool) -> None:
    for number, steps in enumerate(filled.passed):
        for step in steps:
            filled.fills_up(number, step, occurrence=occurrence, left=left, inodes=inodes)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("number", [0, 1])
def test_a_disk_with_any_number_of_free_pages(filled: Filled, number: int) -> None:
    for pages in [*range(200), *range(200, 1600, 25)]:
        filled.full_from(number, pages)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("number", [0, 1])
def test_a_disk_with_any_number_of_free_inodes(filled: Filled, number: int) -> None:
    for inodes in range(140):
        filled.full_from(number, inodes, inodes=True)


def test_the_command_says_in_one_line_that_the_disk_is_full(filled: Filled, upstream: FakeUpstream, tmp_path: Path) -> None:
    """Exit code 1 or 4, no traceback, and the mirror that is there can still be asked, and verified."""
    root = filled.before(1)
    upstream.heal()
    root_line = 'root = "mirror"\n'
    config = write_config(tmp_path, upstream.url, 'a]\nresources = ["*"]\nedition = "all"', more='limits.min_free = "0 B"')
    config.write_text(config.read_text("utf-8").replace(root_line, f'root = "{root.path}"\n'), "utf-8")
    before = len(run("query", "--paths", cwd=tmp_path).out.splitlines())
    for pages in (0, 8, 60):
        filled.disk.leave(pages)
        outcome = run("sync", cwd=tmp_path)
        assert outcome.code in ENDS
        told = [line for line in outcome.err.splitlines() if line.startswith("inspire-mirror: ")]
        assert len(told) == 1, outcome.err
        assert "full" in told[0] or "space" in told[0] or "no room" in told[0]
        assert "Traceback" not in outcome.err
        filled.disk.leave(0)
        assert len(run("query", "--paths", cwd=tmp_path).out.splitlines()) == before
        assert run("status", cwd=tmp_path).code == 0
        assert run("verify", "--full", cwd=tmp_path).code in (0, 1)
    filled.disk.clear()
    assert run("sync", cwd=tmp_path).code == 0
    assert run("verify", "--full", cwd=tmp_path).code == 0
