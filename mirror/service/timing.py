"""From settings to when things are due, on this host."""

from __future__ import annotations

import hashlib
import socket
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path

from mirror.planning.schedule import LARGEST_SHARE, Timing
from mirror.planning.timetable import Window
from mirror.settings import Settings
from mirror.settings.hours import find_zone

_ANY_DAY = date(2024, 1, 1)
_MACHINE_ID = Path("/etc/machine-id")


def timings(settings: Settings, share: float) -> dict[str, Timing]:
    """When each scheduled subscription is due. Raises ValueError for a time zone that this machine no longer knows."""
    service = settings.service
    return {
        name: Timing(found.schedule, find_zone(found.timezone or service.timezone), service.jitter, share)
        for name, found in settings.subscription.items()
        if found.schedule is not None
    }


def window_of(settings: Settings, share: float) -> tuple[Window | None, tzinfo]:
    """The hours in which scheduled runs of this host work, and their time zone: they open later by its jitter, as runs come later.

    Hours that end when daylight saving begins or ends are shorter or longer then; that is not looked at.
    """
    window, service = settings.service.window, settings.service
    if window is not None:
        opens, closes = (datetime.combine(_ANY_DAY, clock) for clock in (window.opens, window.closes))
        length = (closes - opens) % timedelta(days=1)
        window = Window((opens + min(service.jitter, length / LARGEST_SHARE) * share).time(), window.closes)
    return window, find_zone(service.timezone)


def share_of_host() -> float:
    """Of the jitter, the part that is this host's, from 0 to 1: always the same here, and another one elsewhere.

    The machine's id is hashed with a word of ours, as machine-id(5) asks.
    """
    try:
        host = _MACHINE_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        host = ""
    digest = hashlib.sha256(f"inspire-mirror {host or socket.gethostname()}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
