"""A long list, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pager:
    """Page `page`, counted from 1, of a list of `total`, `size` to a page."""

    page: int
    size: int
    total: int

    @property
    def offset(self) -> int:
        """How many come before."""
        return (self.page - 1) * self.size

    @property
    def pages(self) -> int:
        """How many pages there are; one where there is nothing."""
        return max(1, -(-self.total // self.size))

    @property
    def first(self) -> int:
        """The number of the first that is shown, counted from 1."""
        return self.offset + 1

    @property
    def last(self) -> int:
        """The number of the last that is shown."""
        return min(self.offset + self.size, self.total)

    @property
    def is_beyond(self) -> bool:
        """Whether the list does not come so far."""
        return self.page > self.pages

    @property
    def around(self) -> list[int]:
        """The pages to offer links to: the first, the last, and those beside this one; 0 stands for those left out."""
        near = {1, self.pages, *range(self.page - 2, self.page + 3)}
        numbers = sorted(number for number in near if 1 <= number <= self.pages)
        found: list[int] = []
        for number in numbers:
            if found and number - found[-1] > 1:
                found.append(0)
            found.append(number)
        return found
