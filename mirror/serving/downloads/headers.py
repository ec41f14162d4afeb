"""What an answer says of a file: its hashes, its name, its type, and how long it may be kept. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from mirror.store.offer import OfferedFile

UNKNOWN_TYPE = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(?:; ?[\w!#$&^.+-]+=[\w!#$&^.+-]+)*", re.ASCII)
_PLAIN_NAME = re.compile(r"[\w.+-]+", re.ASCII)
_NOT_QUOTED = re.compile(r'[^\x20-\x7e]|["\\%]')
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_WANTS_MD5 = re.compile(r"(?:^|,)\s*md5\s*=\s*(?:[1-9]|10)\s*(?:,|$)", re.ASCII)

KEPT = "no-cache, no-transform"
"""A file may be replaced under the same address: whoever keeps it asks whether it still is the same. And nobody packs it anew: the
hashes are of these very bytes.
"""

ALONE = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Whatever a file is, and whatever type its publisher says that it has: it can do nothing as a page of this site."""


def etag_of(file: OfferedFile) -> str:
    """The strong tag: the hash of the bytes, the same on every mirror that has them."""
    return f'"{file.sha256}"'


def modified_of(file: OfferedFile) -> datetime:
    """When these bytes came here, to the second, as HTTP counts."""
    found = datetime.fromisoformat(file.fetched_at)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def file_headers(file: OfferedFile, now: datetime) -> dict[str, str]:
    """Those that go with every answer about a file: 200, 206, 304 and 416."""
    headers = {"ETag": etag_of(file), "Accept-Ranges": "bytes", "Cache-Control": KEPT}
    if (modified := modified_of(file)) <= now:  # a server must not say that something changed in the future (RFC 9110, 8.8.2.1)
        headers["Last-Modified"] = format_datetime(modified, usegmt=True)
    return headers


def body_headers(file: OfferedFile, wanted_digest: str | None) -> dict[str, str]:
    """Those that go with bytes of a file, all or some. `wanted_digest` is the `Want-Repr-Digest` of the request.

    MD5 is no longer thought safe, and is given only where it is asked for by name (RFC 9530, 5): it is what upstream publishes.
    """
    digest = f"sha-256=:{_base64(file.sha256)}:"
    if wanted_digest and _WANTS_MD5.search(wanted_digest[:500]) and _MD5.fullmatch(file.md5):
        digest += f", md5=:{_base64(file.md5)}:"
    return {"Repr-Digest": digest, **plain_headers(file)}


def plain_headers(file: OfferedFile) -> dict[str, str]:
    """Those that say nothing of the bytes themselves."""
    return {
        "Content-Type": media_type(file.remote.media_type),
        "Content-Disposition": disposition(file.remote.name),
        "Content-Security-Policy": ALONE,
    }


def whole_headers(file: OfferedFile) -> dict[str, str]:
    """Those that go with all bytes of a file, and with nothing less (RFC 1864: of the body, whatever that is)."""
    return {"Content-MD5": _base64(file.md5)} if _MD5.fullmatch(file.md5) else {}


def media_type(text: str) -> str:
    """The media type that a feed states, if it is one."""
    return text if _MEDIA_TYPE.fullmatch(text) else UNKNOWN_TYPE


def disposition(name: str) -> str:
    """To be saved under its name (RFC 6266): as it is where every client reads that, else encoded, with a likeness for old ones."""
    if _PLAIN_NAME.fullmatch(name):
        return f'attachment; filename="{name}"'
    likeness = _NOT_QUOTED.sub("_", name)
    return f"attachment; filename=\"{likeness}\"; filename*=UTF-8''{quote(name, safe='')}"


def _base64(hex_digest: str) -> str:
    return b64encode(bytes.fromhex(hex_digest)).decode()
