"""Commands of subscriptions on the command line: exit codes, what is said where, an interrupt, and the config."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import mirror
from mirror.errors import ConfigError
from mirror.settings import load, warnings

from .command import run, start, write_config
from .configs import minimal
from .configs import write as write_text
from .hooking import recorder, told
from .upstream import FakeUpstream, simple_catalogue

SUB = "BDALPHA_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-03-15"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        yield fake


def configure(folder: Path, upstream: FakeUpstream, **hooks: list[str]) -> None:
    lines = [f"{hook} = {json.dumps(command)}" for hook, command in hooks.items()]
    write_config(folder, upstream.url, "\n".join(['all]\nresources = ["*"]', *lines]))


def test_a_command_that_succeeds_says_nothing_unless_asked(upstream: FakeUpstream, tmp_path: Path) -> None:
    configure(tmp_path, upstream, on_publish=recorder(tmp_path / "log", "echo loaded"))
    outcome = run("-v", "sync", cwd=tmp_path)
    assert outcome.code == 0
    assert f"running on_publish of all for BDALPHA/{SUB}" in outcome.err
    assert "s: loaded" in outcome.err
    assert run("-q", "sync", cwd=tmp_path).err == ""


def test_a_failure_is_exit_code_1_and_shows_everywhere(upstream: FakeUpstream, tmp_path: Path) -> None:
    """In the lines of the run, its JSON, `status` and its JSON; control characters of the command reach no terminal."""
    configure(tmp_path, upstream, on_publish=["sh", "-c", "printf 'first\\n\\033[31mthe database is down\\n' >&2; exit 3"])
    outcome = run("-q", "sync", "--json", cwd=tmp_path)
    assert outcome.code == 1
    assert outcome.json["outcome"] == "incomplete"
    assert outcome.json["account"] == {"expected": 1, "present": 1, "verified": 1}
    assert outcome.json["failed"][0]["reason"].startswith(f"on_publish of all for BDALPHA/{SUB}: sh ended with exit code 3: first")
    assert (
        f"on_publish of all for BDALPHA/{SUB} failed: sh ended with exit code 3: first; the database is down (1 attempt; next try "
        in outcome.err
    )
    assert "all files are here, but 1 command failed" in outcome.err
    again = run("sync", cwd=tmp_path).out
    assert "incomplete: 1 of 1 wanted file here and verified; " in again
    assert again.rstrip().endswith(" s; 1 command failed")
    status = run("status", cwd=tmp_path)
    (line,) = [line for line in status.out.splitlines() if line.startswith("failing since ")]
    assert (
        f"on_publish of all for BDALPHA/{SUB}: sh ended with exit code 3: first; the database is down (1 attempt, the last " in line
    )
    assert "; next try: " in line
    (hook,) = run("status", "--json", cwd=tmp_path).json["hooks"]
    assert (hook["subscription"], hook["hook"], hook["sub_resource"], hook["state"]) == ("all", "on_publish", SUB, "failed")
    assert (hook["attempts"], hook["message"]) == (1, "sh ended with exit code 3: first\nthe database is down")
    configure(tmp_path, upstream, on_publish=["true"])
    assert run("sync", cwd=tmp_path).code == 1
    assert run("sync", "--retry", cwd=tmp_path).code == 0
    assert run("status", "--json", cwd=tmp_path).json["hooks"] == []


def test_a_dry_run_runs_nothing(upstream: FakeUpstream, tmp_path: Path) -> None:
    configure(tmp_path, upstream, on_publish=recorder(tmp_path / "log"), on_complete=recorder(tmp_path / "log"))
    assert run("sync", "--dry-run", cwd=tmp_path).code == 0
    assert run("plan", cwd=tmp_path).code == 0
    assert told(tmp_path / "log") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_command_too(number: signal.Signals, upstream: FakeUpstream, tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    os.mkfifo(waiting)
    configure(tmp_path, upstream, on_publish=["sh", "-c", f"echo $$ > {waiting}; exec sleep 600"])
    process = start("sync", "--json", cwd=tmp_path)
    command = os.pidfd_open(int(waiting.read_text()))
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    document = json.loads(out)
    assert (process.returncode, document["outcome"]) == (130, "interrupted")
    assert "the next sync runs them again" in document["reason"]
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(command, 0)
    os.close(command)


def test_a_key_of_ours_reaches_no_command(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Not in its environment, nor by way of its output into the log or the index, if it has read our config."""
    key = "s3cr3t-QZX9"
    configure(tmp_path, upstream, on_publish=["sh", "-c", "env > env; cat $HERE/key; exit 1"])
    (tmp_path / "key").write_text(f"api_key = {key}\n")
    outcome = run("sync", cwd=tmp_path, INSPIRE_MIRROR_UPSTREAM__GPF__API_KEY=key, HERE=str(tmp_path))
    assert outcome.code == 1
    environment = (tmp_path / "mirror" / "env").read_text()
    assert "MIRROR_HOOK=on_publish" in environment
    assert key not in environment
    assert key not in outcome.err
    assert "api_key = ********" in outcome.err
    with closing(sqlite3.connect(tmp_path / "mirror" / "index.sqlite")) as index:
        assert key not in "\n".join(index.iterdump())


def test_a_command_can_call_us(upstream: FakeUpstream, tmp_path: Path) -> None:
    """The variables with its facts are no settings."""
    configure(tmp_path, upstream, on_publish=[sys.executable, "-m", "mirror", "query", "--paths"])
    outcome = run("-v", "sync", cwd=tmp_path, INSPIRE_MIRROR_CONFIG=str(tmp_path / "inspire-mirror.toml"))
    assert outcome.code == 0
    assert f"{SUB}.bin" in outcome.err.splitlines()[-1]


def test_the_python_api_runs_them_too(upstream: FakeUpstream, tmp_path: Path) -> None:
    configure(tmp_path, upstream, on_publish=recorder(tmp_path / "log", "exit 1"))
    with mirror.open(tmp_path / "inspire-mirror.toml") as here:
        assert here.sync().exit_code == 1
        assert here.sync(retry=True).exit_code == 1
    assert [document["attempt"] for document in told(tmp_path / "log")] == [1, 2]


# The config


def refused(folder: Path, line: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write_text(folder, minimal(subscription=line)), {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('on_publish = ["load", "{pat}"]', "did you mean {path}?"),
        ('on_publish = ["load", "{}"]', "known: {path}, {current}, "),
        ('on_publish = ["load", "{outcome}"]', "on_publish is run for a sub-resource"),
        ('on_failure = ["mail", "{path}"]', "only on_publish is run for one"),
        ('on_complete = ["mail", "{outcom}"]', "did you mean {outcome}?"),
        ('on_publish = ["load", "a{"]', 'write "{{" for the sign itself'),
        ('on_publish = ["load", "a}"]', 'write "}}" for the sign itself'),
        ('on_publish = ["{path}"]', "must start with a program"),
        ('on_publish = ["load", "{extracted}"]', "it needs extract = true"),
        ('on_publish = "load {path}"', "must be a list"),
    ],
)
def test_what_is_wrong_with_a_command_is_told_when_the_config_is_read(tmp_path: Path, line: str, words: str) -> None:
    message = refused(tmp_path, line)
    assert line.partition(" ")[0] in message
    assert words in message


def test_a_relative_program_starts_at_the_config(tmp_path: Path) -> None:
    lines = 'on_publish = ["hooks/load", "{path}"]\non_failure = ["mail", "{outcome}"]\non_complete = ["~/done"]\nextract = true'
    table = load(write_text(tmp_path, minimal(subscription=lines)), {}).subscription["x"]
    assert table.on_publish == (str(tmp_path / "hooks/load"), "{path}")
    assert table.on_failure == ("mail", "{outcome}")
    assert table.on_complete == (str(Path.home() / "done"),)


def test_a_program_that_cannot_be_run_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "good").write_text("#!/bin/sh\n")
    (tmp_path / "good").chmod(0o755)

    def told_of(program: str) -> list[str]:
        settings = load(write_text(tmp_path, minimal(subscription=f'on_failure = ["{program}"]')), {})
        return [line for line in warnings(settings) if "on_failure" in line]

    assert told_of("./good") == told_of("sh") == []
    assert "there is no program at " in told_of("./absent")[0]
    assert "cannot be executed by this user" in told_of("./plain")[0] or os.geteuid() == 0
    assert "in the PATH" in told_of("no-such-program-anywhere")[0]
