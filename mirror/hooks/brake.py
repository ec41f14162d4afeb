"""When the commands of a hook are left for later because they fail one after the other: a database that is down, a missing program.

Each is worth a try now and then, but not each of sixty tiles a failure, a line in the log and one in `status`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mirror.amounts import count_text
from mirror.hooks.due import WAITS
from mirror.store.hook_jobs import HookJob

IN_A_ROW: Final = 3
"""Failures of a hook, one after the other in one pass, after which its other commands wait."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A hook waits `until` then, after so many `failures`; it was stopped in so many `passes`, one after the other.

    It is of this `command`: another one in the config may well succeed.
    """

    until: datetime
    command: tuple[str, ...]
    failures: int
    passes: int

    def holds(self, command: tuple[str, ...], at: datetime) -> bool:
        """Whether the command is to wait. An end that lies further ahead than any wait is of a clock that was set back since."""
        return command == self.command and at < self.until <= at + WAITS[-1]


def most_failures(before: Hold | None) -> int:
    """How many failures in a row end a pass: one that comes after such an end only looks whether it is better now."""
    return IN_A_ROW if before is None else 1


def hold_after(before: Hold | None, failures: int, command: tuple[str, ...], at: datetime) -> Hold:
    """After a pass that ended with so many failures in a row. Each such pass makes the wait longer, as tries of a command do."""
    passes = 1 if before is None else before.passes + 1
    wait = WAITS[min(passes, len(WAITS)) - 1]
    return Hold(at + wait, command, failures + (0 if before is None else before.failures), passes)


def hold_text(hold: Hold, subscription: str, left: int) -> str:
    """What is told of it."""
    more, verb = count_text(left, "more command"), "waits" if left == 1 else "wait"
    return f"{more} of {subscription} {verb}: the last {hold.failures} failed"


def in_order(jobs: Iterable[HookJob]) -> list[HookJob]:
    """As they came up, but for commands of `on_publish`: they come first, and of them those that have not failed yet.

    So three that always fail do not keep the others from ever being tried.
    """
    return sorted(jobs, key=lambda job: (job.hook != "on_publish", job.hook == "on_publish" and job.outcome is not None))
