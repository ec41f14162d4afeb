"""The three promises by model: random publications, faults, kills, configs, clocks and users, and after each step they hold.

Some of it runs with every suite, always the same; `make promises` runs as many examples as $EXAMPLES says, other ones each time. A
failure ends with the shortest script of steps that shows it; what each step did stands below it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from mirror.demo.catalogue import DERIVED, Catalogue, SampleFile, SampleSub
from mirror.errors import IndexUnusable
from mirror.model import Term
from mirror.settings import Settings, from_mapping
from mirror.store.index import FILE
from mirror.sync import PlannedAction, Report, plan, sync
from mirror.upstream.session import Patience
from mirror.verifying import verify

from .forked import Syncs
from .mirrored import Clock, tree_of
from .promises import Ledger
from .test_steps import names_in_source
from .truth import FULL_LISTING, Truth, can_be_had
from .upstream import Exchange, FakeUpstream, Fault, Record, faults

NO_PATIENCE = Patience(connect=5, idle=5, min_speed=0, retry_for=0.02, first_wait=0.001, longest_wait=0.002)
LARGE = (1 << 20) + 4000
"""More than one batch, so that a partial file is kept on the disk."""

STEPS = sorted(names_in_source())
STEADY = "STEADY"
"""A resource that never goes: an upstream that lists nothing at all is not believed."""

# -- what there is to draw from

resources = st.sampled_from(["ALPHA", "BRAVO"])
zones = st.sampled_from(["D038", "D073"])
levels = st.sampled_from(["capabilities", "resource", "sub-resource"])
numbers = st.integers(0, 30)
"""Which of those there are: counted on from the first."""

KINDS = ("single", "pair", "volumes", "tiles", "bare", "no size", "large", "empty", "same names")
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
        "files": st.sampled_from([["*.bin*"], ["*.md5", "*.laz"]]),
        "publish": st.just("each"),
    },
)
configs = st.dictionaries(st.sampled_from(["one", "two"]), tables, min_size=1)


class Mirrored(RuleBasedStateMachine):
    """A mirror of an upstream on which everything happens that may."""

    def __init__(self, upstream: FakeUpstream, syncs: Syncs, folder: Path, number: Iterator[int]) -> None:
        super().__init__()
        folder /= str(next(number))
        upstream.catalogue = Catalogue()
        upstream.heal()
        self.upstream = upstream
        self.syncs = syncs
        self.folder = folder
        self.clock = Clock(datetime(2026, 1, 1, 12, tzinfo=UTC))
        self.truth = Truth(upstream, self.clock)
        self.ledger = Ledger(folder / "root", self.truth)
        self.tables: dict[str, dict[str, Any]] = {"one": {"resources": ["*"], "edition": "all"}}
        self.troubled = False
        self.killed = self.lost = self.clean = False
        self.runs = 0
        self._said: SimpleQueue[str] = SimpleQueue()
        (folder / "root").mkdir(parents=True)

    def teardown(self) -> None:
        """Once all is well again, all is well."""
        try:
            if sys.exc_info()[0] is None:
                self._all_is_well_again()
        finally:
            shutil.rmtree(self.folder)

    def say(self, text: str) -> None:
        """What a step did, for the script of a failure; also from the thread of the upstream."""
        self._said.put(text)
        if threading.current_thread() is threading.main_thread():
            while not self._said.empty():
                note(f"    {self._said.get()}")

    @property
    def config(self) -> dict[str, Any]:
        upstream = {
            "url": self.upstream.url,
            "requests_per_second": 100_000,
            "downloads": 1,  # so that a script of steps means the same requests each time
            "full_listing_every": f"{FULL_LISTING.days}d",
        }
        limits = {"min_free": 0, "max_shrink_ratio": 1.0, "max_delete_ratio": 1.0}
        return {"root": str(self.ledger.root), "limits": limits, "upstream": {"gpf": upstream}, "subscription": self.tables}

    # -- the publisher

    @initialize(kind=st.sampled_from(KINDS))
    def first_of_all(self, kind: str) -> None:
        self._publish("ALPHA", "D038", kind)
        self._publish("BRAVO", "D038", "tiles")
        self._publish(STEADY, "D038", "single")

    @rule(resource=resources, zone=zones, kind=st.sampled_from(KINDS))
    def publish(self, resource: str, zone: str, kind: str) -> None:
        """A new edition or, on a day that has one, that one anew."""
        self._publish(resource, zone, kind)

    def _publish(self, resource: str, zone: str, kind: str, *, racing: bool = False) -> None:
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
            case "same names":
                return make("data.bin", 400), make("readme.md5", 400)
            case _:
                return make(f"{name}.bin", 600), make(f"{name}.md5", 70)

    def _some(self, number: int) -> tuple[str, SampleSub]:
        """One of those that are offered. Where there is none any more, a new one: which rules run must not depend on races."""
        offered = [(resource, sub) for resource, sub in self.truth.offered if resource != STEADY]
        if not offered:
            self._publish("ALPHA", "D038", "pair")
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

    # -- the mirror

    @rule(data=st.data())
    def sync(self, data: st.DataObject) -> None:
        """A sync of all subscriptions or of one."""
        names = data.draw(st.sampled_from([(), *((name,) for name in sorted(self.tables))]))
        self._judge(self._run(self._sync(names)), names)

    @rule(request=st.integers(1, 12))
    def sync_and_interrupt(self, request: int) -> None:
        """Ctrl-C at a request."""

        def interrupting(task: asyncio.Task[Any]) -> Callable[[], object]:
            loop = task.get_loop()
            return lambda: loop.call_soon_threadsafe(task.cancel)

        self._judge(self._run(self._sync((), request, interrupting)), ())

    @rule(request=st.integers(1, 12), zone=zones, resource=resources)
    def sync_while_publishing(self, request: int, zone: str, resource: str) -> None:
        """Another edition appears at a request."""
        appear = partial(self._publish, resource, zone, "pair", racing=True)
        self._judge(self._run(self._sync((), request, lambda _: appear)), ())

    @rule(days=st.sampled_from([-30, -1, 1, 400]))
    def sync_with_a_wrong_clock(self, days: int) -> None:
        """The clock of the mirror is wrong for one run."""
        right = self.clock.at
        self.clock.pass_(days=days)
        report = self._run(self._sync(()))
        if days < 0:  # by that clock less has to be noticed yet
            self._judge(report, ())
            self.clock.at = right
            return
        self.clock.at = right
        self._judge(report, ())

    @rule(request=st.integers(1, 12), way=st.sampled_from(["as it comes", "in the middle", "later"]), delay=st.integers(0, 20))
    def sync_and_kill(self, request: int, way: str, delay: int) -> None:
        """SIGKILL at a request: before its answer, within it, or some milliseconds after it."""

        def strike(kill: Callable[[], None]) -> None:
            async def fault(exchange: Exchange) -> web.StreamResponse:
                if way == "later":
                    threading.Timer(delay / 1000, kill).start()
                    return await exchange.send(exchange.answer())
                if way == "in the middle":
                    answer = exchange.answer()
                    await exchange.send_part(answer, answer.length // 2)
                kill()
                return await faults.close_before_response()(exchange)

            self.upstream.script(self._is_now(request), [fault])

        self._kill(strike)

    @rule(name=st.sampled_from(STEPS), occurrence=st.integers(1, 3), repair=st.booleans())
    def die_at(self, name: str, occurrence: int, repair: bool) -> None:
        """SIGKILL at a named step of a sync, or of a repair."""
        self._kill(step=name, occurrence=occurrence, verify=repair and (self.ledger.root / FILE).exists())

    def _kill(self, strike: Callable[[Callable[[], None]], None] = lambda kill: None, **order: Any) -> None:
        self._begin()
        self.killed = True
        code = self.syncs.run(self.config, self.folder, strike, now=self.clock().isoformat(), **order)
        self.runs += 1
        assert code in (-9, 0, 1, 5), code
        self.say(f"exit {code}")

    @precondition(lambda self: not self.troubled and not self.killed)
    @rule()
    def plan_and_sync(self) -> None:
        """A plan changes nothing, and says what the sync then does."""
        before = self._everything()
        actions: list[PlannedAction] = []
        planned = self._run(plan(self._settings(), visit=actions.append, now=self.clock, patience=NO_PATIENCE))
        assert self._everything() == before
        report = self._run(self._sync(()))
        assert planned.planned == report.planned, (planned, report)
        if not self.lost:  # else the sync looks at what nobody wants, too
            assert planned.requests == report.requests - self.upstream.count("download"), (planned, report)
        self._judge(report, ())

    @rule(full=st.booleans(), repair=st.booleans())
    def verify(self, full: bool, repair: bool) -> None:
        """Finds what users did, all of it and nothing else; repairs what can be had."""
        ledger = self.ledger
        self.upstream.heal()
        self.troubled = False
        rows = {path: (size, md5) for path, size, md5, _ in ledger.rows()}
        wrong = {path for path, (size, md5) in rows.items() if not ledger.is_here(path, size, md5 if full else None)}
        doubtful = ledger.deleted | ledger.damaged.keys() | self._pathless()
        try:
            findings = asyncio.run(verify(self._settings(), full=full, repair=repair, now=self.clock, patience=NO_PATIENCE))
        except IndexUnusable:
            assert not (ledger.root / FILE).exists()
            return
        base = ledger.root / "data" / "gpf"
        found = {str(Path(fault.path).relative_to(base)) for fault in findings.faults}
        assert wrong <= found <= doubtful, (wrong, found, doubtful)
        reported = set(findings.foreign)
        for path in ledger.foreign.keys() - rows.keys():
            place = base / path
            assert {str(place), *map(str, place.parents)} & reported, f"not reported as foreign: {path}"
        assert not {str(base / path) for path in rows} & reported
        self.say(f"{len(findings.faults)} faults, exit {findings.exit_code}")
        if repair and findings.exit_code == 0:
            tree = tree_of(base)
            assert all(tree[path] in self.truth.generations(path) for path in found)

    # -- users

    @rule(number=numbers, how=st.sampled_from(["delete", "flip", "cut"]))
    def meddle(self, number: int, how: str) -> None:
        """A user takes a published file away, flips a byte of it, or cuts it short."""
        ledger = self.ledger
        if not ledger.seen:
            return
        path = sorted(ledger.seen)[number % len(ledger.seen)]
        place = ledger.root / "data" / "gpf" / path
        ledger.loose.add(_folder(path))
        self.say(f"{path}")
        if how == "delete":
            place.unlink()
            ledger.seen.pop(path)
            ledger.damaged.pop(path, None)
            ledger.deleted.add(path)
            return
        content = bytearray(place.read_bytes())
        if not content:
            return
        content[-1] ^= 0xFF
        place.write_bytes(content if how == "flip" else content[:-1])
        before = ledger.damaged.get(path, (ledger.seen[path], ""))[0]
        now = tree_of(place.parent)[place.name]
        ledger.damaged.pop(path, None)
        if now != before:
            ledger.damaged[path] = before, now
        ledger.seen[path] = now

    @rule(number=numbers, where=st.sampled_from(["beside", "above", "top"]))
    def add_a_file(self, number: int, where: str) -> None:
        """A user puts a file of his own into the tree."""
        ledger = self.ledger
        if not ledger.seen:
            return
        folder = "/".join(sorted(ledger.seen)[number % len(ledger.seen)].split("/")[: {"beside": 2, "above": 1, "top": 0}[where]])
        path = f"{folder}/notes-{number}.txt".lstrip("/")
        (ledger.root / "data" / "gpf" / path).write_text(path)
        ledger.foreign[path] = tree_of((ledger.root / "data" / "gpf" / path).parent)[f"notes-{number}.txt"]
        self.say(f"{path}")

    @rule(log=st.booleans())
    def lose_the_index(self, log: bool) -> None:
        """The index is deleted, with the write-ahead log that a killed run has left or without."""
        for path in self.ledger.root.glob(f"{FILE}*" if log else FILE):
            path.unlink()
        self.lost = True

    # -- what holds

    @invariant()
    def promises_hold(self) -> None:
        self.ledger.look()

    # -- how it is done

    def _all_is_well_again(self) -> None:
        """Once upstream is in order, and time has passed, one sync sets all right, and the next has nothing to do."""
        self.upstream.heal()
        self.troubled = False
        for resource, sub in self.truth.offered:
            names = [file.name for file in sub.files]
            if not all(can_be_had(file) and names.count(file.name) == 1 for file in sub.files):
                good = {
                    file.name: replace(self.truth.again(file), md5=DERIVED, size=DERIVED)
                    for file in sub.files
                    if file.name[0] != "."
                }
                self.truth.publish(resource, replace(sub, files=tuple(good.values())))
        self.clock.pass_(days=10)
        report = self._run(self._sync(()))
        assert report.outcome == "complete", (report.reason, report.failed)
        self._judge(report, ())
        report = self._run(self._sync(()))
        assert report.requests == self.upstream.count("capabilities") == 1
        self._judge(report, ())

    def _settings(self) -> Settings:
        return from_mapping(self.config, self.folder, {})

    def _run(self, run: Any) -> Report:
        report: Report = asyncio.run(run)
        self.runs += 1
        self.say(f"{report.outcome}: {report.requests} requests, {report.account}, {report.reason}")
        return report

    async def _sync(
        self, names: tuple[str, ...], at: int = 0, then: Callable[[asyncio.Task[Any]], Callable[[], object]] | None = None
    ) -> Report:
        """One sync; at its request number `at` something happens, of which `then` makes a call. The request is answered."""
        self._begin()
        self.killed = False
        if then is not None and (task := asyncio.current_task()):
            happen = then(task)

            async def fault(exchange: Exchange) -> web.StreamResponse:
                answer = exchange.answer()
                happen()
                return await exchange.send(answer)

            self.upstream.script(self._is_now(at), [fault])
        return await sync(self._settings(), names, now=self.clock, patience=NO_PATIENCE)

    def _begin(self) -> None:
        """A run is about to begin. What is published file by file need not be whole."""
        self.upstream.clear()
        self.runs += 1
        each = {name for table in self.tables.values() if table.get("publish") == "each" for name in table["resources"]}
        self.ledger.loose |= {(resource, sub.id) for resource, sub in self.truth.offered if each & {resource, "*"}}

    def _is_now(self, request: int) -> Callable[[Record], bool]:
        """Matches that request of the run that begins."""
        run = self.runs
        return lambda record: (run, request) == (self.runs, len(self.upstream.requests))

    def _judge(self, report: Report, names: tuple[str, ...]) -> None:
        self.ledger.look()
        self.ledger.account_is_true(report)
        tables = {name: table for name, table in self.tables.items() if name in (names or self.tables)}
        if report.outcome == "complete":
            self.lost = False
            self.ledger.complete(report, tables)
            if tables == self.tables:
                self.ledger.complete_for_all(self.clean)
        self.clean = report.outcome == "complete" and tables == self.tables

    def _everything(self) -> dict[str, str]:
        return {path: md5 for path, md5 in tree_of(self.ledger.root).items() if not path.endswith(("-wal", "-shm"))}

    def _pathless(self) -> set[str]:
        """What the index does not vouch for."""
        rows = self.ledger.query("SELECT resource || '/' || sub_resource || '/' || file FROM files WHERE path IS NULL")
        return {path for (path,) in rows}


def _folder(path: str) -> tuple[str, str]:
    resource, sub, _ = path.split("/")
    return resource, sub


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(etags=True).in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def syncs() -> Iterator[Syncs]:
    with Syncs() as made:
        yield made


def _check(examples: int, steps: int, upstream: FakeUpstream, syncs: Syncs, folder: Path, *, same: bool) -> None:
    each = count()
    run_state_machine_as_test(
        partial(Mirrored, upstream, syncs, folder, each),  # type: ignore[arg-type]  # any callable will do, says its documentation
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=same,
            database=None,
            deadline=None,
            print_blob=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(300)
def test_the_promises_hold(upstream: FakeUpstream, syncs: Syncs, tmp_path: Path) -> None:
    _check(40, 25, upstream, syncs, tmp_path, same=True)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_the_promises_hold_whatever_happens(upstream: FakeUpstream, syncs: Syncs, tmp_path: Path) -> None:
    _check(int(os.environ.get("EXAMPLES", "1000")), 60, upstream, syncs, tmp_path, same=False)
