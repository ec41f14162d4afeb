"""What a prune did, or would do, and the JSON of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mirror.sync.report import EXIT_CODES


@dataclass(frozen=True, slots=True)
class PruneAction:
    """What becomes, or became, of one sub-resource outside the editions to keep, and why. `bytes` are those of its `files`."""

    action: Literal["delete", "keep"]
    reason: str
    upstream: str
    resource: str
    sub_resource: str
    edition_date: str | None
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PruneRefusal:
    """What a guard refused: for a resource, or for a subscription of which too much would go."""

    upstream: str
    resource: str | None
    subscription: str | None
    reason: str


@dataclass(slots=True)
class PruneReport:
    """How a prune ended. `foreign` are paths in folders that were deleted which are not ours: left where they are."""

    dry_run: bool = False
    outcome: str = "complete"
    reason: str = ""
    actions: list[PruneAction] = field(default_factory=list)
    refused: list[PruneRefusal] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """As INTERFACE.md has it."""
        return EXIT_CODES[self.outcome]

    @property
    def deleted(self) -> dict[str, int]:
        """Sub-resources, files and bytes that were deleted; of a dry run, that would be."""
        gone = [action for action in self.actions if action.action == "delete"]
        return {"sub_resources": len(gone), "files": sum(a.files for a in gone), "bytes": sum(a.bytes for a in gone)}

    def as_json(self) -> dict[str, Any]:
        """The document of `prune --json`."""
        return {
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "reason": self.reason or None,
            "planned" if self.dry_run else "deleted": self.deleted,
            "actions": [{name: getattr(action, name) for name in PruneAction.__slots__} for action in self.actions],
            "refused": [{name: getattr(refusal, name) for name in PruneRefusal.__slots__} for refusal in self.refused],
            "foreign": self.foreign,
            "seconds": round(self.seconds, 3),
        }
