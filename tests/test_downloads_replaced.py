"""A file that is replaced while it is downloaded: no answer has bytes of two files, and no tag goes with bytes of another."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mirror.steps
from mirror.demo.body import Pattern, read
from mirror.demo.catalogue import Catalogue, SampleFile
from mirror.serving.downloads.opening import Changing, Found, Opened, Place, look_up, look_up_all
from mirror.store.offer import Offer, OfferedFile

from .downloading import RESOURCE, SUB, connect, large, offering, path_to, sha256
from .forked import Syncs
from .served import Answered, ServedMirror, served_mirror

GENERATIONS = 8
NAMES = ("one.7z", "two.7z")
PLACE = Place("gpf", RESOURCE, SUB, NAMES[0])


def body(name: str, generation: int, size: int = 70_000) -> bytes:
    return read(Pattern(size, f"{name} {generation}"))


def generation(number: int, *, names: tuple[str, ...] = NAMES, kept: bytes = b"kept") -> Catalogue:
    """The files of one generation, all of the same size, beside one that stays as it is."""
    files = [SampleFile(name, body(name, number)) for name in names]
    return offering(*files, SampleFile("kept.txt", kept), updated=f"2026-02-{number + 1:02d}")


KNOWN = {sha256(body(name, number)): body(name, number) for name in NAMES for number in range(GENERATIONS + 1)}


def check(answer: Answered) -> int | None:
    """Every answer is of one file, the one that its tag says."""
    if answer.status == 503:
        assert answer.headers["Retry-After"]
        return None
    whole = KNOWN[answer.headers["ETag"].strip('"')]
    if answer.status == 206:
        first, last = answer.headers["Content-Range"].removeprefix("bytes ").split("/")[0].split("-")
        assert answer.body == whole[int(first) : int(last) + 1]
    else:
        assert answer.status == 200
        assert answer.body == whole
    return answer.status


async def test_a_download_under_way_ends_with_the_file_that_it_began_with(tmp_path: Path) -> None:
    """What is asked for later is the new one, and what was begun is not gone on with."""
    old, new = large("first"), large("second")
    async with served_mirror(tmp_path / "root", offering(old)) as served:
        whole, parts = await connect(served.url), await connect(served.url)
        path = path_to(old.name).encode()
        _, headers = await whole.ask(b"GET " + path)
        _, of_parts = await parts.ask(b"GET " + path, "Range: bytes=10-999,1000000-23000000")
        begun = await whole.rest("1000000")
        assert (await served.sync(offering(new, updated="2026-02-01"))).outcome == "complete"
        tag = headers["Etag"]
        assert tag == of_parts["Etag"] == f'"{sha256(old.body)}"'
        assert sha256(begun + await whole.rest(str(old.body.size - len(begun)))) == sha256(old.body)
        text = await parts.rest(of_parts["Content-Length"])
        assert read(old.body, 10, 1000) in text
        assert read(old.body, 1_000_000, 23_000_001) in text
        for raw in (whole, parts):  # as sound connections, they go on
            status, fresh = await raw.ask(b"HEAD " + path, f"If-None-Match: {tag}")
            assert (status, fresh["Etag"]) == (200, f'"{sha256(new.body)}"')
            raw.close()
        again = await served.ask(path_to(old.name), Range="bytes=1000000-", If_Range=tag)
        assert (again.status, sha256(again.body)) == (200, sha256(new.body))
        assert (await served.ask(path_to(old.name), Range="bytes=1000000-", If_Match=tag)).status == 412


async def test_downloads_through_many_publications(tmp_path: Path) -> None:
    """Whole files and parts, asked for on and on while one generation follows the other."""
    async with served_mirror(tmp_path / "root", generation(0)) as served:
        over = asyncio.Event()
        statuses: list[int | None] = []

        async def ask_on(seed: int) -> None:
            chance = random.Random(seed)  # noqa: S311
            while not over.is_set():
                name = chance.choice(NAMES)
                first = chance.randrange(70_000)
                headers = {"Range": f"bytes={first}-{chance.randrange(first, 70_000)}"} if chance.random() < 0.5 else {}
                statuses.append(check(await served.ask(path_to(name), **headers)))

        clients = [asyncio.create_task(ask_on(seed)) for seed in range(4)]
        for number in range(1, GENERATIONS + 1):
            assert (await served.sync(generation(number))).outcome == "complete"
        over.set()
        await asyncio.gather(*clients)
        assert {200, 206} <= set(statuses)
        assert (await served.ask(path_to(NAMES[0]))).body == body(NAMES[0], GENERATIONS)


@pytest.mark.parametrize("moment", ["before it is opened", "after it was opened"])
async def test_a_replacement_between_two_looks_is_seen(tmp_path: Path, moment: str) -> None:
    """The whole of it, from the announcement to the new row."""
    async with served_mirror(tmp_path / "root", generation(0)) as served:
        loop = asyncio.get_running_loop()
        replaced = False

        def replace() -> None:
            nonlocal replaced
            if not replaced:
                replaced = True
                asyncio.run_coroutine_threadsafe(served.sync(generation(1)), loop).result(60)

        class Overtaken(Offer):
            def renew(self) -> None:
                if moment == "after it was opened":
                    replace()
                super().renew()

        def needs_bytes(file: OfferedFile) -> bool:
            if moment == "before it is opened":
                replace()
            return True

        def look() -> tuple[str, bytes]:
            found: Found = Changing()
            while isinstance(found, Changing):  # as whoever is told so asks again
                with closing(Overtaken(served.root)) as offer, offer.asking():
                    found = look_up(offer, served.root, PLACE, needs_bytes)
            assert isinstance(found, Opened)
            with found.stream as stream:
                return found.file.sha256, stream.readall()

        tag, got = await asyncio.to_thread(look)
        assert replaced
        assert (tag, got) == (sha256(body(NAMES[0], 1)), body(NAMES[0], 1))


@pytest.mark.parametrize("when", [1, 2, 3])
async def test_files_that_are_looked_up_together_are_each_the_one_of_their_row(tmp_path: Path, when: int) -> None:
    """Their folder is opened once for all of them, and another one takes its place before any of them, or between two."""
    async with served_mirror(tmp_path / "root", generation(0)) as served:
        loop = asyncio.get_running_loop()
        asked = 0

        def needs_bytes(file: OfferedFile) -> bool:
            nonlocal asked
            asked += 1
            if asked == when:
                asyncio.run_coroutine_threadsafe(served.sync(generation(1)), loop).result(60)
            return True

        def look() -> list[Found | OSError]:
            places = [Place("gpf", RESOURCE, SUB, name) for name in (*NAMES, "kept.txt")]
            with closing(Offer(served.root)) as offer, offer.asking():
                return look_up_all(offer, served.root, [(place, needs_bytes) for place in places])

        with closing(Offer(served.root)) as kept, kept.asking():  # so that the index keeps its log
            assert await served.sync(generation(0)) is not None
            found = await asyncio.to_thread(look)
        for one in found:
            assert isinstance(one, Opened)
            with one.stream as stream:
                assert sha256(stream.readall()) == one.file.sha256
        assert [one.file.sha256 for one in found if isinstance(one, Opened)][:2] == [sha256(body(name, 1)) for name in NAMES]


async def test_who_may_not_write_beside_the_index_sees_a_replacement_too(tmp_path: Path) -> None:
    """He reads the index as it lies there, and is blind to the log of a sync that begins in the moment in which he looks."""
    async with served_mirror(tmp_path / "root", generation(0)) as served:
        loop = asyncio.get_running_loop()

        class Blind(Offer):
            def __init__(self, root: Path) -> None:
                super().__init__(root)
                self.connection.close()
                self.connection = sqlite3.connect(f"file:{self.path}?immutable=1", uri=True)
                self.connection.row_factory = sqlite3.Row

        def needs_bytes(file: OfferedFile) -> bool:
            asyncio.run_coroutine_threadsafe(served.sync(generation(1)), loop).result(60)
            return True

        def look() -> tuple[Found, str | None]:
            with closing(Blind(served.root)) as offer, offer.asking():
                seen = offer.file(*PLACE.parts)
                return look_up(offer, served.root, PLACE, needs_bytes), seen.sha256 if seen else None

        found, seen = await asyncio.to_thread(look)
        assert seen == sha256(body(NAMES[0], 0))
        assert isinstance(found, Changing)


@pytest.mark.parametrize("names", [NAMES, NAMES[:1]], ids=["in a folder that is exchanged", "alone"])
async def test_at_every_step_of_a_publication_the_index_is_right_or_says_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    async with served_mirror(tmp_path / "root", generation(0, names=names)) as served:
        seen: dict[str, str] = {}

        def look(step: str) -> None:
            with closing(Offer(served.root)) as offer, offer.asking():
                found = look_up(offer, served.root, PLACE, lambda file: True)
            if isinstance(found, Opened):
                with found.stream as stream:
                    got = stream.readall()
                assert got == KNOWN[found.file.sha256]
                seen[step] = "old" if got == body(NAMES[0], 0) else "new"
            else:
                assert isinstance(found, Changing), found
                seen[step] = "wait"

        with monkeypatch.context() as steps:
            steps.setattr(mirror.steps, "on_step", look)
            assert (await served.sync(generation(1, names=names))).outcome == "complete"
        order = list(dict.fromkeys(seen.values()))
        assert order == ["old", "wait", "new"]
        assert seen["publication: announced"] == "wait"
        assert seen["publication: entered"] == "new"


async def test_a_file_that_is_being_replaced_is_waited_for_and_then_asked_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has it already is told so in that moment as well as in any other: never."""
    async with served_mirror(tmp_path / "root", generation(0)) as served:
        tag = f'"{sha256(body(NAMES[0], 0))}"'
        early: list[Answered] = []
        loop = asyncio.get_running_loop()

        def hold(step: str) -> None:
            if step == "publication: announced":
                monkeypatch.setattr("mirror.serving.downloads.routes._WAITS", (0.001,))
                for headers in ({}, {"If-None-Match": tag}, {"Range": "bytes=0-1"}):
                    asked = served.ask(path_to(NAMES[0]), **headers)
                    early.append(asyncio.run_coroutine_threadsafe(asked, loop).result(60))
                early.append(asyncio.run_coroutine_threadsafe(served.ask(path_to("kept.txt")), loop).result(60))
                monkeypatch.setattr("mirror.serving.downloads.routes._WAITS", (0.01,) * 1000)
                waiting.append(asyncio.run_coroutine_threadsafe(served.ask(path_to(NAMES[0])), loop))

        waiting: list[Any] = []
        on_another_thread = Stepping(hold)
        with monkeypatch.context() as steps:
            steps.setattr(mirror.steps, "on_step", on_another_thread)
            assert (await asyncio.to_thread(sync_apart, served)) == "complete"
        assert [answer.status for answer in early] == [503, 503, 503, 200]
        assert early[0].headers["Retry-After"] == "5"
        answer = await asyncio.wrap_future(waiting[0])
        assert (answer.status, answer.body) == (200, body(NAMES[0], 1))


class Stepping:
    """Calls once for each name of a step."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._seen: set[str] = set()

    def __call__(self, step: str) -> None:
        if step not in self._seen:
            self._seen.add(step)
            self._call(step)


def sync_apart(served: ServedMirror) -> str:
    """A sync in this thread, with a loop of its own: what it waits for holds up nobody who asks."""
    served.mirror.upstream.catalogue = generation(1)
    return asyncio.run(served.mirror.sync()).outcome


KILLED_AT = (
    "publication: announced",
    "exchange: file kept",
    "exchange: about to happen",
    "exchange: done",
    "exchange: old folder gone",
    "two renames: old folder out",
    "two renames: new folder in",
    "one file: there",
)


async def test_a_run_that_is_killed_leaves_nothing_that_is_served_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any step of a publication: the file from before, the new one, or 503 until the next run has seen to it."""
    monkeypatch.setattr("mirror.serving.downloads.routes._WAITS", ())
    async with served_mirror(tmp_path / "root", generation(0)) as served:
        with Syncs() as syncs:
            here = 0
            for number, step in enumerate(KILLED_AT, 1):
                alone = step.startswith("one file")
                names = NAMES[:1] if alone else NAMES
                at = number % (GENERATIONS + 1)
                files = [SampleFile(name, body(name, at if name in names else here)) for name in NAMES]
                files.append(SampleFile("kept.txt", b"kept"))
                served.mirror.upstream.catalogue = offering(*files, updated=f"2026-03-{number:02d}")
                killed = partial(syncs.run, settings(served), tmp_path, step=step, exchange=not step.startswith("two renames"))
                assert await asyncio.to_thread(killed) == -9, step
                for name in NAMES:
                    check(await served.ask(path_to(name)))
                    check(await served.ask(path_to(name), Range="bytes=1000-1999"))
                assert await asyncio.to_thread(syncs.run, settings(served), tmp_path) == 0, step
                for name in NAMES:
                    answer = await served.ask(path_to(name))
                    assert (check(answer), answer.body) == (200, body(name, at if name in names else here)), step
                here = at


def settings(served: ServedMirror) -> dict[str, Any]:
    return {
        "root": str(served.root),
        "limits": {"min_free": 0},
        "upstream": {"gpf": {"url": served.mirror.upstream.url, "requests_per_second": 100_000}},
        "subscription": dict(served.mirror.tables),
    }
