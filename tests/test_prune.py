"""`prune` deletes what retention lets go and nothing else, and afterwards tree, index and aliases tell the same story."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.verifying import verify

from .mirrored import Mirrored, edition, offered, only, rewritten, without
from .pruned import (
    ALL,
    ALPHA,
    CATALOGUE,
    EDITIONS,
    KEEPING,
    LATEST,
    MIDDLE,
    NEWEST,
    OLDEST,
    deleted,
    folder,
    mirrored,
    reasons,
)
from .upstream import FakeUpstream, faults, publish, simple_catalogue, withdraw


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def mirror(tmp_path: Path, upstream: FakeUpstream) -> Mirrored:
    return await mirrored(tmp_path / "root", upstream)


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
