"""Answers of the index as text, piece by piece: millions of files need not fit into memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator

from mirror.store.query import MirroredFile

_encode = json.JSONEncoder(ensure_ascii=False).encode  # made once: json.dumps makes one for each item
CSV_COLUMNS = tuple(name for name in MirroredFile._fields if name != "members")


def json_array(items: Iterable[object]) -> Iterator[str]:
    """One JSON array, an item a line."""
    empty = True
    for item in items:
        yield ("[" if empty else ",") + "\n  " + _encode(item)
        empty = False
    yield "[]\n" if empty else "\n]\n"


def json_lines(items: Iterable[object]) -> Iterator[str]:
    """A JSON document a line (NDJSON)."""
    for item in items:
        yield _encode(item) + "\n"


def csv_lines(files: Iterable[MirroredFile], shown: Callable[[str], str] = str) -> Iterator[str]:
    """CSV with a header; lists are joined by semicolons, and texts are as `shown` makes them."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for file in files:
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        values = (getattr(file, name) for name in CSV_COLUMNS)
        row = [";".join(value) if isinstance(value, tuple) else value for value in values]
        writer.writerow([shown(value) if isinstance(value, str) else value for value in row])
    yield buffer.getvalue()
