"""What may be unpacked: names, collisions, sizes and numbers of members."""

from __future__ import annotations

import errno
import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archives.checks import LONGEST_PATH, Gate, clean_path, fold, show
from mirror.archives.model import Bounds, Entry
from mirror.errors import ArchiveError, ArchiveRefused

WIDE = Bounds(max_ratio=1e9, max_members=1000, max_bytes=None)


def gate(bounds: Bounds = WIDE, packed: int = 1000) -> Gate:
    return Gate(bounds, packed)


def entry(name: str, size: int = 1, *, folder: bool = False) -> Entry:
    return Entry(name, 0 if folder else size, folder)


# -- names

_GOOD = [
    "BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025-09-15/BDTOPO/1_DONNEES_LIVRAISON_2025-09-00212/BDT_3-5_GPKG_LAMB93_D038.gpkg",
    "RGE ALTI 2.0/Données de livraison/été n°1 (v2).asc",
    "a/b.c d/é~$.tif",
    ".DS_Store",
    "__MACOSX/._x",
    "..x",
    "x..y/z",
    "lpt10/com/auxiliary.txt",
]


@pytest.mark.parametrize("name", _GOOD)
def test_names_as_producers_of_geodata_give_them_pass_unchanged(name: str) -> None:
    assert clean_path(name, folder=False) == name


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a", "a"), ("././a/b", "a/b"), (".//a", "a"), ("./.x", ".x")],
)
def test_a_dot_in_front_as_tar_writes_it_is_left_out(name: str, path: str) -> None:
    assert clean_path(name, folder=False) == path


@pytest.mark.parametrize(("name", "path"), [("a/", "a"), ("a/b/", "a/b"), ("./", ""), (".", ""), ("./a/", "a")])
def test_a_folder_may_end_in_a_slash_and_may_be_the_one_that_all_is_in(name: str, path: str) -> None:
    assert clean_path(name, folder=True) == path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "absolute"),
        ("//server/share", "absolute"),
        ("..", "'..'"),
        ("../x", "'..'"),
        ("a/../../x", "'..'"),
        ("a/..", "'..'"),
        ("./../x", "'..'"),
        ("a/./b", "'.'"),
        ("a//b", "empty part"),
        ("", "empty part"),
        ("C:/x", "drive letter"),
        ("c:x", "drive letter"),
        ("a\\b", "backslash"),
        ("..\\x", "backslash"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\x1b[2J", "control"),
        ("\u202egpj.exe", "control"),
        ("a\u200bb", "control"),
        ("x" * 256, "longer than"),
        ("a/" * 512 + "x", f"longer than {LONGEST_PATH}"),
        ("./" * 1_000_000 + "x", f"longer than {LONGEST_PATH}"),
        ("con", "reserved"),
        ("a/NUL.txt", "reserved"),
        ("a /b", "blank"),
        (" a", "blank"),
        ("a.", "dot"),
        ("...", "dot"),
        ("\udcff", "control"),
    ],
)
def test_names_that_lead_out_or_that_not_every_system_keeps_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ArchiveError, match="unsafe member name") as raised:
        clean_path(name, folder=False)
    assert reason in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


_part = st.sampled_from(["..", ".", "", "a", "b", "é", "e\u0301", "C:", "a\\b", "\0", "con", " x", "x" * 200]) | st.text(max_size=4)
_names = st.lists(_part, max_size=5).map("/".join)


@given(_names, st.booleans())
def test_a_path_that_passes_stays_below_its_folder(name: str, folder: bool) -> None:
    try:
        path = clean_path(name, folder=folder)
    except ArchiveError:
        return
    assert folder or path
    assert not path.startswith("/")
    assert os.path.normpath(path or ".") == (path or ".")
    assert ".." not in PurePosixPath(path).parts
    assert len(os.fsencode(path)) <= LONGEST_PATH
    assert clean_path(path, folder=folder) == path if path else True


# -- collisions


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("a", "a", "twice"),
        ("a", "./a", "twice"),
        ("a", "A", "differs from 'a' only"),
        ("é", "e\u0301", "only in ways"),
        ("straße", "STRASSE", "only in ways"),
        ("Dossier/a", "dossier/b", "differs from 'Dossier' only"),
        ("a", "a/b", "both a file and a folder"),
        ("a/b", "a", "both a file and a folder"),
        ("a/b/c", "a/b", "both a file and a folder"),
        ("a/B", "a/b/c", "differs"),
    ],
)
def test_members_that_would_meet_on_some_file_system_are_refused(first: str, second: str, reason: str) -> None:
    one = gate()
    one.admit(entry(first))
    with pytest.raises(ArchiveError, match=reason):
        one.admit(entry(second))


def test_a_folder_may_be_listed_again_and_after_what_is_in_it() -> None:
    one = gate()
    for name, folder in (("a/b", False), ("a", True), ("a/", True), ("./", True), ("a/c", False)):
        one.admit(entry(name, folder=folder))
    with pytest.raises(ArchiveError, match="both"):
        one.admit(entry("a/b", folder=True))


@given(st.lists(st.tuples(st.lists(st.sampled_from("aAéEbe"), min_size=1, max_size=3).map("/".join), st.booleans()), max_size=8))
def test_admitted_members_have_places_of_their_own_on_any_file_system(members: list[tuple[str, bool]]) -> None:
    one = gate()
    files: set[str] = set()
    folders: set[str] = set()
    for name, folder in members:
        try:
            one.admit(entry(name, folder=folder))
        except ArchiveError:
            break  # the archive is refused as a whole
        parents = {str(parent) for parent in PurePosixPath(name).parents} - {"."}
        assert folder or name not in files
        (folders if folder else files).add(name)
        folders |= parents
    assert not files & folders
    places = files | folders
    assert len({fold(place) for place in places}) == len(places)


# -- numbers and sizes


def test_members_are_counted_with_the_folders_that_their_paths_imply() -> None:
    bounds = Bounds(1e9, 5, None)
    with pytest.raises(ArchiveError, match="more than 5 members"):
        gate(bounds).admit(entry("1/2/3/4/5/6"))
    one = gate(bounds)
    for number in range(5):
        one.admit(entry(str(number)))
    with pytest.raises(ArchiveError, match="max_members"):
        one.admit(entry("6"))


def test_names_are_not_to_fill_the_memory_of_whoever_lists_them() -> None:
    one = gate(Bounds(1e9, 10, None))
    folders = "/".join(letter * 240 for letter in "xyz")
    for number in range(3):
        one.admit(entry(f"{folders}/{number}"))
    with pytest.raises(ArchiveRefused, match="more than 2560 letters"):
        one.admit(entry(f"{folders}/3"))


def test_what_unpacks_to_more_than_the_ratio_is_a_bomb() -> None:
    one = gate(Bounds(10, 100, None), packed=100)
    one.admit(entry("a", 999))
    one.admit(entry("b", 1))
    with pytest.raises(ArchiveError, match="10 times its 100 bytes"):
        one.admit(entry("c", 1))


def test_bytes_that_come_undeclared_count_too() -> None:
    one = gate(Bounds(10, 100, None), packed=100)
    one.admit(Entry("a", None, folder=False))
    one.grow(1000)
    with pytest.raises(ArchiveError, match="bomb"):
        one.grow(1)


def test_what_there_is_no_room_for_is_no_fault_of_the_archive() -> None:
    """So it is a disk that is full, and unpacking is tried again; small files and folders take whole blocks."""
    one = gate(Bounds(1e9, 100, 3 * 4096))
    one.admit(entry("a", 5))
    one.admit(entry("b", 4096))
    one.admit(entry("c", folder=True))
    with pytest.raises(OSError, match="room for") as raised:
        one.admit(entry("d", 1))
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (Entry("a", 1, folder=False, encrypted=True), "encrypted"),
        (Entry("a", 1, folder=False, oddity="a symbolic link"), "a symbolic link"),
        (Entry("a", -1, folder=False), "below zero"),
    ],
)
def test_what_is_no_plain_file_or_folder_is_refused(member: Entry, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        gate().admit(member)


def test_a_test_judges_no_names_as_it_makes_no_files() -> None:
    one = Gate(WIDE, 1000, names=False)
    for name in ("../x", "a", "a", "/etc/passwd"):
        one.admit(entry(name))
    one.admit(Entry("l", 4, folder=False, oddity="a symbolic link"))
    with pytest.raises(ArchiveError, match="encrypted"):
        one.admit(Entry("a", 1, folder=False, encrypted=True))


@given(st.lists(st.integers(0, 5000), max_size=20), st.integers(1, 20), st.integers(1, 4000))
def test_what_is_admitted_keeps_all_bounds(sizes: list[int], ratio: int, packed: int) -> None:
    bounds = Bounds(ratio, 12, 40_000)
    one = Gate(bounds, packed)
    admitted: list[int] = []
    try:
        for number, size in enumerate(sizes):
            one.admit(entry(str(number), size))
            admitted.append(size)
    except (ArchiveError, OSError):
        pass
    assert sum(admitted) <= ratio * packed
    assert sum(-(-size // 4096) * 4096 for size in admitted) <= 40_000
    assert len(admitted) <= 12


@pytest.mark.parametrize("name", ["a" * 5000, "\x01" * 120, "\U0010ffff" * 110, "\x02" * 5000 + "end"])
def test_a_name_in_a_message_is_no_longer_than_people_read(name: str) -> None:
    """However much longer it becomes by being escaped."""
    shown = show(name)
    assert shown.isprintable()
    assert len(shown) <= 122 + len("...")
