"""Options that several commands share, and what they parse to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, TypeVar

import click

from mirror.cli.completing import complete_subscription
from mirror.model import BBox
from mirror.store.asking import box_of_text, day_of_text, why_no_days

F = TypeVar("F", bound=Callable[..., Any])


def names_argument(command: F) -> F:
    """Adds NAME, any number of times: subscriptions."""
    return click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_subscription)(command)


class Day(click.ParamType[date]):
    """YYYY-MM-DD."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Text to a day."""
        if isinstance(value, date):
            return value
        try:
            return day_of_text(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Box(click.ParamType[BBox]):
    """W,S,E,N in degrees."""

    name = "w,s,e,n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> BBox:
        """Text to a box."""
        if isinstance(value, tuple):
            west, south, east, north = value
            return west, south, east, north
        try:
            return box_of_text(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[timedelta]):
    """A duration with its unit, longer than nothing."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Text to time."""
        from mirror.settings.units import parse_duration

        try:
            duration = parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        if not duration:
            self.fail(f"{value!r} must be longer than nothing", param, ctx)
        return duration


def check_days(start: date | None, end: date | None) -> None:
    """Raises UsageError for days of edition that leave nothing between them."""
    if why := why_no_days(start, end, names=("--from", "--to")):
        raise click.UsageError(why)


def filter_options(command: F) -> F:
    """The filters of `catalog` and `query`."""
    several = " Repeatable, globs, any case."
    for option in reversed(
        [
            click.option("--resource", "resources", multiple=True, help="Resource id." + several),
            click.option("--zone", "zones", multiple=True, help="Zone code; D0971 finds D971." + several),
            click.option("--format", "formats", multiple=True, help="Format; Shapefile finds SHP." + several),
            click.option("--crs", multiple=True, help="CRS in any spelling: EPSG:2154, 2154." + several),
            click.option("--from", "start", type=Day(), help="Editions of this day or later."),
            click.option("--to", "end", type=Day(), help="Editions of this day or earlier."),
            click.option("--updated-from", type=Day(), help="Published on this day or later."),
            click.option("--bbox", type=Box(), help="Footprint meets this box, in degrees."),
            click.option("--latest", is_flag=True, help="Only the newest edition of each series."),
            click.option("--upstream", "upstreams", multiple=True, help="Upstream by its name in the config." + several),
        ]
    ):
        command = option(command)
    return command
