"""The parts that a sync and a plan share, put together for one run.

    settings -> wishes -> refresh (list) -> plan -> guard -> transfers (fetch, verify, publish, index, alias) -> states, standings

Every stage sends events; the report, the journal and whoever watches read the same stream. What a stage cannot do it says in an
event and goes on; only what ends the run is an exception.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial

from mirror.amounts import count_text
from mirror.errors import GuardRefused, UpstreamUnavailable, os_error_text
from mirror.events import Emit, Event, FileKey, ListingFailed, ListingRefused, Note, Planned, Stage, Withdrawn, fan_out
from mirror.phrases import joined, phrase
from mirror.planning.plan import Action, Adopt, Hold, Keep, Park, Replace
from mirror.planning.selection import Wish
from mirror.settings import Settings
from mirror.steps import step
from mirror.store.catalogue import Catalogue
from mirror.store.contents import Contents
from mirror.store.departures import Departures
from mirror.store.holdings import Holdings
from mirror.store.index import Index
from mirror.store.journal import Journal, Standing
from mirror.store.rebuilding import Rebuilding
from mirror.store.refused import RefusedEntries
from mirror.store.trash import Trash
from mirror.store.tree import Tree
from mirror.sync.archiving import Archiving
from mirror.sync.guarding import Guards
from mirror.sync.hooking import Hooking
from mirror.sync.leaving import Exit
from mirror.sync.planner import Planner
from mirror.sync.rebuild import Rebuild
from mirror.sync.refresh import Refresh, WantedUnit
from mirror.sync.report import Account, Failure, Report
from mirror.sync.space import free_space, guard_plan, guard_room
from mirror.sync.transfers import OBSTACLES, Transfers, UnitWork
from mirror.sync.upstreams import UpstreamInRun
from mirror.sync.wiring import Clock, bandwidth_of, dialect_of, open_session, wishes_of
from mirror.transfer.room import Room
from mirror.upstream.crawl import in_parallel
from mirror.upstream.pace import Gate
from mirror.upstream.session import Patience
from mirror.upstream.tally import Tally

_MOST_TOLD = 3  # refused listings that the reason of a run names; the events have all


class Run:
    """The parts that a sync and a plan share: open index, sessions, refresh, plan."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        index: Index,
        emit: Emit,
        now: Clock,
        patience: Patience | None = None,
        only: Collection[tuple[str, str, str]] | None = None,
        *,
        retry: bool = False,
    ) -> None:
        self._only = only
        self._retry = retry
        self.obstacles: list[str] = []  # what keeps aliases from being pointed
        self.transferring = False
        """Whether this run has come so far as to change what is here."""
        self._rebuilding_now: set[str] = set()
        self._room = Room(self._guard_room)
        self.settings = settings
        self.wishes = wishes_of(settings, names)
        self.report = Report()
        self.excuses: list[UpstreamUnavailable] = []
        self.refusals: list[str] = []
        """Why listings were refused, of whole upstreams or of parts."""
        self.accounted = False  # whether the standings of this run have been written
        self.now = now
        self._index = index
        self.tree = Tree(settings.root)
        self.catalogue = Catalogue(index)
        self.holdings = Holdings(index)
        self.journal = Journal(index)
        self.rebuilding = Rebuilding(index, self.catalogue, self.holdings)
        self.watch = Tally(now)
        self.hooking = Hooking(settings, index, self.journal, self.wishes, now)
        self.emit = fan_out(self.report, self._record, self.hooking, self.watch, emit)
        self.exit = Exit(Departures(index, self.journal), Trash(self.tree), self.emit, now)
        self.archiving = Archiving(settings.limits, self.tree, Contents(index), self.journal, self.emit, now, retry=retry)
        self.upstreams: list[UpstreamInRun] = []
        self._patience = patience

    def _record(self, event: Event) -> None:
        match event:
            case Withdrawn(upstream, resource, sub_resource):
                about = FileKey(upstream, resource, sub_resource, "")
                self.journal.event("withdrawn", at=self.now(), about=about, message="no longer listed upstream; kept here")
            case ListingFailed(upstream, what, _, reason, _):
                self.journal.event("listing-failed", at=self.now(), about=FileKey(upstream, what, "", ""), message=reason)
            case ListingRefused(upstream, what, _, reason):
                self.journal.event("listing-refused", at=self.now(), about=FileKey(upstream, what, "", ""), message=reason)

    @asynccontextmanager
    async def sessions(self) -> AsyncIterator[None]:
        """Open a session for each upstream that the wishes need."""
        asked = {
            name: upstream for name, upstream in self.settings.upstream.items() if any(w.upstream == name for w in self.wishes)
        }
        rates: dict[str, float] = {}
        for upstream in asked.values():
            # Several services of one host share its limits, and its wall: the slowest pace is that of all.
            rates[upstream.host] = min(rates.get(upstream.host, upstream.requests_per_second), upstream.requests_per_second)
        gates = {host: Gate(rate, time.monotonic) for host, rate in rates.items()}
        async with AsyncExitStack() as stack:
            for name, upstream in asked.items():
                wishes = tuple(wish for wish in self.wishes if wish.upstream == name)
                dialect_of(name, upstream)
                gate = gates[upstream.host]
                bandwidth = bandwidth_of(self.settings, upstream, self.now)
                session = open_session(name, upstream, self.settings.contact, self.emit, self._patience, gate, bandwidth)
                await stack.enter_async_context(session)
                planner = Planner(name, self.tree, self.catalogue, self.holdings, self.now(), retry=self._retry)
                self.upstreams.append(UpstreamInRun(name, upstream, wishes, session, planner))
            yield

    async def list_and_plan(self) -> bool:
        """Refresh the catalogue and find the sub-resources in which something is to do; False if no upstream can be had.

        An upstream whose listing is refused is left as it is; the others go on.
        """
        for upstream in self.upstreams:
            refresh = Refresh(
                upstream.session,
                dialect_of(upstream.name, upstream.settings),
                self.catalogue,
                RefusedEntries(self._index),
                Guards(upstream.name, self._index, self.catalogue, self.now, self.settings.limits.max_shrink_ratio),
                self.emit,
                self.now,
                workers=upstream.settings.downloads,
                full_every=upstream.settings.full_listing_every,
                suspects=self._suspects(upstream.name),
            )
            upstream.refresh = refresh
            try:
                upstream.refreshed = await refresh.run(upstream.wishes)
            except UpstreamUnavailable as error:
                self.journal.unlisted(upstream.name, str(error), at=self.now())
                upstream.missing = "unavailable"
                self.excuses.append(error)
                self.report.failed.append(Failure(upstream.settings.url, None, str(error), 1))
                continue
            except GuardRefused as error:
                self.journal.unlisted(upstream.name, str(error), at=self.now())
                upstream.missing = "refused"
                self.refusals.append(str(error))
                continue
            self.journal.listed(upstream.name, at=self.now())
            self.refusals += upstream.refreshed.refused
            self.report.remarks += upstream.refreshed.remarks
            for remark in upstream.refreshed.remarks:
                self.emit(Note(remark, "warning"))
        if all(upstream.missing for upstream in self.upstreams):
            self.report.outcome = "refused" if self.refusals else "unavailable"
            self.report.reason = self.refusal or self.excuse
            return False
        for excuse in self.excuses:
            self.emit(Note(str(excuse), "warning"))
        await self._plan()
        return True

    def _suspects(self, upstream: str) -> set[tuple[str, str]]:
        """The sub-resources of which wrong files are about to be tried again: their listings are read again first."""
        found = self.holdings.parked.suspects(upstream, at=self.now(), retry=self._retry)
        return found if self._only is None else {unit for unit in found if (upstream, *unit) in self._only}

    @property
    def excuse(self) -> str:
        """Why upstreams could not be had; empty if all could."""
        return joined("; ", map(str, self.excuses))

    @property
    def refusal(self) -> str:
        """Why listings were refused; empty if none was."""
        told, left = self.refusals[:_MOST_TOLD], len(self.refusals) - _MOST_TOLD
        return joined("; ", [*told, phrase("and {n} more", n=left)] if left > 0 else told)

    async def _plan(self) -> None:
        self.emit(Stage("planning"))
        add = replace = keep = size = 0
        for upstream in self.upstreams:
            for number, wanted in enumerate(upstream.refreshed.units):
                if number % 200 == 0:
                    await asyncio.sleep(0)  # let an interrupt through
                sub = wanted.unit.sub
                if self._only is not None and (upstream.name, sub.resource, sub.id) not in self._only:
                    continue
                if not wanted.listed:
                    continue  # what is there of its listing may no longer be true
                if upstream.planner.settled(wanted):
                    keep += wanted.unit.settled_files
                    upstream.settled.add(wanted.unit.id)
                    continue
                if wanted.held:
                    continue
                plan = upstream.planner.plan(wanted)
                upstream.unsettled.append(wanted)
                if not plan.actions:
                    names = ", ".join(wanted.wanted.wishes)
                    unit = f"{sub.resource}/{sub.id}"
                    remark = (
                        phrase("{names}: {unit} lists no file that `files` matches", names=names, unit=unit)
                        if wanted.wanted.files
                        else phrase("{names}: {unit} lists no file", names=names, unit=unit)
                    )
                    self.report.remarks.append(remark)
                    self.emit(Note(remark, "warning"))
                for action in plan.actions:
                    if isinstance(action, Keep):
                        keep += 1
                    elif not isinstance(action, Park | Hold):
                        replace += isinstance(action, Replace)
                        add += not isinstance(action, Replace)
                        size += 0 if isinstance(action, Adopt) else action.file.size or 0
        self.emit(Planned(add, replace, keep, size))

    def actions(self, *, keeps: bool = False) -> Iterator[tuple[str, WantedUnit, Action]]:
        """Every action of the plan, with its upstream; what is simply kept only on demand."""
        for upstream in self.upstreams:
            for wanted in upstream.refreshed.units if keeps else upstream.unsettled:
                if not wanted.listed:
                    continue
                for action in upstream.planner.plan(wanted).actions:
                    if keeps or not isinstance(action, Keep):
                        yield upstream.name, wanted, action

    def guard_space(self) -> None:
        """Raises GuardRefused where the plan would leave less than `min_free`."""
        need, free = self.report.planned["bytes"], free_space(self.settings.root)
        if need:
            need = max(0, need - self._staged_bytes())  # what an earlier run has fetched takes no more room
        guard_plan(self.settings.root, need, free, self.settings.limits.min_free)

    def _guard_room(self, size: int) -> None:
        guard_room(self.settings.root, size, self.settings.limits.min_free)

    def _staged_bytes(self) -> int:
        size = 0
        for upstream in self.upstreams:
            staged = self.tree.staged_folders(upstream.name)
            for wanted in upstream.unsettled if staged else ():
                if (folder := upstream.planner.folder(wanted)) in staged:
                    size += self.tree.staged_bytes(folder, [a.file.name for a in upstream.planner.plan(wanted).transfers])
        return size

    def begin(self, command: str, *, at: datetime) -> None:
        """Record that a run begins; where it is the first of its index, also whose files are here already, to be taken in."""
        here = [name for name in self.settings.upstream if self.tree.folders(name)] if self.rebuilding.is_new else []
        with self.holdings.transaction():
            self.rebuilding.mark(here, at=at)
            self.journal.start(command, [wish.name for wish in self.wishes], at=at)
        self._rebuilding_now = set(self.rebuilding.marked())

    def finish(self) -> None:
        """Record how the run has ended, and in the same moment what its subscriptions are to be told of that."""
        report = self.report
        with self.holdings.transaction():
            self.journal.finish(report.outcome, report.exit_code, report.requests, report.as_json(), at=self.now())
            if self._only is None:
                self.hooking.ended(report)

    async def rebuild(self) -> None:
        """Take in what is here of upstreams whose index was made anew, but for what the plan adopts."""
        if self._only is not None:
            return
        for upstream in self.upstreams:
            if upstream.name in self._rebuilding_now and not upstream.missing and upstream.refresh is not None:
                planned = {
                    (wanted.unit.sub.resource, wanted.unit.sub.id): [a.file.name for a in upstream.planner.plan(wanted).actions]
                    for wanted in upstream.unsettled
                }
                parts = self.tree, self.catalogue, self.holdings, self.journal, self.rebuilding
                try:
                    upstream.rebuilt = await Rebuild(upstream.name, *parts, self.emit, self.now).run(upstream.refresh, planned)
                except UpstreamUnavailable as error:
                    self._gone(upstream, error)

    def _rebuilt(self) -> None:
        """All that was planned has been done: where nothing is left to be taken in, the index is whole again."""
        for upstream in self.upstreams:
            if (taken := upstream.rebuilt) is None or upstream.missing:
                continue
            if taken.doubtful:
                remark = f"{upstream.name}: not every listing could be had, so the next sync looks through data/ once more"
                self.report.remarks.append(remark)
                self.emit(Note(remark, "warning"))
                continue
            self.rebuilding.done(upstream.name)
            self._rebuilding_now.discard(upstream.name)
            step("rebuild: done")
            message = f"{count_text(taken.files, 'file')}, {taken.bytes} bytes, that no subscription wants were taken in from data/"
            self.journal.event("index-rebuilt", at=self.now(), about=FileKey(upstream.name, "", "", ""), message=message)
            self.emit(Note(f"{upstream.name}: the index is rebuilt; {message}"))

    async def transfer(self) -> None:
        """Carry out the plan, all upstreams side by side."""
        self.transferring = True
        await in_parallel([partial(self._transfer, upstream) for upstream in self.upstreams], len(self.upstreams))
        self._rebuilt()

    async def _transfer(self, upstream: UpstreamInRun) -> None:
        transfers = Transfers(
            upstream.session,
            self.tree,
            self.catalogue,
            self.holdings,
            self.journal,
            self.emit,
            self.now,
            self.archiving,
            workers=upstream.settings.downloads,
            room=self._room,
            keeps_alias=partial(self._keeps_alias, upstream.name),
            noticed=self.hooking.published,
        )
        try:
            async with self.archiving.looking_into(upstream.name):
                await transfers.run(self._works(upstream))
        except UpstreamUnavailable as error:
            self._gone(upstream, error)

    def _gone(self, upstream: UpstreamInRun, error: UpstreamUnavailable) -> None:
        """It has gone away in the middle. What has come is published; the other upstreams go on."""
        upstream.rebuilt = None
        self.excuses.append(error)
        self.emit(Note(str(error), "warning"))

    async def unpack(self) -> None:
        """Bring what is to lie unpacked up to date with what is published."""
        for upstream in self.upstreams:
            now = self.catalogue.reread(wanted.unit.id for wanted in upstream.unsettled)
            units = [replace(w, unit=now[w.unit.id]) if w.unit.id in now else w for w in upstream.refreshed.units if w.listed]
            await self.archiving.unpack(upstream.name, units, self.catalogue.files)

    def _works(self, upstream: UpstreamInRun) -> Iterator[UnitWork]:
        for wanted in upstream.unsettled:
            yield UnitWork(wanted.unit, upstream.planner.plan(wanted), upstream.planner.folder(wanted))

    def sweep(self) -> None:
        """Remove from staging what this plan does not want, where this run knows all that is wanted of an upstream."""
        if self._only is not None:
            return
        for upstream in self.upstreams:
            if not self._knows_all(upstream):
                continue
            planner = upstream.planner
            todo = {planner.folder(wanted): wanted for wanted in upstream.unsettled}
            for folder in self.tree.staged_folders(upstream.name):
                wanted_unit = todo.get(folder)
                self.tree.sweep(folder, planner.plan(wanted_unit).staging if wanted_unit else ())

    def _knows_all(self, upstream: UpstreamInRun) -> bool:
        """Whether this run covers every subscription to an upstream, and every listing that they need was had."""
        every = {name for name, sub in self.settings.subscription.items() if sub.upstream == upstream.name}
        return every == {wish.name for wish in upstream.wishes} and upstream.refreshed.complete

    def refresh_states(self) -> None:
        """States and aliases, from what is now in the index. Raises OSError where the disk fails, not for what is in the way."""
        self.obstacles.clear()
        for upstream in self.upstreams:
            newest = self.holdings.refresh_states(upstream.name, at=self.now())
            step("close: states refreshed")
            for series, (resource, sub_resource) in newest.items():
                if not self._keeps_alias(upstream.name, series):
                    try:
                        self.tree.point(upstream.name, series, resource, sub_resource)
                    except OBSTACLES as error:
                        self.obstacles.append(os_error_text(error))

    def _keeps_alias(self, upstream: str, series: str) -> bool:
        """Whether an alias leads to what an index that is being rebuilt does not know yet: it is not turned back from there."""
        if upstream not in self._rebuilding_now:
            return False
        leads_to = self.tree.alias(upstream, series)
        return leads_to is not None and bool(self.tree.published(leads_to)) and not self.holdings.knows(leads_to)

    def close_account(self) -> None:
        """States, aliases and standings, from what is now in the index and on disk."""
        for upstream in self.upstreams:
            if upstream.missing:
                self.journal.attempted({wish.name: upstream.name for wish in upstream.wishes}, upstream.missing, at=self.now())
                self.hooking.missing(upstream.wishes, upstream.missing)
                continue
            if self._knows_all(upstream):
                self.holdings.parked.forget_unwanted(upstream.name, [wanted.unit.id for wanted in upstream.refreshed.units])
                for wanted in upstream.unsettled:
                    upstream.planner.forget_parked(wanted)
            accounts = self._accounts(upstream)
            for wish in upstream.wishes:
                self._stand(upstream, wish, accounts)
            self.report.account = sum((account for account, _ in accounts.values()), self.report.account)
        self.refresh_states()
        self.accounted = True

    def _accounts(self, upstream: UpstreamInRun) -> dict[int, tuple[Account, int]]:
        """The account of each wanted sub-resource; only what was not settled before this run can have changed in the index."""
        now = self.catalogue.reread(wanted.unit.id for wanted in upstream.unsettled)
        accounts = {}
        for wanted in upstream.refreshed.units:
            unit = now.get(wanted.unit.id, wanted.unit)
            if unit.id in upstream.settled:
                accounts[unit.id] = Account(*[unit.settled_files] * 3), unit.settled_bytes
            else:
                accounts[unit.id] = upstream.planner.account(replace(wanted, unit=unit))
        return accounts

    def _stand(self, upstream: UpstreamInRun, wish: Wish, accounts: Mapping[int, tuple[Account, int]]) -> None:
        units = [wanted for wanted in upstream.refreshed.units if wish.name in wanted.wanted.wishes]
        self.holdings.save_wanted(wish.name, [wanted.unit.id for wanted in units])
        step("close: wanted saved")
        account = sum((accounts[wanted.unit.id][0] for wanted in units), Account())
        parked = self.holdings.parked.count([wanted.unit.id for wanted in units])
        complete = upstream.refreshed.complete and account.agrees
        standing = Standing(
            wish.name,
            upstream.name,
            "refused" if upstream.refreshed.refused else "complete" if complete else "incomplete",
            account.expected,
            account.present,
            sum(accounts[wanted.unit.id][1] for wanted in units),
            account.expected - account.verified,
            parked,
            max((wanted.unit.sub.updated or "" for wanted in units), default="")[:10] or None,
        )
        self.journal.standing(standing, at=self.now())
        self.hooking.counted(standing, units)
        step("close: subscription counted")
