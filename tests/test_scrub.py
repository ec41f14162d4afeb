"""`verify --budget`: what was hashed longest ago is hashed first, for as long as it may take, beside everybody else."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.errors import ConfigError, IndexUnusable, Locked
from mirror.events import Checked, Checking, Event, Note
from mirror.scrubbing import Scrubbed, scrub
from mirror.store.index import FILE, Index
from mirror.store.lock import is_locked, root_lock
from mirror.sync import sync

from .command import run, start, write_config
from .mirrored import EVERYTHING, HASTE, Mirrored, offered
from .privileges import ordinary_user
from .upstream import FakeUpstream, publish, simple_catalogue, withdraw

CATALOGUE = simple_catalogue(resources=2, subs=3, files=2)
FILES = sorted(offered(CATALOGUE))
FIRST = CATALOGUE.resources[0].listed[0]
ALWAYS = timedelta(days=1)


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


class Scrubs:
    """Scrubs in which the time passes only by reading: each file takes a second, and what the events are is kept."""

    def __init__(self, mirror: Mirrored, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.mirror = mirror
        self.meanwhile = meanwhile
        self.seconds = 0.0
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Checked):
            self.seconds += 1
            self.mirror.clock.pass_(seconds=1)
            self.meanwhile()

    async def __call__(self, seconds: float, *names: str, repair: bool = False) -> Scrubbed:
        return await scrub(
            self.mirror.settings,
            names,
            budget=timedelta(seconds=seconds),
            repair=repair,
            emit=self.emit,
            now=self.mirror.clock,
            clock=lambda: self.seconds,
            grace=0,
        )

    def notes(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note)]


def moments(mirror: Mirrored) -> dict[str, str]:
    """When each file was last hashed: the part of the day, by path."""
    rows = mirror.rows("SELECT resource || '/' || sub_resource || '/' || file, substr(verified_at, 1, 19) FROM files")
    return {path: moment[5:] if moment else "" for path, moment in rows}


def path_of(mirror: Mirrored, name: str) -> Path:
    return mirror.root / "data" / "gpf" / name


def flip(path: Path) -> None:
    """Change a byte, and nothing else that a look at the file would show."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


# -- the order, and the budget


async def test_a_scrub_goes_on_where_the_last_one_was(mirror: Mirrored) -> None:
    """Three of five seconds read every file once, in the order of the tree as all were hashed at once; then it begins anew."""
    scrubs = Scrubs(mirror)
    first = await scrubs(5)
    assert {path for path, moment in moments(mirror).items() if moment > "01-02"} == set(FILES[:5])
    assert (first.files, first.bytes, first.seconds, first.files_left) == (5, 5000, 5.0, 7)
    assert first.oldest_verified_at == "2027-01-01T12:00:00.000000Z"
    assert (await scrubs(5)).oldest_verified_at == "2027-01-01T12:00:00.000000Z"
    mirror.clock.pass_(days=1)
    third = await scrubs(5)
    assert moments(mirror)[FILES[11]] == "01-03T12:00:12"
    assert moments(mirror)[FILES[2]] == "01-03T12:00:15"
    assert moments(mirror)[FILES[3]] == "01-02T12:00:04"
    assert third.oldest_verified_at == "2027-01-02T12:00:04.000000Z"


async def test_a_budget_for_everything_ends_when_everything_is_read(mirror: Mirrored) -> None:
    """No file is read twice in one scrub."""
    scrubs = Scrubs(mirror)
    found = await scrubs(1000)
    assert (found.exit_code, found.files, found.seconds, found.files_left) == (0, 12, 12.0, 0)
    assert scrubs.events[0] == Checking(12, 12_000)


async def test_a_file_that_was_begun_is_read_to_its_end(mirror: Mirrored) -> None:
    """Else one that takes longer than the budget would never be verified."""
    found = await Scrubs(mirror)(0.001)
    assert (found.files, found.seconds) == (1, 1.0)
    assert moments(mirror)[FILES[0]] > "01-02"


async def test_what_a_sync_has_just_published_comes_last(mirror: Mirrored) -> None:
    path_of(mirror, FILES[0]).unlink()
    await mirror.sync()
    mirror.clock.pass_(days=1)
    await Scrubs(mirror)(11)
    assert moments(mirror)[FILES[0]].startswith("01-02")
    assert all(moments(mirror)[path].startswith("01-03") for path in FILES[1:])


async def test_names_limit_what_is_scrubbed(mirror: Mirrored) -> None:
    found = await Scrubs(mirror)(100, "a")
    assert (found.files, found.files_left) == (6, 0)
    assert {path for path, moment in moments(mirror).items() if moment > "01-02"} == set(FILES[:6])
    with pytest.raises(ConfigError, match="no subscription 'c'"):
        await Scrubs(mirror)(100, "c")


async def test_foreign_files_are_not_looked_for(mirror: Mirrored) -> None:
    """A part of the mirror says nothing about the rest."""
    path_of(mirror, FILES[0]).with_name("notes.txt").write_text("mine", "utf-8")
    assert (await Scrubs(mirror)(100)).foreign == []


async def test_without_an_index_nothing_is_made(tmp_path: Path, upstream: FakeUpstream) -> None:
    mirror = Mirrored(tmp_path / "nothing", upstream)
    with pytest.raises(IndexUnusable, match="no index"):
        await Scrubs(mirror)(100)
    assert not mirror.root.exists()


async def test_a_root_that_goes_away_meanwhile_is_not_made_anew(mirror: Mirrored) -> None:
    """An unmounted disk is no mirror whose files are all missing."""
    elsewhere = mirror.root.with_name("elsewhere")
    scrubs = Scrubs(mirror)

    def meanwhile() -> None:
        if scrubs.seconds == 3:
            mirror.root.rename(elsewhere)

    scrubs.meanwhile = meanwhile
    with pytest.raises(IndexUnusable):
        await scrubs(100)
    assert not mirror.root.exists()
    elsewhere.rename(mirror.root)
    assert mirror.rows("SELECT count(*) FROM files WHERE path IS NULL") == [(0,)]


# -- what is wrong


async def test_wrong_missing_and_short_files_are_found(mirror: Mirrored) -> None:
    """They are no longer handed out, the sound ones have their new moment, and the next sync fetches what is wrong."""
    flip(path_of(mirror, FILES[1]))
    path_of(mirror, FILES[2]).unlink()
    path_of(mirror, FILES[3]).write_bytes(b"short")
    found = await Scrubs(mirror)(100)
    assert (found.exit_code, found.files) == (1, 12)
    assert [(Path(fault.path).name, fault.problem.split(",")[0][:8]) for fault in found.faults] == [
        (Path(FILES[1]).name, "SHA-256 "),
        (Path(FILES[2]).name, "missing"),
        (Path(FILES[3]).name, "5 bytes"),
    ]
    assert [path for path, moment in moments(mirror).items() if not moment] == FILES[1:4]
    assert mirror.rows("SELECT count(*) FROM events WHERE kind = 'damaged'") == [(3,)]
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(CATALOGUE)


async def test_what_is_beyond_the_budget_is_not_found_yet(mirror: Mirrored) -> None:
    flip(path_of(mirror, FILES[5]))
    scrubs = Scrubs(mirror)
    assert (await scrubs(5)).exit_code == 0
    assert (await scrubs(5)).exit_code == 1


async def test_what_is_known_to_be_wrong_is_told_and_not_read_again(mirror: Mirrored) -> None:
    """It must not eat up the budget of each night until upstream has it again."""
    flip(path_of(mirror, FILES[0]))
    await Scrubs(mirror)(1)
    found = await Scrubs(mirror)(1)
    assert (found.exit_code, found.files) == (1, 1)
    (fault,) = found.faults
    assert "found wrong before" in fault.problem
    assert moments(mirror)[FILES[1]] > "01-02"
    assert mirror.rows("SELECT count(*) FROM events WHERE kind = 'damaged'") == [(1,)]


async def test_repair_sets_aside_and_fetches_again(mirror: Mirrored) -> None:
    """Also what was found before; only what was read can be repaired."""
    good = mirror.tree()
    flip(path_of(mirror, FILES[0]))
    await Scrubs(mirror)(1)
    flip(path_of(mirror, FILES[1]))
    flip(path_of(mirror, FILES[9]))
    mirror.upstream.clear()
    found = await Scrubs(mirror)(3, repair=True)
    assert (found.exit_code, [Path(fault.path).name for fault in found.faults]) == (0, [Path(path).name for path in FILES[:2]])
    assert all(fault.repaired for fault in found.faults)
    assert found.repair is not None
    assert mirror.upstream.count("download") == 2
    assert {path: md5 for path, md5 in mirror.tree().items() if good[path] != md5}.keys() == {FILES[9]}
    assert len(list((mirror.root / ".staging" / "quarantine").rglob("*.bin"))) == 2


async def test_a_file_put_right_by_hand_is_sound_again(mirror: Mirrored) -> None:
    """With --repair what was found wrong is read once more before anything is set aside."""
    good = path_of(mirror, FILES[0]).read_bytes()
    flip(path_of(mirror, FILES[0]))
    await Scrubs(mirror)(1)
    path_of(mirror, FILES[0]).write_bytes(good)
    found = await Scrubs(mirror)(100, repair=True)
    assert (found.exit_code, found.faults, found.repair) == (0, [], None)
    assert moments(mirror)[FILES[0]] > "01-02"
    assert (await mirror.sync()).exit_code == 0


async def test_what_upstream_no_longer_has_cannot_be_repaired(mirror: Mirrored) -> None:
    catalogue = withdraw(CATALOGUE, "BDALPHA", FIRST.id)
    newer = tuple(replace(r, updated="2026-12-01") if r.id == "BDALPHA" else r for r in catalogue.resources)
    mirror.upstream.catalogue = replace(catalogue, resources=newer)
    wrong = next(path for path in FILES if FIRST.id in path)
    flip(path_of(mirror, wrong))
    found = await Scrubs(mirror)(100, repair=True)
    assert (found.exit_code, [fault.repaired for fault in found.faults]) == (1, [False])


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
