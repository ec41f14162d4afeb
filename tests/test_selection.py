"""What the subscriptions want of what the upstream lists: every filter, how they add up, and that wider never means less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.model import BBox, Footprint, RemoteFile, SubResource, Term
from mirror.planning.edition import All, Between, Edition, Latest
from mirror.planning.selection import Wish, select, wants_file, wants_resource


def sub(
    zone: str = "D038",
    edition: str | None = "2025-09-15",
    *,
    resource: str = "BDTOPO",
    theme: str = "TOUSTHEMES",
    form: str = "GPKG",
    crs: str = "EPSG:2154",
    ground: Footprint | None = None,
) -> SubResource:
    return SubResource(
        resource,
        f"{resource}_3-5_{theme}_{form}_LAMB93_{zone}_{edition}",
        "",
        updated="2025-10-02",
        edition_date=date.fromisoformat(edition) if edition else None,
        zones=(Term(zone),),
        formats=(Term(form),),
        crs=(Term(crs),),
        footprint=ground,
    )


def wish(**fields: Any) -> Wish:
    return Wish(**{"name": "w", "upstream": "gpf", "resources": ("*",), "edition": All(), **fields})


def chosen(wishes: Wish | Sequence[Wish], *subs: SubResource) -> list[SubResource]:
    """The sub-resources that are wanted of those listed."""
    listed: dict[str, list[SubResource]] = {}
    for one in subs:
        listed.setdefault(one.resource, []).append(one)
    return [wanted.sub for wanted in select([wishes] if isinstance(wishes, Wish) else wishes, listed).wanted]


# -- each filter


@pytest.mark.parametrize(
    ("globs", "expected"),
    [(["BDTOPO"], True), (["bdtopo"], True), (["ADMIN*", "BD*"], True), (["BDTOP"], False), (["BDTOPO_EXPRESS"], False)],
)
def test_resources_are_globs_of_any_case(globs: list[str], expected: bool) -> None:
    assert wants_resource(wish(resources=tuple(globs)), "BDTOPO") is expected
    assert bool(chosen(wish(resources=tuple(globs)), sub())) is expected


def test_sub_resources_are_globs_on_the_id() -> None:
    assert chosen(wish(sub_resources=("*tousthemes*",)), sub(), sub(theme="ADMINISTRATIF")) == [sub()]


@pytest.mark.parametrize(
    ("asked", "published"),
    [("D971", "D0971"), ("D0971", "D971"), ("GLP", "D971"), ("d38", "D038"), ("D02A", "D02A"), ("D0*", "D038"), ("*", "FXX")],
)
def test_zones_meet_under_any_of_their_codes(asked: str, published: str) -> None:
    assert chosen(wish(zones=(asked,)), sub(published), sub("R11" if asked != "*" else published)) == [sub(published)]


@pytest.mark.parametrize(
    ("asked", "published"),
    [
        ("SHP", "Shapefile"),
        ("shapefile", "SHP"),
        ("TIFF", "TIF"),
        ("FlatGeoBuf", "FGB"),
        ("GeoParquet", "PARQUET"),
        ("jp2*", "JP2-E080"),
    ],
)
def test_formats_meet_under_any_of_their_names(asked: str, published: str) -> None:
    assert chosen(wish(formats=(asked,)), sub(form=published), sub(form="GPKG")) == [sub(form=published)]


@pytest.mark.parametrize("asked", ["EPSG:2154", "2154", "epsg:2154", "urn:ogc:def:crs:EPSG::2154", "EPSG:21*"])
def test_crs_meet_in_any_spelling(asked: str) -> None:
    assert chosen(wish(crs=(asked,)), sub(), sub(crs="EPSG:4326")) == [sub()]


def test_what_lacks_a_field_passes_no_filter_on_it() -> None:
    bare = replace(sub(), zones=(), formats=(), crs=())
    for field in ({"zones": ("*",)}, {"formats": ("*",)}, {"crs": ("*",)}):
        assert chosen(wish(**field), bare) == []
    assert chosen(wish(), bare) == [bare]


def test_all_filters_have_to_agree() -> None:
    assert chosen(wish(zones=("D038",), formats=("SHP",)), sub(form="GPKG"), sub("D073", form="SHP")) == []


# -- editions

EDITIONS = [sub(edition=f"202{n}-0{n}-15") for n in range(1, 6)]


@pytest.mark.parametrize(
    ("edition", "years"),
    [
        (Latest(), [5]),
        (Latest(3), [3, 4, 5]),
        (Latest(99), [1, 2, 3, 4, 5]),
        (All(), [1, 2, 3, 4, 5]),
        (Between(date(2022, 2, 15), date(2024, 4, 15)), [2, 3, 4]),
        (Between(date(2022, 2, 16), None), [3, 4, 5]),
        (Between(None, date(2022, 2, 14)), [1]),
    ],
)
def test_editions(edition: Edition, years: list[int]) -> None:
    assert chosen(wish(edition=edition), *reversed(EDITIONS)) == [EDITIONS[year - 1] for year in years]


def test_editions_are_counted_in_each_series() -> None:
    old, new = sub("D073", "2019-01-01"), sub("D038", "2025-09-15")
    assert chosen(wish(edition=Latest()), old, new) == [new, old]


def test_two_sub_resources_of_one_day_are_one_edition() -> None:
    """A corrected delivery has the same edition date and a later publication."""
    first = sub()
    again = replace(first, id=first.id.replace("3-5", "3-6"), updated="2025-11-02")
    older = sub(edition="2025-06-15")
    assert chosen(wish(edition=Latest(2)), first, again, older) == [older, again]


def test_without_a_date_nothing_lies_in_a_span() -> None:
    assert chosen(wish(edition=Between(date(1900, 1, 1), None)), sub(edition=None)) == []
    assert chosen(wish(edition=Latest()), sub(edition=None)) == [sub(edition=None)]


# -- ground


def box(west: float, south: float, east: float, north: float) -> Footprint:
    return Footprint((((west, south), (east, south), (east, north), (west, north), (west, south)),))


def test_bbox_keeps_what_meets_it() -> None:
    inside, beside = sub("D038", ground=box(5, 44, 6, 45)), sub("D073", ground=box(8, 44, 9, 45))
    assert chosen(wish(bbox=(5.5, 44.5, 5.6, 44.6)), inside, beside) == [inside]


def test_bbox_looks_at_the_polygon_and_not_at_the_box_around_it() -> None:
    triangle = Footprint((((0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (0.0, 0.0)),))
    assert chosen(wish(bbox=(9.0, 9.0, 9.5, 9.5)), sub(ground=triangle)) == []
    assert chosen(wish(bbox=(1.0, 1.0, 1.5, 1.5)), sub(ground=triangle)) == [sub(ground=triangle)]


def test_each_part_of_a_footprint_counts() -> None:
    islands = Footprint((*box(0, 0, 1, 1).rings, *box(50, 0, 51, 1).rings))
    assert chosen(wish(bbox=(50.2, 0.2, 50.3, 0.3)), sub(ground=islands))
    assert not chosen(wish(bbox=(20.0, 0.2, 20.1, 0.3)), sub(ground=islands))


def test_what_has_no_footprint_is_left_out_of_a_bbox_and_the_user_is_told() -> None:
    selection = select([wish(bbox=(0.0, 0.0, 1.0, 1.0))], {"BDTOPO": [sub(), sub("D073")]})
    assert selection.wanted == ()
    assert "2 sub-resources have no footprint" in selection.remarks[0]


def test_an_old_edition_does_not_stand_in_for_a_newer_one_outside_the_bbox() -> None:
    old, new = sub(edition="2020-01-01", ground=box(0, 0, 1, 1)), sub(ground=box(5, 5, 6, 6))
    assert chosen(wish(edition=Latest(), bbox=(0.0, 0.0, 1.0, 1.0)), old, new) == []


def test_a_subscription_that_matches_nothing_is_remarked_upon() -> None:
    assert "w: nothing" in select([wish(zones=("D999",))], {"BDTOPO": [sub()]}).remarks[0]


# -- several subscriptions


def test_subscriptions_to_one_sub_resource_add_up() -> None:
    """Their file globs are united, and `whole` wins."""
    archives = wish(name="archives", files=("*.7z",), whole=False)
    sums = wish(name="sums", files=("*.md5",), whole=True)
    (both,) = select([archives, sums], {"BDTOPO": [sub()]}).wanted
    assert (both.wishes, both.files, both.whole) == (("archives", "sums"), ("*.7z", "*.md5"), True)


def test_a_subscription_to_all_files_takes_all() -> None:
    (both,) = select([wish(files=("*.7z",), whole=False), wish(name="all", whole=False)], {"BDTOPO": [sub()]}).wanted
    assert (both.files, both.whole) == ((), False)


@pytest.mark.parametrize(("name", "expected"), [("A.7z", True), ("a.7Z.001", True), ("a.md5", False)])
def test_files_are_globs_of_any_case(name: str, expected: bool) -> None:
    assert wants_file(RemoteFile(name, ""), ("*.7z", "*.7z.*")) is expected


# -- wider never means less

ZONES, FORMATS, CRS = ["D038", "D0971", "D971", "GLP", "R11"], ["GPKG", "SHP", "Shapefile"], ["EPSG:2154", "EPSG:4326"]
_terms = {"zones": ZONES, "formats": FORMATS, "crs": CRS}


def _some_terms(codes: list[str]) -> st.SearchStrategy[tuple[Term, ...]]:
    return st.lists(st.sampled_from(codes), max_size=2, unique=True).map(lambda found: tuple(map(Term, found)))


_boxes = st.builds(
    lambda x, y, width, height: (float(x), float(y), float(x + width), float(y + height)),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(0, 4),
    st.integers(0, 4),
)
_subs = st.lists(
    st.builds(
        lambda resource, name, day, updated, zones, formats, crs, ground: SubResource(
            resource,
            f"{resource}_{name}_{day}",
            "",
            "",
            "",
            updated,
            day,
            zones,
            formats,
            crs,
            (),
            box(*ground) if ground else None,
        ),
        st.sampled_from(["BDTOPO", "BDORTHO"]),
        st.sampled_from(["TOUSTHEMES_GPKG_D038", "ADMIN_SHP_D971", "3-5_LAMB93_R11", ""]),
        st.none() | st.dates(date(2024, 1, 1), date(2024, 1, 9)),
        st.none() | st.sampled_from(["2024-02-01", "2024-02-02"]),
        _some_terms(ZONES),
        _some_terms(FORMATS),
        _some_terms(CRS),
        st.none() | _boxes,
    ),
    max_size=12,
    unique_by=lambda one: (one.resource, one.id),
)
_codes = st.lists(st.sampled_from([*ZONES, *FORMATS, *CRS, "D*", "*"]), max_size=3).map(tuple)
_wishes = st.builds(
    wish,
    resources=st.lists(st.sampled_from(["BDTOPO", "BDORTHO", "*TOPO"]), min_size=1, max_size=2).map(tuple),
    zones=_codes,
    formats=_codes,
    crs=_codes,
    edition=st.builds(Latest, st.integers(1, 4)) | st.just(All()),
    bbox=st.none() | _boxes,
)


def _wider_bbox(bbox: BBox | None, by: int) -> BBox | None:
    return None if bbox is None or by == 5 else (bbox[0] - by, bbox[1] - by, bbox[2] + by, bbox[3] + by)


def _wider(wanted: Wish, field: str, more: str, by: int) -> Wish:
    """The same wish, wider in one filter. An empty filter is the widest there is, except of resources, which has to name some."""
    if field == "edition":
        return replace(
            wanted, edition=Latest(wanted.edition.count + by) if isinstance(wanted.edition, Latest) and by < 5 else All()
        )
    if field == "bbox":
        return replace(wanted, bbox=_wider_bbox(wanted.bbox, by))
    if field == "resources":
        return replace(wanted, resources=(*wanted.resources, "BD*"))
    old: tuple[str, ...] = getattr(wanted, field)
    changes: dict[str, Any] = {field: (*old, more) if old and by < 5 else ()}
    return replace(wanted, **changes)


@settings(max_examples=400)
@given(
    _subs,
    _wishes,
    st.sampled_from(["resources", "zones", "formats", "crs", "edition", "bbox"]),
    st.sampled_from([*ZONES, *FORMATS, *CRS, "*"]),
    st.integers(0, 5),
)
def test_a_wider_filter_never_drops_what_a_narrower_one_took(
    subs: list[SubResource], narrow: Wish, field: str, more: str, by: int
) -> None:
    wide = _wider(narrow, field, more, by)
    assert set(_ids(chosen(narrow, *subs))) <= set(_ids(chosen(wide, *subs)))


def test_an_edition_that_lacks_its_zone_crowds_out_none_that_has_it() -> None:
    """Both are of one series, as the name stands in; but only one of them is what a filter on the zone takes."""
    old, new = sub(edition="2025-06-15"), replace(sub(edition="2025-09-15"), zones=())
    assert chosen(wish(zones=("D038",), edition=Latest()), old, new) == [old]
    assert chosen(wish(edition=Latest()), old, new) == [old, new]


@given(
    _subs,
    st.lists(st.sampled_from(["*TOUSTHEMES*", "*D038*", "*_3-5_*", "x"]), min_size=1, max_size=2),
    st.sampled_from(["*", "*ADMIN*"]),
)
def test_more_sub_resource_globs_never_drop_an_edition(subs: list[SubResource], globs: list[str], more: str) -> None:
    """With `edition = "all"`; with the last editions, a glob may well let in a newer one."""
    narrow, wide = wish(sub_resources=tuple(globs)), wish(sub_resources=(*globs, more))
    assert set(_ids(chosen(narrow, *subs))) <= set(_ids(chosen(wide, *subs)))


@given(st.text(max_size=8), st.lists(st.text(alphabet="a*?[]!.7z", max_size=4), min_size=1, max_size=3), st.text(max_size=4))
def test_more_file_globs_never_drop_a_file(name: str, globs: list[str], more: str) -> None:
    file = RemoteFile(name, "")
    assert not wants_file(file, globs) or wants_file(file, [*globs, more])
    assert wants_file(file, ())


@given(_subs, _wishes, _wishes)
def test_another_subscription_never_drops_anything(subs: list[SubResource], one: Wish, other: Wish) -> None:
    both = set(_ids(chosen([one, other], *subs)))
    assert both == set(_ids(chosen(one, *subs))) | set(_ids(chosen(other, *subs)))


def _ids(subs: Sequence[SubResource]) -> list[tuple[str, str]]:
    return [(one.resource, one.id) for one in subs]
