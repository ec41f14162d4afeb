"""The API key of a private service: put on addresses last, and taken out of everything that is told or kept.

Upstream sees the key in each request and may repeat it: in an error page, a `Location`, a header, a link, a title. So every text
that comes from it is cleaned at the edge, before it becomes an entry, an event or an error.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

from mirror.model import E, Page, RemoteFile, Resource, SubResource, Term

MASK = "***"

_LONGEST_TOLD = 400
_SHORTEST_LOOKED_FOR = (
    4  # what is shorter would be found in half of all words; as the value of its parameter it is found all the same
)
_SHORTEST_IN_A_NAME = 8  # a key such as "demo" may be a part of a name by chance
_PARAMETER = re.compile(r"(?i)(apikey(?:=|%(?:25)*3D))[^&\s'\"<>]+")


class Secret:
    """What may not be told; without a key, only what stands as one in an address."""

    def __init__(self, key: str | None) -> None:
        self.key = key
        self._spelt = _spellings(key) if key and len(key) >= _SHORTEST_LOOKED_FOR else None

    def redact(self, text: str) -> str:
        """`text` with a mask in the place of the key, however it is spelt: as it is, percent-encoded, in other capitals."""
        if self._spelt is not None:
            text = self._spelt.sub(MASK, text)
        return _PARAMETER.sub(rf"\1{MASK}", text)

    def tell(self, text: str) -> str:
        """The same for a message: one line, and no longer than people read. Cut last, so that no part of a key is left."""
        line = " ".join(self.redact(text).split())
        return line if len(line) <= _LONGEST_TOLD else line[: _LONGEST_TOLD - 3] + "..."

    def holds(self, text: str) -> bool:
        """Whether the key is in `text`."""
        return self.redact(text) != text

    def clean(self, page: Page[E]) -> Page[E]:
        """A page without the key in any of its texts. An entry whose very name holds it is left out, and told."""
        rejected = [self.tell(line) for line in page.rejected]
        if self.key is None:
            return replace(page, rejected=tuple(rejected)) if rejected else page
        entries = []
        for entry in page.entries:
            if len(self.key) >= _SHORTEST_IN_A_NAME and self.holds(_name(entry)):
                rejected.append("an entry has the API key for a name")
            else:
                entries.append(self._clean_entry(entry))
        return replace(page, entries=tuple(entries), title=self.redact(page.title), rejected=tuple(rejected))

    def _clean_entry(self, entry: E) -> E:
        name = "name" if isinstance(entry, RemoteFile) else "id"
        changed: dict[str, Any] = {}
        for field in fields(entry):
            value = getattr(entry, field.name)
            if field.name not in (name, "resource") and (cleaned := self._clean_value(value)) != value:
                changed[field.name] = cleaned
        return replace(entry, **changed) if changed else entry

    def _clean_value(self, value: object) -> object:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Term):
            return Term(self.redact(value.code), self.redact(value.label))
        return tuple(self._clean_value(item) for item in value) if isinstance(value, tuple) else value


def _name(entry: Resource | SubResource | RemoteFile) -> str:
    return entry.name if isinstance(entry, RemoteFile) else entry.id


_BLANKS = {" ": "|[+]", "+": "|[ ]"}
"""A form writes a blank as a plus, and who reads an address as a form makes a blank of a plus."""


def _spellings(key: str) -> re.Pattern[str]:
    """Every character as it is, percent-encoded once or several times over, or escaped as Python and JSON write it."""
    parts = []
    for char in key:
        encoded = "".join(rf"(?:%(?:25)*|\\+x){byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        parts.append(rf"(?:\\*{re.escape(char)}|{encoded}|\\+u{ord(char):04x}{_BLANKS.get(char, '')})")
    return re.compile("".join(parts), re.IGNORECASE)
