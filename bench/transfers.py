"""Bytes: one large file, several at once, and many small ones, as whole commands against curl, aria2 and the MD5 of one core."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from bench.contest import Contender, Timed, contest, cpu_seconds, peak, ratio, seconds
from bench.figures import Figure, at_least, at_most
from bench.ground import MIB, Ground
from bench.index import seconds_per_commit
from bench.ours import Ours
from bench.upstream import Upstream, running
from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub

_RESOURCE, _SUB = "PAYLOAD", "PAYLOAD_D038_2026-01-01"
_ARIA = ("aria2c", "--no-conf", "--quiet", "--max-connection-per-server=1", "--split=1")
_ALLOCATIONS = ("none", "falloc")
"""How aria2 makes room for a file. Growing files (none) cost it up to twice the time on ext4, so the goals hold against both."""


def one_file(ground: Ground, scheme: str = "http") -> Iterator[Figure]:
    """One large file over HTTP, or over TLS."""
    size, room = ground.sizes.one_file, ground.room("one-file")
    catalogue = _payload(1, size, ".7z")
    (file,) = catalogue.resources[0].subs[0].files
    with running(room / "upstream") as upstream:
        upstream.publish(catalogue)
        ours = Ours(room / "ours", upstream.url(scheme), ca_file=upstream.certificate if scheme == "https" else None)
        url, theirs = upstream.file(_RESOURCE, _SUB, file.name, scheme), room / "theirs"
        clear = partial(_empty, theirs)
        download = f"curl --cacert '{upstream.certificate}' -sS -o '{theirs}/file' '{url}' && md5sum '{theirs}/file'"
        aria = [*_ARIA, f"--ca-certificate={upstream.certificate}", f"--checksum=md5={file.stated_md5}", f"--dir={theirs}", url]
        contenders = {
            "ours": ours.sync(1),
            "curl": Contender(["sh", "-c", download], clear),
            **_arias(aria, theirs),
        }
        results = contest(contenders, ground.sizes.rounds, room)
    mine = results["ours"]
    what = f"one file of {size / MIB:,.0f} MiB over {'TLS' if scheme == 'https' else 'HTTP'}"
    yield _against(f"{what} / curl && md5sum", results, "curl", 1.0)
    yield from _against_arias(f"{what} / aria2c --checksum=md5", results, 0.7)
    if scheme == "http":
        limit = md5_limit(ground.sizes.rounds)
        rate = size / seconds(mine)
        note = f"{rate / 1e6:,.0f} of {limit / 1e6:,.0f} MB/s"
        yield Figure(f"{what}, of the MD5 limit of one core", 100 * rate / limit, "%", at_least(60), note)
    yield Figure(f"peak memory, {what}", peak(mine) / MIB, "MiB", at_most(150))
    shutil.rmtree(room)


def one_file_tls(ground: Ground) -> Iterator[Figure]:
    """One large file over TLS."""
    yield from one_file(ground, "https")


def large_files(ground: Ground) -> Iterator[Figure]:
    """Several large files, four at once."""
    room, count, size = ground.room("large-files"), ground.sizes.large_files, ground.sizes.large_file
    with running(room / "upstream") as upstream:
        contenders = _against_aria(room, upstream, _payload(count, size, ".7z"), at_once=4)
        results = contest(contenders, ground.sizes.rounds, room)
    yield from _against_arias(f"{count} x {size / MIB:,.0f} MiB, 4 at once / aria2c -j4", results, 0.7)
    yield Figure(f"peak memory, {count} x {size / MIB:,.0f} MiB", peak(results["ours"]) / MIB, "MiB", at_most(150))
    shutil.rmtree(room)


def small_files(ground: Ground) -> Iterator[Figure]:
    """Many small files of one sub-resource, and the share that committing each by itself would have."""
    room, count, size = ground.room("small-files"), ground.sizes.small_files, ground.sizes.small_file
    with running(room / "upstream") as upstream:
        contenders = _against_aria(room, upstream, _payload(count, size, ".tif"), at_once=16)
        results = contest(contenders, ground.sizes.rounds, room)
    yield from _against_arias(f"{count:,} x {size // 1024} KiB, 16 at once / aria2c -j16", results, 1.2)
    wall = seconds(results["ours"])
    commit = median(seconds_per_commit(ground.room("commits"), count) for _ in range(ground.sizes.rounds))
    share = 100 * commit * count / wall
    yield Figure("a commit per file, of that wall time", share, "%", at_most(1), f"{commit * 1e6:.0f} µs each, {wall:.2f} s in all")
    shutil.rmtree(room)


def md5_limit(rounds: int) -> float:
    """Bytes per second that one core can hash with MD5, by OpenSSL's own account."""
    command = ["openssl", "speed", "-mr", "-seconds", "1", "-bytes", str(MIB), "-evp", "md5"]
    rates = []
    for _ in range(rounds):
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        found = re.search(r"^\+F:\d+:\w+:([\d.]+)$", ended.stdout, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"openssl speed says something else than it used to: {ended.stdout!r}")
        rates.append(float(found[1]))
    return median(rates)


def _payload(count: int, size: int, suffix: str) -> Catalogue:
    files = tuple(SampleFile(f"{_SUB}-{n:04d}{suffix}", Pattern(size, f"payload {n}")) for n in range(count))
    return Catalogue((SampleResource(_RESOURCE, (SampleSub(_SUB, files=files),)),))


def _against_aria(room: Path, upstream: Upstream, catalogue: Catalogue, *, at_once: int) -> dict[str, Contender]:
    upstream.publish(catalogue)
    files = catalogue.resources[0].subs[0].files
    ours, theirs, orders = Ours(room / "ours", upstream.url(), downloads=at_once), room / "theirs", room / "orders.txt"
    lines = [f"{upstream.file(_RESOURCE, _SUB, f.name)}\n  out={f.name}\n  checksum=md5={f.stated_md5}\n" for f in files]
    orders.write_text("".join(lines))
    aria = [*_ARIA, f"--max-concurrent-downloads={at_once}", f"--dir={theirs}", f"--input-file={orders}"]
    return {"ours": ours.sync(len(files)), **_arias(aria, theirs)}


def _arias(command: list[str], folder: Path) -> dict[str, Contender]:
    clear = partial(_empty, folder)
    return {f"aria2c {how}": Contender([*command, f"--file-allocation={how}"], clear) for how in _ALLOCATIONS}


def _against_arias(what: str, results: dict[str, list[Timed]], bound: float) -> Iterator[Figure]:
    for how in _ALLOCATIONS:
        yield _against(f"{what} --file-allocation={how}", results, f"aria2c {how}", bound)


def _against(what: str, results: dict[str, list[Timed]], peer: str, bound: float) -> Figure:
    mine, others = results["ours"], results[peer]
    note = f"{_cost(mine)} / {_cost(others)}"
    return Figure(what, ratio(mine, others), "", at_most(bound), note)


def _cost(results: list[Timed]) -> str:
    return f"{seconds(results):.2f} s ({cpu_seconds(results):.1f} s of CPU)"


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
