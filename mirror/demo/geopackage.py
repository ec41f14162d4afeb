"""A small, valid GeoPackage (OGC 12-128r18) of one layer of polygons, made in memory: the same bytes for the same content."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from typing import Final

from mirror.demo.layer import Layer, PlaneRing, box

APPLICATION_ID: Final = 0x47504B47  # "GPKG"
USER_VERSION: Final = 10300  # GeoPackage 1.3

_SCHEMA = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
    CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
    srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
    CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
    CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
    CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
"""

_WGS_84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)

# The three rows that the specification requires of every GeoPackage.
_REQUIRED_CRS = (
    ("Undefined Cartesian SRS", -1, "NONE", -1, "undefined", "undefined Cartesian coordinate reference system"),
    ("Undefined geographic SRS", 0, "NONE", 0, "undefined", "undefined geographic coordinate reference system"),
    ("WGS 84 geodetic", 4326, "EPSG", 4326, _WGS_84, "longitude/latitude on the WGS 84 spheroid"),
)


def geopackage(layer: Layer, day: str) -> bytes:
    """The bytes of a GeoPackage that holds `layer`, and states that it was last changed on `day` (ISO 8601)."""
    crs = layer.crs
    columns = ", ".join(f'"{column}" {kind}' for column, kind in zip(layer.columns, ("TEXT", "TEXT", "REAL"), strict=True))
    rows = [(_geometry(feature.ring, crs.epsg), feature.key, feature.text, feature.number) for feature in layer.features]
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {USER_VERSION}")
        database.executescript(_SCHEMA)
        database.execute(
            f'CREATE TABLE "{layer.name}" (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geometrie POLYGON, {columns})'
        )
        database.executemany("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", _REQUIRED_CRS)
        database.execute(
            "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?, ?, 'EPSG', ?, ?, NULL)", (crs.name, crs.epsg, crs.epsg, crs.wkt)
        )
        database.execute(
            "INSERT INTO gpkg_contents VALUES (?, 'features', ?, ?, ?, ?, ?, ?, ?, ?)",
            (layer.name, layer.name, layer.description, f"{day}T00:00:00.000Z", *layer.box, crs.epsg),
        )
        database.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geometrie', 'POLYGON', ?, 0, 0)", (layer.name, crs.epsg))
        database.executemany(f'INSERT INTO "{layer.name}" VALUES (NULL, ?, ?, ?, ?)', rows)  # noqa: S608 - a name of our own
        database.commit()
        return database.serialize()


def _geometry(ring: PlaneRing, srs_id: int) -> bytes:
    """A polygon as a GeoPackage blob: a little-endian header with an envelope of x and y, then WKB."""
    west, south, east, north = box(ring)
    header = b"GP" + struct.pack("<BBi4d", 0, 0b0000_0011, srs_id, west, east, south, north)
    points = b"".join(struct.pack("<2d", *position) for position in ring)
    return header + struct.pack("<BIII", 1, 3, 1, len(ring)) + points
