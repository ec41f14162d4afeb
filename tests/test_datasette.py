"""`config/datasette.yaml` with a real Datasette over the index of a real mirror, while a sync writes to it."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import yaml

from mirror.store.index import FILE, Index

from .command import environment
from .eventful import eventful_mirror
from .mirrored import edition
from .parked import FIRST, OTHER
from .served import ServedMirror, served_mirror
from .upstream import publish, simple_catalogue

CONFIG = Path(__file__).parents[1] / "config" / "datasette.yaml"
DATASETTE = shutil.which("datasette", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
LOADED: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
QUERIES: dict[str, Any] = LOADED["databases"]["index"]["queries"]
TABLES: dict[str, Any] = LOADED["databases"]["index"]["tables"]
INTERNAL = re.compile(
    r"(search|footprints)(_\w+)?|sqlite_stat1|_sqlite_migrations|announced_files|hook_seen|leaving|rebuilding|listings|.*_terms"
)

needs_datasette = pytest.mark.skipif(DATASETTE is None and not os.environ.get("CI"), reason="datasette is not installed")


class Datasette:
    """One that runs."""

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self.url = url
        self._client = client

    async def get(self, path: str, **query: str) -> Any:
        async with self._client.get(f"{self.url}{path}?{urlencode(query)}") as answer:
            document = await answer.json()
            assert answer.status == 200, document
            return document

    async def page(self, path: str) -> str:
        async with self._client.get(f"{self.url}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()


def command_of_docs() -> list[str]:
    """What the file itself says how it is started."""
    lines = CONFIG.read_text("utf-8").partition("datasette serve")[2].partition("\n#\n")[0]
    return shlex.split(lines.replace("\\\n#", ""))


@asynccontextmanager
async def datasette(root: Path) -> AsyncIterator[Datasette]:
    assert DATASETTE is not None
    arguments = [str(CONFIG) if word == "datasette.yaml" else word for word in command_of_docs()]
    process = await asyncio.create_subprocess_exec(
        *(DATASETTE, "serve", *arguments, "--port", "0"),
        cwd=root,
        env=environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        url = None
        said = b""
        while url is None:
            line = await process.stderr.readline()
            assert line, said.decode()
            said += line
            url = re.search(rb"http://127\.0\.0\.1:\d+", line)
        async with aiohttp.ClientSession() as client:
            yield Datasette(url[0].decode(), client)
    finally:
        process.terminate()
        await process.communicate()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with eventful_mirror(tmp_path / "mirror") as found:
        yield found


ARGUMENTS = {"latest_by_zone": {"zone": "D038"}, "by_words": {"words": "bdalpha"}, "inside_archives": {"glob": "*"}}
ANSWERED = {"latest_by_zone", "parked", "sizes", "runs_history", "by_checksum", "by_words", "withdrawn"}
"""Those for which this mirror has something to tell."""


_LATER = datetime(2027, 2, 1)


async def sync_until(ended: asyncio.Event, served: ServedMirror) -> int:
    """One sync after another, each with an edition more; how many there were."""
    catalogue, syncs = served.mirror.upstream.catalogue, 0
    while not ended.is_set():
        syncs += 1
        catalogue = publish(
            catalogue, "BDBRAVO", edition(OTHER, f"{2100 + syncs}-01-01", (_LATER + timedelta(minutes=syncs)).isoformat())
        )
        report = await served.sync(catalogue)
        assert report.done["add"] == len(OTHER.files), report
    return syncs


@needs_datasette
async def test_every_query_and_table_answers_while_a_sync_writes(served: ServedMirror) -> None:
    sums = dict(served.mirror.rows("SELECT file, sha256 FROM files WHERE sha256 IS NOT NULL"))
    name = FIRST.files[0].name
    async with datasette(served.root) as found:
        asked = asyncio.Event()
        syncing = asyncio.create_task(sync_until(asked, served))
        arguments = {**ARGUMENTS, "by_checksum": {"checksum": sums[name][:12].upper()}}
        rows: dict[str, list[dict[str, Any]]] = {}
        for query in QUERIES:
            document = await found.get(f"/index/{query}.json", _shape="objects", **arguments.get(query, {}))
            assert (document["ok"], document["truncated"]) == (True, False), query
            rows[query] = document["rows"]
            assert QUERIES[query]["title"] in await found.page(f"/index/{query}")
        for table in TABLES:
            page = await found.page(f"/index/{table}")
            assert TABLES[table].get("title", table) in page
            assert "SQL Interrupted" not in page
        asked.set()
        assert await syncing > 1
    assert {query for query, found_rows in rows.items() if found_rows} >= ANSWERED
    assert {row["zone"] for row in rows["latest_by_zone"]} == {"D038"}
    assert [row["file"] for row in rows["by_checksum"]] == [name]
    assert rows["parked"][0]["reason"].startswith("upstream is wrong")
    assert OTHER.id not in {row["sub_resource"] for row in rows["withdrawn"]}  # pruned since


@needs_datasette
async def test_the_data_are_under_no_licence_of_the_program(served: ServedMirror) -> None:
    async with datasette(served.root) as found:
        page = await found.page("/index")
        assert "as stated by each publisher" in page
        assert "EUPL" not in page


@needs_datasette
async def test_a_search_has_what_is_here_before_what_is_only_listed(tmp_path: Path) -> None:
    async with served_mirror(tmp_path / "mirror", simple_catalogue(1, 6, 1), sync=False) as served:
        served.mirror.tables = {"some": {"resources": ["*"], "edition": "latest"}}
        await served.sync()
        async with datasette(served.root) as found:
            rows = (await found.get("/index/by_words.json", _shape="objects", words="bdalpha"))["rows"]
        held = [row["files"] > 0 for row in rows]
        assert set(held) == {True, False}
        assert held == sorted(held, reverse=True)


@needs_datasette
async def test_facets_search_and_what_is_hidden(served: ServedMirror) -> None:
    async with datasette(served.root) as found:
        files = await found.get("/index/files.json", _shape="objects", _size="1")
        assert set(files["facet_results"]) == {"upstream", "resource", "state"}
        assert {each["value"] for each in files["facet_results"]["state"]["results"]} == {
            "current",
            "superseded",
            "withdrawn",
            "parked",
        }
        subs = await found.get("/index/sub_resources.json", _shape="objects", _search="d073")
        assert subs["rows"]
        assert all("D073" in row["sub_resource"] for row in subs["rows"])
        assert {each["value"] for each in subs["facet_results"]["zones"]["results"]} == {"D073"}
        database = await found.get("/index.json")
        shown = {table["name"] for table in database["tables"] if not table["hidden"]}
        hidden = {table["name"] for table in database["tables"] if table["hidden"]}
        assert {name for name in hidden if not INTERNAL.fullmatch(name)} == set()
        assert {name for name in shown if INTERNAL.fullmatch(name)} == set()
        settings = await found.get("/-/settings.json")
        wanted = {name: value for name, value in LOADED["settings"].items() if name != "default_page_size"}
        assert {name: settings[name] for name in wanted} == wanted


def test_every_table_and_column_it_names_exists(tmp_path: Path) -> None:
    """Also those of an index that is new; and every table has been thought of."""
    with Index(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / FILE)) as sql:
        there = {row[0] for row in sql.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
        assert set(TABLES) == there - {"sqlite_sequence", "sqlite_stat1", "sqlite_stat4"}
        for table, described in TABLES.items():
            columns = {row[1] for row in sql.execute(f"PRAGMA table_info({table})")}
            facets = [next(iter(each.values())) if isinstance(each, dict) else each for each in described.get("facets", [])]
            named = [*facets, *described.get("sortable_columns", [])]
            named += [described[key] for key in ("sort_desc", "label_column") if key in described]
            assert set(named) <= columns, table
