"""A measured figure, its goal, and the table of all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound that a figure is to keep: from above, or from below where `least`."""

    bound: float
    least: bool = False

    def met(self, value: float) -> bool:
        """Whether `value` keeps it."""
        return value >= self.bound if self.least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit`; a ratio has none. `note` says what it was made of."""

    what: str
    value: float
    unit: str = ""
    goal: Goal | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else self.goal.met(self.value)

    def as_json(self) -> dict[str, Any]:
        """For scripts that compare runs."""
        return {**asdict(self), "met": self.met}


def at_most(bound: float) -> Goal:
    """The smaller, the better."""
    return Goal(bound)


def at_least(bound: float) -> Goal:
    """The larger, the better."""
    return Goal(bound, least=True)


def print_table(figures: Sequence[Figure]) -> None:
    """What, figure, goal, met or not, and what the figure was made of."""
    table = Table(title="inspire-mirror against its goals", title_justify="left")
    table.add_column("what", overflow="fold")
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("goal", justify="right", no_wrap=True)
    table.add_column("met", no_wrap=True)
    table.add_column("of", overflow="fold")
    for figure in figures:
        goal = f"{'>=' if figure.goal.least else '<='} {_number(figure.goal.bound)}" if figure.goal else ""
        met = {True: "[green]yes", False: "[bold red]no", None: ""}[figure.met]
        table.add_row(figure.what, f"{_number(figure.value)} {figure.unit}".strip(), goal, met, figure.note)
    Console(width=None if Console().is_terminal else 160).print(table)


def print_json(figures: Sequence[Figure], conditions: dict[str, str]) -> None:
    """One document: under which conditions, and every figure."""
    print(json.dumps({"conditions": conditions, "figures": [figure.as_json() for figure in figures]}, indent=2))


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"
