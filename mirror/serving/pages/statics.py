"""What pages need besides themselves: style, scripts, the outline of land. In memory, at addresses that change with the content."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from aiohttp import web

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Static:
    """A file: as it is, and as gzip packs it, if that is less; `mark` stands for its content."""

    body: bytes
    packed: bytes
    content_type: str
    mark: str


@lru_cache
def statics() -> Mapping[str, Static]:
    """All files by name."""
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            body = path.read_bytes()
            mark = hashlib.sha256(body).hexdigest()[:12]
            packed = gzip.compress(body, 9, mtime=0)
            found[path.name] = Static(body, packed if len(packed) < len(body) else b"", _TYPES[path.suffix], mark)
    return MappingProxyType(found)


def address_of(name: str) -> str:
    """The path of a file within the site; it never has other content."""
    return f"/-/static/{name}?v={statics()[name].mark}"


async def get_static(request: web.Request) -> web.StreamResponse:
    """A file. Whoever names the content it has now may keep it for good. Raises HTTPNotFound."""
    static = statics().get(request.match_info["name"])
    if static is None:
        raise web.HTTPNotFound
    kept = _FOR_EVER if request.query.get("v") == static.mark else "no-cache"
    etag = f'"{static.mark}"'
    headers = {"ETag": etag, "Cache-Control": kept, "Vary": "Accept-Encoding"}
    if etag in [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]:
        return web.Response(status=304, headers=headers)
    if static.packed and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=static.packed, headers={"Content-Type": static.content_type, **headers})
    return web.Response(body=static.body, headers={"Content-Type": static.content_type, **headers})
