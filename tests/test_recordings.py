"""The recorded answers of the live service, and the ten files that they list: a whole sync of real input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mirror as package

from .mirrored import Mirrored
from .upstream import recordings

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures" / "gpf"

pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"the recordings are not at {FIXTURES}")

FOLDER = "limites_administratives/departements"


def listed() -> dict[str, str]:
    """The MD5 of each file by path, straight from the recording."""
    feed = json.loads((FIXTURES / "official_subresource.json").read_text("utf-8"))
    return {f"{FOLDER}/{entry['id'].rpartition('/')[2]}": entry["content"] for entry in feed["entry"]}


@pytest.mark.parametrize("json_", [True, False], ids=["JSON", "XML"])
@pytest.mark.parametrize("verbatim", [False, True], ids=["own links", "links to the live host"])
async def test_the_ten_files_are_mirrored_as_listed(tmp_path: Path, verbatim: bool, json_: bool) -> None:
    """Also where the feed links to the live host, as a proxy or mirror would: files come from the configured endpoint."""
    async with recordings(FIXTURES, verbatim=verbatim, json=json_) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream)
        report = await mirror.sync()
        assert (report.exit_code, report.account.verified, report.listed["files"]) == (0, 10, 10)
        assert mirror.tree() == listed()
        assert len(listed()) == 10
        assert mirror.requests() == {"capabilities": 1, "resource": 1, "sub-resource": 1, "download": 10}

        report = await mirror.sync()
        assert (report.exit_code, report.requests, mirror.requests()) == (0, 1, {"capabilities": 1})


async def test_a_query_finds_them(tmp_path: Path) -> None:
    async with recordings(FIXTURES) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream)
        mirror.tables = {"limits": {"resources": ["limites*"], "zones": ["FXX"], "formats": ["Shapefile"], "crs": ["2154"]}}
        assert (await mirror.sync()).exit_code == 0
    with package.open(mirror.root) as here:
        found = here.query("departements", zone="FXX", format="SHP", crs="EPSG:2154", latest=True)
    assert {f"{FOLDER}/{file.file}": file.md5 for file in found} == listed()
    assert {file.path for file in found} == {str(mirror.root / "data" / "gpf" / path) for path in mirror.tree()}
    assert mirror.aliases() == {next(iter(mirror.aliases())): "departements"}
