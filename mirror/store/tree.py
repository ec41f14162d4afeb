"""The tree of files: where things are, and how they appear.

    data/<upstream>/<resource>/<sub_resource>/<file>    published
    current/<upstream>/<series>                         relative links to the newest complete edition
    .staging/parts/<upstream>/...                       partial files and their sidecars
    .staging/ready/<upstream>/...                       verified files that wait for the rest of their sub-resource
    .staging/swap/                                      folders about to be exchanged, or just exchanged
    .staging/quarantine/                                wrong files, moved aside

A new folder appears by one rename. A change to a folder that readers may be in is made on a copy of hard links, which then takes
its place in one exchange; where the file system cannot exchange, two renames with a way back that `recover` takes.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from mirror.errors import UnsafeName
from mirror.names import check_name
from mirror.steps import step
from mirror.store.kernel import exchange, sync_file_system, sync_folder
from mirror.store.own import check_own_folders

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK})
_SYNC_EACH = 4  # up to so many files are flushed one by one, more by one flush of the file system


@dataclass(frozen=True, slots=True)
class Folder:
    """The place of a sub-resource under each root. All names have passed `check_name`."""

    upstream: str
    resource: str
    sub_resource: str

    @property
    def relative(self) -> Path:
        """Below `data/`, `.staging/parts` and `.staging/ready`."""
        return Path(self.upstream, self.resource, self.sub_resource)


class Tree:
    """The files under one root. Every method may block: call it from a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.aliases = root / "current"
        self.staging = root / ".staging"
        self.parts = self.staging / "parts"
        self.ready = self.staging / "ready"
        self.swap = self.staging / "swap"
        self.quarantined = self.staging / "quarantine"

    # -- what is there

    def published(self, folder: Folder) -> dict[str, int]:
        """Sizes in bytes of the regular files in a published folder, by name; empty where there is none."""
        return _regular_files(self.data / folder.relative) if self._is_ours(folder) else {}

    def published_size(self, folder: Folder, name: str) -> int | None:
        """Size in bytes of a published file; None where there is none, and a link is none."""
        try:
            stats = os.lstat(self.data / folder.relative / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return stats.st_size if stat.S_ISREG(stats.st_mode) and self._is_ours(folder) else None

    def _is_ours(self, folder: Folder) -> bool:
        """Whether the way to a published folder leads through folders only: what lies behind a link is not in the tree."""
        way = (self.data / folder.upstream, self.data / folder.upstream / folder.resource, self.data / folder.relative)
        return all(_is_folder(place) for place in way)

    def unknown_folders(self, known: Collection[Folder]) -> list[Path]:
        """What lies in `data/` and is neither a folder of `known` nor on the way to one; the outermost paths, in order."""
        ways = {part for folder in known for part in (folder.relative, *folder.relative.parents)}
        found: list[Path] = []

        def look(place: Path, depth: int) -> None:
            for entry in sorted(place.iterdir()):
                if entry.relative_to(self.data) not in ways or not entry.is_dir():
                    found.append(entry)
                elif depth > 1:
                    look(entry, depth - 1)

        if self.data.is_dir():
            look(self.data, 3)
        return found

    def folders(self, upstream: str) -> list[Folder]:
        """The folders of sub-resources that are here of an upstream, in order: real ones, under names that a feed may have."""
        found = []
        if _is_folder(self.data / upstream):
            for path in sorted((self.data / upstream).glob("*/*")):
                folder = Folder(upstream, path.parent.name, path.name)
                if _is_safe(folder.resource) and _is_safe(folder.sub_resource) and self._is_ours(folder):
                    found.append(folder)
        return found

    def stamp(self, folder: Folder) -> int | None:
        """The mtime in ns of a published folder: it changes whenever a name in it comes, goes or is replaced."""
        try:
            # Asked of every sub-resource in every run: joining texts costs a tenth of joining paths.
            return os.lstat(os.path.join(self.data, folder.upstream, folder.resource, folder.sub_resource)).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None

    def free(self) -> int:
        """Bytes that this process may still write to the file system of the root."""
        stats = os.statvfs(self.root)
        return stats.f_bavail * stats.f_frsize

    def part(self, folder: Folder, name: str) -> Path:
        """Where a partial file is kept; its sidecar is beside it under the same name and `.json`."""
        return self.parts / folder.relative / f"{name}.part"

    def staged(self, folder: Folder, name: str) -> Path:
        """Where a verified file waits to be published."""
        return self.ready / folder.relative / name

    def waiting(self, folder: Folder) -> dict[str, int]:
        """Sizes in bytes of the files of a sub-resource that wait to be published, by name."""
        return _regular_files(self.ready / folder.relative)

    # -- publishing

    def flush(self, paths: Iterable[Path]) -> None:
        """Bring the bytes of these files to the disk."""
        paths = list(paths)
        if len(paths) > _SYNC_EACH and sync_file_system(self.root):
            return
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def publish(self, folder: Folder, names: Iterable[str], *, replacing: Iterable[str] = (), leaving: Iterable[str] = ()) -> None:
        """Move staged files, whose bytes are on the disk, into the published folder: all of them at once, or none.

        `replacing` names the files already there whose places they may take; what else is in the way is set aside in quarantine,
        never overwritten. `leaving` names files that go to quarantine in the same moment. Raises OSError; NotADirectoryError for a
        link or a file where the folder of an upstream or resource should be: links are never followed out of the tree.
        """
        names, replacing, leaving = list(names), set(replacing), set(leaving)
        for place in (self.data / folder.upstream, self.data / folder.upstream / folder.resource):
            if os.path.lexists(place) and not _is_folder(place):
                raise NotADirectoryError(errno.ENOTDIR, "not a folder of this mirror; move it away", str(place))
        target = self.data / folder.relative
        source = self.ready / folder.relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target) and not _is_folder(target):
            set_aside(target, self.quarantined / folder.relative)
        for name in names:
            place = target / name
            if not os.path.lexists(place) or (name in replacing and _is_regular(place)):
                continue
            # A file keeps its place until the new one takes it: a run that is killed in between must not leave a gap.
            if not (_is_regular(place) and _link_aside(place, self.quarantined / folder.relative)):
                self.quarantine(folder, name)
        if not target.exists():
            if not names:
                return
            if sorted(os.listdir(source)) == sorted(names):
                step("new folder: about to appear")
                os.rename(source, target)
                step("new folder: there")
            else:
                fresh = self._fresh(folder)
                fresh.mkdir()
                step("part of a folder: begun beside it")
                for name in names:
                    os.rename(source / name, fresh / name)
                    step("part of a folder: file moved in")
                os.rename(fresh, target)
                step("part of a folder: there")
            sync_folder(target)
        elif len(names) == 1 and not leaving:
            step("one file: about to appear")
            os.rename(source / names[0], target / names[0])
            step("one file: there")
            sync_folder(target)
            return
        else:
            self._exchange(folder, target, source, names, leaving)
        sync_folder(target.parent)

    def _exchange(self, folder: Folder, target: Path, source: Path, names: list[str], leaving: set[str]) -> None:
        fresh = self._fresh(folder)
        fresh.mkdir()
        step("exchange: folder made")
        moving = set(names)
        with os.scandir(target) as entries:
            for entry in entries:
                if entry.name in moving or entry.name in leaving:
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue  # somebody's folder or link: it cannot be hard-linked, and is given back below
                try:
                    os.link(entry.path, fresh / entry.name)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    shutil.copy2(entry.path, fresh / entry.name)
                step("exchange: file kept")
        for name in names:
            os.rename(source / name, fresh / name)
            step("exchange: file moved in")
        sync_folder(fresh)
        for name in leaving:
            # Before it can be missed: a run that is killed after the exchange would take it for a leftover of its own.
            if os.path.lexists(target / name) and _link_aside(target / name, self.quarantined / folder.relative):
                step("exchange: leaving file kept in quarantine")
        step("exchange: about to happen")
        if exchange(fresh, target):
            retired = fresh
            step("exchange: done")
        else:
            retired = self._retired(folder)
            os.rename(target, retired)
            step("two renames: old folder out")
            os.rename(fresh, target)
            step("two renames: new folder in")
        for name in leaving:
            if os.path.lexists(retired / name):
                if _link_aside(retired / name, self.quarantined / folder.relative):
                    os.unlink(retired / name)
                else:
                    set_aside(retired / name, self.quarantined / folder.relative)
            step("exchange: leaving file is out")
        _give_back(retired, target)
        step("exchange: foreign files given back")
        shutil.rmtree(retired)
        step("exchange: old folder gone")

    def _fresh(self, folder: Folder) -> Path:
        path = self.swap / "new" / folder.relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            shutil.rmtree(path)
        return path

    def _retired(self, folder: Folder) -> Path:
        path = self.swap / "old" / folder.relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def recover(self) -> None:
        """Undo what a killed run left halfway.

        A folder taken out and not yet replaced goes back; one that has been replaced gives back what was never ours. Of a
        half-built one, the files that are nowhere else go back to where verified files wait; they are hashed again before anything
        is made of them.

        Raises GuardRefused where links or pipes stand in folders of ours: nothing is followed out of the mirror.
        """
        check_own_folders(self.root)
        old = self.swap / "old"
        for path in sorted(old.glob("*/*/*")):
            target = self.data / path.relative_to(old)
            if target.exists():
                _give_back(path, target)
                step("recovery: foreign files given back")
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(path, target)
                step("recovery: old folder put back")
        new = self.swap / "new"
        for path in sorted(new.glob("*/*/*/*")):
            base = self.ready if _is_regular(path) else self.data
            place = base / path.relative_to(new)
            if (base == self.data or path.lstat().st_nlink == 1) and not os.path.lexists(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                os.rename(path, place)
                step("recovery: file put back into staging")
        if self.swap.exists():
            shutil.rmtree(self.swap)

    def staged_folders(self, upstream: str) -> set[Folder]:
        """The sub-resources of which something is in staging."""
        return {
            Folder(upstream, found.parent.name, found.name)
            for base in (self.parts, self.ready)
            for found in (base / upstream).glob("*/*")
        }

    def staged_bytes(self, folder: Folder, names: Iterable[str]) -> int:
        """Bytes that are in staging of these files of a sub-resource."""
        size = 0
        for name in names:
            for path in (self.part(folder, name), self.staged(folder, name)):
                with suppress(OSError):
                    size += path.lstat().st_size
        return size

    def sweep(self, folder: Folder, wanted: Collection[str]) -> int:
        """Remove from a folder's staging all but the files `wanted`; returns the bytes that this freed."""
        freed = 0
        for base in (self.parts, self.ready):
            if (base / folder.relative).is_dir():
                freed += _sweep_folder(base / folder.relative, wanted, parts=base == self.parts)
        return freed

    # -- aliases, quarantine

    def aliases_of(self, upstream: str) -> dict[str, Folder]:
        """Every alias of an upstream that we have made, by series."""
        try:
            names = sorted(os.listdir(self.aliases / upstream))
        except OSError:
            return {}
        return {series: folder for series in names if (folder := self.alias(upstream, series)) is not None}

    def alias(self, upstream: str, series: str) -> Folder | None:
        """Which sub-resource the alias of a series leads to; None where there is none that we have made."""
        try:
            parts = Path(os.readlink(self.aliases / upstream / series)).parts
        except OSError:
            return None
        return Folder(*parts[3:]) if parts[:3] == ("..", "..", "data") and len(parts) == 6 else None

    def point(self, upstream: str, series: str, resource: str, sub_resource: str) -> bool:
        """Point the alias of a series at a published folder, by rename; returns whether anything changed."""
        link = self.aliases / upstream / series
        target = os.path.join("..", "..", "data", upstream, resource, sub_resource)
        try:
            if os.readlink(link) == target:
                return False
        except OSError:
            pass
        link.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(link) and not link.is_symlink():
            set_aside(link, self.quarantined / "current" / upstream)
        fresh = self.staging / f"alias-{upstream}"  # upstreams publish side by side
        fresh.unlink(missing_ok=True)
        os.symlink(target, fresh)
        step("alias: made")
        os.rename(fresh, link)
        step("alias: pointed")
        return True

    def quarantine(self, folder: Folder, name: str) -> Path | None:
        """Move a file that is not what it should be out of the published tree, keeping it; None where there is none."""
        source = self.data / folder.relative / name
        return set_aside(source, self.quarantined / folder.relative) if os.path.lexists(source) else None


def set_aside(path: Path, place: Path) -> Path:
    """Move something into a folder of quarantine, under a name that is free there; returns where it is now. Raises OSError."""
    place.mkdir(parents=True, exist_ok=True)
    target = next(free for free in _names_aside(path, place) if not os.path.lexists(free))
    os.rename(path, target)
    return target


def _regular_files(folder: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # taken away in this moment
                if entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
    return found


def _link_aside(path: Path, place: Path) -> bool:
    """Keep a file under another name as well, once however often this is called; False where that cannot be."""
    place.mkdir(parents=True, exist_ok=True)
    for target in _names_aside(path, place):
        if not os.path.lexists(target):
            try:
                os.link(path, target, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return False
            return True
        if os.path.samestat(path.lstat(), target.lstat()):
            return True
    return False


def _names_aside(path: Path, place: Path) -> Iterator[Path]:
    """Where it may go in quarantine: under its name or, where that is taken, with a number behind it."""
    yield place / path.name
    for number in count(1):
        yield place / f"{path.name}~{number}"


def _is_folder(path: Path) -> bool:
    """A real folder: not a link to one."""
    return path.is_dir() and not path.is_symlink()


def _is_safe(name: str) -> bool:
    try:
        check_name(name)
    except UnsafeName:
        return False
    return True


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _give_back(retired: Path, target: Path) -> None:
    """Move into a new folder what was in the old one and is not in it: all of that is somebody else's."""
    for name in os.listdir(retired):
        if not os.path.lexists(target / name):
            os.rename(retired / name, target / name)


def _sweep_folder(folder: Path, names: Collection[str], *, parts: bool) -> int:
    freed = 0
    for entry in list(os.scandir(folder)):
        name = entry.name
        if parts:
            name = name.removesuffix("~").removesuffix(".json").removesuffix(".part")
        if name not in names:
            freed += entry.stat(follow_symlinks=False).st_size
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
            step("sweep: file removed")
    for path in (folder, folder.parent):
        try:
            path.rmdir()
        except OSError:
            break
    return freed
