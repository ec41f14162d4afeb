"""The near side of the process that reads archives: starts it, hears it out, and leaves nothing of it behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast

from mirror.archives.model import Bounds, Member, Unpacked
from mirror.errors import ArchiveError, ArchiveRefused, ArchiveUnread

_ENVIRONMENT: Final = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")
"""What it gets of ours: no key that an upstream is reached with is among it."""
_START: Final = "import sys; sys.path[:] = sys.argv[2:]; from mirror.archives.worker import main; main()"
_LONGEST_ANSWER: Final = 1 << 28  # bytes; the longest that its limits let it give is half of that
_LARGE_ANSWER: Final = 1 << 18  # bytes beyond which reading it is for a thread

_PACKAGES: Final = str(Path(__file__).parents[2])
_ENDED_BY: Final[dict[int, str]] = {
    signal.SIGXCPU: "reading it goes on without end",
    signal.SIGALRM: "reading it came to a standstill",
    signal.SIGKILL: "what read it was killed, perhaps for want of memory",
}
_FROM_OUTSIDE: Final = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


async def probe(paths: Sequence[Path], bounds: Bounds) -> tuple[Member, ...]:
    """See `mirror.archives.probe`."""
    answer = await _ask({"task": "probe"}, paths, bounds)
    return answer["members"]  # type: ignore[no-any-return]


async def test(paths: Sequence[Path], bounds: Bounds, engine: str | None) -> None:
    """See `mirror.archives.test`."""
    await _ask({"task": "test", "engine": engine}, paths, bounds)


async def unpack(paths: Sequence[Path], into: Path, bounds: Bounds, engine: str | None) -> Unpacked:
    """See `mirror.archives.unpack`."""
    os.mkdir(into, 0o755)  # must be ours: what is left of it is removed below
    try:
        answer = await _ask({"task": "unpack", "into": _absolute(into), "engine": engine}, paths, bounds)
    except BaseException:
        await _to_its_end(asyncio.to_thread(shutil.rmtree, into, ignore_errors=True))
        raise
    return Unpacked(answer["files"], answer["bytes"])


async def _ask(job: dict[str, Any], paths: Sequence[Path], bounds: Bounds) -> dict[str, Any]:
    job = {"engine": None, "paths": [_absolute(path) for path in paths], "bounds": asdict(bounds), **job}
    complaints = os.memfd_create("archive")
    try:
        status, said = await _run(json.dumps(job).encode(), complaints)
        if -status in _FROM_OUTSIDE:
            raise ArchiveUnread(_ENDED_BY[signal.SIGKILL])
        if status != 0:
            raise ArchiveError(_ENDED_BY.get(-status) or f"reading it crashed what read it: {_last_words(status, complaints)}")
    finally:
        os.close(complaints)
    if len(said) > _LARGE_ANSWER:
        answer = await asyncio.to_thread(_read, said)
    else:
        answer = _read(said)
    if "errno" in answer:
        raise OSError(answer["errno"], answer["reason"], answer["file"])
    if "error" in answer:
        raise (ArchiveRefused if answer.get("refused") else ArchiveError)(answer["error"])
    return answer


AT_WORK: set[int] = set()
"""The processes that read archives at this moment."""


async def _run(job: bytes, complaints: int) -> tuple[int, bytes]:
    """Exit status (negative: the signal that ended it) and standard output."""
    # The same modules as here, and at once: -S leaves out the search for them, -I whatever the environment says of it.
    folders = [_PACKAGES, *(_absolute(Path(folder)) for folder in sys.path if folder and folder != _PACKAGES)]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _START, str(os.getpid()), *folders),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=complaints,
        env={**environment, "LC_ALL": "C.UTF-8"},
        start_new_session=True,  # ^C is for us, who end it; and one signal reaches what it starts, too
    )
    AT_WORK.add(process.pid)
    stdin, stdout = cast(asyncio.StreamWriter, process.stdin), cast(asyncio.StreamReader, process.stdout)
    try:
        stdin.write(job)
        stdin.close()
        said = bytearray()
        while block := await stdout.read(1 << 16):
            said += block
            if len(said) > _LONGEST_ANSWER:
                raise ArchiveError("it has more to list than any archive should")
        return await process.wait(), bytes(said)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await _to_its_end(process.communicate())
        raise
    finally:
        AT_WORK.discard(process.pid)


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _read(said: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said)
    if "members" in answer:
        answer["members"] = tuple(Member(*member) for member in answer["members"])
    return answer


def _last_words(status: int, complaints: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    size = os.lseek(complaints, 0, os.SEEK_END)
    lines = os.pread(complaints, 2000, max(0, size - 2000)).decode(errors="replace").split("\n")
    said = "".join(letter if letter.isprintable() else "?" for letter in next(filter(None, map(str.strip, reversed(lines))), ""))
    return f"exit status {status}{f', {said[:300]}' if said else ''}"


async def _to_its_end(work: Coroutine[Any, Any, Any]) -> None:
    """Await something that must be done, however often the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
