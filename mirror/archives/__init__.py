"""Archives: what is in them, whether they are sound, and what they unpack to.

Everything that touches bytes of an archive runs in a process of its own (`worker`), which is bounded in memory, ends when it makes
no progress, and cannot outlive this one. What it may unpack is decided by `checks`; `sevenzip`, `zipped`, `tars` know the formats.

    child -> (process) worker -> opening -> sevenzip | zipped | tars -> checks, sink
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mirror.archives.model import Bounds, Member, Unpacked
from mirror.errors import ArchiveError, ArchiveRefused, ArchiveUnread
from mirror.planning.volumes import LONGEST_MAGIC, Archive, archives_in, gap_in, kind_of, not_that_kind

__all__ = [
    "Archive",
    "ArchiveError",
    "ArchiveRefused",
    "ArchiveUnread",
    "Bounds",
    "Member",
    "Unpacked",
    "archives_in",
    "gap_in",
    "no_archive",
    "probe",
    "test",
    "unpack",
]

# `child` is imported where it is used: the process that reads archives imports this package too, and has no use for asyncio.


async def probe(paths: Sequence[Path], bounds: Bounds) -> tuple[Member, ...]:
    """What is in an archive, without unpacking it; `paths` are its volumes in order, or its one file.

    7z, zip and tar tell by their headers. Of a packed tar and of gz all is read, and nothing is kept.

    Raises:
        ArchiveError: it cannot be read, or could not be unpacked within `bounds`.
        OSError: a file of it cannot be read; with ENOSPC, its members take more than `bounds.max_bytes`.
    """
    from mirror.archives import child

    return await child.probe(paths, bounds)


async def test(paths: Sequence[Path], bounds: Bounds, *, engine: str | None = None) -> None:  # noqa: PT028 - no test, but what tests archives
    """Read all of an archive and compare every checksum in it; nothing is written.

    Names of members are not judged, as none is used. `engine`, for tests and measurements, names what decodes 7z: `py7zr` or `7zz`.

    Raises:
        ArchiveError: it is broken. ArchiveRefused, a kind of it: whether it is cannot be told, as it is encrypted, packed as no
            engine here knows, or unpacks to more than `bounds` let it.
        OSError: as with `probe`.
    """
    from mirror.archives import child

    await child.test(paths, bounds, engine)


async def unpack(paths: Sequence[Path], into: Path, bounds: Bounds, *, engine: str | None = None) -> Unpacked:
    """Unpack an archive into the folder `into`, which this makes, and whose parent must exist; returns once all is on the disk.

    On an error, and when it is cancelled, nothing is left of the folder. `engine` as with `test`.

    Raises:
        ArchiveError: it is broken or encrypted, or what it holds must not be unpacked.
        OSError: a file cannot be read or written; FileExistsError for `into`; ENOSPC where the disk is full, or where the members
            take more than `bounds.max_bytes`.
    """
    from mirror.archives import child

    return await child.unpack(paths, into, bounds, engine)


def no_archive(paths: Sequence[Path]) -> str | None:
    """Why these files, volumes in order, can be no archive of the format in their name, by their first bytes; None if they may be.

    A small read and no process: a name alone makes no archive. Raises OSError. Blocks.
    """
    with open(paths[0], "rb", buffering=0) as stream:
        return not_that_kind(kind_of(paths[0].name), stream.read(LONGEST_MAGIC))
