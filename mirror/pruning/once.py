"""One prune, or the preview of one, from the lock to the report."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from mirror.events import Emit
from mirror.planning.retention import Verdict
from mirror.pruning.judge import Judge, folder_of
from mirror.pruning.report import PruneAction, PruneReport
from mirror.settings import Settings
from mirror.store.catalogue import Catalogue
from mirror.store.departures import Departures, Leaving
from mirror.store.holdings import Holdings
from mirror.store.index import Index, connect_reader
from mirror.store.journal import Journal
from mirror.store.rebuilding import Rebuilding
from mirror.store.refused import RefusedEntries
from mirror.store.trash import Trash
from mirror.store.tree import Folder, Tree
from mirror.sync import Clock, hold_lock, utc_now, wishes_of
from mirror.sync.leaving import Exit, error_text, to_the_end
from mirror.sync.once import copy_of_index
from mirror.sync.reconcile import reconcile


async def prune(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    dry_run: bool = False,
    wait: bool = False,
    visit: Callable[[PruneAction], None] = lambda action: None,
    emit: Emit = lambda event: None,
    now: Clock = utc_now,
) -> PruneReport:
    """Delete the editions that no subscription keeps, of the subscriptions `names` or of all. `visit` gets each action once done.

    With `dry_run` it works on a copy of the index, changes nothing under the root and needs no lock. Refusals and an interrupt are
    outcomes, not errors; a cancelled prune ends what it is about.

    Raises:
        ConfigError: the settings cannot be used, or there is no such subscription.
        Locked: another run holds the root and `wait` is false.
        GuardRefused: the root cannot be written.
        IndexUnusable: there is no index, or it cannot be opened.
    """
    wishes_of(settings, names)
    with closing(connect_reader(settings.root)):
        pass  # there must be an index: an empty mirror is not to be made here
    if dry_run:
        with copy_of_index(settings.root) as index:
            run = _Prune(settings, names, index, visit, emit, now)
            run.report.dry_run = True
            await run.preview()
            return run.report
    try:
        lock = await hold_lock(settings.root, wait=wait, emit=emit)
    except asyncio.CancelledError:
        _hear_cancel()
        return PruneReport(outcome="interrupted", reason="interrupted while waiting for another run; nothing was done")
    with lock, Index(settings.root) as index:
        run = _Prune(settings, names, index, visit, emit, now)
        report, began = run.report, time.monotonic()
        run.journal.start("prune", names or list(settings.subscription), at=now())
        try:
            await run.carry_out()
        except asyncio.CancelledError:
            _hear_cancel()
            report.outcome, report.reason = "interrupted", "interrupted; what is not listed as deleted is as it was"
        except (OSError, sqlite3.Error) as error:
            what = error_text(error) if isinstance(error, OSError) else f"the index could not be written: {error}"
            report.outcome, report.reason = "incomplete", f"{what}; the next run ends what was begun"
        report.seconds = time.monotonic() - began
        with suppress(sqlite3.Error):
            run.journal.finish(report.outcome, report.exit_code, 0, report.as_json(), at=now())
        return report


def _hear_cancel() -> None:
    """The interrupt becomes an outcome, and what follows must not meet it again."""
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


class _Prune:
    """One prune, or the preview of one."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        index: Index,
        visit: Callable[[PruneAction], None],
        emit: Emit,
        now: Clock,
    ) -> None:
        self.report = PruneReport()
        self.journal = Journal(index)
        self._visit = visit
        self._emit = emit
        self._now = now
        self._tree = Tree(settings.root)
        self._trash = Trash(self._tree)
        self._holdings = Holdings(index)
        self._departures = Departures(index, self.journal)
        catalogue = Catalogue(index)
        self._rebuilding = Rebuilding(index, catalogue, self._holdings).marked()
        self._judge = Judge(
            settings,
            names,
            self._tree,
            catalogue,
            self._departures,
            self.journal,
            RefusedEntries(index),
            self._rebuilding,
            now,
        )

    async def preview(self) -> None:
        """Say what `carry_out` would do; all that is written is the copy of the index."""
        began = time.monotonic()
        for what in self._departures.leaving():
            self._tell(_begun(what))
            self.report.foreign += (
                await asyncio.to_thread(self._trash.look, what.folder, what.files, unpacked=what.unpacked)
            ).foreign
        await reconcile(self._tree, self._holdings, self.journal, at=self._now())
        for upstream in self._judge.upstreams:
            self._holdings.refresh_states(upstream, at=self._now())
        for upstream, decision in (await self._judge.decide()).items():
            for verdict in decision.verdicts:
                if verdict.delete:
                    self.report.foreign += self._judge.foreign[verdict.stored.id]
                self._tell(_action(upstream, verdict))
        self._conclude()
        self.report.seconds = time.monotonic() - began

    async def carry_out(self) -> None:
        """End what a killed run had begun, then delete what may go."""
        way_out = Exit(self._departures, self._trash, self._emit, self._now)
        await to_the_end(asyncio.to_thread(self._tree.recover))
        await reconcile(self._tree, self._holdings, self.journal, at=self._now())
        for left in await way_out.finish():
            self._tell(_begun(left.what))
            self.report.foreign += left.foreign
        for upstream in self._judge.upstreams:
            newest = self._holdings.refresh_states(upstream, at=self._now())
            if upstream not in self._rebuilding:  # else an alias may lead to what the index does not know yet
                await to_the_end(asyncio.to_thread(_point_all, self._tree, upstream, newest))
        for upstream, decision in (await self._judge.decide()).items():
            links = await asyncio.to_thread(_links, self._tree, upstream)
            for verdict in decision.verdicts:
                action = _action(upstream, verdict)
                if verdict.delete:
                    for link in links.get(folder_of(upstream, verdict), ()):
                        link.unlink()  # of a series that is no more: that of a series that is leads elsewhere
                    try:
                        left = await way_out.leave(verdict.stored.id, verdict.reason)
                    except OSError as error:
                        action = replace(action, action="keep", reason=f"{action.reason}, but cannot be moved: {error_text(error)}")
                        self.report.outcome, self.report.reason = "incomplete", "some of it could not be moved"
                    else:
                        self.report.foreign += left.foreign
                self._tell(action)
        self._conclude()

    def _tell(self, action: PruneAction) -> None:
        self.report.actions.append(action)
        self._visit(action)

    def _conclude(self) -> None:
        self.report.refused = self._judge.refused
        if self.report.refused:
            reasons = dict.fromkeys(refusal.reason for refusal in self.report.refused)
            self.report.outcome = "refused"
            self.report.reason = "; ".join(filter(None, (self.report.reason, *reasons)))


def _action(upstream: str, verdict: Verdict) -> PruneAction:
    sub, stored = verdict.stored.sub, verdict.stored
    day = sub.edition_date.isoformat() if sub.edition_date else None
    verb: Literal["delete", "keep"] = "delete" if verdict.delete else "keep"
    return PruneAction(verb, verdict.reason, upstream, sub.resource, sub.id, day, stored.files, stored.bytes)


def _begun(what: Leaving) -> PruneAction:
    reason = f"an interrupted prune had begun to delete it: {what.reason}"
    where = what.folder
    return PruneAction(
        "delete", reason, where.upstream, where.resource, where.sub_resource, what.edition_date, len(what.files), what.bytes
    )


def _point_all(tree: Tree, upstream: str, newest: Mapping[str, tuple[str, str]]) -> None:
    for series, (resource, sub_resource) in newest.items():
        tree.point(upstream, series, resource, sub_resource)


def _links(tree: Tree, upstream: str) -> dict[Folder, list[Path]]:
    """The aliases of an upstream by what they lead to."""
    found: dict[Folder, list[Path]] = {}
    with suppress(FileNotFoundError), os.scandir(tree.aliases / upstream) as entries:
        for entry in entries:
            if entry.is_symlink():
                match os.readlink(entry.path).split("/"):
                    case ["..", "..", "data", of, resource, sub_resource]:
                        found.setdefault(Folder(of, resource, sub_resource), []).append(Path(entry.path))
    return found
