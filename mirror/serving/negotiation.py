"""What a request would like to get, by its headers: media types and codings, with how much each is liked (RFC 9110, 12.5)."""

from __future__ import annotations

import re

from aiohttp import web

_LONGEST = 1000  # characters of a header that are read
_QUALITY = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def listed(request: web.Request, name: str) -> str:
    """A header that is a list, empty where it is not there; several lines of it are one list (RFC 9110, 5.3)."""
    return ",".join(request.headers.getall(name, ()))


def weight_of(header: str, *names: str) -> float:
    """How much is thought of one of these names, in any case, 0 to 1; less than 0 where none of them is in the header."""
    for part in header[:_LONGEST].lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in names:
            quality = next((found for text in parameters if (found := _QUALITY.fullmatch(text))), None)
            return float(quality[1]) if quality else 1.0
    return -1.0
