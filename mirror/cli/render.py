"""Tables and words for people: on a terminal with rich, elsewhere as plain aligned lines that no width cuts off."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click

_WIDEST = 4096  # columns that no table needs


def time_text(moment: str | None) -> str:
    """An ISO 8601 moment of the index, to the minute."""
    return moment[:16].replace("T", " ") + " UTC" if moment else "never"


def clip(items: Sequence[str], most: int = 4) -> str:
    """A list in little room: the first few, and how many more there are."""
    return ", ".join(items[:most]) + (f" +{len(items) - most}" if len(items) > most else "")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table on stdout. `right` names the columns of numbers.

    A line is as long as it must be, also on a narrow terminal: a name or a date that is cut or folded cannot be read, nor copied.
    """
    rows = [tuple(clean(cell) for cell in row) for row in rows]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for column in columns:
            drawn.add_column(column, justify="right" if column in right else "left", no_wrap=True)
        for row in rows:
            drawn.add_row(*map(Text, row))
        Console(width=_WIDEST, soft_wrap=True).print(drawn)
        return
    widths = [max(len(row[n]) for row in [tuple(columns), *rows]) for n in range(len(columns))]
    for row in [tuple(columns), *rows]:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def clean(text: str) -> str:
    """Text from outside made harmless for a terminal: no control characters, one line."""
    return "".join(c if c.isprintable() else " " for c in text)
