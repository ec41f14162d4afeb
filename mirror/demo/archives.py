"""Archives as IGN delivers them: 7z, in its folder layout, whole or cut into volumes; the same bytes for the same content."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import py7zr
from py7zr.helpers import ArchiveTimestamp

# The weakest preset: the default one takes 100 MB and half a second for a dictionary that these few kilobytes do not need.
_FILTERS: Final = [{"id": py7zr.FILTER_LZMA2, "preset": 0}]


def delivery(
    sub_id: str, product: str, date: str, short_name: str, data: Mapping[str, bytes], notes: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The members of an archive by path, in IGN's layout [C]: `data` are the files delivered, `notes` the metadata beside them."""
    root = f"{sub_id}/{product}"
    delivered = {f"{root}/1_DONNEES_LIVRAISON_{date}/{short_name}-ED{date}/{name}": content for name, content in data.items()}
    described = {f"{root}/2_METADONNEES_LIVRAISON_{date}/{name}": content for name, content in notes.items()}
    return {**delivered, **described}


def seven_zip(members: Mapping[str, bytes], day: str) -> bytes:
    """A 7z archive of `members` by path, all of them written on `day` (ISO 8601)."""
    moment = ArchiveTimestamp.from_datetime(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", filters=_FILTERS) as archive:
        for path, content in members.items():
            archive.writestr(content, path)
        # py7zr dates what it is given in memory by the clock, and has no argument for another date.
        for entry in archive.header.files_info.files:
            entry["lastwritetime"] = moment
    return buffer.getvalue()


def volumes(name: str, archive: bytes, count: int) -> dict[str, bytes]:
    """The archive cut into `count` volumes by file name: `name.001`, `name.002`, ..., each but the last of the same size."""
    size = -(-len(archive) // count)
    return {f"{name}.{number:03d}": archive[(number - 1) * size : number * size] for number in range(1, count + 1)}


def checksums(files: Mapping[str, bytes]) -> bytes:
    """A side file as `md5sum` writes it: the MD5 and the name of each file."""
    lines = [f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
    return "".join(lines).encode()
