"""Zip, with the standard library; with 7zz where it is packed in a way that the standard library does not know.

Windows takes Deflate64 for files beyond 2 GiB.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import BinaryIO, Final

from mirror.archives.checks import Gate, show, too_many
from mirror.archives.model import Bounds, Entry, Member
from mirror.archives.reading import Volumes, buffered
from mirror.archives.sevenzz import SevenZz, find_7zz
from mirror.archives.sink import Sink, Writer
from mirror.archives.source import CHUNK, Told, copy
from mirror.errors import ArchiveError, ArchiveRefused

_ENCRYPTED: Final = 0x1 | 0x40
_KNOWN: Final = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
_METHODS: Final = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_DOS_FOLDER: Final = 0x10
_END: Final = b"PK\x05\x06"
_END_SIZE: Final = 22
_LONGEST_COMMENT: Final = 0xFFFF
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_SIZE: Final = 20
_ENTRY: Final = b"PK\x01\x02"
_ENTRY_SIZE: Final = 46


class Zip:
    """A zip archive."""

    def __init__(self, paths: list[str], bounds: Bounds, told: Told) -> None:
        self._paths = paths
        self._told = told
        self._stream = buffered(Volumes(paths, told))
        # The standard library makes an object for each member before it can be asked how many there are.
        if _members(self._stream, bounds.max_members + 1) > bounds.max_members:
            raise too_many(bounds.max_members)
        self._archive = zipfile.ZipFile(self._stream)

    def members(self, gate: Gate) -> Iterator[Member]:
        """The list that stands at the end of the archive."""
        for info in self._archive.infolist():
            entry = _entry(info)
            path = gate.admit(entry)
            if path:
                yield Member(path, 0 if entry.folder else entry.size, entry.folder)

    def unpack(self, gate: Gate, sink: Sink) -> None:
        """Read member by member, in the order of the list."""
        members = [(info, gate.admit(entry), entry) for info in self._archive.infolist() for entry in [_entry(info)]]
        methods = {info.compress_type for info, _, _ in members}
        with self._rest(methods) if methods - _KNOWN else nullcontext() as decoder:
            for info, path, entry in members:
                if entry.folder:
                    sink.folder(path, entry)
                    continue
                with sink.file(path, entry) as writer:
                    if decoder is not None:
                        copy(decoder, entry, writer)
                    else:
                        self._copy(info, entry, writer)
            if decoder is not None:
                decoder.end()

    def _copy(self, info: zipfile.ZipInfo, entry: Entry, writer: Writer) -> None:
        count = 0
        with self._archive.open(info) as packed:
            while data := packed.read(CHUNK):  # compares the checksum at the end
                writer.write(data)
                count += len(data)
        if count != info.file_size:
            raise ArchiveError(f"it ends in the middle of member {show(entry.name)}")

    def _rest(self, methods: set[int]) -> SevenZz:
        command = find_7zz()
        if command is None:
            names = ", ".join(sorted(_METHODS.get(method, f"method {method}") for method in methods - _KNOWN))
            raise ArchiveRefused(f"it is packed with {names}, which takes 7-Zip to unpack: install it (Debian package 7zip)")
        return SevenZz(command, self._paths, "zip", self._told)


def _entry(info: zipfile.ZipInfo) -> Entry:
    mode = info.external_attr >> 16
    folder = info.filename.endswith("/") or stat.S_ISDIR(mode) or (not mode and bool(info.external_attr & _DOS_FOLDER))
    oddity = None
    if stat.S_ISLNK(mode):
        oddity = "a symbolic link"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        oddity = "a device or another special file"
    elif folder and info.file_size:
        oddity = "a folder with contents of its own"
    mtime = None
    with suppress(ValueError):  # a date that is none: months and days of zero are common
        mtime = datetime(*info.date_time, tzinfo=UTC).timestamp()
    # orig_filename: the other one ends at a NUL.
    name = info.orig_filename
    return Entry(name, info.file_size, folder, oddity, bool(info.flag_bits & _ENCRYPTED), info.CRC, mtime)


def _members(stream: BinaryIO, most: int) -> int:
    """How many members the list at the end has, counted up to `most`; 0 where no list is found."""
    size = stream.seek(0, 2)
    tail_at = max(0, size - _END_SIZE - _LONGEST_COMMENT - _LOCATOR_SIZE - _END_64.size)
    stream.seek(tail_at)
    tail = stream.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < _END_SIZE:
        return 0
    list_size = int.from_bytes(tail[end + 12 : end + 16], "little")
    list_end = tail_at + end
    end_64 = end - _LOCATOR_SIZE - _END_64.size
    if end_64 >= 0 and tail[end_64 : end_64 + 4] == b"PK\x06\x06":
        list_size = _END_64.unpack_from(tail, end_64)[8]
        list_end = tail_at + end_64
    if list_size > list_end:
        return 0  # the standard library will say what is wrong
    stream.seek(list_end - list_size)
    count, left = 0, list_size
    while count < most and left >= _ENTRY_SIZE:
        head = stream.read(_ENTRY_SIZE)
        if head[:4] != _ENTRY:
            break
        rest = sum(struct.unpack_from("<3H", head, 28))
        stream.seek(rest, 1)
        left -= _ENTRY_SIZE + rest
        count += 1
    return count
