"""An index made anew beside a tree: what lies in `data/` of an upstream is taken in again, by hashing, without fetching it.

What a subscription wants, the plan adopts by itself. This room sees to the rest: sub-resources that upstream lists and nobody
wants, whose bytes must be those that are listed; and those that it no longer lists, of which only the tree and the name tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mirror.amounts import count_text
from mirror.errors import UnsafeName
from mirror.events import Emit, FileKey, Note
from mirror.model import RemoteFile
from mirror.names import check_name
from mirror.planning.plan import known_by
from mirror.planning.series import stem_of, told_by_name
from mirror.planning.volumes import archive_of
from mirror.steps import step
from mirror.store.catalogue import Catalogue, Unit
from mirror.store.holdings import Holdings, StoredFile
from mirror.store.journal import Journal
from mirror.store.rebuilding import Rebuilding
from mirror.store.tree import Folder, Tree
from mirror.sync.refresh import Refresh
from mirror.transfer.receive import Hashes, hash_file

Key = tuple[str, str]


@dataclass(slots=True)
class TakenIn:
    """What came back into the index, in files and bytes; `doubtful` are sub-resources whose listing could not be had."""

    files: int = 0
    bytes: int = 0
    doubtful: int = 0


class Rebuild:
    """Takes in what is here of one upstream, but for what a plan of this run adopts."""

    def __init__(
        self,
        upstream: str,
        tree: Tree,
        catalogue: Catalogue,
        holdings: Holdings,
        journal: Journal,
        rebuilding: Rebuilding,
        emit: Emit,
        now: Callable[[], datetime],
    ) -> None:
        self._upstream = upstream
        self._tree = tree
        self._catalogue = catalogue
        self._holdings = holdings
        self._journal = journal
        self._rebuilding = rebuilding
        self._emit = emit
        self._now = now

    async def run(self, refresh: Refresh, planned: Mapping[Key, Collection[str]]) -> TakenIn:
        """Take it in; `planned` names by sub-resource, (resource, id), the files that the plan of this run deals with."""
        found = {
            (folder.resource, folder.sub_resource): folder for folder in await asyncio.to_thread(self._tree.folders, self._upstream)
        }
        doubtful = await refresh.look_up(found.keys())
        units = {(unit.sub.resource, unit.sub.id): unit for unit in self._catalogue.units(self._upstream)}
        taken = TakenIn(doubtful=len(doubtful))
        for key, folder in found.items():
            if key in doubtful:
                continue
            if (unit := units.get(key)) is not None:
                files = await self._listed(folder, unit, planned.get(key, ()))
            else:
                files = await self._withdrawn(folder)
            taken.files += len(files)
            taken.bytes += sum(file.size for file in files)
        return taken

    async def _listed(self, folder: Folder, unit: Unit, planned: Collection[str]) -> list[StoredFile]:
        """Files that upstream lists under this name, with this size and MD5; what it does not list is not known to be ours."""
        listed = {file.name: file for file in self._catalogue.files(unit.id)}
        indexed = self._holdings.indexed(unit.id)
        files: dict[str, list[StoredFile]] = {"MD5": [], "size": []}
        for name, hashes in (await self._hashes(folder, (listed.keys() - set(planned)) - indexed.keys())).items():
            if (how := known_by(listed[name], hashes.size, hashes.md5)) is not None:
                files[how].append(StoredFile(listed[name], hashes.size, hashes.md5, hashes.sha256))
            else:
                self._emit(Note(f"{folder.relative / name}: in the folder, but not as upstream lists it; left alone", "warning"))
        surplus = await self._surplus(folder, listed.keys() | indexed.keys()) if planned else []
        found = [*files["MD5"], *files["size"], *surplus]
        if found:
            whole = not planned and listed.keys() <= indexed.keys() | {file.remote.name for file in found}
            # Without a day of publication, what only its size speaks for is fetched again as soon as it is wanted.
            taken = [(unit.sub.updated, files["MD5"]), (None, files["size"]), (None, surplus)]
            self._rebuilding.take_in_listed(unit.id, taken, whole=whole, at=self._now())
            by_size = f"; {len(files['size'])} by size, as upstream gives no MD5" if files["size"] else ""
            self._tell(folder, found, f"as upstream lists them{by_size}")
        return found

    async def _surplus(self, folder: Folder, known: Collection[str]) -> list[StoredFile]:
        """Volumes of archives that upstream has split anew, without them: once the index knows them, the plan has them leave."""
        archives = {archive_of(name) for name in known} - {None}
        return await self._found(folder, {n for n in self._tree.published(folder) if n not in known and archive_of(n) in archives})

    async def _found(self, folder: Folder, names: Collection[str]) -> list[StoredFile]:
        """Files of which upstream tells nothing."""
        return [
            StoredFile(RemoteFile(name, ""), hashes.size, hashes.md5, hashes.sha256)
            for name, hashes in (await self._hashes(folder, names)).items()
        ]

    async def _withdrawn(self, folder: Folder) -> list[StoredFile]:
        names = {name for name in self._tree.published(folder) if _may_be_ours(name)}
        files = await self._found(folder, names - self._known(folder))
        if files:
            siblings = self._rebuilding.siblings(self._upstream, folder.resource)
            sub = told_by_name(folder.resource, folder.sub_resource, siblings)
            series = None if any(stem_of(s.id) == stem_of(sub.id) for s in siblings) else self._series_of(folder)
            self._rebuilding.take_in_withdrawn(self._upstream, sub, files, series=series, at=self._now())
            self._tell(folder, files, "upstream no longer lists them, so nothing but their own hashes vouches for them")
        return files

    def _series_of(self, folder: Folder) -> str | None:
        """What the series was called, as the link to one of its editions tells; None where there is none."""
        for series, leads_to in self._tree.aliases_of(self._upstream).items():
            if leads_to.resource == folder.resource and stem_of(leads_to.sub_resource) == stem_of(folder.sub_resource):
                return series
        return None

    def _known(self, folder: Folder) -> set[str]:
        """The files of a withdrawn sub-resource that an interrupted run has taken in."""
        try:
            unit = self._catalogue.unit(self._upstream, folder.resource, folder.sub_resource)
        except LookupError:
            return set()
        return set(self._holdings.indexed(unit.id))

    async def _hashes(self, folder: Folder, names: Collection[str]) -> dict[str, Hashes]:
        """The hashes of those of these files that are here. Interrupted, it stops within a block."""
        here = sorted(self._tree.published(folder).keys() & set(names))
        dropped = False

        def read() -> dict[str, Hashes]:
            found = {}
            for name in here:
                try:
                    found[name] = hash_file(self._tree.data / folder.relative / name, lambda: dropped)
                except OSError as error:
                    if dropped:
                        break
                    self._emit(Note(f"{folder.relative / name}: cannot be read: {error.strerror}; left alone", "warning"))
            return found

        task = asyncio.ensure_future(asyncio.to_thread(read))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            dropped = True
            await asyncio.wait([task])
            raise

    def _tell(self, folder: Folder, files: Sequence[StoredFile], how: str) -> None:
        about = FileKey(folder.upstream, folder.resource, folder.sub_resource, "")
        message = (
            f"{count_text(len(files), 'file')}, {sum(file.size for file in files)} bytes: found in the folder and hashed; {how}"
        )
        self._journal.event("adopted", at=self._now(), about=about, message=message)
        step("rebuild: sub-resource taken in")


def _may_be_ours(name: str) -> bool:
    try:
        check_name(name)
    except UnsafeName:
        return False
    return True
