"""How published files leave: by rename out of the tree, and only then to deletion.

    .staging/trash/data/<upstream>/<resource>/<sub_resource>/<file>
    .staging/trash/extracted/<upstream>/<resource>/<sub_resource>/...

A folder in which everything is ours leaves by one rename. Where something foreign is in it, our files leave it one by one, and the
folder stays with the rest. Links are never followed: what lies behind one is not in the tree.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mirror.steps import step
from mirror.store.tree import Folder, Tree, set_aside


@dataclass(frozen=True, slots=True)
class Place:
    """What is found where a sub-resource should be. `foreign` is what is not ours, `obstacle` why its folder cannot be touched."""

    foreign: tuple[str, ...] = ()
    obstacle: str = ""


class Trash:
    """Takes sub-resources out of a tree. Every method may block: call it from a thread. The caller holds the lock of the root."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._root = tree.staging / "trash"
        self._data = self._root / "data"
        self._unpacked = self._root / "extracted"

    def look(self, folder: Folder, ours: Collection[str], *, unpacked: bool) -> Place:
        """What is in the place of a sub-resource of which the files `ours` are published. Changes nothing.

        `unpacked` says that what lies unpacked of it is ours, if something does.
        """
        foreign = self._foreign_unpacked(folder, unpacked=unpacked)
        path = self._tree.data
        for part in folder.relative.parts:
            path /= part
            if not os.path.lexists(path):
                return Place(tuple(foreign))
            if not _is_folder(path):
                return Place(obstacle=f"{path} is a link or a file, not a folder of this mirror")
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name not in ours or not entry.is_file(follow_symlinks=False):
                    foreign.append(entry.path)
        return Place(tuple(sorted(foreign)))

    def _foreign_unpacked(self, folder: Folder, *, unpacked: bool) -> list[str]:
        path = self._tree.root / "extracted" / folder.relative
        ours = unpacked and all(_is_folder(place) for place in (path.parent.parent, path.parent, path))
        return [str(path)] if os.path.lexists(path) and not ours else []

    def take(self, folder: Folder, ours: Collection[str], *, unpacked: bool) -> tuple[str, ...]:
        """Move the published files `ours` of a sub-resource here, with what is unpacked of it if `unpacked` says that this is ours.

        What an earlier attempt has left undone is done; what is gone already is no error. Returns the paths that stay, as they are
        not ours. Raises OSError.
        """
        if unpacked:
            self._take_unpacked(folder)
            step("leaving: unpacked files out")
        source, target = self._tree.data / folder.relative, self._data / folder.relative
        if _is_folder(target):  # of an attempt that was interrupted
            self._give_back_foreign(folder, source, target, ours)
        place = self.look(folder, ours, unpacked=unpacked)
        if place.obstacle or not os.path.lexists(source):
            return place.foreign
        self._make(target.parent)
        theirs = any(Path(path).parent == source for path in place.foreign)
        if not theirs and not os.path.lexists(target):
            os.rename(source, target)
            step("leaving: folder out")
            self._give_back_foreign(folder, source, target, ours)
        else:
            self._make(target)
            for name in sorted(ours):
                if _is_regular(source / name):
                    os.rename(source / name, target / name)
                    step("leaving: file out")
            with suppress(OSError):  # somebody's files are still in it
                source.rmdir()
        self._tree.flush(path for path in (source, source.parent, target, target.parent) if _is_folder(path))
        return self.look(folder, (), unpacked=False).foreign

    def _give_back_foreign(self, folder: Folder, source: Path, target: Path, ours: Collection[str]) -> None:
        """What somebody put into a folder in the moment before it left goes back to where they put it."""
        for name in os.listdir(target):
            if name in ours and _is_regular(target / name):
                continue
            if os.path.lexists(source / name):
                set_aside(target / name, self._tree.quarantined / folder.relative)
            else:
                source.mkdir(parents=True, exist_ok=True)
                os.rename(target / name, source / name)

    def _take_unpacked(self, folder: Folder) -> None:
        source, target = self._tree.root / "extracted" / folder.relative, self._unpacked / folder.relative
        if self._foreign_unpacked(folder, unpacked=True) or not os.path.lexists(source):
            return
        self._make(target.parent)
        if os.path.lexists(target):
            _delete(target)
        os.rename(source, target)
        self._tree.flush([source.parent, target.parent])
        with suppress(OSError):
            source.parent.rmdir()

    def give_back(self, folder: Folder) -> None:
        """Undo `take`, as far as it came. Raises OSError."""
        for base, home in ((self._data, self._tree.data), (self._unpacked, self._tree.root / "extracted")):
            source, target = base / folder.relative, home / folder.relative
            if not _is_folder(source):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(target):
                os.rename(source, target)
                continue
            for name in os.listdir(source):
                if not os.path.lexists(target / name):
                    os.rename(source / name, target / name)

    def empty(self) -> None:
        """Delete all that was taken. Raises OSError."""
        if _is_folder(self._root):
            _delete(self._root)
            step("leaving: trash emptied")

    def _make(self, path: Path) -> None:
        """A folder of ours, on a way without links. Raises OSError."""
        way = self._tree.staging
        for part in path.relative_to(way).parts:
            way /= part
            if not os.path.lexists(way):
                way.mkdir()
            elif not _is_folder(way):
                raise NotADirectoryError(errno.ENOTDIR, "not a folder of this mirror; move it away", str(way))


def _delete(path: Path) -> None:
    """A folder and all in it. Links are deleted, not followed."""
    shutil.rmtree(path)


def _is_folder(path: Path) -> bool:
    """A real folder: not a link to one."""
    with suppress(OSError):
        return stat.S_ISDIR(path.lstat().st_mode)
    return False


def _is_regular(path: Path) -> bool:
    with suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False
