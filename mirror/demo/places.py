"""The ground of the sample data sets: coordinate reference systems, and coarse outlines of a few French territories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirror.demo.layer import Crs, PlaneRing
from mirror.model import Footprint, Ring, Term

LAMBERT_93: Final = Crs(
    2154,
    "RGF93 v1 / Lambert-93 -- France",
    "LAMB93",
    'PROJCS["RGF93 v1 / Lambert-93",GEOGCS["RGF93 v1",DATUM["Reseau_Geodesique_Francais_1993_v1",'
    'SPHEROID["GRS 1980",6378137,298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Lambert_Conformal_Conic_2SP"],PARAMETER["latitude_of_origin",46.5],PARAMETER["central_meridian",3],'
    'PARAMETER["standard_parallel_1",49],PARAMETER["standard_parallel_2",44],PARAMETER["false_easting",700000],'
    'PARAMETER["false_northing",6600000],UNIT["metre",1],AUTHORITY["EPSG","2154"]]',
)

RGAF09_UTM_20: Final = Crs(
    5490,
    "RGAF09 / UTM zone 20N",
    "RGAF09UTM20",
    'PROJCS["RGAF09 / UTM zone 20N",GEOGCS["RGAF09",DATUM["Reseau_Geodesique_des_Antilles_Francaises_2009",'
    'SPHEROID["GRS 1980",6378137,298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",-63],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",0],'
    'UNIT["metre",1],AUTHORITY["EPSG","5490"]]',
)

WGS_84: Final = Crs(
    4326,
    "WGS 84",
    "WGS84G",
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]',
)

_ISERE: Final[Ring] = (
    (4.75, 45.35),
    (5.10, 45.81),
    (5.45, 45.88),
    (5.62, 45.61),
    (6.13, 45.44),
    (6.36, 45.10),
    (6.03, 44.84),
    (5.65, 44.75),
    (5.44, 45.07),
    (4.75, 45.35),
)
_SAVOIE: Final[Ring] = (
    (5.62, 45.61),
    (5.83, 45.94),
    (6.80, 45.83),
    (7.02, 45.50),
    (7.18, 45.41),
    (6.89, 45.14),
    (6.36, 45.10),
    (6.13, 45.44),
    (5.62, 45.61),
)
_GUADELOUPE: Final[tuple[Ring, ...]] = (  # Basse-Terre and Grande-Terre
    ((-61.81, 16.31), (-61.69, 16.36), (-61.55, 16.25), (-61.57, 16.03), (-61.71, 15.95), (-61.81, 16.31)),
    ((-61.55, 16.25), (-61.49, 16.51), (-61.19, 16.25), (-61.48, 16.20), (-61.55, 16.25)),
)
_MAINLAND: Final[tuple[Ring, ...]] = (  # the continent and Corsica
    (
        (-4.79, 48.38),
        (-1.94, 49.72),
        (2.55, 51.09),
        (8.23, 48.97),
        (7.03, 45.50),
        (7.52, 43.78),
        (3.17, 42.43),
        (-1.78, 43.36),
        (-1.18, 46.05),
        (-4.79, 48.38),
    ),
    ((8.57, 42.38), (9.35, 43.01), (9.56, 42.12), (9.22, 41.36), (8.57, 42.38)),
)

ISERE_IN_LAMBERT_93: Final[PlaneRing] = (
    (837000.0, 6473800.0),
    (863100.0, 6525500.0),
    (890000.0, 6534100.0),
    (904200.0, 6504600.0),
    (944600.0, 6487100.0),
    (964200.0, 6450100.0),
    (939400.0, 6420200.0),
    (909700.0, 6409200.0),
    (892000.0, 6444200.0),
    (837000.0, 6473800.0),
)
SAVOIE_IN_LAMBERT_93: Final[PlaneRing] = (
    (904200.0, 6504600.0),
    (919200.0, 6541700.0),
    (994900.0, 6532700.0),
    (1013800.0, 6496900.0),
    (1026800.0, 6487600.0),
    (1005600.0, 6456500.0),
    (964200.0, 6450100.0),
    (944600.0, 6487100.0),
    (904200.0, 6504600.0),
)
ISERE_IN_DEGREES: Final[PlaneRing] = _ISERE
SAVOIE_IN_DEGREES: Final[PlaneRing] = _SAVOIE


@dataclass(frozen=True, slots=True)
class Place:
    """A zone: how the feed codes it, the word for it in file names, the ground it covers, a point of its chief town in `crs`."""

    zone: Term
    word: str
    ground: Footprint | None
    crs: Crs
    town: tuple[float, float]


ISERE: Final = Place(Term("D038", "D038 Isère"), "D038", Footprint((_ISERE,)), LAMBERT_93, (913900.0, 6458000.0))
SAVOIE: Final = Place(Term("D073", "D073 Savoie"), "D073", Footprint((_SAVOIE,)), LAMBERT_93, (927800.0, 6500300.0))
# A wrong code, as real feeds have it [C]: the department is D971, and the file names say so.
GUADELOUPE: Final = Place(Term("D0971", "D971 Guadeloupe"), "D971", Footprint(_GUADELOUPE), RGAF09_UTM_20, (657000.0, 1796500.0))
MAINLAND: Final = Place(Term("FXX", "FXX France métropolitaine"), "FXX", Footprint(_MAINLAND), LAMBERT_93, (652400.0, 6862000.0))
FRANCE: Final = Place(Term("FRA", "FRA France entière"), "FRA", None, WGS_84, (2.35, 48.86))
