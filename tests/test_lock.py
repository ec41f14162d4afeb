"""One run per root."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mirror.errors import GuardRefused, IndexUnusable, Locked
from mirror.store.index import FILE, Index, writing_beside
from mirror.store.lock import is_locked, root_lock
from mirror.store.query import Filters, Reader
from mirror.sync import hold_lock

from .command import run, start, write_config
from .mirrored import Mirrored, offered, tree_of
from .upstream import Exchange, FakeUpstream, simple_catalogue

_HOLD = """
import sys
from pathlib import Path
from mirror.store.lock import root_lock
with root_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with root_lock(tmp_path), pytest.raises(Locked, match=rf"pid {os.getpid()}.*--wait"), root_lock(tmp_path):
        pass


def test_the_lock_is_free_again_after_the_run(tmp_path: Path) -> None:
    for _ in range(2):
        with root_lock(tmp_path / "made"):
            pass


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=f"pid {holder.pid}"), root_lock(tmp_path):
            pass
        holder.kill()
    with root_lock(tmp_path):
        pass


async def test_waiting_ends_when_the_lock_is_free(tmp_path: Path) -> None:
    order = []

    async def second() -> None:
        with await hold_lock(tmp_path, wait=True):
            order.append("second")

    with root_lock(tmp_path):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)  # it has found the lock taken
        order.append("first")
    await waiting
    assert order == ["first", "second"]


def test_looking_whether_it_is_locked_turns_nobody_away(tmp_path: Path) -> None:
    """`status` may look at any moment, also at the very one in which a sync begins."""
    with root_lock(tmp_path):
        assert is_locked(tmp_path)
    looking = threading.Event()

    def look() -> None:
        while not looking.is_set():
            is_locked(tmp_path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(200):
            with root_lock(tmp_path):
                pass
    finally:
        looking.set()
        thread.join()
    assert not is_locked(tmp_path)


def test_a_pipe_in_the_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".staging").mkdir()
    os.mkfifo(tmp_path / ".staging" / "lock")
    assert not is_locked(tmp_path)


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal"])
def test_a_pipe_in_the_place_of_the_index_is_refused(name: str, tmp_path: Path) -> None:
    """By who reads, by who writes, and by who writes beside a run: each would wait for ever."""
    os.mkfifo(tmp_path / name)
    words = f"{name} is a pipe, a socket or a device, .*; move it away"
    with pytest.raises(IndexUnusable, match=words):
        Reader(tmp_path)
    with pytest.raises(IndexUnusable, match=words):
        Index(tmp_path)
    with pytest.raises(IndexUnusable, match=words), writing_beside(tmp_path):
        pass


def test_a_root_that_cannot_be_written_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GuardRefused, match="file/root"), root_lock(tmp_path / "file" / "root"):
        pass


# -- several programs


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(simple_catalogue(2, 3, 2)).in_thread() as fake:
        yield fake


def test_syncs_of_disjoint_subscriptions_queue(upstream: FakeUpstream, tmp_path: Path) -> None:
    """With --wait both end complete, one after the other; without it, exit code 3; who only asks needs no lock."""
    write_config(tmp_path, upstream.url, 'a]\nresources = ["BDALPHA"]', 'b]\nresources = ["BDBRAVO"]')
    came, go_on = threading.Event(), threading.Event()

    async def held_up(exchange: Exchange) -> web.StreamResponse:
        came.set()
        await asyncio.to_thread(go_on.wait)
        return await exchange.send(exchange.answer())

    upstream.script("download", [held_up])
    with start("sync", "a", "--wait", cwd=tmp_path) as first:
        assert came.wait(60)
        with start("sync", "b", "--wait", cwd=tmp_path) as second, start("sync", "a", "b", "--wait", cwd=tmp_path) as third:
            turned_away = run("sync", "b", cwd=tmp_path)
            assert (turned_away.code, f"pid {first.pid}" in turned_away.err) == (3, True)
            assert run("verify", "--repair", cwd=tmp_path).code == 3
            for reading in ("query", "status", "verify"):
                assert run(reading, cwd=tmp_path).code == 0
            assert second.poll() is None
            go_on.set()
            assert [process.wait(60) for process in (first, second, third)] == [0, 0, 0]
            for process in (first, second, third):
                process.communicate()
    assert tree_of(tmp_path / "mirror" / "data" / "gpf") == offered(upstream.catalogue)
    outcome = run("verify", "--full", "--json", cwd=tmp_path)
    assert (outcome.code, outcome.json["files"], outcome.json["foreign"]) == (0, 12, [])


def test_the_file_of_the_lock_stays(tmp_path: Path) -> None:
    """A lock on a file that is gone locks nothing, and two runs would each have one."""
    with root_lock(tmp_path):
        first = (tmp_path / ".staging" / "lock").stat().st_ino
    with root_lock(tmp_path):
        assert (tmp_path / ".staging" / "lock").stat().st_ino == first


# -- an index that another program has locked


@contextmanager
def another_program(root: Path, mode: str) -> Iterator[None]:
    """Another process, with a transaction open in the index."""
    script = f"import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('BEGIN {mode}'); print(); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(root / FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield
        process.communicate()


@pytest.mark.parametrize("mode", ["IMMEDIATE", "EXCLUSIVE"])
async def test_an_index_that_is_locked_by_another_program_is_told_so(upstream: FakeUpstream, tmp_path: Path, mode: str) -> None:
    """Exit code 3 and nothing is changed; what only reads is not kept waiting; afterwards all goes on."""
    mirror = Mirrored(tmp_path / "root", upstream)
    await mirror.sync()
    before, upstream.catalogue = mirror.tree(), simple_catalogue(3, 3, 2)
    with another_program(mirror.root, mode):
        with pytest.raises(Locked, match=r"index\.sqlite is locked by another program") as refused:
            await mirror.sync()
        assert (refused.value.exit_code, len(str(refused.value).splitlines())) == (3, 1)
        assert upstream.requests == []
        assert len(list(Reader(mirror.root).files(Filters()))) == 12
        assert (await mirror.plan())[0].planned["add"] == 6
    assert mirror.tree() == before
    assert not (mirror.root / ".staging" / "quarantine").exists()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(upstream.catalogue)


async def test_an_index_that_is_locked_in_the_middle_ends_the_run(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Exit code 1, with the cause; what had come is here, and is not fetched again."""
    mirror = Mirrored(tmp_path / "root", upstream)
    with closing(sqlite3.connect(tmp_path / "none", check_same_thread=False)) as other:

        async def lock(exchange: Exchange) -> web.StreamResponse:
            other.execute("ATTACH ? AS mirror", (str(mirror.root / FILE),))
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE mirror.runs SET outcome = NULL")
            return await exchange.send(exchange.answer())

        upstream.script("download", [lock])
        report = await mirror.sync()
        assert (report.exit_code, len(report.reason.splitlines())) == (1, 1)
        assert "another program" in report.reason
        other.rollback()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.requests()["download"] < 12
    assert mirror.tree() == offered(upstream.catalogue)
