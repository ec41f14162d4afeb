"""Archives that no honest tool writes, made at test time: unsafe names, links, lies in headers, bombs.

7z comes from a writer of its own, as honest ones refuse to lie; zip and tar from the standard library, which will write anything.
"""

from __future__ import annotations

import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

What = Literal["file", "folder", "symlink", "hardlink", "device", "fifo"]


@dataclass(frozen=True)
class Item:
    """A member; `data` is what it holds, or where a link leads."""

    name: str
    data: bytes = b""
    what: What = "file"


_MODES: Mapping[What, int] = {
    "file": stat.S_IFREG | 0o666,
    "folder": stat.S_IFDIR | 0o777,
    "symlink": stat.S_IFLNK | 0o777,
    "hardlink": stat.S_IFREG | 0o666,
    "device": stat.S_IFBLK | 0o666,
    "fifo": stat.S_IFIFO | 0o666,
}
DAY = 1_700_000_000
"""When all was written, in seconds since 1970."""

# -- 7z

COPY = (b"\x00", b"")


def lzma2(dictionary: int = 12) -> tuple[bytes, bytes]:
    """The coder, with a dictionary as 7z codes its size: 12 is 256 KiB, 40 is 4 GiB."""
    return b"\x21", bytes([dictionary])


def seven_zip(
    items: Sequence[Item],
    *,
    coder: tuple[bytes, bytes] = COPY,
    per_block: int | None = None,
    sizes: Mapping[str, int] | None = None,
    crcs: Mapping[str, int] | None = None,
    claimed: int | None = None,
    packed_header: bool = False,
    checksums: bool = True,
) -> bytes:
    """A 7z archive; all that holds something is in one block, or in blocks of `per_block` members.

    `sizes` and `crcs` are lies by name, `claimed` is one about the number of members.
    """
    full = [item for item in items if item.data]
    per_block = per_block or len(full) or 1
    blocks = [full[start : start + per_block] for start in range(0, len(full), per_block)]
    packed = [_packed(b"".join(item.data for item in block), coder) for block in blocks]
    declared = [[(sizes or {}).get(item.name, len(item.data)) for item in block] for block in blocks]
    header = b"\x01"
    if blocks:
        header += b"\x04" + _streams(packed, coder, [sum(sizes) for sizes in declared])
        header += b"\x08\x0d" + b"".join(number(len(block)) for block in blocks)
        if any(len(sizes) > 1 for sizes in declared):
            header += b"\x09" + b"".join(number(size) for sizes in declared for size in sizes[:-1])
        if checksums:
            found = [(crcs or {}).get(item.name, zlib.crc32(item.data)) for block in blocks for item in block]
            header += b"\x0a\x01" + struct.pack(f"<{len(found)}L", *found)
        header += b"\x00\x00"
    header += b"\x05" + number(len(items) if claimed is None else claimed)
    if items:
        empty = [not item.data for item in items]
        if any(empty):
            header += _property(0x0E, _bits(empty))
            header += _property(0x0F, _bits([item.what != "folder" for item in items if not item.data]))
        header += _property(0x11, b"\0" + b"".join((item.name + "\0").encode("utf-16-le", "surrogatepass") for item in items))
        header += _property(0x14, b"\1\0" + struct.pack("<Q", (DAY + 11_644_473_600) * 10_000_000) * len(items))
        header += _property(0x15, b"\1\0" + b"".join(struct.pack("<L", _attributes(item)) for item in items))
    header += b"\x00\x00"
    body = b"".join(packed)
    if packed_header:
        # The one coder that every reader knows for headers.
        small = lzma.compress(header, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
        streams = _streams([small], lzma2(16), [len(header)], len(body), zlib.crc32(header))
        header, body = b"\x17" + streams + b"\x00", body + small
    start = struct.pack("<QQL", len(body), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<L", zlib.crc32(start)) + start + body + header


def _streams(
    packed: Sequence[bytes], coder: tuple[bytes, bytes], sizes: Sequence[int], at: int = 0, crc: int | None = None
) -> bytes:
    method, properties = coder
    flags = bytes([len(method) | (0x20 if properties else 0)])
    folder = b"\x01" + flags + method + (number(len(properties)) + properties if properties else b"")
    text = b"\x06" + number(at) + number(len(packed)) + b"\x09" + b"".join(number(len(one)) for one in packed) + b"\x00"
    text += b"\x07\x0b" + number(len(packed)) + b"\x00" + folder * len(packed)
    text += b"\x0c" + b"".join(map(number, sizes))
    if crc is not None:
        text += b"\x0a\x01" + struct.pack("<L", crc)
    return text + b"\x00"


def number(value: int) -> bytes:
    """As 7z writes numbers, in its longest form."""
    return b"\xff" + struct.pack("<Q", value) if value > 0x7F else bytes([value])


def _packed(data: bytes, coder: tuple[bytes, bytes]) -> bytes:
    if coder == COPY:
        return data
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 18}])


def _property(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + number(len(data)) + data


def _bits(flags: Sequence[bool]) -> bytes:
    text = "".join("1" if flag else "0" for flag in flags)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def _attributes(item: Item) -> int:
    return 0x8000 | (_MODES[item.what] << 16) | (0x10 if item.what == "folder" else 0)


# -- zip, tar


def zipped(items: Sequence[Item], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for item in items:
            info = zipfile.ZipInfo("x", (2023, 11, 14, 22, 13, 20))
            info.filename = f"{item.name}/" if item.what == "folder" else item.name
            info.external_attr = _MODES[item.what] << 16
            info.compress_type = method
            archive.writestr(info, item.data)
            archive.NameToInfo.clear()  # it would warn of a name that is there twice
    return buffer.getvalue()


_TYPES: Mapping[What, bytes] = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "device": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def tarred(items: Sequence[Item], packing: Literal["", "gz", "bz2", "xz"] = "") -> bytes:
    """A tar archive, packed or not."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{packing}") as archive:  # type: ignore[call-overload]  # it wants a literal
        for item in items:
            info = tarfile.TarInfo(item.name)
            info.type = _TYPES[item.what]
            info.mtime = DAY
            if item.what in ("symlink", "hardlink"):
                info.linkname = item.data.decode()
            else:
                info.size = len(item.data)
            archive.addfile(info, io.BytesIO(item.data))
    return buffer.getvalue()


FORMATS: Mapping[str, Callable[[Sequence[Item]], bytes]] = {
    "x.7z": seven_zip,
    "x.zip": zipped,
    "x.tar": tarred,
    "x.tar.gz": lambda items: tarred(items, "gz"),
    "x.tar.bz2": lambda items: tarred(items, "bz2"),
    "x.tar.xz": lambda items: tarred(items, "xz"),
}
"""Each format that holds members, by a name that tells it."""
