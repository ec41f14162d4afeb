"""kill -9 at every named step of a sync, then a rerun: the same tree and index as if nobody had disturbed it.

Each step once in the ordinary suite; `make test-slow` takes several occurrences of each, in every sync of the sequence.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import mirror
from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile
from mirror.store.index import FILE

from .forked import Syncs
from .killed import ARCHIVES, FIRST, GENERATIONS, Root, Undisturbed
from .mirrored import edition, volumes
from .upstream import FakeUpstream, faults, publish, withdraw


@dataclass(frozen=True)
class Stage:
    """One sync of the sequence: what upstream has then, which of its files it does not hand out, and how that must end."""

    catalogue: Catalogue
    missing: tuple[str, ...] = ()
    code: int = 0
    before: Callable[[Path], None] = lambda root: None
    """What happens to the root before it."""
    unwanted: tuple[str, ...] = ()
    verify: bool = False
    """Whether it is a `verify --full --repair`."""


_INDEX = volumes("INDEX", 4, zone_files=(SampleFile("INDEX.md5", b"md5"), SampleFile("notice.pdf", Pattern(300, "notice"))))
_DROPPED = edition(ARCHIVES[0], "2023-01-01", "2026-08-01")
_FIRST = publish(publish(FIRST, "LIDAR", _INDEX), "BDORTHO", _DROPPED)
_SECOND = withdraw(_FIRST, "BDORTHO", _DROPPED.id)
_RESPLIT = replace(volumes("INDEX", 3, seed="split anew", zone_files=_INDEX.files[-2:]), updated="2026-12-01")


def _last() -> Catalogue:
    """The second generation of `killed`, and an archive that is split into fewer volumes than before."""
    return publish(GENERATIONS[1], "LIDAR", _RESPLIT)


def _lose_index(root: Path) -> None:
    (root / FILE).unlink()


def _damage_index(root: Path) -> None:
    (root / FILE).write_bytes(b"no database" * 1000)
    (root / f"{FILE}-wal").write_bytes(b"no log")


def _damage_files(root: Path) -> None:
    first, second = sorted((root / "data" / "gpf" / "LIDAR" / "LHD_AB").iterdir())[:2]
    first.write_bytes(first.read_bytes()[:-1] + b"~")
    second.unlink()


SEQUENCE = (
    # Volumes come and wait for one that does not; of a whole sub-resource one file does not come.
    Stage(_FIRST, ("INDEX.7z.002", "INDEX.md5", "notice.pdf", _DROPPED.files[-1].name), 1),
    # Files appear in a folder of which others still wait; what was staged of the other is no longer wanted.
    Stage(_SECOND, ("INDEX.7z.002",), 1),
    # All is here.
    Stage(_SECOND),
    # Of everything something changes.
    Stage(_last()),
    # The index is gone, beside files that nobody wants any longer, and others that upstream has withdrawn.
    Stage(_last(), before=_lose_index, unwanted=("SCAN",)),
    # The index is damaged.
    Stage(_last(), before=_damage_index),
    # A file is damaged, another lost.
    Stage(_last(), before=_damage_files, verify=True),
)
OF_CHANGES = 3
"""The stage with replacements of every kind."""

AFTER_A_KILL = {
    "recovery: old folder put back": ("two renames: old folder out", {"exchange": False}),
    "recovery: foreign files given back": ("two renames: new folder in", {"exchange": False}),
    "recovery: file put back into staging": ("exchange: file moved in", {}),
    "announcement: came true": ("exchange: done", {}),
    "announcement: has left": ("exchange: leaving file is out", {}),
    "announcement: taken back": ("exchange: about to happen", {}),
}
"""Steps that only the run after a kill passes: with the step at which that kill came, and what more of the order it takes."""

ELSEWHERE = ("leaving: ", "hook: ")
"""How the names of steps begin at which `test_prune_killed` and `test_hooks_killed` kill."""

WITHOUT_EXCHANGE = ("two renames: old folder out", "two renames: new folder in")


INTERRUPTED = (
    "run: lock taken",
    "run: reconciled",
    "listing: capabilities saved",
    "listing: files saved",
    "run: planned",
    "rebuild: sub-resource taken in",
    "transfer: begun",
    "sidecar: saved",
    "part: complete",
    "publication: announced",
    "exchange: done",
    "publication: entered",
    "close: wanted saved",
    "run: account closed",
    "verify: damage entered",
)
"""Where signals are sent in the ordinary suite: each part of a run has one."""


def names_in_source() -> Counter[str]:
    """Every name of a step, with how often it stands in the source."""
    source = Path(mirror.__file__).parent
    return Counter(name for path in source.rglob("*.py") for name in re.findall(r"\bstep\(\"([^\"]+)\"\)", path.read_text("utf-8")))


class Course:
    """The sequence of syncs on roots of their own: undisturbed, or with a kill in one of them."""

    def __init__(self, folder: Path, upstream: FakeUpstream, syncs: Syncs) -> None:
        self.folder = folder
        self.upstream = upstream
        self.syncs = syncs
        self.passed: list[Counter[str]] = []
        self.ends: list[Undisturbed] = []
        root = self.root("undisturbed")
        for number, stage in enumerate(SEQUENCE):
            stage.before(root.path)
            self.keep(root, f"before-{number}")
            log = folder / f"passed-{number}"
            assert self.sync(root, stage, passed=str(log)) == stage.code
            self.passed.append(Counter(log.read_text("utf-8").splitlines()))
            self.ends.append(root.state(len(upstream.requests)))
            root.check_sound()

    def root(self, name: str) -> Root:
        place = self.folder / name / "root"
        place.parent.mkdir(parents=True)
        return Root(place, self.upstream, self.syncs, [stage.catalogue for stage in SEQUENCE])

    def keep(self, root: Root, name: str) -> None:
        """A copy, times included, that a disturbed run can begin with."""
        if root.path.exists():
            shutil.copytree(root.path, self.folder / name, symlinks=True)

    def disturbed(self, number: int, name: str) -> Root:
        """A root as it was before a stage."""
        root = self.root(name)
        if (self.folder / f"before-{number}").exists():
            shutil.copytree(self.folder / f"before-{number}", root.path, symlinks=True)
        return root

    def sync(self, root: Root, stage: Stage, **order: Any) -> int:
        self.upstream.catalogue = stage.catalogue

        def lose(_: object) -> None:
            for name in stage.missing:
                self.upstream.script(f"/download/*/{name}", [faults.status(404)], forever=True)

        root.unwanted = stage.unwanted
        code = root.sync(lose, verify=stage.verify, **order)
        if stage.verify and code == stage.code and "step" not in order:
            assert root.sync() == 0  # a sync looks at what it repaired, and settles it
        return code

    def check(self, number: int, *kills: tuple[str, int], **order: Any) -> None:
        """One stage, killed at these steps (name, occurrence) one run after the other, and then left in peace."""
        stage = SEQUENCE[number]
        root = self.disturbed(number, f"{number}-" + "-".join(f"{name}-{occurrence}" for name, occurrence in kills))
        for name, occurrence in kills:
            code = self.sync(root, stage, step=name, occurrence=occurrence, **order)
            # How often a step is passed may vary: what is published together depends on what comes together. Once, it always is.
            assert code == -9 or (occurrence > 1 and code == stage.code), (name, code)
            if stage.verify:
                root.check_rows(root.tree())  # what is damaged may still lie there, but nobody is told that it is sound
            elif name not in WITHOUT_EXCHANGE:  # between two renames the folder is not there; the next run puts it back
                root.check_sound()
        self.check_rerun(number, root)

    def interrupt(self, number: int, name: str, sent: signal.Signals) -> None:
        """One stage, sent a signal at a step, and then left in peace."""
        stage = SEQUENCE[number]
        root = self.disturbed(number, f"{number}-{name}-{sent.name}")
        said = self.folder / "said"
        code = self.sync(root, stage, step=name, signal=sent, said=str(said))
        assert code in (130, stage.code), (name, said.read_text("utf-8"))
        if code == 130 and not stage.verify:
            assert said.read_text("utf-8").startswith("interrupted"), name
        self.check_rerun(number, root)

    def check_rerun(self, number: int, root: Root) -> None:
        """Left in peace, the stage comes to what it came to without a disturbance."""
        stage, expected = SEQUENCE[number], self.ends[number]
        assert self.sync(root, stage) == stage.code
        root.check_sound()
        end = root.state(0)
        assert end.tree == expected.tree
        assert end.aliases == expected.aliases
        assert end.index == expected.index
        assert end.staged == expected.staged
        shutil.rmtree(root.path.parent)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    with FakeUpstream().in_thread() as upstream, Syncs() as syncs:
        yield Course(tmp_path_factory.mktemp("steps"), upstream, syncs)


def _chosen(passed: list[Counter[str]]) -> Mapping[str, int]:
    """For each step the first stage that passes it."""
    return {name: number for number, names in reversed(list(enumerate(passed))) for name in names}


def test_each_step_stands_once_in_the_source_and_is_passed(course: Course) -> None:
    """A name that stood twice could not be told apart; one that no sync of the sequence passes would never be tried."""
    names = names_in_source()
    assert {name for name, count in names.items() if count > 1} == set()
    passed = set().union(*course.passed)
    of_syncs = {name for name in names if not name.startswith(ELSEWHERE)}
    assert passed | AFTER_A_KILL.keys() | set(WITHOUT_EXCHANGE) == of_syncs


@pytest.mark.timeout(400)
def test_a_kill_at_any_step_leaves_no_trace(course: Course) -> None:
    for name, number in _chosen(course.passed).items():
        course.check(number, (name, 1))


def test_a_kill_between_two_renames_leaves_no_trace(course: Course) -> None:
    """Where the kernel cannot exchange folders, the run after the kill puts right what was halfway."""
    for name in WITHOUT_EXCHANGE:
        course.check(OF_CHANGES, (name, 1), exchange=False)


def test_a_kill_while_the_traces_of_another_are_put_right_leaves_no_trace(course: Course) -> None:
    for name, (first, order) in AFTER_A_KILL.items():
        course.check(OF_CHANGES, (first, 1), (name, 1), **order)


@pytest.mark.timeout(400)
def test_a_signal_in_each_part_of_a_run_ends_it_in_order(course: Course) -> None:
    """Exit code 130, or that of the run where it came too late to interrupt anything."""
    chosen = _chosen(course.passed)
    for number, name in enumerate(INTERRUPTED):
        course.interrupt(chosen[name], name, signal.SIGINT if number % 2 else signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_step_ends_the_run_in_order(course: Course, sent: signal.Signals) -> None:
    for number, passed in enumerate(course.passed):
        for name in passed:
            course.interrupt(number, name, sent)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_kill_at_several_occurrences_of_each_step_in_each_sync_leaves_no_trace(course: Course) -> None:
    for number, passed in enumerate(course.passed):
        for name, count in passed.items():
            for occurrence in sorted({1, 2, count // 2, count - 1, count} & set(range(1, count + 1))):
                course.check(number, (name, occurrence))
