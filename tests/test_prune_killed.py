"""kill -9 at each step of a prune: what was begun is ended by the next run, whichever it is, and nothing else has happened."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import mirror
from mirror.pruning import PruneReport
from mirror.store.index import FILE
from mirror.verifying import verify

from .dying import Prunes
from .mirrored import Mirrored, offered, only, without
from .pruned import CATALOGUE, unpack
from .upstream import FakeUpstream, withdraw

SOURCES = [Path(mirror.__file__).parent / path for path in ("store/trash.py", "sync/leaving.py")]
STEPS = sorted({name for source in SOURCES for name in re.findall(r'step\("(.*?)"\)', source.read_text("utf-8"))})
ALL = offered(CATALOGUE)
FIRST = next(sub for sub in CATALOGUE.resources[0].subs if "D001_2026-03-15" in sub.id)
"""The first that goes."""


@pytest.fixture(scope="module")
def prunes() -> Iterator[Prunes]:
    with Prunes() as made:
        yield made


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


class Killed(Mirrored):
    """A mirror of everything, of which one edition is to be kept; of the first that goes, something is unpacked."""

    def __init__(self, root: Path, upstream: FakeUpstream) -> None:
        super().__init__(root, upstream)
        self.limits["max_delete_ratio"] = 1

    async def prepare(self, *, shared: bool, withdrawn: bool) -> None:
        assert (await self.sync()).exit_code == 0
        if withdrawn:
            self.upstream.catalogue = withdraw(CATALOGUE, "BDALPHA", FIRST.id)
            self.clock.pass_(days=8)
            assert (await self.sync()).exit_code == 0
        self.tables = {"one": {"resources": ["*"], "keep": 1}}
        self.clock.pass_(days=4)
        await self.sync()
        unpack(self, FIRST)
        if shared:
            self.note.write_bytes(b"mine")

    @property
    def folder(self) -> Path:
        return self.root / "data" / "gpf" / "BDALPHA" / FIRST.id

    @property
    def note(self) -> Path:
        return self.folder / "notes.txt"

    def kill(self, prunes: Prunes, step: str, occurrence: int = 1) -> int:
        settings = {
            "root": str(self.root),
            "limits": self.limits,
            "upstream": {"gpf": {"url": self.upstream.url}},
            "subscription": self.tables,
        }
        return prunes.run(settings, self.root.parent, self.clock(), step, occurrence)

    def ours(self) -> dict[str, str]:
        """The tree without what is not ours."""
        return {path: md5 for path, md5 in self.tree().items() if not path.endswith("notes.txt")}

    def handed_out(self) -> dict[str, str]:
        """What the index gives paths to."""
        rows = self.rows("SELECT path, md5 FROM files WHERE path IS NOT NULL")
        return {path.removeprefix("data/gpf/"): md5 for path, md5 in rows}

    def check_sound(self) -> None:
        """No path is handed out to what is gone or halfway; all else is there; every alias leads somewhere."""
        assert self.handed_out().items() <= self.ours().items()
        assert self.handed_out().items() >= without(ALL, FIRST.id).items()
        assert self.ours().items() >= without(ALL, FIRST.id).items()
        for link in (self.root / "current" / "gpf").iterdir():
            assert link.is_dir()

    def content(self) -> list[list[tuple[Any, ...]]]:
        """What the index holds, but row ids, moments and runs."""
        return [sorted(self.rows(query), key=repr) for query in _CONTENT]


_CONTENT = (
    "SELECT resource, sub_resource, state, latest, superseded_at IS NULL, withdrawn_at IS NULL, complete, settled, settled_files, "
    "settled_bytes, stored_files, stored_bytes FROM sub_resources",
    "SELECT path, md5, sha256, state FROM files",
    "SELECT sub_resource, labels, files FROM search",
    "SELECT s.sub_resource, w.subscription FROM wanted w JOIN sub_resources s ON s.id = w.sub_resource_id",
    "SELECT kind, resource, sub_resource, file FROM events WHERE kind LIKE 'pruned%'",
    "SELECT count(*) FROM leaving UNION ALL SELECT count(*) FROM announced_files UNION ALL SELECT count(*) FROM archives "
    "UNION ALL SELECT count(*) FROM members UNION ALL SELECT count(*) FROM extractions",
)


@pytest.mark.parametrize("withdrawn", [False, True], ids=["listed", "withdrawn"])
@pytest.mark.parametrize("step", STEPS)
async def test_whatever_runs_next_ends_what_was_begun(
    tmp_path: Path, upstream: FakeUpstream, prunes: Prunes, step: str, withdrawn: bool
) -> None:
    """A sync: nothing is adopted, nothing fetched, the folder gone, its history written once. Then a prune does the rest."""
    shared = step == "leaving: file out"  # in which case our files leave one by one
    mirror = Killed(tmp_path / "root", upstream)
    await mirror.prepare(shared=shared, withdrawn=withdrawn)
    assert mirror.kill(prunes, step) == -9
    mirror.check_sound()
    report = await mirror.sync()
    assert (report.exit_code, mirror.requests()) == (0, {"capabilities": 1})
    assert mirror.ours() == without(ALL, FIRST.id) == mirror.handed_out()
    assert mirror.staged() == []
    assert not (mirror.root / "extracted" / "gpf" / "BDALPHA" / FIRST.id).exists()
    assert mirror.note.exists() is shared
    assert mirror.folder.exists() is shared
    assert mirror.rows("SELECT sub_resource FROM events WHERE kind = 'pruned'") == [(FIRST.id,)]
    assert mirror.rows("SELECT count(*) FROM sub_resources WHERE sub_resource = ?", FIRST.id) == [(int(not withdrawn),)]
    assert (await mirror.prune()).deleted["sub_resources"] == 11
    assert mirror.ours() == only(ALL, "2026-09-15") == mirror.handed_out()


@pytest.mark.parametrize("step", STEPS)
async def test_the_next_prune_comes_to_what_an_undisturbed_one_comes_to(
    tmp_path: Path, upstream: FakeUpstream, prunes: Prunes, step: str
) -> None:
    """Tree, aliases and index, history included; a dry run says before what it will do."""
    undisturbed, killed = Killed(tmp_path / "undisturbed", upstream), Killed(tmp_path / "killed", upstream)
    for one in (undisturbed, killed):
        await one.prepare(shared=step == "leaving: file out", withdrawn=False)
    assert undisturbed.kill(prunes, "") == 0
    assert killed.kill(prunes, step) == -9
    planned, done = await killed.prune(dry_run=True), await killed.prune()
    assert _in_common(planned) == _in_common(done)
    assert done.deleted["sub_resources"] in (11, 12)
    assert (killed.tree(), killed.aliases()) == (undisturbed.tree(), undisturbed.aliases())
    assert killed.content() == undisturbed.content()
    assert killed.staged() == []


def _in_common(report: PruneReport) -> dict[str, Any]:
    document = report.as_json()
    amount = document.pop("planned", None) or document.pop("deleted")
    return {**document, "amount": amount, "seconds": 0}


@pytest.mark.parametrize("step", STEPS)
async def test_verify_ends_it_too_and_finds_no_fault(tmp_path: Path, upstream: FakeUpstream, prunes: Prunes, step: str) -> None:
    """Also where it cannot take the lock, it does not call the half-gone missing."""
    mirror = Killed(tmp_path / "root", upstream)
    await mirror.prepare(shared=step == "leaving: file out", withdrawn=False)
    assert mirror.kill(prunes, step) == -9
    lock = mirror.root / ".staging" / "lock"
    lock.rename(lock.with_name("away"))
    lock.mkdir()  # a lock that nobody can take
    findings = await verify(mirror.settings)
    assert (findings.faults, findings.exit_code) == ([], 0)
    lock.rmdir()
    findings = await verify(mirror.settings, full=True)
    assert (findings.faults, findings.files) == ([], 34)
    assert mirror.ours() == without(ALL, FIRST.id) == mirror.handed_out()


async def test_what_was_begun_is_ended_before_a_sync_that_wants_it_again(
    tmp_path: Path, upstream: FakeUpstream, prunes: Prunes
) -> None:
    """The config was widened meanwhile: it is deleted, and then fetched whole; no half of it is adopted."""
    mirror = Killed(tmp_path / "root", upstream)
    await mirror.prepare(shared=True, withdrawn=False)
    assert mirror.kill(prunes, "leaving: file out") == -9
    mirror.tables = {"one": {"resources": ["*"], "edition": "all"}}
    report = await mirror.sync()
    assert (report.exit_code, mirror.requests().get("download")) == (0, 2)
    assert mirror.ours() == ALL == mirror.handed_out()
    assert mirror.note.read_bytes() == b"mine"


async def test_what_somebody_added_in_the_last_moment_is_given_back_after_a_kill(
    tmp_path: Path, upstream: FakeUpstream, prunes: Prunes
) -> None:
    """It left with the folder; where the folder has its name again, it is set aside."""
    mirror = Killed(tmp_path / "root", upstream)
    await mirror.prepare(shared=False, withdrawn=False)
    assert mirror.kill(prunes, "leaving: folder out") == -9
    trash = mirror.root / ".staging" / "trash" / "data" / "gpf" / "BDALPHA" / FIRST.id
    (trash / "notes.txt").write_bytes(b"mine")
    (trash / "twice").write_bytes(b"first")
    mirror.folder.mkdir()
    (mirror.folder / "twice").write_bytes(b"second")
    assert (await mirror.sync()).exit_code == 0
    assert (mirror.note.read_bytes(), (mirror.folder / "twice").read_bytes()) == (b"mine", b"second")
    assert [path.read_bytes() for path in (mirror.root / ".staging" / "quarantine").rglob("twice")] == [b"first"]
    assert not trash.exists()


async def test_a_second_kill_at_the_same_place_changes_nothing(tmp_path: Path, upstream: FakeUpstream, prunes: Prunes) -> None:
    mirror = Killed(tmp_path / "root", upstream)
    await mirror.prepare(shared=False, withdrawn=False)
    for step in ("leaving: announced", "leaving: folder out", "leaving: out of the tree", "leaving: out of the index"):
        assert mirror.kill(prunes, step) == -9
        mirror.check_sound()
    assert mirror.kill(prunes, "") == 0
    assert mirror.ours() == only(ALL, "2026-09-15") == mirror.handed_out()
    assert mirror.rows("SELECT count(*) FROM events WHERE kind = 'pruned'") == [(12,)]
    assert (mirror.root / FILE).exists()
