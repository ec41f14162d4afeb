"""An index that is gone, or broken: built anew from the tree and the feeds, without fetching again what is here."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.errors import IndexMissing, IndexUnusable
from mirror.events import Note
from mirror.store.index import FILE
from mirror.store.query import Filters, Reader
from mirror.verifying import Findings, verify

from .command import run, write_config
from .killed import ARCHIVES, FIRST, GENERATIONS
from .mirrored import Mirrored, edition, offered, rewritten, volumes
from .upstream import FakeUpstream, faults, publish, withdraw
from .upstream.faults import Fault

OLDER, NEWER = ARCHIVES[:2]
MINE = Path("data", "gpf", "BDORTHO", OLDER.id, "notes.txt")


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Mirrored]:
    """A complete mirror."""
    async with FakeUpstream(FIRST) as fake:
        made = Mirrored(tmp_path / "root", fake)
        assert (await made.sync()).exit_code == 0
        yield made


def lose(root: Path) -> None:
    for path in root.glob(f"{FILE}*"):
        path.unlink()


def owned(mirror: Mirrored) -> dict[str, list[tuple[Any, ...]]]:
    """What the index says of files, their sub-resources and the series, but for moments and what only a feed tells."""
    return {
        query: mirror.rows(query)
        for query in (
            "SELECT resource, sub_resource, file, path, size, md5, sha256, state, latest FROM files ORDER BY 1, 2, 3",
            "SELECT sub_resource, state, latest, complete, stored_files, stored_bytes, series, zones, edition_date "
            "FROM sub_resources WHERE stored_files ORDER BY 1",
        )
    }


async def repaired(mirror: Mirrored) -> Findings:
    mirror.upstream.clear()
    mirror.events.clear()
    return await verify(mirror.settings, repair=True, emit=mirror.events.append, now=mirror.clock)


async def synced(mirror: Mirrored) -> Findings:
    report = await mirror.sync()
    return Findings(rebuilt=True, repair=report)


def notes(mirror: Mirrored) -> str:
    return "\n".join(event.message for event in mirror.events if isinstance(event, Note) and event.level == "warning")


# -- gone


@pytest.mark.parametrize("command", [synced, repaired])
async def test_a_lost_index_is_rebuilt_without_fetching(mirror: Mirrored, command: Callable[[Mirrored], Any]) -> None:
    """Rows, series and links are what they were; no byte of a file is fetched; the next sync finds nothing to do."""
    before, aliases = owned(mirror), mirror.aliases()
    lose(mirror.root)
    findings = await command(mirror)
    assert (findings.exit_code, findings.repair.exit_code, findings.repair.done["bytes"]) == (0, 0, 0)
    assert "download" not in mirror.requests()
    assert (mirror.tree(), mirror.aliases(), owned(mirror)) == (offered(FIRST), aliases, before)
    assert (await mirror.sync()).requests == 1


async def test_withdrawn_editions_come_back_as_withdrawn(mirror: Mirrored) -> None:
    """Upstream no longer lists them, so the tree and their names are all that tells of them, of series, zone and date, too."""
    mirror.upstream.catalogue = GENERATIONS[1]
    assert (await mirror.sync()).exit_code == 0
    before, aliases = owned(mirror), mirror.aliases()
    assert mirror.states()[OLDER.id] == "withdrawn"
    lose(mirror.root)
    assert (await mirror.sync()).exit_code == 0
    assert "download" not in mirror.requests()
    assert (owned(mirror), mirror.aliases()) == (before, aliases)
    ((message,),) = mirror.rows("SELECT message FROM events WHERE kind = 'adopted' AND sub_resource = ?", OLDER.id)
    assert message.startswith("4 files, ")
    assert "no longer lists" in message
    assert (await mirror.sync()).requests == 1


async def test_a_resource_that_is_gone_as_a_whole_comes_back(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = withdraw(FIRST, "SCAN")
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    before, aliases = owned(mirror), mirror.aliases()
    lose(mirror.root)
    assert (await mirror.sync()).exit_code == 0
    files, subs = zip(before.values(), owned(mirror).values(), strict=True)
    assert files[0] == files[1]
    # The date of its edition is lost: neither its name nor a sibling tells it. Its series is known by its link.
    assert [row[:7] for row in subs[0]] == [row[:7] for row in subs[1]]
    assert mirror.aliases() == aliases
    assert mirror.rows("SELECT resource, state FROM resources WHERE resource = 'SCAN'") == [("SCAN", "withdrawn")]


async def test_what_is_listed_and_no_longer_wanted_comes_back_by_its_md5(mirror: Mirrored) -> None:
    """Its listing is asked for once, and only the bytes that it names are taken for its files."""
    before = owned(mirror)
    damaged = mirror.root / "data" / "gpf" / "SCAN" / "LARGE_2026" / "large.7z"
    lose(mirror.root)
    mirror.tables = {"a": {"resources": ["BDORTHO"], "edition": "latest"}}
    assert (await mirror.sync()).exit_code == 0
    assert "download" not in mirror.requests()
    assert owned(mirror) == before
    lose(mirror.root)
    damaged.write_bytes(b"other bytes")
    assert (await mirror.sync()).exit_code == 0
    assert mirror.rows("SELECT count(*) FROM files WHERE resource = 'SCAN'") == [(0,)]
    assert "large.7z" in notes(mirror)
    assert damaged.read_bytes() == b"other bytes"


async def test_files_of_others_stay_foreign(mirror: Mirrored) -> None:
    """What upstream does not list of a sub-resource that it lists is not ours; nor is what could be none of its names."""
    (mirror.root / MINE).write_text("mine")
    (mirror.root / "data" / "gpf" / "BDORTHO" / ".hidden").mkdir()
    (mirror.root / "data" / "other").mkdir()
    lose(mirror.root)
    assert (await mirror.sync()).exit_code == 0
    findings = await verify(mirror.settings, now=mirror.clock)
    assert [str(Path(path).relative_to(mirror.root)) for path in findings.foreign] == [
        str(MINE),
        "data/gpf/BDORTHO/.hidden",
        "data/other",
    ]
    assert (mirror.root / MINE).read_text() == "mine"


async def test_unknown_files_are_not_taken_in_where_the_index_was_never_gone(mirror: Mirrored) -> None:
    stray = mirror.root / "data" / "gpf" / "BDORTHO" / "BDORTHO_STRAY"
    stray.mkdir()
    (stray / "a.7z").write_text("whose?")
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.rows("SELECT count(*) FROM files WHERE sub_resource = 'BDORTHO_STRAY'") == [(0,)]
    assert (await verify(mirror.settings, now=mirror.clock)).foreign == [str(stray)]


async def test_a_wanted_file_without_an_md5_is_fetched_again(tmp_path: Path) -> None:
    """Its size alone does not show that it is what upstream lists now. The old bytes are set aside, not overwritten."""
    blind = SampleSub("S", updated="2026-01-01", files=(SampleFile("s.gpkg", Pattern(1000, "old"), md5=None),))
    async with FakeUpstream(Catalogue((SampleResource("R", (blind,)),))) as fake:
        mirror = Mirrored(tmp_path / "root", fake)
        await mirror.sync()
        (old,) = mirror.tree().values()
        lose(mirror.root)
        fake.catalogue = Catalogue((SampleResource("R", (rewritten(blind, "new"),)),))
        assert (await mirror.sync()).exit_code == 0
        assert mirror.tree() == offered(fake.catalogue)
        assert old not in mirror.tree().values()
        assert [path.name for path in (mirror.root / ".staging" / "quarantine").rglob("*.gpkg")] == ["s.gpkg"]
        # The same file, where nobody wants it: it is known again, and fetched as soon as somebody does.
        lose(mirror.root)
        mirror.tables = {"a": {"resources": ["NOTHING"]}}
        await mirror.sync()
        assert mirror.rows("SELECT f.updated FROM stored_files f") == [(None,)]
        mirror.tables = {"a": {"resources": ["R"]}}
        await mirror.sync()
        assert mirror.requests()["download"] == 1


async def test_links_are_not_turned_back_while_an_index_is_rebuilt(mirror: Mirrored) -> None:
    """The newest edition is not adopted before older ones; until it is, its link stays where it leads."""
    newest = edition(NEWER, "2026-01-01", "2026-11-01")
    mirror.upstream.catalogue = publish(FIRST, "BDORTHO", newest)
    await mirror.sync()
    aliases = mirror.aliases()
    assert newest.id in aliases.values()
    seen = []

    def look(event: object) -> None:
        seen.append(mirror.aliases())

    lose(mirror.root)
    mirror.events = _Watched(look)
    await mirror.sync()
    assert all(links == aliases for links in seen)


class _Watched(list[Any]):
    """A list that tells of what is added."""

    def __init__(self, tell: Callable[[object], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, item: Any) -> None:
        self._tell(item)


@pytest.mark.parametrize("fault", [faults.status(500), faults.status(404), faults.close_before_response()])
async def test_a_listing_that_fails_leaves_the_rest_to_the_next_sync(mirror: Mirrored, fault: Fault) -> None:
    """What cannot be told to be withdrawn is not said to be: the run says so, and the next one looks again."""
    mirror.upstream.catalogue = GENERATIONS[1]
    await mirror.sync()
    before = owned(mirror)
    lose(mirror.root)
    mirror.tables = {"a": {"resources": ["SCAN"]}}
    mirror.upstream.script("/resource/BDORTHO", [fault], forever=True)
    report = await mirror.sync()
    assert report.exit_code == 1
    assert mirror.rows("SELECT count(*) FROM files WHERE resource = 'BDORTHO'") == [(0,)]
    assert report.failed or "cannot be read" in report.reason
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert owned(mirror) == before


async def test_what_is_withdrawn_while_an_index_is_rebuilt_holds_up_nothing(mirror: Mirrored) -> None:
    """Nobody wants it, so no run lists its resource again by itself; and its files are not to be had any more."""
    lose(mirror.root)
    mirror.tables = {"a": {"resources": ["SCAN"]}}
    mirror.upstream.script(f"/resource/BDORTHO/{OLDER.id}", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    mirror.upstream.heal()
    mirror.upstream.catalogue = withdraw(FIRST, "BDORTHO", OLDER.id)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.states()[OLDER.id] == "withdrawn"
    assert {row[0] for row in mirror.rows("SELECT file FROM files WHERE sub_resource = ?", OLDER.id)} == {
        file.name for file in OLDER.files
    }


@pytest.mark.parametrize("here", ["nothing", "an empty folder"])
async def test_nothing_is_made_where_nothing_is(tmp_path: Path, here: str) -> None:
    """`verify --repair` on a disk that is not mounted must not fetch the whole mirror anew."""
    async with FakeUpstream(FIRST) as fake:
        mirror = Mirrored(tmp_path / "root", fake)
        if here != "nothing":
            (mirror.root / "data").mkdir(parents=True)
        with pytest.raises(IndexMissing):
            await repaired(mirror)
        assert fake.requests == []
        assert not (mirror.root / FILE).exists()


# -- damaged


def _random(root: Path) -> None:
    (root / FILE).write_bytes(bytes(range(256)) * 300)


def _truncated(root: Path) -> None:
    content = (root / FILE).read_bytes()
    (root / FILE).write_bytes(content[: len(content) // 2])


def _emptied(root: Path) -> None:
    (root / FILE).write_bytes(b"")


def _one_page(root: Path) -> None:
    (root / FILE).write_bytes((root / FILE).read_bytes()[:4096])


def _headless(root: Path) -> None:
    (root / FILE).write_bytes(b"\0" * 100 + (root / FILE).read_bytes()[100:])


def _log_alone(root: Path) -> None:
    (root / FILE).rename(root / f"{FILE}-wal")


@pytest.mark.parametrize("command", [synced, repaired])
@pytest.mark.parametrize("damage", [_random, _truncated, _emptied, _one_page, _headless, _log_alone])
async def test_a_damaged_index_is_set_aside_and_rebuilt(
    mirror: Mirrored, damage: Callable[[Path], None], command: Callable[[Mirrored], Any]
) -> None:
    """In the same run, and it says so. What it was is kept; nothing is fetched again."""
    before = owned(mirror)
    damage(mirror.root)
    (kept,) = (path.read_bytes() for path in mirror.root.glob(f"{FILE}*"))
    findings = await command(mirror)
    assert (findings.exit_code, findings.repair.done["bytes"]) == (0, 0)
    assert "download" not in mirror.requests()
    assert (mirror.tree(), owned(mirror)) == (offered(FIRST), before)
    aside = sorted((mirror.root / ".staging" / "quarantine").glob("index-2027-01-01T120000Z*"))
    assert kept in [path.read_bytes() for path in aside]
    assert "set aside as" in notes(mirror)


def _break_pages(root: Path, table: str) -> None:
    """Overwrite the pages of a table, as a disk does that rots; what is read first stays as it was."""
    with closing(sqlite3.connect(root / FILE)) as sql:
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (number,) = sql.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = sql.execute("PRAGMA page_size").fetchone()
    with open(root / FILE, "r+b") as stream:
        stream.seek((number - 1) * size)
        stream.write(b"\xa5" * size)


async def test_damage_in_the_middle_is_said_and_mended_by_the_next_sync(mirror: Mirrored) -> None:
    """Exit code 1, the index is out of the way; the next sync rebuilds it, and fetches only what is new."""
    mirror.upstream.catalogue = GENERATIONS[1]
    _break_pages(mirror.root, "stored_files")
    report = await mirror.sync()
    assert report.exit_code == 1
    assert "set aside as .staging/quarantine/index-" in report.reason
    assert "\n" not in report.reason
    assert not (mirror.root / FILE).exists()
    assert offered(FIRST).items() <= {**offered(FIRST), **mirror.tree()}.items()
    assert (await mirror.sync()).exit_code == 0
    assert offered(GENERATIONS[1]).items() <= mirror.tree().items()
    assert mirror.states()[OLDER.id] == "withdrawn"
    assert (await verify(mirror.settings, full=True, now=mirror.clock)).exit_code == 0


async def test_damage_that_the_first_statements_meet_is_mended_at_once(mirror: Mirrored) -> None:
    before = owned(mirror)
    _break_pages(mirror.root, "runs")
    report = await mirror.sync()
    assert (report.exit_code, owned(mirror)) == (0, before)
    assert any("damaged" in remark for remark in report.remarks)


async def test_verify_finds_damage_that_no_sync_has_met(mirror: Mirrored) -> None:
    """Without --repair it says what to do; with it the index is rebuilt."""
    before = owned(mirror)
    _break_pages(mirror.root, "stored_files")
    with pytest.raises(IndexUnusable, match=r"damaged.*--repair"):
        await verify(mirror.settings, now=mirror.clock)
    assert (await repaired(mirror)).exit_code == 0
    assert owned(mirror) == before


async def test_a_log_of_garbage_costs_no_more_than_what_was_in_it(mirror: Mirrored) -> None:
    (mirror.root / f"{FILE}-wal").write_bytes(b"garbage" * 10_000)
    before = owned(mirror)
    assert (await mirror.sync()).exit_code == 0
    assert (mirror.tree(), owned(mirror)) == (offered(FIRST), before)


async def test_an_index_of_a_newer_version_is_not_taken_for_damaged(mirror: Mirrored) -> None:
    with closing(sqlite3.connect(mirror.root / FILE)) as sql:
        sql.execute("UPDATE _sqlite_migrations SET name = 'm999_future' WHERE name = 'm001_first'")
        sql.commit()
    before = (mirror.root / FILE).read_bytes()
    with pytest.raises(IndexUnusable, match="newer version"):
        await mirror.sync()
    assert (mirror.root / FILE).read_bytes()[:4096] == before[:4096]
    assert not (mirror.root / ".staging" / "quarantine").exists()


async def test_an_archive_that_was_split_anew_meanwhile_keeps_no_old_volume(tmp_path: Path) -> None:
    """Its old volumes are not listed, so not known to be ours; yet readers would take them for a part of the new archive."""
    first, then = volumes("S", 4), replace(volumes("S", 3, seed="anew"), updated="2026-12-01")
    async with FakeUpstream(Catalogue((SampleResource("R", (first,)),))) as fake:
        mirror = Mirrored(tmp_path / "root", fake)
        await mirror.sync()
        lose(mirror.root)
        fake.catalogue = Catalogue((SampleResource("R", (then,)),))
        assert (await mirror.sync()).exit_code == 0
        assert mirror.tree() == offered(fake.catalogue)


async def flip_bytes(mirror: Mirrored, kept: Path, seed: int) -> None:
    """Whatever bytes of an index change: no error but our own, each question answered or refused, and two syncs mend it at most."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not secret
    shutil.rmtree(mirror.root)
    shutil.copytree(kept, mirror.root, symlinks=True)
    content = bytearray((mirror.root / FILE).read_bytes())
    for _ in range(rng.choice([1, 1, 3, 20])):
        start = rng.randrange(len(content))
        for at in range(start, min(len(content), start + rng.choice([1, 1, 4, 100, 4096]))):
            content[at] = rng.randrange(256)
    (mirror.root / FILE).write_bytes(content)
    with suppress(IndexUnusable), closing(Reader(mirror.root)) as reader:
        for question in (reader.subscriptions, reader.parked, reader.unlisted, reader.last_run, reader.totals):
            with suppress(IndexUnusable):
                question()
        with suppress(IndexUnusable):
            deque(reader.files(Filters()), maxlen=0)
    ends = [await mirror.sync()]
    if ends[0].exit_code:
        assert "damaged" in ends[0].reason, seed
        ends.append(await mirror.sync())
    assert ends[-1].exit_code == 0, (seed, ends[-1].reason)
    assert mirror.tree() == {**offered(FIRST), **offered(mirror.upstream.catalogue)}, seed


async def test_any_damage_to_the_index_is_survived(mirror: Mirrored, tmp_path: Path) -> None:
    shutil.copytree(mirror.root, tmp_path / "kept", symlinks=True)
    mirror.upstream.catalogue = GENERATIONS[1]
    for seed in (0, 7, 109, 261, 373, 789, 1286, 1426, *range(1000, 1010)):  # the first ones have found something
        await flip_bytes(mirror, tmp_path / "kept", seed)


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_any_damage_to_the_index_is_survived_a_thousand_times(mirror: Mirrored, tmp_path: Path) -> None:
    shutil.copytree(mirror.root, tmp_path / "kept", symlinks=True)
    mirror.upstream.catalogue = GENERATIONS[1]
    for seed in range(1000):
        await flip_bytes(mirror, tmp_path / "kept", seed)


# -- from outside


def test_each_command_says_what_to_do_about_a_lost_or_broken_index(tmp_path: Path) -> None:
    """One line, exit code 2 and a way out from what only reads; `sync` and `verify --repair` take that way."""
    with FakeUpstream(FIRST).in_thread() as fake:
        write_config(tmp_path, fake.url, 'a]\nresources = ["*"]\nedition = "all"')
        assert run("sync", cwd=tmp_path).code == 0
        root = tmp_path / "mirror"
        for damage in (_random, lose):
            damage(root)
            for reading in ("query", "verify", "status"):
                outcome = run(reading, cwd=tmp_path)
                told = outcome.err.splitlines()
                assert (len(told), "`inspire-mirror sync` or `verify --repair`" in told[0]) == (1, True), outcome
                assert outcome.code == (0 if (reading, damage) == ("status", lose) else 2)
            fake.clear()
            outcome = run("verify", "--repair", "--json", cwd=tmp_path)
            assert (outcome.code, outcome.json["rebuilt"], fake.count("download")) == (0, True, 0), outcome
            assert run("query", "--paths", cwd=tmp_path).out.count("\n") == len(offered(FIRST))
        _random(root)
        outcome = run("sync", cwd=tmp_path)
        assert (outcome.code, "set aside as .staging/quarantine/index-" in outcome.err, fake.count("download")) == (0, True, 0)
