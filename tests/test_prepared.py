"""A command that is forked from a process with its modules does what it does when it is started from the interpreter on."""

from __future__ import annotations

from pathlib import Path

import pytest

from .command import run, run_anew, write_config
from .upstream import FakeUpstream, simple_catalogue


@pytest.mark.parametrize(
    "command",
    ["--help", "nonsense", "sync --no-such-option", "config check --json", "query --json", "query --csv \udcff", "plan", "status"],
)
def test_both_ways_end_and_say_the_same(command: str, tmp_path: Path) -> None:
    """Exit code, output and errors."""
    with FakeUpstream(simple_catalogue(1)).in_thread() as upstream:
        write_config(tmp_path, upstream.url, 'all]\nresources = ["*"]')
        first, second = (way(*command.split(), cwd=tmp_path, INSPIRE_MIRROR_CONTACT="a@b.org") for way in (run, run_anew))
    assert first == second
    assert first.out + first.err
