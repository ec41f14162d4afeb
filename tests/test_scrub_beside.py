"""`verify --budget` beside everybody else: syncs, locks, disks that cannot be written, and Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.errors import Locked
from mirror.store.index import FILE, Index
from mirror.store.lock import is_locked, root_lock
from mirror.sync import sync

from .command import run, start, write_config
from .mirrored import EVERYTHING, HASTE, Mirrored, offered
from .privileges import ordinary_user
from .scrubbed import CATALOGUE, FILES, Scrubs, flip, moments, path_of
from .upstream import FakeUpstream, publish, simple_catalogue


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    """A mirror of twelve files, each hashed a day ago by the sync that published it."""
    made = Mirrored(tmp_path / "root", upstream, a={**EVERYTHING, "resources": ["BDALPHA"]}, b=EVERYTHING)
    assert (await made.sync()).exit_code == 0
    made.clock.pass_(days=1)
    return made


# -- beside others


async def test_a_scrub_holds_no_lock_while_it_reads(mirror: Mirrored) -> None:
    held: list[bool] = []
    scrubs = Scrubs(mirror, meanwhile=lambda: held.append(is_locked(mirror.root)))
    await scrubs(100)
    assert held == [False] * 12


async def test_a_sync_runs_while_a_scrub_reads(mirror: Mirrored) -> None:
    """What it replaces meanwhile is neither taken for wrong nor for verified by the scrub, wherever that was."""
    replaced = [sub for resource in CATALOGUE.resources for sub in resource.subs][::2]
    catalogue = CATALOGUE
    for sub in replaced:
        files = tuple(replace(file, data=b"new " + file.name.encode(), md5=None) for file in sub.files)
        catalogue = publish(catalogue, sub.id.split("_")[0], replace(sub, files=files, updated="2026-12-01"))
    mirror.upstream.catalogue = catalogue
    reached, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    scrubs = Scrubs(mirror)

    def meanwhile() -> None:
        if scrubs.seconds == 3:
            loop.call_soon_threadsafe(reached.set)
            assert go_on.wait(60)

    scrubs.meanwhile = meanwhile
    scrubbing = asyncio.create_task(scrubs(100))
    await reached.wait()
    report = await mirror.sync()
    go_on.set()
    found = await scrubbing
    assert (report.exit_code, report.done["replace"]) == (0, 6)
    assert (found.exit_code, found.faults) == (0, [])
    assert mirror.tree() == offered(catalogue)
    assert all(moment.startswith("01-02") for moment in moments(mirror).values())


async def test_a_sync_waits_for_who_only_writes_something_down(mirror: Mirrored) -> None:
    """It is not turned away for the moments that a scrub takes the lock, asked to wait or not; a run it does not wait for."""
    with root_lock(mirror.root, brief=True):
        waiting = asyncio.create_task(sync(mirror.settings, now=mirror.clock, patience=HASTE))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert not is_locked(mirror.root)
        with pytest.raises(Locked) as refused, root_lock(mirror.root, brief=True):
            pass
        assert refused.value.brief
    assert (await waiting).exit_code == 0
    with root_lock(mirror.root):
        with pytest.raises(Locked):
            await mirror.sync()
        with pytest.raises(Locked) as refused, root_lock(mirror.root, brief=True):
            pass
        assert not refused.value.brief


async def test_while_a_run_holds_the_lock_nothing_is_written_down_and_that_is_said(mirror: Mirrored) -> None:
    """What is wrong is reported all the same; the next scrub reads the same files."""
    flip(path_of(mirror, FILES[0]))
    before = moments(mirror)
    scrubs = Scrubs(mirror)
    with root_lock(mirror.root):
        found = await scrubs(3)
    assert (found.exit_code, len(found.faults), found.files) == (1, 1, 3)
    assert ["another run holds the lock" in note for note in scrubs.notes()] == [True]
    assert moments(mirror) == before
    again = await scrubs(3)
    assert (again.files, len(again.faults)) == (3, 1)
    assert moments(mirror) != before


async def test_a_repair_is_refused_at_once_while_another_run_holds_the_lock(mirror: Mirrored) -> None:
    """Before anything is read."""
    scrubs = Scrubs(mirror)
    with root_lock(mirror.root), pytest.raises(Locked):
        await scrubs(100, repair=True)
    assert scrubs.events == []


async def test_a_file_that_comes_back_before_it_is_written_down_is_no_fault(mirror: Mirrored) -> None:
    """Where the file system cannot exchange folders, a sync takes one away for a moment."""
    away = path_of(mirror, FILES[0]).parent
    scrubs = Scrubs(mirror)
    away.rename(away.with_name("away"))

    def meanwhile() -> None:
        if scrubs.seconds == 2:
            away.with_name("away").rename(away)

    scrubs.meanwhile = meanwhile
    found = await scrubs(100)
    assert (found.exit_code, found.faults) == (0, [])
    assert [path for path, moment in moments(mirror).items() if moment < "01-02"] == FILES[:2]


async def test_what_was_read_is_written_down_every_half_minute(mirror: Mirrored) -> None:
    """So that a kill costs little: here each file takes ten seconds."""
    seen: list[int] = []
    scrubs = Scrubs(mirror)

    def meanwhile() -> None:
        scrubs.seconds += 9
        seen.append(sum(moment > "01-02" for moment in moments(mirror).values()))

    scrubs.meanwhile = meanwhile
    await scrubs(1000)
    assert seen == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9]


async def test_a_mirror_that_cannot_be_written_can_be_scrubbed(mirror: Mirrored) -> None:
    """It says what is wrong, and that nothing is written down."""
    flip(path_of(mirror, FILES[0]))
    (mirror.root / ".staging" / "lock").chmod(0o444)
    scrubs = Scrubs(mirror)
    with ordinary_user(mirror.root.parent):
        found = await scrubs(3)
    assert (found.exit_code, len(found.faults)) == (1, 1)
    assert ["could not be written down" in note for note in scrubs.notes()] == [True]


async def test_an_index_of_a_newer_version_is_left_alone(mirror: Mirrored) -> None:
    with Index(mirror.root) as index:
        index.connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('inspire-mirror', 'm999', '')"
        )
    before = moments(mirror)
    scrubs = Scrubs(mirror)
    assert (await scrubs(3)).exit_code == 0
    assert ["upgrade this one" in note for note in scrubs.notes()] == [True]
    assert moments(mirror) == before


async def test_an_interrupt_keeps_what_was_verified_so_far(mirror: Mirrored) -> None:
    """And what was found wrong; it sets nothing aside."""
    flip(path_of(mirror, FILES[0]))
    reached, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    scrubs = Scrubs(mirror)

    def meanwhile() -> None:
        if scrubs.seconds == 4:
            loop.call_soon_threadsafe(reached.set)
            assert go_on.wait(60)

    scrubs.meanwhile = meanwhile
    scrubbing = asyncio.create_task(scrubs(100, repair=True))
    await reached.wait()
    scrubbing.cancel()
    loop.call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await scrubbing
    found = moments(mirror)
    assert found[FILES[0]] == ""
    assert [path for path, moment in found.items() if moment > "01-02"] == FILES[1:4]
    assert path_of(mirror, FILES[0]).exists()


# -- the command line


def test_the_command_scrubs_and_says_what_is_left(tmp_path: Path) -> None:
    with FakeUpstream(CATALOGUE).in_thread() as fake:
        write_config(tmp_path, fake.url, 'a]\nresources = ["BDALPHA"]\nedition = "all"', 'b]\nresources = ["BDBRAVO"]')
        assert run("sync", cwd=tmp_path).code == 0
        document = run("verify", "--budget", "1h", "--json", cwd=tmp_path).json
        assert (document["outcome"], document["exit_code"], document["files"], document["hashed"]) == ("complete", 0, 12, True)
        assert (document["budget"], document["files_left"], document["foreign"]) == (3600.0, 0, [])
        assert document["seconds"] >= 0
        rows = run("query", "--json", cwd=tmp_path).json
        assert document["oldest_verified_at"] == min(row["verified_at"] for row in rows)
        shown = run("verify", "a", "--full", "--budget", "1h", cwd=tmp_path)
        assert re.match(r"6 files \(6\.0 kB\) hashed: 0 faults\n0 files left for the next scrub; the one that has", shown.out)
        assert run("-q", "verify", "--budget", "1h", cwd=tmp_path).out == ""
        broken = next((tmp_path / "mirror" / "data").rglob("*.bin"))
        flip(broken)
        assert run("verify", "--budget", "1h", cwd=tmp_path).code == 1
        assert run("verify", "--budget", "1h", "--repair", "--json", cwd=tmp_path).json["faults"][0]["repaired"]
        for wrong in ("0s", "30", "soon", "-5m"):
            assert run("verify", "--budget", wrong, cwd=tmp_path).code == 2


def test_ctrl_c_ends_a_scrub_within_a_file_and_keeps_the_files_before_it(tmp_path: Path) -> None:
    with FakeUpstream(simple_catalogue(1, 2, 1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'a]\nresources = ["*"]')
        assert run("sync", cwd=tmp_path).code == 0
    before = {row["path"]: row["verified_at"] for row in run("query", "--json", cwd=tmp_path).json}
    small, huge = sorted(before)
    with sqlite3.connect(tmp_path / "mirror" / FILE) as index:
        index.execute("UPDATE stored_files SET size = ? WHERE file = ?", (2**40, Path(huge).name))
    os.truncate(huge, 2**40)  # sparse: a terabyte to read, none on the disk
    process = start("-v", "verify", "--budget", "5h", cwd=tmp_path)
    assert process.stderr is not None
    assert "checking" in process.stderr.readline()
    while Path(huge) not in _open_files(process.pid):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    after = {row["path"]: row["verified_at"] for row in run("query", "--json", cwd=tmp_path).json}
    assert after[huge] == before[huge]
    assert after[small] > before[small]


def _open_files(pid: int) -> set[Path]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(link.readlink())
        except OSError:  # closed meanwhile
            continue
    return found
