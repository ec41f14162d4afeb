"""`prune` deletes what retention lets go and nothing else, and afterwards tree, index and aliases tell the same story."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.catalogue import SampleSub
from mirror.demo.samples import sample_catalogue
from mirror.errors import ConfigError, IndexUnusable, Locked
from mirror.pruning import PruneAction, PruneReport, prune
from mirror.settings import Settings, from_mapping
from mirror.store.index import FILE, Index
from mirror.store.lock import root_lock
from mirror.store.query import Reader
from mirror.verifying import verify

from .mirrored import Mirrored, edition, offered, only, rewritten, tree_of, without
from .upstream import FakeUpstream, faults, publish, simple_catalogue, withdraw

CATALOGUE = simple_catalogue(resources=2, subs=9, files=2)
"""Three zones in three editions, of two resources."""

ALL = offered(CATALOGUE)
EDITIONS = ("2026-03-15", "2026-06-15", "2026-09-15")
ALPHA = CATALOGUE.resources[0]
OLDEST, MIDDLE, LATEST = (next(sub for sub in ALPHA.subs if f"D038_{day}" in sub.id) for day in EDITIONS)
KEEPING = {"resources": ["*"], "keep": 1}
NEWEST = only(ALL, EDITIONS[2])


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    """Everything was mirrored four days ago; from now on one edition is to be kept."""
    made = Mirrored(tmp_path / "root", upstream)
    assert (await made.sync()).exit_code == 0
    made.tables = {"one": KEEPING}
    made.limits["max_delete_ratio"] = 1
    made.clock.pass_(days=4)
    return made


def folder(mirror: Mirrored, sub: SampleSub = OLDEST) -> Path:
    return mirror.root / "data" / "gpf" / sub.id.split("_")[0] / sub.id


def deleted(report: PruneReport) -> set[str]:
    return {action.sub_resource for action in report.actions if action.action == "delete"}


def reasons(report: PruneReport) -> str:
    return " ".join(action.reason for action in report.actions)


def unpack(mirror: Mirrored, sub: SampleSub, *, known: bool = True) -> Path:
    """A folder as of an unpacked archive, with its rows unless the index does not know it."""
    place = mirror.root / "extracted" / "gpf" / ALPHA.id / sub.id
    (place / "layers").mkdir(parents=True)
    (place / "layers" / "a.gpkg").write_bytes(b"unpacked")
    (place / "out").symlink_to(mirror.root / "data")
    with Index(mirror.root) as index:
        sql = index.connection
        if known:
            (unit,) = sql.execute("SELECT id FROM sub_resources WHERE sub_resource = ?", (sub.id,)).fetchone()
            sql.execute("INSERT INTO extractions (sub_resource_id, digest, extracted_at) VALUES (?, 'd', 'now')", (unit,))
            sql.execute("INSERT INTO archives (id, sub_resource_id, archive, probed_at) VALUES (?1, ?1, 'a', 'now')", (unit,))
            sql.execute("INSERT INTO members (archive_id, position, member, type) VALUES (?, 0, 'a.gpkg', 'x')", (unit,))
    return place


# -- what goes, and what is left


async def test_old_editions_go_and_the_mirror_agrees_with_itself(mirror: Mirrored) -> None:
    """Tree, aliases, index and verify; nothing is asked of the upstream, and nothing stays in the trash."""
    aliases = mirror.aliases()
    report = await mirror.prune()
    assert (report.outcome, report.exit_code, report.refused, report.foreign) == ("complete", 0, [], [])
    assert report.deleted == {"sub_resources": 12, "files": 24, "bytes": 24000}
    assert mirror.tree() == NEWEST
    assert mirror.aliases() == aliases
    assert mirror.staged() == []
    assert not (mirror.root / ".staging" / "trash").exists()
    assert {row[0].removeprefix("data/gpf/") for row in mirror.rows("SELECT path FROM files")} == set(NEWEST)
    findings = await verify(mirror.settings, full=True)
    assert (findings.files, findings.faults, findings.foreign) == (12, [], [])
    assert (await mirror.prune()).actions == []


async def test_what_upstream_still_lists_stays_in_the_index_as_not_here(mirror: Mirrored) -> None:
    await mirror.prune()
    columns = (
        "state, latest, superseded_at, complete, settled, settled_files, settled_bytes, folder_stamp, stored_files, stored_bytes"
    )
    (row,) = mirror.rows(f"SELECT {columns} FROM sub_resources WHERE sub_resource = ?", OLDEST.id)  # noqa: S608 - a constant
    assert row == ("listed", 0, None, 0, None, 0, 0, None, 0, 0)
    assert mirror.rows("SELECT count(*) FROM sub_resources") == [(18,)]
    for table in ("leaving", "announced_files", "parked_files"):
        assert mirror.rows(f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608 - a constant
    assert mirror.rows("SELECT count(*) FROM stored_files") == [(12,)]


async def test_a_sync_does_not_fetch_again_what_nobody_wants(mirror: Mirrored) -> None:
    """Not at once, and not after a full listing."""
    await mirror.prune()
    report = await mirror.sync()
    assert mirror.requests() == {"capabilities": 1}
    assert (report.exit_code, report.account.expected) == (0, 12)
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 0
    assert "download" not in mirror.requests()
    assert mirror.tree() == NEWEST


async def test_a_wider_subscription_fetches_again_what_was_pruned(mirror: Mirrored) -> None:
    await mirror.prune()
    mirror.tables = {"two": {"resources": ["*"], "edition": 2, "keep": 2}}
    report = await mirror.sync()
    assert (report.exit_code, report.done["add"]) == (0, 12)
    assert mirror.tree() == only(ALL, *EDITIONS[1:])
    assert (await mirror.prune()).actions == []


async def test_history_keeps_what_the_rows_said(mirror: Mirrored) -> None:
    """Per sub-resource why, how many files and bytes, which edition; per file its size and SHA-256. And the run itself."""
    path = folder(mirror) / OLDEST.files[0].name
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    report = await mirror.prune()
    ((message,),) = mirror.rows("SELECT message FROM events WHERE kind = 'pruned' AND sub_resource = ?", OLDEST.id)
    assert message.startswith("2 files, 2000 bytes, edition 2026-03-15: not among the editions kept (one: keep = 1); superseded ")
    events = "SELECT message FROM events WHERE kind = 'pruned-file' AND sub_resource = ? AND file = ?"
    ((message,),) = mirror.rows(events, OLDEST.id, path.name)
    assert message.startswith(f"1000 bytes, SHA-256 {sha256}, fetched at ")
    assert mirror.rows("SELECT count(*) FROM events WHERE kind LIKE 'pruned%'") == [(12 + 24,)]
    runs = mirror.rows("SELECT command, outcome, exit_code, requests, subscriptions, report FROM runs ORDER BY id DESC LIMIT 1")
    assert runs[0][:5] == ("prune", "complete", 0, 0, '["one"]')
    assert '"deleted": {"sub_resources": 12' in runs[0][5]
    assert report.as_json()["deleted"] == report.deleted


async def test_a_withdrawn_edition_counts_as_one_and_leaves_the_index_when_it_goes(mirror: Mirrored) -> None:
    mirror.upstream.catalogue = withdraw(withdraw(CATALOGUE, ALPHA.id, OLDEST.id), ALPHA.id, LATEST.id)
    mirror.clock.pass_(days=8)
    await mirror.sync()
    mirror.tables = {"one": {**KEEPING, "keep": 2}}
    report = await mirror.prune()
    assert mirror.tree() == {**only(ALL, *EDITIONS[1:])}  # of the withdrawn ones, the newest is one of the last two
    assert OLDEST.id in deleted(report)
    for table in ("sub_resources", "search"):
        assert mirror.rows(f"SELECT 1 FROM {table} WHERE sub_resource = ?", OLDEST.id) == []  # noqa: S608 - a constant
    for table in ("sub_resource_terms", "listed_files", "footprints", "wanted", "stored_files"):
        query = f"SELECT count(*) FROM {table} WHERE sub_resource_id NOT IN (SELECT id FROM sub_resources)"  # noqa: S608
        assert mirror.rows(query) == [(0,)]
    assert len(mirror.rows("SELECT 1 FROM events WHERE kind = 'pruned' AND sub_resource = ?", OLDEST.id)) == 1
    assert (await mirror.sync()).exit_code == 0


async def test_of_a_resource_that_is_gone_the_last_editions_stay(mirror: Mirrored) -> None:
    mirror.limits["max_shrink_ratio"] = 1
    mirror.upstream.catalogue = withdraw(CATALOGUE, ALPHA.id)
    mirror.clock.pass_(days=8)
    await mirror.sync()
    assert (await mirror.prune()).exit_code == 0
    assert mirror.tree() == NEWEST
    assert mirror.rows("SELECT count(*) FROM sub_resources WHERE resource = 'BDALPHA'") == [(3,)]


async def test_without_keep_nothing_goes(mirror: Mirrored) -> None:
    mirror.tables = {"one": {"resources": ["*"]}}
    assert (await mirror.prune()).actions == []
    assert mirror.tree() == ALL


async def test_names_restrict_and_other_subscriptions_still_protect(mirror: Mirrored) -> None:
    mirror.tables = {
        "alpha": {"resources": ["BDALPHA"], "keep": 1},
        "bravo": {"resources": ["BDBRAVO"], "keep": 1},
        "old": {"resources": ["BDALPHA"], "edition": "2026-03-15..2026-03-15", "keep": 1},
    }
    report = await mirror.prune("alpha")
    assert deleted(report) == {sub.id for sub in ALPHA.listed if EDITIONS[1] in sub.id}
    assert "wanted by old" in reasons(report)
    assert mirror.tree() == without(ALL, *deleted(report))


# -- grace


async def test_a_superseded_edition_stays_for_three_days(mirror: Mirrored) -> None:
    """Counted from the sync that brought its successor, whenever it was published itself."""
    await mirror.prune()
    new = edition(LATEST, "2026-12-15", "2027-01-02")
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, new)
    await mirror.sync()
    mirror.clock.pass_(days=2, hours=23)
    report = await mirror.prune()
    assert deleted(report) == set()
    assert "grace" in reasons(report)
    mirror.clock.pass_(hours=1)
    await mirror.sync()
    assert deleted(await mirror.prune()) == {LATEST.id}
    assert mirror.tree() == without({**NEWEST, **only(offered(mirror.upstream.catalogue), new.id)}, LATEST.id)


async def test_grace_can_be_configured(mirror: Mirrored) -> None:
    mirror.limits["grace"] = "5d"
    assert deleted(await mirror.prune()) == set()
    mirror.limits["grace"] = "4d"
    assert len(deleted(await mirror.prune())) == 12


async def test_what_is_no_longer_superseded_begins_its_grace_anew(mirror: Mirrored) -> None:
    """The newest edition is lost and comes back: readers may have gone back to the one before it."""
    for path in folder(mirror, LATEST).iterdir():
        path.unlink()
    mirror.upstream.script("download", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    assert mirror.rows("SELECT superseded_at FROM sub_resources WHERE sub_resource = ?", MIDDLE.id) == [(None,)]
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert MIDDLE.id not in deleted(await mirror.prune())
    mirror.clock.pass_(days=3)
    await mirror.sync()
    assert MIDDLE.id in deleted(await mirror.prune())


async def test_a_clock_that_was_set_back_lets_nothing_go_early_and_blocks_nothing_for_ever(mirror: Mirrored) -> None:
    """What was superseded, and listed, in the future counts as of now, once a sync has been run."""
    mirror.clock.pass_(days=-400)
    report = await mirror.prune()
    assert (report.exit_code, deleted(report)) == (0, set())
    mirror.clock.pass_(days=3)
    report = await mirror.prune()
    assert (report.exit_code, deleted(report)) == (4, set())
    assert "in the future" in report.reason
    assert (await mirror.sync()).exit_code == 0
    assert mirror.requests()["resource"] == 2
    assert len(deleted(await mirror.prune())) == 12


# -- what stands in for what goes must be there


async def test_an_edition_that_is_gone_from_the_disk_pushes_nothing_out(mirror: Mirrored) -> None:
    """The index says that the newest is here; somebody has deleted a file of it."""
    (folder(mirror, LATEST) / LATEST.files[1].name).unlink()
    report = await mirror.prune()
    assert MIDDLE.id not in deleted(report)
    assert OLDEST.id in deleted(report)


async def test_an_edition_of_the_wrong_size_pushes_nothing_out(mirror: Mirrored) -> None:
    copy = folder(mirror, LATEST) / "copy"
    copy.write_bytes(b"cut off")
    copy.rename(folder(mirror, LATEST) / LATEST.files[1].name)
    assert MIDDLE.id not in deleted(await mirror.prune())


async def test_an_edition_that_verify_found_damaged_pushes_nothing_out(mirror: Mirrored) -> None:
    path = folder(mirror, LATEST) / LATEST.files[0].name
    path.write_bytes(b"x" * path.stat().st_size)
    assert (await verify(mirror.settings, full=True)).exit_code == 1
    assert MIDDLE.id not in deleted(await mirror.prune())


async def test_an_edition_with_a_parked_file_pushes_nothing_out(mirror: Mirrored) -> None:
    """It was replaced upstream, and what is served is not what is listed."""
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(LATEST, "again", updated="2027-01-04"))
    mirror.upstream.script("download", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    assert MIDDLE.id not in deleted(await mirror.prune())


async def test_an_edition_whose_files_could_not_be_listed_pushes_nothing_out(mirror: Mirrored) -> None:
    """It has changed upstream, and nobody knows to what."""
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, rewritten(LATEST, "again", updated="2027-01-04"))
    mirror.upstream.script(f"/resource/{ALPHA.id}/{LATEST.id}", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    assert MIDDLE.id not in deleted(await mirror.prune())


async def test_what_came_incomplete_and_is_wanted_no_more_goes_once_newer_ones_are_here(tmp_path: Path) -> None:
    """With `publish = "each"`, half an edition."""
    async with FakeUpstream(simple_catalogue(1, 3, 2, zones=("D038",), editions=EDITIONS)) as upstream:
        old, middle, new = upstream.catalogue.resources[0].listed
        upstream.catalogue = withdraw(withdraw(upstream.catalogue, "BDALPHA", middle.id), "BDALPHA", new.id)
        mirror = Mirrored(tmp_path / "root", upstream, one={"resources": ["*"], "publish": "each", "keep": 2})
        mirror.limits.update(max_delete_ratio=1, grace="0s")
        upstream.script(f"*{old.files[1].name}", [faults.status(404)], forever=True)
        assert (await mirror.sync()).exit_code == 1
        for sub, going in ((middle, set()), (new, {old.id})):
            upstream.catalogue = publish(upstream.catalogue, "BDALPHA", replace(sub, updated="2026-12-01"))
            mirror.clock.pass_(days=1)
            assert (await mirror.sync()).exit_code == 0
            assert deleted(await mirror.prune()) == going
        assert mirror.tree() == only(offered(upstream.catalogue), *EDITIONS[1:])


# -- guards


async def test_a_listing_of_last_week_is_no_ground(mirror: Mirrored) -> None:
    """Refused, exit code 4, nothing changed; a sync makes it good."""
    mirror.clock.pass_(days=3)
    report = await mirror.prune()
    assert (report.outcome, report.exit_code, deleted(report)) == ("refused", 4, set())
    assert len(report.refused) == 1
    assert (report.refused[0].upstream, report.refused[0].resource) == ("gpf", None)
    assert "more than 7 days old" in report.reason
    assert "inspire-mirror sync" in report.reason
    assert mirror.tree() == ALL
    await mirror.sync()
    assert len(deleted(await mirror.prune())) == 12


async def test_a_stale_listing_is_no_matter_where_nothing_would_go(mirror: Mirrored) -> None:
    mirror.clock.pass_(days=30)
    mirror.tables = {"one": {**KEEPING, "keep": 3}}
    assert (await mirror.prune()).exit_code == 0


async def test_a_resource_that_could_not_be_listed_keeps_all_it_has(mirror: Mirrored) -> None:
    """The others are pruned; exit code 4 says that something was refused."""
    mirror.upstream.catalogue = publish(CATALOGUE, "BDBRAVO", edition(CATALOGUE.resources[1].listed[0], "2026-12-15", "2027-01-02"))
    mirror.upstream.script("/resource/BDBRAVO*", [faults.status(404)], forever=True)
    assert (await mirror.sync()).exit_code == 1
    report = await mirror.prune()
    assert (report.exit_code, {refusal.resource for refusal in report.refused}) == (4, {"BDBRAVO"})
    assert mirror.tree() == {**only(ALL, "BDBRAVO"), **only(NEWEST, "BDALPHA")}
    reader = Reader(mirror.root)
    assert [row["what"] for row in reader.unlisted()] == ["BDBRAVO"], "status goes by the last sync, not by the prune after it"
    reader.close()
    mirror.upstream.heal()
    assert (await mirror.sync()).exit_code == 0
    assert (await mirror.prune()).exit_code == 0


async def test_a_listing_that_was_not_believed_takes_the_ground_away(mirror: Mirrored) -> None:
    """Also where the one before it is young; the next one that is believed gives it back."""
    mirror.upstream_options = {"full_listing_every": "2d"}
    mirror.upstream.catalogue = replace(CATALOGUE, resources=())
    assert (await mirror.sync()).exit_code == 4
    report = await mirror.prune()
    assert (report.exit_code, mirror.tree()) == (4, ALL)
    assert "no resource at all" in report.reason
    mirror.upstream.catalogue = CATALOGUE
    assert (await mirror.sync()).exit_code == 0
    assert (await mirror.prune()).exit_code == 0
    assert mirror.tree() == NEWEST


async def test_an_entry_that_cannot_be_named_may_be_what_is_here(mirror: Mirrored) -> None:
    """What a listing lacks then is not known to be gone: of a resource, and of the upstream."""
    nameless = replace(OLDEST, omit=frozenset({"id", "link"}), title="?", updated="2027-01-02")
    subs = tuple(nameless if sub.id == OLDEST.id else sub for sub in ALPHA.subs)
    mirror.upstream.catalogue = replace(
        CATALOGUE, resources=(replace(ALPHA, subs=subs, updated="2027-01-02"), CATALOGUE.resources[1])
    )
    assert (await mirror.sync()).exit_code == 1
    assert {refusal.resource for refusal in (await mirror.prune()).refused} == {"BDALPHA"}
    unknown = replace(ALPHA, omit=frozenset({"id", "link"}), title="?")
    mirror.upstream.catalogue = replace(CATALOGUE, resources=(unknown, CATALOGUE.resources[1]))
    mirror.limits["max_shrink_ratio"] = 1
    mirror.clock.pass_(days=8)
    assert (await mirror.sync()).exit_code == 1
    assert mirror.rows("SELECT state FROM resources WHERE resource = 'BDALPHA'") == [("withdrawn",)]
    report = await mirror.prune()
    assert {refusal.resource for refusal in report.refused} == {"BDALPHA"}
    assert "no usable name" in report.reason
    assert only(mirror.tree(), "BDALPHA") == only(ALL, "BDALPHA")


async def test_an_upstream_that_is_away_is_no_ground(mirror: Mirrored) -> None:
    mirror.upstream.script("capabilities", [faults.status(500)], forever=True)
    assert (await mirror.sync()).exit_code == 5
    assert ((await mirror.prune()).exit_code, mirror.tree()) == (4, ALL)
    mirror.upstream.heal()
    await mirror.sync()
    assert (await mirror.prune()).exit_code == 0


async def test_a_sync_refused_for_want_of_space_is_no_reason_not_to_prune(mirror: Mirrored) -> None:
    """Its listing was good, and space is what a prune makes."""
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, edition(LATEST, "2026-12-15", "2027-01-02"))
    mirror.limits["min_free"] = "900 TB"
    assert (await mirror.sync()).exit_code == 4
    assert (await mirror.prune()).exit_code == 0
    assert mirror.tree() == NEWEST


async def test_an_index_that_is_built_anew_knows_too_little(mirror: Mirrored) -> None:
    """Refused until a sync has taken in all that is here; what it takes in begins its grace anew. Aliases are left alone."""
    with Index(mirror.root) as index:
        index.connection.execute("INSERT INTO rebuilding (upstream, since) VALUES ('gpf', 'now')")
    alias = mirror.root / "current" / "gpf" / "BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"
    alias.unlink()
    alias.symlink_to("../../data/gpf/BDALPHA/newer")
    report = await mirror.prune()
    assert (report.exit_code, mirror.tree(), os.readlink(alias)) == (4, ALL, "../../data/gpf/BDALPHA/newer")
    assert "built anew" in report.reason
    (mirror.root / FILE).unlink()
    assert (await mirror.sync()).exit_code == 0
    assert deleted(await mirror.prune()) == set()
    mirror.clock.pass_(days=3)
    await mirror.sync()
    assert len(deleted(await mirror.prune())) == 12
    assert mirror.tree() == NEWEST


async def test_a_config_that_has_become_wider_needs_a_sync_first(tmp_path: Path, upstream: FakeUpstream) -> None:
    """What the new subscription wants is not known before."""
    narrow = {"resources": ["BDALPHA"], "zones": ["D038"], "edition": "all"}
    mirror = Mirrored(tmp_path / "root", upstream, one=narrow)
    await mirror.sync()
    mirror.limits.update(max_delete_ratio=1, grace="0s")
    mirror.tables = {"one": {**narrow, "edition": "latest", "keep": 1}, "two": {"resources": ["BDALPHA"], "zones": ["D073"]}}
    assert ((await mirror.prune()).exit_code, len(mirror.tree())) == (4, 6)
    await mirror.sync()
    assert (await mirror.prune()).exit_code == 0


async def test_too_much_at_once_is_refused_as_a_whole(mirror: Mirrored) -> None:
    """With the numbers, and with what to do; also for the resources of which less would go."""
    mirror.limits["max_delete_ratio"] = 0.6
    mirror.tables = {"alpha": {"resources": ["BDALPHA"], "keep": 1}, "bravo": {"resources": ["BDBRAVO"], "keep": 2}}
    report = await mirror.prune()
    assert (report.outcome, report.exit_code, deleted(report)) == ("refused", 4, set())
    assert mirror.tree() == ALL
    (refusal,) = report.refused
    assert refusal.subscription == "alpha"
    assert "12 of 18 files and 12.0 kB of 18.0 kB" in refusal.reason
    assert "INSPIRE_MIRROR_LIMITS__MAX_DELETE_RATIO=0.67" in refusal.reason
    mirror.limits["max_delete_ratio"] = 0.67
    assert (await mirror.prune()).exit_code == 0
    assert mirror.tree() == {**only(NEWEST, "BDALPHA"), **only(only(ALL, "BDBRAVO"), *EDITIONS[1:])}


async def test_another_run_holds_the_lock(mirror: Mirrored) -> None:
    with root_lock(mirror.root), pytest.raises(Locked):
        await mirror.prune()
    assert mirror.tree() == ALL


async def test_a_root_without_an_index_is_not_made_into_an_empty_mirror(tmp_path: Path, upstream: FakeUpstream) -> None:
    for dry_run in (False, True):
        with pytest.raises(IndexUnusable, match="inspire-mirror sync"):
            await Mirrored(tmp_path / "root", upstream, one=KEEPING).prune(dry_run=dry_run)
    assert not (tmp_path / "root").exists()


async def test_an_unknown_name_is_an_error(mirror: Mirrored) -> None:
    with pytest.raises(ConfigError, match="there are: one"):
        await mirror.prune("two")


# -- only what is ours


async def test_foreign_files_stay_and_are_reported(mirror: Mirrored) -> None:
    """A file, a folder and a link; our own files in the same folder go."""
    place = folder(mirror)
    (place / "notes.txt").write_bytes(b"mine")
    (place / "work").mkdir()
    (place / "work" / "layer.gpkg").write_bytes(b"mine, too")
    (place / "link").symlink_to(mirror.root)
    report = await mirror.prune()
    assert OLDEST.id in deleted(report)
    assert report.foreign == [str(place / name) for name in ("link", "notes.txt", "work")]
    assert sorted(path.name for path in place.iterdir()) == ["link", "notes.txt", "work"]
    assert (place / "work" / "layer.gpkg").read_bytes() == b"mine, too"
    assert mirror.staged() == []
    assert (await verify(mirror.settings)).foreign == [str(place)]
    assert (await mirror.sync()).exit_code == 0


async def test_what_has_taken_the_place_of_a_file_is_not_ours(mirror: Mirrored) -> None:
    """A link or a folder under the name of a published file."""
    outside = mirror.root.parent / "outside"
    outside.write_bytes(b"not of the mirror")
    first, second = (folder(mirror) / file.name for file in OLDEST.files)
    first.unlink()
    first.symlink_to(outside)
    second.unlink()
    second.mkdir()
    planned, report = await mirror.prune(dry_run=True), await mirror.prune()
    assert report.foreign == planned.foreign == [str(first), str(second)]
    assert first.is_symlink()
    assert outside.read_bytes() == b"not of the mirror"
    assert mirror.rows("SELECT count(*) FROM stored_files") == [(12,)]


@pytest.mark.parametrize("level", [0, 1, 2], ids=["sub-resource", "resource", "upstream"])
async def test_links_are_not_followed_out_of_the_tree(mirror: Mirrored, level: int) -> None:
    """A folder was moved to another disk and a link put in its place: what is behind it stays, and is still in the index."""
    place = [folder(mirror), *folder(mirror).parents][level]
    elsewhere = mirror.root.parent / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = tree_of(elsewhere)
    report = await mirror.prune()
    assert tree_of(elsewhere) == before
    assert OLDEST.id not in deleted(report)
    assert mirror.rows("SELECT stored_files FROM sub_resources WHERE sub_resource = ?", OLDEST.id) == [(2,)]
    if level == 0:
        assert (report.exit_code, "is a link or a file" in reasons(report)) == (0, True)


async def test_a_link_in_the_place_of_the_trash_is_not_followed(mirror: Mirrored) -> None:
    """Nothing can be moved out: exit code 1 with the reason, and everything is as it was."""
    elsewhere = mirror.root.parent / "elsewhere"
    elsewhere.mkdir()
    (mirror.root / ".staging" / "trash").symlink_to(elsewhere)
    report = await mirror.prune()
    assert (report.outcome, report.exit_code, deleted(report)) == ("incomplete", 1, set())
    assert "cannot be moved" in reasons(report)
    assert list(elsewhere.iterdir()) == []
    assert mirror.tree() == ALL
    assert mirror.rows("SELECT count(*) FROM files WHERE path IS NOT NULL") == [(36,)]
    assert mirror.rows("SELECT count(*) FROM leaving") == [(0,)]
    (mirror.root / ".staging" / "trash").unlink()
    assert (await mirror.prune()).exit_code == 0


async def test_what_cannot_be_moved_in_the_middle_is_put_back(mirror: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our files leave a shared folder one by one, and something is in the way of the second; what is unpacked comes back, too."""
    (folder(mirror) / "notes.txt").write_bytes(b"mine")
    unpacked = unpack(mirror, OLDEST)
    in_the_way = mirror.root / ".staging" / "trash" / "data" / "gpf" / ALPHA.id / OLDEST.id / OLDEST.files[1].name / "x"

    def obstruct(name: str) -> None:
        if name == "leaving: file out":
            in_the_way.mkdir(parents=True)

    monkeypatch.setattr("mirror.steps.on_step", obstruct)
    report = await mirror.prune()
    assert (report.outcome, report.exit_code) == ("incomplete", 1)
    assert len(deleted(report)) == 11
    assert "cannot be moved" in reasons(report)
    assert only(mirror.tree(), OLDEST.files[0].name, OLDEST.files[1].name) == only(ALL, OLDEST.id)
    assert (folder(mirror) / "notes.txt").exists()
    assert (unpacked / "layers" / "a.gpkg").read_bytes() == b"unpacked"
    assert len(mirror.rows("SELECT 1 FROM files WHERE path IS NOT NULL AND sub_resource = ?", OLDEST.id)) == 2
    assert mirror.rows("SELECT count(*) FROM leaving") == [(0,)]


async def test_what_somebody_adds_in_the_last_moment_stays(mirror: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the rename, as far as the folder is concerned."""
    trash = mirror.root / ".staging" / "trash" / "data"

    def add(name: str) -> None:
        if name == "leaving: folder out":
            (trash / "gpf" / ALPHA.id / OLDEST.id / "notes.txt").write_bytes(b"mine")
            monkeypatch.undo()

    monkeypatch.setattr("mirror.steps.on_step", add)
    mirror.tables = {"one": {**KEEPING, "resources": ["BDALPHA"], "zones": ["D038"], "keep": 2}}
    report = await mirror.prune()
    assert deleted(report) == {OLDEST.id}
    assert report.foreign == [str(folder(mirror) / "notes.txt")]
    assert (folder(mirror) / "notes.txt").read_bytes() == b"mine"


async def test_files_that_are_gone_already_only_lose_their_rows(mirror: Mirrored) -> None:
    """Somebody made room by hand, as one had to before there was a prune."""
    for path in folder(mirror).iterdir():
        path.unlink()
    folder(mirror).rmdir()
    assert OLDEST.id in deleted(await mirror.prune())
    assert mirror.tree() == NEWEST
    assert mirror.rows("SELECT count(*) FROM stored_files") == [(12,)]


async def test_an_alias_of_a_series_that_is_no_more_goes_with_its_folder(mirror: Mirrored) -> None:
    """No link in `current/` leads nowhere, and those of others stay."""
    aliases = mirror.root / "current" / "gpf"
    (aliases / "old-name").symlink_to(f"../../data/gpf/{ALPHA.id}/{OLDEST.id}")
    (aliases / "mine").symlink_to("../../data/gpf/somewhere")
    await mirror.prune()
    assert sorted(path.name for path in aliases.iterdir() if not path.exists()) == ["mine"]
    assert not (aliases / "old-name").is_symlink()


async def test_an_alias_that_lags_behind_is_put_right_first(mirror: Mirrored) -> None:
    """A run was killed between the row and the alias."""
    alias = mirror.root / "current" / "gpf" / "BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"
    right = os.readlink(alias)
    alias.unlink()
    alias.symlink_to(f"../../data/gpf/{ALPHA.id}/{OLDEST.id}")
    await mirror.prune()
    assert os.readlink(alias) == right


async def test_what_is_unpacked_goes_with_its_archives(mirror: Mirrored) -> None:
    """With the rows of archives, members and extraction; a folder there that is not in the index stays."""
    unpack(mirror, OLDEST)
    unpack(mirror, LATEST)
    theirs = unpack(mirror, MIDDLE, known=False)
    planned, report = await mirror.prune(dry_run=True), await mirror.prune()
    assert report.foreign == planned.foreign == [str(theirs)]
    assert sorted(path.name for path in theirs.parent.iterdir()) == [MIDDLE.id, LATEST.id]
    for table in ("extractions", "archives", "members"):
        assert mirror.rows(f"SELECT count(*) FROM {table}") == [(1,)]  # noqa: S608 - a constant
    assert mirror.tree() == NEWEST
    assert mirror.staged() == []


async def test_what_a_sync_has_unpacked_goes_with_its_archives(tmp_path: Path) -> None:
    """Real archives; a sync after the prune unpacks nothing again."""
    async with FakeUpstream(sample_catalogue()) as upstream:
        wanted = {"resources": ["BDTOPO"], "extract": True}
        mirror = Mirrored(tmp_path / "root", upstream, one={**wanted, "edition": "all"})
        mirror.limits.update(max_delete_ratio=1, grace="0s")
        assert (await mirror.sync()).exit_code == 0
        mirror.tables = {"one": {**wanted, "keep": 1}}
        gone = deleted(await mirror.prune())
        assert gone
        for _ in range(2):
            data, unpacked = (
                {path.name for path in (mirror.root / base / "gpf" / "BDTOPO").iterdir()} for base in ("data", "extracted")
            )
            assert data == unpacked
            assert data.isdisjoint(gone)
            for table in ("archives", "extractions", "stored_files"):
                query = f"SELECT DISTINCT s.sub_resource FROM {table} t JOIN sub_resources s ON s.id = t.sub_resource_id"  # noqa: S608
                assert {name for (name,) in mirror.rows(query)} == data
            assert (await mirror.sync()).exit_code == 0


async def test_a_reader_that_has_a_file_open_reads_it_to_its_end(mirror: Mirrored) -> None:
    path = folder(mirror) / OLDEST.files[0].name
    with path.open("rb") as open_file:
        await mirror.prune()
        assert not path.exists()
        assert hashlib.md5(open_file.read(), usedforsecurity=False).hexdigest() in ALL.values()


# -- dry run


async def in_both_ways(mirror: Mirrored) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents of a dry run and of the prune after it, without what they may differ in: the time that they took."""
    planned, done = (await mirror.prune(dry_run=True)).as_json(), (await mirror.prune()).as_json()
    return {**planned, "seconds": 0}, {**done, "seconds": 0}


def everything_under(root: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and mtime of all that is there, but of the files of shared memory that any reader of the index makes."""
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        stat = path.lstat()
        if not path.name.startswith(f"{FILE}-") and path != root:
            found[str(path)] = stat.st_ino, stat.st_size, stat.st_mtime_ns
    return found


async def test_a_dry_run_changes_nothing_and_needs_no_lock(mirror: Mirrored) -> None:
    before, rows = everything_under(mirror.root), mirror.rows("SELECT * FROM sub_resources")
    with root_lock(mirror.root):
        before = everything_under(mirror.root)  # the lock writes its process id
        report = await mirror.prune(dry_run=True)
        assert everything_under(mirror.root) == before
    assert len(deleted(report)) == 12
    assert mirror.rows("SELECT * FROM sub_resources") == rows
    assert mirror.rows("SELECT count(*) FROM runs WHERE command = 'prune'") == [(0,)]


async def test_what_a_dry_run_says_is_what_a_prune_does(mirror: Mirrored) -> None:
    """To the letter: deletions, what is kept and why, foreign files."""
    mirror.tables = {
        "alpha": {"resources": ["BDALPHA"], "keep": 1},
        "bravo": {"resources": ["BDBRAVO"], "edition": "2026-03-15..2026-03-15", "keep": 1},
    }
    mirror.upstream.catalogue = publish(CATALOGUE, ALPHA.id, edition(LATEST, "2026-12-15", "2027-01-02"))
    await mirror.sync()
    (folder(mirror) / "notes.txt").write_bytes(b"mine")
    planned, done = await in_both_ways(mirror)
    assert {action["action"] for action in planned["actions"]} == {"delete", "keep"}
    assert {**planned, "deleted": planned["planned"]} == {**done, "planned": done["deleted"]}
    assert planned["foreign"] == [str(folder(mirror) / "notes.txt")]


@pytest.mark.parametrize("guard", ["ratio", "age"])
async def test_a_dry_run_is_refused_where_a_prune_would_be(mirror: Mirrored, guard: str) -> None:
    mirror.limits["max_delete_ratio"] = 0.1 if guard == "ratio" else 1
    mirror.clock.pass_(days=0 if guard == "ratio" else 3)
    planned, done = await in_both_ways(mirror)
    assert {**planned, "deleted": planned["planned"]} == {**done, "planned": done["deleted"]}
    assert (planned["exit_code"], planned["planned"]["files"]) == (4, 0)


# -- interrupted


async def test_an_interrupt_ends_what_it_is_about_and_leaves_the_rest(mirror: Mirrored) -> None:
    """Exit code 130; the report has what was done, nothing is halfway, and the next prune does the rest."""
    told: list[PruneAction] = []

    def visit(action: PruneAction) -> None:
        told.append(action)
        if len(told) == 3:
            task.cancel()

    task: asyncio.Task[PruneReport] = asyncio.ensure_future(prune(mirror.settings, visit=visit, now=mirror.clock))
    report = await task
    assert (report.outcome, report.exit_code) == ("interrupted", 130)
    assert report.actions == told
    assert len(told) == 3
    assert mirror.tree() == without(ALL, *deleted(report))
    assert (mirror.staged(), mirror.rows("SELECT count(*) FROM leaving")) == ([], [(0,)])
    assert len(deleted(await mirror.prune())) == 9


async def test_an_interrupt_while_it_waits_for_another_run(mirror: Mirrored) -> None:
    with root_lock(mirror.root):
        task = asyncio.ensure_future(prune(mirror.settings, wait=True, now=mirror.clock))
        await asyncio.sleep(0)
        task.cancel()
        report = await task
    assert (report.outcome, report.exit_code, mirror.tree()) == ("interrupted", 130, ALL)


async def test_several_upstreams_are_judged_each_for_itself(tmp_path: Path, upstream: FakeUpstream) -> None:
    """What one of them refuses does not hold up the other."""
    async with FakeUpstream(CATALOGUE) as second:
        mirror = _Two(tmp_path / "root", upstream, second)
        assert (await mirror.sync()).exit_code == 0
        mirror.clock.pass_(days=4)
        second.script("capabilities", [faults.status(500)], forever=True)
        assert (await mirror.sync()).exit_code == 1
        report = await mirror.prune()
        assert (report.exit_code, {refusal.upstream for refusal in report.refused}) == (4, {"other"})
        assert {action.upstream for action in report.actions if action.action == "delete"} == {"gpf"}
        assert mirror.tree() == NEWEST
        assert tree_of(mirror.root / "data" / "other") == ALL


class _Two(Mirrored):
    """A mirror of two upstreams that was of everything at its first sync, and keeps one edition from then on."""

    def __init__(self, root: Path, upstream: FakeUpstream, second: FakeUpstream) -> None:
        super().__init__(root, upstream)
        self.second = second

    @property
    def settings(self) -> Settings:
        options = {"requests_per_second": 100_000}
        wanted: dict[str, Any] = {"resources": ["*"], "keep": 1, "edition": "latest" if (self.root / FILE).exists() else "all"}
        tables = {
            "root": str(self.root),
            "limits": {"min_free": 0, "max_delete_ratio": 1},
            "upstream": {"gpf": {"url": self.upstream.url, **options}, "other": {"url": self.second.url, **options}},
            "subscription": {"a": {**wanted, "upstream": "gpf"}, "b": {**wanted, "upstream": "other"}},
        }
        return from_mapping(tables, self.root, {})
