"""The codes of zones, formats and coordinate reference systems, and which spellings mean the same.

Upstream spells one code in several ways, and its users in more. Folding brings the spellings together, and is only for comparing:
what is published, stored and shown keeps the code as upstream wrote it. Every fold is idempotent, and leaves the wildcards of a
glob (`D0*`, `EPSG:*`) as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

_TERRITORIES = MappingProxyType(
    {
        # [O] The same territories under another code, in the zone lists of the service.
        "GLP": "D971",
        "MTQ": "D972",
        "GUF": "D973",
        "REU": "D974",
        "SPM": "D975",
        "MYT": "D976",
        "BLM": "D977",
        "MAF": "D978",
    }
)
_FOUR_DIGIT_DEPARTMENT = re.compile(r"D0([0-9]{3})")
_SHORT_DEPARTMENT = re.compile(r"D?([0-9]{1,3}|2[AB])")

_FORMATS = MappingProxyType(
    {
        # [L/C] Spellings seen in live feeds and in the clients that read them. A code that is a profile of another (JP2-E080 of
        # JP2, COPC of LAZ) is a delivery of its own, and so is no alias.
        "SHAPEFILE": "SHP",
        "ESRI SHAPEFILE": "SHP",
        "TIF": "TIFF",
        "FLATGEOBUF": "FGB",
        "GEOPARQUET": "PARQUET",
        "GEOPACKAGE": "GPKG",
    }
)
_WORD_BREAK = re.compile(r"[\s_-]+")

_EPSG = re.compile(
    r"""(?:
          https?://(?:www\.)?opengis\.net/def/crs/EPSG/[^/\s]+/     # [L] .../EPSG/0/2154 is what the service writes
        | https?://(?:www\.)?opengis\.net/gml/srs/epsg\.xml\#
        | urn:(?:x-)?ogc:def:crs:EPSG:[^:\s]*:
        | EPSG\s*:{0,2}\s*
        )?
        (?P<code>[1-9][0-9]{3,5})/?""",
    re.VERBOSE | re.IGNORECASE,
)

CRS_NAMES: Mapping[str, str] = MappingProxyType(
    {
        # The short names that IGN puts into the names of its deliveries, upper-case. Only those that name one CRS beyond doubt to
        # the clients that load these files [C]. Left out: UTM20W84GUAD and UTM20W84MART, EPSG:4559 to some, EPSG:32620 to others.
        "LAMB93": "EPSG:2154",
        "RGF93LAMB93": "EPSG:2154",
        "WGS84G": "EPSG:4326",
        "RGAF09UTM20": "EPSG:5490",
        "UTM22RGFG95": "EPSG:2972",
        "RGFG95UTM22": "EPSG:2972",
        "RGR92UTM40S": "EPSG:2975",
        "RGM04UTM38S": "EPSG:4471",
        "RGSPM06U21": "EPSG:4467",
    }
)

_MEDIA_TYPES = MappingProxyType(
    {
        # The first block: the types of the live feeds [L] official_subresource.json and live_entries_2026-09.json.
        "7z": "application/x-7z-compressed",
        "cpg": "image/x-cpg",
        "gpkg": "application/geopackage+sqlite3",
        "md5": "text/plain",
        "pdf": "application/pdf",
        "prj": "image/x-prj",
        "shp": "application/x-shapefile",
        "tif": "image/tiff",
        "txt": "text/plain",
        "xml": "application/xml",
        # What else lies in deliveries, by the IANA register or common use.
        "asc": "text/plain",
        "csv": "text/csv",
        "dbf": "application/x-dbf",
        "fgb": "application/flatgeobuf",
        "geojson": "application/geo+json",
        "gml": "application/gml+xml",
        "gz": "application/gzip",
        "htm": "text/html",
        "html": "text/html",
        "jp2": "image/jp2",
        "json": "application/json",
        "las": "application/vnd.las",
        "laz": "application/vnd.laszip",
        "parquet": "application/vnd.apache.parquet",
        "qml": "application/xml",
        "qpj": "text/plain",
        "shx": "application/x-shapefile",
        "sld": "application/vnd.ogc.sld+xml",
        "sql": "application/sql",
        "tar": "application/x-tar",
        "tiff": "image/tiff",
        "zip": "application/zip",
    }
)


def media_type_of(name: str) -> str:
    """The media type that the extension of a file's name tells; `application/octet-stream` for what it does not."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")


def is_extension(word: str) -> bool:
    """Whether a word is the extension of files as they are delivered: `7z`, `md5`, `dbf`, in any case."""
    return word.lower() in _EXTENSIONS


_EXTENSIONS = _MEDIA_TYPES.keys() | {"md5", "sha256", "copc", "7z", "shp", "sbn", "sbx", "tfw", "tab", "zst", "xz", "bz2"}


@lru_cache(maxsize=4096)
def fold_zone(code: str) -> str:
    """The zone code for comparing: upper-case, departments as `D038`, `D02A`, `D971`, overseas territories as their department.

    [L] `D0971` is published beside `D971`. Codes that name no department, and globs, only change case.
    """
    folded = code.strip().upper()
    if four := _FOUR_DIGIT_DEPARTMENT.fullmatch(folded):
        return f"D{four[1]}"
    if short := _SHORT_DEPARTMENT.fullmatch(folded):
        return f"D{short[1]:0>3}"
    return _TERRITORIES.get(folded, folded)


@lru_cache(maxsize=4096)
def fold_format(code: str) -> str:
    """The format code for comparing: upper-case, the aliases of one format as one code (`Shapefile` is `SHP`, `TIF` is `TIFF`)."""
    folded = code.strip().upper()
    return _FORMATS.get(_WORD_BREAK.sub(" ", folded), folded)


@lru_cache(maxsize=4096)
def normalise_crs(text: str) -> str:
    """`EPSG:2154` for any spelling of an EPSG code: an OGC URL or URN, `epsg2154`, `2154`. Anything else comes back stripped."""
    stripped = text.strip()
    epsg = _EPSG.fullmatch(stripped)
    return f"EPSG:{epsg['code']}" if epsg else stripped


def fold_crs(text: str) -> str:
    """The CRS for comparing: normalised, then upper-case."""
    return normalise_crs(text).upper()
