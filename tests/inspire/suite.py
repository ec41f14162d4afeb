"""The suite: checks with the id and the text of their requirement, and what they find."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from .visit import Visit

Finder = Callable[[Visit], AsyncIterator[str]]


@dataclass(frozen=True)
class Check:
    """A requirement of the guidance (`R7`), a recommendation (`rec9`), a trap of the validator (`T3`), or of metadata (`MD1`)."""

    id: str
    text: str
    find: Finder


@dataclass(frozen=True)
class Finding:
    """What a check has come to: `problems` are empty where it is passed."""

    id: str
    text: str
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems


CHECKS: list[Check] = []


def check(identifier: str, text: str) -> Callable[[Finder], Finder]:
    """Makes a check of a function that yields what is wrong."""

    def made(find: Finder) -> Finder:
        CHECKS.append(Check(identifier, text, find))
        return find

    return made


async def findings(visit: Visit, checks: Iterable[Check] | None = None) -> list[Finding]:
    """What all checks come to."""
    return [
        Finding(one.id, one.text, tuple([problem async for problem in one.find(visit)]))
        for one in (CHECKS if checks is None else checks)
    ]


def failed(found: Iterable[Finding]) -> dict[str, tuple[str, ...]]:
    """The problems by the id of the check."""
    return {one.id: one.problems for one in found if not one.passed}
