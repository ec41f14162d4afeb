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
from mirror.errors import ArchiveError

_ENVIRONMENT: Final = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHOME")
"""What it gets of ours: no key that an upstream is reached with is among it."""
_LONGEST_ANSWER: Final = 1 << 28  # bytes; the longest that its limits let it give is half of that
_LARGE_ANSWER: Final = 1 << 18  # bytes beyond which reading it is for a thread

_PACKAGES: Final = str(Path(__file__).parents[2])
_ENDED_BY: Final[dict[int, str]] = {
    signal.SIGXCPU: "reading it goes on without end",
    signal.SIGALRM: "reading it came to a standstill",
    signal.SIGKILL: "what read it was killed, perhaps for want of memory",
}


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
    status, said = await _run(json.dumps(job).encode())
    if status != 0:
        raise ArchiveError(_ENDED_BY.get(-status, f"reading it crashed what read it ({_name(status)})"))
    if len(said) > _LARGE_ANSWER:
        answer = await asyncio.to_thread(_read, said)
    else:
        answer = _read(said)
    if "errno" in answer:
        raise OSError(answer["errno"], answer["reason"], answer["file"])
    if "error" in answer:
        raise ArchiveError(answer["error"])
    return answer


async def _run(job: bytes) -> tuple[int, bytes]:
    """Exit status (negative: the signal that ended it) and standard output."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "mirror.archives.worker", str(os.getpid())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": _PACKAGES, "LC_ALL": "C.UTF-8"},
        start_new_session=True,  # ^C is for us, who end it; and one signal reaches what it starts, too
    )
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


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _read(said: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said)
    if "members" in answer:
        answer["members"] = tuple(Member(*member) for member in answer["members"])
    return answer


def _name(status: int) -> str:
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"exit status {status}"


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
