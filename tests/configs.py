"""Configs for the tests of settings: small ones, wrong ones, and how they load or are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.settings import Settings, load

URL = "https://data.geopf.fr/telechargement/capabilities"
SECRET = "s3cr3t-QZX9-k3y"  # noqa: S105 (a marker to look for)
EXAMPLES = sorted((Path(__file__).parents[1] / "config").glob("*.toml"))

INTERFACE = """
root = "/var/lib/inspire-mirror"
contact = "sig@example.org"

[upstream.geoplateforme]
url = "https://data.geopf.fr/telechargement/capabilities"
dialect = "geoplateforme"
requests_per_second = 4
downloads = 4
bandwidth = "50 MB"
min_speed = "64 kB"
full_listing_every = "7d"
retry_for = "60s"

[subscription.topo-isere]
upstream = "geoplateforme"
resources = ["BDTOPO", "ADMIN-EXPRESS*"]
sub_resources = ["*TOUSTHEMES*"]
zones = ["D038", "D073"]
formats = ["GPKG"]
crs = ["EPSG:2154"]
files = ["*.7z", "*.7z.*", "*.md5"]
edition = "latest"
bbox = [5.5, 44.7, 6.4, 45.9]
keep = 2
publish = "whole"
extract = true
schedule = "daily 03:15"
on_publish = ["/usr/local/bin/load", "{path}"]

[limits]
max_delete_ratio = 0.4
max_shrink_ratio = 0.4
min_free = "10 GiB"
max_extract_ratio = 200

[serve]
listen = "127.0.0.1:8420"
public_url = "https://mirror.example.org"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "inspire-mirror.toml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return load(write(folder, text), environ or {})


def refusal(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the error that a config is refused with, each without the folder it is in."""
    with pytest.raises(ConfigError) as refused:
        loaded(folder, text, environ)
    return [line.removeprefix(f"{folder}{os.sep}") for line in str(refused.value).split("\n")]


def minimal(*, upstream: str = "", subscription: str = "", top: str = "") -> str:
    """A config that loads, with lines added to its tables."""
    return f'root = "/m"\n{top}\n[upstream.geo]\nurl = "{URL}"\n{upstream}\n[subscription.x]\nresources = ["A"]\n{subscription}\n'
