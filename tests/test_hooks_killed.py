"""kill -9 between a publication and its command loses no command; one that ran to its end is not run again."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.catalogue import Catalogue
from mirror.hooks import HookRunner
from mirror.hooks.turn import turn_of
from mirror.settings import from_mapping

from .forked import Syncs
from .hooking import about, recorder, told
from .mirrored import LONG_AFTER, rewritten
from .upstream import FakeUpstream, publish, simple_catalogue

FIRST = simple_catalogue(1, 2, 2)
SUBS = FIRST.resources[0].subs
SECOND = publish(FIRST, "BDALPHA", rewritten(SUBS[0], "again", updated="2026-11-01"))


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(FIRST).in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def syncs() -> Iterator[Syncs]:
    with Syncs() as made:
        yield made


class Killed:
    """A mirror whose runs are killed; its commands write down what they were told."""

    def __init__(self, folder: Path, upstream: FakeUpstream, syncs: Syncs) -> None:
        folder.mkdir()
        self.folder, self.log = folder, folder / "log"
        self.then = ""
        self._upstream, self._syncs = upstream, syncs

    def tables(self) -> dict[str, Any]:
        return {
            "root": str(self.folder / "root"),
            "limits": {"min_free": 0},
            "upstream": {"gpf": {"url": self._upstream.url, "requests_per_second": 100_000}},
            "subscription": {"all": {"resources": ["*"], "edition": "all", "on_publish": recorder(self.log, self.then)}},
        }

    def sync(self, catalogue: Catalogue, **order: Any) -> int:
        self._upstream.clear()
        self._upstream.catalogue = catalogue
        return self._syncs.run(self.tables(), self.folder, **order)

    def run_due(self) -> None:
        settings = from_mapping(self.tables(), self.folder, {})
        asyncio.run(HookRunner(lambda: settings, lambda event: None, lambda: LONG_AFTER).run_due())


def test_killed_at_any_step_of_a_publication_it_is_told_once(upstream: FakeUpstream, syncs: Syncs, tmp_path: Path) -> None:
    """Whether commands are run at once after the kill, as here after every second one, or after the next sync."""
    undisturbed = Killed(tmp_path / "undisturbed", upstream, syncs)
    assert undisturbed.sync(FIRST, hooks=True) == 0
    assert sorted(about(undisturbed.log)) == sorted(sub.id for sub in SUBS)
    undisturbed.log.unlink()
    shutil.copytree(undisturbed.folder, tmp_path / "before", symlinks=True)
    assert undisturbed.sync(SECOND, passed=str(tmp_path / "passed")) == 0
    passed = list(dict.fromkeys((tmp_path / "passed").read_text().splitlines()))
    steps = passed[passed.index("publication: announced") :]
    assert {"publication: entered", "run: finished"} <= set(steps)
    for number, step in enumerate(steps):
        killed = Killed(tmp_path / str(number), upstream, syncs)
        shutil.copytree(tmp_path / "before", killed.folder, symlinks=True, dirs_exist_ok=True)
        assert killed.sync(SECOND, step=step) == -9, step
        if number % 2:
            killed.run_due()
        assert killed.sync(SECOND) == 0
        killed.run_due()
        assert about(killed.log) == [SUBS[0].id], step
        assert told(killed.log)[0]["published"] == [file.name for file in SUBS[0].files], step


@pytest.mark.parametrize(("step", "times"), [("hook: begun", [2]), ("hook: ended", [1, 2]), ("hook: written down", [1])])
def test_killed_beside_a_command(upstream: FakeUpstream, syncs: Syncs, tmp_path: Path, step: str, times: list[int]) -> None:
    """One that was perhaps not finished is run again, and knows that; one whose end was written down is not."""
    killed = Killed(tmp_path / "killed", upstream, syncs)
    assert killed.sync(FIRST, hooks=True, step=step) == -9
    killed.run_due()
    first = about(killed.log)[0]
    assert [one["attempt"] for one in told(killed.log) if one["sub_resource"] == first] == times
    assert set(about(killed.log)) == {sub.id for sub in SUBS}


def test_a_command_that_goes_on_without_us_is_ended_before_the_next(upstream: FakeUpstream, syncs: Syncs, tmp_path: Path) -> None:
    """The mirror was killed alone, its command loads on: two of them at once could spoil each other's work."""
    killed = Killed(tmp_path / "killed", upstream, syncs)
    waiting = killed.folder / "waiting"
    os.mkfifo(waiting)
    lock = killed.folder / "root" / ".staging" / "hooks" / "all" / "lock"
    noted = f"until grep -qs $$ {lock}; do sleep 0.01; done"  # from then on who comes next knows of it
    killed.then = f"{noted}; echo $$ > {waiting}; sleep 600; sleep 600"
    orphan = 0

    def strike(kill: Callable[[], None]) -> None:
        def when_it_runs() -> None:
            nonlocal orphan
            orphan = int(waiting.read_text())
            kill()

        threading.Thread(target=when_it_runs).start()

    assert killed.sync(FIRST, started=strike, hooks=True) == -9
    os.kill(orphan, 0)  # it does go on
    killed.then = f"case $(cut -d' ' -f3 /proc/{orphan}/stat) in ''|X|Z) ;; *) echo > {killed.folder}/together;; esac"
    killed.run_due()
    assert not (killed.folder / "together").exists()
    assert [one["attempt"] for one in told(killed.log)] == [1, 2, 1]


def test_a_number_that_was_given_to_another_process_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        with turn_of(tmp_path, "all") as turn:
            assert turn is not None
            turn.runs(stranger.pid)
            lock = tmp_path / ".staging" / "hooks" / "all" / "lock"
            lock.write_text(lock.read_text().replace("\n", "0\n"))  # one that began at another time
            assert not turn.end_orphan()
            assert stranger.poll() is None
            turn.runs(stranger.pid)
            assert turn.end_orphan()
        assert stranger.wait() == -15
