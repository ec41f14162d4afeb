"""Files looked up for many at once: who comes while others are being looked up is taken along with the next ones.

One by one, each would cost a change of threads and two looks into the index on its own; when hundreds come in the same moment, that
is most of what they wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirror.serving.downloads.opening import Found, Opened, Place, look_up_all
from mirror.serving.readers import Readers
from mirror.store.offer import Offer, OfferedFile

_MOST = 32  # files in one go
_AT_ONCE = 2  # goes: should one hang at a disk, the next does not wait for it


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that somebody waits for; `needs_bytes` says whether it has to be opened."""

    place: Place
    needs_bytes: Callable[[OfferedFile], bool]


class Lookups:
    """Looks up files of one root, for whoever asks."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._waiting: list[tuple[Path, Wanted, asyncio.Future[Found]]] = []
        self._going: set[asyncio.Task[None]] = set()

    async def look_up(self, root: Path, wanted: Wanted) -> Found:
        """The file. Raises what `Readers.ask` raises, and OSError."""
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((root, wanted, answer))
        if len(self._going) < _AT_ONCE:
            going = asyncio.create_task(self._go())
            self._going.add(going)
            going.add_done_callback(self._going.discard)
        try:
            return await answer
        except asyncio.CancelledError:  # where a disk hangs, those who have given up are not to pile up
            self._waiting = [entry for entry in self._waiting if entry[2] is not answer]
            if answer.done() and not answer.cancelled() and answer.exception() is None:  # given up as it came
                _give_back(answer.result())
            raise

    async def _go(self) -> None:
        await self._take_all()
        # At once, not when the loop next comes to it: who asks until then would wait for somebody that has gone.
        if (me := asyncio.current_task()) is not None:
            self._going.discard(me)

    async def _take_all(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            root = taken[0][0]
            everything = [wanted for _, wanted, _ in taken]
            try:
                found = await self._readers.ask(lambda offer, root=root, those=everything: _ask(offer, root, those), "files")  # type: ignore[misc]
            except BaseException as error:
                for _, _, answer in taken:
                    if not answer.done():
                        answer.set_exception(error if isinstance(error, Exception) else ConnectionResetError("it is stopped"))
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, _, answer), one in zip(taken, found, strict=True):
                if answer.done():  # whoever asked is gone
                    _give_back(one)
                elif isinstance(one, OSError):
                    answer.set_exception(one)
                else:
                    answer.set_result(one)


def _give_back(found: Found | OSError) -> None:
    if isinstance(found, Opened):
        found.stream.close()


def _ask(offer: Offer, root: Path, those: Sequence[Wanted]) -> list[Found | OSError]:
    return look_up_all(offer, root, [(one.place, one.needs_bytes) for one in those])
