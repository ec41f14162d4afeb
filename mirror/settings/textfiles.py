"""Where the file of metrics may be: it takes the place of whatever is there."""

from __future__ import annotations

import os
from pathlib import Path


def problem_with_textfile(place: Path, root: Path) -> str | None:
    """Why nothing is to be written to `place`, in one line; None if it may be. Links on the way to it are followed."""
    if place.suffix != ".prom":
        return f"{place} does not end in .prom; node_exporter reads no other file"
    folder = os.path.realpath(place.parent)
    if Path(folder).is_relative_to(os.path.realpath(root)):
        return f"{place} is in the mirror, where only published files belong; name a place outside of {root}"
    return None
