"""A file of metrics for the textfile collector of Prometheus' node_exporter, for those who run no service."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from mirror.errors import os_error_text
from mirror.observing.metrics import textfile
from mirror.observing.observer import Observer
from mirror.settings import Settings
from mirror.settings.textfiles import problem_with_textfile


def write_textfile(settings: Settings) -> str | None:
    """Write the metrics of a mirror to `[service] textfile`, if that is set. Returns in one line why it could not be written.

    The file appears whole, by a rename, and everybody may read it: node_exporter is another user.
    """
    place = settings.service.textfile
    if place is None:
        return None
    if problem := problem_with_textfile(place, settings.root):
        return f"[service] textfile: nothing is written there: {problem}"
    try:
        _write(place, textfile(Observer(settings)))
    except OSError as error:
        return f"[service] textfile: cannot write {os_error_text(error, place)}"
    return None


def _write(place: Path, content: bytes) -> None:
    # The collector reads what ends in .prom: what is not whole yet must not.
    descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".new", dir=place.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        os.rename(name, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
