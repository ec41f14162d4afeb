"""A served mirror that has seen everything happen: something was parked and came, was replaced, withdrawn, superseded, pruned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .mirrored import edition, rewritten
from .parked import BAD, FIRST, GOOD, OTHER, wrong
from .served import ServedMirror, served_mirror
from .upstream import publish, withdraw

REPLACED = rewritten(FIRST, "other", updated="2026-11-01")
NEWER = edition(GOOD.resources[1].listed[1], "2026-12-15", "2026-12-20")
GONE = GOOD.resources[0].listed[2].id
LATER = withdraw(publish(publish(GOOD, "BDALPHA", REPLACED), "BDBRAVO", NEWER), "BDBRAVO", OTHER.id)
LATER = withdraw(LATER, "BDALPHA", GONE)
BROKEN = wrong(edition(GOOD.resources[0].listed[3], "2026-12-24", "2026-12-25"))

SUBSCRIPTIONS: dict[str, dict[str, Any]] = {
    "alpha": {"resources": ["BDALPHA"], "edition": "all"},
    "bravo": {"resources": ["BDBRAVO"], "edition": "all", "keep": 1},
}


@asynccontextmanager
async def eventful_mirror(root: Path, **serve: Any) -> AsyncIterator[ServedMirror]:
    """Five runs: a file parked, that file and the rest, replaced and withdrawn and newer ones, a prune, and another file parked."""
    async with served_mirror(root, BAD, sync=False, **serve) as served:
        mirror = served.mirror
        mirror.tables = dict(SUBSCRIPTIONS)
        mirror.limits = {"min_free": 0, "max_delete_ratio": 1, "grace": "0s"}
        for catalogue in (BAD, GOOD, LATER):
            await served.sync(catalogue)
            mirror.clock.pass_(days=1, hours=1)
        assert (await mirror.prune("bravo")).deleted["sub_resources"]
        mirror.clock.pass_(days=1)
        await served.sync(publish(LATER, "BDALPHA", BROKEN))
        mirror.clock.pass_(days=1)
        yield served
