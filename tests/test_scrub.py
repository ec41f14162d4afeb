"""`verify --budget`: what was hashed longest ago is hashed first, for as long as it may take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.errors import ConfigError, IndexUnusable
from mirror.events import Checking

from .mirrored import EVERYTHING, Mirrored, offered
from .scrubbed import CATALOGUE, FILES, FIRST, Scrubs, flip, moments, path_of
from .upstream import FakeUpstream, withdraw


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
