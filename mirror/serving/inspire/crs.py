"""Coordinate reference systems as INSPIRE names them: by the URIs of OGC's register."""

from __future__ import annotations

import re
from typing import Final

from mirror.vocabulary import normalise_crs

UNKNOWN: Final = "http://www.opengis.net/def/nil/OGC/0/unknown"
"""OGC's word for what is not known: for what upstream does not state, or states in a way that no register knows."""

NONE: Final = "http://www.opengis.net/def/nil/OGC/0/inapplicable"
"""OGC's word for what there is none of: stands for every CRS that nothing is in, so that there is one answer for all of them."""

_OGC = "http://www.opengis.net/def/crs/OGC/1.3/"
_EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
_IN_OGC = re.compile(r"(?:OGC:|urn:ogc:def:crs:OGC:[^:\s]*:|https?://(?:www\.)?opengis\.net/def/crs/OGC/[^/\s]+/)(CRS[0-9]{2})")
_URI = re.compile(r"https?://[!-~]+", re.ASCII)


def crs_uri(code: str) -> str:
    """The URI of a CRS; UNKNOWN for a code that has none."""
    normalised = normalise_crs(code)
    if normalised.startswith("EPSG:"):
        return f"{_EPSG}{normalised.removeprefix('EPSG:')}"
    if found := _IN_OGC.fullmatch(normalised):
        return f"{_OGC}{found[1]}"
    return normalised if _URI.fullmatch(normalised) and normalised != NONE else UNKNOWN


def crs_word(uri: str) -> str:
    """A short word for the CRS of a URI, for names: `EPSG-2154`."""
    if uri == UNKNOWN:
        return "unknown"
    if uri.startswith(_EPSG):
        return f"EPSG-{uri.removeprefix(_EPSG)}"
    return uri.removeprefix(_OGC)
