"""Which spellings of zones, formats and CRS mean the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.vocabulary import CRS_NAMES, fold_crs, fold_format, fold_zone, normalise_crs

CODES = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"\s?[Dd]0?[0-9]{0,4}[ABab]?\s?", fullmatch=True),
    st.sampled_from(["glp", "Shapefile", "tif", "urn:ogc:def:crs:EPSG::2154", "epsg2154", "IGNF:LAMB93", "D0*", "EPSG:*"]),
)


@pytest.mark.parametrize(
    ("published", "folded"),
    [
        ("D0971", "D971"),
        ("D0038", "D038"),
        ("d038", "D038"),
        ("D38", "D038"),
        ("D1", "D001"),
        ("D2A", "D02A"),
        ("D02B", "D02B"),
        (" FXX ", "FXX"),
        ("R84", "R84"),
        ("GLP", "D971"),
        ("MTQ", "D972"),
        ("GUF", "D973"),
        ("REU", "D974"),
        ("SPM", "D975"),
        ("myt", "D976"),
        ("BLM", "D977"),
        ("MAF", "D978"),
        ("Données départementales", "DONNÉES DÉPARTEMENTALES"),
    ],
)
def test_zones_that_are_one_territory_fold_to_one_code(published: str, folded: str) -> None:
    assert fold_zone(published) == folded


@pytest.mark.parametrize("glob", ["D0*", "D97?", "D0[37]*", "*", "D0?"])
def test_a_zone_glob_keeps_its_wildcards(glob: str) -> None:
    assert fold_zone(glob) == fold_zone(glob.lower()) == glob


@pytest.mark.parametrize(
    "aliases",
    [
        ("SHP", "shp", "Shapefile", "ESRI Shapefile", "ESRI-SHAPEFILE"),
        ("TIF", "TIFF", "tiff"),
        ("FGB", "FlatGeoBuf"),
        ("PARQUET", "GeoParquet"),
        ("GPKG", "GeoPackage"),
        ("jp2", "JP2"),
    ],
)
def test_the_aliases_of_a_format_fold_to_one_code(aliases: tuple[str, ...]) -> None:
    assert {fold_format(alias) for alias in aliases} == {aliases[0].upper() if aliases[0] != "TIF" else "TIFF"}


def test_formats_that_are_deliveries_of_their_own_stay_apart() -> None:
    codes = ["JP2", "JP2-E080", "LAZ", "COPC", "ASC", "SHP", "GPKG", "SQL", "GEOJSON"]
    assert [fold_format(code.lower()) for code in codes] == codes


@pytest.mark.parametrize(
    "spelling",
    [
        "https://www.opengis.net/def/crs/EPSG/0/2154",
        "http://www.opengis.net/def/crs/EPSG/0/2154",
        "http://opengis.net/def/crs/epsg/9.9.1/2154",
        "http://www.opengis.net/gml/srs/epsg.xml#2154",
        "urn:ogc:def:crs:EPSG::2154",
        "urn:x-ogc:def:crs:EPSG:6.9:2154",
        "EPSG:2154",
        "epsg::2154",
        "epsg2154",
        " 2154 ",
    ],
)
def test_every_spelling_of_an_epsg_code_is_one_crs(spelling: str) -> None:
    assert normalise_crs(spelling) == "EPSG:2154"


@pytest.mark.parametrize(
    "text", ["IGNF:RGF93LAMB93", "http://www.opengis.net/def/crs/OGC/1.3/CRS84", "EPSG:*", "unknown", "", "12"]
)
def test_what_names_no_epsg_code_comes_back_as_it_is(text: str) -> None:
    assert normalise_crs(f" {text} ") == text


def test_crs_compare_without_case() -> None:
    assert fold_crs("ignf:lamb93") == fold_crs("IGNF:LAMB93")
    assert fold_crs("epsg:*") == "EPSG:*"


def test_the_short_names_of_crs_are_upper_case_and_name_normalised_codes() -> None:
    assert CRS_NAMES["LAMB93"] == "EPSG:2154"
    assert all(name == name.upper() and normalise_crs(code) == code for name, code in CRS_NAMES.items())
    assert "UTM20W84GUAD" not in CRS_NAMES, "two codes are in use for it"


@pytest.mark.parametrize("fold", [fold_zone, fold_format, fold_crs, normalise_crs])
@given(code=CODES)
def test_folding_twice_is_folding_once(fold: Callable[[str], str], code: str) -> None:
    assert fold(fold(code)) == fold(code)
