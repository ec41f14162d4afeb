"""Which listings are refused, and why: the rules alone."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.planning.guards import Days, contradicts, counted, refuse_files, refuse_resources, refuse_sub_resources

TODAY = date(2026, 6, 1)
OVERRIDE = "run once with INSPIRE_MIRROR_LIMITS__MAX_SHRINK_RATIO=1"


def days(count: int, day: date | None = None) -> Days:
    return {f"R{number}": day for number in range(count)}


def on(**entries: int | None) -> Days:
    """Entries of days of May 2026; days beyond are of June."""
    return {name: None if day is None else date(2026, 4, 30) + timedelta(day) for name, day in entries.items()}


@pytest.mark.parametrize(
    ("before", "listed", "most", "refused"),
    [
        (0, 0, 0.4, False),
        (0, 5, 0.4, False),
        (5, 5, 0.4, False),
        (5, 3, 0.4, False),  # 40 %, and no more
        (5, 2, 0.4, True),
        (2, 1, 0.4, True),
        (100, 50, 0.5, False),
        (100, 49, 0.5, True),
        (100, 99, 0, True),
        (1, 0, 0.999, True),
        (3, 0, 1, False),
    ],
)
def test_a_catalogue_may_lose_a_part_of_its_resources(before: int, listed: int, most: float, refused: bool) -> None:
    reason = refuse_resources(days(before), days(listed), most, TODAY)
    assert (reason is not None) is refused
    if reason:
        assert str(before) in reason
        assert OVERRIDE in reason


@pytest.mark.parametrize(
    ("before", "listed", "refused"),
    [(1, 0, False), (2, 1, False), (2, 0, True), (3, 1, True), (5, 3, False), (6, 3, True), (9, 9, False)],
)
def test_a_part_of_a_catalogue_is_shrunken_when_two_are_gone_and_more_than_the_ratio(
    before: int, listed: int, refused: bool
) -> None:
    """Of sub-resources and of files alike. One that goes may well have been withdrawn."""
    assert (refuse_sub_resources(days(before), days(listed), 0.4, TODAY) is not None) is refused
    assert (refuse_files(days(before), days(listed), 0.4) is not None) is refused
    assert refuse_files(days(before), days(listed), 1) is None


def test_entries_that_take_the_place_of_others_are_no_loss() -> None:
    """Each new edition has a new name; the old ones may all go when the new ones come."""
    assert refuse_sub_resources(on(a1=1, b1=1, c1=1), on(a2=9, b2=9, c2=9), 0.1, TODAY) is None


def test_the_volumes_of_an_archive_count_as_one_file() -> None:
    split = [f"x.7z.{number:03d}" for number in range(1, 21)]
    assert refuse_files([*split, "x.md5"], ["x.7z", "x.md5"], 0.1) is None
    assert refuse_files(["a.7z.001", "b.7z.001", "c.7z.001"], ["a.7z.001", "a.7z.002", "a.7z.003"], 0.4) is not None


@pytest.mark.parametrize(
    ("before", "listed", "refused"),
    [
        (on(a=5, b=9), on(a=5, b=9), False),
        (on(a=5, b=9), on(a=5, b=7), True),
        (on(a=5, b=9), on(a=4, b=7), True),
        (on(a=5, b=9), on(a=5), False),  # the newest alone was withdrawn
        (on(a=5, b=9, c=9), on(a=5, b=9, c=2), False),  # one was put right, and others are as new as before
        (on(a=5, b=9), on(a=6, b=7), False),  # one has gone forward: this is no older state of the whole
        (on(a=5, b=9), on(a=40, b=7), False),  # also beyond today
        (on(a=5, b=9), on(a=5, b=7, c=40), True),  # an entry of the future makes nothing newer
        (on(a=5, b=9), on(a=5, b=None), False),
        (on(a=None, b=None), on(a=5, b=5), False),
        (on(), on(a=5), False),
    ],
)
def test_what_is_older_than_the_last_listing(before: Days, listed: Days, refused: bool) -> None:
    for judge in (refuse_resources, refuse_sub_resources):
        reason = judge(before, listed, 0.5, TODAY)
        assert (reason is not None) is refused
        if reason:
            assert "older than the listing seen before: its newest entry is of 2026-05-07, where 2026-05-09 was seen" in reason
            assert OVERRIDE in reason
        assert judge(before, listed, 1, TODAY) is None


LISTINGS = st.dictionaries(st.sampled_from("abcdefgh"), st.none() | st.dates(date(2026, 1, 1), TODAY), max_size=8)


@given(LISTINGS, LISTINGS, st.floats(0, 0.99))
def test_what_only_grows_and_goes_forward_is_never_refused(
    before: dict[str, date | None], more: dict[str, date | None], most: float
) -> None:
    """Whatever else is published: an honest upstream is not stopped."""
    listed = {**more, **{name: max(filter(None, (day, more.get(name))), default=None) for name, day in before.items()}}
    assert refuse_resources(before, listed, most, TODAY) is None
    assert refuse_sub_resources(before, listed, most, TODAY) is None


@given(LISTINGS, LISTINGS, st.floats(0, 1))
def test_a_refusal_is_one_line(before: dict[str, date | None], listed: dict[str, date | None], most: float) -> None:
    for reason in (refuse_resources(before, listed, most, TODAY), refuse_sub_resources(before, listed, most, TODAY)):
        assert reason is None or ("\n" not in reason and OVERRIDE in reason)


@pytest.mark.parametrize(
    ("before", "listed", "expected"),
    [
        (on(a=5, b=9), on(b=9), False),
        (on(a=5, b=9), on(b=12), False),  # it went forward
        (on(a=5, b=9), on(), True),
        (on(a=5, b=9), on(c=12), True),
        (on(a=5, b=9, c=9), on(c=9), False),  # one of that day is enough
        (on(a=5, b=9), on(b=7), True),  # an upstream that does not filter
        (on(a=5, b=9), on(b=None), False),
        (on(a=5), on(), False),
    ],
)
def test_changes_that_cannot_be_all(before: Days, listed: Days, expected: bool) -> None:
    assert contradicts(before, listed, date(2026, 5, 9)) is expected


def test_a_day_that_was_to_come_when_it_was_seen_does_not_count() -> None:
    assert counted("2026-05-09T10:00:00+01:00", date(2026, 5, 9)) == date(2026, 5, 9)
    assert counted("2026-05-10", date(2026, 5, 9)) is None
    assert counted("2026-05-09", None) is None
    assert counted(None, date(2026, 5, 9)) is None
