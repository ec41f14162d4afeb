"""What is in the way of a mirror: files where folders should be, folders that cannot be written, a read-only disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mirror.errors import MirrorError
from mirror.store.index import FILE

from .command import run, write_config
from .mirrored import Mirrored, edition, offered, tree_of, volumes
from .mounts import disk, need_mounts, run_in_own_mounts
from .privileges import ordinary_user
from .upstream import FakeUpstream, publish, simple_catalogue

FIRST = simple_catalogue(2, 2, 2, size=3 << 20)
SECOND = publish(
    publish(FIRST, "BDALPHA", edition(FIRST.resources[0].subs[0], "2026-12-01", "2026-12-15")), "BDNEW", volumes("NEW_2026-09-15")
)
"""A new edition, and a new resource."""


def test_in_a_namespace_where_mounting_needs_one() -> None:
    run_in_own_mounts(__file__)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(FIRST).in_thread() as fake:
        yield fake


def anybodys(folder: Path) -> Path:
    """A folder in which everybody may write."""
    folder.chmod(0o777)
    return folder


async def said(mirror: Mirrored) -> tuple[int, str]:
    """How a sync ends, and all that it says of what went wrong."""
    try:
        report = await mirror.sync()
    except MirrorError as error:
        return error.exit_code, str(error)
    return report.exit_code, "; ".join([report.reason, *(failure.reason for failure in report.failed)])


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("", 4),
        ("data", 1),
        ("data/gpf", 1),
        ("data/gpf/BDNEW", 1),
        ("current", 1),
        ("current/gpf", 1),
        (".staging", 4),
        (".staging/parts", 1),
        (".staging/parts/gpf", 1),
        (".staging/parts/gpf/BDALPHA", 1),
        (".staging/ready", 1),
        (".staging/ready/gpf/BDNEW", 1),
        (".staging/swap", 1),
        (".staging/alias-gpf", 0),  # a leftover that is ours
    ],
)
async def test_a_file_where_a_folder_should_be_is_named(upstream: FakeUpstream, tmp_path: Path, place: str, code: int) -> None:
    """Nothing that is here is lost, what can be had is had, and once it is gone the next sync ends complete."""
    mirror = Mirrored(tmp_path / "root", upstream)
    await mirror.sync()
    upstream.catalogue = SECOND
    obstacle, aside = mirror.root / place, tmp_path / "aside"
    if obstacle.exists():
        obstacle.rename(aside)
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("mine")
    ended, words = await said(mirror)
    assert ended == code, words
    assert "\n" not in words
    if not code:
        return
    assert str(obstacle) in words
    assert obstacle.read_text() == "mine"
    if not place.startswith("data") and place:
        assert offered(FIRST).items() <= mirror.tree().items()
    obstacle.unlink()
    if aside.exists():
        aside.rename(obstacle)
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(SECOND)
    assert len(mirror.aliases()) == 5
    assert (await mirror.sync()).requests == 1


@pytest.mark.parametrize(("place", "code"), [(FILE, 2), (f"{FILE}-wal", 2), (".staging/lock", 4)])
async def test_a_folder_where_a_file_should_be_is_named(upstream: FakeUpstream, tmp_path: Path, place: str, code: int) -> None:
    mirror = Mirrored(tmp_path / "root", upstream)
    (mirror.root / place).mkdir(parents=True)
    ended, words = await said(mirror)
    assert ended == code, words
    assert str(mirror.root / FILE) in words or str(mirror.root / place) in words
    (mirror.root / place).rmdir()
    assert (await mirror.sync()).exit_code == 0


@pytest.mark.parametrize(
    ("place", "code"), [("", 4), ("data/gpf", 1), ("data/gpf/BDALPHA", 1), (".staging/parts/gpf/BDALPHA", 1), ("current/gpf", 1)]
)
async def test_a_folder_that_cannot_be_written_is_named(upstream: FakeUpstream, tmp_path: Path, place: str, code: int) -> None:
    mirror = Mirrored(root := anybodys(tmp_path) / "root", upstream)
    with ordinary_user(tmp_path):
        if not place:
            root.mkdir()
        else:
            await mirror.sync()
        upstream.catalogue = SECOND
        locked = root / place
        locked.mkdir(exist_ok=True)
        locked.chmod(0o555)
        ended, words = await said(mirror)
        assert ended == code, words
        assert str(locked) in words
        assert "\n" not in words
        if place:
            assert offered(FIRST).items() <= mirror.tree().items()
        locked.chmod(0o755)
        assert (await mirror.sync()).exit_code == 0
        assert mirror.tree() == offered(SECOND)


async def test_an_index_that_cannot_be_written_is_named(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Exit code 2, and it is not taken for a damaged one."""
    mirror = Mirrored(root := anybodys(tmp_path) / "root", upstream)
    with ordinary_user(tmp_path):
        await mirror.sync()
        (root / FILE).chmod(0o444)
        ended, words = await said(mirror)
        assert (ended, str(root / FILE) in words) == (2, True)
        assert not (root / ".staging" / "quarantine").exists()
        (root / FILE).chmod(0o644)
        assert (await mirror.sync()).exit_code == 0


def test_a_read_only_disk_can_be_asked_and_not_synced_to(upstream: FakeUpstream, tmp_path: Path) -> None:
    """`sync` ends with exit code 4 and says why; `query`, `status`, `plan` and `verify` do what they always do."""
    need_mounts()
    with disk(tmp_path / "mirror", 64 << 20) as made:
        write_config(tmp_path, upstream.url, 'a]\nresources = ["*"]\nedition = "all"', more='limits.min_free = "0 B"')
        assert run("sync", cwd=tmp_path).code == 0
        upstream.catalogue = SECOND
        made.read_only()
        for order in (("sync",), ("verify", "--repair")):
            outcome = run(*order, cwd=tmp_path)
            assert (outcome.code, len(outcome.err.splitlines())) == (4, 1), outcome
            assert "read-only" in outcome.err
        assert len(run("query", "--paths", cwd=tmp_path).out.splitlines()) == 8
        assert run("status", cwd=tmp_path).code == 0
        assert run("verify", "--full", cwd=tmp_path).code == 0
        assert run("plan", "--json", cwd=tmp_path).json["planned"]["add"] == 5
        made.writable()
        assert run("sync", cwd=tmp_path).code == 0
        assert tree_of(tmp_path / "mirror" / "data" / "gpf") == offered(SECOND)


def test_a_read_only_disk_on_which_a_run_was_killed_can_be_asked(upstream: FakeUpstream, tmp_path: Path) -> None:
    """The write-ahead log that such a run leaves is read, not passed over."""
    need_mounts()
    with disk(tmp_path / "mirror", 64 << 20) as made:
        write_config(tmp_path, upstream.url, 'a]\nresources = ["*"]\nedition = "all"', more='limits.min_free = "0 B"')
        assert run("sync", cwd=tmp_path).code == 0
        index = tmp_path / "mirror" / FILE
        with closing(sqlite3.connect(index)) as writer:
            writer.execute("UPDATE sub_resources SET title = 'from the log'")
            writer.commit()
            kept = {name: index.with_name(name).read_bytes() for name in (FILE, f"{FILE}-wal", f"{FILE}-shm")}
        for name, content in kept.items():
            index.with_name(name).write_bytes(content)
        made.read_only()
        assert run("query", "--json", cwd=tmp_path).json[0]["title"] == "from the log"
        assert run("status", cwd=tmp_path).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes into the mirrors of others")
async def test_root_in_the_mirror_of_another_user_is_told_whose_it_is(tmp_path: Path, upstream: FakeUpstream) -> None:
    """The sync goes on: it may be meant so. But the service of that user could not replace what it makes."""
    mirror = Mirrored(tmp_path / "root", upstream)
    mirror.root.mkdir()
    assert not (await mirror.sync()).remarks
    os.chown(mirror.root, 65534, 65534)
    report = await mirror.sync()
    assert report.outcome == "complete"
    (remark,) = report.remarks
    assert f"{mirror.root} belongs to nobody" in remark
    assert "sudo -u nobody" in remark
