"""Tar, packed or not, and gzip of one file: streams, read from front to back with the standard library."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Final, cast

from mirror.archives.checks import Gate, show
from mirror.archives.model import Bounds, Entry, Member
from mirror.archives.reading import Volumes, buffered
from mirror.archives.sink import Sink
from mirror.archives.source import CHUNK, Told
from mirror.errors import ArchiveError, ArchiveRefused

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_STEP: Final = 1 << 16  # the standard library copies what is left of it for every header that it reads
_PADDING: Final = 1 << 20
_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_ODDITIES: Final = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}


class Tar:
    """A tar archive; `packing` is `gz`, `bz2`, `xz` or nothing."""

    def __init__(self, paths: list[str], bounds: Bounds, told: Told, packing: str) -> None:
        volumes = Volumes(paths, told)
        stream = buffered(volumes)
        self._packed = bool(packing)
        # Headers and padding are no member's bytes, and cost time all the same; even an empty archive has 10 KiB of them.
        most = int(bounds.max_ratio * volumes.size) + _PADDING
        self._stream = Metered(_unpacking(stream, packing), most) if packing else stream

    def members(self, gate: Gate) -> Iterator[Member]:
        """One by one; of a packed archive, all of it is read."""
        for _, path, entry in self._walk(gate):
            if path:
                yield Member(path, entry.size, entry.folder)
        self._drain()

    def unpack(self, gate: Gate, sink: Sink) -> None:
        """Read member by member, as they come. Tar has no checksums of the contents; what packs it has."""
        for packed, path, entry in self._walk(gate):
            if entry.folder:
                sink.folder(path, entry)
                continue
            with sink.file(path, entry) as writer:
                left = entry.size or 0
                while left:
                    data = packed.read(min(left, CHUNK)) if packed else b""
                    if not data:
                        raise ArchiveError(f"it ends in the middle of member {show(entry.name)}")
                    writer.write(data)
                    left -= len(data)
        self._drain()

    def _walk(self, gate: Gate) -> Iterator[tuple[IO[bytes] | None, str, Entry]]:
        mode = "r|" if self._packed else "r:"
        with tarfile.open(fileobj=self._stream, mode=mode, bufsize=_STEP, tarinfo=_Header) as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                archive.members = []  # it keeps all that it has seen
                entry = _entry(info)
                path = gate.admit(entry)
                yield (archive.extractfile(info) if entry.size else None), path, entry

    def _drain(self) -> None:
        """Read what follows the end of the archive: the checksum of what packs it stands behind that."""
        if self._packed:
            while self._stream.read(CHUNK):
                pass


class Gzip:
    """One file, packed with gzip; its name is that of the archive without `.gz`, whatever the header says."""

    def __init__(self, paths: list[str], bounds: Bounds, told: Told, name: str) -> None:
        self._stream = gzip.GzipFile(fileobj=buffered(Volumes(paths, told)))
        self._name = name

    def members(self, gate: Gate) -> Iterator[Member]:
        """The file; all of it is read, as nothing else tells its size."""
        path = gate.admit(self._entry())
        count = 0
        while data := self._stream.read(CHUNK):
            gate.grow(len(data))
            count += len(data)
        yield Member(path, count, folder=False)

    def unpack(self, gate: Gate, sink: Sink) -> None:
        """Read it to its checksum."""
        entry = self._entry()
        path = gate.admit(entry)
        with sink.file(path, entry) as writer:
            while data := self._stream.read(CHUNK):
                gate.grow(len(data))
                writer.write(data)

    def _entry(self) -> Entry:
        return Entry(self._name, None, folder=False)


class Metered(io.RawIOBase):
    """A stream that ends with an error once more than `most` bytes have come out of it."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream = stream
        self._most = most
        self._count = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read. Raises ArchiveError beyond the bound."""
        data = self._stream.read(len(memoryview(buffer)))
        memoryview(buffer)[: len(data)] = data
        self._count += len(data)
        if self._count > self._most:
            raise ArchiveRefused(f"it unpacks to more than {self._most} bytes, and is taken for a bomb (max_extract_ratio)")
        return len(data)


class _Header(tarfile.TarInfo):
    """A header that must be one: the standard library takes a broken one, or none, for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise ArchiveError(f"it is broken or truncated at byte {tarfile_.offset}: {error}") from None


def _unpacking(stream: io.BufferedReader, packing: str) -> IO[bytes]:
    if packing == "gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    return bz2.BZ2File(stream) if packing == "bz2" else lzma.LZMAFile(stream)


def _entry(info: tarfile.TarInfo) -> Entry:
    oddity = None
    if info.issparse():
        oddity = "a file with holes"
    elif not info.isdir() and info.type not in _REGULAR:
        oddity = _ODDITIES.get(info.type, "a special file")
    return Entry(info.name, 0 if info.isdir() else info.size, info.isdir(), oddity, mtime=float(info.mtime))
