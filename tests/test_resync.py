"""A resync costs what has changed: a day's changes are found, nothing is missed for good, and nothing is fetched twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.demo.catalogue import SampleFile
from mirror.events import Withdrawn
from mirror.store.index import FILE

from .mirrored import Mirrored, edition, offered, only, rewritten, without
from .upstream import FakeUpstream, faults, publish, replace_file, simple_catalogue, withdraw

CATALOGUE = simple_catalogue(resources=3, subs=6, files=2)
ALL = offered(CATALOGUE)
ALPHA = CATALOGUE.resources[0]
FIRST = ALPHA.listed[0]
NEWEST = "2026-07-02"
"""The last day of publication in `CATALOGUE`."""


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    """A mirror of everything, after its first sync."""
    made = Mirrored(tmp_path / "root", upstream)
    assert (await made.sync()).exit_code == 0
    return made


# -- nothing has changed


async def test_without_changes_a_resync_is_one_filtered_request(mirror: Mirrored) -> None:
    report = await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}
    (request,) = mirror.upstream.requests
    assert dict(request.query) == {"updatedFrom": NEWEST, "page": "1", "limit": "50"}
    assert (report.exit_code, report.requests, report.planned["keep"]) == (0, 1, 36)
    assert (report.account.expected, report.account.verified) == (36, 36)


async def test_a_resync_costs_the_pages_of_that_request(tmp_path: Path) -> None:
    """Everything was published on the last day seen: 60 resources are two pages, and not one page more."""
    async with FakeUpstream(simple_catalogue(resources=60, subs=1, files=1)) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream)
        await mirror.sync()
        await mirror.sync()
        assert mirror.requests() == {"capabilities": 2}


async def test_what_was_published_today_is_not_listed_again_today(tmp_path: Path) -> None:
    async with FakeUpstream(CATALOGUE) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream)
        mirror.clock.at = datetime(2026, 7, 2, 12, tzinfo=UTC)
        await mirror.sync()
        mirror.clock.pass_(hours=3)
        await mirror.sync()
        assert mirror.requests() == {"capabilities": 1}


async def test_a_new_title_costs_the_listing_of_its_resource(mirror: Mirrored) -> None:
    renamed = replace(ALPHA, title="Another title", updated=NEWEST)
    mirror.upstream.catalogue = replace(CATALOGUE, resources=(renamed, *CATALOGUE.resources[1:]))
    report = await mirror.sync()
    assert mirror.requests() == {"capabilities": 1, "resource": 1}
    assert report.exit_code == 0


# -- something has


async def test_one_change_costs_its_resource_and_its_files(mirror: Mirrored) -> None:
    changed = replace(FIRST, files=(*FIRST.files, SampleFile("more.bin", b"more")), updated="2026-12-01")
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, changed)
    report = await mirror.sync()
    assert mirror.requests() == {"capabilities": 1, "resource": 1, "sub-resource": 1, "download": 1}
    assert mirror.paths("sub-resource") == [f"/resource/BDALPHA/{FIRST.id}"]
    assert report.planned["keep"] == 36
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}


async def test_a_file_replaced_in_place_is_replaced_here(mirror: Mirrored) -> None:
    new = SampleFile(FIRST.files[0].name, b"another content")
    mirror.upstream.catalogue = replace_file(CATALOGUE, ALPHA.id, FIRST.id, new, updated="2026-12-01")
    report = await mirror.sync()
    assert (report.exit_code, report.done["replace"], report.done["add"]) == (0, 1, 0)
    assert mirror.paths("download") == [f"/download/BDALPHA/{FIRST.id}/{new.name}"]
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    assert mirror.staged() == []


async def test_a_whole_folder_replaced_in_place(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(FIRST, "again", updated="2026-12-01"))
    assert (await mirror.sync()).done["replace"] == 2
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_without_md5_a_new_publication_is_fetched_again(mirror: Mirrored) -> None:
    """The bytes may be others though name and length are the same."""
    bare = replace(FIRST, files=tuple(replace(file, md5=None) for file in FIRST.files), updated="2026-12-01")
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, bare)
    await mirror.sync()
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(bare, "again", updated="2026-12-02"))
    assert (await mirror.sync()).done["replace"] == 2
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}


async def test_a_new_edition_moves_the_alias_and_supersedes_the_old(mirror: Mirrored) -> None:
    last = next(sub for sub in ALPHA.listed if "D038_2026-06-15" in sub.id)
    new = edition(last, "2026-09-15", "2026-10-02")
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, new)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.aliases()["BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"] == new.id
    assert (mirror.states()[last.id], mirror.states()[new.id]) == ("superseded", "current")
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_with_latest_an_old_edition_stays_when_a_new_one_comes(mirror: Mirrored) -> None:
    mirror.tables = {"latest": {"resources": ["*"]}}
    last = next(sub for sub in ALPHA.listed if "D038_2026-06-15" in sub.id)
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, edition(last, "2026-09-15", "2026-10-02"))
    report = await mirror.sync()
    assert (report.done["add"], report.account.expected) == (2, 18)
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_what_disappears_upstream_is_kept_here(mirror: Mirrored) -> None:
    """[C] Old editions go when new ones come; here they stay, as withdrawn."""
    gone = withdraw(CATALOGUE, ALPHA.id, FIRST.id)
    mirror.upstream.catalogue = publish(gone, ALPHA.id, edition(FIRST, "2026-09-15", "2026-10-02"))
    report = await mirror.sync()
    assert report.exit_code == 0
    assert mirror.tree() == {**ALL, **offered(mirror.upstream.catalogue)}
    assert mirror.states()[FIRST.id] == "withdrawn"
    assert [event for event in mirror.events if isinstance(event, Withdrawn)] == [Withdrawn("gpf", ALPHA.id, FIRST.id)]
    assert mirror.rows("SELECT kind FROM events WHERE sub_resource = ? ORDER BY id", FIRST.id)[-1] == ("withdrawn",)


async def test_a_resource_that_disappears_is_noticed_by_the_next_full_listing(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = withdraw(CATALOGUE, ALPHA.id)
    await mirror.sync()
    assert set(mirror.states().values()) == {"current", "superseded"}
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == ALL
    assert {state for name, state in mirror.states().items() if "BDALPHA" in name} == {"withdrawn"}
    mirror.upstream.catalogue = CATALOGUE
    mirror.clock.pass_(days=8)
    await mirror.sync()
    assert set(mirror.states().values()) == {"current", "superseded"}
    assert "download" not in mirror.requests()


# -- time


async def test_everything_is_listed_again_from_time_to_time(mirror: Mirrored) -> None:
    mirror.upstream_options = {"full_listing_every": "2d"}
    mirror.clock.pass_(days=1, hours=23)
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}
    mirror.clock.pass_(hours=1)
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1, "resource": 3, "sub-resource": 18}
    assert "updatedFrom" not in mirror.upstream.requests[0].query
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}


async def test_a_full_listing_finds_what_no_date_told(mirror: Mirrored) -> None:
    """A file was exchanged and no `updated` said so."""
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(FIRST, "in silence"))
    await mirror.sync()
    assert mirror.tree() == ALL
    mirror.clock.pass_(days=8)
    await mirror.sync()
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_an_interrupted_full_listing_goes_on_in_the_next_run(mirror: Mirrored) -> None:
    """What was listed since it began is not listed again."""
    mirror.clock.pass_(days=8)
    mirror.upstream.script("/resource/BDBRAVO*", [faults.status(404)], forever=True)
    await mirror.sync()
    mirror.upstream.heal()
    mirror.clock.pass_(minutes=10)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.paths("resource") == ["/resource/BDBRAVO"]


async def test_a_second_publication_of_one_day_is_found_the_next_day(tmp_path: Path) -> None:
    """Dates are of day resolution: a listing of the very day is read again when that day is over."""
    first = publish(CATALOGUE, ALPHA.id, rewritten(FIRST, "morning", updated="2026-12-01"))
    async with FakeUpstream(first) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream)
        mirror.clock.at = datetime(2026, 12, 1, 9, tzinfo=UTC)
        await mirror.sync()
        upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(FIRST, "evening", updated="2026-12-01"))
        mirror.clock.at = datetime(2026, 12, 1, 20, tzinfo=UTC)
        await mirror.sync()
        assert mirror.tree() == offered(first)
        mirror.clock.at = datetime(2026, 12, 2, 9, tzinfo=UTC)
        await mirror.sync()
        assert mirror.requests() == {"capabilities": 1, "resource": 1, "sub-resource": 1, "download": 2}
        assert mirror.tree() == offered(upstream.catalogue)
        mirror.clock.at = datetime(2026, 12, 3, 9, tzinfo=UTC)
        await mirror.sync()
        assert mirror.requests() == {"capabilities": 1}


async def test_without_md5_too_a_second_publication_of_one_day_is_found(tmp_path: Path) -> None:
    """All facts in the feed stay the same. So what was fetched on the day of its publication is fetched once more after it."""
    bare = replace(FIRST, files=tuple(replace(file, md5=None) for file in FIRST.files))
    async with FakeUpstream(publish(CATALOGUE, ALPHA.id, rewritten(bare, "morning", updated="2026-12-01"))) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream)
        mirror.clock.at = datetime(2026, 12, 1, 9, tzinfo=UTC)
        await mirror.sync()
        upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(bare, "evening", updated="2026-12-01"))
        mirror.clock.at = datetime(2026, 12, 1, 20, tzinfo=UTC)
        await mirror.sync()
        assert mirror.requests() == {"capabilities": 1}
        mirror.clock.at = datetime(2026, 12, 2, 9, tzinfo=UTC)
        assert (await mirror.sync()).exit_code == 0
        assert mirror.tree() == offered(upstream.catalogue)
        mirror.clock.pass_(days=8)
        assert (await mirror.sync()).exit_code == 0
        assert "download" not in mirror.requests()


async def test_a_date_of_the_future_hides_nothing(mirror: Mirrored) -> None:
    """Neither what others publish later, nor what that very resource does."""
    mirror.upstream.catalogue = publish(CATALOGUE, "BDBRAVO", replace(CATALOGUE.resources[1].listed[0], updated="2099-01-01"))
    await mirror.sync()
    mirror.upstream.catalogue = publish(mirror.upstream.catalogue, ALPHA.id, rewritten(FIRST, "later", updated="2027-01-02"))
    mirror.clock.pass_(days=1, hours=1)
    await mirror.sync()
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    other = CATALOGUE.resources[1].listed[1]
    mirror.upstream.catalogue = publish(mirror.upstream.catalogue, "BDBRAVO", rewritten(other, "x", updated="2027-01-03"))
    mirror.clock.pass_(days=2)
    await mirror.sync()
    assert mirror.tree() == offered(mirror.upstream.catalogue)


async def test_a_clock_that_was_ahead_for_one_run_hides_nothing(mirror: Mirrored) -> None:
    """A listing of the future is no listing of today: what it was made of may be long gone."""
    right = mirror.clock.at
    mirror.clock.pass_(days=400)
    await mirror.sync()
    mirror.clock.at = right
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(FIRST, "in silence"))
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(mirror.upstream.catalogue)
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}


# -- the config changes


async def test_a_wider_filter_takes_effect_at_once(tmp_path: Path) -> None:
    """With the listings that it newly needs, and no full listing."""
    async with FakeUpstream(CATALOGUE) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream, one={"resources": ["BDALPHA"], "zones": ["D038"]})
        await mirror.sync()
        mirror.tables = {"one": {"resources": ["BDALPHA"], "zones": ["D038", "D073"]}}
        await mirror.sync()
        assert mirror.requests()["capabilities"] == 1
        assert mirror.requests()["sub-resource"] == 1
        assert mirror.tree() == only(only(only(ALL, "BDALPHA"), "D038", "D073"), "2026-06-15")
        mirror.tables = {"one": {"resources": ["BDALPHA", "BDBRAVO"], "zones": ["D038"], "edition": "all"}}
        await mirror.sync()
        assert mirror.upstream.requests[0].query["updatedFrom"] == NEWEST
        assert only(mirror.tree(), "BDBRAVO") == only(only(ALL, "BDBRAVO"), "D038")


@pytest.mark.parametrize(
    "wider",
    [{"edition": "all"}, {"edition": 2}, {"edition": "2026-03-15..2026-03-15"}],
    ids=["all", "two", "span"],
)
async def test_more_editions_need_no_more_listing_of_sub_resources(tmp_path: Path, wider: dict[str, object]) -> None:
    async with FakeUpstream(CATALOGUE) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream, one={"resources": ["BDALPHA"]})
        await mirror.sync()
        mirror.tables = {"one": {"resources": ["BDALPHA"], **wider}}
        assert (await mirror.sync()).exit_code == 0
        assert mirror.requests() == {"capabilities": 1, "sub-resource": 3, "download": 6}
        assert mirror.tree() == only(ALL, "BDALPHA")


async def test_more_files_need_no_listing_at_all(tmp_path: Path) -> None:
    async with FakeUpstream(CATALOGUE) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream, one={"resources": ["BDALPHA"], "files": ["*-1.bin"]})
        await mirror.sync()
        mirror.tables = {"one": {"resources": ["BDALPHA"]}}
        await mirror.sync()
        assert mirror.requests() == {"capabilities": 1, "download": 3}


async def test_a_narrower_filter_deletes_nothing(mirror: Mirrored) -> None:
    aliases = mirror.aliases()
    mirror.tables = {"all": {"resources": ["BDALPHA"], "zones": ["D038"], "files": ["*-1.bin"]}}
    report = await mirror.sync()
    assert (report.exit_code, report.account.expected) == (0, 1)
    assert mirror.requests() == {"capabilities": 1}
    assert mirror.tree() == ALL
    assert mirror.aliases() == aliases
    assert mirror.rows("SELECT count(*) FROM files WHERE path IS NOT NULL") == [(36,)]


# -- the tree changes


async def test_a_file_deleted_by_hand_is_fetched_again(mirror: Mirrored) -> None:
    path = mirror.root / "data" / "gpf" / ALPHA.id / FIRST.id / FIRST.files[1].name
    path.unlink()
    report = await mirror.sync()
    assert mirror.requests() == {"capabilities": 1, "download": 1}
    assert (report.exit_code, report.done["replace"]) == (0, 1)
    assert mirror.tree() == ALL


async def test_a_whole_tree_deleted_by_hand_is_fetched_again(mirror: Mirrored) -> None:
    (mirror.root / "data").rename(mirror.root / "elsewhere")
    assert (await mirror.sync()).exit_code == 0
    assert mirror.requests() == {"capabilities": 1, "download": 36}
    assert mirror.tree() == ALL


async def test_a_file_of_the_wrong_size_is_fetched_again_once_its_folder_was_touched(mirror: Mirrored) -> None:
    folder = mirror.root / "data" / "gpf" / ALPHA.id / FIRST.id
    copy = folder / "copy"
    copy.write_bytes(b"cut off")
    copy.rename(folder / FIRST.files[0].name)
    assert (await mirror.sync()).done["replace"] == 1
    assert mirror.tree() == ALL


async def test_a_file_that_cannot_be_had_again_costs_its_edition_the_alias(mirror: Mirrored) -> None:
    """`current` leads to the newest edition of which everything is here."""
    last = next(sub for sub in ALPHA.listed if "D038_2026-06-15" in sub.id)
    (mirror.root / "data" / "gpf" / ALPHA.id / last.id / last.files[0].name).unlink()
    mirror.upstream.script("download", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    assert mirror.aliases()["BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"].endswith("2026-03-15")
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert mirror.aliases()["BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"] == last.id


async def test_without_its_index_a_tree_is_taken_in_again(mirror: Mirrored) -> None:
    """Hashed, not fetched; a file that is not what upstream lists is set aside and fetched."""
    (mirror.root / FILE).unlink()
    wrong = mirror.root / "data" / "gpf" / ALPHA.id / FIRST.id / FIRST.files[0].name
    wrong.write_bytes(b"x" * wrong.stat().st_size)
    aliases = mirror.aliases()
    report = await mirror.sync()
    assert mirror.requests()["download"] == 1
    assert (report.exit_code, report.done["add"], report.done["bytes"]) == (0, 36, 1000)
    assert mirror.tree() == ALL
    assert mirror.aliases() == aliases
    assert [path.read_bytes()[:2] for path in (mirror.root / ".staging" / "quarantine").rglob("*.bin")] == [b"xx"]
    await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}


async def test_a_file_staged_long_ago_does_not_take_the_place_of_one_taken_in(mirror: Mirrored) -> None:
    """The index is lost, and a killed run of an earlier generation had left a file in staging."""
    (mirror.root / FILE).unlink()
    stale = mirror.root / ".staging" / "ready" / "gpf" / ALPHA.id / FIRST.id / FIRST.files[0].name
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of another time")
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == ALL
    await mirror.sync()
    assert mirror.staged() == []


async def test_a_withdrawn_edition_is_not_fetched_again(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = withdraw(CATALOGUE, ALPHA.id, FIRST.id)
    mirror.clock.pass_(days=8)
    await mirror.sync()
    (mirror.root / "data" / "gpf" / ALPHA.id / FIRST.id / FIRST.files[0].name).unlink()
    report = await mirror.sync()
    assert (report.exit_code, report.account.expected) == (0, 34)
    assert set(without(ALL, FIRST.id)) <= set(mirror.tree())
