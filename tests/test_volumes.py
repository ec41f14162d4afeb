"""Which files are archives, which of them are volumes of one, and what is missing; and volumes read as one stream."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archives.reading import Volumes, buffered
from mirror.planning.volumes import Archive, archives_in, gap_in, kind_of, publishing_groups

# -- groups


def test_a_whole_sub_resource_appears_at_once() -> None:
    assert publishing_groups(["b.7z", "a.md5", "a.7z.001"], whole=True) == [("a.7z.001", "a.md5", "b.7z")]
    assert publishing_groups([], whole=True) == []


def test_each_file_appears_by_itself_but_volumes_of_one_archive_together() -> None:
    names = ["a.7z.002", "a.7z.001", "b.7z.001", "a.md5", "tile.copc.laz", "a.7z"]
    assert publishing_groups(names, whole=False) == [
        ("a.7z",),
        ("a.7z.001", "a.7z.002"),
        ("a.md5",),
        ("b.7z.001",),
        ("tile.copc.laz",),
    ]


# -- archives by their names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025-09-15.7z", "7z"),
        ("BDORTHO.7z.001", "7z"),
        ("x.ZIP", "zip"),
        ("x.zip.012", "zip"),
        ("x.tar", "tar"),
        ("x.tar.gz", "tar.gz"),
        ("x.tgz", "tar.gz"),
        ("x.tar.bz2", "tar.bz2"),
        ("x.tar.xz.001", "tar.xz"),
        ("x.geojson.gz", "gz"),
        ("x.md5", None),
        ("x.copc.laz", None),
        ("x.gpkg.001", None),
        (".7z", None),
        ("7z", None),
    ],
)
def test_the_format_is_told_by_the_name(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_volumes_are_in_the_order_of_their_numbers_whatever_the_order_of_the_listing() -> None:
    names = [f"x.7z.{number:03d}" for number in (1000, 2, 999, 1)]
    assert archives_in([*names, "x.md5", "a.zip"]) == (
        Archive("a.zip", ("a.zip",)),
        Archive("x.7z", ("x.7z.001", "x.7z.002", "x.7z.999", "x.7z.1000")),
    )


def test_an_archive_and_a_split_one_of_the_same_name_have_two_names() -> None:
    assert [archive.name for archive in archives_in(["x.7z", "x.7z.001"])] == ["x.7z", "x.7z.001"]


@pytest.mark.parametrize(
    ("numbers", "gap"),
    [
        (("001",), None),
        (("001", "002", "003"), None),
        (("002",), "volume 001 is missing"),
        (("001", "003"), "volume 002 is missing"),
        (("001", "002", "005", "009"), "volume 003 is missing"),
        (("001", "0001", "002"), "volume 001 is there twice"),
        (("000", "001"), "it has a volume 000, and volumes are counted from 001"),
    ],
)
def test_volumes_run_from_one_without_a_gap(numbers: tuple[str, ...], gap: str | None) -> None:
    (archive,) = archives_in(f"x.7z.{number}" for number in numbers)
    assert gap_in(archive) == gap


def test_what_is_not_split_has_no_gap() -> None:
    assert gap_in(Archive("x.7z", ("x.7z",))) is None


@given(st.sets(st.integers(1, 1200), min_size=1, max_size=30))
def test_a_gap_is_found_exactly_where_a_number_is_missing(numbers: set[int]) -> None:
    (archive,) = archives_in(f"x.7z.{number:03d}" for number in numbers)
    assert (gap_in(archive) is None) == (numbers == set(range(1, len(numbers) + 1)))


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["a.7z", "a.7z.001", "a.7z.002", "b.zip"])))
def test_every_name_is_in_one_archive_at_most_and_no_name_is_made_up(names: list[str]) -> None:
    found = [file for archive in archives_in(names) for file in archive.files]
    assert len(found) == len(set(found))
    assert set(found) == {name for name in names if kind_of(name)}
    assert len({archive.name for archive in archives_in(names)}) == len(archives_in(names))


# -- volumes as one stream


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=6), st.data())
def test_volumes_read_as_the_bytes_of_all_of_them(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("volumes")
    paths = [folder / f"x.7z.{number:03d}" for number, _ in enumerate(parts, 1)]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    whole = b"".join(parts)
    with Volumes([str(path) for path in paths]) as raw, buffered(raw) as stream:
        assert stream.read() == whole
        for _ in range(4):
            at = data.draw(st.integers(0, len(whole) + 3))
            size = data.draw(st.integers(0, len(whole) + 3))
            assert stream.seek(at) == at
            assert stream.read(size) == whole[at : at + size]
            assert stream.tell() == max(at, min(at + size, len(whole)))


def test_volumes_beyond_four_gibibytes_are_read_at_their_place(tmp_path: Path) -> None:
    paths = [tmp_path / "x.7z.001", tmp_path / "x.7z.002"]
    for path in paths:
        with path.open("wb") as file:  # with holes: it takes no room
            file.truncate(3 << 30)
    with paths[1].open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"last")
    with buffered(Volumes([str(path) for path in paths])) as stream:
        assert stream.seek(-4, os.SEEK_END) == (6 << 30) - 4
        assert stream.read() == b"last"
        stream.seek((3 << 30) - 1)
        assert stream.read(2) == b"\0\0"


def test_neighbours_that_are_not_named_are_not_read(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"x.7z.00{number}").write_bytes(str(number).encode())
    with buffered(Volumes([str(tmp_path / "x.7z.003"), str(tmp_path / "x.7z.001")])) as stream:
        assert stream.read() == b"31"


def test_a_volume_that_became_shorter_meanwhile_is_an_error_and_no_end(tmp_path: Path) -> None:
    path = tmp_path / "x.7z"
    path.write_bytes(b"0123456789")
    with Volumes([str(path)]) as stream:
        os.truncate(path, 4)
        assert stream.read(4) == b"0123"
        with pytest.raises(OSError, match="became shorter"):
            stream.read(1)


def test_a_position_before_the_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.7z"
    path.write_bytes(b"0123")
    with Volumes([str(path)]) as stream, pytest.raises(OSError, match="before the start"):
        stream.seek(-5, os.SEEK_END)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.7z")
    with pytest.raises(OSError, match="not a regular file"):
        Volumes([str(tmp_path / "x.7z")])
