"""What lies unpacked: `extracted/<upstream>/<resource>/<sub_resource>/...`, there whole or not at all.

It is made in `.staging/unpack`, and takes its place by one exchange or rename. All of it can be made again from the archives, so
that nothing here needs a way back: a killed run leaves at most what the next one clears away.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
from pathlib import Path

from mirror.errors import ArchiveError
from mirror.store.kernel import exchange, sync_file_system, sync_folder
from mirror.store.tree import Folder, set_aside


class UnpackedTree:
    """The unpacked folders under one root. Every method may block: call it from a thread."""

    def __init__(self, root: Path) -> None:
        self.base = root / "extracted"
        self._staging = root / ".staging" / "unpack"
        self._quarantine = root / ".staging" / "quarantine" / "extracted"

    def clear(self) -> None:
        """Remove what a killed run has left half unpacked."""
        if self._staging.exists():
            shutil.rmtree(self._staging)

    def has(self, folder: Folder) -> bool:
        """Whether something lies unpacked of a sub-resource. One lstat."""
        try:
            return stat.S_ISDIR(os.lstat(self.base / folder.relative).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def leave(self, folder: Folder) -> None:
        """Remove what is left of the place in which a sub-resource was unpacked."""
        place = self._staging / folder.relative
        if place.exists():
            shutil.rmtree(place)

    def room(self, folder: Folder) -> Path:
        """An empty place for a sub-resource to be unpacked in."""
        self.leave(folder)
        place = self._staging / folder.relative
        place.mkdir(parents=True)
        return place

    def join(self, parts: list[Path]) -> Path:
        """One folder out of those into which the archives of a sub-resource were unpacked; the first of them takes all.

        The same file in two archives is one file, as deliveries in several archives repeat their notes.

        Raises:
            ArchiveError: two archives hold different files under one path.
        """
        whole, *others = parts
        for other in others:
            _merge(other, whole, Path())
        return whole

    def show(self, folder: Folder, fresh: Path, *, ours: bool) -> None:
        """Let `fresh` take the place of what lies unpacked of a sub-resource. Raises OSError.

        What is there and not `ours`, as the index knows nothing of it, is set aside in quarantine.
        """
        target = self.base / folder.relative
        if not ours and os.path.lexists(target):
            set_aside(target, self._quarantine / folder.relative.parent)
        if not sync_file_system(fresh):  # what becomes visible must not have holes after a power cut
            os.sync()
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(target):
            os.rename(fresh, target)
        elif exchange(fresh, target):
            _remove(fresh)
        else:
            aside = fresh.with_name(f"{fresh.name}~old")
            os.rename(target, aside)
            os.rename(fresh, target)
            _remove(aside)
        sync_folder(target.parent)

    def drop(self, folder: Folder) -> None:
        """Remove what lies unpacked of a sub-resource: out of sight at once, then for good."""
        target = self.base / folder.relative
        if os.path.lexists(target):
            aside = self.room(folder) / "old"
            os.rename(target, aside)
            self.leave(folder)


def _merge(source: Path, target: Path, below: Path) -> None:
    for entry in sorted(os.listdir(source / below)):
        one, other = source / below / entry, target / below / entry
        if not os.path.lexists(other):
            os.rename(one, other)
        elif one.is_dir() and other.is_dir():
            _merge(source, target, below / entry)
        elif one.is_dir() or other.is_dir() or not filecmp.cmp(one, other, shallow=False):
            raise ArchiveError(f"two archives hold different files as {below / entry}: they cannot be unpacked into one folder")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
