"""Headers of answers: lengths, ranges, validators, and how long to stay away."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import cast

import aiohttp
from aiohttp.helpers import HeadersMixin
from multidict import CIMultiDict, CIMultiDictProxy

from mirror.errors import RequestFailed
from mirror.model import RemoteFile
from mirror.transfer.judge import Again, Verdict, judge, judge_head, judge_length
from mirror.upstream.answer import can_be_sent, read_retry_after

from .target import INTEGERS, Target, text

_DATES = (
    "Wed, 01 Oct 2026 10:00:00 GMT",
    "Wed, 01 Oct 2025 10:00:00 GMT",
    "Thu, 01 Jan 1970 00:00:00 -0000",
    "2026-10-01T10:00:00Z",
)
_ETAGS = ('"e"', 'W/"e"', "e", '""', '"\xe9"', '"\udce9"', '"' + "x" * 300 + '"', '"a\tb"')
_TYPES = (
    "application/x-7z-compressed",
    "text/html",
    "text/html;charset=UTF-8",
    "application/xhtml+xml",
    "",
    ";",
    "a/b/c",
    "text/html\xa0",
)
_STATUSES = (200, 206, 206, 206, 204, 304, 401, 403, 404, 410, 416, 418, 500, 599)
_FILES = (
    RemoteFile("x.7z", "https://h/x.7z", 1000, "0" * 32),
    RemoteFile("x.7z", "https://h/x.7z", None, "0" * 32),
    RemoteFile("x.xml", "https://h/x.xml", 1000, None),
    RemoteFile("x.7z", "https://h/x.7z", None, None),
)


class Answer(HeadersMixin):
    """A status and headers, read as aiohttp reads them."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = CIMultiDictProxy(CIMultiDict(headers))
        self._headers = self.headers


def _number(rng: random.Random) -> str:
    return str(rng.choice((0, 1, 399, 400, 500, 999, 1000, 1001, *INTEGERS)))


def _wounded(rng: random.Random, value: str) -> str:
    """A value of a header, with something wrong in it now and then; what HTTP itself keeps out of headers stays out."""
    if rng.random() < 0.3:
        at = rng.randrange(len(value) + 1)
        value = value[:at] + rng.choice((text(rng, 6), "-", "/", "*", "+", ",", "9" * 40)) + value[at + rng.randrange(3) :]
    # aiohttp reads headers as UTF-8, and each byte that is none as a surrogate of its own.
    return value.translate(_NOT_IN_HEADERS).encode("utf-8", "replace").decode()


def _headers(rng: random.Random) -> dict[str, str]:
    made = {
        "Content-Range": f"bytes {_number(rng)}-{_number(rng)}/{rng.choice((_number(rng), '*'))}",
        "ETag": rng.choice(_ETAGS),
        "Last-Modified": rng.choice(_DATES),
        "Date": rng.choice(_DATES),
        "Content-Type": rng.choice(_TYPES),
        "Content-Encoding": rng.choice(("gzip", "identity", " Identity ", "br", "")),
        "Transfer-Encoding": "chunked",
    }
    found = {
        name: _wounded(rng, value) + rng.choice(("", "", "", "", "\udce9")) for name, value in made.items() if rng.random() < 0.6
    }
    if rng.random() < 0.6:
        found["Content-Length"] = str(rng.choice((0, 600, 999, 1000, 1001, 2**62)))  # aiohttp takes nothing but digits
    return found


_NOT_IN_HEADERS = str.maketrans("", "", "\r\n\x00")
Case = tuple[int, dict[str, str], RemoteFile, int, str | None]


def _answer(rng: random.Random) -> Case:
    size = rng.choice((0, 0, 400, 1000))
    return rng.choice(_STATUSES), _headers(rng), rng.choice(_FILES), size, rng.choice((None, '"e"'))


def _check_answer(case: Case) -> None:
    """The file or a part of it from where ours ends, with a validator that can be sent back; or one line that says why not."""
    status, headers, file, size, validator = case
    try:
        verdict = judge(cast(aiohttp.ClientResponse, Answer(status, headers)), file, size, validator)
    except (Again, RequestFailed) as error:
        assert str(error)
        assert "\n" not in str(error)
        return
    assert isinstance(verdict, Verdict)
    assert status in (200, 206)
    assert verdict.begins == (status == 200)
    assert verdict.total is None or file.size in (None, verdict.total)
    assert verdict.validator is None or can_be_sent(verdict.validator), verdict.validator
    if verdict.total is not None and verdict.total >= size:
        judge_length(size, verdict.total)


def _retry_after(rng: random.Random) -> str:
    value = rng.choice((*_DATES, _number(rng), "Wed, 01 Oct 2026 10:00:00 +9999", "1 Jan 1 00:00:00 +0000", "", "soon"))
    return _wounded(rng, value)


def _check_retry_after(value: str) -> None:
    """Seconds, never fewer than none; or None."""
    seconds = read_retry_after(value)
    assert seconds is None or seconds >= 0


def _head(rng: random.Random) -> tuple[bytes, RemoteFile]:
    starts = (b"<!DOCTYPE html>", b"\xef\xbb\xbf <html", b"7z\xbc\xaf\x27\x1c", b"<?xml ", b"PK\x03\x04", b"")
    return rng.choice(starts) + rng.randbytes(rng.randrange(90)), rng.choice(_FILES)


def _check_head(case: tuple[bytes, RemoteFile]) -> None:
    """The first bytes are looked at, or refused in our words."""
    try:
        judge_head(case[1], case[0])
    except Again as again:
        assert again.mismatch


TARGETS = (
    Target("answers", _answer, _check_answer, share=4),
    Target("retry-after", _retry_after, _check_retry_after, share=3),
    Target("first-bytes", _head, _check_head, share=1),
)
