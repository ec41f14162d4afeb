"""Named points of a run at which it makes a difference whether it dies there: so that tests can kill it at each of them.

In production nobody listens, and a step costs one look at a global. Steps are passed in any thread.
"""

from __future__ import annotations

from collections.abc import Callable

on_step: Callable[[str], None] | None = None
"""Called with the name of each step as it is passed; None where nobody listens."""


def step(name: str) -> None:
    """The run has come to this point. Each name stands in one place of the source only."""
    if on_step is not None:
        on_step(name)
