"""What a killed run had announced and not yet recorded: look at the bytes, and let the index say what they are.

Between the rename that publishes a file and the commit of its row there is a moment in which tree and index differ. By the next run
the listing may have moved on, so that no plan looks at that file again; therefore every publication is announced first, and what is
still announced when a run begins is settled here.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from mirror.events import FileKey
from mirror.steps import step
from mirror.store.holdings import Announced, Holdings
from mirror.store.journal import Journal
from mirror.store.tree import Folder, Tree
from mirror.transfer.receive import Hashes, hash_file

SPLIT_ANEW = "upstream has split the archive anew, without this volume; set aside in .staging/quarantine"
"""Why a volume left."""


async def reconcile(tree: Tree, holdings: Holdings, journal: Journal, *, at: datetime) -> int:
    """Settle every announcement by hashing the file it is about; returns how many there were."""
    announced = holdings.announced()
    for one in announced:
        hashes = await asyncio.to_thread(_hashes, tree, one)
        if one.leaving and hashes is None:
            holdings.forget(one.unit_id, [one.file.remote.name])
            about = FileKey(one.upstream, one.resource, one.sub_resource, one.file.remote.name)
            journal.event("set-aside", at=at, about=about, message=SPLIT_ANEW)
            step("announcement: has left")
        elif not one.leaving and hashes is not None and hashes.sha256 == one.file.sha256:
            holdings.record(one.unit_id, one.updated, [one.file], fresh=[one.file.remote.name], at=at)
            step("announcement: came true")
        else:
            holdings.disown(one, None if hashes is None else hashes.sha256, at=at)
            step("announcement: taken back")
    return len(announced)


def _hashes(tree: Tree, one: Announced) -> Hashes | None:
    folder = Folder(one.upstream, one.resource, one.sub_resource)
    if one.file.remote.name not in tree.published(folder):
        return None
    return hash_file(tree.data / folder.relative / one.file.remote.name)
