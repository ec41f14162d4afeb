"""Lines to copy: how to fetch and check what is here, how to read it from afar. Every part is quoted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mirror.phrases import phrase
from mirror.planning.volumes import archive_of, archives_in

VECTOR = (".gpkg", ".shp", ".fgb", ".geojson", ".gml", ".parquet", ".kml", ".tab", ".mif", ".sqlite")
RASTER = (".tif", ".tiff", ".jp2", ".ecw", ".vrt", ".asc", ".img", ".png")
READABLE = VECTOR + RASTER
"""The endings of what GDAL opens as it is."""

_MOST_NAMED = 20  # files in one line
_SIDE_FILES = (".md5", ".sha256", ".txt", ".xml")
_SEVEN = phrase("needs GDAL 3.7 or newer, built with libarchive; slow on large archives, which are better unpacked first")
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
    urls = dict(files)
    archive = next((one for one in archives_in(urls) if len(urls) >= total or len(one.files) == 1), None)
    # Of an archive and the side file with its sums, the archive; all volumes of one that is split.
    single = [name for name in urls if archive_of(name) is None]
    plain = next((name for name in single if not name.lower().endswith(_SIDE_FILES)), next(iter(single), None))
    first = archive.files if archive is not None else (plain,) if plain is not None else ()
    lines = []
    if len(first) == 1:
        lines.append(Line(phrase("Fetch one file"), f"curl -fL{_to_file(first[0], urls[first[0]])}"))
    elif 1 < len(first) <= _MOST_NAMED:
        lines.append(Line(phrase("Fetch the volumes of an archive"), _fetching([(name, urls[name]) for name in first])))
    if 1 < total <= len(files) and total <= _MOST_NAMED and len(first) < total:
        lines.append(Line(phrase("Fetch all files"), _fetching(files)))
    elif total > 1 and (len(first) < total or total > _MOST_NAMED):
        lines.append(Line(phrase("Fetch all files"), f"aria2c {shlex.quote(metalink)}", phrase("by the metalink, checked")))
    lines.append(
        Line(
            phrase("Check what was fetched"),
            f"curl -fsSL {shlex.quote(folder + 'SHA256SUMS')} | sha256sum --check --ignore-missing",
        )
    )
    if archive is not None:
        title = phrase("Unpack the volumes, once all are there") if len(first) > 1 else phrase("Unpack it, once it is there")
        lines.append(Line(title, f"7zz x {shlex.quote(first[0])}"))
    if read := _reading(files, members):
        lines.append(read)
    return lines


def _fetching(files: Sequence[tuple[str, str]]) -> str:
    # By itself, curl goes on after a file that fails, and all is well for it if the last one is.
    return "curl --fail-early -fL \\\n  " + " \\\n  ".join(f"-{_to_file(name, url)}" for name, url in files)


def _to_file(name: str, url: str) -> str:
    """The option of curl by which a file gets its own name, without the dash, and its address.

    Without one, curl takes the end of the address as it is written there: a name with a blank would have %20 in it, and neither the
    line with the sums nor that which unpacks would find it.
    """
    return f"O {shlex.quote(url)}" if url.endswith(f"/{name}") else f"o {shlex.quote(name)} {shlex.quote(url)}"


def _reading(files: Sequence[tuple[str, str]], members: Sequence[tuple[str, str]]) -> Line | None:
    """How GDAL reads the first file that it can, without fetching all of it."""
    for name, url in files:
        if name.lower().endswith(READABLE):
            return _line(f"/vsicurl/{url}", name, "")
    for name, url in files:
        prefix = next((prefix for ending, prefix in _ARCHIVES.items() if name.lower().endswith(ending)), None)
        inside = next((member for archive, member in members if archive == name), None)
        if prefix is not None and inside is not None:
            return _line(f"{prefix}{{/vsicurl/{url}}}/{inside}", inside, _SEVEN if prefix == "/vsi7z/" else "")
    return None


def _line(source: str, name: str, note: str) -> Line:
    if name.lower().endswith(RASTER):
        return Line(phrase("Look into it with GDAL, without fetching it"), f"gdalinfo {shlex.quote(source)}", note)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name.rpartition("/")[2].rpartition(".")[0]).strip("-") or "layer"
    text = f"ogrinfo -so -al {shlex.quote(source)}\nogr2ogr -f GPKG {stem}-copy.gpkg {shlex.quote(source)}"
    return Line(phrase("Read it with GDAL, without fetching it first"), text, note)
