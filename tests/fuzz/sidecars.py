"""Sidecars of partial files, as a power cut, another program or an attacker with access to the staging folder may leave them."""

from __future__ import annotations

import json
import os
import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mirror.model import RemoteFile
from mirror.transfer.sidecar import Sidecar, load_sidecar, save_sidecar, sidecar_path
from mirror.upstream.answer import can_be_sent

from .target import Target, anything, damaged

_SOUND: dict[str, Any] = {
    "version": 1,
    "url": "https://h/x.7z",
    "size": 10**9,
    "md5": "0" * 32,
    "validator": '"e"',
    "offset": 64 << 20,
}
_SEEDS = tuple(json.dumps({**_SOUND, **more}).encode() for more in ({}, {"md5": None}, {"size": None, "validator": None}))
_TOKENS = (
    b"null",
    b"-1",
    b"1e999",
    b"9" * 5000,
    b'"',
    b"{",
    b"[" * 100_000,
    b"\\ud800",
    b"\\r\\n",
    b"\x00",
    b"\xff",
    b'"version":2',
    b"true",
)


def _make(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return damaged(rng, _SEEDS, _TOKENS)
    members = {**_SOUND}
    for _ in range(rng.randrange(1, 4)):
        members[rng.choice((*_SOUND, "more"))] = anything(rng)
    if rng.random() < 0.2:
        del members[rng.choice(tuple(members))]
    return json.dumps(members).encode()


@cache
def _part(_: int) -> Path:
    return Path(mkdtemp(prefix="inspire-mirror-fuzz-"), "x.part")


def _check(content: bytes) -> None:
    """None, or a sidecar of which every field is what it should be, which can be asked about and written again."""
    part = _part(os.getpid())
    sidecar_path(part).write_bytes(content)
    sidecar = load_sidecar(part)
    if sidecar is None:
        return
    assert isinstance(sidecar.url, str)
    assert sidecar.size is None or (type(sidecar.size) is int and 0 <= sidecar.size < 2**63)
    assert sidecar.md5 is None or isinstance(sidecar.md5, str)
    assert sidecar.validator is None or can_be_sent(sidecar.validator)
    assert type(sidecar.offset) is int
    assert 0 <= sidecar.offset < 2**63
    for file in (RemoteFile("x", "https://h/x.7z", 10**9, "0" * 32), RemoteFile("x", "https://h/x.7z", None, None)):
        assert sidecar.continues(file) in (True, False)
    save_sidecar(part, sidecar)
    assert load_sidecar(part) == Sidecar(sidecar.url, sidecar.size, sidecar.md5, sidecar.validator, sidecar.offset)


TARGETS = (Target("sidecars", _make, _check, share=2),)
