"""`prune` on the command line: what it prints where, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import mirror
from mirror.store.lock import root_lock
from tests.command import run, start, write_config
from tests.upstream import FakeUpstream, simple_catalogue

LIMITS = '[limits]\ngrace = "0s"\nmax_delete_ratio = {ratio}'
OLD = ["BDALPHA_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-03-15", "BDALPHA_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-06-15"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(simple_catalogue(1, 3, 2, zones=("D038",))).in_thread() as fake:
        yield fake


def configure(folder: Path, upstream: FakeUpstream, table: str, *, ratio: float = 1) -> None:
    write_config(folder, upstream.url, f'topo]\nresources = ["*"]\n{table}', more=LIMITS.format(ratio=ratio))


@pytest.fixture
def folder(upstream: FakeUpstream, tmp_path: Path) -> Path:
    """Three editions are here; one is to be kept."""
    configure(tmp_path, upstream, 'edition = "all"')
    assert run("sync", cwd=tmp_path).code == 0
    configure(tmp_path, upstream, "keep = 1")
    return tmp_path


def files(folder: Path) -> int:
    return len(list((folder / "mirror" / "data").rglob("*.bin")))


def test_a_prune_prints_the_lines_of_its_dry_run(folder: Path) -> None:
    """A line per sub-resource with its reason, and a last one with the amount; exit code 0."""
    planned, here = run("prune", "--dry-run", cwd=folder), files(folder)
    done = run("prune", cwd=folder)
    assert (planned.code, done.code, planned.err, done.err) == (0, 0, "", "")
    assert (here, files(folder)) == (6, 2)
    lines = done.out.splitlines()
    assert lines[:-1] == planned.out.splitlines()[:-1]
    assert [line.split(":")[0] for line in lines[:-1]] == [f"delete  BDALPHA/{name} (2 files, 2.0 kB)" for name in OLD]
    assert planned.out.splitlines()[-1] == "would delete 2 sub-resources: 4 files, 4.0 kB"
    assert lines[-1] == "deleted 2 sub-resources: 4 files, 4.0 kB"
    assert run("prune", cwd=folder).out == "deleted 0 sub-resources: 0 files, 0 B\n"


def test_json_is_one_document(folder: Path) -> None:
    """The fields that docs/commands.md names; of a dry run `planned` in the place of `deleted`."""
    planned = run("prune", "--dry-run", "--json", cwd=folder).json
    done = run("prune", "--json", cwd=folder).json
    assert planned["planned"] == done["deleted"] == {"sub_resources": 2, "files": 4, "bytes": 4000}
    members = ["outcome", "exit_code", "reason", "deleted", "actions", "refused", "foreign", "seconds"]
    assert list(done) == members
    assert list(planned) == [member.replace("deleted", "planned") for member in members]
    assert (done["outcome"], done["exit_code"], done["reason"], done["refused"], done["foreign"]) == ("complete", 0, None, [], [])
    action = {"action": "delete", "upstream": "gpf", "resource": "BDALPHA", "sub_resource": OLD[0], "edition_date": "2026-03-15"}
    assert {**action, "files": 2, "bytes": 2000, "reason": done["actions"][0]["reason"]} == done["actions"][0]
    assert planned["actions"] == done["actions"]


def test_bad_usage_ends_with_2(folder: Path, upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An unknown name or option, and a root that was never synced."""
    assert run("prune", "ortho", cwd=folder).code == 2
    assert run("prune", "--force", cwd=folder).code == 2
    empty = tmp_path_factory.mktemp("empty")
    configure(empty, upstream, "keep = 1")
    for arguments in (["prune"], ["prune", "--dry-run"]):
        outcome = run(*arguments, cwd=empty)
        assert outcome.code == 2
        assert "run `inspire-mirror sync`" in outcome.err
    assert not (empty / "mirror").exists()
    assert files(folder) == 6


def test_a_held_lock_ends_with_3_or_is_waited_for(folder: Path) -> None:
    with root_lock(folder / "mirror"):
        outcome = run("prune", "--json", cwd=folder)
        assert (outcome.code, outcome.json["exit_code"], files(folder)) == (3, 3, 6)
        assert run("prune", "--dry-run", cwd=folder).code == 0
        waiting = start("prune", "--wait", cwd=folder)
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, files(folder)) == (0, 2)
    assert "deleted 2" in out


def test_too_much_ends_with_4_and_says_what_to_do(folder: Path, upstream: FakeUpstream) -> None:
    """For a dry run, too. The advice can be followed as it stands."""
    configure(folder, upstream, "keep = 1", ratio=0.4)
    for arguments in (["prune", "--dry-run"], ["prune"]):
        outcome = run(*arguments, cwd=folder)
        assert (outcome.code, files(folder)) == (4, 6)
        assert "4 of 6 files" in outcome.err
        assert len(outcome.err.splitlines()) == 1
        assert "keep    BDALPHA/" in outcome.out
    document = run("prune", "--json", cwd=folder).json
    assert [(refusal["upstream"], refusal["resource"], refusal["subscription"]) for refusal in document["refused"]] == [
        ("gpf", None, "topo")
    ]
    name, _, value = outcome.err.partition("INSPIRE_MIRROR_")[2].partition(";")[0].strip().partition("=")
    assert run("prune", cwd=folder, **{f"INSPIRE_MIRROR_{name}": value}).code == 0
    assert files(folder) == 2


def test_quiet_says_only_what_went_wrong(folder: Path, upstream: FakeUpstream) -> None:
    configure(folder, upstream, "keep = 1", ratio=0.4)
    refused = run("-q", "prune", cwd=folder)
    assert (refused.code, refused.out, len(refused.err.splitlines())) == (4, "", 1)
    configure(folder, upstream, "keep = 1")
    done = run("-q", "prune", cwd=folder)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_foreign_files_are_named(folder: Path) -> None:
    note = folder / "mirror" / "data" / "gpf" / "BDALPHA" / OLD[0] / "notes.txt"
    note.write_text("mine")
    assert f"not ours, left alone: {note}\n" in run("prune", cwd=folder).out
    assert note.exists()


def test_status_shows_the_prune(folder: Path) -> None:
    run("prune", cwd=folder)
    document = run("status", "--json", cwd=folder).json
    assert (document["last_run"]["command"], document["last_run"]["outcome"], document["files"]) == ("prune", "complete", 2)


def test_from_python(folder: Path) -> None:
    with mirror.open(folder / "inspire-mirror.toml") as here:
        planned = here.prune(dry_run=True)
        done = here.prune("topo")
        assert planned.actions == done.actions
        assert (done.exit_code, done.deleted["files"]) == (0, 4)
        assert len(here.query()) == 2
