"""The answer to a question that many ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH = 1.0
"""Seconds for which an answer is given again: whoever asks more often costs nothing."""


class Shared(Generic[T]):
    """It is asked in a thread, once at a time, and the answer holds for a moment."""

    def __init__(self, question: Callable[[], T], clock: Callable[[], float] = time.monotonic, fresh: float = FRESH) -> None:
        self._question = question
        self._fresh = fresh
        self._clock = clock
        self._asking: asyncio.Task[T] | None = None
        self._since = 0.0

    async def answer(self) -> T:
        """The answer, as old as it may be. What the question raises comes out, and is not kept."""
        task = self._asking
        if task is None or (task.done() and (self._clock() - self._since >= self._fresh or task.exception() is not None)):
            task = self._asking = asyncio.ensure_future(self._ask())
        return await asyncio.shield(task)

    async def _ask(self) -> T:
        answer = await asyncio.to_thread(self._question)
        self._since = self._clock()
        return answer
