"""Which sub-resources are editions of one another: the fields decide, names only add the theme."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UnsafeName
from mirror.model import SubResource, Term
from mirror.names import check_name
from mirror.planning.series import SeriesKey, edition_order, series_key, told_by_name


def sub(
    name: str,
    resource: str = "BDTOPO",
    *,
    zones: Sequence[str] = (),
    formats: Sequence[str] = (),
    crs: Sequence[str] = (),
    resolutions: Sequence[str] = (),
    day: str | None = None,
    updated: str | None = None,
) -> SubResource:
    def terms(codes: Sequence[str]) -> tuple[Term, ...]:
        return tuple(Term(code, f"label of {code}") for code in codes)

    return SubResource(
        resource,
        name,
        "",
        updated=updated,
        edition_date=date.fromisoformat(day) if day else None,
        zones=terms(zones),
        formats=terms(formats),
        crs=terms(crs),
        resolutions=terms(resolutions),
    )


def topo(name: str, zone: str = "D038", form: str = "GPKG", crs: str = "EPSG:2154") -> SubResource:
    return sub(name, zones=[zone], formats=[form], crs=[crs])


@pytest.mark.parametrize(
    "other",
    [
        "BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025-06-15",
        "BDTOPO_3-3_TOUSTHEMES_GPKG_LAMB93_D038_2022-12-15",
        "BDTOPO_V3.5_TOUSTHEMES_GPKG_LAMB93_D038_20250915",
        "BDTOPO_TOUSTHEMES_GPKG_LAMB93_D038_ED2025-09-15",
        "BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_LATEST",
        "BDTOPO_LATEST_TOUSTHEMES_GPKG_LAMB93_D038",
        "BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025T3",
    ],
)
def test_version_date_and_latest_do_not_split_a_series(other: str) -> None:
    assert series_key(topo(other)) == series_key(topo("BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025-09-15"))


def test_spellings_of_zone_format_crs_and_resolution_do_not_split_a_series() -> None:
    one = sub("X_D971_2024", "X", zones=["D971"], formats=["SHP"], crs=["EPSG:5490"], resolutions=["0.20 m"])
    two = sub("X_D0971_2025", "X", zones=["D0971"], formats=["Shapefile"], crs=["epsg:5490"], resolutions=["20cm"])
    three = sub("X_GLP_2026", "X", zones=["GLP"], formats=["shp"], crs=["5490"], resolutions=["0,2m"])
    assert series_key(one) == series_key(two) == series_key(three)


def test_themes_resolutions_formats_crs_and_zones_split() -> None:
    """Every two of these are different series."""
    variants = [
        topo("BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025-09-15"),
        topo("BDTOPO_3-5_ADMINISTRATIF_GPKG_LAMB93_D038_2025-09-15"),
        topo("BDTOPO_3-5_TOUSTHEMES_SHP_LAMB93_D038_2025-09-15", form="SHP"),
        topo("BDTOPO_3-5_TOUSTHEMES_GPKG_WGS84G_D038_2025-09-15", crs="EPSG:4326"),
        topo("BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D073_2025-09-15", zone="D073"),
        sub("BDTOPO_5M_D038_2025", zones=["D038"], resolutions=["5m"]),
        sub("BDTOPO_1M_D038_2025", zones=["D038"], resolutions=["1m"]),
        sub("BDTOPO_D038_2025", zones=["D038"], resolutions=["1:25000"]),
        sub("BDTOPO_D038_2025", zones=["D038"], resolutions=["1:50000"]),
    ]
    for one, other in combinations(variants, 2):
        assert series_key(one) != series_key(other), (one.id, other.id)


def test_one_resource_is_no_edition_of_another() -> None:
    assert series_key(sub("X_2024", "X")) != series_key(sub("X_2024", "Y"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # [L] Names of the live service, each with the fields it has there or without them.
        ("BDORTHO_1-0_RVB-0M20_JP2-E080_LAMB93_D075_2021-01-01", "BDORTHO_2-0_RVB-0M20_JP2-E080_LAMB93_D075_2024-01-01"),
        ("ADMIN-EXPRESS-COG_3-1__SHP_WGS84G_FRA_2023-05-03", "ADMIN-EXPRESS-COG_4-0__SHP_WGS84G_FRA_2026-01-01"),
        ("OCS-GE_1-1__GPKG_LAMB93_D032_2016-01-01", "OCS-GE_2-0__GPKG_LAMB93_D032_2019-01-01"),
        ("RGEALTI_2-0_5M_ASC_LAMB93-IGN69_D038_2017-09-28", "RGEALTI_2-0_5M_ASC_LAMB93-IGN69_D038_2020-11-13"),
    ],
)
def test_without_fields_the_tokens_of_the_name_stand_in(old: str, new: str) -> None:
    resource = old.partition("_")[0]
    assert series_key(sub(old, resource)) == series_key(sub(new, resource))


def test_a_field_that_one_edition_lacks_does_not_split_the_series() -> None:
    full = topo("BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025-09-15")
    bare = sub("BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2025-12-15")
    assert series_key(full) == series_key(bare)


def test_real_names_of_different_products_are_different_series() -> None:
    names = [
        "BDORTHO_2-0_RVB-0M20_JP2-E080_LAMB93_D075_2024-01-01",
        "BDORTHO_1-0_IRC-0M15_JP2-E080_LAMB93_D075_2021-01-01",
        "BDORTHO_2-0_GRAPHE-MOSAIQUAGE_LAMB93_D075_2024-01-01",
        "BDORTHO_2-0_RVB-0M50_JP2-E080_UTM20W84GUAD_D971_2022-01-01",
        "BDORTHO_1-0_RVB-0M20_JP2-E080_LAMB93_D02A_2021-01-01",
    ]
    assert len({series_key(sub(name, "BDORTHO")) for name in names}) == len(names)


def test_the_slug_of_a_usual_series_reads_well() -> None:
    assert series_key(topo("BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D0971_2025-09-15", zone="D0971")).slug == (
        "BDTOPO_TOUSTHEMES_GPKG_EPSG-2154_D971"
    )


def test_the_last_edition_is_told_by_date_then_publication_then_version() -> None:
    """`3-10` is newer than `3-9`, and a sub-resource without an edition date counts by its publication."""
    ordered = [
        sub("X_1", "X", updated="2019-01-01"),
        sub("X_3-9", "X", day="2020-01-01", updated="2020-02-01"),
        sub("X_3-10", "X", day="2020-01-01", updated="2020-02-01"),
        sub("X_1-0", "X", day="2020-01-01", updated="2020-03-01"),
        sub("X_0-1", "X", day="2021-01-01", updated="2019-01-01"),
    ]
    assert [*map(edition_order, ordered)] == sorted(map(edition_order, ordered))


_parts = st.text(alphabet="AB_D038.:~-é \u3164/", max_size=5) | st.sampled_from(
    ["GPKG", "EPSG:2154", "D038", "0.2m", "TOUSTHEMES", "CON"]
)
_tuples = st.lists(_parts, max_size=3).map(tuple)


def _accepted(name: str) -> bool:
    try:
        check_name(name)
    except UnsafeName:
        return False
    return True


_keys = st.builds(SeriesKey, _parts.filter(_accepted), _tuples, _tuples, _tuples, _tuples, _tuples)


@given(_keys, _keys)
def test_slugs_are_folder_names_and_differ_where_keys_do(one: SeriesKey, other: SeriesKey) -> None:
    assert check_name(one.slug) == one.slug
    assert (one.slug == other.slug) == (one == other)


@given(st.permutations(["A", "B_C", "D", "GPKG"]), st.integers(0, 4), st.integers(0, 4))
def test_where_the_parts_of_a_key_end_shows_in_its_slug(words: list[str], one: int, other: int) -> None:
    """The same words, divided otherwise between resource, theme and zones, are another series."""

    def key(split: int) -> SeriesKey:
        return SeriesKey("_".join(words[:split]) or "X", tuple(words[split:]), (), (), (), ())

    assert (key(one).slug == key(other).slug) == (key(one) == key(other))


def test_a_very_long_key_still_has_a_slug_of_its_own() -> None:
    long = [SeriesKey("X", ("T" * 300 + end,), (), (), (), ()) for end in "AB"]
    assert long[0].slug != long[1].slug
    assert check_name(long[0].slug) == long[0].slug


def test_a_name_tells_what_it_can_of_what_is_no_longer_listed() -> None:
    """Another edition of it lends its fields; without one, tokens that plainly are zones, formats or CRS count."""
    name = "BDTOPO_3-4_TOUSTHEMES_GPKG_LAMB93_D038_2025-09-15"
    sibling = sub("BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-03-15", zones=["D0038"], formats=["GPKG"], resolutions=["1m"])
    told = told_by_name("BDTOPO", name, [sibling])
    assert (told.id, told.title, told.edition_date, told.updated) == (name, name, date(2025, 9, 15), None)
    assert series_key(told) == series_key(sibling)
    alone = told_by_name("BDTOPO", name, [])
    assert (alone.zones, alone.formats, alone.crs) == ((Term("D038"),), (Term("GPKG"),), (Term("EPSG:2154"),))
    assert told_by_name("BDTOPO", "2024-01-01_2025-01-01_2023-13-41", []).edition_date is None
