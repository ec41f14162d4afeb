"""Files are looked up together, and whoever asks gets an answer, whenever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from mirror.serving.downloads.lookups import Lookups, Wanted
from mirror.serving.downloads.opening import Opened, Place, Unopened
from mirror.serving.readers import Lane, Readers
from mirror.store.offer import Offer

from .served import served_mirror
from .upstream import simple_catalogue

T = TypeVar("T")
CATALOGUE = simple_catalogue(1, 1, 1)
(SUB,) = CATALOGUE.resources[0].listed
WANTED = Wanted(Place("gpf", CATALOGUE.resources[0].id, SUB.id, SUB.files[0].name), lambda file: False)


class InStep(Readers):
    """Answers everybody who asks in one turn of the loop in the next one."""

    def __init__(self, root: Path, offer: Offer) -> None:
        super().__init__(root)
        self._offer_in_step = offer

    async def ask(self, question: Callable[[Offer], T], lane: Lane = "listings") -> T:
        await asyncio.sleep(0)
        with self._offer_in_step.asking():
            return question(self._offer_in_step)


@pytest.mark.timeout(30)
async def test_who_asks_in_the_moment_in_which_all_others_are_answered_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody comes after him, whose question would be answered along with his."""
    monkeypatch.setattr("mirror.serving.downloads.lookups._MOST", 1)
    async with served_mirror(tmp_path / "root", CATALOGUE) as served:
        with closing(Offer(served.root)) as offer:
            lookups = Lookups(InStep(served.root, offer))

            async def ask(times: int) -> int:
                for _ in range(times):
                    assert isinstance(await lookups.look_up(served.root, WANTED), Unopened)
                return times

            for times in ((2, 1), (1, 2), (2, 2), (5, 3)):
                assert tuple(await asyncio.gather(*map(ask, times))) == times


async def test_a_file_that_is_found_as_somebody_gives_up_is_closed(tmp_path: Path) -> None:
    async with served_mirror(tmp_path / "root", CATALOGUE) as served:
        with closing(Offer(served.root)) as offer:
            found: list[Opened] = []

            class GivenUpAsItComes(InStep):
                async def ask(self, question: Callable[[Offer], T], lane: Lane = "listings") -> T:
                    answer = await super().ask(question, lane)
                    assert isinstance(answer, list)
                    found.extend(answer)
                    asyncio.get_running_loop().call_soon(asking.cancel)  # comes before the answer is taken
                    return answer

            lookups = Lookups(GivenUpAsItComes(served.root, offer))
            asking = asyncio.create_task(lookups.look_up(served.root, Wanted(WANTED.place, lambda file: True)))
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert [one.stream.closed for one in found] == [True]
