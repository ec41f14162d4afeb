"""The runner: all targets on all cores, within limits of time and memory, with figures at the end."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from ctypes import c_longlong
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import SynchronizedArray
from multiprocessing.synchronize import Event
from typing import Any

from . import TARGETS, Target, source

_LONGEST = 10.0  # seconds for one input, which takes a thousandth of one
_MEMORY = 1 << 30  # bytes of address space for a process, its libraries included
_MOST_FAILURES = 5  # of one process, until it stops


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, and say how much of it was done; 1 where a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many in all")
    parser.add_argument("--seed", type=int, default=None, help="by default a new one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--target", choices=[target.name for target in TARGETS])
    parser.add_argument("--input", type=int, help="one input only, by its number")
    chosen = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    targets = [target for target in TARGETS if chosen.target in (None, target.name)]
    if chosen.input is not None:
        case = targets[0].make(source(seed, targets[0].name, chosen.input))
        print(repr(case)[:4000])
        targets[0].check(case)
        return 0
    print(f"seed {seed}, {chosen.jobs} processes")
    shares = sum(target.share for target in targets)
    counts = [-(-chosen.inputs * target.share // shares) for target in targets]
    with tempfile.TemporaryDirectory(prefix="inspire-mirror-fuzz-", dir=_memory_disk()) as folder:
        failures = _run(targets, counts, seed, chosen.jobs, folder)
    return int(failures > 0)


def _memory_disk() -> str | None:
    """Where small files cost nothing, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of its own is made in it


def _run(targets: Sequence[Target], counts: Sequence[int], seed: int, jobs: int, folder: str) -> int:
    context = multiprocessing.get_context("fork")
    # Of each process: which target and input it is at, crashes; then, for each target, inputs done and microseconds spent.
    boards = [context.Array(c_longlong, 3 + 2 * len(targets)) for _ in range(jobs)]
    failed = [context.Event() for _ in range(jobs)]

    def started(job: int, at: tuple[int, int]) -> BaseProcess:
        process = context.Process(target=_work, args=(targets, counts, seed, at, jobs, boards[job], failed[job], folder))
        process.start()
        return process

    began = time.monotonic()
    running = {job: started(job, (0, job)) for job in range(jobs)}
    failures = 0
    while running:
        wait([process.sentinel for process in running.values()])
        for job, process in [(job, process) for job, process in running.items() if not process.is_alive()]:
            del running[job]
            process.join()
            if not process.exitcode:
                continue
            place, number = boards[job][0], boards[job][1]
            target = targets[place]
            if target.contained and process.exitcode != -signal.SIGALRM:
                boards[job][2] += 1
            else:
                failures += 1
                what = (
                    f"took over {_LONGEST:g} s"
                    if process.exitcode == -signal.SIGALRM
                    else f"ended its process ({process.exitcode})"
                )
                print(f"FAILED: {what}: python -m tests.fuzz --seed {seed} --target {target.name} --input {number}")
            running[job] = started(job, (place, number + jobs))
    failures += sum(event.is_set() for event in failed)
    seconds = time.monotonic() - began
    print(f"{'target':<20} {'inputs':>9} {'per second and core':>20}")
    for number, target in enumerate(targets):
        done = sum(board[3 + 2 * number] for board in boards)
        spent = sum(board[4 + 2 * number] for board in boards) / 1e6
        print(f"{target.name:<20} {done:>9,} {done / max(spent, 1e-6):>20,.0f}")
    total = sum(board[3 + 2 * number] for board in boards for number in range(len(targets)))
    crashes = sum(board[2] for board in boards)
    print(
        f"{'all':<20} {total:>9,} in {seconds:.0f} s: {total / seconds:,.0f} per second; {failures} failures, "
        f"{crashes} crashes of decoders that run in processes of their own"
    )
    return failures


def _work(
    targets: Sequence[Target],
    counts: Sequence[int],
    seed: int,
    at: tuple[int, int],
    step: int,
    board: SynchronizedArray[Any],
    failed: Event,
    folder: str,
) -> None:
    tempfile.tempdir = tempfile.mkdtemp(dir=folder)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, also within a regular expression or a parser
    found = 0
    for place, (target, count) in list(enumerate(zip(targets, counts, strict=True)))[at[0] :]:
        began = time.monotonic()
        for number in range(at[1] if place == at[0] else at[1] % step, count, step):
            board[0], board[1] = place, number
            signal.setitimer(signal.ITIMER_REAL, _LONGEST)
            try:
                target.check(target.make(source(seed, target.name, number)))
            except Exception:
                failed.set()
                found += 1
                command = f"python -m tests.fuzz --seed {seed} --target {target.name} --input {number}"
                print(f"FAILED: {command}\n{traceback.format_exc(limit=-4)[-2000:]}", flush=True)
                if found >= _MOST_FAILURES:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    return
            board[3 + 2 * place] += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        board[4 + 2 * place] += int((time.monotonic() - began) * 1e6)
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
