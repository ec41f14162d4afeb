"""Archives: damaged and lying ones, read as the process does that reads archives, with what it may take.

A decoder in C that crashes takes that process with it and nothing else; so these targets are `contained`.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import stat
import struct
import zlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mirror.archives.checks import LONGEST_PATH
from mirror.archives.worker import answer
from tests import hostile
from tests.hostile import Item

from .names import check_safe
from .target import Target, damaged, text

_MOST = 1 << 18
"""Bytes that may be unpacked."""

_ITEMS = (
    Item("DATA", what="folder"),
    Item("DATA/batiment.gpkg", b"SQLite format 3\0" * 40),
    Item("DATA/voies.shp", bytes(2000)),
    Item("lisez moi é.txt", b"bonjour"),
    Item("empty"),
)
_HOSTILE = (
    Item("../out", b"x"),
    Item("/abs", b"x"),
    Item("link", b"/etc", "symlink"),
    Item("dev", what="device"),
    Item("data/BATIMENT.GPKG", b"x"),
    Item("a/b", b"1"),
    Item("a", b"2"),
)
_TOKENS = (
    b"\x00", b"\xff", b"\xff" * 8, b"\x7f", b"\x17", b"\x01", b"\x04", b"\x05", b"\x0e", b"\x11", b"PK\x01\x02", b"PK\x05\x06",
    b"PK\x06\x06", b"PK\x03\x04", b"ustar\x00", b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\x00", b"../", b"/\x00", b"L" * 100,
    b"7777777\x00", b"\x80" + b"\xff" * 11,
)  # fmt: skip


def _items(rng: random.Random) -> list[Item]:
    items = list(_ITEMS)
    for _ in range(rng.randrange(3)):
        name = text(rng, 12).encode("utf-8", "replace").decode()  # the writers of zip and tar take nothing else
        strange = Item(name or "x", rng.randbytes(rng.randrange(50)))
        items.insert(rng.randrange(len(items) + 1), rng.choice((*_HOSTILE, strange)))
    return items


def _seven_zip(rng: random.Random) -> bytes:
    lies: dict[str, Any] = {}
    if rng.random() < 0.3:
        lies["sizes"] = {rng.choice(_ITEMS).name: rng.choice((0, 1, 10**6, 2**40, 2**63))}
    if rng.random() < 0.2:
        lies["claimed"] = rng.choice((0, 1, 9, 10**6, 2**40, 2**63))
    sound = hostile.seven_zip(_items(rng), packed_header=rng.random() < 0.2, checksums=rng.random() < 0.8, **lies)
    if rng.random() < 0.3:
        return damaged(rng, (sound,), _TOKENS)
    # The header has a checksum of its own, behind which no reader gets unless it is right.
    start = 32 + int.from_bytes(sound[12:20], "little")
    body, header = sound[32:start], damaged(rng, (sound[start:],), _TOKENS)
    head = struct.pack("<QQL", len(body), len(header), zlib.crc32(header))
    return sound[:8] + struct.pack("<L", zlib.crc32(head)) + head + body + header


def _zip(rng: random.Random) -> bytes:
    return damaged(rng, (hostile.zipped(_items(rng), rng.choice((0, 8, 12, 14))),), _TOKENS)


def _tar(rng: random.Random) -> bytes:
    sound = bytearray(hostile.tarred(_items(rng)))
    wounded = bytearray(damaged(rng, (bytes(sound),), _TOKENS))
    for at in range(0, len(wounded) - 511, 512):
        if wounded[at + 257 : at + 262] == b"ustar":  # with the checksum of the header put right
            wounded[at + 148 : at + 156] = b" " * 8
            wounded[at + 148 : at + 156] = b"%06o\0 " % (sum(wounded[at : at + 512]) & 0o777777)
    return bytes(wounded)


Case = tuple[str, str, list[bytes]]


def _any(rng: random.Random) -> Case:
    """A task, a name, and the bytes of its volumes."""
    kind = rng.choice(("7z", "7z", "zip", "tar", "tar.gz", "tar.xz", "gz"))
    match kind:
        case "7z":
            content = _seven_zip(rng)
        case "zip":
            content = _zip(rng)
        case "tar":
            content = _tar(rng)
        case "gz":
            content = damaged(rng, (zlib.compress(bytes(3000), wbits=31),), _TOKENS)
        case _:
            packing = "gz" if kind == "tar.gz" else "xz"
            content = damaged(rng, (hostile.tarred(_items(rng), packing),), _TOKENS)  # type: ignore[arg-type]  # one of its words
    # The bytes of a 7z are decoded by libraries in C that were never meant for hostile input: here, its lists only.
    task = "probe" if kind == "7z" else rng.choice(("probe", "test", "unpack", "unpack"))
    cuts = sorted(rng.randrange(len(content) + 1) for _ in range(rng.choice((0, 0, 0, 1, 2))))
    parts = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    return task, f"x.{kind}", parts


@cache
def _folder(_: int) -> Path:
    return Path(mkdtemp(prefix="inspire-mirror-fuzz-"))


def _check(case: Case) -> None:
    """An answer of one line, or members that are safe; what is unpacked is files and folders in their place, within the bounds."""
    task, name, parts = case
    base = _folder(os.getpid())
    into = base / "into"
    into.mkdir()
    names = [name] if len(parts) == 1 else [f"{name}.{number:03d}" for number in range(1, len(parts) + 1)]
    paths = [base / one for one in names]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    bounds = {"max_ratio": 1000, "max_members": 50, "max_bytes": _MOST}
    job = {"task": task, "paths": list(map(str, paths)), "bounds": bounds, "engine": "py7zr", "into": str(into)}
    try:
        _check_answer(answer(job, lambda count: None, lambda: None), into)
        assert sorted(os.listdir(base)) == sorted((*names, "into"))
    finally:
        shutil.rmtree(into)
        for path in paths:
            path.unlink()


def _check_answer(found: dict[str, Any], into: Path) -> None:
    json.dumps(found)
    for root, folders, files in os.walk(into):
        for entry in (*folders, *files):
            mode = os.lstat(os.path.join(root, entry)).st_mode
            assert stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    assert sum(path.stat().st_size for path in into.rglob("*") if path.is_file()) <= _MOST
    if "error" in found:
        assert found["error"].isprintable(), found["error"]
        assert len(found["error"]) < 600
    elif "errno" in found:
        assert found["errno"] == errno.ENOSPC, found
    elif "members" in found:
        assert len(found["members"]) <= 50
        for path, size, _ in found["members"]:
            assert len(path.encode()) <= LONGEST_PATH
            for part in path.split("/"):
                check_safe(part.lstrip("."))  # inside an archive, names may begin with dots
                assert part not in (".", "..")
            assert size is None or size >= 0
    else:
        assert found["files"] == sum(path.is_file() for path in into.rglob("*")) or not any(into.iterdir())


TARGETS = (Target("archives", _any, _check, share=4, contained=True),)
