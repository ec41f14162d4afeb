"""config/hooks/load-postgis against a real PostgreSQL with PostGIS, fed by real syncs of real GeoPackages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.demo.archives import seven_zip
from mirror.demo.catalogue import Catalogue, SampleFile
from mirror.demo.geopackage import geopackage
from mirror.demo.layer import Crs, Feature, Layer
from mirror.demo.samples import sample_catalogue

from .hooking import Hooked, recorder, told
from .postgis import Cluster, what_is_missing
from .upstream import FakeUpstream, publish

LOAD = str(Path(__file__).parents[1] / "config" / "hooks" / "load-postgis")
EDITIONS = [
    sub
    for resource in sample_catalogue().resources
    for sub in resource.subs
    if resource.id == "BDTOPO" and "GPKG" in sub.id and "D038" in sub.id
]
LOADED = ["bdtopo_d038_2026_03_15", "bdtopo_d038_2026_06_15", "bdtopo_d038_2026_09_15"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if missing := what_is_missing():
        text = f"needs {', '.join(missing)}"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    with Cluster() as made:
        yield made


@pytest.fixture
def database(cluster: Cluster) -> Cluster:
    """The cluster without the schemas of other tests."""
    for schema in cluster.sql("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'"):
        cluster.sql(f'DROP SCHEMA "{schema}" CASCADE')
    return cluster


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(with_editions(1)) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream, database: Cluster) -> Hooked:
    table = {"resources": ["BDTOPO"], "edition": "all", "on_publish": [LOAD, database.connection]}
    return Hooked(tmp_path / "root", upstream, all=table)


def with_editions(count: int) -> Catalogue:
    made = Catalogue()
    for sub in EDITIONS[:count]:
        made = publish(made, "BDTOPO", sub)
    return made


def schemas(database: Cluster) -> list[str]:
    return database.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'bdtopo%' ORDER BY 1")


def shown(database: Cluster, views: str = "bdtopo_d038") -> str:
    """Which schema the view of buildings reads."""
    (definition,) = database.sql(f"SELECT replace(pg_get_viewdef('{views}.batiment'::regclass), E'\\n', ' ')")
    return definition.partition(" FROM ")[2].partition(".")[0]


def count(database: Cluster) -> int:
    return int(database.sql("SELECT count(*) FROM bdtopo_d038.batiment")[0])


async def test_editions_come_one_after_the_other_and_the_last_two_stay(mirror: Hooked, database: Cluster) -> None:
    """Four, five and six buildings (mirror/demo/samples.py), as multipolygons in Lambert 93."""
    for number, expected in ((1, LOADED[:1]), (2, LOADED[:2]), (3, LOADED[1:])):
        mirror.upstream.catalogue = with_editions(number)
        report = await mirror.sync_and_run()
        assert report.exit_code == 0, report.reason
        assert schemas(database) == ["bdtopo_d038", *expected]
        assert (shown(database), count(database)) == (LOADED[number - 1], 3 + number)
    (kind,) = database.sql("SELECT DISTINCT GeometryType(geom), ST_SRID(geom), ST_Area(geom) FROM bdtopo_d038.batiment")
    assert kind == "MULTIPOLYGON|2154|400"
    (column,) = database.sql("SELECT type, srid FROM geometry_columns WHERE f_table_schema = 'bdtopo_d038'")
    assert column == "MULTIPOLYGON|2154"


async def test_from_what_the_mirror_has_unpacked(mirror: Hooked, database: Cluster) -> None:
    mirror.tables["all"] = {**mirror.tables["all"], "extract": True}
    assert (await mirror.sync_and_run()).exit_code == 0, mirror.reasons()
    assert count(database) == 4


async def test_grants_and_views_of_others_stay(mirror: Hooked, database: Cluster) -> None:
    """An edition that somebody's view uses directly is not dropped."""
    await mirror.sync_and_run()
    database.sql("DROP ROLE IF EXISTS reader; CREATE ROLE reader")
    database.sql("GRANT SELECT ON bdtopo_d038.batiment TO reader")
    database.sql("CREATE VIEW public.tall AS SELECT * FROM bdtopo_d038.batiment WHERE hauteur > 7")
    database.sql("CREATE VIEW public.old AS TABLE bdtopo_d038_2026_03_15.batiment")
    for number in (2, 3):
        mirror.upstream.catalogue = with_editions(number)
        assert (await mirror.sync_and_run()).exit_code == 0, mirror.reasons()
    assert schemas(database) == ["bdtopo_d038", *LOADED]
    assert "stays, as something still uses it" in mirror.outputs()[-1]
    assert database.sql("SELECT has_table_privilege('reader', 'bdtopo_d038.batiment', 'SELECT')") == ["t"]
    assert database.sql("SELECT count(*) FROM public.tall") == ["5"]
    database.sql("DROP VIEW public.tall; DROP VIEW public.old")


async def test_a_database_that_is_down_is_tried_again(mirror: Hooked, database: Cluster) -> None:
    mirror.tables["all"] = {**mirror.tables["all"], "on_publish": [LOAD, "host=/nowhere dbname=gis"]}
    assert (await mirror.sync_and_run()).exit_code == 1
    assert mirror.reasons()[0].startswith("load-postgis ended with exit code 1: psql: ")
    mirror.tables["all"] = {**mirror.tables["all"], "on_publish": [LOAD, database.connection]}
    assert (await mirror.sync_and_run(retry=True)).exit_code == 0
    assert count(database) == 4


async def test_a_switch_that_fails_leaves_all_views_as_they_were(mirror: Hooked, database: Cluster) -> None:
    """A layer changes its columns while a view of somebody's stands on it: then nothing is switched, and nothing is lost."""
    await mirror.sync_and_run()
    database.sql("CREATE VIEW public.tall AS SELECT cleabs, hauteur FROM bdtopo_d038.batiment")
    crs = Crs(2154, "RGF93 v1 / Lambert-93", "LAMB93", "")
    ring = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0))
    layers = [
        Layer(name, name, crs, ("ident", "nature", "hauteur"), (Feature("x", "y", 1.0, ring),)) for name in ("abri", "batiment")
    ]
    members = {f"{layer.name}.gpkg": geopackage(layer, "2026-06-15") for layer in layers}
    other = replace(EDITIONS[1], files=(SampleFile(f"{EDITIONS[1].id}.7z", seven_zip(members, "2026-06-15")),))
    mirror.upstream.catalogue = publish(with_editions(1), "BDTOPO", other)
    assert (await mirror.sync_and_run()).exit_code == 1
    assert "cannot drop view bdtopo_d038.batiment because other objects depend on it" in mirror.reasons()[0]
    assert (shown(database), count(database)) == (LOADED[0], 4)
    assert database.sql("SELECT relname FROM pg_class WHERE relnamespace = 'bdtopo_d038'::regnamespace") == ["batiment"]
    database.sql("DROP VIEW public.tall; CREATE ROLE other; GRANT SELECT ON bdtopo_d038.batiment TO other")
    assert (await mirror.sync_and_run(retry=True)).exit_code == 0, mirror.reasons()
    assert database.sql("SELECT abri.ident FROM bdtopo_d038.batiment, bdtopo_d038.abri") == ["x"]
    assert database.sql("SELECT has_table_privilege('other', 'bdtopo_d038.batiment', 'SELECT')") == ["t"]
    database.sql("DROP OWNED BY other; DROP ROLE other")


async def manifest_of(mirror: Hooked, log: Path) -> str:
    """What the command is told, for calls by hand; it is not run."""
    mirror.tables["all"] = {**mirror.tables["all"], "on_publish": recorder(log)}
    await mirror.sync_and_run()
    return json.dumps(told(log)[-1])


def by_hand(manifest: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LOAD, *arguments], input=manifest, capture_output=True, text=True, check=False, env={**os.environ, **env}
    )


async def test_a_second_time_nothing_is_loaded(mirror: Hooked, database: Cluster, tmp_path: Path) -> None:
    manifest = await manifest_of(mirror, tmp_path / "log")
    assert by_hand(manifest, database.connection).returncode == 0
    again = by_hand(manifest, database.connection)
    assert (again.returncode, "is loaded already" in again.stdout) == (0, True)
    assert schemas(database) == ["bdtopo_d038", LOADED[0]]


async def test_a_killed_load_shows_nothing_and_is_cleared_away(mirror: Hooked, database: Cluster, tmp_path: Path) -> None:
    """kill -9 in place of ogr2ogr, which by then has made the first table."""
    manifest = await manifest_of(mirror, tmp_path / "log")
    fake = tmp_path / "bin" / "ogr2ogr"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\n/usr/bin/ogr2ogr "$@" && kill -9 $PPID\n')
    fake.chmod(0o755)
    assert by_hand(manifest, database.connection, PATH=f"{fake.parent}:{os.environ['PATH']}").returncode == -9
    assert schemas(database) == [LOADED[0]]
    assert by_hand(manifest, database.connection).returncode == 0
    assert schemas(database) == ["bdtopo_d038", LOADED[0]]
    assert count(database) == 4


async def test_the_same_edition_replaced_in_place_is_loaded_beside_the_old_one(mirror: Hooked, database: Cluster) -> None:
    await mirror.sync_and_run()
    newer = replace(
        EDITIONS[0],
        files=tuple(replace(old, data=new.data) for old, new in zip(EDITIONS[0].files, EDITIONS[1].files, strict=True)),
        updated="2026-11-01",
    )
    mirror.upstream.catalogue = publish(Catalogue(), "BDTOPO", newer)
    assert (await mirror.sync_and_run()).exit_code == 0, mirror.reasons()
    assert (shown(database), count(database)) == (f"{LOADED[0]}_2", 5)
    assert schemas(database) == ["bdtopo_d038", LOADED[0], f"{LOADED[0]}_2"]


async def test_what_it_does_not_do(mirror: Hooked, database: Cluster, tmp_path: Path) -> None:
    """Turn views back to an older edition, take a schema that is not its own, load what holds no GeoPackage, or two at once."""
    manifest = await manifest_of(mirror, tmp_path / "log")
    older = by_hand(json.dumps({**json.loads(manifest), "latest": False}), database.connection)
    assert (older.returncode, "a newer edition is here" in older.stdout) == (0, True)
    database.sql("CREATE SCHEMA bdtopo_mine")
    refused = by_hand(manifest, database.connection, "--views", "bdtopo_mine")
    assert (refused.returncode, "the schema bdtopo_mine is not ours" in refused.stderr) == (1, True)
    empty = by_hand(json.dumps({**json.loads(manifest), "files": []}), database.connection)
    assert (empty.returncode, "holds no GeoPackage" in empty.stderr) == (1, True)
    assert schemas(database) == ["bdtopo_mine"]
    assert by_hand(manifest, database.connection).returncode == 0
    other = by_hand(json.dumps({**json.loads(manifest), "series": "another"}), database.connection)
    assert (other.returncode, "shows gpf BDTOPO_" in other.stderr) == (1, True)
    bad = by_hand(manifest, database.connection, "--views", "a;b")
    assert (bad.returncode, "--views must be a name" in bad.stderr) == (2, True)
