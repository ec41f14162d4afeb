"""The process that reads archives: bounded, ended with whoever started it, and never a reason for more than one clear error."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from mirror import archives
from mirror.archives import ArchiveError, Bounds

from .command import environment
from .engines import ENGINES, needs_7zz
from .hostile import Item, lzma2, seven_zip, zipped
from .mounts import PAGE, disk, may_mount, need_mounts, run_in_own_mounts
from .test_archives import put

BOUNDS = Bounds(max_ratio=1e9, max_members=1000, max_bytes=None)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that takes long enough to be met at work: more bytes than all that a pipe and its reader hold."""
    (path,) = put(tmp_path_factory.mktemp("large"), "x.7z", seven_zip([Item("zeros", bytes(64 << 20))], coder=lzma2(24)))
    return path


def children(process: int) -> list[int]:
    """Processes that it has started."""
    with suppress(OSError):
        return [int(child) for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()]
    return []


def command_of(process: int) -> str:
    with suppress(OSError):
        return of_process(process, "cmdline")
    return ""


def of_process(process: int, what: str) -> str:
    """What the kernel tells of it."""
    return Path(f"/proc/{process}/{what}").read_text()


def worker_of(process: int) -> int | None:
    """The process that reads archives for another one, once it is that."""
    return next((child for child in children(process) if "mirror.archives.worker" in command_of(child)), None)


async def until(found: Callable[[], int | None]) -> int:
    """What is found, as soon as it is."""
    while (it := found()) is None:  # noqa: ASYNC110 - other processes set no event; this gives way and looks again, it does not wait
        await asyncio.sleep(0)
    return it


class Watched:
    """A process by a handle that is never another one's."""

    def __init__(self, process: int) -> None:
        self.process = process
        self._handle = os.pidfd_open(process)

    def send(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._handle, number)

    def wait(self) -> None:
        """Until it has ended."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        assert poll.poll(60_000), f"{self.process} goes on"
        os.close(self._handle)


@asynccontextmanager
async def at_work(path: Path, into: Path, engine: str) -> AsyncIterator[tuple[asyncio.Task[object], list[Watched]]]:
    """Unpacking, stopped in the middle; with the processes that do it."""
    task: asyncio.Task[object] = asyncio.create_task(archives.unpack([path], into, BOUNDS, engine=engine))
    worker = Watched(await until(lambda: worker_of(os.getpid())))
    await until(lambda: 1 if (into / "zeros").exists() else None)
    worker.send(signal.SIGSTOP)
    processes = [worker, *(Watched(child) for child in children(worker.process))]
    assert len(processes) == (2 if engine == "7zz" else 1)
    try:
        yield task, processes
    finally:
        for process in processes:
            await asyncio.to_thread(process.wait)


# -- ended


@pytest.mark.parametrize("engine", ENGINES)
async def test_cancelling_ends_it_and_what_it_started_and_removes_what_it_made(tmp_path: Path, large: Path, engine: str) -> None:
    into = tmp_path / "out"
    async with at_work(large, into, engine) as (task, _):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not into.exists()


async def test_cancelling_again_and_again_does_not_stop_the_removal(tmp_path: Path, large: Path) -> None:
    into = tmp_path / "out"
    async with at_work(large, into, "py7zr") as (task, _):
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert not into.exists()


async def test_cancelling_before_it_has_begun_leaves_nothing(tmp_path: Path, large: Path) -> None:
    for steps in range(4):
        into = tmp_path / f"out{steps}"
        task = asyncio.create_task(archives.unpack([large], into, BOUNDS))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not into.exists()


_UNPACK = """
import asyncio, sys
from pathlib import Path
from mirror import archives
bounds = archives.Bounds(1e9, 1000, None)
asyncio.run(archives.unpack([Path(sys.argv[1])], Path(sys.argv[2]), bounds, engine=sys.argv[3]))
"""


def started(archive: Path, into: Path, engine: str) -> subprocess.Popen[bytes]:
    """A process that unpacks, to be killed."""
    return subprocess.Popen([sys.executable, "-c", _UNPACK, archive, into, engine], env=environment())


@pytest.mark.parametrize("engine", ENGINES)
async def test_kill_minus_nine_of_whoever_started_it_ends_it_too(tmp_path: Path, large: Path, engine: str) -> None:
    into = tmp_path / "out"
    with started(large, into, engine) as starter:
        worker = Watched(await until(lambda: worker_of(starter.pid)))
        await until(lambda: 1 if (into / "zeros").exists() else None)
        worker.send(signal.SIGSTOP)
        processes = [worker, *(Watched(child) for child in children(worker.process))]
        assert len(processes) == (2 if engine == "7zz" else 1)
        starter.kill()
    for process in processes:
        await asyncio.to_thread(process.wait)


async def test_kill_minus_nine_before_it_could_arrange_for_that_ends_it_too(tmp_path: Path, large: Path) -> None:
    with started(large, tmp_path / "out", "py7zr") as starter:
        worker = Watched(await until(lambda: next(iter(children(starter.pid)), None)))
        worker.send(signal.SIGSTOP)
        starter.kill()
    worker.send(signal.SIGCONT)
    await asyncio.to_thread(worker.wait)


# -- crashes


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "was killed, perhaps for want of memory"),
        (signal.SIGSEGV, "crashed what read it: SIGSEGV"),
        (signal.SIGXCPU, "without end"),
        (signal.SIGALRM, "standstill"),
    ],
)
async def test_however_it_ends_is_one_clear_error(tmp_path: Path, large: Path, number: signal.Signals, reason: str) -> None:
    into = tmp_path / "out"
    async with at_work(large, into, "py7zr") as (task, (worker,)):
        worker.send(number)
        worker.send(signal.SIGCONT)
        with pytest.raises(ArchiveError, match=reason):
            await task
        assert not into.exists()


@needs_7zz
async def test_a_crash_of_7zip_is_one_clear_error(tmp_path: Path, large: Path) -> None:
    async with at_work(large, tmp_path / "out", "7zz") as (task, (worker, decoder)):
        decoder.send(signal.SIGSEGV)
        worker.send(signal.SIGCONT)
        with pytest.raises(ArchiveError, match="7-Zip cannot unpack it: it was ended by SIGSEGV"):
            await task
        assert not (tmp_path / "out").exists()


async def test_what_cannot_start_says_why(tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a library is missing."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "-packages" not in path])
    with pytest.raises(ArchiveError, match="py7zr"):
        await archives.probe([large], BOUNDS)


# -- limits


async def test_it_has_a_limit_of_memory_dumps_no_core_and_knows_no_secrets(
    tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPIRE_MIRROR_UPSTREAM__GPF__API_KEY", "s3cret")
    async with at_work(large, tmp_path / "out", "py7zr") as (task, (worker,)):
        limits = of_process(worker.process, "limits")
        assert re.search(rf"Max address space +{2 << 30} +{2 << 30}", limits)
        assert re.search(r"Max core file size +0 +0", limits)
        assert "s3cret" in str(os.environ)
        assert "s3cret" not in of_process(worker.process, "environ")
        worker.send(signal.SIGCONT)
        await task


async def test_a_dictionary_of_four_gibibytes_is_more_than_it_may_have(tmp_path: Path) -> None:
    """A header of some bytes can ask for it."""
    paths = put(tmp_path, "x.7z", seven_zip([Item("x", os.urandom(100_000))], coder=lzma2(40)))
    with pytest.raises(ArchiveError, match="more than 2048 MiB of memory"):
        await archives.unpack(paths, tmp_path / "out", BOUNDS, engine="py7zr")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_dictionary_of_a_gibibyte_is_not(tmp_path: Path, engine: str) -> None:
    paths = put(tmp_path, "x.7z", seven_zip([Item("x", os.urandom(100_000))], coder=lzma2(36)))
    await archives.test(paths, BOUNDS, engine=engine)


_ENDLESS = """
import json, signal, sys
from mirror.archives.limits import Patience, confine
confine()
patience = Patience(cpu={cpu}, wall={wall})
{body}
"""


@pytest.mark.parametrize(
    ("cpu", "wall", "body", "ended"),
    [
        (1, 900, "while True: pass", signal.SIGXCPU),
        (1, 900, "while True: patience.told(0)", signal.SIGXCPU),
        (60, 0.1, "signal.pause()", signal.SIGALRM),
        (60, 0.1, "signal.signal(signal.SIGALRM, signal.SIG_DFL)\nsys.stdin.read()", signal.SIGALRM),
    ],
)
def test_what_makes_no_progress_is_ended_by_the_kernel(cpu: int, wall: float, body: str, ended: signal.Signals) -> None:
    """Whether it computes or waits."""
    code = _ENDLESS.format(cpu=cpu, wall=wall, body=body)
    with subprocess.Popen([sys.executable, "-c", code], env=environment(), stdin=subprocess.PIPE) as process:
        assert process.wait() == -ended


def test_what_makes_progress_goes_on() -> None:
    """Three seconds of work with two of patience."""
    body = "import time\nwhile time.process_time() < 3: patience.told(1 << 20)"
    code = _ENDLESS.format(cpu=2, wall=900, body=body)
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0


_FENCED = """
import os, socket, sys
from mirror.archives.fence import fence
into, outside, listener = sys.argv[1:]
print(fence(into, links=False))
os.mkdir(f"{into}/folder")
with open(f"{into}/folder/file", "wb") as file:
    file.write(b"inside")
for attempt in (
    lambda: open(f"{outside}/new", "wb"),
    lambda: open(f"{outside}/old", "r+b"),
    lambda: os.truncate(f"{outside}/old", 0),
    lambda: os.unlink(f"{outside}/old"),
    lambda: os.rename(f"{outside}/old", f"{into}/taken"),
    lambda: os.rename(f"{into}/folder/file", f"{outside}/given"),
    lambda: os.mkdir(f"{outside}/folder"),
    lambda: os.symlink(outside, f"{into}/link"),
    lambda: os.mkfifo(f"{into}/pipe"),
    lambda: os.unlink(f"{into}/folder/file"),
    lambda: socket.create_connection(("127.0.0.1", int(listener))),
    lambda: os.kill(os.getppid(), 0),
):
    try:
        attempt()
    except OSError as error:
        print(error.errno)
    else:
        print("done")
"""


def test_behind_the_fence_nothing_can_be_changed_but_the_folder_that_is_unpacked_into(tmp_path: Path) -> None:
    """Whatever code runs there: a decoder in C may be taken over. Kernels before 6.12 know less of it, before 5.13 nothing."""
    into, outside = tmp_path / "into", tmp_path / "outside"
    for folder in (into, outside):
        folder.mkdir()
    (outside / "old").write_bytes(b"mine")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", _FENCED, into, outside, port], env=environment(), capture_output=True, text=True, check=True
        )
    fenced, *attempts = done.stdout.split()
    if fenced == "False":
        pytest.skip("this kernel has no Landlock")
    refused = {str(errno.EACCES), str(errno.EPERM), str(errno.EXDEV)}
    assert set(attempts[:2] + attempts[3:10]) <= refused
    assert [path.name for path in outside.iterdir()] == ["old"]
    release = tuple(map(int, platform.release().split(".")[:2]))
    if release >= (6, 2):
        assert attempts[2] in refused
        assert (outside / "old").read_bytes() == b"mine"
    if release >= (6, 12):
        assert set(attempts) <= refused


# -- a full disk


def test_in_mounts_of_its_own() -> None:
    run_in_own_mounts(__file__)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_full_disk_is_said_as_that_and_not_as_a_broken_archive(tmp_path: Path, large: Path, engine: str) -> None:
    need_mounts()
    assert may_mount()
    with disk(tmp_path / "small", 1000 * PAGE) as small:
        with pytest.raises(OSError, match="No space left") as raised:
            await archives.unpack([large], small.place / "out", BOUNDS, engine=engine)
        assert raised.value.errno == errno.ENOSPC
        assert list(small.place.iterdir()) == []


async def test_a_disk_without_inodes_is_a_full_one(tmp_path: Path) -> None:
    need_mounts()
    with disk(tmp_path / "small", 1000 * PAGE, inodes=20) as small:
        paths = put(tmp_path, "x.zip", zipped([Item(f"{number}/x", b"1") for number in range(30)]))
        with pytest.raises(OSError, match="No space left") as raised:
            await archives.unpack(paths, small.place / "out", BOUNDS)
        assert raised.value.errno == errno.ENOSPC
        assert list(small.place.iterdir()) == []
