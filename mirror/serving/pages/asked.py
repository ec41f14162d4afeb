"""What a page is asked for: the query of its address, read once, and written again for the links to other pages of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, get_args
from urllib.parse import urlencode

from mirror.store.finding import Column, Sought

State = Literal["", "latest", "current", "superseded", "withdrawn"]

_LONGEST = 200  # characters of a text; who looks for more has pasted something else
_LAST_PAGE = 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """The query of a page; empty texts do not filter. `unread` are the fields that hold no day, as they were written."""

    q: str = ""
    upstream: str = ""
    zone: str = ""
    format: str = ""
    crs: str = ""
    start: date | None = None
    end: date | None = None
    state: State = ""
    sort: Column | Literal[""] = ""
    descending: bool = False
    page: int = 1
    unread: tuple[str, ...] = ()

    @property
    def narrows(self) -> bool:
        """Whether anything is filtered, the text aside."""
        return any((self.upstream, self.zone, self.format, self.crs, self.start, self.end, self.state))

    def sought(self, upstream: str | None = None, resource: str | None = None) -> Sought:
        """As a question to the index; of one resource, if one is given."""
        return Sought(
            self.q,
            upstream or self.upstream or None,
            resource,
            self.zone or None,
            self.format or None,
            self.crs or None,
            self.start,
            self.end,
            self.state if self.state in ("current", "superseded", "withdrawn") else None,
            self.state == "latest",
        )

    @property
    def within(self) -> Asked:
        """The same on the page of a resource, which is of one upstream."""
        return replace(self, upstream="", page=1)

    def at(self, page: int) -> Asked:
        """The same on another page."""
        return replace(self, page=page)

    def by(self, column: Column, first: bool) -> Asked:
        """The same in another order; the other way round if it is in that one. `first` is whether it begins with descending."""
        descending = not self.descending if self.sort == column else first
        return replace(self, sort=column, descending=descending, page=1)

    def of(self, zone: str) -> Asked:
        """The same of one zone."""
        return replace(self, zone=zone, page=1)

    def fields(self) -> list[tuple[str, str]]:
        """The fields of the query that say something."""
        found = [
            ("q", self.q),
            ("upstream", self.upstream),
            ("zone", self.zone),
            ("format", self.format),
            ("crs", self.crs),
            ("from", self.start.isoformat() if self.start else ""),
            ("to", self.end.isoformat() if self.end else ""),
            ("state", self.state),
            ("sort", f"-{self.sort}" if self.sort and self.descending else self.sort),
            ("page", str(self.page) if self.page > 1 else ""),
        ]
        return [(name, value) for name, value in found if value]

    @property
    def query(self) -> str:
        """With its question mark; empty where nothing is asked."""
        return f"?{urlencode(self.fields())}" if self.fields() else ""


def asked_of(query: Mapping[str, str]) -> Asked:
    """Read a query. What is not understood is left out: a page is there for whoever mistypes, too."""
    unread: list[str] = []

    def text(name: str) -> str:
        return " ".join("".join(c if c.isprintable() else " " for c in query.get(name, "")[:_LONGEST]).split())

    def day(name: str) -> date | None:
        if not (written := text(name)):
            return None
        try:
            return date.fromisoformat(written)
        except ValueError:
            unread.append(written)
            return None

    state, sort, page = text("state"), text("sort"), text("page")
    column = sort.removeprefix("-")
    return Asked(
        text("q"),
        text("upstream"),
        text("zone"),
        text("format"),
        text("crs"),
        day("from"),
        day("to"),
        next((known for known in get_args(State) if known == state), ""),
        next((known for known in get_args(Column) if known == column), ""),
        sort.startswith("-"),
        min(int(page), _LAST_PAGE) if page.isascii() and page.isdigit() and int(page[:9]) > 0 else 1,
        tuple(unread),
    )
