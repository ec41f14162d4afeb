"""The manual page: it has every command and option, and man(1) takes it without a word."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from mirror.cli.app import cli
from mirror.sync.report import EXIT_CODES
from packing.manual import commands, page


def rendered(path: Path) -> str:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man or groff is not installed")
    command = ["man", "--warnings", "--no-hyphenation", "--no-justification", "-P", "cat", "-l", str(path)]
    environ = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "120", "GROFF_NO_SGR": "1", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return re.sub(".\b", "", done.stdout)


def test_every_command_and_option_is_in_it() -> None:
    text = page().replace(r"\-", "-")
    context = click.Context(cli, info_name="inspire-mirror")
    for name, command in commands(cli, context):
        assert f".SS {name}\n" in text
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(spelling in text for spelling in option.opts), (name, option.opts)


def test_every_exit_code_is_in_it() -> None:
    text = page()
    for code in {*EXIT_CODES.values(), 2, 3}:
        assert f"\n\\fB{code}\\fP\n" in text


def test_man_renders_it_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "inspire-mirror.1"
    path.write_text(page(), "utf-8")
    text = rendered(path)
    assert "sync" in text
    assert "Géoplateforme" in text
    for heading in ("NAME", "SYNOPSIS", "OPTIONS", "COMMANDS", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"):
        assert re.search(f"^{heading}$", text, re.MULTILINE), heading


def test_apropos_finds_it(tmp_path: Path) -> None:
    """The line under NAME has the shape that whatis(1) reads."""
    if shutil.which("lexgrog") is None:
        pytest.skip("lexgrog is not installed")
    path = tmp_path / "inspire-mirror.1"
    path.write_text(page(), "utf-8")
    said = subprocess.run(["lexgrog", str(path)], capture_output=True, text=True, check=True).stdout
    assert "inspire-mirror - mirror INSPIRE Atom download services" in said
