"""From the names of an archive's files to the reader of its format."""

from __future__ import annotations

import os

from mirror.archives.model import Bounds
from mirror.archives.reading import Volumes, buffered
from mirror.archives.source import Source, Told
from mirror.errors import ArchiveError
from mirror.planning.volumes import archive_of, kind_of, not_that_kind


def open_archive(paths: list[str], bounds: Bounds, told: Told, engine: str | None) -> tuple[Source, int]:
    """The archive that these files are, volumes in order, and how many bytes it has.

    Raises:
        ArchiveError: it is none of the format that its name says.
        OSError: a file cannot be read.
    """
    name = os.path.basename(paths[0])
    kind = kind_of(name)
    if kind is None:
        raise ArchiveError("its name is not that of an archive of a format that can be read")
    with Volumes(paths) as volumes, buffered(volumes) as stream:
        packed, start = volumes.size, stream.read(8)
    if not packed:
        raise ArchiveError("it is empty")
    if problem := not_that_kind(kind, start):
        raise ArchiveError(problem)
    return _open(kind, name, paths, bounds, told, engine), packed


def _open(kind: str, name: str, paths: list[str], bounds: Bounds, told: Told, engine: str | None) -> Source:
    # Each needs libraries that the others do not, and most of this process's time can be their import.
    if kind == "7z":
        from mirror.archives.sevenzip import SevenZip

        return SevenZip(paths, bounds, told, engine)
    if kind == "zip":
        from mirror.archives.zipped import Zip

        return Zip(paths, bounds, told)
    from mirror.archives.tars import Gzip, Tar

    if kind == "gz":
        return Gzip(paths, bounds, told, (archive_of(name) or name)[: -len(".gz")])
    return Tar(paths, bounds, told, kind.removeprefix("tar").removeprefix("."))
