"""Commands for tests: they write down what they were told, fail as often as they are to, and a mirror that runs them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mirror.events import HookDone, HookFailed
from mirror.hooks import HookRunner, HookSummary, sync_with_hooks
from mirror.sync import Report

from .mirrored import Mirrored


def recorder(log: Path, then: str = "", *arguments: str) -> list[str]:
    """A command that adds the JSON on its stdin to a file, as one line, and then does what it is told in the words of the shell."""
    return ["/bin/sh", "-c", f'tr -d "\\n" >> "$0"; echo >> "$0"; {then}', str(log), *arguments]


def told(log: Path) -> list[Any]:
    """The documents that a recorder was given."""
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def about(log: Path) -> list[str]:
    """What a recorder was run for: sub-resources, or outcomes."""
    return [document.get("sub_resource") or document["outcome"] for document in told(log)]


class Hooked(Mirrored):
    """A mirror whose commands are run as `inspire-mirror sync` runs them."""

    async def sync_and_run(self, *names: str, retry: bool = False) -> Report:
        """A sync, and what is due after it."""
        self.upstream.clear()
        self.events.clear()
        return await sync_with_hooks(
            self.settings, names, emit=self.events.append, now=self.clock, patience=self.patience, retry=retry
        )

    def runner(self) -> HookRunner:
        """One that runs what is due, without a sync."""
        return HookRunner(lambda: self.settings, self.events.append, self.clock)

    async def run_due(self, names: Sequence[str] | None = None, *, retry: bool = False) -> HookSummary:
        """Run what is due now."""
        return await self.runner().run_due(names, retry=retry)

    def reasons(self) -> list[str]:
        """Why commands failed, of this run."""
        return [event.reason for event in self.events if isinstance(event, HookFailed)]

    def outputs(self) -> list[str]:
        """What commands that succeeded printed, of this run."""
        return [event.output for event in self.events if isinstance(event, HookDone)]

    def jobs(self) -> list[tuple[Any, ...]]:
        """What is still to be run."""
        return self.rows("SELECT subscription, hook, sub_resource, outcome FROM hook_jobs WHERE finished_at IS NULL ORDER BY id")
