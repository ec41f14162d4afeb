"""Mirrors to be looked at: catalogues of all shapes, really synced, and the visit that the suite makes to them over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC

from lxml import etree

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.demo.samples import sample_catalogue
from mirror.geometry import rectangle
from mirror.model import Footprint, Term

from ..served import ServedMirror
from .visit import ATOM, Answer, Element, Visit

LAMBERT = Term("EPSG:2154", "RGF93 v1 / Lambert-93 -- France")
GUADELOUPE = Term("EPSG:5490", "RGAF09 / UTM zone 20N")
REUNION = Term("EPSG:2975", "RGR92 / UTM zone 40S")
GPKG, SHP = Term("GPKG", "GeoPackage"), Term("SHP", "Shapefile")
ISERE = rectangle((4.74, 44.69, 6.36, 45.89))
ISLANDS = Footprint((*rectangle((-61.81, 15.83, -61.0, 16.51)).rings, *rectangle((55.2, -21.4, 55.8, -20.87)).rings))
HARD = 'Forêts & <landes> "d’été" 🌲 ½'
"""A title that has to be escaped wherever it stands."""


def visit(served: ServedMirror) -> Visit:
    """A visit to the service of the upstream `gpf`, as whoever comes by its public address sees it."""
    base = served.site.settings.serve.public_url or served.url

    async def ask(url: str, method: str) -> Answer:
        assert url.startswith("http"), url
        path = url.removeprefix(base)
        # Whoever goes astray is told so by the checks; no other host is ever asked.
        answer = await served.ask(path, method) if path.startswith("/") else None
        if answer is None:
            return Answer(0, "", None)
        length = answer.headers.get("Content-Length")
        return Answer(answer.status, answer.headers.get("Content-Type", ""), int(length) if length else None, answer.body)

    return Visit(ask, f"{base}/gpf/inspire/service.xml", served.mirror.clock().astimezone(UTC))


def made(
    sub_id: str,
    names: Sequence[str] = ("gpkg",),
    *,
    formats: tuple[Term, ...] = (GPKG,),
    crs: tuple[Term, ...] = (LAMBERT,),
    polygon: Footprint | None = ISERE,
    title: str | None = None,
    edition: str | None = "2026-03-15",
) -> SampleSub:
    """An edition; `names` are those of its files, or the extensions of files that are called like it."""
    files = [name if "." in name else f"{sub_id}.{name}" for name in names]
    return SampleSub(
        sub_id,
        title=title or sub_id,
        abstract=None,
        updated="2026-04-01",
        edition_date=edition,
        zones=(Term("D038", "Isère"),),
        formats=formats,
        crs=crs,
        polygon=polygon,
        files=tuple(SampleFile(name, Pattern(300 + 10 * number, f"{sub_id} {name}")) for number, name in enumerate(files)),
    )


def shapes() -> Catalogue:
    """A resource for each shape that a data set can have."""
    resources = {
        "SINGLE": [made("SINGLE_1-0_GPKG_LAMB93_D038_2026-03-15")],
        "TILES": [made("TILES_1-0_GPKG_LAMB93_D038_2026-03-15", [f"dalle_{number}.gpkg" for number in range(5)])],
        "VOLUMES": [made("VOLUMES_1-0_SHP_LAMB93_D038_2026-03-15", ["md5", "7z.001", "7z.002"], formats=(SHP,))],
        "PACKED": [  # two formats in one CRS, both one archive of the same type
            made("PACKED_1-0_GPKG_LAMB93_D038_2026-03-15", ["zip"]),
            made("PACKED_1-0_SHP_LAMB93_D038_2026-03-15", ["zip"], formats=(SHP,)),
        ],
        "BOTH": [  # and both of several files
            made("BOTH_1-0_GPKG_LAMB93_D038_2026-03-15", ["zip", "md5"]),
            made("BOTH_1-0_SHP_LAMB93_D038_2026-03-15", ["zip", "md5"], formats=(SHP,)),
        ],
        "OVERSEAS": [
            made("OVERSEAS_1-0_GPKG_RGAF09UTM20_D971_2026-03-15", crs=(GUADELOUPE,), polygon=ISLANDS),
            made("OVERSEAS_1-0_GPKG_RGR92UTM40S_D974_2026-03-15", crs=(REUNION,), polygon=rectangle((55.2, -21.4, 55.8, -20.87))),
        ],
        "NOWHERE": [made("NOWHERE_1-0_GPKG_LAMB93_D038_2026-03-15", polygon=None)],
        "NOCRS": [made("NOCRS_1-0_A", crs=()), made("NOCRS_1-0_B", crs=(Term("IGNF:LAMB1", "Lambert I"),), formats=(SHP,))],
        "NOTHING": [made("PLAIN", formats=(), crs=(), polygon=None, edition=None, title=" ")],
        "TWOCRS": [made("TWOCRS_1-0", ["zip"], crs=(LAMBERT, REUNION), formats=(GPKG, SHP))],
        "EDITIONS": [
            made(f"EDITIONS_1-0_GPKG_LAMB93_{zone}_{day}", edition=day)
            for zone in ("D038", "D073")
            for day in ("2025-03-15", "2026-03-15")
        ],
        "SPACES": [made("SPACES été", ["un fichier à part.gpkg", "A&B 'c' #1 100%.gpkg"], title=HARD)],
        "ALIKE": [
            made(f"ALIKE_1-0_GPKG_LAMB93_{zone}_2026-03-15", ["a.gpkg", "b.gpkg"], title="One title") for zone in ("D038", "D073")
        ],
        "service": [made("service_1-0")],
        "opensearch": [made("opensearch_1-0")],
        "AGAIN-1": [made("AGAIN-1_1-0")],
        "AGAIN-2": [made("AGAIN-2_1-0")],
    }
    titles = {"SPACES": HARD, "AGAIN-1": "The same title", "AGAIN-2": "The same\x01 title", "NOTHING": None, "NOWHERE": "\x01"}
    identifiers = {"AGAIN-1": "One code", "AGAIN-2": "One code", "SINGLE": "TILES", "PACKED": "FR-000 & co", "TILES": "--"}
    return Catalogue(
        tuple(
            SampleResource(
                name,
                tuple(subs),
                title=titles.get(name, f"Title of {name}"),
                abstract={"SPACES": f"About {HARD} and \x01\x0b controls", "NOWHERE": "\x02"}.get(name),
                identifier=identifiers.get(name),
            )
            for name, subs in resources.items()
        )
    )


def withdrawn(catalogue: Catalogue) -> Catalogue:
    """Without one of two newest editions, one that is alone, and a whole resource."""
    gone = {
        "EDITIONS_1-0_GPKG_LAMB93_D038_2026-03-15",
        "EDITIONS_1-0_GPKG_LAMB93_D038_2025-03-15",
        "PACKED_1-0_SHP_LAMB93_D038_2026-03-15",
    }
    return replace(
        catalogue,
        resources=tuple(
            replace(one, subs=tuple(sub for sub in one.subs if sub.id not in gone))
            for one in catalogue.resources
            if one.id != "TILES"
        ),
    )


def sample() -> Catalogue:
    """The sample catalogue with fewer blocks of tiles: those are all alike."""
    whole = sample_catalogue()
    return replace(whole, resources=tuple(replace(one, subs=one.subs[:18]) for one in whole.resources))


async def feed(served: ServedMirror, path: str) -> Element:
    answer = await served.ask(path)
    assert answer.status == 200, path
    return etree.fromstring(answer.body)


def entries(root: Element) -> list[Element]:
    return root.findall(f"{ATOM}entry")
