"""What a shell completes, and how little it costs; each shell that is there with the script installed for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.cli import completing
from mirror.settings import CONFIG_NAME, SYSTEM_CONFIG
from mirror.settings.environment import CONFIG_VARIABLE

from .command import argv, environment

CONFIG = '[subscription.topo-isere]\nresources = ["BDTOPO"]\n[subscription.topo-savoie]\n[subscription.ortho]\n'
LAUNCHER = "inspire-mirror"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a config, and the command on the path."""
    (tmp_path / CONFIG_NAME).write_text(CONFIG, "utf-8")
    launcher = tmp_path / "bin" / LAUNCHER
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec {" ".join(argv())} "$@"\n', "utf-8")
    launcher.chmod(0o755)
    return tmp_path


def with_command(folder: Path, **more: str) -> dict[str, str]:
    return {**environment(**more), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": str(folder)}


def script(shell: str, folder: Path) -> Path:
    """The script that `make install` installs for a shell."""
    path = folder / f"completion.{shell}"
    made = subprocess.run(
        argv(), env=environment(_INSPIRE_MIRROR_COMPLETE=f"{shell}_source"), cwd=folder, capture_output=True, check=True
    )
    path.write_bytes(made.stdout)
    return path


def completed(line: str, folder: Path, **more: str) -> list[str]:
    """What the words of a line are completed with: the last one is the one that is typed."""
    done = subprocess.run(
        argv(),
        env=environment(
            _INSPIRE_MIRROR_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(line.split(" ")) - 1), **more
        ),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [item.partition(",")[2] for item in done.stdout.splitlines() if item]


def need(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


def test_commands_and_options_are_completed(folder: Path) -> None:
    assert completed("inspire-mirror sy", folder) == ["sync"]
    assert {"plan", "sync", "verify", "prune", "status"} <= set(completed("inspire-mirror ", folder))
    assert completed("inspire-mirror sync --wa", folder) == ["--wait"]


@pytest.mark.parametrize("command", ["sync", "plan", "verify", "prune"])
def test_subscriptions_are_completed(command: str, folder: Path) -> None:
    assert completed(f"inspire-mirror {command} topo", folder) == ["topo-isere", "topo-savoie"]
    assert completed(f"inspire-mirror {command} topo-isere ", folder) == ["topo-savoie", "ortho"]


def test_the_config_is_the_one_that_the_command_would_take(folder: Path) -> None:
    other = folder / "other.toml"
    other.write_text("[subscription.elsewhere]\n", "utf-8")
    assert completed(f"inspire-mirror -c {other} sync ", folder) == ["elsewhere"]
    assert completed("inspire-mirror sync ", folder, INSPIRE_MIRROR_CONFIG=str(other)) == ["elsewhere"]
    assert (completing._VARIABLE, *completing._PLACES) == (CONFIG_VARIABLE, Path(CONFIG_NAME), SYSTEM_CONFIG)


WRONG = {
    "none": None,
    "empty": b"",
    "not-text": b"\xff",
    "not-toml": b"[subscription",
    "a-number": b"subscription = 3",
    "a-key": b"[subscription]\na = 1",
    "endless": b"x = " + b"[" * 100_000,
    "two-lines": b'[subscription."a\\nb"]',
}


@pytest.mark.parametrize("config", WRONG.values(), ids=WRONG)
def test_whatever_is_wrong_is_nothing_to_complete(config: bytes | None, folder: Path) -> None:
    """No error is shown in the middle of a line that is being typed."""
    (folder / CONFIG_NAME).unlink()
    if config is not None:
        (folder / CONFIG_NAME).write_bytes(config)
    assert completed("inspire-mirror sync ", folder) == []


def test_completion_loads_little(folder: Path) -> None:
    """No more than click and the names: neither what checks a config nor what syncs."""
    code = (
        "import sys; sys.argv = ['inspire-mirror']\nfrom mirror.cli import main\n"
        "try: main()\nfinally: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(_INSPIRE_MIRROR_COMPLETE="bash_complete", COMP_WORDS="inspire-mirror sync to", COMP_CWORD="2"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("topo-") == 2
    assert not {"pydantic", "aiohttp", "lxml", "sqlite_utils", "py7zr"} & set(done.stderr.split())


def test_bash(folder: Path) -> None:
    code = (
        f"source {script('bash', folder)}; COMP_WORDS=(inspire-mirror sync topo-s); COMP_CWORD=2;"
        '_inspire_mirror_completion inspire-mirror; echo "${COMPREPLY[@]}"; complete -p inspire-mirror'
    )
    done = subprocess.run(
        [need("bash"), "--norc", "-c", code], env=with_command(folder), cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "topo-savoie"
    assert "_inspire_mirror_completion inspire-mirror" in done.stdout


def test_fish(folder: Path) -> None:
    code = f"source {script('fish', folder)}; complete --do-complete 'inspire-mirror sync topo-'"
    done = subprocess.run(
        [need("fish"), "--no-config", "-c", code], env=with_command(folder), cwd=folder, capture_output=True, text=True, check=True
    )
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["topo-isere", "topo-savoie"]


def test_zsh(folder: Path) -> None:
    """By its own completion system, in a terminal that zsh makes itself: the function is found by its name on `fpath`."""
    functions = folder / "site-functions"
    functions.mkdir()
    shutil.copy(script("zsh", folder), functions / "_inspire-mirror")
    code = f"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT=; fpath=({functions} \\$fpath); autoload -U compinit; compinit -u -D; print READY=\\$((1+1))"
zpty -r shell seen '*READY=2*'
zpty -w -n shell $'inspire-mirror sync topo-s\\t'
zpty -r shell seen '*topo-savoie*' && print -r -- COMPLETED
zpty -d shell
"""
    done = subprocess.run(
        [need("zsh"), "-f", "-c", code],
        env=with_command(folder, TERM="vt100"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "COMPLETED" in done.stdout, done.stdout + done.stderr
