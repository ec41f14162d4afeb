"""Archives as producers make them: listed, tested and unpacked, by every engine to the same tree."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from stat import S_IMODE

import py7zr
import pytest

from mirror import archives
from mirror.archives import ArchiveError, Bounds, Member, Unpacked

from .engines import BY_FORMAT, ENGINES, check_here, needs_7zz, probe_here, unpack_here
from .hostile import DAY, FORMATS, Item, seven_zip, zipped

BOUNDS = Bounds(max_ratio=200, max_members=10_000, max_bytes=None)
_noise = random.Random(7).randbytes  # noqa: S311 - the same noise each time

ITEMS = (
    Item("BD TOPO 3.5", what="folder"),
    Item("BD TOPO 3.5/1_DONNÉES/réseau été.gpkg", _noise(70_000)),
    Item("BD TOPO 3.5/1_DONNÉES/vide.cpg"),
    Item("BD TOPO 3.5/2_METADONNEES", what="folder"),
    Item("lisez-moi.txt", b"texte\n" * 2000),
)
TREE = {item.name: item.data for item in ITEMS if item.what == "file"}
FOLDERS = {"BD TOPO 3.5", "BD TOPO 3.5/1_DONNÉES", "BD TOPO 3.5/2_METADONNEES"}


def put(folder: Path, name: str, data: bytes) -> list[Path]:
    """The archive as a file; a name that ends in .001 makes volumes of 10 kB."""
    if not name.endswith(".001"):
        (folder / name).write_bytes(data)
        return [folder / name]
    parts = [data[start : start + 10_000] for start in range(0, len(data), 10_000)]
    paths = [folder / f"{name[:-3]}{number:03d}" for number, _ in enumerate(parts, 1)]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    return paths


def tree_of(folder: Path) -> tuple[dict[str, bytes], set[str]]:
    """The files with their bytes, and the folders."""
    found = sorted(folder.rglob("*"))
    files = {str(path.relative_to(folder)): path.read_bytes() for path in found if not path.is_dir()}
    return files, {str(path.relative_to(folder)) for path in found if path.is_dir()}


# -- formats


@pytest.mark.parametrize("volumes", ["", ".001"])
@pytest.mark.parametrize(("name", "engine"), BY_FORMAT)
async def test_every_format_whole_or_in_volumes_unpacks_to_what_went_in(
    tmp_path: Path, name: str, engine: str | None, volumes: str
) -> None:
    paths = put(tmp_path, name + volumes, FORMATS[name](ITEMS))
    assert len(paths) > 1 or not volumes
    await archives.test(paths, BOUNDS, engine=engine)
    done = await archives.unpack(paths, tmp_path / "out", BOUNDS, engine=engine)
    assert tree_of(tmp_path / "out") == (TREE, FOLDERS)
    assert done == Unpacked(3, sum(map(len, TREE.values())))


@pytest.mark.parametrize("name", FORMATS)
async def test_the_list_has_names_and_sizes_in_the_order_of_the_archive(tmp_path: Path, name: str) -> None:
    found = await archives.probe(put(tmp_path, name, FORMATS[name](ITEMS)), BOUNDS)
    assert found == tuple(Member(item.name, len(item.data), item.what == "folder") for item in ITEMS)


async def test_the_list_agrees_with_the_libraries_own(tmp_path: Path) -> None:
    found = {}
    for name in ("x.7z", "x.zip", "x.tar.gz"):
        members = await archives.probe(put(tmp_path, name, FORMATS[name](ITEMS)), BOUNDS)
        found[name] = {(member.name, member.size) for member in members if not member.folder}
    with py7zr.SevenZipFile(tmp_path / "x.7z") as seven:
        assert found["x.7z"] == {(file.filename, file.uncompressed) for file in seven.list() if not file.is_directory}
    with zipfile.ZipFile(tmp_path / "x.zip") as zip_:
        assert found["x.zip"] == {(info.filename, info.file_size) for info in zip_.infolist() if not info.is_dir()}
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        assert found["x.tar.gz"] == {(info.name, info.size) for info in tar if info.isfile()}


async def test_a_gz_holds_one_file_by_its_own_name_without_the_ending(tmp_path: Path) -> None:
    """The name in its header is somebody's, and could be anything."""
    buffer = io.BytesIO()
    with gzip.GzipFile("../../evil", "wb", fileobj=buffer) as stream:
        stream.write(b"points" * 1000)
    paths = put(tmp_path, "points.geojson.gz", buffer.getvalue())
    assert await archives.probe(paths, BOUNDS) == (Member("points.geojson", 6000, folder=False),)
    await archives.test(paths, BOUNDS)
    assert await archives.unpack(paths, tmp_path / "out", BOUNDS) == Unpacked(1, 6000)
    assert tree_of(tmp_path / "out") == ({"points.geojson": b"points" * 1000}, set())


@pytest.mark.parametrize("name", FORMATS)
async def test_an_archive_of_nothing_is_an_empty_folder(tmp_path: Path, name: str) -> None:
    paths = put(tmp_path, name, FORMATS[name](()))
    assert await archives.probe(paths, BOUNDS) == ()
    assert await archives.unpack(paths, tmp_path / "out", BOUNDS) == Unpacked(0, 0)
    assert tree_of(tmp_path / "out") == ({}, set())


async def test_an_archive_in_an_archive_stays_one(tmp_path: Path) -> None:
    inner = zipped([Item("x", bytes(100_000))])
    await archives.unpack(put(tmp_path, "x.zip", zipped([Item("inner.zip", inner)])), tmp_path / "out", BOUNDS)
    assert tree_of(tmp_path / "out") == ({"inner.zip": inner}, set())


# -- what is made


@pytest.mark.parametrize("name", FORMATS)
def test_folders_may_be_as_deep_as_a_path_is_long(tmp_path: Path, name: str) -> None:
    deep = "a/" * 511 + "x"
    unpack_here(put(tmp_path, name, FORMATS[name]([Item(deep, b"1")])), tmp_path / "out", BOUNDS)
    assert (tmp_path / "out" / deep).read_bytes() == b"1"


@pytest.mark.parametrize(("name", "engine"), BY_FORMAT)
def test_modes_are_plain_and_dates_are_those_of_the_archive(tmp_path: Path, name: str, engine: str | None) -> None:
    """The archives declare 0666 and 0777."""
    unpack_here(put(tmp_path, name, FORMATS[name](ITEMS)), tmp_path / "out", BOUNDS, engine=engine)
    for path in (tmp_path / "out").rglob("*"):
        assert S_IMODE(path.lstat().st_mode) == (0o755 if path.is_dir() else 0o644)
    # The folder in the middle is implied by a path only, and has no date.
    for item in ITEMS:
        assert int((tmp_path / "out" / item.name).stat().st_mtime) == DAY, item.name


def test_a_date_that_nobody_can_mean_is_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, mtime in (("old", 0), ("late", 1 << 40)):
            info = tarfile.TarInfo(name)
            info.mtime = mtime
            archive.addfile(info)
    unpack_here(put(tmp_path, "x.tar", buffer.getvalue()), tmp_path / "out", BOUNDS)
    ours = (tmp_path / "x.tar").stat().st_mtime
    assert all(abs(path.stat().st_mtime - ours) < 86_400 for path in (tmp_path / "out").iterdir())


def test_a_folder_that_is_there_is_not_unpacked_into_and_not_removed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(FileExistsError):
        unpack_here(put(tmp_path, "x.zip", zipped(ITEMS)), tmp_path / "out", BOUNDS)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_volume_that_is_not_there_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"x\.7z\.001"):
        probe_here([tmp_path / "x.7z.001"], BOUNDS)


def test_what_is_neither_listed_nor_named_beside_the_volumes_is_not_read(tmp_path: Path) -> None:
    paths = put(tmp_path, "x.7z.001", seven_zip(ITEMS))
    (tmp_path / f"x.7z.{len(paths) + 1:03d}").write_bytes(b"of another archive")
    for engine in (None, "py7zr"):
        check_here(paths, BOUNDS, engine=engine)


async def test_a_signature_behind_a_single_7z_does_no_harm(tmp_path: Path) -> None:
    for engine in (None, "py7zr"):
        await archives.test(put(tmp_path, "x.7z", seven_zip(ITEMS) + b"signed"), BOUNDS, engine=engine)


def test_a_folder_of_zip_may_be_one_by_its_attribute_only(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("folder")
        info.create_system, info.external_attr = 0, 0x10
        archive.writestr(info, b"")
        archive.writestr("folder/x", b"1")
    unpack_here(put(tmp_path, "x.zip", buffer.getvalue()), tmp_path / "out", BOUNDS)
    assert tree_of(tmp_path / "out") == ({"folder/x": b"1"}, {"folder"})


# -- 7z: engines and methods

_FILTERS: Mapping[str, Sequence[Mapping[str, int]]] = {
    "LZMA2": [{"id": py7zr.FILTER_LZMA2, "preset": 1}],
    "LZMA": [{"id": py7zr.FILTER_LZMA, "preset": 1}],
    "BCJ and LZMA2": [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA2, "preset": 1}],
    "BCJ and LZMA": [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA, "preset": 1}],
    "Delta and LZMA2": [{"id": py7zr.FILTER_DELTA, "dist": 4}, {"id": py7zr.FILTER_LZMA2, "preset": 1}],
    "BZip2": [{"id": py7zr.FILTER_BZIP2}],
    "Deflate": [{"id": py7zr.FILTER_DEFLATE}],
    "Copy": [{"id": py7zr.FILTER_COPY}],
    "Zstandard": [{"id": py7zr.FILTER_ZSTD, "level": 3}],
    "Brotli": [{"id": py7zr.FILTER_BROTLI, "level": 3}],
}
_ONLY_PY7ZR = ("Zstandard", "Brotli")
_CONTENTS = {
    "executable": b"\xe8\x10\x00\x00\x00\x90" * 40_000 + _noise(3),
    "noise": _noise(200_000),
    "zeros": bytes(2_500_000),  # several steps
    "one": b"1",
}


def packed(filters: Sequence[Mapping[str, int]]) -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", filters=[dict(one) for one in filters]) as archive:
        for name, data in _CONTENTS.items():
            archive.writestr(data, name)
    return buffer.getvalue()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", _FILTERS)
def test_each_method_unpacks_with_each_engine_that_knows_it(tmp_path: Path, method: str, engine: str) -> None:
    paths = put(tmp_path, "x.7z", packed(_FILTERS[method]))
    if engine == "7zz" and method in _ONLY_PY7ZR:
        engine = ""  # 7-Zip does not know it, so it is for the choice to take the other one
    check_here(paths, BOUNDS, engine=engine or None)
    unpack_here(paths, tmp_path / "out", BOUNDS, engine=engine or None)
    assert tree_of(tmp_path / "out") == (_CONTENTS, set())


def by_7zz(folder: Path, name: str, *switches: str, more: Mapping[str, bytes] | None = None) -> list[Path]:
    """An archive that 7-Zip packs, of the items and `more` files."""
    source = folder / "in"
    for item in (*ITEMS, *(Item(name, data) for name, data in (more or {}).items())):
        place = source / item.name
        (place if item.what == "folder" else place.parent).mkdir(parents=True, exist_ok=True)
        if item.what == "file":
            place.write_bytes(item.data)
    command = shutil.which("7zz") or shutil.which("7z") or "7za"
    subprocess.run([command, "a", "-bso0", "-bsp0", *switches, folder / name, "."], cwd=source, check=True)
    return sorted(folder.glob(f"{name}*"))


@needs_7zz
def test_bcj2_is_for_7zip(tmp_path: Path) -> None:
    paths = by_7zz(tmp_path, "x.7z", "-m0=BCJ2", "-m1=LZMA", "-m2=LZMA", "-m3=LZMA", "-mb0:1", "-mb0s1:2", "-mb0s2:3")
    assert {member.name for member in probe_here(paths, BOUNDS)} == {*TREE, *FOLDERS}
    check_here(paths, BOUNDS)
    unpack_here(paths, tmp_path / "out", BOUNDS)
    assert tree_of(tmp_path / "out") == (TREE, FOLDERS)


@needs_7zz
def test_without_7zip_its_methods_are_listed_and_named_with_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seven = by_7zz(tmp_path, "x.7z", "-m0=BCJ2", "-m1=LZMA", "-m2=LZMA", "-m3=LZMA", "-mb0:1", "-mb0s1:2", "-mb0s2:3")
    zip_ = by_7zz(tmp_path, "x.zip", "-mm=Deflate64")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(probe_here(seven, BOUNDS)) == len(probe_here(zip_, BOUNDS)) == 6
    with pytest.raises(ArchiveError, match=r"packed with BCJ2, which takes 7-Zip .* \(Debian package 7zip\)"):
        check_here(seven, BOUNDS)
    with pytest.raises(ArchiveError, match=r"packed with Deflate64, which takes 7-Zip .* \(Debian package 7zip\)"):
        check_here(zip_, BOUNDS)


@needs_7zz
@pytest.mark.parametrize("name", ["x.zip", "x.zip.001"])
def test_a_zip_as_windows_packs_large_files_unpacks_with_7zip(tmp_path: Path, name: str) -> None:
    switches = ["-v10k"] if name.endswith("001") else []
    paths = by_7zz(tmp_path, "x.zip", "-mm=Deflate64", *switches)
    assert len(paths) > 1 or not switches
    check_here(paths, BOUNDS)
    unpack_here(paths, tmp_path / "out", BOUNDS)
    assert tree_of(tmp_path / "out") == (TREE, FOLDERS)


def test_a_method_that_no_engine_knows_is_named(tmp_path: Path) -> None:
    paths = put(tmp_path, "x.7z", seven_zip([Item("x", b"1")], coder=(b"\x04\xf7\x11\x04", b"")))
    with pytest.raises(ArchiveError, match="packed with LZ4, which no engine here knows"):
        check_here(paths, BOUNDS)


@pytest.mark.parametrize("engine", ENGINES)
def test_empty_members_between_those_of_several_blocks_move_no_contents(tmp_path: Path, engine: str) -> None:
    """py7zr by itself gives the contents behind an empty member to the wrong name."""
    items = [Item("e1"), Item("a", b"aa"), Item("e2"), Item("b", b"b"), Item("d", what="folder"), Item("c", b"ccc"), Item("e3")]
    unpack_here(put(tmp_path, "x.7z", seven_zip(items, per_block=2)), tmp_path / "out", BOUNDS, engine=engine)
    assert tree_of(tmp_path / "out")[0] == {"e1": b"", "a": b"aa", "e2": b"", "b": b"b", "c": b"ccc", "e3": b""}


@needs_7zz
@pytest.mark.parametrize("switches", [(), ("-ms=off",), ("-mx=9",), ("-m0=PPMd",), ("-mhc=off",), ("-v10k",)])
def test_both_engines_make_the_same_of_what_7zip_packs(tmp_path: Path, switches: tuple[str, ...]) -> None:
    paths = by_7zz(tmp_path, "x.7z", *switches, more=_CONTENTS)
    trees = []
    for engine in ("py7zr", "7zz"):
        check_here(paths, BOUNDS, engine=engine)
        unpack_here(paths, tmp_path / engine, BOUNDS, engine=engine)
        trees.append(
            [(path.relative_to(tmp_path / engine), path.stat().st_mtime_ns) for path in sorted((tmp_path / engine).rglob("*"))]
        )
        assert tree_of(tmp_path / engine) == ({**TREE, **_CONTENTS}, FOLDERS)
    assert trees[0] == trees[1]


@needs_7zz
def test_names_mean_nothing_to_7zip(tmp_path: Path) -> None:
    """Not those of the archive's own files, nor those of members: switches, list files, wildcards."""
    items = [Item(name, name.encode()) for name in ("-y", "@list", "--", "-oo", "a!b", "$(x)")]
    folder = tmp_path / "-tzip @x"
    folder.mkdir()
    for name in ("-si.7z", "@list.7z", "-.7z.001"):
        paths = put(folder, name, seven_zip(items))
        unpack_here(paths, tmp_path / f"out{name}", BOUNDS, engine="7zz")
        assert set(tree_of(tmp_path / f"out{name}")[0]) == {item.name for item in items}


@needs_7zz
def test_no_folder_of_links_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    good, bad = seven_zip(ITEMS), seven_zip(ITEMS, crcs={"lisez-moi.txt": 1})
    check_here(put(tmp_path, "x.7z.001", good), BOUNDS, engine="7zz")
    with pytest.raises(ArchiveError):
        check_here(put(tmp_path, "y.7z.001", bad), BOUNDS, engine="7zz")
    assert list(temporary.iterdir()) == []


def test_what_is_imported_for_a_name_is_not_what_reads_archives() -> None:
    """`archives_in` and `gap_in` are pure, and cost no asyncio, no py7zr."""
    code = "import sys, mirror.archives; print(sorted({'asyncio', 'py7zr', 'zipfile', 'tarfile'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
