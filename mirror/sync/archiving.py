"""Archives in a run: tested before they are published, looked into afterwards, unpacked where a subscription wants it.

Whatever reads an archive runs in a process of its own (`mirror.archives`); here is decided which, when, and what becomes of it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from mirror.amounts import count_text, size_text
from mirror.archives import Archive, Bounds, archives_in, gap_in, no_archive, probe, test, unpack
from mirror.archives import Unpacked as UnpackedArchive
from mirror.archives.sevenzz import find_7zz
from mirror.errors import ArchiveError, ArchiveRefused, ArchiveUnread, os_error_text
from mirror.events import Emit, FileKey, NotUnpacked, Unpacked
from mirror.model import RemoteFile
from mirror.planning.selection import wants_file
from mirror.settings import Limits
from mirror.store.catalogue import Unit
from mirror.store.contents import Content, Contents, Extraction, Unprobed, digest_of
from mirror.store.journal import Journal
from mirror.store.tree import Folder, Tree
from mirror.store.unpacked import UnpackedTree
from mirror.sync.refresh import WantedUnit
from mirror.upstream.crawl import in_parallel


class Archiving:
    """What a run does with archives. One object for all upstreams: they share the processors."""

    def __init__(
        self,
        limits: Limits,
        tree: Tree,
        contents: Contents,
        journal: Journal,
        emit: Emit,
        now: Callable[[], datetime],
        *,
        retry: bool = False,
    ) -> None:
        """With `retry` what could not be unpacked is tried again, though nothing has changed."""
        self._limits = limits
        self._retry = retry
        self._tree = tree
        self._unpacked = UnpackedTree(tree.root)
        self._contents = contents
        self._journal = journal
        self._emit = emit
        self._now = now
        self._at_once = max(1, os.cpu_count() or 1)
        self._turn = asyncio.Semaphore(self._at_once)
        self._published = asyncio.Event()

    def recover(self) -> None:
        """Clear away what a killed run has left half unpacked. Blocks."""
        self._unpacked.clear()

    def _bounds(self, most: int | None = None) -> Bounds:
        return Bounds(self._limits.max_extract_ratio, self._limits.max_members, most)

    # -- before publishing

    async def broken(self, wanted: Sequence[RemoteFile], arrived: Collection[str], place: Callable[[str], Path]) -> dict[str, str]:
        """Of the files that have `arrived`, those of archives that do not hold together, with the reason.

        `wanted` are all wanted files of the sub-resource, `place` says where each lies at present. Whether an archive is tested is
        for `[limits] test_archives` to say; if it says nothing, those are for which upstream gives no MD5.
        One that cannot be tested is not broken.
        """
        files = {file.name: file for file in wanted}
        found: dict[str, str] = {}
        for archive in archives_in(files):
            concerned = [name for name in archive.files if name in arrived]
            if not concerned or gap_in(archive) or not self._is_tested([files[name] for name in archive.files]):
                continue
            try:
                async with self._turn:
                    await test([place(name) for name in archive.files], self._bounds())
            except ArchiveRefused:
                continue  # encrypted, packed as no engine here knows, a bomb: no proof against it, and its bytes are upstream's
            except ArchiveUnread as error:
                found |= dict.fromkeys(concerned, f"{archive.name} could not be tested: {error}")
            except ArchiveError as error:
                found |= dict.fromkeys(concerned, f"upstream is wrong: {archive.name}: {error}")
        return found

    def _is_tested(self, files: Iterable[RemoteFile]) -> bool:
        if self._limits.test_archives is not None:
            return self._limits.test_archives
        return any(file.md5 is None for file in files)

    # -- after publishing

    def published(self) -> None:
        """Rows of published archives have been committed."""
        self._published.set()

    @asynccontextmanager
    async def looking_into(self, upstream: str) -> AsyncIterator[None]:
        """While the body runs, look into every archive that it publishes; at its end, into those that are left.

        What an interrupted run has not looked into, the next one does.
        """
        ended = asyncio.Event()
        task = asyncio.create_task(self._look_until(ended, upstream))
        try:
            yield
        except BaseException:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            raise
        ended.set()
        self._published.set()
        await task  # what is being looked into is not begun again

    async def _look_until(self, ended: asyncio.Event, upstream: str) -> None:
        while not ended.is_set():
            await self._published.wait()
            self._published.clear()
            await self._look(upstream)
        await self._look(upstream)  # the signal is for all upstreams, and may have been taken by another one's look

    async def _look(self, upstream: str) -> None:
        await in_parallel([partial(self._look_into, one) for one in self._contents.unprobed(upstream)], self._at_once)

    async def _look_into(self, one: Unprobed) -> None:
        folder = Folder(one.upstream, one.resource, one.sub_resource)
        archive = _find(archives_in(self._contents.files_of(one.unit_id)), one.archive)
        if archive is None:
            self._contents.record_unreadable(one.id, "its files are not here", at=self._now())
            return
        try:
            if gap := gap_in(archive):
                raise ArchiveError(gap)
            if problem := await asyncio.to_thread(no_archive, self._paths(folder, archive)):
                raise ArchiveError(problem)
            async with self._turn:
                members = await probe(self._paths(folder, archive), self._bounds())
        except ArchiveUnread:
            pass  # the next run looks again
        except (ArchiveError, OSError) as error:
            self._contents.record_unreadable(one.id, str(error), at=self._now())
        else:
            self._contents.record_members(one.id, [Content(m.name, m.size) for m in members if not m.folder], at=self._now())

    def _paths(self, folder: Folder, archive: Archive) -> list[Path]:
        return [self._tree.data / folder.relative / name for name in archive.files]

    # -- unpacking

    async def unpack(self, upstream: str, units: Sequence[WantedUnit], listed: Callable[[int], Sequence[RemoteFile]]) -> None:
        """Bring `extracted/` up to date for sub-resources of one upstream; `listed` gives the files of one by its row id.

        What is not wanted unpacked any longer stays as it is, until what it was made of changes: then it goes.
        """
        known = self._contents.extractions(one.unit.id for one in units)
        jobs = [
            partial(self._unpack_one, upstream, one, known.get(one.unit.id), listed)
            for one in units
            if one.unit.id in known or (one.unit.settled is not None and one.wanted.extract)
        ]
        await in_parallel(jobs, self._at_once)

    async def _unpack_one(
        self, upstream: str, one: WantedUnit, known: Extraction | None, listed: Callable[[int], Sequence[RemoteFile]]
    ) -> None:
        unit, wanted = one.unit, one.wanted.extract
        folder = Folder(upstream, unit.sub.resource, unit.sub.id)
        intact = known is not None and (known.error is not None or known.files == 0 or self._unpacked.has(folder))
        if known is not None and intact and known.error is None and unit.settled is not None and known.settled == unit.settled:
            return
        files = self._contents.files_of(unit.id)
        # What upstream lists no longer is still here, and is no part of the edition any more.
        archives = archives_in(f.name for f in listed(unit.id) if f.name in files and wants_file(f, one.wanted.files))
        digest = digest_of((name, files[name]) for archive in archives for name in archive.files)
        if known is not None and known.error is None and known.digest == digest and intact:
            # Of one that is not complete, what lies unpacked stays as long as it is what its archives hold.
            self._contents.still_unpacked(unit.id, unit.settled)
        elif wanted and known is not None and known.error is not None and known.digest == self._failing(digest) and not self._retry:
            self._emit(NotUnpacked(_key(folder), unit.sub.url, known.error))
        elif wanted and unit.settled is not None:
            await self._unpack_now(unit, folder, archives, digest, ours=known is not None and known.error is None)
        elif known is not None and known.digest != digest:
            if known.error is None:
                await asyncio.to_thread(self._unpacked.drop, folder)
            self._contents.forget_extraction(unit.id)

    def _failing(self, digest: str) -> str:
        """The digest of what could not be unpacked: it may be with other limits, or once 7-Zip is installed."""
        return f"{digest} within {self._bounds()} by {find_7zz()}"

    async def _unpack_now(self, unit: Unit, folder: Folder, archives: Sequence[Archive], digest: str, *, ours: bool) -> None:
        room_left = max(0, self._tree.free() - self._limits.min_free)
        need = self._contents.unpacked_bytes(unit.id)
        if need > room_left:
            # Not recorded: it says nothing about the archives, and the next run tries again.
            reason = f"not enough disk space to unpack it: {size_text(need)}, {size_text(room_left)} to use"
            self._emit(NotUnpacked(_key(folder), unit.sub.url, reason))
            return
        try:
            files, size = await self._make_unpacked(folder, archives, room_left, ours=ours)
        except (ArchiveUnread, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EIO, errno.EROFS):
                raise
            self._emit(NotUnpacked(_key(folder), unit.sub.url, self._obstacle(error)))  # not recorded either
        except ArchiveError as error:
            if ours:
                await asyncio.to_thread(self._unpacked.drop, folder)
            self._contents.record_extraction(unit.id, self._failing(digest), error=str(error), at=self._now())
            self._journal.event("extract-failed", at=self._now(), about=_key(folder), message=str(error))
            self._emit(NotUnpacked(_key(folder), unit.sub.url, str(error)))
        else:
            self._contents.record_extraction(unit.id, digest, settled=unit.settled, files=files, size=size, at=self._now())
            if archives:
                text = f"{count_text(len(archives), 'archive')}, {count_text(files, 'file')}, {size} bytes"
                self._journal.event("extracted", at=self._now(), about=_key(folder), message=text)
                self._emit(Unpacked(_key(folder), files, size))

    def _obstacle(self, error: ArchiveUnread | OSError) -> str:
        if isinstance(error, ArchiveUnread):
            return str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "the disk has no room to unpack it"
        return f"cannot be unpacked: {os_error_text(error, self._tree.root)}"

    async def _make_unpacked(self, folder: Folder, archives: Sequence[Archive], room_left: int, *, ours: bool) -> tuple[int, int]:
        """Let what all archives hold lie unpacked; returns how many files of how many bytes. Raises ArchiveError, OSError."""
        if not archives:
            if ours:
                await asyncio.to_thread(self._unpacked.drop, folder)
            return 0, 0
        room = await asyncio.to_thread(self._unpacked.room, folder)
        parts: list[Path] = []
        files = size = 0
        try:
            for number, archive in enumerate(archives):
                done = await self._unpack_archive(folder, archive, room / str(number), self._bounds(room_left - size))
                parts.append(room / str(number))
                files, size = files + done.files, size + done.bytes
            whole = await asyncio.to_thread(self._unpacked.join, parts)
            await asyncio.to_thread(partial(self._unpacked.show, folder, whole, ours=ours))
        finally:
            await asyncio.to_thread(self._unpacked.leave, folder)
        return files, size

    async def _unpack_archive(self, folder: Folder, archive: Archive, into: Path, bounds: Bounds) -> UnpackedArchive:
        try:
            if gap := gap_in(archive):
                raise ArchiveError(gap)
            async with self._turn:
                return await unpack(self._paths(folder, archive), into, bounds)
        except ArchiveUnread:
            raise
        except ArchiveError as error:
            raise ArchiveError(f"{archive.name}: {error}") from error


def _find(archives: Iterable[Archive], name: str) -> Archive | None:
    return next((archive for archive in archives if archive.name == name), None)


def _key(folder: Folder) -> FileKey:
    return FileKey(folder.upstream, folder.resource, folder.sub_resource, "")
