"""Tables and words for people: on a terminal as wide as it is, elsewhere as plain aligned lines that no width cuts off."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

import click

from mirror.language import ENGLISH, Language
from mirror.phrases import moment as said_moment

_GAP = "  "
_WRAPPED = 20  # columns of text that goes on below
_NAME = 36  # of a name, so much must be left to tell it from its neighbours: part of the product, zone, date, volume


def time_text(moment: str | None) -> str:
    """An ISO 8601 moment of the index, to the minute."""
    return str(said_moment(moment))


def clip(items: Sequence[str], most: int = 4) -> str:
    """A list in little room: the first few, and how many more there are."""
    return ", ".join(items[:most]) + (f" +{len(items) - most}" if len(items) > most else "")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    names: Sequence[str] = (),
    drop: Sequence[str] = (),
    wrap: str = "",
    language: Language = ENGLISH,
) -> None:
    """Print a table on stdout. `right` names the columns of numbers; heads and cells are put into `language`.

    On a terminal it keeps to its width: the columns of `drop` go first, in this order, as far as the columns of `names` would else
    be shortened to less than they need to be told apart; these are cut in their middle, as names differ at their ends; `wrap` is
    the last column if its text may go on below. Elsewhere a line is as long as it must be, and nothing is left out.
    """
    put = language.put
    cells = [tuple(clean(put(cell)) for cell in row) for row in rows]
    columns, right, names, drop, wrap = _all(put, columns), _all(put, right), _all(put, names), _all(put, drop), put(wrap)
    if not sys.stdout.isatty():
        for line in _lines(columns, cells, right):
            show(line)
        return
    head, cells = fitted(columns, cells, shutil.get_terminal_size().columns, names=names, drop=drop, wrap=wrap)
    first, *rest = _lines(head, cells, right)
    show(click.style(first, bold=True))
    for line in rest:
        show(line)


def show(text: str, *, err: bool = False) -> None:
    """Write a line. Where the encoding has no narrow space or no curved apostrophe, it has others; what else it has not is a
    question mark.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.replace("\u202f", "\u00a0").replace("\u2019", "'").encode(stream.encoding, "replace").decode(stream.encoding)
    click.echo(text, err=err)


def _all(put: Callable[[str], str], texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(put(text) for text in texts)


def fitted(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    names: Sequence[str] = (),
    drop: Sequence[str] = (),
    wrap: str = "",
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The columns and rows of a table that is at most `width` wide, as far as that can be; see `table`."""
    head, wide = tuple(columns), _widths(columns, rows)
    needed = {**wide, **{name: min(wide[name], _NAME) for name in names if name in wide}}
    if wrap and wrap in wide:
        needed[wrap] = min(wide[wrap], _WRAPPED)
    for name in drop:
        if _total(needed[column] for column in head) > width and name in head:
            head = tuple(column for column in head if column != name)
    places = [columns.index(column) for column in head]
    spare = width - _total(needed[column] for column in head)
    given = {column: needed[column] for column in head}
    for column in sorted(head, key=lambda column: wide[column] - needed[column]):
        # What is left goes to those that want least of it first, so that no column is cut where it need not be.
        wanting = sum(wide[other] > given[other] for other in head)
        more = min(wide[column] - given[column], max(0, spare) // max(1, wanting))
        given[column] += more
        spare -= more
    fitting: list[tuple[str, ...]] = []
    for row in rows:
        cells = [row[place] for place in places]
        below: list[str] = []
        for number, column in enumerate(head):
            if wrap and column == wrap:
                cells[number], *below = textwrap.wrap(cells[number], given[column]) or [""]
            elif column in names:
                cells[number] = shorten(cells[number], given[column])
        fitting.append(tuple(cells))
        fitting += [(*[""] * (len(head) - 1), line) for line in below]
    return head, fitting


def shorten(text: str, width: int) -> str:
    """A name of at most `width` characters, cut in its middle: what tells names apart is mostly at their ends."""
    if len(text) <= width:
        return text
    start = max(0, width - 1) // 3
    return f"{text[:start]}…{text[len(text) - (width - 1 - start) :]}" if width > 1 else "…"[:width]


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> Iterator[str]:
    widths = _widths(columns, rows)
    for row in [columns, *rows]:
        cells = [
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in zip(columns, row, strict=True)
        ]
        yield _GAP.join(cells).rstrip()


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    return {column: max(len(row[n]) for row in [columns, *rows]) for n, column in enumerate(columns)}


def _total(widths: Iterable[int]) -> int:
    widths = list(widths)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def clean(text: str) -> str:
    """Text from outside made harmless for a terminal: no control characters, one line. Blanks that do not break stay."""
    return "".join(c if c.isprintable() or c in "\u00a0\u202f" else " " for c in text)


def one_line(text: str, most: int = 300) -> str:
    """The end of a text of several lines, which mostly is what matters, in one line."""
    joined = "; ".join(line.strip() for line in text.splitlines() if line.strip())
    return joined if len(joined) <= most else f"…{joined[-most + 1 :]}"
