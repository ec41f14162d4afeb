"""One run per root."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mirror.errors import GuardRefused, Locked
from mirror.store.lock import is_locked, root_lock
from mirror.sync import hold_lock

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


def test_a_root_that_cannot_be_written_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GuardRefused, match="file/root"), root_lock(tmp_path / "file" / "root"):
        pass
