"""Amounts in words, the same in messages, tables and logs."""

from __future__ import annotations


def size_text(size: int | None) -> str:
    """Bytes for people: decimal units, as disks and downloads are sold and counted."""
    if size is None:
        return "?"
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"


def count_text(count: int, singular: str, plural: str = "") -> str:
    """`1 file`, `2 files`, `200,000 files`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
