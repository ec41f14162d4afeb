"""Which parts of a file a request asks for (RFC 9110, 14). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_ASKED = 64
"""Ranges in one request. More are no download any more but an attack, and are refused."""

MOST_PARTS = 16
"""Parts in one answer, once those that overlap or lie close together have become one."""

_WORTH_A_PART = 128  # bytes; a gap that is smaller costs less to send than the head of another part
_SPEC = re.compile(r"(\d{0,19})-(\d{0,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file from `start`, up to but not including `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of bytes, never 0."""
        return self.stop - self.start

    def of(self, size: int) -> str:
        """As `Content-Range` has it, in a file of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


class Unsatisfiable(ValueError):
    """Nothing of the file is in what was asked for, or it was asked for in too many pieces: 416."""


def spans_of(header: str | None, size: int) -> tuple[Span, ...]:
    """The parts of a file of `size` bytes to send; none where the whole is: no range was asked for, or in words that are none.

    Parts that overlap, touch or nearly do are one. The others come in the order in which they were asked for. Raises Unsatisfiable.
    """
    if header is None or size == 0:
        return ()
    unit, found, listed = header.partition("=")
    if not found or unit.strip().lower() != "bytes":
        return ()
    specs = [spec.strip() for spec in listed.split(",", MOST_ASKED + 1) if spec.strip()]
    asked: list[Span] = []
    for spec in specs[:MOST_ASKED]:
        match = _SPEC.fullmatch(spec)
        if match is None or spec == "-" or (match[1] and match[2] and int(match[1]) > int(match[2])):
            return ()
        if not match[1]:
            start, stop = max(0, size - int(match[2])), size
        else:
            start, stop = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if start < stop:
            asked.append(Span(start, stop))
    if not specs:
        return ()
    if len(specs) > MOST_ASKED or not asked:
        raise Unsatisfiable
    spans = _merged(asked)
    if len(spans) > MOST_PARTS:
        raise Unsatisfiable
    return spans


def _merged(asked: Sequence[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for span in sorted(asked, key=lambda span: span.start):
        if merged and span.start <= merged[-1].stop + _WORTH_A_PART:
            merged[-1] = Span(merged[-1].start, max(merged[-1].stop, span.stop))
        else:
            merged.append(span)
    return tuple(merged) if len(merged) < len(asked) else tuple(asked)
