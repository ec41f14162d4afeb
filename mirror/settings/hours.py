"""Hours of the day in the config: windows, rates that depend on them, time zones.

Every parser raises ValueError with a text that says what is allowed and does not repeat the value.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, time, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mirror.planning.timetable import Bandwidth, Window
from mirror.settings.units import format_size, parse_rate

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_WINDOW = re.compile(rf"(?P<opens>{_CLOCK})\s*-\s*(?P<closes>{_CLOCK})", re.ASCII)
_STEP = re.compile(rf"(?P<clock>{_CLOCK})\s+(?P<rate>.+)", re.ASCII | re.DOTALL)
_WINDOW_FORMS = 'must be hours of the day such as "20:00-06:00"'
_RATE_FORMS = 'must be a size per second such as "50 MB", or rates by the time of day such as "08:00 5 MB, 20:00 off"'
_ZONE_FORMS = 'must be a time zone such as "Europe/Paris", or "local" for that of this machine'

LOCAL = "local"
"""The time zone of this machine."""


def parse_window(value: object) -> Window:
    """Hours from `"20:00-06:00"`."""
    if isinstance(value, Window):
        return value
    found = _WINDOW.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(_WINDOW_FORMS)
    opens, closes = time.fromisoformat(found["opens"]), time.fromisoformat(found["closes"])
    if opens == closes:
        raise ValueError("must open and close at different times; leave it out to allow all hours")
    return Window(opens, closes)


def parse_bandwidth(value: object) -> Bandwidth:
    """A rate, or several with the times of day from which they hold, as in `"08:00 5 MB, 20:00 off"`."""
    if isinstance(value, Bandwidth):
        return value
    if not isinstance(value, str) or ":" not in value:
        try:
            return Bandwidth.constant(_some(parse_rate(value)))
        except ValueError as error:
            raise ValueError(_RATE_FORMS if "such as" in str(error) else str(error)) from None
    steps: dict[time, int | None] = {}
    for text in value.split(","):
        found = _STEP.fullmatch(text.strip())
        if found is None:
            raise ValueError(_RATE_FORMS)
        clock = time.fromisoformat(found["clock"])
        if clock in steps:
            raise ValueError("must name each time of day once")
        steps[clock] = None if found["rate"].strip().lower() == "off" else _some(parse_rate(found["rate"]))
    return Bandwidth(tuple(steps.items()))


def _some(rate: int) -> int:
    if not rate:
        raise ValueError("must be more than 0; leave it out for no limit")
    return rate


def format_bandwidth(bandwidth: Bandwidth) -> str:
    """As `parse_bandwidth` reads it."""
    if bandwidth.is_constant and (rate := bandwidth.steps[0][1]) is not None:
        return format_size(rate)
    return ", ".join(f"{clock:%H:%M} {'off' if rate is None else format_size(rate)}" for clock, rate in bandwidth.steps)


def check_zone(value: object) -> str:
    """The name of a time zone that this machine knows."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(_ZONE_FORMS)
    name = value.strip()
    if name != LOCAL:
        find_zone(name)
    return name


def find_zone(name: str) -> tzinfo:
    """The time zone of that name. Raises ValueError where this machine does not know it (Debian: package tzdata)."""
    if name == LOCAL:
        return _local_zone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(_ZONE_FORMS) from None


def _local_zone() -> tzinfo:
    """What `$TZ` names, else what /etc/localtime is; UTC where neither tells."""
    named = os.environ.get("TZ", "").lstrip(":")
    if named:
        try:
            return ZoneInfo(named)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return UTC
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file, key=_zone_of_link(Path("/etc/localtime")))
    except (ValueError, OSError):
        return UTC


def _zone_of_link(link: Path) -> str | None:
    _, _, name = os.path.realpath(link).partition("/zoneinfo/")
    return name or None
