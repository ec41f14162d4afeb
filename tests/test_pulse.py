"""When a run counts as alive: while it tells something, or while its processes, children included, are at work."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mirror.archives.child import AT_WORK
from mirror.events import Note, Waiting
from mirror.service.pulse import Pulse, processor_seconds


class Body:
    """A run under observation, with a clock and a use of the processor that the test sets."""

    def __init__(self) -> None:
        self.at = self.used = 0.0
        self.pulse = Pulse(100, lambda: self.at, lambda: self.used)

    def live(self, seconds: float, *, used: float = 0.0, told: bool = False) -> bool:
        """Whether it is alive after some more seconds, looked at every ten."""
        alive = True
        for _ in range(int(seconds // 10)):
            self.at += 10
            self.used += used * 10
            if told:
                self.pulse(Note("something"))
            alive = self.pulse.is_alive()
        return alive


def test_what_tells_something_is_alive() -> None:
    assert Body().live(10_000, told=True)


def test_what_is_at_work_is_alive_without_a_word() -> None:
    assert Body().live(10_000, used=0.05)


def test_what_does_neither_is_dead_after_a_while_and_comes_back_to_life() -> None:
    body = Body()
    assert body.live(90)
    assert not body.live(30)
    assert body.live(20, used=1.0)
    assert not body.live(200)


def test_work_before_the_last_word_is_no_sign_of_life_after_it() -> None:
    body = Body()
    body.live(10, used=1.0, told=True)
    assert not body.live(120)


def test_an_idle_service_does_not_count_as_work() -> None:
    assert not Body().live(200, used=0.005)


def test_the_work_of_who_reads_archives_counts_and_that_of_commands_does_not() -> None:
    """A child that turns in circles shows in what a run has used, before it has ended, if it reads archives for the run."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            busy = f"/proc/{child.pid}/stat"
            wait_for(lambda: int(Path(busy).read_bytes().rpartition(b")")[2].split()[11]) > 50)
            without = processor_seconds()
            assert without < time.process_time() + 0.1
            AT_WORK.add(child.pid)
            assert processor_seconds() > without + 0.4
        finally:
            AT_WORK.discard(child.pid)
            child.kill()


def wait_for(found: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not found():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_waiting_for_the_run_of_another_process_is_no_standstill() -> None:
    body = Body()
    body.pulse(Waiting("4711"))
    assert body.live(10_000)
    body.pulse(Note("on it goes"))
    assert not body.live(200)
