"""`verify`: finds every way in which the tree can differ from the index, and repairs it on demand."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.command import run, start, write_config
from tests.upstream import FakeUpstream, simple_catalogue, withdraw


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(simple_catalogue(2, 3, 2)).in_thread() as fake:
        yield fake


@pytest.fixture
def folder(upstream: FakeUpstream, tmp_path: Path) -> Path:
    write_config(tmp_path, upstream.url, 'a]\nresources = ["BDALPHA"]', 'b]\nresources = ["BDBRAVO"]')
    assert run("sync", cwd=tmp_path).code == 0
    return tmp_path


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "mirror" / "data").rglob("*.bin"))


def _flip(path: Path) -> None:
    """Change a byte and nothing else that a look at the file would show."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_sound_mirror_has_no_faults(folder: Path) -> None:
    """Exit code 0, all files counted; with --full the day of verification moves on."""
    document = run("verify", "--json", cwd=folder).json
    assert (document["exit_code"], document["files"], document["faults"], document["foreign"]) == (0, 12, [], [])
    before = run("query", "--json", cwd=folder).json[0]["verified_at"]
    assert run("verify", "--full", cwd=folder).code == 0
    assert run("query", "--json", cwd=folder).json[0]["verified_at"] > before


def test_sizes_are_compared_and_hashes_on_demand(folder: Path) -> None:
    """A missing and a shortened file show at once; a changed byte shows with --full only."""
    missing, short, changed = _files(folder)[:3]
    missing.unlink()
    short.write_bytes(b"short")
    _flip(changed)
    quick = run("verify", "--json", cwd=folder)
    assert quick.code == 1
    assert {fault["path"] for fault in quick.json["faults"]} == {str(missing), str(short)}
    full = run("verify", "--full", "--json", cwd=folder)
    assert {fault["path"] for fault in full.json["faults"]} == {str(missing), str(short), str(changed)}


def test_what_verify_found_wrong_is_no_longer_handed_out(folder: Path) -> None:
    """The next query gives no path to damaged bytes, and the next sync fetches them again."""
    changed = _files(folder)[0]
    good = changed.read_bytes()
    _flip(changed)
    run("verify", "--full", cwd=folder)
    assert str(changed) not in run("query", "--paths", cwd=folder).out
    assert run("sync", cwd=folder).code == 0
    assert changed.read_bytes() == good
    assert str(changed) in run("query", "--paths", cwd=folder).out


def test_repair_sets_aside_fetches_again_and_reports(folder: Path, upstream: FakeUpstream) -> None:
    """Wrong bytes go to quarantine, right ones come back, and only the sub-resources concerned are touched."""
    missing, changed = _files(folder)[0], _files(folder)[5]
    good = {path: path.read_bytes() for path in _files(folder)}
    missing.unlink()
    _flip(changed)
    bad = changed.read_bytes()
    upstream.clear()
    outcome = run("verify", "--full", "--repair", "--json", cwd=folder)
    assert outcome.code == 0, outcome
    assert [fault["repaired"] for fault in outcome.json["faults"]] == [True, True]
    assert {path: path.read_bytes() for path in _files(folder)} == good
    assert upstream.count("download") == 2
    quarantine = folder / "mirror" / ".staging" / "quarantine"
    assert [path.read_bytes() for path in quarantine.rglob("*.bin")] == [bad]
    assert run("verify", "--full", cwd=folder).code == 0


def test_what_upstream_no_longer_has_cannot_be_repaired(folder: Path, upstream: FakeUpstream) -> None:
    """The fault is reported as not repaired, exit code 1; nobody is told that all is well."""
    changed = _files(folder)[0]
    resource, sub = changed.parent.parent.name, changed.parent.name
    catalogue = withdraw(upstream.catalogue, resource, sub)
    newer = tuple(replace(r, updated="2026-11-01") if r.id == resource else r for r in catalogue.resources)
    upstream.catalogue = replace(catalogue, resources=newer)
    _flip(changed)
    outcome = run("verify", "--full", "--repair", "--json", cwd=folder)
    assert outcome.code == 1
    assert [fault["repaired"] for fault in outcome.json["faults"]] == [False]


def test_names_limit_what_is_verified(folder: Path) -> None:
    """A fault in what another subscription wants does not count."""
    broken = next(path for path in _files(folder) if "BDBRAVO" in path.name)
    broken.unlink()
    assert run("verify", "a", cwd=folder).code == 0
    assert run("verify", "b", cwd=folder).code == 1
    assert run("verify", "nobody", cwd=folder).code == 2


def test_foreign_files_are_reported_and_left_alone(folder: Path) -> None:
    """A file that the index does not know is not ours: named, no fault, still there after a repair."""
    foreign = _files(folder)[0].with_name("notes.txt")
    foreign.write_text("mine", "utf-8")
    stray = folder / "mirror" / "data" / "gpf" / "BDALPHA" / "copy-of-mine"
    stray.mkdir()
    document = run("verify", "--full", "--repair", "--json", cwd=folder).json
    assert document["exit_code"] == 0
    assert document["foreign"] == [str(foreign), str(stray)]
    assert stray.is_dir()
    assert foreign.read_text("utf-8") == "mine"


def test_status_counts_what_verify_found(folder: Path) -> None:
    """Damage is not hidden until the next sync: status names the file."""
    changed = _files(folder)[0]
    _flip(changed)
    run("verify", "--full", cwd=folder)
    (parked,) = run("status", "--json", cwd=folder).json["parked"]
    assert parked["file"] == changed.name


def test_an_interrupt_ends_a_verification(tmp_path: Path) -> None:
    """Hashing gigabytes does not keep Ctrl-C waiting: exit code 130, and nothing is taken for verified or damaged."""
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'a]\nresources = ["*"]')
        assert run("sync", cwd=tmp_path).code == 0
    (path,) = _files(tmp_path)
    before = run("query", "--json", cwd=tmp_path).json
    with sqlite3.connect(tmp_path / "mirror" / "index.sqlite") as index:
        index.execute("UPDATE stored_files SET size = ?", (2**40,))
    os.truncate(path, 2**40)  # sparse: a terabyte to read, none on the disk
    process = start("-v", "verify", "--full", cwd=tmp_path)
    assert process.stderr is not None
    assert "checking" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert run("query", "--json", cwd=tmp_path).json[0]["verified_at"] == before[0]["verified_at"]


def test_without_an_index_nothing_is_verified_and_nothing_is_made(tmp_path: Path) -> None:
    """A disk that is not mounted must not look like a sound, empty mirror."""
    write_config(tmp_path, "http://127.0.0.1:9/capabilities", 'a]\nresources = ["*"]')
    for arguments in (["verify"], ["verify", "--full", "--repair"]):
        outcome = run(*arguments, cwd=tmp_path)
        assert outcome.code == 2
        assert "no index" in outcome.err
    assert not (tmp_path / "mirror").exists()


def test_a_repair_that_the_upstream_does_not_allow_says_why(tmp_path: Path) -> None:
    """The wrong file is out of the way, exit code 1, and both reasons are told."""
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'a]\nresources = ["*"]')
        assert run("sync", cwd=tmp_path).code == 0
    (path,) = _files(tmp_path)
    _flip(path)
    outcome = run("verify", "--full", "--repair", cwd=tmp_path)
    assert outcome.code == 1
    assert "set aside" in outcome.err
    assert "cannot be read" in outcome.err
    assert not path.exists()
    status = run("status", "--json", cwd=tmp_path).json["subscriptions"][0]
    assert status["failures"] == status["parked"] == 1
