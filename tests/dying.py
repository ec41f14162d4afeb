"""Prunes in processes of their own that die at a named step: forked from one that has everything imported, to start at once.

As a program it reads one JSON document a line, `{"settings": ..., "folder": ..., "at": ..., "step": ..., "occurrence": ...}`, and
writes how that prune ended: its exit code, that of a signal negative.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import mirror
import mirror.steps
from mirror.pruning import prune
from mirror.settings import from_mapping

_PROJECT = Path(mirror.__file__).parent.parent


class Prunes:
    """Starts prunes one after the other. Use as a context manager."""

    def __enter__(self) -> Prunes:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.dying"], cwd=_PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()

    def run(self, settings: Mapping[str, Any], folder: Path, at: datetime, step: str = "", occurrence: int = 1) -> int:
        """One prune, until it passes `step` for the `occurrence`th time, or to its end; returns its exit code."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        order = {"settings": settings, "folder": str(folder), "at": at.isoformat(), "step": step, "occurrence": occurrence}
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        return int(stdout.readline())


def main() -> None:
    """Fork a prune for every line that comes."""
    while order := sys.stdin.readline():
        child = os.fork()
        if not child:
            os._exit(_prune(json.loads(order)))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _prune(order: Mapping[str, Any]) -> int:
    count = itertools.count(1)

    def on_step(name: str) -> None:
        if name == order["step"] and next(count) == order["occurrence"]:
            os.kill(os.getpid(), signal.SIGKILL)

    mirror.steps.on_step = on_step
    at = datetime.fromisoformat(order["at"])
    settings = from_mapping(order["settings"], Path(order["folder"]), {})
    return asyncio.run(prune(settings, now=lambda: at)).exit_code


if __name__ == "__main__":
    main()
