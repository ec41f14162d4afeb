"""Archives: what decodes 7z how fast. Ours, with either engine, against 7-Zip itself and libarchive; nothing is written but once.

As a program it is one turn of a contender: `python -m bench.archives test ENGINE FILE`, `... unpack ENGINE FILE FOLDER`,
`... libarchive FILE`.
"""

from __future__ import annotations

import asyncio
import ctypes
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from ctypes.util import find_library
from functools import partial
from itertools import accumulate
from pathlib import Path

import py7zr

from bench.contest import Contender, Timed, contest, cpu_seconds, peak, ratio, seconds
from bench.figures import Figure, at_most
from bench.ground import MIB, Ground
from mirror import archives as engine

_BOUNDS = engine.Bounds(max_ratio=200, max_members=100_000, max_bytes=None)
_PACK = ("7zz", "a", "-bso0", "-bsp0", "-mmt=2")
_METHODS: Mapping[str, Sequence[str]] = {
    "LZMA2, solid": ("-m0=LZMA2", "-mx=5"),
    "LZMA2, a block per file": ("-m0=LZMA2", "-mx=5", "-ms=off"),
    "BCJ2 and LZMA": ("-m0=BCJ2", "-m1=LZMA:d=25", "-m2=LZMA:d=19", "-m3=LZMA:d=19", "-mb0:1", "-mb0s1:2", "-mb0s2:3"),
    "PPMd": ("-m0=PPMd", "-mx=5"),
    "Deflate": ("-m0=Deflate", "-mx=5"),
    "Copy": ("-m0=Copy",),
    "Zstandard": (),  # 7-Zip does not know it: py7zr packs
}
_ROUNDS = 3  # of seven methods with four contenders each; what differs here differs by more than rounds do


def archives(ground: Ground) -> Iterator[Figure]:
    """Each method: tested by all that know it. Solid LZMA2, which is what IGN packs: unpacked, too."""
    room = ground.room("archives")
    size = make_files(room / "in", ground.sizes.archive)
    for method, switches in _METHODS.items():
        archive = room / "x.7z"
        archive.unlink(missing_ok=True)
        _pack(room / "in", archive, switches)
        results = contest(_testing(archive, method), min(_ROUNDS, ground.sizes.rounds), room)
        for name, timed in results.items():
            packed = f"{archive.stat().st_size / MIB:,.0f} MiB packed"
            note = f"{cpu_seconds(timed):.1f} s of processor time, {peak(timed) / MIB:,.0f} MiB; {packed}"
            yield Figure(f"{method}, tested by {name}", size / MIB / seconds(timed), "MiB/s", note=note)
        if method == "LZMA2, solid":
            yield from _unpacked(archive, room, size, min(_ROUNDS, ground.sizes.rounds))
    shutil.rmtree(room)


def _testing(archive: Path, method: str) -> dict[str, Contender]:
    contenders = {}
    if method != "BCJ2 and LZMA":
        contenders["ours with py7zr"] = Contender(_turn("test", "py7zr", archive))
    if method != "Zstandard":
        contenders["ours with 7zz"] = Contender(_turn("test", "7zz", archive))
        contenders["7zz t"] = Contender(["7zz", "t", "-bso0", "-bsp0", str(archive)])
    if find_library("archive"):
        probe = subprocess.run(_turn("libarchive", archive), cwd=Path(__file__).parents[1], capture_output=True, check=False)
        if probe.returncode == 0:
            contenders["libarchive"] = Contender(_turn("libarchive", archive))
    return contenders


def _unpacked(archive: Path, room: Path, size: int, rounds: int) -> Iterator[Figure]:
    out = room / "out"
    clear = partial(shutil.rmtree, out, ignore_errors=True)
    contenders = {
        "ours with py7zr": Contender(_turn("unpack", "py7zr", archive, out), clear),
        "ours with 7zz": Contender(_turn("unpack", "7zz", archive, out), clear),
        "7zz x": Contender(["sh", "-c", f"7zz x -bso0 -bsp0 -o'{out}' '{archive}' && sync -f '{out}'"], clear),
    }
    results: dict[str, list[Timed]] = contest(contenders, rounds, room)
    for name, timed in results.items():
        note = f"{seconds(timed):.1f} s, {cpu_seconds(timed):.1f} s of processor time, all on the disk"
        yield Figure(f"LZMA2, solid, unpacked by {name}", size / MIB / seconds(timed), "MiB/s", note=note)
    yield Figure("unpacked by ours with 7zz / 7zz x", ratio(results["ours with 7zz"], results["7zz x"]), goal=at_most(1.5))
    yield Figure("peak memory, ours with py7zr", peak(results["ours with py7zr"]) / MIB, "MiB", at_most(512))
    yield Figure("peak memory, ours with 7zz", peak(results["ours with 7zz"]) / MIB, "MiB", at_most(512))


def _turn(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "bench.archives", *map(str, arguments)]


def _pack(folder: Path, archive: Path, switches: Sequence[str]) -> None:
    if switches:
        subprocess.run([*_PACK, *switches, archive, "."], cwd=folder, check=True)
        return
    with py7zr.SevenZipFile(archive, "w", filters=[{"id": py7zr.FILTER_ZSTD, "level": 3}]) as packed:
        packed.writeall(folder, "x")


# -- what is packed


def make_files(folder: Path, size: int) -> int:
    """Files as deliveries have them, `size` bytes in all: half a GeoPackage, half shapefiles with tables. Returns the bytes."""
    folder.mkdir(parents=True)
    chance = random.Random(38)
    with closing(sqlite3.connect(folder / "BDT_3-5_GPKG_LAMB93_D038.gpkg")) as sql, sql:
        sql.execute(
            "CREATE TABLE batiment (fid INTEGER PRIMARY KEY, geom BLOB, cleabs TEXT, nature TEXT, hauteur REAL, date_creation TEXT)"
        )
        made = 0
        while made < size // 2:
            rows = [_building(chance) for _ in range(1000)]
            sql.executemany("INSERT INTO batiment (geom, cleabs, nature, hauteur, date_creation) VALUES (?, ?, ?, ?, ?)", rows)
            made += sum(len(row[0]) + 70 for row in rows)
    left, number = size // 2, 0
    while left > 0:
        number += 1
        share = min(left, max(size // 16, 1 << 20))
        with (
            open(folder / f"TRONCON_DE_ROUTE_{number:02d}.shp", "wb") as shapes,
            open(folder / f"TRONCON_DE_ROUTE_{number:02d}.dbf", "wb") as table,
        ):
            while shapes.tell() + table.tell() < share:
                shapes.write(b"".join(struct.pack(">2L", n, 100) + _line(chance, 40) for n in range(100)))
                table.write(b"".join(_row(chance, n) for n in range(300)))
        left -= share
    return sum(path.stat().st_size for path in folder.iterdir())


_NATURES = (
    "Indifférenciée",
    "Industriel, agricole ou commercial",
    "Religieux",
    "Serre",
    "Silo",
    "Route à 1 chaussée",
    "Chemin",
    "Sentier",
)


def _line(chance: random.Random, points: int) -> bytes:
    """Positions in metres with centimetres, each near the one before."""
    steps = array("b", chance.randbytes(2 * points))
    east = accumulate((step / 10 for step in steps[:points]), initial=round(chance.uniform(850_000, 950_000), 1))
    north = accumulate((step / 10 for step in steps[points:]), initial=round(chance.uniform(6_400_000, 6_500_000), 1))
    return array("d", [round(value, 2) for pair in zip(east, north, strict=True) for value in pair]).tobytes()


def _building(chance: random.Random) -> tuple[bytes, str, str, float, str]:
    day = f"20{chance.randrange(10, 26)}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
    key = f"BATIMENT{chance.randrange(10**15, 10**16)}"
    shape = b"GP\0\1" + struct.pack("<L", 2154) + _line(chance, chance.randrange(4, 12))
    return shape, key, chance.choice(_NATURES), round(chance.uniform(2, 30), 1), day


def _row(chance: random.Random, number: int) -> bytes:
    nature = chance.choice(_NATURES)
    return f" TRONROUT{number:016d}{nature:<40}{chance.randrange(1, 6)}{chance.uniform(2, 12):5.1f}{'Sans objet':<24}".encode()


# -- one turn


def _by_libarchive(path: str) -> None:
    """Read every byte of every member; libarchive compares the checksums."""
    library = ctypes.CDLL(find_library("archive"))
    for name in ("archive_read_new", "archive_error_string"):
        getattr(library, name).restype = ctypes.c_void_p if name.endswith("new") else ctypes.c_char_p
    reader = ctypes.c_void_p(library.archive_read_new())
    library.archive_read_support_format_7zip(reader)
    entry, block, size, offset = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_int64()
    done = library.archive_read_open_filename(reader, path.encode(), ctypes.c_size_t(1 << 20))
    while done == 0 and (done := library.archive_read_next_header(reader, ctypes.byref(entry))) == 0:
        while done == 0:
            done = library.archive_read_data_block(reader, ctypes.byref(block), ctypes.byref(size), ctypes.byref(offset))
        done = 0 if done == 1 else done  # 1 is the end
    if done != 1:
        sys.exit(f"libarchive: {library.archive_error_string(reader)!r}")


def main() -> None:
    """One turn, as the first argument says."""
    match sys.argv[1:]:
        case ["test", name, path]:
            asyncio.run(engine.test([Path(path)], _BOUNDS, engine=name))
        case ["unpack", name, path, into]:
            asyncio.run(engine.unpack([Path(path)], Path(into), _BOUNDS, engine=name))
        case ["libarchive", path]:
            _by_libarchive(path)


if __name__ == "__main__":
    main()
