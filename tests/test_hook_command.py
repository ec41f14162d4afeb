"""What a command is started with and how it ends: real programs that linger, flood, ignore their input, cannot be started."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mirror.hooks.command import Ended, Stop, readable, run_command
from mirror.hooks.surroundings import environment_for

DOCUMENT = b'{"manifest": 1}\n'
LONG = 60.0


@pytest.fixture
def stop() -> Iterator[Stop]:
    made = Stop()
    yield made
    made.close()


def run(folder: Path, stop: Stop, *command: str, document: bytes = DOCUMENT, timeout: float = LONG) -> Ended:
    return run_command(command, document, folder=folder, environ=dict(os.environ), timeout=timeout, stop=stop)


def shell(folder: Path, stop: Stop, script: str, timeout: float = LONG) -> Ended:
    return run(folder, stop, "/bin/sh", "-c", script, timeout=timeout)


def gone(pid: int) -> bool:
    """Whether a process ends; one that was killed may take a moment."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)


def test_it_reads_the_document_and_its_output_is_kept(tmp_path: Path, stop: Stop) -> None:
    ended = shell(tmp_path, stop, "cat; pwd; echo trouble >&2")
    assert ended.problem is None
    assert ended.output.splitlines() == [DOCUMENT.decode().strip(), str(tmp_path), "trouble"]


def test_a_large_document_that_nobody_reads_breaks_nothing(tmp_path: Path, stop: Stop) -> None:
    for script in ("exec 0<&-; echo fine", "echo fine", "head -c 5 >/dev/null; echo fine"):
        ended = run(tmp_path, stop, "/bin/sh", "-c", script, document=b"x" * 5_000_000)
        assert (ended.problem, ended.output) == (None, "fine")


def test_of_much_output_the_end_is_kept(tmp_path: Path, stop: Stop) -> None:
    """More than any pipe or memory should hold: 200 MB."""
    ended = shell(tmp_path, stop, "head -c 200000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 3")
    assert ended.problem == "ended with exit code 3"
    assert ended.output.endswith("x\nthe end")
    assert len(ended.output) <= 16 * 1024


def test_output_is_harmless() -> None:
    """No colours, cursor movements, bells, titles, nor bytes that are no text."""
    output = b"\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07a\tb\r\n\n\xff\x00end\x1b[2J\r"
    assert readable(output) == "red a b\n\ufffdend"


@pytest.mark.parametrize(
    ("script", "problem"),
    [("exit 7", "ended with exit code 7"), ("kill -9 $$", "was ended by SIGKILL"), ("kill -TERM $$", "was ended by SIGTERM")],
)
def test_how_it_failed_is_told(tmp_path: Path, stop: Stop, script: str, problem: str) -> None:
    assert shell(tmp_path, stop, script).problem == problem


def test_what_cannot_be_started_says_why(tmp_path: Path, stop: Stop) -> None:
    plain, headless, lost = (tmp_path / name for name in ("plain", "headless", "lost"))
    plain.write_text("#!/bin/sh\n")
    headless.write_text("echo no interpreter\n")
    lost.write_text("#!/nowhere/sh\n")
    headless.chmod(0o755)
    lost.chmod(0o755)
    words = {
        plain: "not executable",
        headless: "has to name its interpreter",
        lost: "the interpreter",
        tmp_path / "x": "no such program",
    }
    for program, why in words.items():
        problem = run(tmp_path, stop, str(program)).problem
        assert problem is not None
        assert problem.startswith(f"{program} cannot be started: ")
        assert why in problem


def test_arguments_meet_no_shell(tmp_path: Path, stop: Stop) -> None:
    hostile = ["a b", "$(touch pwned)", "; touch pwned", "`touch pwned`", "*", "'\"", ""]
    ended = run(tmp_path, stop, sys.executable, "-c", "import sys; print(sys.argv[1:])", *hostile)
    assert ended.output == str(hostile)
    assert not (tmp_path / "pwned").exists()


# Its end


def test_at_the_end_of_its_time_it_is_asked_to_go(tmp_path: Path, stop: Stop) -> None:
    """It can still put things in order; what it says then is kept."""
    ended = shell(tmp_path, stop, "trap 'echo rolled back; exit 1' TERM; echo begun; sleep 60 & wait", timeout=0.5)
    assert ended.problem == "did not end within 0.5 s and was stopped"
    assert ended.output == "begun\nrolled back"


def test_a_time_of_a_month_is_waited_for(tmp_path: Path, stop: Stop) -> None:
    """In milliseconds it is more than the system can count."""
    ended = shell(tmp_path, stop, "sleep 0.1; echo done", timeout=30 * 86_400)
    assert (ended.problem, ended.output) == (None, "done")


def test_who_does_not_go_is_killed_with_all_its_children(tmp_path: Path, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.hooks.command._PATIENCE", 0.3)
    script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > child; sleep 60; sleep 60' & sleep 60; sleep 60"
    ended = shell(tmp_path, stop, script, timeout=0.5)
    assert ended.problem == "did not end within 0.5 s and was stopped"
    assert gone(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize("output", ["", ">/dev/null 2>&1"])
def test_what_it_leaves_behind_ends_with_it(tmp_path: Path, stop: Stop, output: str) -> None:
    """With its output or without it: a success does not wait for it."""
    ended = shell(tmp_path, stop, f"sleep 600 {output} & echo $! > child; echo done")
    assert (ended.problem, ended.output) == (None, "done")
    assert ended.seconds < LONG
    assert gone(int((tmp_path / "child").read_text()))


def test_who_has_left_the_group_does_not_hold_it_up(tmp_path: Path, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that keeps the output: it is not ours to end, nor to wait for."""
    monkeypatch.setattr("mirror.hooks.command._HASTE", 0.1)
    ended = shell(tmp_path, stop, "setsid sh -c 'echo $$ > child; exec sleep 600' & while [ ! -s child ]; do :; done; echo done")
    try:
        assert (ended.problem, ended.output) == (None, "done")
    finally:
        with suppress(ProcessLookupError):
            os.kill(int((tmp_path / "child").read_text()), 9)


def test_it_is_stopped_from_outside(tmp_path: Path, stop: Stop) -> None:
    """Also when it has begun to ignore that: within five seconds it is gone."""
    found: list[Ended] = []
    script = "trap '' TERM; echo $$ > pid; sleep 60; sleep 60"
    thread = threading.Thread(target=lambda: found.append(shell(tmp_path, stop, script)))
    thread.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    asked = time.monotonic()
    stop.set()
    thread.join()
    assert time.monotonic() - asked < 5  # the rule itself
    assert found[0].stopped
    assert gone(int((tmp_path / "pid").read_text()))


def test_it_has_a_group_and_a_session_of_its_own(tmp_path: Path, stop: Stop) -> None:
    """A Ctrl-C at the terminal is for us to hear, and to end it in order."""
    script = "import os; print(os.getpid() == os.getpgrp() == os.getsid(0))"
    assert run(tmp_path, stop, sys.executable, "-c", script).output == "True"


def test_it_gets_no_descriptors_of_ours(tmp_path: Path, stop: Stop) -> None:
    with (tmp_path / "open").open("w"):
        ended = run(tmp_path, stop, sys.executable, "-c", "import os; print(sorted(os.listdir('/proc/self/fd'))[:4])")
    assert ended.output == "['0', '1', '2', '3']"  # the last is the listing's own


# Its environment


def test_no_key_of_ours_reaches_it() -> None:
    """Whatever its case; what is the user's own does, and so does what an `inspire-mirror` that it calls needs."""
    ours = {
        "INSPIRE_MIRROR_UPSTREAM__GEOPF__API_KEY": "secret",
        "INSPIRE_MIRROR_upstream__geopf__api_key": "secret",
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "LISTEN_FDS": "1",
        "CREDENTIALS_DIRECTORY": "/d",
        "JOURNAL_STREAM": "8:1",
        "INVOCATION_ID": "0",
    }
    theirs = {
        "INSPIRE_MIRROR_ROOT": "/m",
        "INSPIRE_MIRROR_CONFIG": "/c",
        "PGPASSFILE": "/p",
        "MY_API_KEY": "mine",
    }
    made = environment_for({**ours, **theirs}, "on_publish", 2, {"path": "/x", "sub_resource": "S"})
    facts = {
        "MIRROR_HOOK": "on_publish",
        "MIRROR_HOOK_PATH": "/x",
        "MIRROR_HOOK_SUB_RESOURCE": "S",
        "MIRROR_HOOK_ATTEMPT": "2",
    }
    assert made == {**theirs, **facts}
