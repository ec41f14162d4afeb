"""Split archives by their names: which files are volumes of one archive, whether one is missing, what is an archive. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mirror.phrases import phrase

_VOLUME = re.compile(r"^(?P<archive>.+)\.(?P<number>\d{3,})$")
_KINDS = {
    ".7z": "7z",
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
    ".gz": "gz",
}


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive: its name, of volumes without their number, and its files, volumes in their order."""

    name: str
    files: tuple[str, ...]


def archive_of(name: str) -> str | None:
    """The archive that a volume is of, by its name; None for what is no volume."""
    volume = _VOLUME.match(name)
    return volume["archive"] if volume else None


def kind_of(name: str) -> str | None:
    """The format of an archive or a volume, by its name: `7z`, `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `gz`, else None."""
    name = (archive_of(name) or name).lower()
    for suffix in sorted(_KINDS, key=len, reverse=True):
        if name.endswith(suffix) and len(name) > len(suffix):
            return _KINDS[suffix]
    return None


def archives_in(names: Iterable[str]) -> tuple[Archive, ...]:
    """Which of these files are archives of a format that can be read, in the order of their names.

    Where `x.7z` and volumes of an `x.7z` lie side by side, the split one goes by the name of its first volume.
    """
    whole: set[str] = set()
    split: dict[str, list[str]] = {}
    for name in set(names):
        if kind_of(name) is None:
            continue
        archive = archive_of(name)
        if archive is None:
            whole.add(name)
        else:
            split.setdefault(archive, []).append(name)
    found = [Archive(name, (name,)) for name in whole]
    for archive, volumes in split.items():
        volumes.sort(key=_numbered)
        found.append(Archive(volumes[0] if archive in whole else archive, tuple(volumes)))
    return tuple(sorted(found, key=lambda archive: archive.name))


def gap_in(archive: Archive) -> str | None:
    """What is wrong with the numbers of an archive's volumes, which run from 1 without a gap; None where nothing is.

    That the last volumes are missing does not show in their numbers: reading the archive tells.
    """
    if archive_of(archive.files[0]) is None:
        return None
    expected = 1
    for name in archive.files:
        number = _numbered(name)[0]
        if number > expected:
            return phrase("volume {number} is missing", number=f"{expected:03d}")
        if number < expected:
            return (
                phrase("volume {number} is there twice", number=f"{number:03d}")
                if number
                else phrase("it has a volume 000, and volumes are counted from 001")
            )
        expected += 1
    return None


def incomplete_archives(names: Iterable[str]) -> dict[str, str]:
    """The volumes, by name, of split archives that have a gap, each with the reason in words."""
    found: dict[str, str] = {}
    for archive in archives_in(names):
        gap = gap_in(archive)
        if gap is not None:
            for name in archive.files:
                found[name] = phrase("of the split archive {archive}, {gap} upstream", archive=archive_of(name), gap=gap)
    return found


def publishing_groups(names: Iterable[str], *, whole: bool) -> list[tuple[str, ...]]:
    """Which files must appear together: all of them, or the volumes of each split archive and every other file alone.

    A volume is a name that ends in three or more digits behind an archive's name (`x.7z.001`); upstream marks volumes with
    `rel="section"` [O], but not reliably enough to build on.
    """
    names = sorted(names)
    if whole:
        return [tuple(names)] if names else []
    groups: dict[str, list[str]] = {}
    for name in names:
        archive = archive_of(name)
        groups.setdefault(f"{archive}.*" if archive else name, []).append(name)
    return [tuple(group) for group in groups.values()]


def _numbered(name: str) -> tuple[int, str]:
    volume = _VOLUME.match(name)
    return (int(volume["number"]) if volume else 0, name)


_MAGIC: Final = MappingProxyType(
    {
        "7z": (b"7z\xbc\xaf\x27\x1c",),
        "zip": (b"PK\x03\x04", b"PK\x05\x06", b"PK00PK\x03\x04"),
        "gz": (b"\x1f\x8b",),
        "tar.gz": (b"\x1f\x8b",),
        "tar.bz2": (b"BZh",),
        "tar.xz": (b"\xfd7zXZ\x00",),
    }
)
LONGEST_MAGIC: Final = 8
"""Bytes at the start of a file that tell its format."""


def not_that_kind(kind: str | None, start: bytes) -> str | None:
    """Why a file that starts so is no archive of a format that `kind_of` names; None where it may be one, as a tar always may."""
    if kind is not None and kind in _MAGIC and not start.startswith(_MAGIC[kind]):
        return f"it is not {kind}: it starts with {start.hex(' ')}"
    return None
