"""Whole commands, timed in turn: ours, a peer, ours, a peer, ..., so that what else the machine does falls on all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_LAUNCH = Path(__file__).with_name("launch.py")
_PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Timed:
    """A command that has ended well: wall time, processor time, most memory in bytes, the file with its standard output."""

    seconds: float
    cpu: float
    peak: int
    output: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """A command; `clear` removes what an earlier turn has left and is not timed, `check` raises where the result is wrong."""

    command: Sequence[str]
    clear: Callable[[], None] = lambda: None
    check: Callable[[Timed], None] = lambda timed: None


def timed(command: Sequence[str], output: Path) -> Timed:
    """Run a command from the project's folder. Raises RuntimeError with what it said where it fails."""
    launcher = [sys.executable, "-I", "-S", str(_LAUNCH), str(output), *command]
    ended = subprocess.run(launcher, cwd=_PROJECT, capture_output=True, text=True, check=False)
    facts = json.loads(ended.stdout) if ended.returncode == 0 else {"status": ended.returncode}
    if facts["status"] != 0:
        last = "\n".join(ended.stderr.strip().splitlines()[-5:])
        raise RuntimeError(f"{' '.join(command)}: exit status {facts['status']}\n{last}")
    return Timed(facts["seconds"], facts["cpu"], facts["peak"], output)


def contest(contenders: Mapping[str, Contender], rounds: int, folder: Path) -> dict[str, list[Timed]]:
    """`rounds` turns of each, in turn, on a disk that has nothing left to write from before."""
    results: dict[str, list[Timed]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            contender.clear()
            os.sync()
            result = timed(contender.command, folder / f"{name.replace(' ', '-')}.out")
            contender.check(result)
            results[name].append(result)
    for contender in contenders.values():
        contender.clear()
    return results


def seconds(results: Sequence[Timed]) -> float:
    """The median wall time."""
    return median(result.seconds for result in results)


def cpu_seconds(results: Sequence[Timed]) -> float:
    """The median processor time of the command and its children, which other work on the machine changes less."""
    return median(result.cpu for result in results)


def ratio(ours: Sequence[Timed], peer: Sequence[Timed]) -> float:
    """The median over the rounds of our wall time to the peer's in the same round."""
    return median(one.seconds / other.seconds for one, other in zip(ours, peer, strict=True))


def peak(results: Sequence[Timed]) -> int:
    """The most memory that any of them had, in bytes."""
    return max(result.peak for result in results)
