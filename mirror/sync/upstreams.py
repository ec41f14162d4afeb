"""What a run knows of one of its upstreams."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mirror.planning.selection import Wish
from mirror.settings import Upstream
from mirror.sync.planner import Planner
from mirror.sync.rebuild import TakenIn
from mirror.sync.refresh import Refresh, Refreshed, WantedUnit
from mirror.upstream.session import Session


@dataclass
class UpstreamInRun:
    """One upstream in a run."""

    name: str
    settings: Upstream
    wishes: tuple[Wish, ...]
    session: Session
    planner: Planner
    refreshed: Refreshed = field(default_factory=lambda: Refreshed((), (), False))
    missing: Literal["", "unavailable", "refused"] = ""
    """Why there is no listing of it at all, if there is none."""

    settled: set[int] = field(default_factory=set)
    """Row ids of the sub-resources of which all is here."""

    unsettled: list[WantedUnit] = field(default_factory=list)

    refresh: Refresh | None = None
    rebuilt: TakenIn | None = None
    """What was taken in of files that nobody wants; None where that is not done, or not yet."""
