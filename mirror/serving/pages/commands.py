"""Lines to copy: how to fetch and check what is here, how to read it from afar, what config mirrors it. Every part is quoted."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirror.phrases import phrase
from mirror.planning.volumes import archive_of, kind_of
from mirror.serving.pages.asked import Asked

VECTOR = (".gpkg", ".shp", ".fgb", ".geojson", ".gml", ".parquet", ".kml", ".tab", ".mif", ".sqlite")
RASTER = (".tif", ".tiff", ".jp2", ".ecw", ".vrt", ".asc", ".img", ".png")
READABLE = VECTOR + RASTER
"""The endings of what GDAL opens as it is."""

_SIDE_FILES = (".md5", ".sha256", ".txt", ".xml")
_ARCHIVES = {".zip": "/vsizip/", ".tar": "/vsitar/", ".tar.gz": "/vsitar/", ".tgz": "/vsitar/", ".7z": "/vsi7z/"}


@dataclass(frozen=True, slots=True)
class Line:
    """Commands with what they do."""

    title: str
    text: str
    note: str = ""


def commands(
    folder: str, metalink: str, files: Sequence[tuple[str, str]], members: Sequence[tuple[str, str]], total: int
) -> list[Line]:
    """For an edition: `folder` and `metalink` are absolute addresses, `files` name and address of the first of `total` files.

    `members` are the archive and the path inside it of what GDAL could open.
    """
    lines = []
    if files:
        # Of an archive and the side file with its sums, the archive.
        url = next((url for name, url in files if not name.lower().endswith(_SIDE_FILES)), files[0][1])
        lines.append(Line(phrase("Fetch one file"), f"curl -fLO {shlex.quote(url)}"))
    if 1 < total <= len(files) and total <= 20:
        urls = " \\\n  ".join(f"-O {shlex.quote(url)}" for _, url in files)
        lines.append(Line(phrase("Fetch all files"), f"curl -fL \\\n  {urls}"))
    elif total > 1:
        lines.append(Line(phrase("Fetch all files"), f"aria2c {shlex.quote(metalink)}", phrase("by the metalink, checked")))
    lines.append(
        Line(
            phrase("Check what was fetched"),
            f"curl -fsSL {shlex.quote(folder + 'SHA256SUMS')} | sha256sum --check --ignore-missing",
        )
    )
    if volumes := next((name for name, _ in files if archive_of(name) not in (None, name) and name.endswith("1")), None):
        lines.append(Line(phrase("Unpack the volumes, once all are there"), f"7zz x {shlex.quote(volumes)}"))
    elif archive := next((name for name, _ in files if kind_of(name)), None):
        lines.append(Line(phrase("Unpack it, once it is there"), f"7zz x {shlex.quote(archive)}"))
    if read := _reading(files, members):
        lines.append(read)
    return lines


def _reading(files: Sequence[tuple[str, str]], members: Sequence[tuple[str, str]]) -> Line | None:
    """How GDAL reads the first file that it can, without fetching all of it."""
    for name, url in files:
        if name.lower().endswith(READABLE):
            return _line(f"/vsicurl/{url}", name, "")
    for name, url in files:
        prefix = next((prefix for ending, prefix in _ARCHIVES.items() if name.lower().endswith(ending)), None)
        inside = next((member for archive, member in members if archive == name), None)
        if prefix is not None and inside is not None:
            note = phrase("needs GDAL 3.7 or newer, built with libarchive") if prefix == "/vsi7z/" else ""
            return _line(f"{prefix}{{/vsicurl/{url}}}/{inside}", inside, note)
    return None


def _line(source: str, name: str, note: str) -> Line:
    if name.lower().endswith(RASTER):
        return Line(phrase("Look into it with GDAL, without fetching it"), f"gdalinfo {shlex.quote(source)}", note)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name.rpartition("/")[2].rpartition(".")[0]).strip("-") or "layer"
    text = f"ogrinfo -so -al {shlex.quote(source)}\nogr2ogr -f GPKG {stem}-copy.gpkg {shlex.quote(source)}"
    return Line(phrase("Read it with GDAL, without fetching it first"), text, note)


def subscription(upstream: str, url: str, original: str | None, resource: str, asked: Asked, sub_resource: str = "") -> str:
    """The part of a config that mirrors this resource from here, as it is narrowed, or one edition of it. TOML."""
    name = _slug("-".join(part for part in (sub_resource or resource, asked.zone, asked.format) if part))
    table: dict[str, object] = {"upstream": upstream, "resources": [_exactly(resource)]}
    if sub_resource:
        table |= {"sub_resources": [_exactly(sub_resource)], "edition": "all"}
    else:
        for key, code in (("zones", asked.zone), ("formats", asked.format), ("crs", asked.crs)):
            if code:
                table[key] = [code]
        table["edition"] = _edition(asked)
    lines = [f"[upstream.{_key(upstream)}]", f"url = {_text(url)}"]
    if original:
        lines.append(f"# url = {_text(original)}")
    return "\n".join([*lines, "", f"[subscription.{name}]", *_pairs(table)]) + "\n"


def _edition(asked: Asked) -> str:
    if asked.start or asked.end:
        return f"{asked.start or ''}..{asked.end or ''}"
    return "latest" if asked.state in ("latest", "current") else "all"


def _pairs(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_text(value) if isinstance(value, str) else _list(value)}" for key, value in table.items()]


def _list(value: object) -> str:
    return f"[{', '.join(_text(str(item)) for item in value)}]" if isinstance(value, list) else str(value)


def _text(value: str) -> str:
    """A basic string of TOML: those of JSON, which leave but one character that TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:64] or "mirrored"


def _exactly(name: str) -> str:
    """A glob that matches this name and no other."""
    return re.sub(r"[*?[]", lambda found: f"[{found[0]}]", name)
