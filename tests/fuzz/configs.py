"""Config files and environments."""

from __future__ import annotations

import os
import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from mirror.errors import ConfigError
from mirror.settings import Settings, effective, load
from mirror.settings.report import warnings

from .target import Target, damaged, text

_CONFIG = b"""
root = "/var/lib/inspire-mirror"
contact = "sig@example.org"

[upstream.geoplateforme]
url = "https://data.geopf.fr/telechargement/capabilities"
dialect = "geoplateforme"
requests_per_second = 4
downloads = 4
bandwidth = "50 MB"
full_listing_every = "7d"
redirect_hosts = ["h:80"]

[subscription.topo-isere]
upstream = "geoplateforme"
resources = ["BDTOPO", "ADMIN-EXPRESS*"]
zones = ["D038", "D073"]
edition = "2024-01-01..2025-12-31"
bbox = [5.5, 44.7, 6.4, 45.9]
keep = 2
publish = "whole"
extract = true
schedule = "daily 03:15"
on_publish = ["/usr/local/bin/load", "{path}"]

[limits]
max_delete_ratio = 0.4
min_free = "10 GiB"
max_extract_ratio = 200

[serve]
listen = "127.0.0.1:8420"
"""
_SMALL = b'root = "m"\n[upstream.u]\nurl = "http://h/"\n[subscription.s]\nresources = ["*"]\n'
_TOKENS = (
    b"[", b"]", b"[[", b"=", b'"', b"'''", b'"""', b"\n", b"#", b".", b"{", b"}", b",", b"inf", b"nan", b"-1", b"9" * 5000,
    b"1979-05-27T07:32:00Z", b"07:32:00", b"0x_1", b"true", b"[" * 3000, b"a." * 3000, b"\\u0000", b"\\ud800", b"\x00", b"\xff",
    b"\xe2\x80\xa8", b"upstream = 1\n", b"[subscription]\n", b'"~nobody/x"', b'"\\u0000"', b"api_key = 1\n",
    b'api_key_file = "/dev/zero"\n', b'ca_file = "/"\n', b"root = ''\n",
)  # fmt: skip
_KEYS = (
    "ROOT",
    "CONTACT",
    "LIMITS__MIN_FREE",
    "UPSTREAM__U__URL",
    "UPSTREAM__U",
    "SUBSCRIPTION__S__RESOURCES",
    "SERVE__LISTEN",
    "X",
    "__",
    "",
)

Case = tuple[bytes, dict[str, str]]


def _make(rng: random.Random) -> Case:
    config = damaged(rng, (_CONFIG, _SMALL), _TOKENS) if rng.random() < 0.85 else _SMALL
    environ = {
        f"INSPIRE_MIRROR_{rng.choice(_KEYS)}": rng.choice(("", "1", "[", '["a"]', "20 GiB", "\udcff", text(rng)))
        for _ in range(rng.choice((0, 0, 0, 1, 2)))
    }
    return config, environ


@cache
def _file(_: int) -> Path:
    return Path(mkdtemp(prefix="inspire-mirror-fuzz-"), "inspire-mirror.toml")


def _check(case: Case) -> None:
    """Settings that can be shown, or a ConfigError of printable lines."""
    path = _file(os.getpid())
    path.write_bytes(case[0])
    try:
        settings = load(path, case[1])
    except ConfigError as error:
        assert all(line.isprintable() for line in str(error).split("\n")), str(error)
        return
    assert isinstance(settings, Settings)
    effective(settings)
    warnings(settings)


TARGETS = (Target("configs", _make, _check, share=2),)
