"""The process that reads archives: it takes a job as JSON from stdin and writes what came of it, as JSON, to stdout.

A crash here, a dictionary that claims all memory, a decoder that never ends: none of them reaches the process that syncs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple
from typing import Any

from mirror.archives.fence import fence
from mirror.archives.limits import MEMBER, MEMORY, Patience, confine, die_with


def main() -> None:
    """Do one job; the first argument is the id of the process that asks for it."""
    die_with(int(sys.argv[1]))
    confine()
    patience = Patience()
    job = json.loads(sys.stdin.buffer.read())
    fence(job.get("into"), links=len(job["paths"]) > 1)
    # Standard output is for the answer; a library that prints must not end up in it.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    said = json.dumps(answer(job, patience.told, patience.rest)).encode()
    with os.fdopen(answer_to, "wb") as out:
        out.write(said)


def answer(job: dict[str, Any], told: Callable[[int], None], rest: Callable[[], None]) -> dict[str, Any]:
    """What came of a job; `told` is called with progress in bytes, `rest` before what can take long without any."""
    from mirror.errors import ArchiveError, ArchiveRefused

    try:
        return _do(job, told, rest)
    except ArchiveError as error:
        return {"error": str(error), "refused": isinstance(error, ArchiveRefused)}
    except MemoryError:
        pass  # answered below, where what took the memory has been let go
    except OSError as error:
        if error.errno is not None:
            return {"errno": error.errno, "reason": error.strerror, "file": error.filename}
        return {"error": _broken(error)}  # gzip and bz2 say so of broken data
    except Exception as error:
        return {"error": _broken(error)}
    return {"error": f"reading it takes more than {MEMORY >> 20} MiB of memory, which is the limit", "refused": True}


def _do(job: dict[str, Any], told: Callable[[int], None], rest: Callable[[], None]) -> dict[str, Any]:
    from mirror.archives.checks import Gate
    from mirror.archives.model import Bounds
    from mirror.archives.opening import open_archive
    from mirror.archives.sink import Sink, Target

    bounds = Bounds(**job["bounds"])
    paths = job["paths"]
    source, packed = open_archive(paths, bounds, told, job["engine"])
    gate = Gate(bounds, packed, names=job["task"] != "test")
    if job["task"] == "probe":
        members = []
        for member in source.members(gate):
            told(MEMBER)
            members.append(astuple(member))
        return {"members": members}
    with closing(Sink(told) if job["task"] == "test" else Target(job["into"], told)) as sink:
        source.unpack(gate, sink)
        rest()
        sink.finish()
    return {"files": gate.files, "bytes": gate.bytes}


def _broken(error: Exception) -> str:
    """One line from whatever a library raised at broken input."""
    said = " ".join(str(error).split())
    said = "".join(letter if letter.isprintable() else "?" for letter in said)[:200]
    return f"it is broken, or not what its name says ({type(error).__name__}{f': {said}' if said else ''})"
