"""What retention lets go, decided purely: never what is wanted or newest, never too early or too much, nor more for more keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.model import Resource, SubResource, Term
from mirror.planning.changes import fingerprint
from mirror.planning.edition import All, Between, Edition, Latest
from mirror.planning.retention import (
    Decision,
    Rule,
    Stored,
    decide,
    excesses,
    governs,
    hindered,
    refused,
    resource_gap,
    upstream_gap,
)
from mirror.planning.selection import Wish, by_series, newest, select

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=100)
GRACE = timedelta(days=3)
WEEK = timedelta(days=7)


def sub(
    edition: str | None, zone: str = "D038", *, resource: str = "BDTOPO", form: str = "GPKG", version: str = "3-5"
) -> SubResource:
    return SubResource(
        resource,
        f"{resource}_{version}_TOUSTHEMES_{form}_LAMB93_{zone}_{edition}",
        "",
        updated="2026-10-02",
        edition_date=date.fromisoformat(edition) if edition else None,
        zones=(Term(zone),),
        formats=(Term(form),),
    )


def here(*subs: SubResource, **facts: Any) -> list[Stored]:
    """Stored, complete, and superseded long ago, if nothing else is said."""
    made = []
    for number, one in enumerate(subs):
        made.append(
            Stored(**{"id": number, "sub": one, "files": 2, "bytes": 1000, "complete": True, "superseded_at": LONG_AGO, **facts})
        )
    return made


def rule(keep: int | None = 1, name: str = "topo", **filters: Any) -> Rule:
    return Rule(Wish(**{"name": name, "upstream": "gpf", "resources": ("*",), "edition": Latest(), **filters}), keep)


def decided(rules: Rule | Sequence[Rule], stored: Sequence[Stored], listed: Sequence[SubResource] = (), **more: Any) -> Decision:
    by_resource: dict[str, list[SubResource]] = {}
    for one in listed:
        by_resource.setdefault(one.resource, []).append(one)
    rules = [rules] if isinstance(rules, Rule) else rules
    return decide(rules, stored, by_resource, **{"now": NOW, "grace": GRACE, **more})


def gone(decision: Decision) -> set[str]:
    return {verdict.stored.sub.id for verdict in decision.verdicts if verdict.delete}


def ids(*subs: SubResource) -> set[str]:
    return {one.id for one in subs}


OLD, MIDDLE, NEW = sub("2026-03-15"), sub("2026-06-15"), sub("2026-09-15")
THREE = here(OLD, MIDDLE, NEW)


# -- rules, one by one


@pytest.mark.parametrize(("keep", "going"), [(1, ids(OLD, MIDDLE)), (2, ids(OLD)), (3, set()), (None, set())])
def test_the_last_editions_stay(keep: int | None, going: set[str]) -> None:
    """Without `keep`, all of them."""
    assert gone(decided(rule(keep), THREE)) == going


def test_editions_are_counted_per_series() -> None:
    other = [sub("2026-06-15", zone="D073"), sub("2026-09-15", zone="D073"), sub("2026-09-15", form="SHP")]
    assert gone(decided(rule(2), here(OLD, MIDDLE, NEW, *other))) == {OLD.id}


def test_of_two_versions_of_an_edition_the_newer_stands_as_it_does_when_selecting() -> None:
    older = sub("2026-09-15", version="3-4")
    assert gone(decided(rule(3), here(OLD, MIDDLE, older, NEW))) == {older.id}


def test_what_nobody_governs_stays() -> None:
    """The subscription that once wanted it is gone from the config: nothing says that it may go."""
    assert decided(rule(zones=("D073",)), THREE).verdicts == ()
    assert decided([], THREE).verdicts == ()


def test_edition_and_bbox_say_what_is_fetched_and_not_what_is_whose() -> None:
    for filters in ({"edition": Between(date(2026, 9, 1), None)}, {"bbox": (0.0, 0.0, 1.0, 1.0)}):
        assert gone(decided(rule(1, **filters), THREE)) == ids(OLD, MIDDLE)


def test_the_largest_keep_of_those_that_govern_it_wins() -> None:
    rules = [rule(1, "one"), rule(2, "two", zones=("D038",)), rule(3, "three", zones=("D073",))]
    assert gone(decided(rules, THREE)) == {OLD.id}
    assert gone(decided([*rules, rule(None, "all", resources=("BD*",))], THREE)) == set()


@pytest.mark.parametrize("edition", [All(), Between(date(2026, 1, 1), date(2026, 4, 1))])
def test_what_is_wanted_stays_whatever_keep_says(edition: Edition) -> None:
    """By any subscription, also one that is not named."""
    rules = [rule(1), rule(1, "archive", edition=edition)]
    decision = decided(rules, THREE, [OLD, MIDDLE, NEW], names=["topo"])
    assert OLD.id not in gone(decision)
    assert "but wanted by archive" in next(verdict.reason for verdict in decision.verdicts if verdict.stored.sub == OLD)


def test_what_is_no_longer_listed_is_no_longer_wanted_but_counts_as_an_edition() -> None:
    assert gone(decided(rule(2, edition=All()), THREE, [OLD])) == set()
    assert gone(decided(rule(2, edition=All()), THREE, [NEW])) == {OLD.id}
    assert gone(decided(rule(1, edition=All()), THREE, [MIDDLE])) == {OLD.id}


def test_an_incomplete_newer_edition_pushes_nothing_out() -> None:
    """It stays itself as long as it would be one of the last, complete."""
    partial = here(sub("2026-12-15"), complete=False)[0]
    both = [*THREE, replace(partial, id=9)]
    assert gone(decided(rule(1), both)) == ids(OLD, MIDDLE)
    assert gone(decided(rule(1), [replace(both[0], complete=False), *both[1:]])) == ids(OLD, MIDDLE)
    assert gone(decided(rule(3), [replace(both[0], complete=False), *both[1:]])) == set()
    assert gone(decided(rule(1), [replace(one, complete=False) for one in both])) == set()


def test_names_restrict_what_may_go() -> None:
    rules = [rule(1, "isere", zones=("D038",)), rule(1, "savoie", zones=("D073",))]
    savoie = [sub("2026-06-15", zone="D073"), sub("2026-09-15", zone="D073")]
    stored = here(MIDDLE, NEW, *savoie)
    assert gone(decided(rules, stored)) == ids(MIDDLE, savoie[0])
    assert gone(decided(rules, stored, names=["savoie"])) == ids(savoie[0])


@pytest.mark.parametrize(
    ("superseded", "going"),
    [
        (NOW - GRACE, True),
        (NOW - GRACE + timedelta(seconds=1), False),
        (None, False),
        (NOW + timedelta(days=400), False),
    ],
    ids=["as long as grace", "a second less", "unknown", "of the future"],
)
def test_a_superseded_edition_stays_for_a_grace(superseded: datetime | None, going: bool) -> None:
    """Where it is not known since when, or where the clock has been set back, it counts from now on."""
    decision = decided(rule(2), here(OLD, MIDDLE, NEW, superseded_at=superseded))
    assert (gone(decision) == {OLD.id}) is going
    assert going or "(grace)" in decision.verdicts[0].reason


def test_without_grace_it_goes_at_once() -> None:
    assert gone(decided(rule(2), here(OLD, MIDDLE, NEW, superseded_at=None), grace=timedelta(0))) == {OLD.id}


def test_what_an_alias_leads_to_stays() -> None:
    assert gone(decided(rule(1), [replace(THREE[0], latest=True), *THREE[1:]])) == {MIDDLE.id}


def test_a_gap_in_the_listing_keeps_what_would_go_and_says_so() -> None:
    """Only for the resources concerned, and only where something would go."""
    other = [sub(day, resource="BDORTHO") for day in ("2026-06-15", "2026-09-15")]
    gap = {"BDORTHO": "not listed"}.get
    decision = decided(rule(2), here(OLD, MIDDLE, NEW, *other), gap=gap)
    assert (gone(decision), [verdict.refused for verdict in decision.verdicts]) == ({OLD.id}, [""])
    decision = decided(rule(1), here(OLD, MIDDLE, NEW, *other), gap=gap)
    assert gone(decision) == ids(OLD, MIDDLE)
    (kept,) = [verdict for verdict in decision.verdicts if verdict.refused]
    assert (kept.stored.sub, kept.refused) == (other[0], "not listed")


def test_an_obstacle_and_a_refusal_keep_what_would_go() -> None:
    decision = decided(rule(1), THREE)
    assert gone(hindered(decision, {0: "it is a link"})) == {MIDDLE.id}
    nothing = refused(decision, "too much")
    assert gone(nothing) == set()
    assert {verdict.refused for verdict in nothing.verdicts} == {"too much"}


# -- how much at once


def test_a_ratio_is_of_the_files_and_of_the_bytes_that_a_subscription_governs() -> None:
    """Exceeded by one of the two is exceeded; exactly that much is not."""
    stored = [Stored(0, OLD, 1, 900, True, superseded_at=LONG_AGO), Stored(1, NEW, 3, 100, True)]
    decision = decided(rule(1), stored)
    assert excesses(decision, 0.9) == []
    ((name, reason),) = excesses(decision, 0.8999)
    assert name == "topo"
    assert "1 of 4 files and 900 B of 1.0 kB" in reason
    assert "INSPIRE_MIRROR_LIMITS__MAX_DELETE_RATIO=0.9" in reason
    assert excesses(decided(rule(1), [replace(one, bytes=0) for one in stored]), 0.25) == []
    assert excesses(decided(rule(1), [replace(one, bytes=0) for one in stored]), 0.2) != []


def test_a_ratio_is_measured_against_every_subscription_that_governs_what_goes() -> None:
    """Little of the large one may be all of the small one."""
    many = [sub(day, zone=zone) for zone in ("D001", "D002", "D003", "D004") for day in ("2026-06-15", "2026-09-15")]
    small = rule(1, "small", zones=("D001",))
    decision = decided([rule(1, "large"), small], here(*many), names=["small"])
    assert [name for name, _ in excesses(decision, 0.4)] == ["small"]
    assert excesses(decision, 0.5) == []


def test_the_smallest_ratio_lets_nothing_go_and_the_largest_all() -> None:
    assert excesses(decided(rule(2), THREE), 0) != []
    assert excesses(decided(rule(3), THREE), 0) == []
    assert excesses(decided(rule(1), THREE), 1) == []


# -- listings


@pytest.mark.parametrize(
    ("listed_at", "words"),
    [
        (NOW, None),
        (NOW - WEEK + timedelta(seconds=1), None),
        (NOW - WEEK, "more than 7 days old"),
        (None, "missing"),
        (NOW + timedelta(hours=1), None),
        (NOW + timedelta(days=2), "in the future"),
    ],
)
def test_an_upstream_must_have_been_listed_within_seven_days(listed_at: datetime | None, words: str | None) -> None:
    gap = upstream_gap(listed_at, None, WEEK, NOW)
    assert (gap is None) if words is None else (gap is not None and words in gap and "inspire-mirror sync" in gap)


def test_an_upstream_that_could_not_be_listed_last_time_is_no_ground() -> None:
    assert "shrunk" in (upstream_gap(NOW, "it has shrunk", WEEK, NOW) or "")


def test_where_full_listings_are_made_too_rarely_the_message_says_so() -> None:
    assert "full_listing_every" in (upstream_gap(NOW - WEEK, None, timedelta(days=14), NOW) or "")
    assert "full_listing_every" not in (upstream_gap(NOW - WEEK, None, WEEK, NOW) or "")


TOPO = Resource("BDTOPO", "", zones=(Term("D038"), Term("D073")), formats=(Term("GPKG"),))


@pytest.mark.parametrize(
    ("known", "good"),
    [
        ({}, False),
        ({"": (fingerprint(TOPO), NOW)}, True),
        ({"": ("of another state", NOW)}, False),
        ({"": (fingerprint(TOPO), NOW - WEEK)}, False),
        ({"zone=D038": (fingerprint(TOPO), NOW)}, False),
        ({"zone=D038": (fingerprint(TOPO), NOW), "zone=D073": (fingerprint(TOPO), NOW)}, True),
        ({"zone=D038": (fingerprint(TOPO), NOW), "zone=D073": (fingerprint(TOPO), NOW - WEEK)}, False),
        ({"zone=D038": (fingerprint(TOPO), NOW), "zone=D073": ("of another state", NOW)}, False),
        ({"zone=D038": (fingerprint(TOPO), NOW - WEEK), "": (fingerprint(TOPO), NOW)}, True),
    ],
)
def test_every_listing_that_a_subscription_needs_must_be_there_true_and_young(
    known: dict[str, tuple[str, datetime]], good: bool
) -> None:
    wishes = [rule(zones=("D038",)).wish, rule(zones=("D073",)).wish]
    gap = resource_gap(wishes, TOPO, known, WEEK, NOW)
    assert (gap is None) is good
    assert good or "BDTOPO" in (gap or "")


# -- properties

_days = [f"2026-0{month}-01" for month in range(1, 7)]
_subs = st.lists(
    st.builds(
        sub,
        st.none() | st.sampled_from(_days),
        st.sampled_from(["D038", "D073"]),
        resource=st.sampled_from(["BDTOPO", "BDORTHO"]),
        version=st.sampled_from(["3-4", "3-5"]),
    ),
    max_size=14,
    unique_by=lambda one: (one.resource, one.id),
)
_ages = st.none() | st.integers(-10, 10).map(lambda days: NOW - timedelta(days=days))


_Mirror = tuple[list[Stored], list[SubResource]]


@st.composite
def _mirrors(draw: st.DrawFn) -> _Mirror:
    """What is stored, and what is listed: some of it, and more."""
    subs = draw(_subs)
    stored = [
        Stored(number, one, draw(st.integers(1, 3)), draw(st.integers(0, 9)), draw(st.booleans()), False, draw(_ages))
        for number, one in enumerate(subs)
        if draw(st.integers(0, 5))
    ]
    return stored, [one for one in subs if draw(st.integers(0, 2))]


_rules = st.builds(
    rule,
    st.none() | st.integers(1, 4),
    zones=st.sampled_from([(), ("D038",), ("D0*",)]),
    resources=st.sampled_from([("*",), ("BDTOPO",)]),
    sub_resources=st.sampled_from([(), ("*_3-5_*",), ("*2026-0[1-3]*",)]),
    edition=st.builds(Latest, st.integers(1, 3)) | st.just(All()) | st.just(Between(date(2026, 2, 1), date(2026, 4, 1))),
)
_several = st.lists(_rules, max_size=3).map(
    lambda rules: [replace(r, wish=replace(r.wish, name=f"s{number}")) for number, r in enumerate(rules)]
)


@settings(deadline=None, max_examples=200)
@given(_mirrors(), _several, st.integers(0, 2), st.integers(0, 3))
def test_a_larger_keep_never_lets_more_go(mirror: _Mirror, rules: list[Rule], which: int, by: int) -> None:
    stored, listed = mirror
    if which < len(rules):
        old = rules[which]
        larger = [*rules]
        larger[which] = replace(old, keep=old.keep + by if old.keep is not None and by else None)
        assert gone(decided(larger, stored, listed)) <= gone(decided(rules, stored, listed))


@settings(deadline=None, max_examples=200)
@given(_mirrors(), _several)
def test_the_newest_complete_edition_and_what_is_wanted_never_go(mirror: _Mirror, rules: list[Rule]) -> None:
    stored, listed = mirror
    going = gone(decided(rules, stored, listed))
    complete = [one.sub for one in stored if one.complete]
    for members in by_series(complete):
        assert newest(members, 1)[0].id not in going
    by_resource: dict[str, list[SubResource]] = {}
    for one in listed:
        by_resource.setdefault(one.resource, []).append(one)
    assert going.isdisjoint(wanted.sub.id for wanted in select([r.wish for r in rules], by_resource).wanted)


@settings(deadline=None, max_examples=200)
@given(_mirrors(), _several)
def test_after_a_prune_each_subscription_has_the_editions_that_it_keeps(mirror: _Mirror, rules: list[Rule]) -> None:
    """The last complete ones of each series are the same as before; and a second prune finds nothing more to do."""
    stored, listed = mirror
    decision = decided(rules, stored, listed)
    left = [one for one in stored if one.sub.id not in gone(decision)]
    for r in rules:
        for before in by_series(one.sub for one in stored if one.complete and governs(r.wish, one.sub)):
            kept = newest(before, 9999 if r.keep is None else r.keep)
            assert {one.id for one in kept} <= {one.sub.id for one in left}
    assert gone(decided(rules, left, listed)) == set()


@settings(deadline=None, max_examples=200)
@given(_mirrors(), _several)
def test_nothing_goes_before_its_grace_is_over_or_against_a_gap(mirror: _Mirror, rules: list[Rule]) -> None:
    stored, listed = mirror
    decision = decided(rules, stored, listed, gap={"BDORTHO": "not listed"}.get)
    for verdict in decision.verdicts:
        if verdict.delete:
            assert verdict.stored.superseded_at is not None
            assert NOW - verdict.stored.superseded_at >= GRACE
            assert verdict.stored.sub.resource != "BDORTHO"
    without = gone(decided(rules, stored, listed))
    assert without == gone(decision) | {verdict.stored.sub.id for verdict in decision.verdicts if verdict.refused}


@settings(deadline=None, max_examples=200)
@given(_mirrors(), _several, _rules)
def test_another_subscription_saves_and_never_costs_what_was_governed_before(
    mirror: _Mirror, rules: list[Rule], more: Rule
) -> None:
    stored, listed = mirror
    governed = {one.sub.id for one in stored if any(governs(r.wish, one.sub) for r in rules)}
    assert gone(decided([*rules, more], stored, listed)) & governed <= gone(decided(rules, stored, listed))


@settings(deadline=None, max_examples=200)
@given(_mirrors(), _several)
def test_names_only_ever_take_away_from_what_goes(mirror: _Mirror, rules: list[Rule]) -> None:
    stored, listed = mirror
    everything = gone(decided(rules, stored, listed))
    apart = [gone(decided(rules, stored, listed, names=[r.wish.name])) for r in rules]
    assert set().union(*apart) == everything


@settings(deadline=None, max_examples=200)
@given(_mirrors(), _several, st.sampled_from(_days), st.sampled_from(["D038", "D073"]))
def test_something_incomplete_that_comes_never_lets_more_go(mirror: _Mirror, rules: list[Rule], day: str, zone: str) -> None:
    stored, listed = mirror
    newcomer = Stored(99, sub(day, zone, version="9-9"), 1, 1, False)
    assert gone(decided(rules, [*stored, newcomer], listed)) == gone(decided(rules, stored, listed))


@settings(deadline=None, max_examples=200)
@given(_mirrors(), _several, st.integers(0, 20).map(lambda part: part / 20))
def test_a_ratio_is_exceeded_exactly_where_more_than_it_would_go(mirror: _Mirror, rules: list[Rule], ratio: float) -> None:
    stored, listed = mirror
    decision = decided(rules, stored, listed)
    too_much = {name for name, _ in excesses(decision, ratio)}
    for r in rules:
        mine = [one for one in stored if governs(r.wish, one.sub)]
        going = [one for one in mine if one.sub.id in gone(decision)]
        files, size = sum(one.files for one in mine), sum(one.bytes for one in mine)
        gone_files, gone_bytes = sum(one.files for one in going), sum(one.bytes for one in going)
        over = gone_files > ratio * files + 1e-6 or gone_bytes > ratio * size + 1e-6
        assert (r.wish.name in too_much) == over
