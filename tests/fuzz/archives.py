"""Archives: headers and contents with wounds, sealed again with right checksums so that readers get past them."""

from __future__ import annotations

import os
import random
import resource
import signal
import struct
import traceback
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from mirror.archives import Bounds, sevenzip, tars, zipped
from mirror.archives.checks import clean_path
from mirror.archives.source import CHUNK
from mirror.errors import ArchiveError

from ..engines import probe_here, unpack_here
from ..hostile import Item, What, lzma2, seven_zip, tarred
from ..hostile import zipped as zip_of
from .target import Target, damaged, text

LOADED = (sevenzip, tars, zipped)  # here, and not anew in every process that is forked
BOUNDS = Bounds(max_ratio=300, max_members=50, max_bytes=1 << 20)
_TOKENS = (
    b"\xff" * 9,
    b"\xff" * 8 + b"\x7f",
    b"\x00" * 16,
    b"\x01",
    b"\x21\x21\x01",
    b"\x03\x03\x01\x1b",
    b"../",
    b"/",
    b"\x0b\x01",
    b"PK",
)
_WHATS: tuple[What, ...] = ("file", "file", "file", "folder", "symlink", "device")
_PACKINGS: tuple[Literal["gz", "bz2", "xz"], ...] = ("gz", "bz2", "xz")
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_LONG = 4  # seconds of processor time


def _items(rng: random.Random) -> list[Item]:
    items = []
    for number in range(rng.randrange(6)):
        name = rng.choice((f"a/b{number}", f"a{number}", text(rng), "../x", "A", "a"))
        name = name.encode(errors="ignore").decode().replace("\0", "")
        what = rng.choice(_WHATS)
        data = b"target" if what == "symlink" else rng.choice((b"", b"x", rng.randbytes(200), bytes(5000)))
        items.append(Item(name or "x", b"" if what in ("folder", "device") else data, what))
    return items


def _seven_zip(rng: random.Random) -> tuple[str, bytes]:
    """Wounds in the header, which is where the claims are made; now and then in what is packed."""
    whole = seven_zip(
        _items(rng),
        coder=rng.choice(((b"\x00", b""), lzma2(rng.choice((12, 20, 40))))),
        per_block=rng.choice((None, 1, 2)),
        claimed=rng.choice((None, None, None, 0, 60, 1 << 40)),
        checksums=rng.random() < 0.8,
    )
    offset = struct.unpack_from("<Q", whole, 12)[0]
    body, header = whole[32 : 32 + offset], whole[32 + offset :]
    if rng.random() < 0.9:
        header = damaged(rng, [header], _TOKENS)
    if body and rng.random() < 0.2:
        body = damaged(rng, [body], _TOKENS)
    start = struct.pack("<QQL", len(body), len(header), zlib.crc32(header))
    sealed = whole[:8] + struct.pack("<L", zlib.crc32(start)) + start + body + header
    return "x.7z", sealed if rng.random() < 0.9 else damaged(rng, [sealed], _TOKENS)


def _zip(rng: random.Random) -> tuple[str, bytes]:
    return "x.zip", damaged(rng, [zip_of(_items(rng))], _TOKENS)


def _tar(rng: random.Random) -> tuple[str, bytes]:
    """Headers have checksums of their own, which half of the wounds are sealed with."""
    data = bytearray(damaged(rng, [tarred(_items(rng))], _TOKENS))
    if rng.random() < 0.5:
        for start in range(0, len(data) - 511, 512):
            if data[start + 257 : start + 262] == b"ustar":
                data[start + 148 : start + 156] = b"%06o\0 " % (
                    sum(data[start : start + 148]) + 256 + sum(data[start + 156 : start + 512])
                )
    return "x.tar", bytes(data)


def _packed(rng: random.Random) -> tuple[str, bytes]:
    kind = rng.choice(_PACKINGS)
    return f"x.tar.{kind}", damaged(rng, [tarred(_items(rng), kind)], _TOKENS)


_MAKERS: Mapping[str, Callable[[random.Random], tuple[str, bytes]]] = {
    "archives-7z": _seven_zip,
    "archives-zip": _zip,
    "archives-tar": _tar,
    "archives-packed-tar": _packed,
}


@cache
def _room(_: int) -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="inspire-mirror-fuzz-")


def _check(case: tuple[str, bytes]) -> None:
    """A list of safe and different paths within the bounds, or one clear error."""
    name, data = case
    path = Path(_room(os.getpid()).name, name)
    path.write_bytes(data)
    try:
        members = probe_here([path], BOUNDS)
    except ArchiveError as error:
        assert 0 < len(str(error)) < 400
        assert str(error).isprintable()
        return
    except OSError as error:
        assert error.args[1].startswith("it unpacks to more"), error
        return
    assert len(members) <= BOUNDS.max_members
    assert sum(member.size or 0 for member in members) <= BOUNDS.max_ratio * len(data)
    for member in members:
        assert clean_path(member.name, folder=member.folder) == member.name


def _check_unpacked(case: tuple[str, bytes]) -> None:
    """Plain files within the bounds below the one folder, as many as are said; or one clear error."""
    name, data = case
    with TemporaryDirectory(prefix="inspire-mirror-fuzz-") as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        into = Path(folder, "a", "b", "out")
        into.parent.mkdir(parents=True)
        done = None
        try:
            done = unpack_here([path], into, BOUNDS, "py7zr")
        except ArchiveError:
            pass
        except OSError as error:
            assert error.args[1].startswith("it unpacks to more"), error
        found = [place for place in Path(folder).rglob("*") if place not in (path, into, *into.parents)]
        assert all(into in place.parents for place in found), found
        assert all(place.is_dir() or place.is_file() for place in found), found
        assert not any(place.is_symlink() for place in found), found
        sizes = [place.stat().st_size for place in found if place.is_file()]
        assert sum(sizes) <= BOUNDS.max_ratio * len(data) + CHUNK
        if done is not None:
            assert (len(sizes), sum(sizes)) == (done.files, done.bytes)


def _check_unpacked_apart(case: tuple[str, bytes]) -> None:
    """The same, of a process of its own: that decoders crash is why there is one. What is not even listed needs none."""
    path = Path(_room(os.getpid()).name, case[0])
    path.write_bytes(case[1])
    try:
        probe_here([path], BOUNDS)
    except (ArchiveError, OSError):
        return
    child = os.fork()
    if not child:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (_LONG, _LONG))
            _check_unpacked(case)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0 or -code in _CRASHES, code


TARGETS: tuple[Target, ...] = (
    *(Target(name, make, _check, share=2) for name, make in _MAKERS.items()),
    *(Target(f"{name}-unpacked", make, _check_unpacked) for name, make in _MAKERS.items() if make is not _seven_zip),
    Target("archives-7z-unpacked", _seven_zip, _check_unpacked_apart),
)
