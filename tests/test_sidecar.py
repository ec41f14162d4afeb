"""A sidecar never claims bytes that are not on the disk, and none, however it lies, makes a wrong byte right."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.demo.body import Pattern, read
from mirror.errors import TransferError
from mirror.events import Event, FileKey, Verified
from mirror.model import RemoteFile
from mirror.transfer.fetch import Fetcher
from mirror.transfer.receive import Lane, Receiver
from mirror.transfer.sidecar import Sidecar, drop_sidecar, load_sidecar, save_sidecar, sidecar_path

from .fetching import MIB, NAME, Bench, bench
from .upstream import faults

SIZE = 2 * MIB + 12_345
SMALL = 5_000


@pytest.fixture
async def big(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, SIZE) as made:
        yield made


# -- the file itself


@given(
    st.builds(
        Sidecar,
        url=st.text(),
        size=st.none() | st.integers(0, 2**63 - 1),
        md5=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
        validator=st.none() | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)),
        offset=st.integers(0, 2**63 - 1),
    )
)
def test_what_is_saved_is_loaded(sidecar: Sidecar) -> None:
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "a.part"
        save_sidecar(part, sidecar)
        assert load_sidecar(part) == sidecar
        assert [path.name for path in Path(folder).iterdir()] == ["a.part.json"]
        drop_sidecar(part)
        drop_sidecar(part)
        assert load_sidecar(part) is None


_FIELDS: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        name: st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({})
        for name in ("version", "url", "size", "md5", "validator", "offset", "more")
    },
)


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text() | _FIELDS, st.lists).map(lambda x: json.dumps(x).encode()))
def test_what_cannot_be_believed_is_no_sidecar(content: bytes) -> None:
    """Whatever stands there: either it is sound to its last member, or it is nothing. It is never an error."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "a.part"
        sidecar_path(part).write_bytes(content)
        found = load_sidecar(part)
        assert found is None or (type(found.offset) is int and found.offset >= 0 and isinstance(found.url, str))


@pytest.mark.parametrize("facts", [{"validator": '"a"\r\nX: y'}, {"validator": '"é"'}, {"size": -1}, {"offset": 2**63}], ids=str)
def test_a_sidecar_that_no_request_could_be_made_of_is_none(facts: dict[str, Any], tmp_path: Path) -> None:
    save_sidecar(tmp_path / "a.part", replace(Sidecar("http://h/a", None, None, '"a"', 10), **facts))
    assert load_sidecar(tmp_path / "a.part") is None


def test_a_sidecar_nested_without_end_is_none(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    sidecar_path(part).write_bytes(b"[" * 60_000)
    assert load_sidecar(part) is None


@pytest.mark.parametrize(
    ("facts", "goes_on"),
    [
        ({}, True),
        ({"url": "https://elsewhere.example/file.7z"}, True),  # hosts move
        ({"md5": "0" * 32}, False),
        ({"size": 4}, False),
        ({"md5": None, "validator": '"1"'}, False),
    ],
)
def test_the_md5_says_which_file_it_is(facts: dict[str, Any], goes_on: bool) -> None:
    file = RemoteFile("f", "https://h.example/f", 5, "a" * 32)
    honest = {"url": file.url, "size": 5, "md5": "a" * 32, "validator": None, "offset": 3}
    assert Sidecar(**{**honest, **facts}).continues(file) == goes_on


@pytest.mark.parametrize(
    ("facts", "goes_on"), [({}, True), ({"validator": None}, False), ({"url": "https://h.example/g"}, False), ({"size": 6}, False)]
)
def test_without_an_md5_the_address_and_a_validator_do(facts: dict[str, Any], goes_on: bool) -> None:
    file = RemoteFile("f", "https://h.example/f", 5)
    honest = {"url": file.url, "size": 5, "md5": None, "validator": '"1"', "offset": 3}
    assert Sidecar(**{**honest, **facts}).continues(file) == goes_on


# -- what an earlier run left behind


@pytest.mark.parametrize("offset", [1, MIB - 1, MIB, MIB + 1, SIZE - 1])
async def test_a_later_run_goes_on(big: Bench, offset: int) -> None:
    big.leave_behind(read(big.body, 0, offset))
    staged = await big.fetch()
    assert big.right(staged)
    assert staged.resumed == offset
    assert big.asked() == [f"bytes={offset}-"]


async def test_a_later_run_has_nothing_to_ask_for_if_all_is_there(big: Bench) -> None:
    big.leave_behind(read(big.body))
    staged = await big.fetch()
    assert big.right(staged)
    assert staged.resumed == SIZE
    assert big.asked() == []


async def test_bytes_beyond_what_the_sidecar_claims_are_not_taken(big: Bench) -> None:
    """They may not have been flushed before the power went."""
    big.leave_behind(read(big.body, 0, 1000) + b"x" * MIB, offset=1000)
    assert big.right(await big.fetch())
    assert big.asked() == ["bytes=1000-"]


@pytest.mark.parametrize("length", [0, 1, 1000, SIZE])
async def test_bytes_that_went_bad_are_fetched_again(big: Bench, length: int) -> None:
    """What was left may be at fault, not upstream: that does not count against it."""
    big.leave_behind(b"x" * length)
    big.upstream.script("download", [faults.wrong_bytes()] * 2 if length == SIZE else [faults.fine(), faults.wrong_bytes()])
    staged = await big.fetch()
    assert big.right(staged)
    assert staged.resumed == 0


@pytest.mark.parametrize(
    "facts",
    [
        {"offset": 2000},  # more than is there
        {"offset": SIZE},
        {"offset": 10 * SIZE},
        {"md5": "0" * 32},
        {"size": 7},
        {"md5": None, "validator": '"1"'},
    ],
)
async def test_a_sidecar_that_lies_or_is_of_another_file(big: Bench, facts: dict[str, Any]) -> None:
    big.leave_behind(b"y" * 1000, **facts)
    assert big.right(await big.fetch())
    assert big.asked() == [None]


async def test_a_partial_file_without_a_sidecar_is_not_taken(big: Bench) -> None:
    big.leave_behind(read(big.body, 0, 1000))
    sidecar_path(big.part).unlink()
    assert big.right(await big.fetch())
    assert big.asked() == [None]


async def test_a_sidecar_without_a_partial_file_is_nothing(big: Bench) -> None:
    big.leave_behind(b"")
    big.part.unlink()
    big.upstream.script("download", [faults.cut_after(MIB)])
    assert big.right(await big.fetch())


async def test_another_file_of_that_name_takes_its_place(tmp_path: Path) -> None:
    """`..._LATEST` is replaced every week: what was begun of the old one is dropped, small files included."""
    async with bench(tmp_path, SMALL) as at:
        at.leave_behind(b"old bytes", md5="1" * 32)
        assert at.right(await at.fetch())
        assert at.asked() == [None]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=SMALL + 10) | st.integers(0, SMALL).map(lambda end: read(Pattern(SMALL, "bench"), 0, end)),
    sidecar=st.binary(max_size=300)
    | st.tuples(_FIELDS, st.booleans()).map(
        lambda drawn: json.dumps(
            {
                **{"version": 1, "url": "x", "size": SMALL, "md5": Pattern(SMALL, "bench").md5(), "validator": None, "offset": 100},
                **(drawn[0] if drawn[1] else {"offset": drawn[0].get("offset")}),
            }
        ).encode()
    ),
)
def test_whatever_was_left_behind_the_file_is_right(content: bytes, sidecar: bytes) -> None:
    async def main(folder: Path) -> None:
        async with bench(folder, SMALL) as at:
            at.part.parent.mkdir()
            at.part.write_bytes(content)
            sidecar_path(at.part).write_bytes(sidecar)
            assert at.right(await at.fetch())

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))


# -- honest at every moment


async def test_no_claim_goes_beyond_what_was_flushed(tmp_path: Path) -> None:
    """At every checkpoint the bytes claimed are in the file, and they are the right ones."""
    body = Pattern(200 * MIB, "checkpoints")
    path = tmp_path / "f.part"
    claims: list[tuple[int, int]] = []
    lane = Lane("test")
    receiver = Receiver(path, lane, lambda offset: claims.append((offset, path.stat().st_size)), lambda: None)
    await receiver.discard()
    batch: list[bytes] = []
    for chunk in body.chunks(0, body.size):
        batch.append(chunk)
        if len(batch) == 16:
            await receiver.take(batch, sum(map(len, batch)))
            batch = []
    assert (await receiver.hashes()).md5 == body.md5()
    await receiver.leave()
    lane.close()
    assert len(claims) >= 3
    assert claims[-1] == (body.size, body.size)
    assert all(claimed <= held for claimed, held in claims)


_FETCH = """
import asyncio, sys
from pathlib import Path
from mirror.events import FileKey
from mirror.model import RemoteFile
from mirror.transfer.fetch import Fetcher
from mirror.transfer.receive import Lane
from mirror.upstream.session import Session

base, url, size, md5, part, ready = sys.argv[1:]

async def main():
    async with Session("gpf", base, emit=lambda _: None, requests_per_second=1000) as session:
        file = RemoteFile("file.7z", url, int(size), md5)
        await Fetcher(session, Lane("x"), lambda _: None).fetch(file, FileKey("gpf", "R", "S", file.name), Path(part), Path(ready))

asyncio.run(main())
"""


async def test_killed_it_goes_on_in_the_next_process(tmp_path: Path) -> None:
    """SIGKILL in the middle of a transfer: the next run asks for the rest, and the file is right."""
    size = 20 * MIB
    async with bench(tmp_path, size) as at:
        at.upstream.script("download", [faults.trickle(8 * MIB)])
        file = at.listed()
        arguments = (at.upstream.base, file.url, str(size), file.md5 or "", str(at.part), str(at.ready))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _FETCH, *arguments)
        while load_sidecar(at.part) is None:  # the first checkpoint
            assert process.returncode is None
            await asyncio.sleep(0.01)  # another process writes it: there is nothing to be woken by
        process.send_signal(signal.SIGKILL)
        await process.wait()
        held, claimed = at.kept()
        assert 0 < claimed <= held < size
        assert at.part.read_bytes()[:claimed] == read(at.body, 0, claimed)
        staged = await at.fetch()
        assert at.right(staged)
        assert staged.resumed == claimed
        assert at.asked() == [None, f"bytes={claimed}-"]
        assert [event.resumed for event in at.of(Verified)] == [claimed]


# -- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_is_an_error_of_the_disk_and_the_sidecar_is_honest(small_disk: Path) -> None:
    """It ends the run, unlike anything upstream does. With room again, it goes on from what is there."""
    ballast = small_disk / "ballast"
    async with bench(small_disk, 3 * MIB) as at:
        ballast.write_bytes(bytes(2 * MIB))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
            await at.fetch()
        assert not isinstance(caught.value, TransferError)
        assert not at.ready.exists()
        held, claimed = at.kept()
        assert claimed <= held < 3 * MIB
        assert at.part.read_bytes()[:claimed] == read(at.body, 0, claimed)
        ballast.unlink()
        staged = await at.fetch()
        assert at.right(staged)
        assert staged.resumed == claimed


async def test_a_small_file_on_a_full_disk_leaves_nothing(small_disk: Path) -> None:
    async with bench(small_disk, 500_000) as at:
        at.ready.parent.mkdir()
        (small_disk / "ballast").write_bytes(bytes(4 * MIB - 200_000))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            await at.fetch()
        assert not at.ready.exists()


# -- a lane that ends


async def test_interrupted_while_it_reads_what_is_there_it_keeps_all_of_it(tmp_path: Path) -> None:
    """The reading ends with the one who waits for it, and the sidecar stays as it is."""
    body = Pattern(400 * MIB, "old")
    async with bench(tmp_path, body) as at:
        at.leave_behind(read(body, 0, body.size - 1))
        reading = asyncio.Event()
        loop = asyncio.get_running_loop()
        lane = Lane("test")
        seen: list[Event] = []
        fetcher = Fetcher(at.session, lane, seen.append)
        lane.md5.submit(loop.call_soon_threadsafe, reading.set)
        task = asyncio.create_task(fetcher.fetch(at.listed(), FileKey("gpf", "R", "S", NAME), at.part, at.ready))
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        lane.close()
        assert at.kept() == (body.size - 1, body.size - 1)
        assert seen == []
        assert at.upstream.count() == 0
