"""The commands that need no upstream, from outside: `query` and `status` read the index, `demo` brings its own service."""

from __future__ import annotations

import csv
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.samples import sample_catalogue
from tests.command import Outcome, run_anew, start, write_config
from tests.upstream import FakeUpstream

MEMBERS = (
    *("upstream", "resource", "sub_resource", "title", "file", "path", "url", "size", "md5", "sha256", "zones", "formats", "crs"),
    *("edition_date", "updated", "state", "fetched_at", "verified_at"),
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(sample_catalogue()).in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def mirrored(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and a complete mirror of the samples."""
    folder = tmp_path_factory.mktemp("mirrored")
    write_config(
        folder,
        upstream.url,
        'topo]\nresources = ["BDTOPO"]\nformats = ["GPKG"]\nedition = 2',
        'rest]\nresources = ["ADMIN*", "BDORTHO", "limites*", "LiDAR*"]',
    )
    outcome = run_anew("sync", "--json", cwd=folder)
    assert outcome.code == 0, outcome
    return folder


# -- query


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.code == 0, outcome
    rows: list[dict[str, Any]] = outcome.json
    return rows


def test_query_json_has_the_members_of_the_interface(mirrored: Path) -> None:
    """One object per file with exactly these members; lists are arrays, CRS are EPSG codes, paths exist."""
    rows = _rows(run_anew("query", "--json", cwd=mirrored))
    assert {tuple(row) for row in rows} == {MEMBERS}
    for row in rows:
        path = Path(str(row["path"]))
        assert path.is_absolute()
        assert path.stat().st_size == row["size"]
        assert isinstance(row["zones"], list)
        assert isinstance(row["formats"], list)
        assert all(str(code).startswith("EPSG:") for code in row["crs"])
        assert row["state"] in ("current", "superseded")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--resource", "bdtopo"], {"BDTOPO"}),
        (["--resource", "BD*"], {"BDTOPO", "BDORTHO"}),
        (["--zone", "D971"], {"BDTOPO"}),
        (["--zone", "d0971"], {"BDTOPO"}),
        (["--format", "Shapefile"], {"limites_administratives"}),
        (["--crs", "4326"], {"ADMIN-EXPRESS-COG"}),
        (["--to", "2023-01-01"], {"limites_administratives"}),
        (["--from", "2026-09-16"], {"ADMIN-EXPRESS-COG"}),
        (["--updated-from", "2026-10-01"], {"BDTOPO"}),
        (["--upstream", "other"], set()),
        (["--upstream", "G*", "--to", "2023-01-01"], {"limites_administratives"}),
        (["--upstream", "GPF", "--zone", "D971"], {"BDTOPO"}),
        (["batiments", "bdtopo"], {"BDTOPO"}),
        (["BÂTIMENTS", "--zone", "D038"], {"BDTOPO"}),
        (["departement.shp"], {"limites_administratives"}),
        (['"; DROP TABLE files; --'], set()),
        (["nothing-like-this"], set()),
    ],
)
def test_query_filters(arguments: list[str], expected: set[str], mirrored: Path) -> None:
    """Each filter keeps what matches, whatever the case and spelling; words are found without accents."""
    assert {row["resource"] for row in _rows(run_anew("query", "--json", *arguments, cwd=mirrored))} == expected


def test_a_filter_that_is_no_utf8_finds_nothing(mirrored: Path) -> None:
    """What the shell hands over is bytes; these are no text that an index could hold."""
    outcome = run_anew("query", "--json", "--zone", os.fsdecode(b"D\xff38"), "--resource", os.fsdecode(b"\xe9"), cwd=mirrored)
    assert (outcome.code, outcome.json) == (0, [])


def test_query_latest_leaves_one_edition_per_series(mirrored: Path) -> None:
    """Of the two editions kept, only the newest of each zone is left; the others are superseded."""
    assert _rows(run_anew("query", "--state", "CURRENT", "--json", cwd=mirrored))
    latest = _rows(run_anew("query", "--resource", "BDTOPO", "--latest", "--json", cwd=mirrored))
    assert {row["edition_date"] for row in latest} == {"2026-09-15"}
    assert len(latest) == 3
    old = _rows(run_anew("query", "--resource", "BDTOPO", "--state", "superseded", "--json", cwd=mirrored))
    assert {row["edition_date"] for row in old} == {"2026-06-15"}


def test_query_bbox_finds_by_footprint(mirrored: Path) -> None:
    """A box over Guadeloupe finds what lies there, not what lies in the Alps."""
    rows = _rows(run_anew("query", "--bbox", "-62,15.8,-61,16.6", "--json", cwd=mirrored))
    found = {zone for row in rows for zone in row["zones"]}
    assert "D0971" in found
    assert "D038" not in found


def test_query_paths_and_csv(mirrored: Path) -> None:
    """--paths gives existing files, one a line, or NUL-terminated with -0; --csv gives the same rows with a header."""
    paths = run_anew("query", "--paths", cwd=mirrored).out.splitlines()
    assert paths
    assert all(Path(path).is_file() for path in paths)
    assert run_anew("query", "--paths", "-0", cwd=mirrored).out == "".join(path + "\0" for path in paths)
    rows = list(csv.DictReader(io.StringIO(run_anew("query", "--csv", cwd=mirrored).out)))
    assert [row["path"] for row in rows] == paths
    assert len(_rows(run_anew("query", "--json", "--limit", "3", cwd=mirrored))) == 3


def test_status_counts_what_is_here(mirrored: Path) -> None:
    """Per subscription: last success, newest publication, files and bytes; nothing missing."""
    document = run_anew("status", "--json", cwd=mirrored).json
    topo, rest = document["subscriptions"]
    assert topo["subscription"] == "topo"
    assert topo["files"] == topo["expected"] == 6
    assert topo["upstream_date"] == "2026-10-06"
    assert topo["last_success"]
    assert topo["next_run"] is None
    assert topo["failures"] == rest["failures"] == 0
    assert document["files"] == topo["files"] + rest["files"]
    table = run_anew("status", cwd=mirrored)
    assert "topo" in table.out
    assert "6/6" in table.out


# -- demo


def test_demo_needs_no_network_and_leaves_a_mirror_to_try(tmp_path: Path) -> None:
    """Two syncs, the second with one request; the config it leaves works with the other commands; a second demo works too."""
    outcome = run_anew("demo", "--json", cwd=tmp_path)
    assert outcome.code == 0
    document = outcome.json
    assert document["first"]["outcome"] == document["second"]["outcome"] == "complete"
    assert document["second"]["requests"] == 1
    assert document["files"]
    config = tmp_path / "inspire-mirror-demo" / "inspire-mirror.toml"
    assert run_anew("-c", config, "verify", "--full", cwd=tmp_path).code == 0
    assert "wanted files are here" in run_anew("demo", cwd=tmp_path).out


def test_demo_serve_keeps_the_sample_upstream_until_ctrl_c(tmp_path: Path) -> None:
    """The commands that need an upstream work on it meanwhile; it ends with the exit code of the demo."""
    process = start("demo", "--serve", cwd=tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C stops it" in line:
            break
    config = tmp_path / "inspire-mirror-demo" / "inspire-mirror.toml"
    assert run_anew("-c", config, "catalog", "--json", cwd=tmp_path).json
    assert run_anew("-c", config, "sync", cwd=tmp_path).code == 0
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert run_anew("-c", config, "catalog", cwd=tmp_path).code == 5


def test_demo_leaves_a_config_of_somebody_else_alone(tmp_path: Path) -> None:
    """It never overwrites what it did not write."""
    config = tmp_path / "inspire-mirror.toml"
    config.write_text("root = '/srv'\n", "utf-8")
    assert run_anew("demo", ".", cwd=tmp_path).code == 2
    assert config.read_text("utf-8") == "root = '/srv'\n"
