"""Whether a request is to be answered with a file, or only with what the client has to know (RFC 9110, 13). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

Outcome = Literal["send", "not modified", "failed"]

CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
"""The headers that `outcome_of` looks at."""

_TAG = re.compile(r'\s*(W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_LONGEST = 4096  # characters of a list of tags; what is behind is not read
_CERTAIN = timedelta(minutes=1)  # a moment in which nothing changed any more is this long ago


def outcome_of(headers: Mapping[str, str], etag: str, modified: datetime, *, safe: bool = True) -> Outcome:
    """What the conditions of a request come to, for a file of this strong tag that came here at `modified`.

    In the order of RFC 9110, 13.2.2. `safe` is for GET and HEAD, the only methods there are.
    """
    if (wanted := headers.get("If-Match")) is not None:
        if not _names(wanted, etag, weak=False):
            return "failed"
    elif (since := _moment(headers.get("If-Unmodified-Since"))) is not None and modified > since:
        return "failed"
    if (known := headers.get("If-None-Match")) is not None:
        if _names(known, etag, weak=True):
            return "not modified" if safe else "failed"
    elif safe and (since := _moment(headers.get("If-Modified-Since"))) is not None and modified <= since:
        return "not modified"
    return "send"


def range_holds(if_range: str | None, etag: str, modified: datetime, now: datetime) -> bool:
    """Whether the parts that the client has are of this file, so that it may have the others.

    A date says so only where it is the very one of the file, and long enough ago: two files may have come in the same second.
    """
    if if_range is None:
        return True
    text = if_range.strip()
    if text.startswith(('"', "W/")):
        return text == etag
    return _moment(text) == modified and now - modified >= _CERTAIN


def _names(header: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of tags has this one; a weak tag names a file only where `weak` says that this is enough."""
    text = header[:_LONGEST]
    if text.strip() == "*":
        return True
    at = 0
    while at < len(text) and (match := _TAG.match(text, at)):
        if match[2] == etag and (weak or not match[1]):
            return True
        at = match.end()
    return False


def _moment(text: str | None) -> datetime | None:
    """A date as HTTP has them; None for what is none, as such a condition is to be ignored."""
    if not text or len(text) > 64:
        return None
    try:
        found = parsedate_to_datetime(text.strip())
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
