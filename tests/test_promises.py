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
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from mirror.demo.catalogue import DERIVED
from mirror.errors import IndexUnusable
from mirror.pruning import prune
from mirror.settings import Settings, from_mapping
from mirror.store.index import FILE
from mirror.sync import PlannedAction, Report, plan, sync
from mirror.upstream.session import Patience
from mirror.verifying import verify

from .forked import Syncs
from .mirrored import tree_of
from .surroundings import Surroundings, numbers, resources, zones
from .test_steps import names_in_source
from .truth import FULL_LISTING, can_be_had
from .upstream import Exchange, FakeUpstream, Record, faults

NO_PATIENCE = Patience(connect=5, idle=5, min_speed=0, retry_for=0.02, first_wait=0.001, longest_wait=0.002)
STEPS = sorted(names_in_source())


class Mirrored(Surroundings):
    """A mirror of an upstream on which everything happens that may."""

    def __init__(self, upstream: FakeUpstream, syncs: Syncs, folder: Path, number: Iterator[int]) -> None:
        folder /= str(next(number))
        super().__init__(upstream, folder)
        self.syncs = syncs
        self.folder = folder
        self.killed = self.lost = self.clean = self.behind = False
        self.runs = 0
        (folder / "root").mkdir(parents=True)

    def teardown(self) -> None:
        """Once all is well again, all is well."""
        try:
            if sys.exc_info()[0] is None:
                self._all_is_well_again()
        finally:
            shutil.rmtree(self.folder)

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
        appear = partial(self.appear, resource, zone, "pair", racing=True)
        self._judge(self._run(self._sync((), request, lambda _: appear)), ())

    @rule(days=st.sampled_from([-30, -1, 1, 400]))
    def sync_with_a_wrong_clock(self, days: int) -> None:
        """The clock of the mirror is wrong for one run."""
        right = self.clock.at
        self.clock.pass_(days=days)
        report = self._run(self._sync(()))
        self.behind = self.behind or days < 0  # what was entered then counts as older than it is
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
        self._kill(step=name, occurrence=occurrence, verify=repair and self.ledger.is_indexed)

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
            assert not ledger.is_indexed
            return
        base = ledger.root / "data" / "gpf"
        found = {str(Path(fault.path).relative_to(base)) for fault in findings.faults}
        assert wrong <= found <= doubtful, (wrong, found, doubtful)
        reported = set(findings.foreign)
        rebuilt = {path for path, *_ in ledger.rows()}  # which takes in whatever lies in a folder that upstream has withdrawn
        for path in ledger.foreign.keys() - rows.keys() - rebuilt:
            place = base / path
            assert {str(place), *map(str, place.parents)} & reported, f"not reported as foreign: {path}"
        assert not {str(base / path) for path in rows} & reported
        self.say(f"{len(findings.faults)} faults, exit {findings.exit_code}")
        if repair and findings.exit_code == 0:
            tree = tree_of(base)
            assert all(tree[path] in self.truth.generations(path) for path in found)

    @rule()
    def prune(self) -> None:
        """Deletes what retention lets go and nothing else, which is what its preview says."""
        before = self._everything()
        try:
            preview = asyncio.run(prune(self._settings(), dry_run=True, now=self.clock))
            assert self._everything() == before
            report = asyncio.run(prune(self._settings(), now=self.clock))
        except IndexUnusable:
            assert not self.ledger.is_indexed
            return
        self.say(f"{report.outcome}: {report.deleted} {report.reason}")
        assert [action for action in report.actions if action.action == "delete"] == [
            action for action in preview.actions if action.action == "delete"
        ]
        gone = [(action.resource, action.sub_resource) for action in report.actions if action.action == "delete"]
        self.ledger.pruned(gone, self.tables, grace=timedelta() if self.behind else timedelta(days=3))

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
        self._loosen()  # what appeared meanwhile
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
        """A run is about to begin."""
        self.upstream.clear()
        self.runs += 1
        self._loosen()

    def _loosen(self) -> None:
        """What is published file by file need not be whole, offered still or not: a mirror may have it waiting from before."""
        each = {name for table in self.tables.values() if table.get("publish") == "each" for name in table["resources"]}
        self.ledger.loose |= {(resource, sub) for resource, sub in self.truth.ever_offered if each & {resource, "*"}}

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
    _check(25, 25, upstream, syncs, tmp_path, same=True)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_the_promises_hold_whatever_happens(upstream: FakeUpstream, syncs: Syncs, tmp_path: Path) -> None:
    _check(int(os.environ.get("EXAMPLES", "1000")), 60, upstream, syncs, tmp_path, same=False)
