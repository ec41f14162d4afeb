"""Is this answer the file that was listed, and from where on? Is this content? What is not is told with what to do next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from mirror.errors import RequestFailed
from mirror.model import RemoteFile
from mirror.transfer.receive import Hashes
from mirror.upstream.answer import can_be_sent, refusal

_LAST_MODIFIED_IS_STRONG = timedelta(minutes=1)  # after which a file is taken not to change again within that second
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<feed", b"<exceptionreport", b"<serviceexception")
_MARKUP_NAMES = re.compile(r"(?i)\.(html?|xml|gml|kml|qml|sld|svg|xsd|qgs)$")


class Again(Exception):
    """This attempt is over. The next one continues it or, if `from_zero`, begins again: the bytes that are here are not the file's.

    `mismatch` says that the file as a whole is not what was listed, which no number of attempts may mend, `crawling` that it comes
    too slowly to be progress. The reason may quote what came.
    """

    def __init__(self, reason: str, *, from_zero: bool = False, mismatch: bool = False, crawling: bool = False) -> None:
        super().__init__(reason)
        self.from_zero = from_zero
        self.mismatch = mismatch
        self.crawling = crawling


@dataclass(frozen=True, slots=True)
class Verdict:
    """The body begins at the first byte of the file if `begins`, else where ours end. `total` is the file's length, if known."""

    begins: bool
    total: int | None
    validator: str | None


def judge(response: aiohttp.ClientResponse, file: RemoteFile, size: int, validator: str | None) -> Verdict:
    """Whether an answer begins the file that was listed, or continues the `size` bytes that are here, under their `validator`.

    An answer that is none of the file says nothing against the bytes that are here: they are kept.

    Raises:
        Again: it is not the file, or not the right part of it.
        RequestFailed: the file is not to be had.
    """
    status = response.status
    if status == 416:
        raise Again("the server has nothing at the place where the transfer broke off (HTTP 416)", from_zero=True)
    if status in (401, 403, 404, 410):
        raise RequestFailed(refusal(status), status)
    if status not in (200, 206):
        raise Again(refusal(status))
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", ""):
        raise Again(f"the body is packed ({coding}), which was not asked for", mismatch=True)
    if response.content_type in ("text/html", "application/xhtml+xml") and not _MARKUP_NAMES.search(file.name):
        raise Again("an HTML page came instead of the file", mismatch=True)
    return _judge_part(response, file, size, validator) if status == 206 else _judge_whole(response, file)


def _judge_whole(response: aiohttp.ClientResponse, file: RemoteFile) -> Verdict:
    length = response.content_length
    if length is not None and file.size is not None and length != file.size:
        raise Again(f"{length} bytes are served where {file.size} are listed", mismatch=True)
    total = file.size if length is None else length
    if total is None and file.md5 is None and "Transfer-Encoding" not in response.headers:
        # A body that ends where the connection does, and nothing to check it against: it may be any part of the file.
        raise Again("neither the feed nor the server says how long the file is", mismatch=True)
    return Verdict(True, total, _validator(response))


def _judge_part(response: aiohttp.ClientResponse, file: RemoteFile, size: int, validator: str | None) -> Verdict:
    content_range, served = response.headers.get("Content-Range", "").strip(), _validator(response)
    found = _CONTENT_RANGE.fullmatch(content_range)
    if found is None or int(found[1]) != size:
        raise Again(f"another part came than was asked for (Content-Range: {content_range!r})", from_zero=True)
    total = None if found[3] == "*" else int(found[3])
    if total is not None and file.size is not None and total != file.size:
        raise Again(f"{total} bytes are served where {file.size} are listed", mismatch=True)
    if validator and served and served != validator:
        raise Again("the file was replaced upstream while it was fetched", from_zero=True)
    if total is not None and int(found[2]) != total - 1:
        raise Again(f"only a part of the rest came (Content-Range: {content_range!r})", from_zero=True)
    return Verdict(False, file.size if total is None else total, validator)


def judge_length(size: int, total: int | None) -> None:
    """Whether a body that has ended, or is under way, is within its length. Raises Again."""
    if total is not None and size > total:
        raise Again(f"more than the {total} bytes that were announced came", from_zero=True, mismatch=True)


def judge_hashes(file: RemoteFile, hashes: Hashes) -> None:
    """Length and MD5 must both agree with the feed. Raises Again."""
    if file.size is not None and hashes.size != file.size:
        raise Again(f"{hashes.size} bytes came where {file.size} are listed", from_zero=True, mismatch=True)
    if file.md5 is not None and hashes.md5 != file.md5:
        raise Again(f"MD5 is {hashes.md5}, {file.md5} is listed", from_zero=True, mismatch=True)


def judge_head(file: RemoteFile, head: bytes) -> None:
    """An error page is no archive, whatever its status says (the Spanish cadastre sends 200 with HTML for a missing file).

    Where there is an MD5, it says so better: some files do begin like that. Raises Again.
    """
    start = head[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if file.md5 is None and start.startswith(_MARKUP) and not _MARKUP_NAMES.search(file.name):
        raise Again("an HTML or XML page came instead of the file", mismatch=True)


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """What `If-Range` can be asked with (RFC 9110, 13.1.5): a strong ETag, else a Last-Modified that is strong by its age."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/") and can_be_sent(etag):
        return etag
    modified = response.headers.get("Last-Modified")
    try:
        age = parsedate_to_datetime(response.headers["Date"]) - parsedate_to_datetime(modified or "")
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return modified if modified and can_be_sent(modified) and age >= _LAST_MODIFIED_IS_STRONG else None
