"""Words of a question that are file names, or extensions of them, find files by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from mirror.model import RemoteFile, Resource, SubResource, Term
from mirror.planning.changes import EVERYTHING
from mirror.store.catalogue import Catalogue
from mirror.store.holdings import Holdings, StoredFile
from mirror.store.index import Index
from mirror.store.query import Filters, Reader

AT = datetime(2026, 3, 10, tzinfo=UTC)
LISTED: dict[str, tuple[str, Sequence[str]]] = {
    "ORTHO_D038_2026": ("JP2", ["ORTHO_D038_2026.7z.001", "ORTHO_D038_2026.7z.002", "ORTHO_D038_2026.md5"]),
    "ORTHO_D073_2026": ("JP2", ["ORTHO_D073_2026.7z.001", "ORTHO_D073_2026.md5"]),
    "limites_3-5": ("SHP", ["DEPARTEMENT.shp", "DEPARTEMENT.dbf", "COMMUNE.shp", "Légende.PDF"]),
    "las_palmas": ("GPKG", ["las_palmas_nord.gpkg", "las_palmas_sud.gpkg"]),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    root = tmp_path_factory.mktemp("words")
    resource = Resource("PRODUIT", "http://u/PRODUIT", abstract="Bâtiments")
    subs = [SubResource("PRODUIT", name, f"http://u/{name}", formats=(Term(form, form),)) for name, (form, _) in LISTED.items()]
    with Index(root) as index:
        catalogue = Catalogue(index)
        catalogue.save_resources("gpf", [resource], complete=True)
        catalogue.save_listing("gpf", resource, [EVERYTHING], subs, at=AT)
        for unit in catalogue.units("gpf"):
            files = [RemoteFile(file, f"http://u/{file}", 1) for file in LISTED[unit.sub.id][1]]
            catalogue.save_files(unit, files, at=AT)
            here = [StoredFile(file, 1, "m", "s") for file in files if not file.name.endswith("COMMUNE.shp")]
            with index.transaction():
                Holdings(index).record(unit.id, None, here, at=AT)
            for file in files:
                if file.name == "COMMUNE.shp":
                    Holdings(index).parked.park(unit.id, file, "404", 1, at=AT)
    opened = Reader(root)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ORTHO_D038_2026.7z.001", ["ORTHO_D038_2026.7z.001"]),
        ("ortho_d038_2026.7z", ["ORTHO_D038_2026.7z.001", "ORTHO_D038_2026.7z.002"]),
        ("limites_3-5/DEPARTEMENT.dbf", ["DEPARTEMENT.dbf"]),
        ("legende.pdf", ["Légende.PDF"]),
        ("departement.shp", ["DEPARTEMENT.shp"]),
        ("commune.shp", ["COMMUNE.shp"]),
        ("md5", ["ORTHO_D038_2026.md5", "ORTHO_D073_2026.md5"]),
        (".dbf", ["DEPARTEMENT.dbf"]),
        ("7z D073", ["ORTHO_D073_2026.7z.001"]),
        ("jp2 002", ["ORTHO_D038_2026.7z.002"]),
        ("gpkg", ["las_palmas_nord.gpkg", "las_palmas_sud.gpkg"]),
        ("7z 002", ["ORTHO_D038_2026.7z.002"]),
        ("ortho md5 d038", ["ORTHO_D038_2026.md5"]),
        ("departement dbf", ["DEPARTEMENT.dbf"]),
        ("shp", ["COMMUNE.shp", "DEPARTEMENT.shp"]),
        ("limites jp2", []),
        ("batiments jp2 d073", LISTED["ORTHO_D073_2026"][1]),
        ("palmas sud", ["las_palmas_sud.gpkg"]),
        ("limites commune", ["COMMUNE.shp"]),
        ("las palmas sud", ["las_palmas_sud.gpkg"]),
        ("limites 3.5", sorted(LISTED["limites_3-5"][1])),
        ("ORTHO_D038_2026.zip", []),
        ("zip", []),
        ("%.md5", []),
        ("", sorted(file for _, files in LISTED.values() for file in files)),
    ],
)
def test_names_and_extensions_find_files(text: str, found: Sequence[str], reader: Reader) -> None:
    """A pasted name is one file, an extension those that have it; a word that also describes the data finds all of that data."""
    assert sorted(file.file for file in reader.files(Filters(text))) == list(found)
