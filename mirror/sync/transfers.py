"""The one place for concurrency: files in parallel into staging, sub-resources one after the other into the tree.

    work -> queue -> workers (fetch, verify) -> groups that are whole -> publisher (flush, rename, row, alias)

The publisher takes all that waits for it at once, so that many small files share one flush and one transaction.
"""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from mirror.errors import TransferError, os_error_text
from mirror.events import Emit, Failed, FileKey, Published, SetBack
from mirror.model import RemoteFile
from mirror.planning.plan import Action, Adopt, Keep, Replace, UnitPlan, settled_key
from mirror.planning.volumes import publishing_groups
from mirror.steps import step
from mirror.store.catalogue import Catalogue, Unit
from mirror.store.holdings import Holdings, StoredFile
from mirror.store.journal import Journal, publication_text
from mirror.store.tree import Folder, Tree
from mirror.sync.archiving import Archiving
from mirror.sync.reconcile import SPLIT_ANEW
from mirror.transfer.fetch import Fetcher
from mirror.transfer.receive import BATCH, Hashes, Lane, hash_file
from mirror.transfer.room import Room
from mirror.upstream.crawl import in_parallel
from mirror.upstream.session import Session

_MOST_ROUNDS = 3
_ENDS_THE_RUN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""Errors that are none of the file or folder at hand: the next one would meet them as well."""


OBSTACLES = (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""What somebody has put in the way, or does not permit: it holds back only what it is in the way of."""


class UnitWork:
    """A sub-resource under way: which of its files are still to come, which are staged, which are not yet published."""

    def __init__(self, unit: Unit, plan: UnitPlan, folder: Folder) -> None:
        self.unit = unit
        self.plan = plan
        self.folder = folder
        self.actions: Mapping[str, Action] = {action.file.name: action for action in plan.transfers}
        self.waiting = {*self.actions, *(parked.file.name for parked in plan.parked)}
        self.unpublished = set(self.actions)
        self.adopted: set[str] = set()
        self.staged: dict[str, Hashes] = {}
        self.failed = bool(plan.parked)
        self._groups = publishing_groups((action.file.name for action in plan.actions), whole=plan.wanted.whole)
        self._group_of = {name: number for number, group in enumerate(self._groups) for name in group}
        self._missing = Counter(self._group_of[name] for name in self.waiting)

    def key(self, file: str) -> FileKey:
        """What events call a file of this sub-resource."""
        return FileKey(self.folder.upstream, self.folder.resource, self.folder.sub_resource, file)

    def stage(self, file: str, hashes: Hashes) -> tuple[str, ...]:
        """A file is verified; returns the files that can now be published together, if any."""
        self.waiting.discard(file)
        self.staged[file] = hashes
        number = self._group_of[file]
        self._missing[number] -= 1
        if self._missing[number]:
            return ()
        group = self._groups[number]
        return tuple(name for name in group if name in self.staged)


@dataclass(frozen=True, slots=True)
class _Job:
    work: UnitWork
    action: Action
    round: int = 0


@dataclass(slots=True)
class _Group:
    """Files that are published together; `obstacle` is what keeps them out of the tree, if anything does."""

    work: UnitWork
    names: tuple[str, ...]
    obstacle: str | None = None

    @property
    def files(self) -> list[StoredFile]:
        """The facts of all."""
        staged = self.work.staged
        return [
            StoredFile(self.work.actions[name].file, staged[name].size, staged[name].md5, staged[name].sha256)
            for name in self.names
        ]

    @property
    def replaces(self) -> bool:
        """Whether something that is here gives way."""
        work = self.work
        return any(isinstance(work.actions[name], Replace) for name in self.names) or bool(work.plan.leftovers(self.names))

    @property
    def moved(self) -> list[StoredFile]:
        """The facts of those that come from staging; an adopted file is in the tree already, whatever staging holds."""
        return [file for file in self.files if file.remote.name not in self.work.adopted]


class Transfers:
    """Carries out plans for one upstream."""

    def __init__(
        self,
        session: Session,
        tree: Tree,
        catalogue: Catalogue,
        holdings: Holdings,
        journal: Journal,
        emit: Emit,
        now: Callable[[], datetime],
        archiving: Archiving,
        *,
        workers: int,
        room: Room | None = None,
        keeps_alias: Callable[[str], bool] = lambda series: False,
        noticed: Callable[[int, Iterable[str]], None] = lambda unit_id, wishes: None,
    ) -> None:
        """`keeps_alias` says of a series that its alias has to stay as it is for now.

        `noticed` is told of each sub-resource (its row id) in which files were published, and who wants it, in that transaction.
        """
        self._noticed = noticed
        self._archiving = archiving
        self._session = session
        self._tree = tree
        self._catalogue = catalogue
        self._holdings = holdings
        self._journal = journal
        self._emit = emit
        self._now = now
        self._workers = workers
        self._room = room
        self._keeps_alias = keeps_alias
        self._publishing: asyncio.Queue[_Group | None] = asyncio.Queue()

    async def run(self, works: Iterable[UnitWork]) -> None:
        """Fetch and publish; what cannot be had is parked. Disk errors end it and come out as OSError."""
        publisher = asyncio.create_task(self._publish_all())
        try:
            later: list[_Job] = []
            jobs: Iterable[_Job] = self._jobs(works)
            for round_ in range(_MOST_ROUNDS):
                await self._fetch_all(jobs, later, publisher)
                if not later:
                    break
                # A file that is being published answers 404 for a while [C].
                await asyncio.sleep(min(self._session.patience.longest_wait, self._session.patience.first_wait * 4**round_))
                jobs, later = [_Job(job.work, job.action, job.round + 1) for job in later], []
        finally:
            # Also when interrupted: what is staged whole is published, so that no work is lost and no rename lacks its row.
            self._publishing.put_nowait(None)
            await asyncio.shield(publisher)

    def _jobs(self, works: Iterable[UnitWork]) -> Iterator[_Job]:
        for work in works:
            for parked in work.plan.parked:
                if parked.waiting:
                    self._leave(_Job(work, parked), parked.reason)
                else:
                    self._park(_Job(work, parked), parked.reason, 1)
            if not work.waiting:
                # Nothing to fetch: all is here, only the index did not say so.
                self._publishing.put_nowait(_Group(work, ()))
            for action in work.plan.transfers:
                yield _Job(work, action)

    async def _fetch_all(self, jobs: Iterable[_Job], later: list[_Job], publisher: asyncio.Task[None]) -> None:
        lanes: list[Lane] = []
        small = ThreadPoolExecutor(1, thread_name_prefix=f"{self._session.upstream}-small")
        iterator = iter(jobs)

        async def worker(number: int) -> None:
            lane = Lane(f"{self._session.upstream}-{number}", small, self._room)
            lanes.append(lane)
            fetcher = Fetcher(self._session, lane, self._emit)
            for job in iterator:
                if publisher.done():
                    return  # it has failed; its error comes out of `run`
                await self._one(fetcher, lane, job, later)

        def numbered(number: int) -> Callable[[], asyncio.Future[None]]:
            return lambda: asyncio.ensure_future(worker(number))

        try:
            await in_parallel([numbered(n) for n in range(self._workers)], self._workers)
        finally:
            for lane in lanes:
                lane.close()
            small.shutdown()

    async def _one(self, fetcher: Fetcher, lane: Lane, job: _Job, later: list[_Job]) -> None:
        work, file = job.work, job.action.file
        if isinstance(job.action, Adopt):
            hashes = await self._adopt(lane, work, file)
            if hashes is not None:
                work.adopted.add(file.name)
                await self._staged(work, file, hashes)
                return
            if job.action.parked is not None:
                self._leave(job, job.action.parked)
                return
        part, ready = self._tree.part(work.folder, file.name), self._tree.staged(work.folder, file.name)
        try:
            staged = await fetcher.fetch(file, job.work.key(job.action.file.name), part, ready)
        except TransferError as error:
            if error.retry and job.round + 1 < _MOST_ROUNDS:
                later.append(job)
                self._emit(SetBack(job.work.key(job.action.file.name), str(error)))
            else:
                self._park(job, str(error), error.attempts, wrong=error.wrong)
                if not error.retry and not error.wrong:
                    # Perhaps the listing is no longer true. Where the bytes are wrong, it is read again before the next try.
                    self._catalogue.doubt(self._session.upstream, work.folder.resource, work.unit.id)
            return
        except OSError as error:
            if error.errno in _ENDS_THE_RUN:
                raise
            self._park(job, f"cannot be staged: {os_error_text(error)}", 1)
            return
        await self._staged(work, file, staged.hashes)

    async def _adopt(self, lane: Lane, work: UnitWork, file: RemoteFile) -> Hashes | None:
        path = self._tree.data / work.folder.relative / file.name
        try:
            hashes = await asyncio.get_running_loop().run_in_executor(lane.disk, hash_file, path, lane.closing)
        except OSError:
            return None
        return hashes if hashes.md5 == file.md5 else None

    def _leave(self, job: _Job, reason: str) -> None:
        """A parked file whose time has not come: it is missing, but nothing new is known of it."""
        job.work.failed = True
        self._emit(Failed(job.work.key(job.action.file.name), job.action.file.url, reason, 0))

    def _park(self, job: _Job, reason: str, attempts: int, *, wrong: bool = False) -> None:
        work, file = job.work, job.action.file
        work.failed = True
        updated = work.plan.wanted.sub.updated
        self._holdings.parked.park(work.unit.id, file, reason, attempts, at=self._now(), updated=updated, wrong=wrong)
        self._journal.event("parked", at=self._now(), about=work.key(file.name), message=reason)
        self._emit(Failed(job.work.key(job.action.file.name), file.url, reason, attempts))

    # -- publishing

    async def _staged(self, work: UnitWork, file: RemoteFile, hashes: Hashes) -> None:
        names = work.stage(file.name, hashes)
        if not names:
            return
        wanted = [action.file for action in work.plan.actions]
        broken = await self._archiving.broken(wanted, names, lambda name: self._place_of(work, name))
        for name, reason in broken.items():
            self._park(_Job(work, work.actions[name]), reason, 1, wrong=True)
            if work.actions[name].file.md5 is None:
                # Nothing but the test vouches for it: the next run fetches it anew.
                self._tree.staged(work.folder, name).unlink(missing_ok=True)
        if not broken:
            self._publishing.put_nowait(_Group(work, names))

    def _place_of(self, work: UnitWork, name: str) -> Path:
        """Where a file of a sub-resource lies before its publication."""
        if name in work.staged and name not in work.adopted:
            return self._tree.staged(work.folder, name)
        return self._tree.data / work.folder.relative / name

    async def _publish_all(self) -> None:
        closing = False
        while not closing:
            batch = [await self._publishing.get()]
            while not self._publishing.empty():
                batch.append(self._publishing.get_nowait())
            closing = None in batch
            await self._publish([group for group in batch if group is not None])

    async def _publish(self, groups: Sequence[_Group]) -> None:
        """Bytes to the disk, names into the tree, rows into the index, aliases: in this order, so that each step is true."""
        if not groups:
            return
        # What replaces files must be known before it does, through a power cut too: their rows would vouch for other bytes.
        replacing = any(group.replaces for group in groups)
        with self._holdings.transaction(durable=replacing):
            for group in groups:
                work = group.work
                self._holdings.announce(work.unit.id, work.plan.published, group.moved, work.plan.leftovers(group.names))
        step("publication: announced")
        stamps = await asyncio.to_thread(self._place, groups)
        now = self._now()
        placed = [group for group in groups if group.obstacle is None]
        with self._holdings.transaction():
            for group, stamp in zip(groups, stamps, strict=True):
                if group.obstacle is None:
                    self._enter(group, stamp, now)
                else:
                    for name in group.names:
                        self._park(_Job(group.work, group.work.actions[name]), group.obstacle, 1)
        step("publication: entered")
        groups = placed
        self._archiving.published()
        for series in {group.work.unit.series for group in groups if not group.work.unpublished}:
            newest = self._holdings.newest_of(self._session.upstream, series)
            if newest and not self._keeps_alias(series):
                with suppress(*OBSTACLES):  # the end of the run tries again, and says what was in the way
                    await asyncio.to_thread(self._tree.point, self._session.upstream, series, *newest)
        for group in groups:
            work = group.work
            for name in group.names:
                self._emit(Published(work.key(name), work.staged[name].size, _kind(work.actions[name])))

    def _place(self, groups: Sequence[_Group]) -> list[int | None]:
        moves = [(group, [file.remote.name for file in group.moved]) for group in groups]
        # Larger files have been flushed as they came.
        self._tree.flush(
            self._tree.staged(group.work.folder, name)
            for group, names in moves
            for name in names
            if group.work.staged[name].size <= BATCH
        )
        step("publication: flushed")
        for group, names in moves:
            leaving = group.work.plan.leftovers(group.names)
            if names or leaving:
                ours = [name for name in names if isinstance(action := group.work.actions[name], Replace) and action.ours]
                try:
                    self._tree.publish(group.work.folder, names, replacing=ours, leaving=leaving)
                except OSError as error:
                    if error.errno in _ENDS_THE_RUN:
                        raise
                    group.obstacle = f"something is in the way: {os_error_text(error)}"
        last = {id(group.work): group for group in groups}
        return [self._stamp(group.work) if last[id(group.work)] is group else None for group in groups]

    def _stamp(self, work: UnitWork) -> int | None:
        """The state of the folder, if what was to be kept of it is still there: transfers take hours, and people delete files."""
        stamp = self._tree.stamp(work.folder)
        kept = [action.file.name for action in work.plan.actions if isinstance(action, Keep)]
        if kept and not self._tree.published(work.folder).keys() >= set(kept):
            return None
        return stamp

    def _enter(self, group: _Group, stamp: int | None, now: datetime) -> None:
        work = group.work
        files = group.files
        if leaving := work.plan.leftovers(group.names):
            self._holdings.forget(work.unit.id, leaving)
            for name in leaving:
                self._journal.event("set-aside", at=now, about=work.key(name), message=SPLIT_ANEW)
        if files:
            fresh = set(group.names) - work.adopted
            self._holdings.record(work.unit.id, work.plan.published, files, fresh=fresh, at=now)
            if fresh:
                self._noticed(work.unit.id, work.plan.wanted.wishes)
            replaced = sum(isinstance(work.actions[name], Replace) for name in fresh.intersection(group.names))
            message = publication_text(len(files), sum(file.size for file in files), replaced)
            kind = "adopted" if work.adopted.issuperset(group.names) else "published"
            self._journal.event(kind, at=now, about=work.key(files[0].remote.name), message=message)
        work.unpublished.difference_update(group.names)
        if not work.unpublished and not work.failed:
            kept = [action.file.size or 0 for action in work.plan.actions if action.file.name not in work.staged]
            self._holdings.settle(
                work.unit.id,
                settled_key(work.unit.files_digest or "", work.plan.wanted.files),
                stamp,
                files=len(work.plan.actions),
                size=sum(kept) + sum(hashes.size for hashes in work.staged.values()),
                at=now,
            )


def _kind(action: Action) -> Literal["add", "replace", "adopt"]:
    return "adopt" if isinstance(action, Adopt) else "replace" if isinstance(action, Replace) else "add"
