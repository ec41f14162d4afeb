"""Which names from a feed may become names on disk."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.errors import UnsafeName
from mirror.names import LONGEST, check_name


@pytest.mark.parametrize(
    "name",
    [
        "BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025-09-15.7z.001",
        "PARCS.JARDINS",
        "LHD_FXX_0891_6248_PTS_LAMB93_IGN69.copc.laz",
        "Bâtiments de l’État (édition 2024).zip",
        "a",
        "console.txt",
        "~tilde",
    ],
)
def test_a_name_that_is_safe_comes_back_unchanged(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("../../etc/passwd", "separator"),
        ("/etc/passwd", "separator"),
        ("a/b", "separator"),
        ("..\\..\\x", "separator"),
        ("C:\\x", "separator"),
        (".", "starts with a dot"),
        ("..", "starts with a dot"),
        (".staging", "starts with a dot"),
        ("x.", "ends with a dot"),
        ("x ", "ends with"),
        (" x", "starts or ends"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\u202egnp.exe", "invisible"),
        ("a\u200bb", "invisible"),
        ("a\ufeffb", "invisible"),
        ("a\ufe0fb", "invisible"),
        ("a\u3164b", "invisible"),
        ("a\ud800b", "invisible"),
        ("a\ue000b", "invisible"),
        ("CON", "reserved"),
        ("nul.txt", "reserved"),
        ("COM1.7z", "reserved"),
        ("é" * 125, "longer"),
        ("x" * 256, "longer"),
    ],
)
def test_an_unsafe_name_is_refused_with_its_reason_in_one_line(name: str, why: str) -> None:
    with pytest.raises(UnsafeName, match=why) as refused:
        check_name(name)
    assert len(str(refused.value).splitlines()) == 1


def test_the_longest_name_leaves_room_for_what_staging_puts_behind_it() -> None:
    longest = max(size for size in range(1, LONGEST + 1) if _is_safe("x" * size))
    assert longest + len(".part.json~") == LONGEST


def _is_safe(name: str) -> bool:
    try:
        check_name(name)
    except UnsafeName:
        return False
    return True


@given(st.one_of(st.text(), st.text(alphabet="./\\~ aC:\x00\u2028éN", max_size=12), st.text(min_size=200, max_size=300)))
@example("..")
@example("a/../..")
def test_an_accepted_name_stays_directly_in_the_folder_it_is_joined_to(name: str) -> None:
    """It also survives a round through the file system's encoding, and cannot hide."""
    if not _is_safe(name):
        return
    assert os.path.normpath(os.path.join("/root/folder", name)) == f"/root/folder/{name}"
    assert PurePosixPath("/root/folder", name).parent == PurePosixPath("/root/folder")
    assert os.fsdecode(os.fsencode(name)) == name
    assert len(os.fsencode(name)) <= LONGEST
    assert not name.startswith(".")
