"""An index that cannot be used any more: set aside with what belongs to it, never deleted."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from mirror.errors import IndexDamaged
from mirror.steps import step
from mirror.store.index import BUSY_WAIT, FILE, BrokenRow, Index, is_busy, is_damage, is_refused, why_unusable

T = TypeVar("T")

_BESIDE = ("", "-wal", "-shm")


def open_index(
    root: Path, first: Callable[[Index], T], tell: Callable[[str], None], *, at: datetime, wait: float = BUSY_WAIT
) -> tuple[Index, T]:
    """Open the index of `root` and do `first` with it; one that shows to be damaged by then is set aside and made anew.

    `tell` hears of that. The caller holds the lock of the root.

    Raises:
        IndexUnusable, Locked, GuardRefused: as `Index` does, but for damage.
        OSError: a damaged index cannot be set aside.
    """
    if _only_remains(root):
        tell(f"the index at {root / FILE} was empty; {_set_aside_as(root, at)}")
    try:
        return _open(root, first, wait)
    except IndexDamaged as error:
        tell(f"the index at {root / FILE} was damaged ({error.__cause__}); {_set_aside_as(root, at)}")
        return _open(root, first, wait)


def _open(root: Path, first: Callable[[Index], T], wait: float) -> tuple[Index, T]:
    index = Index(root, wait=wait)
    try:
        return index, first(index)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        reason = BrokenRow(str(error)) if isinstance(error, UnicodeDecodeError) or shows_damage(index, error) else error
        index.close()
        raise why_unusable(index.path, reason) from reason
    except BaseException:
        index.close()
        raise


def shows_damage(index: Index, error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether an error that came up in the middle of work is the index's own fault, and will be so in the next run.

    What neither the disk nor another program explains, a constraint that rows break or a column that is not there for instance, is
    for SQLite's own check to decide, and for a comparison with what our tables are.
    """
    if is_damage(error):
        return True
    if is_busy(error) or is_refused(error):
        return False
    try:
        return index.problem(thorough=True) is not None or not index.has_our_tables()
    except sqlite3.Error as another:
        return is_damage(another)


def _only_remains(root: Path) -> bool:
    """Whether there is nothing of an index but an empty file, or a log without one, where a mirror is.

    SQLite would take an empty file for a new index, and delete a log that belongs to nothing.
    """
    sizes = {suffix: _size(root / f"{FILE}{suffix}") for suffix in _BESIDE}
    if sizes[""]:
        return False
    return bool(sizes["-wal"]) or (sizes[""] == 0 and (root / "data").is_dir())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _set_aside_as(root: Path, at: datetime) -> str:
    return f"set aside as {set_aside(root, at).relative_to(root)}, and built anew from the files that are here"


def set_aside(root: Path, at: datetime) -> Path:
    """Move the index with its log into quarantine; returns where it is now. Nobody has it open for writing. Raises OSError."""
    quarantine = root / ".staging" / "quarantine"
    quarantine.mkdir(parents=True, exist_ok=True)
    stem = f"index-{at.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"
    name, number = f"{stem}.sqlite", 0
    while any(os.path.lexists(quarantine / f"{name}{suffix}") for suffix in _BESIDE):
        number += 1
        name = f"{stem}~{number}.sqlite"
    for suffix in _BESIDE:
        # The index first: a log without its index is found and set aside by the next run, an index without its log would pass for
        # a sound one.
        if os.path.lexists(root / f"{FILE}{suffix}"):
            os.rename(root / f"{FILE}{suffix}", quarantine / f"{name}{suffix}")
            step("rescue: file of the index set aside")
    return quarantine / name
