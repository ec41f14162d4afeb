"""How a sub-resource leaves the mirror, and how a run ends what a killed one had begun of it.

    announced (no reader gets a path any more) -> files out of the tree, by rename -> rows removed, history written -> files deleted

A kill between any two of these leaves the announcement, or only files in the trash; either way the next run that holds the lock
goes on from there, before it lists or looks at anything. So no sync meets a sub-resource that is half gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from mirror.amounts import count_text
from mirror.events import Emit, Note
from mirror.steps import step
from mirror.store.departures import Departures, Leaving
from mirror.store.trash import Trash

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Left:
    """What has left, and the paths in its folder that are not ours and stay."""

    what: Leaving
    foreign: tuple[str, ...]


class Exit:
    """The way out of the mirror."""

    def __init__(self, departures: Departures, trash: Trash, emit: Emit, now: Callable[[], datetime]) -> None:
        self._departures = departures
        self._trash = trash
        self._emit = emit
        self._now = now

    async def leave(self, unit_id: int, reason: str) -> Left:
        """Let a sub-resource leave, to the end: a cancellation is heard before or after it.

        Raises OSError where its files cannot be taken out of the tree; it then stays as it was.
        """
        return await to_the_end(self._leave(unit_id, reason))

    async def finish(self) -> list[Left]:
        """Go on with what a killed run had begun; returns what has left now. What resists is said, and stays hidden."""
        return await to_the_end(self._finish())

    async def _leave(self, unit_id: int, reason: str) -> Left:
        before = self._departures.announce(unit_id, reason)
        step("leaving: announced")
        (what,) = self._departures.leaving(unit_id)
        try:
            left = await self._go(what)
        except OSError:
            await asyncio.to_thread(self._trash.give_back, what.folder)
            self._departures.take_back(unit_id, before)
            raise
        await self._empty()
        return left

    async def _go(self, what: Leaving) -> Left:
        foreign = await asyncio.to_thread(self._trash.take, what.folder, frozenset(what.files), unpacked=what.unpacked)
        step("leaving: out of the tree")
        self._departures.remove(what, at=self._now())
        step("leaving: out of the index")
        return Left(what, foreign)

    async def _finish(self) -> list[Left]:
        done = []
        for what in self._departures.leaving():
            name = f"{what.folder.resource}/{what.folder.sub_resource}"
            try:
                done.append(await self._go(what))
            except OSError as error:
                self._emit(Note(f"{name} cannot be moved, as an interrupted prune had begun to: {error_text(error)}", "warning"))
            else:
                files = count_text(len(what.files), "file")
                self._emit(Note(f"deleted {name} ({files}), as an interrupted prune had begun to", "info"))
        await self._empty()
        return done

    async def _empty(self) -> None:
        """Delete what has left. What cannot be deleted takes room and does no harm: it is said, and tried again by the next run."""
        try:
            await asyncio.to_thread(self._trash.empty)
        except OSError as error:
            text = f"what was pruned cannot be deleted from .staging/trash: {error_text(error)}; the next run tries again"
            self._emit(Note(text, "warning"))


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What must not be left halfway. A cancellation is heard before it, or at the next `await` after it."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        work.close()
        raise
    task, me = asyncio.ensure_future(work), asyncio.current_task()
    interrupted = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            interrupted = True
            if me is not None:
                me.uncancel()
    if interrupted and me is not None:
        me.cancel()
    return task.result()


def error_text(error: OSError) -> str:
    """What the system says, and about which path."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
