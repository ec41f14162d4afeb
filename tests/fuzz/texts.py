"""Values of the config and words of a query, each by its own reader."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mirror.planning.edition import parse_edition
from mirror.settings.addresses import check_public_url, check_service_url, parse_listen
from mirror.settings.hours import format_bandwidth, parse_bandwidth, parse_window
from mirror.settings.schedule import parse_schedule
from mirror.settings.units import format_duration, format_size, parse_duration, parse_rate, parse_size
from mirror.store.index import Index
from mirror.store.query import Filters, Reader

from .target import Target, anything, damaged, text

_SEEDS = (
    b"latest", b"all", b"3", b"2024-01-01..2025-12-31", b"..2025-12-31", b"500 MB", b"20 GiB", b"1.5 TB", b"64 kB/s", b"30s",
    b"90m", b"2w", b"daily 03:15", b"15 3 * * *", b"*/5 0-6,12 1 jan mon-fri", b"every 6h", b"hourly", b"127.0.0.1:8420",
    b"[::1]:80", b"localhost:0", b"https://data.geopf.fr/telechargement/capabilities", b"http://h:80/", b"http://[::1]/x",
)  # fmt: skip
_TOKENS = (
    b"..", b"-", b":", b"/", b"*", b",", b" ", b"9" * 5000, b"0", b"e", b"\xc2\xb2", b"\xd9\xa3", b"\x00", b"\n", b"[", b"]",
    b"@", b"#", b"%", b"\xe2\x80\xae", b"inf", b"nan", b"\xef\xbc\x91",
)  # fmt: skip
_READERS: tuple[tuple[Callable[[object], Any], Callable[[Any], str] | None], ...] = (
    (parse_edition, str),
    (parse_size, format_size),
    (parse_rate, format_size),
    (parse_duration, format_duration),
    (parse_listen, str),
    (parse_schedule, str),
    (parse_bandwidth, format_bandwidth),
    (parse_window, str),
    (check_service_url, str),
    (check_public_url, str),
)


def _value(rng: random.Random) -> object:
    if rng.random() < 0.1:
        return anything(rng, 1)
    return damaged(rng, _SEEDS, _TOKENS).decode("utf-8", rng.choice(("replace", "surrogateescape")))


def _check_value(value: object) -> None:
    """Each reader takes it, and reads what it writes back as the same; or raises ValueError in one line."""
    for read, write in _READERS:
        try:
            found = read(value)
        except ValueError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 250, error
            continue
        if write is not None:
            assert read(write(found)) == found


@cache
def _reader(_: int) -> Reader:
    root = Path(mkdtemp(prefix="inspire-mirror-fuzz-"))
    with Index(root):
        pass
    return Reader(root)


def _query(rng: random.Random) -> Filters:
    globs = tuple(rng.choice((text(rng, 6), "*", "[", "[!a]", "[z-a]", "?" * 40, "*a" * 30)) for _ in range(rng.randrange(3)))
    west, south = rng.uniform(-180, 180), rng.uniform(-90, 90)
    return Filters(
        rng.choice(("", text(rng), '"', "a AND NOT", "NEAR(a b)", "col:x", "-x", "x*", "(", "^a")),
        globs if rng.random() < 0.3 else (),
        globs if rng.random() < 0.5 else (),
        globs if rng.random() < 0.2 else (),
        globs if rng.random() < 0.2 else (),
        bbox=(west, south, rng.uniform(-180, 180), south) if rng.random() < 0.2 else None,
        upstreams=globs if rng.random() < 0.2 else (),
    )


def _check_query(filters: Filters) -> None:
    """What users look for is never read as a query language: an index without files answers with none."""
    assert list(_reader(os.getpid()).files(filters)) == []


TARGETS = (
    Target("values", _value, _check_value, share=4),
    Target("queries", _query, _check_query, share=1),
)
