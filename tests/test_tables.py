"""Tables on a terminal keep to its width, and names in them can still be told apart."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.render import fitted, shorten
from tests.command import argv, environment, run, write_config
from tests.upstream import FakeUpstream, faults, simple_catalogue

LONG = "x" * 240


def on_terminal(columns: int, *arguments: str, cwd: Path, **env: str) -> list[str]:
    """What a command prints on a terminal of that width, without its escape sequences."""
    return printed(columns, argv(*arguments), cwd, **env)


def printed(columns: int, command: Sequence[str], cwd: Path, **more: str) -> list[str]:
    """What any program prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {name: value for name, value in environment(TERM="xterm", **more).items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 65536):
                shown += block
        except OSError:  # the other end is closed
            pass
        assert process.wait(timeout=60) in (0, 1)
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_keep_to_the_terminal(columns: int, tmp_path: Path) -> None:
    """Also with a parked file of a very long name; zones, dates and volumes stay readable; a pipe gets everything."""
    catalogue = simple_catalogue(1, 3, 2)
    with FakeUpstream(catalogue).in_thread() as fake:
        fake.script("*/download/*D073*-1.bin", [faults.status(403)], forever=True)
        write_config(tmp_path, fake.url, 'everything]\nresources = ["*"]\nedition = "all"')
        assert run("sync", cwd=tmp_path).code == 1
        for arguments in (["query"], ["catalog"], ["catalog", "BDALPHA"], ["status"]):
            lines = on_terminal(columns, *arguments, cwd=tmp_path)
            table = [line for line in lines if not line.startswith(("parked", "4 files", "last run"))]
            assert max(map(len, table)) <= columns, "\n".join(lines)
        lines = on_terminal(columns, "query", cwd=tmp_path)
        assert len({line.split()[1] for line in lines[1:-1]}) == 5
        assert lines[-1] == "4 files, 4.0 kB; 1 parked, not here"
        assert "BDALPHA_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-03-15-1.bin" in run("query", cwd=tmp_path).out


Rows = Sequence[tuple[str, str, str, str]]


@given(
    st.lists(st.tuples(*[st.text("abc", max_size=120)] * 2, st.text("12", max_size=9), st.text("ab ", max_size=90)), min_size=1),
    st.integers(70, 250),
)
def test_a_table_fits_where_its_names_and_dropped_columns_allow(rows: Rows, width: int) -> None:
    """Any names and numbers, a long last column included; at full width nothing is left out or cut."""
    columns = ("one", "two", "no", "why")
    head, cells = fitted(columns, rows, width, names=["one"], drop=["two"], wrap="why")
    widths = [max(len(row[n]) for row in [head, *cells]) for n in range(len(head))]
    assert sum(widths) + 2 * (len(head) - 1) <= max(width, 36 + 36 + 9 + 4)
    assert fitted(columns, rows, 1000, names=["one"], drop=["two"]) == (columns, list(rows))


def test_one_long_name_does_not_widen_the_other_rows() -> None:
    head, cells = fitted(("resource", "file"), [("R", "short.7z"), ("R", f"{LONG}.7z.001")], 80, names=["file"])
    assert head == ("resource", "file")
    assert cells[0] == ("R", "short.7z")
    assert len(cells[1][1]) == 70
    assert cells[1][1].endswith(".7z.001")


@pytest.mark.parametrize(("width", "shown"), [(20, "abcdefghij"), (10, "abcdefghij"), (7, "ab…ghij"), (2, "…j"), (1, "…"), (0, "")])
def test_names_are_cut_in_their_middle(width: int, shown: str) -> None:
    assert shorten("abcdefghij", width) == shown


_EVENTS = """
from mirror.cli.bars import Bars
from mirror.events import *
with Bars() as bars:
    def show():
        bars._progress.refresh()
    bars(ListingStarted("gpf", "first"))
    bars(Listed("gpf", "resources", "http://u/capabilities", 3)); show()
    bars(Planned(3, 0, 0, 3_000_000))
    for n in (1, 2, 3):
        key = FileKey("gpf", "R", "S", f"BDORTHO_2-0_RVB-0M20_JP2-E080_LAMB93_D038_2024-01-01.7z.00{n}")
        bars(TransferStarted(key, 1_000_000, 0))
        bars(Chunk(key, 400_000))
    show()
    bars(Verified(key, 1_000_000, 0)); show()
    bars(Checking(2, 10**12, False)); bars(Checked(10**12)); show()
"""


@pytest.mark.parametrize("columns", [80, 120])
def test_bars_tell_files_apart_and_count_what_is_verified(columns: int, tmp_path: Path) -> None:
    """No address and no byte counter of a listing; volumes differ; sizes that are only compared have no speed."""
    lines = printed(columns, [sys.executable, "-c", _EVENTS], tmp_path)
    text = "\n".join(lines)
    assert max(map(len, text.replace("\r", "\n").splitlines())) <= columns
    assert "http" not in text
    assert re.search(r"listing gpf.* 3 entries", text)
    assert all(f"D038_2024-01-01.7z.00{n}" in text for n in (1, 2, 3)), text
    assert "0 of 3 files" in text
    assert "1 of 3 files" in text
    assert "TB/s" not in text
    assert re.search("compared 1 of 2 files.*1.0 TB of 1.0 TB", text)
