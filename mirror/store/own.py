"""The folders that are this program's own hold no links and nothing but folders and files: whoever put others there is told.

What is written, moved or deleted in them would otherwise reach what lies behind a link, or hang at a pipe. `data/` has rules of its
own (`Tree`): there foreign things may stand, and are left alone.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mirror.errors import GuardRefused

# Folder, how many levels below it are looked at, and whether only files and folders may be there. In `swap` things of others wait
# to be given back; `trash` looks for itself.
_OWN = (
    (Path(".staging", "parts"), 4, True),
    (Path(".staging", "ready"), 4, True),
    (Path(".staging", "swap"), 4, False),
    (Path(".staging", "unpack"), 3, False),
    (Path(".staging", "quarantine"), 0, False),
    (Path(".staging", "hooks"), 2, True),
    (Path("extracted"), 3, False),
    (Path("current"), 1, False),
)
_MAY_LIE_ELSEWHERE = frozenset({Path("extracted"), Path("current")})
"""These may be links themselves, as `data` may; what is in them may not."""


def check_own_folders(root: Path) -> None:
    """Raises GuardRefused where a link, or what is neither file nor folder, stands in the place of something of ours. Blocks."""
    for place, depth, strict in _OWN:
        top = root / place
        if place not in _MAY_LIE_ELSEWHERE:
            _check(top, strict=strict)
        if top.is_dir():
            _check_below(top, depth, strict=strict)


def _check_below(folder: Path, depth: int, *, strict: bool) -> None:
    if not depth:
        return
    with os.scandir(folder) as entries:
        paths = sorted(Path(entry.path) for entry in entries)
    for path in paths:
        _check(path, strict=strict)
        if path.is_dir():
            _check_below(path, depth - 1, strict=strict)


def _check(path: Path, *, strict: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode) or (strict and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode)):
        what = "a link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
        raise GuardRefused(f"{path} is {what}, where only what this program made should be; move it away, and run again")
