"""The catalogue of `inspire-mirror demo`: five small products with the shapes, names and oddities of the real ones.

All of it is made in memory in well under two seconds, is the same in every run, and opens with the tools that open the real thing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from functools import cache

from mirror.demo import archives
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.demo.geopackage import geopackage
from mirror.demo.layer import Crs, Feature, Layer
from mirror.demo.places import (
    FRANCE,
    GUADELOUPE,
    ISERE,
    ISERE_IN_DEGREES,
    ISERE_IN_LAMBERT_93,
    LAMBERT_93,
    MAINLAND,
    SAVOIE,
    SAVOIE_IN_DEGREES,
    SAVOIE_IN_LAMBERT_93,
    Place,
)
from mirror.demo.shapefile import shapefile
from mirror.geometry import rectangle
from mirror.model import Footprint, Term

_GPKG = Term("GPKG", "GPKG (GeoPackage)")
_SHP = Term("SHP", "Shapefile")
_TIFF = Term("TIFF", "TIFF")
_ASC = Term("ASC", "ASCII Grid")
_CONTENTS = {
    "GPKG": ("application/geopackage+sqlite3", "text/plain"),
    "SHP": ("application/octet-stream", "application/x-shapefile", "image/x-cpg", "image/x-prj", "text/plain"),
    "TIFF": ("image/tiff", "text/plain"),
}
_NATURES = ("Indifférenciée", "Église", "Château", "Bâtiment d’élevage", "Hôtel de département", "Tour, donjon")


@cache
def sample_catalogue() -> Catalogue:
    """The sample catalogue; made once."""
    return Catalogue((_bdtopo(), _admin_express(), _bdortho(), _elevation(), _boundaries()), updated="2026-10-06")


def _bdtopo() -> SampleResource:
    """Three departments in two formats and three quarterly editions, one archive each."""
    editions = (("2026-03-15", "2026-04-08"), ("2026-06-15", "2026-07-07T14:59:00+01:00"), ("2026-09-15", "2026-10-06"))
    subs = []
    for place in (ISERE, SAVOIE, GUADELOUPE):
        for number, (edition, updated) in enumerate(editions):
            buildings = _buildings(place, 4 + number)
            for form in (_GPKG, _SHP):
                name = f"BDT_3-5_{form.code}_{place.crs.word}_{place.word}"
                data = (
                    {f"{name}-ED{edition}.gpkg": geopackage(buildings, edition)} if form is _GPKG else shapefile(buildings, edition)
                )
                sub_id = f"BDTOPO_3-5_TOUSTHEMES_{form.code}_{place.crs.word}_{place.word}_{edition}"
                subs.append(
                    SampleSub(
                        sub_id,
                        updated=updated,
                        edition_date=edition,
                        zones=(place.zone,),
                        formats=(form,),
                        crs=_crs(place.crs),
                        polygon=place.ground,
                        files=(_archive(sub_id, "BDTOPO", name, edition, form, data),),
                    )
                )
    abstract = (
        "La BD TOPO® est une modélisation 2D et 3D du territoire et de ses infrastructures : bâtiments, réseaux, hydrographie…"
    )
    return SampleResource("BDTOPO", tuple(subs), title="BD TOPO®", abstract=abstract)


def _admin_express() -> SampleResource:
    """Yearly editions, and a name whose content is replaced. The editions of all France have no polygon, as live ones [L]."""
    plane = (("38", "Isère", 7431.0, ISERE_IN_LAMBERT_93), ("73", "Savoie", 6028.0, SAVOIE_IN_LAMBERT_93))
    degrees = (("38", "Isère", 7431.0, ISERE_IN_DEGREES), ("73", "Savoie", 6028.0, SAVOIE_IN_DEGREES))
    versions = (
        (MAINLAND, "3-2", "2025-01-01", "2025-02-24", "2025-01-01"),
        (MAINLAND, "4-0", "2026-01-01", "2026-02-19", "2026-01-01"),
        (FRANCE, "3-2", "2025-01-01", "2025-02-24", "2025-01-01"),
        (FRANCE, "4-0", "2026-01-01", "2026-02-19", "2026-01-01"),
        (FRANCE, "4-0", "2026-09-28", "2026-09-29", "LATEST"),
    )
    subs = []
    for place, version, edition, updated, word in versions:
        features = tuple(Feature(*values) for values in (plane if place is MAINLAND else degrees))
        layer = Layer("departement", "Départements", place.crs, ("code_insee", "nom", "superficie"), features)
        name = f"ADE-COG_{version}_GPKG_{place.crs.word}_{place.word}"
        sub_id = f"ADMIN-EXPRESS-COG_{version}__GPKG_{place.crs.word}_{place.word}_{word}"
        data = {f"{name}-ED{edition}.gpkg": geopackage(layer, edition)}
        subs.append(
            SampleSub(
                sub_id,
                updated=updated,
                edition_date=edition,
                zones=(place.zone,),
                formats=(_GPKG,),
                crs=_crs(place.crs),
                polygon=place.ground,
                files=(_archive(sub_id, "ADMIN-EXPRESS-COG", name, edition, _GPKG, data),),
            )
        )
    abstract = "Découpage administratif du territoire : communes, départements, régions, selon le Code officiel géographique."
    return SampleResource("ADMIN-EXPRESS-COG", tuple(subs), title="ADMIN EXPRESS COG®", abstract=abstract)


def _bdortho() -> SampleResource:
    """An archive in three volumes, listed out of order, and one in one piece; a `.md5` side file comes before each [C]."""
    subs = []
    for place, edition, updated, pieces in ((ISERE, "2024-01-01", "2025-03-11", 3), (SAVOIE, "2025-01-01", "2026-05-20", 1)):
        short_name = f"BDO_RVB_0M20_TIFF_{place.crs.word}_{place.word}"
        sub_id = f"BDORTHO_2-0_RVB-0M20_TIFF_{place.crs.word}_{place.word}_{edition}"
        images = {f"{place.word[1:]}-2024-{number:04d}-LA93-0M20.tif": _image(f"{sub_id}/{number}") for number in range(2)}
        content = _packed(sub_id, "BDORTHO", short_name, edition, images)
        parts = archives.volumes(f"{sub_id}.7z", content, pieces) if pieces > 1 else {f"{sub_id}.7z": content}
        # Volumes come in any order, one entry each, with rel="section" [C].
        volumes = [
            SampleFile(name, data, rel="section" if pieces > 1 else "alternate", contents=_CONTENTS["TIFF"])
            for name, data in sorted(parts.items(), reverse=True)
        ]
        subs.append(
            SampleSub(
                sub_id,
                updated=updated,
                edition_date=edition,
                zones=(place.zone,),
                formats=(_TIFF,),
                crs=_crs(place.crs),
                resolutions=(Term("0.2m", "20 cm"),),
                polygon=place.ground,
                files=(SampleFile(f"{sub_id}.md5", archives.checksums(parts)), *volumes),
            )
        )
    abstract = "Mosaïques d’orthophotographies numériques en couleurs."
    return SampleResource("BDORTHO", tuple(subs), title="BD ORTHO®", abstract=abstract)


def _elevation() -> SampleResource:
    """Sixty blocks of tiles, so that sub-resources fill more than one page; so do the tiles of the first block."""
    subs = []
    for number in range(60):
        block = f"{chr(ord('A') + number // 10)}{chr(ord('A') + number % 10)}"
        column, row = number % 10, number // 10
        names = [
            (f"LHD_FXX_{column * 100 + tile:04d}_{6200 + row * 100:04d}_MNT_O_0M50_LAMB93_IGN69.asc", tile)
            for tile in range(55 if number == 0 else 2)
        ]
        west, south = round(-4.0 + 1.1 * column, 1), round(43.0 + 1.2 * row, 1)
        subs.append(
            SampleSub(
                f"LiDARHD-MNT_1-0__ASC_LAMB93_{block}_2025-04-01",
                title=f"MNT LiDAR HD, bloc {block}",
                abstract=None,
                updated=f"2025-0{5 + number % 5}-15",
                edition_date="2025-04-01",
                zones=(Term(block, f"Bloc {block}"),),
                formats=(_ASC,),
                crs=_crs(LAMBERT_93),
                resolutions=(Term("0.5m", "50 cm"),),
                polygon=rectangle((west, south, round(west + 1.1, 1), round(south + 1.2, 1))),
                files=tuple(SampleFile(name, _grid(column * 100 + tile, 6200 + row * 100)) for name, tile in names),
            )
        )
    abstract = "Modèles numériques de terrain issus du LiDAR HD, en dalles de 1 km de côté."
    return SampleResource("LiDARHD-MNT", tuple(subs), title="MNT LiDAR HD", abstract=abstract)


def _boundaries() -> SampleResource:
    """Plain files without an archive, with the ids of the service's own example [L]."""
    features = (
        Feature("38", "Isère", 7431.0, ISERE_IN_LAMBERT_93),
        Feature("73", "Savoie", 6028.0, SAVOIE_IN_LAMBERT_93),
    )
    layer = Layer("departement", "Départements", LAMBERT_93, ("INSEE_DEP", "NOM", "SUPERFICIE"), features)
    ground = Footprint(tuple(ring for place in (ISERE, SAVOIE) if place.ground for ring in place.ground.rings))
    sub = SampleSub(
        "departements",
        title="Données départementales",
        abstract="Départements, au format Shapefile",
        updated="2024-09-16",
        edition_date="2022-09-30",
        zones=(Term("FXX", "France métropolitaine"),),
        formats=(_SHP,),
        crs=_crs(LAMBERT_93),
        resolutions=(Term("1m", "Précision à 1 mètre"),),
        polygon=ground,
        files=tuple(SampleFile(name, data) for name, data in shapefile(layer, "2022-09-30").items()),
    )
    return SampleResource(
        "limites_administratives",
        (sub,),
        title="Limites administratives",
        abstract="Limites administratives, au format Shapefile",
        identifier="Admin Express",
    )


def _archive(sub_id: str, product: str, short_name: str, edition: str, form: Term, data: Mapping[str, bytes]) -> SampleFile:
    return SampleFile(f"{sub_id}.7z", _packed(sub_id, product, short_name, edition, data), contents=_CONTENTS[form.code])


def _packed(sub_id: str, product: str, short_name: str, edition: str, data: Mapping[str, bytes]) -> bytes:
    notes = {"LISEZ-MOI.txt": f"{product}, édition du {edition}.\nDonnées d’exemple, sans valeur géographique.\n".encode()}
    return archives.seven_zip(archives.delivery(sub_id, product, edition, short_name, data, notes), edition)


def _crs(crs: Crs) -> tuple[Term, ...]:
    return (Term(f"EPSG:{crs.epsg}", crs.name),)


def _buildings(place: Place, count: int) -> Layer:
    """`count` square buildings of 20 m in a row, east of the chief town."""
    x, y = place.town
    features = []
    for number in range(count):
        west = x + 50 * number
        ring = ((west, y), (west + 20, y), (west + 20, y + 20), (west, y + 20), (west, y))
        features.append(Feature(f"BATIMENT{place.word}{number:012d}", _NATURES[number % len(_NATURES)], 6.5 + number, ring))
    return Layer("batiment", "Bâtiments", place.crs, ("cleabs", "nature", "hauteur"), tuple(features))


def _image(seed: str, side: int = 64) -> bytes:
    """A baseline TIFF of `side` by `side` pixels in three colours, uncompressed, of noise that no archive makes smaller."""
    pixels = hashlib.shake_128(seed.encode()).digest(3 * side * side)
    bits_at = 8 + len(pixels)
    tags = (
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 3, bits_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 4, 1, side),
        (279, 4, 1, len(pixels)),
    )
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, bits_at + 6) + pixels + struct.pack("<3H", 8, 8, 8) + directory


def _grid(column: int, row: int) -> bytes:
    """An ASCII grid of four by four heights in metres."""
    head = f"ncols 4\nnrows 4\nxllcorner {column * 1000}\nyllcorner {row * 1000}\ncellsize 250\nNODATA_value -9999\n"
    lines = [" ".join(f"{200 + (column * 7 + row * 3 + x * y) % 90}.5" for x in range(4)) for y in range(4)]
    return (head + "\n".join(lines) + "\n").encode()
