"""Is there room on the disk? Before a run fetches anything, and while it does. Sizes in bytes."""

from __future__ import annotations

from pathlib import Path

from mirror.errors import GuardRefused
from mirror.phrases import phrase
from mirror.phrases import size as bytes_of
from mirror.store.tree import Tree


def free_space(root: Path) -> int:
    """Bytes free where `root` is, or will be."""
    place = root
    while not place.exists():
        place = place.parent
    return Tree(place).free()


def guard_plan(root: Path, need: int, free: int, least: int) -> None:
    """Raises GuardRefused where fetching `need` would leave less than `least` of what is free."""
    if need and free - need < least:
        raise GuardRefused(
            phrase(
                "not enough disk space under {root}: {need} to fetch, {free} free, {least} to be left free ([limits] min_free); "
                "make room, or want less",
                root=root,
                need=bytes_of(need),
                free=bytes_of(free),
                least=bytes_of(least),
            )
        )


def guard_room(root: Path, size: int, least: int) -> None:
    """Raises GuardRefused where writing `size` now would leave less than `least` free: others fill the disk too."""
    free = Tree(root).free()
    if free - size < least:
        raise GuardRefused(
            f"stopped, as the disk fills up: {bytes_of(free)} free under {root}, {bytes_of(least)} to be left "
            "free ([limits] min_free); what was fetched is kept: make room, and sync again"
        )
