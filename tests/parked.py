"""A catalogue with one file that is not as the feed says, and what the index has of it."""

from __future__ import annotations

from dataclasses import replace

from mirror.demo.catalogue import SampleSub
from mirror.store.query import Reader

from .mirrored import Mirrored, offered
from .upstream import publish, simple_catalogue

GOOD = simple_catalogue(resources=2, subs=6, files=2)
ALL = offered(GOOD)
FIRST = GOOD.resources[0].listed[0]
OTHER = GOOD.resources[1].listed[0]
NO_MD5 = "0" * 32
WHOLE_TRY = 3
"""Downloads that it takes to believe that upstream is wrong."""


def wrong(sub: SampleSub, number: int = 0) -> SampleSub:
    """With an MD5 in the feed that the bytes do not have."""
    files = [replace(file, md5=NO_MD5) if n == number else file for n, file in enumerate(sub.files)]
    return replace(sub, files=tuple(files))


BAD = publish(GOOD, "BDALPHA", wrong(FIRST))
NAME = FIRST.files[0].name
PATH = f"/download/BDALPHA/{FIRST.id}/{NAME}"


def entry(mirror: Mirrored) -> dict[str, object]:
    """What `status` says of the one parked file."""
    reader = Reader(mirror.root)
    try:
        (found,) = reader.parked()
        return found
    finally:
        reader.close()
