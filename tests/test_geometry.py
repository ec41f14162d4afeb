"""Footprints: reading, meeting a box, and the text of the index."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.geometry import (
    TERRITORIES,
    footprint_from_lonlat,
    footprint_from_text,
    footprint_from_xml,
    footprint_to_text,
    intersects,
    parse_positions,
    split_rings,
)
from mirror.model import BBox, Footprint, Position

ISERE = "4.74 44.69 6.36 44.69 6.36 45.88 4.74 45.88 4.74 44.69"
L_SHAPE = Footprint((((0.0, 0.0), (4.0, 0.0), (4.0, 1.0), (1.0, 1.0), (1.0, 4.0), (0.0, 4.0), (0.0, 0.0)),))

lons = st.floats(-180, 180)
lats = st.floats(-90, 90)


def swapped(text: str) -> str:
    words = text.split()
    return " ".join(word for pair in zip(words[1::2], words[::2], strict=True) for word in pair)


def test_positions_may_be_parted_by_commas_and_newlines() -> None:
    assert parse_positions("1,2 3, 4\n5;6") == [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]


@pytest.mark.parametrize("text", ["1 2 3", "1 x", "nan 1", "1 inf", "1_0 2"])
def test_what_is_no_list_of_finite_pairs_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|finite|float"):
        parse_positions(text)


def test_a_flattened_multipolygon_is_split_where_a_ring_closes() -> None:
    first, second = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)], [(5.0, 5.0), (6.0, 5.0), (5.0, 6.0), (5.0, 5.0)]
    assert split_rings(first + second) == (tuple(first), tuple(second))


def test_a_ring_that_never_closes_is_closed() -> None:
    assert split_rings([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]) == (((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),)


def test_a_first_position_written_twice_closes_nothing() -> None:
    ring = [(0.0, 0.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]
    assert split_rings(ring) == (tuple(ring),)


def test_a_line_there_and_back_encloses_nothing_and_does_not_swallow_the_next_ring() -> None:
    triangle = [(5.0, 5.0), (6.0, 5.0), (5.0, 6.0), (5.0, 5.0)]
    assert split_rings([(0.0, 0.0), (1.0, 0.0), (0.0, 0.0), *triangle]) == (tuple(triangle),)


@pytest.mark.parametrize(
    "text", ["", "  ", "null", "1 2 3", "181 0 1 0 1 1 181 0", "0 91 1 0 1 1 0 91", "nan nan nan nan nan nan", "1 2"]
)
def test_text_that_holds_no_footprint_is_none(text: str) -> None:
    assert footprint_from_lonlat(text) is None


@given(st.text(alphabet="0123456789.-+einfa_ ,;\n") | st.text())
def test_no_text_makes_reading_a_footprint_fail(text: str) -> None:
    for footprint in (footprint_from_lonlat(text), footprint_from_xml(text)):
        if footprint is not None:
            assert all(ring[0] == ring[-1] and len(ring) > 3 for ring in footprint.rings)
            west, south, east, north = footprint.bbox
            assert -180 <= west <= east <= 180
            assert -90 <= south <= north <= 90


@pytest.mark.parametrize("box", TERRITORIES)
def test_xml_in_either_order_is_the_same_ground_in_every_known_territory(box: BBox) -> None:
    west, south, east, north = box
    lonlat = f"{west} {south} {east} {south} {east} {north} {west} {north} {west} {south}"
    expected = footprint_from_lonlat(lonlat)
    assert expected is not None
    assert footprint_from_xml(lonlat) == footprint_from_xml(swapped(lonlat)) == expected


def test_no_territory_lies_where_another_one_would_with_its_axes_swapped() -> None:
    """Otherwise a position inside would not tell the order it was written in."""
    for west, south, east, north in TERRITORIES:
        assert not any(w <= north and e >= south and s <= east and n >= west for w, s, e, n in TERRITORIES)


def test_xml_beyond_90_degrees_is_a_longitude_wherever_it_lies() -> None:
    """A box in Japan, which is none of ours."""
    lonlat = "139 35 140 35 140 36 139 36 139 35"
    assert footprint_from_xml(lonlat) == footprint_from_xml(swapped(lonlat)) == footprint_from_lonlat(lonlat)


def test_xml_that_the_data_does_not_settle_is_latitude_first_as_georss_says() -> None:
    """A box in Ghana: nothing of it is ours in either order."""
    footprint = footprint_from_xml("7 -2 8 -2 8 -1 7 -1 7 -2")
    assert footprint is not None
    assert footprint.bbox == (-2.0, 7.0, -1.0, 8.0)


@pytest.mark.parametrize(
    ("bbox", "meets"),
    [
        ((0.2, 0.2, 0.4, 0.4), True),  # the box inside the ring
        ((-9.0, -9.0, 9.0, 9.0), True),  # the ring inside the box
        ((3.0, -1.0, 3.5, 5.0), True),  # edges cross, no corner in either
        ((2.0, 2.0, 3.0, 3.0), False),  # in the notch: inside the ring's box, outside the ring
        ((0.5, 0.5, 3.0, 3.0), True),
        ((1.0, 1.0, 3.0, 3.0), True),  # touches the inner corner
        ((4.0, 0.0, 5.0, 1.0), True),  # touches an edge
        ((4.1, 0.0, 5.0, 1.0), False),
        ((0.5, 0.5, 0.5, 0.5), True),  # a point
        ((170.0, -1.0, 0.5, 0.5), True),  # across the antimeridian
        ((170.0, -1.0, -170.0, 0.5), False),
    ],
)
def test_a_ring_meets_a_box_exactly(bbox: BBox, meets: bool) -> None:
    assert intersects(L_SHAPE, bbox) is meets


def test_any_ring_is_enough() -> None:
    footprint = footprint_from_lonlat(f"55 -21 56 -21 56 -20 55 -20 55 -21 {ISERE}")
    assert footprint is not None
    assert len(footprint.rings) == 2
    assert intersects(footprint, (5.5, 44.7, 6.4, 45.9))
    assert intersects(footprint, (55.5, -20.5, 55.6, -20.4))
    assert not intersects(footprint, (0.0, 0.0, 50.0, 40.0)), "the box around both rings is not the ground"


degrees = st.integers(-8, 8).map(float)
triangles = st.tuples(*[st.tuples(degrees, degrees)] * 3)


@given(triangles, st.tuples(degrees, degrees, degrees, degrees))
def test_meeting_agrees_with_the_separating_axis_theorem(corners: tuple[Position, ...], sides: BBox) -> None:
    """Whole numbers keep both exact. Two convex shapes are apart exactly when an edge's normal of one of them separates them."""
    west, east = sorted((sides[0], sides[2]))
    south, north = sorted((sides[1], sides[3]))
    box = [(west, south), (east, south), (east, north), (west, north)]
    normals = [(1.0, 0.0), (0.0, 1.0)]
    normals += [(a[1] - b[1], b[0] - a[0]) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    # A triangle flat as a line is also apart from what lies beyond its ends.
    normals += [(b[0] - a[0], b[1] - a[1]) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]

    def apart(axis: Position) -> bool:
        ours, theirs = ([axis[0] * x + axis[1] * y for x, y in shape] for shape in (corners, box))
        return max(ours) < min(theirs) or max(theirs) < min(ours)

    footprint = Footprint(((*corners, corners[0]),))
    assert intersects(footprint, (west, south, east, north)) is not any(map(apart, normals))


@given(st.lists(st.lists(st.tuples(lons, lats), min_size=3, max_size=6), min_size=1, max_size=4))
def test_the_text_of_a_footprint_gives_it_back_to_the_last_digit(outlines: list[list[Position]]) -> None:
    footprint = Footprint(tuple((*outline, outline[0]) for outline in outlines))
    assert footprint_from_text(footprint_to_text(footprint)) == footprint


def test_the_text_of_a_footprint_is_compact_geojson() -> None:
    footprint = footprint_from_lonlat(ISERE)
    assert footprint is not None
    text = footprint_to_text(footprint)
    assert " " not in text
    shape = json.loads(text)
    assert shape["type"] == "MultiPolygon"
    assert shape["coordinates"] == [[[[4.74, 44.69], [6.36, 44.69], [6.36, 45.88], [4.74, 45.88], [4.74, 44.69]]]]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{}", '{"type":"Point","coordinates":[1,2]}', '{"type":"MultiPolygon","coordinates":[]}',
     '{"type":"MultiPolygon","coordinates":[[[]]]}', '{"type":"MultiPolygon","coordinates":[[[[1]]]]}', "[" * 100_000],
)  # fmt: skip
def test_any_other_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        footprint_from_text(text)


def test_a_footprint_knows_its_box() -> None:
    footprint = footprint_from_lonlat(ISERE)
    assert footprint is not None
    assert all(math.isclose(a, b) for a, b in zip(footprint.bbox, (4.74, 44.69, 6.36, 45.88), strict=True))
