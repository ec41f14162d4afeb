"""What has to be listed again, and how narrowly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from mirror.model import RemoteFile, Resource, SubResource, Term
from mirror.planning.changes import (
    EVERYTHING,
    Scope,
    files_digest,
    fingerprint,
    next_high_water,
    published_day,
    scopes_for,
    unsettled,
)
from mirror.planning.edition import All, Between
from mirror.planning.selection import Wish

RESOURCE = Resource("BDTOPO", "http://a/BDTOPO", zones=(Term("D038"), Term("D0971")), formats=(Term("GPKG"), Term("Shapefile")))


def wish(resources: tuple[str, ...] = ("*",), **fields: object) -> Wish:
    made = Wish("w", "gpf", resources, edition=All())
    return replace(made, **fields)  # type: ignore[arg-type]


def keys(*wishes: Wish, resource: Resource = RESOURCE) -> list[str]:
    return [scope.key for scope in scopes_for(wishes, resource)]


# -- scopes


def test_a_resource_that_nobody_names_is_not_listed() -> None:
    assert keys(wish(("BDORTHO",), zones=("D038",))) == []


def test_filters_are_sent_as_upstream_spells_them() -> None:
    """D971 is asked for as D0971 where that is how the resource announces it, SHP as Shapefile."""
    assert keys(wish(zones=("D971",), formats=("SHP",))) == ["zone=D0971&format=Shapefile"]


def test_each_pair_of_zone_and_format_is_a_request() -> None:
    assert keys(wish(zones=("D038", "D971"), formats=("GPKG",))) == ["zone=D038&format=GPKG", "zone=D0971&format=GPKG"]


def test_globs_become_the_codes_that_are_announced() -> None:
    assert keys(wish(zones=("D0*",))) == ["zone=D038"]
    assert keys(wish(zones=("R*",))) == []


def test_a_code_that_is_not_announced_is_asked_for_all_the_same() -> None:
    """Announcements have been wrong, and an empty answer costs one request."""
    assert keys(wish(zones=("D073",))) == ["zone=D073"]


def test_globs_cannot_narrow_where_nothing_is_announced() -> None:
    assert keys(wish(zones=("D0*",)), resource=Resource("BDTOPO", "")) == [""]


def test_a_span_of_editions_is_asked_for_with_a_day_to_spare() -> None:
    assert keys(wish(edition=Between(date(2024, 1, 1), date(2024, 12, 31)))) == ["from=2023-12-31&to=2025-01-01"]
    assert keys(wish(edition=Between(None, date(2024, 12, 31)))) == ["to=2025-01-01"]


def test_one_subscription_to_everything_makes_other_requests_needless() -> None:
    assert scopes_for([wish(zones=("D038",)), wish()], RESOURCE) == (EVERYTHING,)


def test_too_many_scopes_are_worse_than_the_whole() -> None:
    zones = tuple(f"D{n:03d}" for n in range(1, 96))
    assert scopes_for([wish(zones=zones)], RESOURCE) == (EVERYTHING,)


SUB = SubResource("BDTOPO", "S", "", edition_date=date(2024, 6, 1), zones=(Term("D038"),), formats=(Term("GPKG"),))


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        (EVERYTHING, True),
        (Scope("D038"), True),
        (Scope("D073"), False),
        (Scope("D038", "SHP"), False),
        (Scope(start=date(2024, 5, 31), end=date(2024, 6, 2)), True),
        (Scope(start=date(2024, 6, 2)), False),
        (Scope(start=date(2024, 6, 1)), False),
        (Scope(end=date(2024, 6, 1)), False),
    ],
)
def test_a_scope_only_vouches_for_what_it_surely_shows(scope: Scope, holds: bool) -> None:
    """Nothing is held to be withdrawn because of a day that upstream may count in or out."""
    assert scope.holds(SUB) is holds


def test_what_has_no_date_is_in_no_span() -> None:
    assert not Scope(start=date(1900, 1, 1)).holds(replace(SUB, edition_date=None))


# -- fingerprints


def test_a_fingerprint_tells_every_change_but_those_of_addresses_and_labels() -> None:
    assert fingerprint(replace(SUB, url="http://elsewhere")) == fingerprint(SUB)
    assert fingerprint(replace(SUB, zones=(Term("D038", "Isère"),))) == fingerprint(SUB)
    changed = [
        replace(SUB, title="T"),
        replace(SUB, updated="2024-07-01"),
        replace(SUB, edition_date=None),
        replace(SUB, zones=()),
        replace(SUB, zones=(Term("D073"),)),
    ]
    assert len({fingerprint(sub) for sub in [SUB, *changed]}) == 6


def test_a_listing_of_files_is_the_same_in_any_order() -> None:
    one, two = RemoteFile("a", "u", 1, "0" * 32), RemoteFile("b", "u", 2, "1" * 32)
    assert files_digest([one, two]) == files_digest([two, one])
    assert files_digest([one]) != files_digest([replace(one, size=2)]) != files_digest([replace(one, md5="1" * 32)])


def test_without_an_md5_a_new_publication_is_another_listing() -> None:
    """A file that is known by its name alone may have been replaced."""
    bare, known = RemoteFile("a", "u", 1), RemoteFile("a", "u", 1, "0" * 32)
    assert files_digest([bare], "2024-01-01") != files_digest([bare], "2024-01-02")
    assert files_digest([known], "2024-01-01") == files_digest([known], "2024-01-02")


# -- time


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-09-16", date(2024, 9, 16)),
        ("2026-07-07T14:59:00+01:00", date(2026, 7, 7)),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_the_day_of_a_publication(text: str | None, day: date | None) -> None:
    assert published_day(text) == day


NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("updated", "age", "expected"),
    [
        ("2026-03-09", timedelta(hours=1), False),  # listed after that day was over
        ("2026-03-10", timedelta(hours=1), False),  # the day is not over yet
        ("2026-03-09", timedelta(hours=12), True),  # listed on that day, which is over now
        ("2026-03-09", timedelta(days=9), True),
        (None, timedelta(days=9), False),
        ("2031-01-01", timedelta(hours=1), False),  # of the future: a listing holds for the day it was made on
        ("2031-01-01", timedelta(days=2), True),
    ],
)
def test_a_listing_made_on_the_day_of_publication_is_read_once_more(updated: str | None, age: timedelta, expected: bool) -> None:
    assert unsettled(updated, NOON - age, NOON) is expected


def seen(*days: str, previous: date | None = None, known: tuple[str, ...] = (), full: bool = False) -> date | None:
    """The high water after resources of these days were listed, of which some were known as they are."""
    listed = [Resource(day, "", updated=day) for day in days]
    return next_high_water(listed, {day: Resource(day, "", updated=day) for day in known}, previous, NOON, full=full)


def test_the_high_water_mark_rises_to_the_last_day_seen() -> None:
    assert seen() is None
    assert seen("2026-01-01", "2026-02-01") == date(2026, 2, 1)
    assert seen("2026-01-01", previous=date(2026, 2, 1)) == date(2026, 2, 1)
    assert seen("no day") is None


def test_a_day_to_come_does_not_raise_it_neither_now_nor_when_it_has_come() -> None:
    """It would hide what is published until then, and when its clock is set right the publisher would seem to go back."""
    assert seen("2026-01-01", "2099-01-01") == date(2026, 1, 1)
    assert seen("2026-01-01", "2026-03-09", previous=date(2026, 1, 1), known=("2026-03-09",)) == date(2026, 1, 1)
    assert seen("2026-01-01", "2026-03-09", previous=date(2026, 1, 1)) == date(2026, 3, 9)


def test_a_full_listing_says_anew_what_the_last_day_is() -> None:
    """It may be an earlier one: the newest entry was withdrawn."""
    known = ("2026-01-01", "2026-02-01")
    assert seen("2026-01-01", previous=date(2026, 2, 1), known=known, full=True) == date(2026, 1, 1)
    assert seen(*known, previous=date(2026, 2, 1), known=known, full=True) == date(2026, 2, 1)
