"""Commands that fail one after the other, are stopped by somebody, or call the mirror that runs them: no flood, no hang."""

from __future__ import annotations

import asyncio
import os
import shlex
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mirror.errors import Locked
from mirror.events import Event, HookDone, HookFailed, Note
from mirror.hooks import HookRunner, commands_after
from mirror.service.handover import Handed, ask
from mirror.store.index import FILE
from mirror.sync import sync

from .command import argv, run, start, write_config
from .hooking import Hooked, about, recorder, told
from .mirrored import EVERYTHING, HASTE
from .running import running
from .upstream import FakeUpstream, simple_catalogue

TILES = simple_catalogue(1, 12, 1)
NAMES = [sub.id for sub in TILES.resources[0].subs]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(TILES) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Hooked:
    return Hooked(tmp_path / "root", upstream)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def notes(mirror: Hooked) -> list[str]:
    return [event.message for event in mirror.events if isinstance(event, Note) and "wait" in event.message]


# One failure after the other


async def test_after_three_failures_in_a_row_the_others_wait(mirror: Hooked, log: Path) -> None:
    """One line says so, and the next sync looks again; those that were not tried come first then."""
    mirror.tables = {"lidar": {**EVERYTHING, "on_publish": recorder(log, "exit 1")}}
    report = await mirror.sync_and_run()
    assert (report.outcome, len(report.failed), len(mirror.reasons())) == ("incomplete", 3, 3)
    assert notes(mirror) == ["9 more commands of lidar wait: the last 3 failed"]
    mirror.tables = {"lidar": {**EVERYTHING, "on_publish": recorder(log)}}
    await mirror.run_due()
    mirror.clock.pass_(minutes=1)
    await mirror.run_due()
    assert len(about(log)) == 3 + 12
    assert set(about(log)[3:12]).isdisjoint(about(log)[:3])
    assert mirror.jobs() == []


async def test_failures_here_and_there_stop_nothing(mirror: Hooked, log: Path) -> None:
    bad = "|".join(f"*{name}*" for name in [*NAMES[:2], *NAMES[3:5]])
    mirror.tables = {
        "lidar": {**EVERYTHING, "on_publish": recorder(log, f"case $MIRROR_HOOK_SUB_RESOURCE in {bad}) exit 1;; esac")}
    }
    await mirror.sync_and_run()
    assert (len(told(log)), len(mirror.reasons()), notes(mirror)) == (12, 4, [])


async def test_the_service_tries_one_now_and_then_and_all_once_that_succeeds(mirror: Hooked, log: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    mirror.tables = {"lidar": {**EVERYTHING, "on_publish": recorder(log, f"test -e {ready}")}}
    await mirror.sync()
    events: asyncio.Queue[Event] = asyncio.Queue()
    runner = HookRunner(lambda: mirror.settings, events.put_nowait, mirror.clock)

    async def next_note() -> str:
        while not isinstance(event := await events.get(), Note):
            pass
        return event.message

    going = asyncio.create_task(runner.run_forever())
    try:
        assert await next_note() == "9 more commands of lidar wait: the last 3 failed"
        runner.wake()  # too early
        mirror.clock.pass_(minutes=1)
        runner.wake()
        assert await next_note() == "11 more commands of lidar wait: the last 4 failed"
        assert len(set(about(log))) == 4
        mirror.clock.pass_(minutes=1)
        runner.wake()  # too early again: the waits grow
        ready.touch()
        mirror.clock.pass_(minutes=4)
        runner.wake()
        done = 0
        while done < 12:
            event = await events.get()
            assert not isinstance(event, HookFailed | Note)
            done += isinstance(event, HookDone)
    finally:
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going
    assert len(told(log)) == 4 + 12


async def test_another_command_in_the_config_need_not_wait(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"lidar": {**EVERYTHING, "on_publish": ["/nowhere/load"]}}
    await mirror.sync()
    events: asyncio.Queue[Event] = asyncio.Queue()
    runner = HookRunner(lambda: mirror.settings, events.put_nowait, mirror.clock)
    going = asyncio.create_task(runner.run_forever())
    try:
        while not isinstance(await events.get(), Note):
            pass
        mirror.tables = {"lidar": {**EVERYTHING, "on_publish": recorder(log)}}
        runner.wake()
        while not isinstance(await events.get(), HookDone):
            pass
    finally:
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going


# Stopped by somebody


async def test_what_was_stopped_waits_for_the_next_sync(mirror: Hooked, log: Path, tmp_path: Path) -> None:
    """Whoever runs what is due leaves it alone until then, or for six hours; a service that ends leaves it to the next start."""
    waiting = tmp_path / "waiting"
    os.mkfifo(waiting)
    for withdrawn in (False, True):
        mirror.tables = {"all": {**EVERYTHING, "on_publish": ["sh", "-c", f"echo > {waiting}; exec sleep 600"]}}
        report = await mirror.sync()
        settings = mirror.settings
        asked = partial(bool, withdrawn)
        emit, now = mirror.events.append, mirror.clock
        going = asyncio.create_task(commands_after(report, settings, (), emit=emit, now=now, withdrawn=asked))
        await asyncio.to_thread(waiting.read_text)
        going.cancel()
        assert (await going).outcome == "interrupted"
        mirror.tables = {"all": {**EVERYTHING, "on_publish": recorder(log)}}
        if not withdrawn:
            assert {row[3] for row in mirror.jobs()} == {None}
            assert mirror.rows("SELECT DISTINCT next_try FROM hook_jobs") == [(None,)]
    assert (await mirror.run_due()).ran == 0
    await mirror.sync()
    assert (await mirror.run_due()).ran == 12


def test_a_sync_that_is_stopped_in_the_service_stops_its_commands(tmp_path: Path) -> None:
    """They do not begin again at once, and the next sync runs them."""
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        load, log = tmp_path / "load", tmp_path / "log"
        load.write_text(f"#!/bin/sh\necho $$ >> {log}\ntest -e {tmp_path}/ready || exec sleep 600\n")
        load.chmod(0o755)
        more = f'[service]\nsocket = "{tmp_path}/s"\n'
        write_config(tmp_path, fake.url, f'all]\nresources = ["*"]\non_publish = ["{load}"]', more=more)
        with running(tmp_path, "-v") as service:
            with Handed(tmp_path / "s", [], retry=False, wait=False) as handed:
                service.wait_until(lambda: log.exists() and log.read_text(), "the command")
                handed.cancel()
                report = handed.follow(lambda event: None)
            assert report.outcome == "interrupted"
            assert "the next sync runs them again" in report.reason
            (hook,) = run("status", "--json", cwd=tmp_path).json["hooks"]
            assert hook["next_try"]
            assert ask(tmp_path / "s", "status")["current"] is None
            (tmp_path / "ready").touch()
            assert len(log.read_text().split()) == 1
            assert run("sync", cwd=tmp_path).code == 0
            assert len(log.read_text().split()) == 2


# A command that calls the mirror


@pytest.mark.parametrize("hook", ["on_publish", "on_complete"])
@pytest.mark.parametrize("served", [False, True])
def test_a_command_may_sync_its_own_mirror(hook: str, served: bool, tmp_path: Path) -> None:
    """It does not wait for its own turn, and is not run again for the sync that it has made itself."""
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        mirror, log = tmp_path / "inner", tmp_path / "log"
        mirror.write_text(f"#!/bin/sh\nset -e\ncd {tmp_path}\n{shlex.join(argv('sync'))} 2>&1\necho ended >> {log}\n")
        mirror.chmod(0o755)
        more = f'[service]\nsocket = "{tmp_path}/s"\n'
        write_config(tmp_path, fake.url, f'all]\nresources = ["*"]\n{hook} = ["{mirror}"]\nhook_timeout = "50s"', more=more)
        if served:
            with running(tmp_path):
                outcome = run("-v", "sync", cwd=tmp_path)
        else:
            outcome = run("-v", "sync", cwd=tmp_path)
        assert outcome.code == 0, outcome.err
        assert log.read_text() == "ended\n"
        assert f"commands are left to who runs {hook} of all" in outcome.err


# An index that another program keeps locked


def locked_out(root: Path) -> sqlite3.Connection:
    """Not even readers get in."""
    other = sqlite3.connect(root / FILE, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    return other


async def test_who_locks_the_index_holds_up_commands_and_nothing_else(mirror: Hooked, log: Path) -> None:
    """The loop goes on: what gives it back again is part of it."""
    mirror.tables = {"all": {**EVERYTHING, "on_publish": recorder(log)}}
    await mirror.sync()
    with closing(locked_out(mirror.root)) as other:
        going = asyncio.create_task(mirror.run_due())
        await asyncio.sleep(0.2)
        assert not going.done()
        other.execute("COMMIT")
    assert (await going).ran == 12


async def test_who_locks_the_index_holds_up_a_sync_and_nothing_else(mirror: Hooked) -> None:
    await mirror.sync()
    patient = replace(HASTE, index=30.0)
    with closing(locked_out(mirror.root)) as other:
        going = asyncio.create_task(sync(mirror.settings, now=mirror.clock, patience=patient))
        await asyncio.sleep(0.3)
        assert not going.done()
        stopped = asyncio.create_task(sync(mirror.settings, now=mirror.clock, patience=patient, wait=True))
        other.execute("COMMIT")
        await asyncio.sleep(0)
    assert (await going).outcome == "complete"
    assert (await stopped).outcome == "complete"


async def test_a_sync_that_waits_for_the_index_can_be_stopped(mirror: Hooked) -> None:
    await mirror.sync()
    with closing(locked_out(mirror.root)):
        going = asyncio.create_task(sync(mirror.settings, now=mirror.clock, patience=replace(HASTE, index=30.0)))
        await asyncio.sleep(0.3)
        going.cancel()
        report = await going
    assert (report.outcome, report.reason) == ("interrupted", "interrupted while waiting for the index; nothing was done")


async def test_the_wait_for_a_locked_index_ends(mirror: Hooked) -> None:
    await mirror.sync()
    with closing(locked_out(mirror.root)), pytest.raises(Locked):
        await mirror.sync()


def test_a_service_whose_index_is_locked_still_answers(tmp_path: Path) -> None:
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'all]\nresources = ["*"]', more=f'[service]\nsocket = "{tmp_path}/s"\n')
        assert run("sync", cwd=tmp_path).code == 0
        with running(tmp_path) as service, closing(locked_out(tmp_path / "mirror")), start("sync", cwd=tmp_path) as client:
            try:
                service.wait_until(lambda: ask(tmp_path / "s", "status")["current"], "the sync that waits")
                assert service.end() == 0
                assert client.wait(60) != 0
            finally:
                client.kill()
                client.communicate()
