"""The account of a run: one consumer of the event stream, and the JSON that INTERFACE.md promises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mirror.events import (
    Chunk,
    Event,
    Failed,
    Listed,
    ListingFailed,
    ListingRefused,
    NotUnpacked,
    Planned,
    Published,
    Requested,
    Verified,
)

EXIT_CODES = {"complete": 0, "incomplete": 1, "refused": 4, "unavailable": 5, "interrupted": 130}


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be had: a file, or (where `file` is None) a listing; without a `url`, a command that failed."""

    url: str
    file: str | None
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Account:
    """Wanted files: how many there should be, how many are in the tree, how many of those are verified."""

    expected: int = 0
    present: int = 0
    verified: int = 0

    def __add__(self, other: Account) -> Account:
        return Account(self.expected + other.expected, self.present + other.present, self.verified + other.verified)

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing."""
        return self.expected == self.present == self.verified


@dataclass(slots=True)
class Report:
    """Counts events as they come; what it holds at the end is the account of the run. Sizes in bytes."""

    outcome: str = "complete"
    reason: str = ""
    requests: int = 0
    listed: dict[str, int] = field(default_factory=lambda: {"resources": 0, "sub_resources": 0, "files": 0})
    planned: dict[str, int] = field(default_factory=lambda: {"add": 0, "replace": 0, "keep": 0, "bytes": 0})
    done: dict[str, int] = field(default_factory=lambda: {"add": 0, "replace": 0, "bytes": 0, "resumed_bytes": 0})
    failed: list[Failure] = field(default_factory=list)
    account: Account = Account()
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0
    not_unpacked: int = 0

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case Requested():
                self.requests += 1
            case Listed(level=level, entries=entries):
                self.listed[level] += entries
            case ListingFailed(url=url, reason=reason, attempts=attempts):
                self.failed.append(Failure(url, None, reason, attempts))
            case ListingRefused(url=url, reason=reason):
                self.failed.append(Failure(url, None, reason, 1))
            case Planned(add, replace, keep, size):
                self.planned = {"add": add, "replace": replace, "keep": keep, "bytes": size}
            case Chunk(size=size):
                self.done["bytes"] += size
            case Verified(resumed=resumed):
                self.done["resumed_bytes"] += resumed
            case Published(action=action):
                # A file taken in from the folder came into the mirror as any other: to scripts it is an addition.
                self.done["replace" if action == "replace" else "add"] += 1
            case Failed(url=url, key=key, reason=reason, attempts=attempts):
                self.failed.append(Failure(url, key.file, reason, attempts))
            case NotUnpacked(key, url, reason):
                self.failed.append(Failure(url, None, f"{key.resource}/{key.sub_resource}: {reason}", 1))
                self.not_unpacked += 1

    @property
    def exit_code(self) -> int:
        """As INTERFACE.md has it."""
        return EXIT_CODES[self.outcome]

    @property
    def failed_commands(self) -> int:
        """How many commands have failed, of what has failed."""
        return sum(not failure.url and failure.file is None for failure in self.failed)

    def as_json(self) -> dict[str, Any]:
        """The document of `sync --json`."""
        return {
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "reason": self.reason or None,
            "requests": self.requests,
            "listed": self.listed,
            "planned": self.planned,
            "done": self.done,
            "failed": [{"url": f.url or None, "file": f.file, "reason": f.reason, "attempts": f.attempts} for f in self.failed],
            "account": {
                "expected": self.account.expected,
                "present": self.account.present,
                "verified": self.account.verified,
            },
            "remarks": self.remarks,
            "seconds": round(self.seconds, 3),
        }
