"""The tree of files: things appear whole, nothing that is not ours is touched, and what a killed run left is put right."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mirror.store.tree import Folder, Tree

FOLDER = Folder("gpf", "BDTOPO", "BDTOPO_D038")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / ".staging").mkdir()
    return Tree(tmp_path)


def stage(tree: Tree, **files: str) -> list[str]:
    """Verified files that wait in staging; returns their names."""
    for name, text in files.items():
        path = tree.staged(FOLDER, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(files)


def publish(tree: Tree, **files: str) -> None:
    tree.publish(FOLDER, stage(tree, **files), replacing=[name for name in files if name in contents(tree)])


def contents(tree: Tree, base: str = "data") -> dict[str, str]:
    folder = tree.root / base / FOLDER.relative
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}


def leftovers(tree: Tree) -> list[str]:
    """Files in staging, by path."""
    return sorted(str(path.relative_to(tree.staging)) for path in tree.staging.rglob("*") if not path.is_dir())


# -- publishing


def test_a_new_folder_appears_with_all_its_files(tree: Tree) -> None:
    publish(tree, a="1", b="2")
    assert contents(tree) == {"a": "1", "b": "2"}
    assert leftovers(tree) == []


def test_of_several_staged_files_only_those_named_are_published(tree: Tree) -> None:
    stage(tree, c="3")
    publish(tree, a="1", b="2")
    assert contents(tree) == {"a": "1", "b": "2"}
    assert contents(tree, ".staging/ready") == {"c": "3"}


def test_files_are_added_to_a_folder_one_by_one_or_together(tree: Tree) -> None:
    publish(tree, a="1")
    publish(tree, b="2")
    publish(tree, c="3", d="4")
    assert contents(tree) == {"a": "1", "b": "2", "c": "3", "d": "4"}


def test_replacing_keeps_what_is_not_replaced(tree: Tree) -> None:
    publish(tree, a="1", b="2", c="3")
    publish(tree, a="one", b="two")
    assert contents(tree) == {"a": "one", "b": "two", "c": "3"}
    assert leftovers(tree) == []


def test_a_kept_file_stays_the_same_file(tree: Tree) -> None:
    """It is linked, not copied: gigabytes that did not change are not written again."""
    publish(tree, a="1", b="2", c="3")
    before = os.stat(tree.data / FOLDER.relative / "c").st_ino
    publish(tree, a="one", b="two")
    assert os.stat(tree.data / FOLDER.relative / "c").st_ino == before


def test_a_reader_never_sees_old_and_new_volumes_side_by_side(tree: Tree) -> None:
    """A listing of the folder by one open directory, as `ls` and 7z make it, shows one generation only."""
    volumes = [f"x.7z.{n:03d}" for n in range(1, 6)]
    publish(tree, **dict.fromkeys(volumes, "0"))
    path, mixed, done, looks = tree.data / FOLDER.relative, [], threading.Event(), threading.Semaphore(0)

    def read() -> None:
        while not done.is_set():
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                seen = []
                for name in volumes:
                    try:
                        file = os.open(name, os.O_RDONLY, dir_fd=fd)
                    except FileNotFoundError:  # the folder was exchanged and taken away while it was read
                        break
                    seen.append(os.read(file, 9))
                    os.close(file)
                if len(set(seen)) > 1:
                    mixed.append(seen)
            finally:
                os.close(fd)
            looks.release()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for generation in range(1, 200):
            looks.acquire()
            publish(tree, **dict.fromkeys(volumes, str(generation)))
    finally:
        done.set()
        reader.join()
    assert mixed == []
    assert contents(tree) == dict.fromkeys(volumes, "199")


def test_the_folder_is_never_missing_while_it_is_exchanged(tree: Tree) -> None:
    publish(tree, a="1", b="1")
    path, missing, done, looks = tree.data / FOLDER.relative, [], threading.Event(), threading.Semaphore(0)

    def read() -> None:
        while not done.is_set():
            if not path.is_dir():
                missing.append(True)
            looks.release()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for generation in range(100):
            looks.acquire()
            publish(tree, a=str(generation), b=str(generation))
    finally:
        done.set()
        reader.join()
    assert missing == []


@pytest.mark.parametrize("exchange", [True, False], ids=["renameat2", "two renames"])
def test_foreign_files_survive(tree: Tree, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    """Files, folders and links that somebody put into ours stay where they are, with and without the kernel's exchange."""
    if not exchange:
        monkeypatch.setattr("mirror.store.tree.exchange", lambda one, other: False)
    publish(tree, a="1", b="2")
    folder = tree.data / FOLDER.relative
    (folder / "notes.txt").write_text("mine")
    (folder / "extracted").mkdir()
    (folder / "extracted" / "x.gpkg").write_text("mine too")
    (folder / "link").symlink_to("nowhere")
    publish(tree, a="one", b="two")
    assert contents(tree) == {"a": "one", "b": "two", "notes.txt": "mine"}
    assert (folder / "extracted" / "x.gpkg").read_text() == "mine too"
    assert (folder / "link").readlink() == Path("nowhere")
    assert leftovers(tree) == []


def test_a_file_in_the_way_is_set_aside(tree: Tree) -> None:
    publish(tree, b="2")
    (tree.data / FOLDER.relative / "a").write_text("not ours")
    tree.publish(FOLDER, stage(tree, a="1"))
    assert contents(tree) == {"a": "1", "b": "2"}
    assert contents(tree, ".staging/quarantine") == {"a": "not ours"}


@pytest.mark.parametrize("names", [["a"], ["a", "c"]])
def test_a_file_in_the_way_keeps_its_place_until_the_new_one_takes_it(
    tree: Tree, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no moment at which a reader, or a run that is killed, finds neither of the two; and the old one is kept once."""
    publish(tree, a="old", b="2")
    seen = []
    monkeypatch.setattr("mirror.steps.on_step", lambda name: seen.append(contents(tree)))
    tree.publish(FOLDER, stage(tree, **dict.fromkeys(names, "new")))
    assert seen
    assert {found["a"] for found in seen} == {"old", "new"}
    assert contents(tree) == {**dict.fromkeys(names, "new"), "b": "2"}
    assert contents(tree, ".staging/quarantine") == {"a": "old"}


def test_nothing_in_quarantine_is_overwritten(tree: Tree) -> None:
    for text in ("first", "second"):
        publish(tree, b="2")
        (tree.data / FOLDER.relative / "a").write_text(text)
        tree.quarantine(FOLDER, "a")
    assert contents(tree, ".staging/quarantine") == {"a": "first", "a~1": "second"}
    assert tree.quarantine(FOLDER, "a") is None


@pytest.mark.parametrize("names", [["a"], ["a", "c"]])
def test_a_folder_in_the_place_of_a_file_is_set_aside(tree: Tree, names: list[str]) -> None:
    publish(tree, a="1", b="2")
    path = tree.data / FOLDER.relative / "a"
    path.unlink()
    path.mkdir()
    (path / "precious").write_text("mine")
    tree.publish(FOLDER, stage(tree, **dict.fromkeys(names, "new")), replacing=["a"])
    assert contents(tree) == {**dict.fromkeys(names, "new"), "b": "2"}
    assert (tree.quarantined / FOLDER.relative / "a" / "precious").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_set_aside(tree: Tree) -> None:
    path = tree.data / FOLDER.relative
    path.parent.mkdir(parents=True)
    path.write_text("not ours")
    publish(tree, a="1")
    assert contents(tree) == {"a": "1"}
    assert [p.read_text() for p in (tree.quarantined / FOLDER.relative).iterdir()] == ["not ours"]


def test_the_stamp_changes_when_a_name_comes_goes_or_is_replaced(tree: Tree) -> None:
    path = tree.data / FOLDER.relative
    assert tree.stamp(FOLDER) is None
    publish(tree, a="1", b="2")
    os.utime(path, ns=(1, 1))
    publish(tree, a="one")
    replaced = tree.stamp(FOLDER)
    os.utime(path, ns=(1, 1))
    (path / "b").unlink()
    assert {replaced, tree.stamp(FOLDER)}.isdisjoint({1, None})


# -- what a killed run left


def test_a_folder_taken_out_and_not_replaced_goes_back(tree: Tree) -> None:
    publish(tree, a="1", b="2")
    retired = tree.swap / "old" / FOLDER.relative
    retired.parent.mkdir(parents=True)
    (tree.data / FOLDER.relative).rename(retired)
    tree.recover()
    assert contents(tree) == {"a": "1", "b": "2"}
    assert not tree.swap.exists()


def test_verified_files_of_a_half_built_folder_go_back_to_wait(tree: Tree) -> None:
    """Killed before the exchange: `a` and `b` are new, `c` is the published one, linked."""
    publish(tree, a="1", c="3")
    fresh = tree.swap / "new" / FOLDER.relative
    fresh.mkdir(parents=True)
    os.link(tree.data / FOLDER.relative / "c", fresh / "c")
    (fresh / "a").write_text("one")
    (fresh / "b").write_text("two")
    tree.recover()
    assert contents(tree) == {"a": "1", "c": "3"}
    assert contents(tree, ".staging/ready") == {"a": "one", "b": "two"}
    assert not tree.swap.exists()


def test_after_the_exchange_only_the_old_folder_goes(tree: Tree) -> None:
    """Killed between the exchange and the clearing away: what was somebody else's goes back into the new folder."""
    publish(tree, a="one", c="3")
    old = tree.swap / "new" / FOLDER.relative
    old.mkdir(parents=True)
    (old / "a").write_text("1")
    os.link(tree.data / FOLDER.relative / "c", old / "c")
    (old / "extracted").mkdir()
    (old / "extracted" / "x").write_text("mine")
    tree.recover()
    assert contents(tree) == {"a": "one", "c": "3"}
    assert (tree.data / FOLDER.relative / "extracted" / "x").read_text() == "mine"
    assert not tree.swap.exists()


def test_a_replaced_folder_gives_back_what_was_not_ours(tree: Tree) -> None:
    publish(tree, a="one")
    retired = tree.swap / "old" / FOLDER.relative
    retired.mkdir(parents=True)
    (retired / "a").write_text("1")
    (retired / "notes.txt").write_text("mine")
    tree.recover()
    assert contents(tree) == {"a": "one", "notes.txt": "mine"}
    assert not tree.swap.exists()


def test_recovering_a_tree_that_needs_nothing_does_nothing(tree: Tree) -> None:
    publish(tree, a="1")
    tree.recover()
    assert contents(tree) == {"a": "1"}


# -- sweeping


def test_the_sweep_leaves_what_is_wanted_and_nothing_else(tree: Tree) -> None:
    parts = tree.parts / FOLDER.relative
    parts.mkdir(parents=True)
    for name in ("a.part", "a.part.json", "a.part.json~", "b.part", "b.part.json"):
        (parts / name).write_text("12345")
    stage(tree, a="1", c="333")
    assert tree.staged_folders("gpf") == {FOLDER}
    assert tree.staged_bytes(FOLDER, ["a", "c"]) == 5 + 1 + 3
    assert tree.sweep(FOLDER, {"a"}) == 2 * 5 + 3
    assert sorted(path.name for path in parts.iterdir()) == ["a.part", "a.part.json", "a.part.json~"]
    assert contents(tree, ".staging/ready") == {"a": "1"}


def test_a_folder_swept_empty_goes(tree: Tree) -> None:
    stage(tree, a="1")
    tree.sweep(FOLDER, set())
    assert tree.staged_folders("gpf") == set()
    assert not (tree.ready / "gpf" / FOLDER.resource).exists()


def test_the_sweep_never_looks_at_published_files(tree: Tree) -> None:
    publish(tree, a="1")
    tree.sweep(FOLDER, set())
    assert contents(tree) == {"a": "1"}


# -- aliases


def test_an_alias_is_a_relative_link_to_the_folder(tree: Tree) -> None:
    publish(tree, a="1")
    assert tree.point("gpf", "BDTOPO_D038", FOLDER.resource, FOLDER.sub_resource)
    link = tree.aliases / "gpf" / "BDTOPO_D038"
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert (link / "a").read_text() == "1"
    assert not tree.point("gpf", "BDTOPO_D038", FOLDER.resource, FOLDER.sub_resource)


def test_an_alias_moves_without_ever_being_gone(tree: Tree) -> None:
    link, gone, done, looks = tree.aliases / "gpf" / "S", [], threading.Event(), threading.Semaphore(0)
    tree.point("gpf", "S", "R", "first")

    def read() -> None:
        while not done.is_set():
            if not link.is_symlink():
                gone.append(True)
            looks.release()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(200):
            looks.acquire()
            assert tree.point("gpf", "S", "R", f"edition-{number}")
    finally:
        done.set()
        reader.join()
    assert gone == []
    assert link.readlink().name == "edition-199"


def test_a_link_that_a_killed_run_was_about_to_place_is_no_obstacle(tree: Tree) -> None:
    (tree.staging / "alias-gpf").symlink_to("somewhere")
    assert tree.point("gpf", "S", "R", "x")
    assert leftovers(tree) == []
