"""Hostile archives: each format that can say it, each engine; one clear error, nothing outside the folder, nothing left of it."""

from __future__ import annotations

import errno
import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import py7zr
import pytest

from mirror import archives
from mirror.archives import ArchiveError, ArchiveRefused, Bounds
from mirror.archives.checks import Gate
from mirror.archives.opening import open_archive
from mirror.archives.sink import Sink

from .engines import BY_FORMAT, ENGINES, check_here, probe_here, unpack_here
from .hostile import FORMATS, Item, lzma2, seven_zip, tarred, zipped
from .test_archives import put

BOUNDS = Bounds(max_ratio=200, max_members=1000, max_bytes=None)
_noise = random.Random(8).randbytes(50_000)  # noqa: S311 - the same noise each time
_zeros = bytes(8 << 20)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder to work in; whatever is written beside it shows."""
    inside = tmp_path / "a" / "b" / "inside"
    inside.mkdir(parents=True)
    (tmp_path / "a" / "victim").write_text("mine")
    before = _everything(tmp_path, but=inside)
    yield inside
    assert _everything(tmp_path, but=inside) == before
    assert (tmp_path / "a" / "victim").read_text() == "mine"


def _everything(folder: Path, but: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if but not in path.parents)


def refused(paths: list[Path], reason: str, engine: str | None = None, bounds: Bounds = BOUNDS) -> None:
    """Unpacking it is one clear error. That nothing is left is for `unpack`, see below."""
    with pytest.raises(ArchiveError, match=reason) as raised:
        unpack_here(paths, paths[0].parent / "out", bounds, engine=engine)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


# -- members that must not be unpacked

_UNSAFE = {
    "absolute": ([Item("/srv/evil", b"x")], "absolute"),
    "up and out": ([Item("fine", b"x"), Item("../../victim", b"x")], r"'\.\.'"),
    "up in the middle": ([Item("a/../../../victim", b"x")], r"'\.\.'"),
    "an empty file up and out": ([Item("../../victim")], r"'\.\.'"),
    "a folder up and out": ([Item("../../new", what="folder")], r"'\.\.'"),
    "backslashes up and out": ([Item("..\\..\\victim", b"x")], r"'\.\.'|backslash"),
    "drive letter": ([Item("C:/victim", b"x")], "drive letter"),
    "control characters": ([Item("a\x1b[2J\nb", b"x")], "control"),
    "a device of Windows": ([Item("data/NUL", b"x")], "reserved"),
    "an over-long name": ([Item("x" * 250, b"x")], "longer than"),
    "an over-long path": ([Item("abc/" * 300 + "x", b"x")], "longer than"),
    "a link out": ([Item("out", b"../../..", "symlink"), Item("out/victim", b"x")], "symbolic link"),
    "a link to a file": ([Item("x", b"/etc/passwd", "symlink")], "symbolic link"),
    "a link within": ([Item("x", b"1"), Item("y", b"x", "symlink")], "symbolic link"),
    "twins by case": ([Item("Data/a", b"1"), Item("data/A", b"2")], "differs from"),
    "twins by form": ([Item("\u00e9", b"1"), Item("e\u0301", b"2")], "differs from"),
    "a member over another": ([Item("a", b"1"), Item("b", b"2"), Item("a", b"3")], "there twice"),
    "a file for a folder": ([Item("a/b", b"1"), Item("a", b"2")], "both a file and a folder"),
    "a folder for a file": ([Item("a", b"1"), Item("a/b", b"2")], "both a file and a folder"),
    "a device": ([Item("sda", what="device")], "device"),
    "a named pipe": ([Item("pipe", what="fifo")], "named pipe|special file"),
    "a million members": ([Item(f"{number:04d}") for number in range(1001)], "more than 1000 members"),
    "a million folders": ([Item(f"{n}/" + "/".join("abcdefghij" * 3)) for n in range(40)], "more than 1000 members"),
}


@pytest.mark.parametrize(("name", "engine"), BY_FORMAT)
@pytest.mark.parametrize("case", _UNSAFE)
def test_a_member_that_must_not_be_unpacked(place: Path, case: str, name: str, engine: str | None) -> None:
    items, reason = _UNSAFE[case]
    refused(put(place, name, FORMATS[name](items)), reason, engine)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", _UNSAFE)
def test_what_could_not_be_unpacked_is_not_listed(place: Path, case: str, name: str) -> None:
    """The list goes into the index, and from there to terminals: it has no names that could do harm there."""
    items, reason = _UNSAFE[case]
    with pytest.raises(ArchiveError, match=reason):
        probe_here(put(place, name, FORMATS[name](items)), BOUNDS)


@pytest.mark.parametrize("packing", ["", "gz"])
def test_a_hard_link_of_tar(place: Path, packing: str) -> None:
    data = tarred([Item("x", b"/etc/passwd", "hardlink")], "gz" if packing else "")
    refused(put(place, "x.tar.gz" if packing else "x.tar", data), "a hard link")


def test_a_file_with_holes_of_tar_which_is_as_large_as_it_says(place: Path) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1"}
    info.size = 1
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"x"))
    refused(put(place, "x.tar", buffer.getvalue()), "holes|bomb")


def test_a_name_behind_a_nul_of_zip(place: Path) -> None:
    """Whoever stops reading at the NUL sees another name than whoever does not."""
    refused(put(place, "x.zip", zipped([Item("a\0/../../victim", b"x")])), "control")


def test_a_reparse_point_of_7z(place: Path) -> None:
    data = seven_zip([Item("x", b"C:\\Windows")]).replace(b"\x00\x80\xb6\x81", b"\x00\x04\x00\x00")
    header = data[32 + len(b"C:\\Windows") :]
    refused(put(place, "x.7z", _resealed(data[:32], b"C:\\Windows", header)), "symbolic link")


def _resealed(start: bytes, body: bytes, header: bytes) -> bytes:
    rest = struct.pack("<QQL", len(body), len(header), zlib.crc32(header))
    return start[:8] + struct.pack("<L", zlib.crc32(rest)) + rest + body + header


@pytest.mark.parametrize(("name", "engine"), BY_FORMAT)
async def test_nothing_is_left_of_what_was_refused(place: Path, name: str, engine: str | None) -> None:
    """Whether it was refused at a glance or, as with a wrong checksum or a packed tar, after members have been written."""
    into = place / "out"
    for items, reason in ([Item("a/b", b"1"), Item("../c", b"2")], "unsafe"), ([Item("a/b", b"1"), Item("a/c", b"2" * 900)], "."):
        data = FORMATS[name](items)
        paths = put(place, name, data if reason != "." else data[: 2000 if name == "x.tar" else len(data) * 3 // 4])
        with pytest.raises(ArchiveError, match=reason):
            await archives.unpack(paths, into, BOUNDS, engine=engine)
        assert not into.is_symlink()
        assert not into.exists()


# -- encrypted


@pytest.mark.parametrize("names_too", [False, True])
def test_encrypted_7z(place: Path, names_too: bool) -> None:
    with py7zr.SevenZipFile(place / "x.7z", "w", password="secret", header_encryption=names_too) as archive:  # noqa: S106
        archive.writestr(b"x", "x")
    refused([place / "x.7z"], "encrypted, and there is no password")
    with pytest.raises(ArchiveError, match="encrypted"):
        check_here([place / "x.7z"], BOUNDS)


def test_encrypted_zip(place: Path) -> None:
    data = bytearray(zipped([Item("x", b"x")], zipfile.ZIP_STORED))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + at] |= 1
    refused(put(place, "x.zip", bytes(data)), "encrypted, and there is no password")


# -- bombs

_BOMBS: dict[str, Callable[[], bytes]] = {
    "x.7z": lambda: seven_zip([Item("zeros", _zeros)], coder=lzma2(24)),
    "x.zip": lambda: zipped([Item("zeros", _zeros)]),
    "x.tar.gz": lambda: tarred([Item("zeros", _zeros)], "gz"),
    "x.tar.bz2": lambda: tarred([Item("zeros", _zeros)], "bz2"),
    "x.tar.xz": lambda: tarred([Item("zeros", _zeros)], "xz"),
    "x.gz": lambda: gzip.compress(_zeros),
}


@pytest.mark.parametrize("name", _BOMBS)
def test_gigabytes_of_zeros_in_kilobytes(place: Path, name: str) -> None:
    paths = put(place, name, _BOMBS[name]())
    refused(paths, "bomb")
    for look in (check_here, probe_here):
        with pytest.raises(ArchiveError, match="bomb"):
            look(paths, BOUNDS)


class _Scales(Sink):
    """Weighs what would be written."""

    def __init__(self) -> None:
        self.weight = 0
        super().__init__(self._add)

    def _add(self, count: int) -> None:
        self.weight += count


@pytest.mark.parametrize("name", _BOMBS)
def test_of_a_bomb_no_more_is_written_than_the_bound(tmp_path: Path, name: str) -> None:
    """Where the size is declared, nothing at all; else the bound, and at most a step more."""
    (path,) = put(tmp_path, name, _BOMBS[name]())
    scales = _Scales()
    source, packed = open_archive([str(path)], BOUNDS, lambda count: None, "py7zr")
    with pytest.raises(ArchiveError, match="bomb"):
        source.unpack(Gate(BOUNDS, packed), scales)
    most = 200 * path.stat().st_size + (1 << 20) if name == "x.gz" else 1024
    assert scales.weight <= most


@pytest.mark.parametrize("name", _BOMBS)
async def test_what_there_is_no_room_for_is_said_as_a_full_disk(place: Path, name: str) -> None:
    bounds = Bounds(max_ratio=1e9, max_members=10, max_bytes=1 << 20)
    with pytest.raises(OSError, match="room for") as raised:
        await archives.unpack(put(place, name, _BOMBS[name]()), place / "out", bounds)
    assert raised.value.errno == errno.ENOSPC
    assert not (place / "out").exists()


async def test_a_bomb_in_a_bomb_is_not_opened(place: Path) -> None:
    inner = zipped([Item("zeros", _zeros)])
    middle = zipped([Item(f"{number}.zip", inner) for number in range(5)], zipfile.ZIP_STORED)
    done = await archives.unpack(put(place, "x.zip", zipped([Item("x.zip", middle)])), place / "out", BOUNDS)
    assert (done.files, done.bytes) == (1, len(middle))


def test_members_of_zip_that_share_their_bytes(place: Path) -> None:
    """A list of many members that all point at the same packed bytes."""
    one = zipped([Item("a", _noise * 20)])
    start, end = one.index(b"PK\x01\x02"), one.index(b"PK\x05\x06")
    entry = one[start:end]
    listed = b"".join(entry[:46] + f"{number:01x}".encode() + entry[47:] for number in range(16)) * 16
    trailer = one[end : end + 8] + (256).to_bytes(2, "little") * 2 + len(listed).to_bytes(4, "little") + one[end + 16 :]
    refused(put(place, "x.zip", one[:start] + listed + trailer), "bomb|twice")


@pytest.mark.parametrize("packed_header", [False, True])
@pytest.mark.parametrize("claimed", [1001, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_claim_of_a_million_members(place: Path, claimed: int, packed_header: bool) -> None:
    data = seven_zip([Item("x", b"1")], claimed=claimed, packed_header=packed_header)
    with pytest.raises(ArchiveError, match="more than 1000 members"):
        probe_here(put(place, "x.7z", data), BOUNDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.7z", "x.zip", "x.tar.gz"])
def test_a_million_empty_members(place: Path, name: str) -> None:
    items = [Item(f"{number:07d}") for number in range(1_000_000)]
    data = seven_zip(items, packed_header=True) if name == "x.7z" else FORMATS[name](items)
    bounds = Bounds(max_ratio=1e9, max_members=100_000, max_bytes=None)
    refused(put(place, name, data), "more than 100000 members", bounds=bounds)


# -- lies


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("coder", [None, lzma2()])
@pytest.mark.parametrize("lie", [1, -1, 1000, -1000])
def test_a_size_that_lies(place: Path, engine: str, coder: tuple[bytes, bytes] | None, lie: int) -> None:
    items = [Item("a", _noise), Item("b", b"b" * 2000)]
    data = seven_zip(items, sizes={"b": 2000 + lie}, **({"coder": coder} if coder else {}))  # type: ignore[arg-type]
    reason = "another checksum|ends, or cannot|Already at end|EOFError|7-Zip cannot unpack it"
    refused(put(place, "x.7z", data), reason, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_size_beyond_all_disks(place: Path, engine: str) -> None:
    refused(put(place, "x.7z", seven_zip([Item("a", _noise)], sizes={"a": 1 << 62})), "bomb", engine)


@pytest.mark.parametrize("lie", [1, -1])
def test_a_size_that_lies_of_zip(place: Path, lie: int) -> None:
    data = bytearray(zipped([Item("a", _noise)]))
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(signature) + at
        data[start : start + 4] = (len(_noise) + lie).to_bytes(4, "little")
    refused(put(place, "x.zip", bytes(data)), "CRC|in the middle")


def test_another_name_in_front_of_a_member_of_zip_than_in_the_list(place: Path) -> None:
    data = zipped([Item("victim", b"x")]).replace(b"victim", b"sneaky", 1)
    refused(put(place, "x.zip", data), "differ")


@pytest.mark.parametrize(("name", "engine"), [pair for pair in BY_FORMAT if "tar" not in str(pair.values)])
def test_a_wrong_checksum(place: Path, name: str, engine: str | None) -> None:
    data = seven_zip([Item("a", _noise)], crcs={"a": 7}) if name == "x.7z" else bytearray(zipped([Item("a", _noise)]))
    if isinstance(data, bytearray):
        data[data.index(b"PK\x01\x02") + 16] ^= 1
    paths = put(place, name, bytes(data))
    refused(paths, "another checksum|CRC", engine)
    with pytest.raises(ArchiveError, match=r"another checksum|CRC"):
        check_here(paths, BOUNDS, engine=engine)


@pytest.mark.parametrize(("name", "engine"), [*BY_FORMAT, ("x.gz", None)])
async def test_a_flipped_bit_in_the_middle(place: Path, name: str, engine: str | None) -> None:
    """Tar by itself has no checksum of what it holds, so that one bit is for the MD5 of the feed to find."""
    data = bytearray(gzip.compress(_noise) if name == "x.gz" else FORMATS[name]([Item("a", _noise)]))
    data[len(data) // 2] ^= 8
    paths = put(place, name, bytes(data))
    if name != "x.tar":
        refused(paths, ".", engine)
        with pytest.raises(ArchiveError):
            await archives.test(paths, BOUNDS, engine=engine)


@pytest.mark.parametrize(("name", "engine"), [*BY_FORMAT, ("x.gz", None)])
@pytest.mark.parametrize("left", [0, 1, 5, 11, 40, 0.5, -1100, -1])
def test_a_truncated_archive(place: Path, name: str, engine: str | None, left: float) -> None:
    """Wherever it ends. A tar may end anywhere in the empty blocks behind its end."""
    data = gzip.compress(_noise) if name == "x.gz" else FORMATS[name]([Item("a", _noise), Item("b", _noise[:600])])
    cut = data[: int(len(data) * left) if isinstance(left, float) else left]
    paths = put(place, name, cut)
    if name == "x.tar" and left in (-1, -1100):
        check_here(paths, BOUNDS)
        cut = data[: 512 + 50_176 + 512 + 1024]  # right behind the last member: no end block at all
        paths = put(place, name, cut)
    refused(paths, ".", engine)
    with pytest.raises(ArchiveError):
        check_here(paths, BOUNDS, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wrong", ["last missing", "middle missing", "swapped", "one twice", "surplus", "one shorter", "one empty"])
def test_volumes_that_are_not_those_of_the_archive(place: Path, engine: str, wrong: str) -> None:
    paths = put(place, "x.7z.001", seven_zip([Item("a", _noise)]))
    assert len(paths) == 6
    if wrong == "one shorter":
        os.truncate(paths[2], 9999)
    elif wrong == "one empty":
        os.truncate(paths[2], 0)
    paths = {
        "last missing": paths[:-1],
        "middle missing": paths[:2] + paths[3:],
        "swapped": [paths[0], paths[2], paths[1], *paths[3:]],
        "one twice": [*paths[:2], paths[1], *paths[2:]],
        "surplus": [*paths, paths[1]],
    }.get(wrong, paths)
    refused(paths, ".", engine)
    with pytest.raises(ArchiveError):
        check_here(paths, BOUNDS, engine=engine)


@pytest.mark.parametrize("name", [*FORMATS, "x.gz", "x.tgz", "x.7z.001"])
@pytest.mark.parametrize("data", [b"<!DOCTYPE html><html>no such file</html>" * 20, b"{}", bytes(2000), b"\xff" * 2000])
def test_what_is_no_archive_at_all(place: Path, name: str, data: bytes) -> None:
    paths = [place / name]
    paths[0].write_bytes(data)
    if name == "x.tar" and data == bytes(2000):
        return  # two blocks of zeros are an empty tar
    refused(paths, "it is not|broken")


def test_a_broken_header_in_the_middle_of_a_tar_is_no_end(place: Path) -> None:
    """The standard library takes it for one, and what follows would be missing without a word."""
    data = bytearray(tarred([Item("a", b"1"), Item("b", b"2"), Item("c", b"3")]))
    data[1024 + 150] ^= 1
    refused(put(place, "x.tar", bytes(data)), "broken or truncated at byte 1024")


# -- broken, or not to be told


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.7z", lambda: seven_zip([Item("x", b"1")], coder=(b"\x04\xf7\x11\x04", b""))),
        ("x.7z", lambda: seven_zip([Item(str(number)) for number in range(1001)])),
        ("x.zip", lambda: zipped([Item("zeros", _zeros)])),
        ("x.tar.gz", lambda: tarred([Item("zeros", _zeros)], "gz")),
        ("x.gz", lambda: gzip.compress(_zeros)),
    ],
)
async def test_what_cannot_be_tested_is_told_from_what_is_broken(place: Path, name: str, data: Callable[[], bytes]) -> None:
    """A sync publishes the one, as it publishes other files that nothing speaks for, and not the other."""
    with pytest.raises(ArchiveRefused):
        await archives.test(put(place, name, data()), BOUNDS)
    paths = put(place, "broken.7z", seven_zip([Item("x", b"1")], crcs={"x": 0}))
    with pytest.raises(ArchiveError) as raised:
        await archives.test(paths, BOUNDS)
    assert not isinstance(raised.value, ArchiveRefused)
