"""What a publisher, the network and an operator do to a mirror, as rules of a state machine.

Publications of all kinds, faults, time that passes, configs that change. What the mirror makes of them, `test_promises` looks at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from mirror.demo.catalogue import Catalogue, SampleFile, SampleSub
from mirror.model import Term

from .mirrored import Clock
from .promises import Ledger
from .truth import Truth
from .upstream import FakeUpstream, Fault, Record, faults

LARGE = (1 << 20) + 4000
"""More than one batch, so that a partial file is kept on the disk."""

STEADY = "STEADY"
"""A resource that never goes: an upstream that lists nothing at all is not believed."""

# -- what there is to draw from

resources = st.sampled_from(["ALPHA", "BRAVO"])
zones = st.sampled_from(["D038", "D073"])
levels = st.sampled_from(["capabilities", "resource", "sub-resource"])
numbers = st.integers(0, 30)
"""Which of those there are: counted on from the first."""

KINDS = ("single", "pair", "volumes", "tiles", "bare", "no size", "large", "empty", "same names", "zip")
BAD = ("wrong MD5", "wrong size", "unsafe name", "twice")

_LISTING_FAULTS: dict[str, Callable[[], Fault]] = {
    "500": lambda: faults.status(500),
    "503, come back": lambda: faults.retry_after(503, 0),
    "404": lambda: faults.status(404),
    "403": lambda: faults.status(403),
    "HTML": faults.html_200,
    "empty": lambda: faults.status(200),
    "half": faults.truncated_body,
    "cut": lambda: faults.cut_after(60),
    "closed": faults.close_before_response,
}
_FILE_FAULTS: dict[str, Callable[[], Fault]] = {
    "500": lambda: faults.status(500),
    "429": lambda: faults.retry_after(429, 0),
    "404": lambda: faults.status(404),
    "403": lambda: faults.status(403),
    "HTML": faults.html_200,
    "elsewhere": lambda: faults.redirect("http://127.0.0.2:1/x"),
    "half": faults.truncated_body,
    "cut early": lambda: faults.cut_after(30),
    "cut late": lambda: faults.cut_after(1 << 20),
    "closed": faults.close_before_response,
    "wrong bytes": lambda: faults.wrong_bytes(7),
    "too long": lambda: faults.wrong_length(3),
    "too short": lambda: faults.wrong_length(-3),
    "whole": faults.ignore_range,
    "another part": faults.wrong_content_range,
    "416": faults.status_416,
    "packed": faults.gzip_body,
}

tables = st.fixed_dictionaries(
    {"resources": st.sampled_from([["*"], ["ALPHA"], ["BRAVO"]]), "edition": st.sampled_from(["all", "latest", 2])},
    optional={
        "zones": st.sampled_from([["D038"], ["D073"]]),
        "files": st.sampled_from([["*.bin*", "*.zip"], ["*.md5", "*.laz"]]),
        "publish": st.just("each"),
        "keep": st.integers(1, 2),
        "extract": st.just(True),
    },
)
configs = st.dictionaries(st.sampled_from(["one", "two"]), tables, min_size=1)


class Surroundings(RuleBasedStateMachine):
    """All that a mirror cannot help. A subclass runs the mirror under `ledger.root`."""

    def __init__(self, upstream: FakeUpstream, folder: Path) -> None:
        super().__init__()
        upstream.catalogue = Catalogue()
        upstream.heal()
        self.upstream = upstream
        self.clock = Clock(datetime(2026, 1, 1, 12, tzinfo=UTC))
        self.truth = Truth(upstream, self.clock)
        self.ledger = Ledger(folder / "root", self.truth)
        self.tables: dict[str, dict[str, Any]] = {"one": {"resources": ["*"], "edition": "all"}}
        self.troubled = False
        self._said: SimpleQueue[str] = SimpleQueue()

    def say(self, text: str) -> None:
        """What a step did, for the script of a failure; also from the thread of the upstream."""
        self._said.put(text)
        if threading.current_thread() is threading.main_thread():
            while not self._said.empty():
                note(f"    {self._said.get()}")

    # -- the publisher

    @initialize(kind=st.sampled_from(KINDS))
    def first_of_all(self, kind: str) -> None:
        self.appear("ALPHA", "D038", kind)
        self.appear("BRAVO", "D038", "tiles")
        self.appear(STEADY, "D038", "single")

    @rule(resource=resources, zone=zones, kind=st.sampled_from(KINDS))
    def publish(self, resource: str, zone: str, kind: str) -> None:
        """A new edition or, on a day that has one, that one anew."""
        self.appear(resource, zone, kind)

    def appear(self, resource: str, zone: str, kind: str, *, racing: bool = False) -> None:
        day = self.clock().date().isoformat()
        name = f"{resource}_1-0_TOUSTHEMES_GPKG_LAMB93_{zone}_{day}"
        files = self._files(name, kind)
        sub = SampleSub(name, edition_date=day, zones=(Term(zone),), formats=(Term("GPKG"),), files=files)
        sub = self.truth.publish(resource, sub, racing=racing)
        self.say(f"{sub.updated}: {sub.id}: {[file.name for file in files]}")

    def _files(self, name: str, kind: str) -> tuple[SampleFile, ...]:
        make = self.truth.file
        match kind:
            case "single":
                return (make(f"{name}.bin", 700),)
            case "volumes":
                return (*(make(f"{name}.bin.{n:03d}", 300, rel="section") for n in (1, 2, 3)), make(f"{name}.md5", 60))
            case "tiles":
                return tuple(make(f"tile-{n}.laz", 200 + n) for n in range(4))
            case "bare":
                return make(f"{name}.bin", 500, md5=None), make(f"{name}.md5", 50, md5=None)
            case "no size":
                return replace(make(f"{name}.bin", 500), size=None), make(f"{name}.md5", 50)
            case "large":
                return make(f"{name}.bin", LARGE), make(f"{name}.md5", 40)
            case "empty":
                return make(f"{name}.bin", 100), SampleFile("empty.md5", b"")
            case "zip":
                return self.truth.archive(f"{name}.zip"), make(f"{name}.md5", 30)
            case "same names":
                return make("data.bin", 400), make("readme.md5", 400)
            case _:
                return make(f"{name}.bin", 600), make(f"{name}.md5", 70)

    def _some(self, number: int) -> tuple[str, SampleSub]:
        """One of those that are offered. Where there is none any more, a new one: which rules run must not depend on races."""
        offered = [(resource, sub) for resource, sub in self.truth.offered if resource != STEADY]
        if not offered:
            self.appear("ALPHA", "D038", "pair")
            return self._some(number)
        return offered[number % len(offered)]

    @rule(number=numbers, some=st.booleans(), same_size=st.booleans(), silent=st.booleans())
    def replace_in_place(self, number: int, some: bool, same_size: bool, silent: bool) -> None:
        """The same names, other bytes, in all files or in the first. Without an MD5 and a date, nobody could tell: not done."""
        resource, sub = self._some(number)
        silent = silent and all(file.md5 is not None for file in sub.files)
        changed = sub.files[:1] if some else sub.files
        new = tuple(self.truth.again(file, None if same_size else file.body.size + 5) for file in changed)
        self.truth.publish(resource, replace(sub, files=(*new, *sub.files[len(new) :])), silent=silent)
        self.say(f"{sub.id}: {len(new)} files")

    @rule(number=numbers, volumes=st.integers(0, 4))
    def split(self, number: int, volumes: int) -> None:
        """The archive comes in another number of volumes; 0 is in one piece."""
        resource, sub = self._some(number)
        others = tuple(file for file in sub.files if ".bin" not in file.name)
        names = [f"{sub.id}.bin.{n:03d}" for n in range(1, volumes + 1)] or [f"{sub.id}.bin"]
        self.truth.publish(resource, replace(sub, files=(*(self.truth.file(name, 310) for name in names), *others)))
        self.say(f"{sub.id}: {names}")

    @rule(number=numbers, add=st.booleans())
    def change_the_list(self, number: int, add: bool) -> None:
        """A file more, or the last one less."""
        resource, sub = self._some(number)
        files = (*sub.files, self.truth.file(f"more-{len(sub.files)}.laz", 80)) if add else sub.files[:-1]
        if files:
            self.truth.publish(resource, replace(sub, files=files))
            self.say(f"{sub.id}: {[file.name for file in files]}")

    @rule(number=numbers, how=st.sampled_from(BAD))
    def publish_badly(self, number: int, how: str) -> None:
        """The feed is wrong about a file, or gives it a name that cannot be."""
        resource, sub = self._some(number)
        last = self.truth.again(sub.files[-1])
        bad = {
            "wrong MD5": [replace(last, md5="0" * 32)],
            "wrong size": [replace(last, size=last.body.size + 1)],
            "unsafe name": [last, self.truth.file(".hidden", 10)],
            "twice": [last, self.truth.again(last, last.body.size + 1)],
        }[how]
        self.truth.publish(resource, replace(sub, files=(*sub.files[:-1], *bad)))
        self.say(f"{sub.id}")

    @rule(number=numbers, whole=st.booleans())
    def withdraw(self, number: int, whole: bool) -> None:
        resource, sub = self._some(number)
        self.truth.withdraw(resource, None if whole else sub.id)
        self.say(f"{resource if whole else sub.id}")

    # -- the network

    @rule(kind=levels, fault=st.sampled_from(sorted(_LISTING_FAULTS)), times=st.integers(1, 4))
    def trouble_listings(self, kind: str, fault: str, times: int) -> None:
        """The next listings of a kind go wrong; four times means until somebody mends it."""
        self.upstream.script(kind, [_LISTING_FAULTS[fault]()] * times, forever=times == 4)
        self.troubled = True

    @rule(fault=st.sampled_from(sorted(_FILE_FAULTS)), times=st.integers(1, 4), later=st.integers(0, 3))
    def trouble_files(self, fault: str, times: int, later: int) -> None:
        """The next downloads but some go wrong, of files by whose MD5 it shows; four times means until somebody mends it."""
        script = [*[faults.fine()] * later, *[_FILE_FAULTS[fault]()] * times]
        self.upstream.script(self._can_be_told, script, forever=times == 4)
        self.troubled = True

    def _can_be_told(self, record: Record) -> bool:
        if record.kind != "download":
            return False
        resource = self.upstream.catalogue.resource(record.ids[0])
        sub = resource.sub(record.ids[1]) if resource else None
        file = sub.file(record.ids[2]) if sub else None
        return file is not None and file.md5 is not None and file.body.size > 7

    @precondition(lambda self: self.troubled)
    @rule()
    def mend(self) -> None:
        self.upstream.heal()
        self.troubled = False

    # -- time, and the config

    @rule(hours=st.sampled_from([1, 5, 24, 31, 72, 24 * 8]))
    def time_passes(self, hours: int) -> None:
        self.clock.pass_(hours=hours)
        self.say(f"{self.clock():%Y-%m-%d %H:%M}")

    @rule(config=configs)
    def configure(self, config: dict[str, dict[str, Any]]) -> None:
        self.tables = config
        files = [table.get("files") for table in config.values()]
        self.ledger.globs |= {tuple(globs) for globs in files if globs}
        if all(files):
            self.ledger.globs.add(tuple(sorted({glob for globs in files for glob in globs or ()})))
