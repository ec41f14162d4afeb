"""Rules about permissions hold for ordinary users; root is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def ordinary_user(folder: Path) -> Iterator[None]:
    """Run as nobody where the tests run as root, with `folder` (a `tmp_path`, not what is in it) and the way there open."""
    if os.geteuid() != 0:
        yield
        return
    for place in (folder, *folder.parents):
        if place.stat().st_uid == 0 and place.is_relative_to(folder.parents[2]):
            place.chmod(place.stat().st_mode | 0o055)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
