"""The plan of each wanted sub-resource, from the index and the folder; and the count of what is here.

A sub-resource that was complete for this very listing and filter, and whose folder has not been touched since, needs one stat: so a
resync looks at every sub-resource and reads only those in which something changed.
"""

from __future__ import annotations

from datetime import datetime

from mirror.planning.parking import NOTHING_PARKED, Parking
from mirror.planning.plan import Add, Adopt, Hold, Keep, Park, Replace, UnitPlan, hold_back, plan_unit, settled_key
from mirror.store.catalogue import Catalogue
from mirror.store.holdings import Holdings
from mirror.store.tree import Folder, Tree
from mirror.sync.refresh import WantedUnit
from mirror.sync.report import Account


class Planner:
    """Plans for one upstream, as of one moment, so that all that a run asks of it agrees; `retry` plans parked files too."""

    def __init__(
        self, upstream: str, tree: Tree, catalogue: Catalogue, holdings: Holdings, at: datetime, *, retry: bool = False
    ) -> None:
        self._upstream = upstream
        self._tree = tree
        self._catalogue = catalogue
        self._holdings = holdings
        self._at = at
        self._retry = retry

    def folder(self, wanted: WantedUnit) -> Folder:
        """Where a sub-resource is kept."""
        return Folder(self._upstream, wanted.unit.sub.resource, wanted.unit.sub.id)

    def settled(self, wanted: WantedUnit) -> bool:
        """Whether all that is wanted of it is here, by the short way."""
        unit = wanted.unit
        return (
            wanted.listed
            and unit.settled is not None
            and unit.settled == settled_key(unit.files_digest or "", wanted.wanted.files)
            and (unit.settled_files == 0 or unit.folder_stamp == self._tree.stamp(self.folder(wanted)))
        )

    def plan(self, wanted: WantedUnit) -> UnitPlan:
        """Every action on a sub-resource, by the long way."""
        unit, folder = wanted.unit, self.folder(wanted)
        plan = plan_unit(
            wanted.wanted,
            self._catalogue.files(unit.id),
            self._holdings.indexed(unit.id),
            self._tree.published(folder),
            NOTHING_PARKED if self._retry else Parking(self._holdings.parked.of(unit.id), self._at),
            unit.files_listed_at,
        )
        return hold_back(plan, self._tree.waiting(folder)) if plan.parked else plan

    def forget_parked(self, wanted: WantedUnit) -> None:
        """Of a sub-resource of which every wish is known: what is no longer missing is no longer parked."""
        if parked := self._holdings.parked.of(wanted.unit.id):
            missing = {action.file.name for action in self.plan(wanted).actions if not isinstance(action, Keep)}
            if parked.keys() - missing:
                self._holdings.parked.keep_only(wanted.unit.id, missing)

    def account(self, wanted: WantedUnit) -> tuple[Account, int]:
        """Of a sub-resource as it stands: its files, and the bytes of those that are as upstream lists them.

        Where a published file has gone and could not be had again, the sub-resource no longer counts as complete.
        """
        if self.settled(wanted):
            files = wanted.unit.settled_files
            return Account(files, files, files), wanted.unit.settled_bytes
        plan = self.plan(wanted)
        kept = [action for action in plan.actions if isinstance(action, Keep)]
        indexed = self._holdings.indexed(wanted.unit.id).keys()
        here = self._tree.published(self.folder(wanted)).keys() & indexed
        if here != indexed:
            self._holdings.unsettle(wanted.unit.id)
        present = sum(action.file.name in here for action in plan.actions if not isinstance(action, Park) or action.waiting)
        # A listing that could not be had hides an unknown number of files; it counts as one more than is known.
        unknown = 0 if wanted.listed else 1
        return Account(len(plan.actions) + unknown, present, len(kept)), sum(action.file.size or 0 for action in kept)


def verb(action: object) -> str:
    """What `plan` calls an action."""
    match action:
        case Add():
            return "add"
        case Replace():
            return "replace"
        case Adopt():
            return "adopt"
        case Park():
            return "park"
        case Hold():
            return "hold"
        case _:
            return "keep"
