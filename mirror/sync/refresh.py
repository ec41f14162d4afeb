"""Bring the catalogue of one upstream up to date, listing no more than what the wishes can need and what can have changed.

capabilities (all, or since the last day seen) -> resources that are due -> selection -> files that are due
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from mirror.errors import FeedError, GuardRefused, ListingError, MirrorError, RequestFailed, UnsafeName, UpstreamUnavailable
from mirror.events import Emit, Listed, ListingFailed, ListingRefused, ListingStarted, Note, Withdrawn
from mirror.model import Resource
from mirror.names import check_name
from mirror.phrases import day, phrase
from mirror.planning.changes import Scope, fingerprint, is_due, next_high_water, scopes_for, unsettled
from mirror.planning.selection import Selection, Wanted, Wish, resources_wanted, select, wants_fields, wants_resource
from mirror.steps import step
from mirror.store.catalogue import Catalogue, ListingFacts, Unit, UpstreamFacts
from mirror.store.refused import RefusedEntries, RefusedEntry
from mirror.sync.guarding import Guards
from mirror.upstream.crawl import Crawler, Listing, in_parallel
from mirror.upstream.geoplateforme import Geoplateforme
from mirror.upstream.session import Session

_LATER_ROUNDS = (2, 6, 18)
"""First waits before each further round of listings that failed: a child that is being published answers 404 for a while [C]."""


@dataclass(frozen=True, slots=True)
class WantedUnit:
    """A wanted sub-resource and what the index knows of it. `listed` is false where its files could not be listed.

    `held` says that a listing was refused that it depends on: what is known of it stands, and nothing is fetched for it.
    """

    wanted: Wanted
    unit: Unit
    listed: bool
    held: bool = False


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What is wanted of an upstream; `complete` is false where a listing is missing. `refused` says why listings were refused."""

    units: tuple[WantedUnit, ...]
    remarks: tuple[str, ...]
    complete: bool
    refused: tuple[str, ...] = ()


class Refresh:
    """One refresh of one upstream."""

    def __init__(
        self,
        session: Session,
        dialect: Geoplateforme,
        catalogue: Catalogue,
        refused_entries: RefusedEntries,
        guards: Guards,
        emit: Emit,
        now: Callable[[], datetime],
        *,
        workers: int,
        full_every: timedelta,
        suspects: Collection[tuple[str, str]] = (),
    ) -> None:
        """`suspects` are the (resource, sub-resource) whose files are listed again whatever is known of them."""
        self._session = session
        self._dialect = dialect
        self._crawler = Crawler(session, dialect)
        self._catalogue = catalogue
        self._refused_entries = refused_entries
        self._guards = guards
        self._emit = emit
        self._now = now
        self._workers = workers
        self._suspects = suspects
        # A little less: runs that start at the same hour of the week must not find everything a minute too young.
        self._full_every = full_every * 0.98
        patience = session.patience
        self._later_rounds = [min(patience.longest_wait, patience.first_wait * factor) for factor in _LATER_ROUNDS]
        self._upstream = session.upstream
        self._complete = True
        self._refused: list[str] = []
        self._held: set[str | int] = set()
        """Resources, and row ids of sub-resources, whose listing was refused."""

    async def run(self, wishes: Sequence[Wish]) -> Refreshed:
        """List what is due and say what is wanted.

        Raises:
            UpstreamUnavailable: the capabilities cannot be listed, or the upstream has gone away in between.
            GuardRefused: the capabilities are not believed; nothing was changed.
        """
        began = self._now()
        await self._capabilities(wishes, began)
        await self._sub_resources(wishes)
        for resource, sub_resource in self._catalogue.withdraw_resources(self._upstream, at=began):
            self._emit(Withdrawn(self._upstream, resource, sub_resource))
        selection, units = self._select(wishes)
        wanted = await self._files(selection, units)
        return Refreshed(tuple(wanted), selection.remarks, self._complete, tuple(self._refused))

    async def look_up(self, found: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """List what tells of sub-resources, (resource, id), that are here and perhaps not wanted; call it after `run`.

        Afterwards the catalogue has those that upstream lists, with their files; the rest is no longer listed. Returns those of
        which neither can be said, as a listing failed.
        """
        listed = self._catalogue.resources(self._upstream)
        known = {(unit.sub.resource, unit.sub.id) for unit in self._catalogue.units(self._upstream)}
        doubtful: set[tuple[str, str]] = set()
        jobs: dict[str, Callable[[], Awaitable[None]]] = {}
        asked: dict[str, set[tuple[str, str]]] = {}
        for name in sorted({resource for resource, _ in set(found) - known} & listed.keys()):
            url = self._dialect.resource(name, Scope()).url
            jobs[url] = self._resource_job((), listed[name], [Scope()])
            asked[url] = {key for key in found if key[0] == name and key not in known}
        for url, error in (await self._all(jobs)).items():
            doubtful |= asked[url]
            self._give_up(url, url, error)
        jobs, of = {}, {}
        for unit in self._catalogue.units(self._upstream):
            key = unit.sub.resource, unit.sub.id
            if key in found and self._files_due(unit):
                url = self._dialect.sub_resource(*key).url
                jobs[url], of[url] = self._files_job(unit, whole=False), key
        failed = await self._all(jobs)
        gone = {of[url] for url, error in failed.items() if isinstance(error, RequestFailed) and error.status in (404, 410)}
        gone = await self._withdrawn(gone, listed)
        for url, error in failed.items():
            if of[url] not in gone:
                doubtful.add(of[url])
                self._give_up(of[url][1], url, error)
        return frozenset(doubtful)

    async def _withdrawn(self, keys: Collection[tuple[str, str]], listed: Mapping[str, Resource]) -> set[tuple[str, str]]:
        """Which of these sub-resources, of which upstream has no files, it does not list any longer either.

        Of a resource that nobody wants, the listing may be as old as a rebuild that did not come to its end.
        """
        jobs = {name: self._resource_job((), listed[name], [Scope()]) for name in sorted({name for name, _ in keys})}
        failed = await self._all(jobs)
        still = {(unit.sub.resource, unit.sub.id) for unit in self._catalogue.units(self._upstream)}
        return {key for key in keys if key[0] not in failed and key not in still}

    # -- capabilities

    async def _capabilities(self, wishes: Sequence[Wish], began: datetime) -> None:
        facts = self._catalogue.upstream(self._upstream)
        full = facts.full_listed_at is None or is_due(facts.full_listed_at, self._full_every, began)
        since = None if full else facts.high_water
        self._emit(ListingStarted(self._upstream, "changes" if since else "first" if facts.full_listed_at is None else "full"))
        listing = await self._list_resources(since)
        if since is not None and self._guards.contradicted(listing.entries, since):
            self._emit(
                Note(
                    phrase(
                        "upstream {upstream} no longer lists what was published on {day}; everything is listed to see why",
                        upstream=self._upstream,
                        day=day(since.isoformat()),
                    )
                )
            )
            since, listing = None, await self._list_resources(None)
        url = self._dialect.capabilities().url
        self._tell_rejected(url, listing.rejected)
        self._emit(Listed(self._upstream, "resources", url, len(listing.entries)))
        if since is None:
            try:
                self._guards.resources(listing.entries)
            except GuardRefused as error:
                self._emit(ListingRefused(self._upstream, "resources", url, str(error)))
                raise
        resources = []
        refused = [RefusedEntry("", url, line) for line in listing.rejected]
        for resource in listing.entries:
            if (problem := self._problem(resource.id, url)) is None:
                resources.append(resource)
            else:
                refused.append(RefusedEntry(resource.id, resource.url, str(problem)))
        for entry in self._refused_entries.update(self._upstream, refused, complete=since is None):
            # What has no name may be what is wanted: nobody can say that it is not.
            if not entry.name or any(wants_resource(wish, entry.name) for wish in wishes):
                self._give_up(entry.name or "an entry", entry.url, FeedError(entry.reason), attempts=1)
        known = self._catalogue.resources(self._upstream)
        high_water = next_high_water(resources, known, facts.high_water, began, full=since is None)
        reached = UpstreamFacts(high_water, facts.full_listed_at if since else began)
        self._catalogue.save_resources(self._upstream, resources, complete=since is None, facts=reached)
        step("listing: capabilities saved")

    async def _list_resources(self, since: date | None) -> Listing[Resource]:
        try:
            return await self._crawler.capabilities(self._dialect.capabilities(since))
        except UpstreamUnavailable:
            raise
        except MirrorError as error:
            raise UpstreamUnavailable(
                phrase("upstream {upstream} cannot be listed: {error}", upstream=self._upstream, error=str(error))
            ) from error

    # -- sub-resources

    async def _sub_resources(self, wishes: Sequence[Wish]) -> None:
        listings = self._catalogue.listings(self._upstream)
        resources = resources_wanted(wishes, self._catalogue.resources(self._upstream).values())
        jobs: dict[str, Callable[[], Awaitable[None]]] = {}
        for resource in resources:
            due = self._due_scopes(resource, scopes_for(wishes, resource), listings.get(resource.id, {}))
            if due:
                jobs[self._dialect.resource(resource.id, Scope()).url] = self._resource_job(wishes, resource, due)
        failed = await self._all(jobs)
        for resource in resources:
            if (url := self._dialect.resource(resource.id, Scope()).url) in failed:
                self._catalogue.doubt(self._upstream, resource.id)
                self._give_up(resource.id, url, failed[url])
                if isinstance(failed[url], GuardRefused):
                    self._held.add(resource.id)

    def _due_scopes(self, resource: Resource, scopes: Sequence[Scope], known: dict[str, ListingFacts]) -> list[Scope]:
        print_, now = fingerprint(resource), self._now()

        def valid(listing: ListingFacts | None) -> bool:
            return (
                listing is not None
                and listing.fingerprint == print_
                and not unsettled(resource.updated, listing.listed_at, now)
                and not is_due(listing.listed_at, self._full_every, now)
            )

        if valid(known.get("")):
            return []
        return [scope for scope in scopes if not valid(known.get(scope.key))]

    def _resource_job(self, wishes: Sequence[Wish], resource: Resource, scopes: Sequence[Scope]) -> Callable[[], Awaitable[None]]:
        async def job() -> None:
            at = self._now()
            listing, listed = await self._crawler.resource(resource.id, scopes)
            url = self._dialect.resource(resource.id, Scope()).url
            self._tell_rejected(url, listing.rejected)
            self._guards.sub_resources(resource.id, listing.entries, listed)
            subs, unsafe = {}, []
            for sub in listing.entries:
                if (problem := self._problem(sub.id, url)) is None:
                    subs[sub.id] = sub
                elif any(wants_resource(wish, resource.id) and wants_fields(wish, sub) for wish in wishes):
                    unsafe.append((sub, problem))
            gone = self._catalogue.save_listing(self._upstream, resource, listed, list(subs.values()), at=at)
            step("listing: sub-resources saved")
            for sub, problem in unsafe:
                self._give_up(sub.id, sub.url, problem, attempts=1)
            if listing.rejected:
                # What has no name may be what is wanted: nobody can say that it is not.
                self._give_up(resource.id, url, FeedError(_untakable(listing.rejected)), attempts=1)
            if unsafe or listing.rejected:
                self._catalogue.doubt(self._upstream, resource.id)  # so that every run says what is missing
            for name in gone:
                self._emit(Withdrawn(self._upstream, resource.id, name))
            self._emit(Listed(self._upstream, "sub_resources", resource.id, len(subs)))

        return job

    # -- files

    def _select(self, wishes: Sequence[Wish]) -> tuple[Selection, dict[tuple[str, str], Unit]]:
        with_footprints = any(wish.bbox is not None for wish in wishes)
        units = {(u.sub.resource, u.sub.id): u for u in self._catalogue.units(self._upstream, footprints=with_footprints)}
        listed: dict[str, list[Unit]] = {}
        for unit in units.values():
            listed.setdefault(unit.sub.resource, []).append(unit)
        return select(wishes, {name: [unit.sub for unit in group] for name, group in listed.items()}), units

    async def _files(self, selection: Selection, units: dict[tuple[str, str], Unit]) -> list[WantedUnit]:
        jobs: dict[str, Callable[[], Awaitable[None]]] = {}
        due: dict[str, Unit] = {}
        for wanted in selection.wanted:
            unit = units[wanted.sub.resource, wanted.sub.id]
            if unit.sub.resource not in self._held and self._files_due(unit):
                url = self._dialect.sub_resource(unit.sub.resource, unit.sub.id).url
                due[url] = unit
                jobs[url] = self._files_job(unit, whole=wanted.whole)
        failed = await self._all(jobs)
        for url, error in failed.items():
            self._catalogue.doubt(self._upstream, due[url].sub.resource, due[url].id)
            self._give_up(due[url].sub.id, url, error)
            if isinstance(error, GuardRefused):
                self._held.add(due[url].id)
        relisted = self._catalogue.reread(unit.id for unit in due.values())
        lost = {due[url].id for url in failed} - self._held
        found = []
        for wanted in selection.wanted:
            unit = units[wanted.sub.resource, wanted.sub.id]
            unit = relisted.get(unit.id, unit)
            held = unit.id in self._held or unit.sub.resource in self._held
            found.append(WantedUnit(wanted, unit, unit.id not in lost, held))
        return found

    def _files_due(self, unit: Unit) -> bool:
        return (
            unit.files_listed_at is None
            or (unit.sub.resource, unit.sub.id) in self._suspects
            or unit.files_fingerprint != unit.fingerprint
            or unsettled(unit.sub.updated, unit.files_listed_at, self._now())
            or is_due(unit.files_listed_at, self._full_every, self._now())
        )

    def _files_job(self, unit: Unit, *, whole: bool) -> Callable[[], Awaitable[None]]:
        async def job() -> None:
            at = self._now()
            listing = await self._crawler.sub_resource(unit.sub.resource, unit.sub.id)
            self._tell_rejected(f"{unit.sub.resource}/{unit.sub.id}", listing.rejected)
            if listing.rejected and whole:
                # One that cannot be named cannot be had, and all are to appear together.
                raise RequestFailed(_untakable(listing.rejected))
            self._guards.files(unit, listing.entries)
            self._catalogue.save_files(unit, listing.entries, at=at)
            step("listing: files saved")
            if listing.rejected:
                # Files without a usable name are missing from what is wanted: every run has to say so.
                self._catalogue.doubt(self._upstream, unit.sub.resource, unit.id)
                reason = FeedError(_untakable(listing.rejected))
                self._give_up(unit.sub.id, self._dialect.sub_resource(unit.sub.resource, unit.sub.id).url, reason, attempts=1)
            self._emit(Listed(self._upstream, "files", unit.sub.id, len(listing.entries)))

        return job

    # -- all of them

    async def _all(self, jobs: dict[str, Callable[[], Awaitable[None]]]) -> dict[str, MirrorError]:
        """Run the jobs, and those that fail once more later on; returns the errors of those that never came through."""
        failed: dict[str, MirrorError] = {}

        def guarded(name: str) -> Callable[[], Awaitable[None]]:
            async def job() -> None:
                try:
                    await jobs[name]()
                except (RequestFailed, ListingError, FeedError, GuardRefused) as error:
                    failed[name] = error

            return job

        pending = list(jobs)
        for wait in (*self._later_rounds, None):
            await in_parallel([guarded(name) for name in pending], self._workers)
            pending = [name for name, error in failed.items() if _may_pass(error)]
            if not pending or wait is None:
                break
            await asyncio.sleep(wait)
            for name in pending:
                del failed[name]
        return failed

    def _give_up(self, what: str, url: str, error: MirrorError, *, attempts: int | None = None) -> None:
        self._complete = False
        if isinstance(error, GuardRefused):
            self._refused.append(str(error))
            self._emit(ListingRefused(self._upstream, what, url, str(error)))
            return
        tries = attempts if attempts is not None else 1 + len(self._later_rounds)
        self._emit(ListingFailed(self._upstream, what, url, str(error), tries))

    def _tell_rejected(self, what: str, rejected: Sequence[str]) -> None:
        for line in rejected:
            self._emit(Note(phrase("{what}: {problem}; left out", what=what, problem=line), "warning"))

    def _problem(self, name: str, url: str) -> UnsafeName | None:
        """Why a name cannot become a folder's, after saying so."""
        try:
            check_name(name)
        except UnsafeName as error:
            self._emit(Note(phrase("{what}: {problem}; left out", what=url, problem=str(error)), "warning"))
            return error
        return None


def _untakable(rejected: Sequence[str]) -> str:
    return phrase("{n} of its entries cannot be taken: {problem}", n=len(rejected), problem=rejected[0])


def _may_pass(error: MirrorError) -> bool:
    """Whether listing again, later in the run, may help."""
    if isinstance(error, RequestFailed):
        return error.status == 404
    return not isinstance(error, GuardRefused)
