"""Which parts of a file a Range header asks for, and what conditions come to (RFC 9110, 13 and 14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.serving.downloads.conditions import outcome_of, range_holds
from mirror.serving.downloads.headers import disposition, media_type
from mirror.serving.downloads.ranges import MOST_ASKED, MOST_PARTS, Span, Unsatisfiable, spans_of

SIZE = 10_000
TAG = '"abc"'
CAME = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATE = format_datetime(CAME, usegmt=True)
BEFORE = format_datetime(CAME - timedelta(seconds=1), usegmt=True)
AFTER = format_datetime(CAME + timedelta(seconds=1), usegmt=True)


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-499", [(0, 500)]),
        ("BYTES=500-", [(500, SIZE)]),
        ("bytes=-500", [(SIZE - 500, SIZE)]),
        ("bytes=-99999", [(0, SIZE)]),
        ("bytes=9999-99999999", [(9999, SIZE)]),
        ("bytes= 0-1 , 5000-5001", [(0, 2), (5000, 5002)]),
        ("bytes=5000-5001,0-1", [(5000, 5002), (0, 2)]),
        ("bytes=0-1,,99999-", [(0, 2)]),
        ("bytes=0-99,50-149", [(0, 150)]),
        ("bytes=0-99,100-199", [(0, 200)]),
        ("bytes=0-99,150-199,-1", [(0, 200), (SIZE - 1, SIZE)]),
    ],
)
def test_ranges(header: str, spans: list[tuple[int, int]]) -> None:
    assert spans_of(header, SIZE) == tuple(Span(*span) for span in spans)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "items=0-1", "bytes=a-b", "bytes=5-2", "bytes=-", "bytes=1", "bytes=0-1,x", "bytes=٣-٤", "0-1"],
)
def test_what_is_no_range_gets_the_whole(header: str | None) -> None:
    assert spans_of(header, SIZE) == ()
    assert spans_of("bytes=0-", 0) == ()


def test_what_cannot_be_satisfied_or_is_too_much_is_refused() -> None:
    for header in (
        f"bytes={SIZE}-",
        "bytes=-0",
        "bytes=99999-,88888-",
        "bytes=" + ",".join(["0-"] * (MOST_ASKED + 1)),
        "bytes=" + ",".join(f"{500 * n}-{500 * n}" for n in range(MOST_PARTS + 1)),
    ):
        with pytest.raises(Unsatisfiable):
            spans_of(header, SIZE)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=20), st.integers(0, 250))
def test_no_byte_is_left_out_and_none_is_sent_twice(pairs: list[tuple[int, int]], size: int) -> None:
    asked = [(min(pair), max(pair)) for pair in pairs]
    try:
        spans = spans_of("bytes=" + ",".join(f"{first}-{last}" for first, last in asked), size)
    except Unsatisfiable:
        return
    sent = [position for span in spans for position in range(span.start, span.stop)]
    assert len(sent) == len(set(sent))
    assert all(0 <= position < size for position in sent)
    wanted = {position for first, last in asked for position in range(first, min(last + 1, size))}
    assert not spans or wanted <= set(sent)
    assert all(span.length > 0 for span in spans)


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, "send"),
        ({"If-None-Match": TAG}, "not modified"),
        ({"If-None-Match": f'"x", W/{TAG}'}, "not modified"),
        ({"If-None-Match": "*"}, "not modified"),
        ({"If-None-Match": '"x,y", "z"'}, "send"),
        ({"If-None-Match": "abc"}, "send"),
        ({"If-None-Match": '"x"', "If-Modified-Since": AFTER}, "send"),
        ({"If-Modified-Since": DATE}, "not modified"),
        ({"If-Modified-Since": AFTER}, "not modified"),
        ({"If-Modified-Since": BEFORE}, "send"),
        ({"If-Modified-Since": "yesterday"}, "send"),
        ({"If-Modified-Since": "Mon, 99 Foo 99999 99:99:99 GMT"}, "send"),
        ({"If-Match": TAG}, "send"),
        ({"If-Match": f'"x" , {TAG}'}, "send"),
        ({"If-Match": "*"}, "send"),
        ({"If-Match": f"W/{TAG}"}, "failed"),
        ({"If-Match": '"x"'}, "failed"),
        ({"If-Match": '"x"', "If-None-Match": TAG}, "failed"),
        ({"If-Match": TAG, "If-Unmodified-Since": BEFORE}, "send"),
        ({"If-Unmodified-Since": DATE}, "send"),
        ({"If-Unmodified-Since": BEFORE}, "failed"),
        ({"If-Unmodified-Since": "never"}, "send"),
        ({"If-Match": TAG, "If-None-Match": TAG}, "not modified"),
    ],
)
def test_conditions(headers: dict[str, str], outcome: str) -> None:
    assert outcome_of(headers, TAG, CAME) == outcome


def test_if_range_holds_for_the_very_same_file_only() -> None:
    now = CAME + timedelta(hours=1)
    assert range_holds(None, TAG, CAME, now)
    assert range_holds(TAG, TAG, CAME, now)
    assert range_holds(DATE, TAG, CAME, now)
    assert not range_holds(f"W/{TAG}", TAG, CAME, now)
    assert not range_holds('"x"', TAG, CAME, now)
    assert not range_holds(AFTER, TAG, CAME, now)
    assert not range_holds("garbage", TAG, CAME, now)
    assert not range_holds(DATE, TAG, CAME, CAME + timedelta(seconds=1))  # another may have come in that second


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("A_3-5.7z.001", 'attachment; filename="A_3-5.7z.001"'),
        ("é.zip", "attachment; filename=\"_.zip\"; filename*=UTF-8''%C3%A9.zip"),
        ('a"; x=y', "attachment; filename=\"a_; x=y\"; filename*=UTF-8''a%22%3B%20x%3Dy"),
        ("100%41.zip", "attachment; filename=\"100_41.zip\"; filename*=UTF-8''100%2541.zip"),
        ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
    ],
)
def test_a_name_can_say_nothing_but_a_name(name: str, header: str) -> None:
    assert disposition(name) == header


def test_what_is_no_media_type_is_not_repeated() -> None:
    assert media_type("application/x-7z-compressed") == "application/x-7z-compressed"
    assert media_type("application/geopackage+sqlite3; charset=x") == "application/geopackage+sqlite3; charset=x"
    for text in ("", "text", "text/html\r\nX: y", "a/b, c/d", "text/html; x", "é/x"):
        assert media_type(text) == "application/octet-stream"
