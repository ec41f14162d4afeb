"""7z: what is in it is read by py7zr; its bytes come from Debian's 7zz where that is installed and can, else from py7zr.

Whichever engine decodes, it only decodes: the list, the checks, the names, the checksums and the files are ours, so there is no
path that 7zz could make, and nothing on its command line that an archive could name.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Final

import py7zr
import py7zr.archiveinfo
from py7zr.exceptions import Bad7zFile, PasswordRequired

from mirror.archives.checks import Gate, too_many
from mirror.archives.model import Bounds, Entry, Member
from mirror.archives.reading import Volumes, buffered
from mirror.archives.sevenzz import SevenZz, find_7zz
from mirror.archives.sink import Sink
from mirror.archives.source import Decoder, Told, copy
from mirror.errors import ArchiveError, ArchiveRefused

_CRYPTO: Final = bytes.fromhex("06f1")
_METHODS: Final[Mapping[bytes, str]] = {
    bytes.fromhex(code): name
    for code, name in {
        "00": "Copy",
        "03": "Delta",
        "04": "BCJ",
        "05": "PPC",
        "06": "IA64",
        "07": "ARM",
        "08": "ARMT",
        "09": "SPARC",
        "0a": "ARM64",
        "0b": "RISCV",
        "21": "LZMA2",
        "030101": "LZMA",
        "030401": "PPMD",
        "03030103": "BCJ",
        "0303011b": "BCJ2",
        "03030205": "PPC",
        "03030401": "IA64",
        "03030501": "ARM",
        "03030701": "ARMT",
        "03030805": "SPARC",
        "040108": "Deflate",
        "040109": "Deflate64",
        "040202": "BZip2",
        "04f71101": "Zstandard",
        "04f71102": "Brotli",
        "04f71104": "LZ4",
        "06f10701": "7zAES",
    }.items()
}
_BY_7ZZ: Final = frozenset(_METHODS.values()) - {"Zstandard", "Brotli", "LZ4", "7zAES"}
_BY_PY7ZR: Final = frozenset(_METHODS.values()) - {"BCJ2", "ARM64", "RISCV", "LZ4", "7zAES"}

_UNIX: Final = 0x8000  # in the attributes: the upper half is a Unix mode
_DIRECTORY: Final = 0x10
_REPARSE_POINT: Final = 0x400
_EPOCH: Final = 11_644_473_600  # seconds from 1601, where the dates of 7z start, to 1970
# py7zr's decoders of these take no limit for their output, so a mebibyte of input could become gigabytes at once.
_SIP: Final = 1 << 14
_IDLE_STEPS: Final = 8


@dataclass(frozen=True, slots=True)
class _Block:
    """A packed stream, and the members that it holds, in order."""

    folder: Any
    offset: int
    packed: int
    members: tuple[tuple[str, Entry], ...]


class SevenZip:
    """A 7z archive. `engine` is `py7zr` or `7zz`; None takes whichever is there, knows the methods, and is faster."""

    def __init__(self, paths: list[str], bounds: Bounds, told: Told, engine: str | None) -> None:
        self._paths = paths
        self._told = told
        self._engine = engine
        # py7zr makes objects for all that the header claims before it can be asked how many there are. These bounds of its own come
        # first; were they to go, the limits of this process still hold.
        for bound in ("MAX_NUMFILES", "MAX_NUMFOLDERS", "MAX_SUBSTREAMS"):
            setattr(py7zr.archiveinfo, bound, bounds.max_members)
        volumes = Volumes(paths, told)
        self._stream = buffered(volumes)
        try:
            self._archive = py7zr.SevenZipFile(self._stream)
        except PasswordRequired:
            raise ArchiveRefused("its list of members is encrypted, and there is no password") from None
        except Bad7zFile as error:
            if f"exceeds limit {bounds.max_members}" in str(error):
                raise too_many(bounds.max_members) from None
            raise
        header = self._archive.sig_header
        surplus = volumes.size - self._archive.afterheader - header.nextheaderofs - header.nextheadersize
        if surplus > 0 and len(paths) > 1:  # behind a single file it may be a signature
            raise ArchiveError(f"its volumes have {surplus} bytes more than the archive: they are not of one archive")

    def members(self, gate: Gate) -> Iterator[Member]:
        """The list that stands at the end of the archive."""
        for entry in self._entries():
            path = gate.admit(entry)
            if path:
                yield Member(path, 0 if entry.folder else entry.size, entry.folder)

    def unpack(self, gate: Gate, sink: Sink) -> None:
        """Read block by block, as they come."""
        admitted = [(gate.admit(entry), entry) for entry in self._entries()]
        for path, entry in admitted:
            if entry.folder:
                sink.folder(path, entry)
            elif not entry.size:
                with sink.file(path, entry):
                    pass
        blocks = self._blocks(admitted)
        if not blocks:
            return
        with self._decoder(blocks) as decoder:
            for block in blocks:
                if isinstance(decoder, _ByPy7zr):
                    decoder.begin(block)
                for path, entry in block.members:
                    with sink.file(path, entry) as writer:
                        copy(decoder, entry, writer)
            decoder.end()

    def _entries(self) -> Iterator[Entry]:
        for file in self._archive.files:
            yield _entry(file.file_properties())

    def _blocks(self, admitted: list[tuple[str, Entry]]) -> list[_Block]:
        streams = self._archive.header.main_streams if self._archive.files else None
        if streams is None:
            return []
        held: dict[int, list[tuple[str, Entry]]] = {}
        for file, (path, entry) in zip(self._archive.files, admitted, strict=True):
            if file.folder is not None and entry.size:
                held.setdefault(id(file.folder), []).append((path, entry))
        blocks, stream = [], 0
        start = self._archive.afterheader + streams.packinfo.packpos
        for folder in streams.unpackinfo.folders:
            offset, packed = streams.packinfo.packpositions[stream], streams.packinfo.packsizes[stream]
            stream += len(folder.packed_indices)
            if id(folder) in held:
                blocks.append(_Block(folder, start + offset, packed, tuple(held[id(folder)])))
        return blocks

    def _decoder(self, blocks: list[_Block]) -> Decoder:
        coders = [coder for block in blocks for coder in block.folder.coders]
        methods = {_METHODS.get(coder["method"], coder["method"].hex()) for coder in coders}
        command = None if self._engine == "py7zr" else find_7zz()
        if command is not None and (methods <= _BY_7ZZ or self._engine == "7zz"):
            return SevenZz(command, self._paths, "7z", self._told)
        if methods <= _BY_PY7ZR and self._engine != "7zz":
            return _ByPy7zr(self._stream)
        if self._engine == "7zz":
            raise ArchiveRefused("7-Zip is not installed (Debian package 7zip)")
        unknown = ", ".join(sorted(methods - _BY_PY7ZR))
        if methods <= _BY_7ZZ:
            raise ArchiveRefused(f"it is packed with {unknown}, which takes 7-Zip to unpack: install it (Debian package 7zip)")
        raise ArchiveRefused(f"it is packed with {unknown}, which no engine here knows")


class _ByPy7zr:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> _ByPy7zr:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def begin(self, block: _Block) -> None:
        self._stream.seek(block.offset)
        self._block = block.folder.get_decompressor(block.packed, reset=True)
        self._food = _Food(self._stream, self._block.chain[0])

    def read(self, size: int) -> bytes | bytearray:
        # A step may take input and give no output, or, in a chain of decoders, seem to do neither; not again and again.
        idle = 0
        while not (data := self._block.decompress(self._food, size)):
            idle = 0 if self._food.taken() else idle + 1
            if idle > _IDLE_STEPS:
                return b""
        return data  # type: ignore[no-any-return]  # py7zr publishes no types

    def end(self) -> None:
        pass


class _Food:
    """What py7zr reads from: gives a decoder that still has input nothing, and one that takes no limit little.

    py7zr itself reads another mebibyte for every piece of output; from a well packed archive, most of it would pile up in memory.
    """

    def __init__(self, stream: BinaryIO, decoder: Any) -> None:
        self._stream = stream
        self._taken = 0
        inner = [decoder, *(getattr(decoder, name) for name in ("_decompressor", "decoder") if hasattr(decoder, name))]
        self._limited = next((one for one in inner if hasattr(one, "needs_input")), None)

    def read(self, size: int) -> bytes:
        if self._limited is None:
            size = min(size, _SIP)
        elif not self._limited.needs_input:
            return b""
        data = self._stream.read(size)
        self._taken += len(data)
        return data

    def taken(self) -> int:
        """Bytes since this was last asked."""
        taken, self._taken = self._taken, 0
        return taken


def _entry(info: Mapping[str, Any]) -> Entry:
    attributes = info.get("attributes") or 0
    mode = attributes >> 16 if attributes & _UNIX else 0
    folder = bool(attributes & _DIRECTORY) or stat.S_ISDIR(mode)
    oddity = None
    if attributes & _REPARSE_POINT or stat.S_ISLNK(mode):
        oddity = "a symbolic link"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        oddity = "a device or another special file"
    elif folder and not info["emptystream"]:
        oddity = "a folder with contents of its own"
    coders = info["folder"].coders if info["folder"] is not None else []
    written = info.get("lastwritetime")
    return Entry(
        info["filename"],
        0 if folder else info["uncompressed"],
        folder,
        oddity,
        encrypted=any(coder["method"].startswith(_CRYPTO) for coder in coders),
        crc=info.get("digest"),
        mtime=None if written is None else written / 10_000_000 - _EPOCH,
    )
