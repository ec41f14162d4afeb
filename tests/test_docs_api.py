"""docs/api.md says what is so: its addresses answer, its Python runs, its tables name what there is."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from mirror.serving.api.parameters import QUERY
from mirror.store.history import CHANGES

from .command import environment
from .eventful import eventful_mirror
from .served import ServedMirror

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "api.md").read_text("utf-8")
HERE = "http://127.0.0.1:8420"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with eventful_mirror(tmp_path / "mirror") as found:
        yield found


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


async def test_every_address_answers_as_the_page_says(served: ServedMirror) -> None:
    addresses = re.findall(rf"{re.escape(HERE)}(/[^'\"\s]*)", "".join(blocks("sh")))
    assert len(addresses) > 8
    for address in addresses:
        assert (await served.ask(address)).status == 200, address
    for example in blocks("console"):
        asked, said = re.findall(rf"{re.escape(HERE)}(/[^'\s]*)'\n(.*)\n", example)[0]
        assert (await served.ask(asked)).text == said


async def test_python_examples_run(served: ServedMirror, tmp_path: Path) -> None:
    """The one that follows changes goes on where it ended."""
    query, follow = blocks("python")

    async def run(code: str) -> str:
        arguments = [sys.executable, "-c", code.replace(HERE, served.url)]
        done = await asyncio.to_thread(
            subprocess.run, arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    files = (await served.ask("/api/query?zone=D038&latest=1&links=1")).json()
    assert files
    assert [line.split()[0] for line in (await run(query)).splitlines()] == [file["href"] for file in files]
    changes = (await served.ask("/api/changes")).json()["changes"]
    assert len((await run(follow)).splitlines()) == len(changes)
    assert await run(follow) == ""


def test_tables_name_every_address_parameter_and_change() -> None:
    addresses = set(re.findall(r"^\| `(/api/[^`]*)`", TEXT, re.MULTILINE))
    assert addresses == {f"/api/{name}" for name in ("query", "status", "runs", "changes", "changes.atom", "openapi.json")}
    table = TEXT.partition("| parameter |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")}
    assert named == {parameter.name for parameter in QUERY}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", TEXT.partition("| `change` |")[2], re.MULTILINE)) == set(CHANGES)


def test_datasette_is_started_alike_everywhere() -> None:
    """In docs, and in the file itself, which says what its own settings say."""

    def options(text: str) -> list[str]:
        return re.findall(r"--setting (\w+ \w+)", text)

    config = (ROOT / "config" / "datasette.yaml").read_text("utf-8")
    assert options(TEXT) == options(config)
    spelt = {name: {True: "on", False: "off"}.get(value, str(value)) for name, value in yaml.safe_load(config)["settings"].items()}
    assert {f"{name} {value}" for name, value in spelt.items() if name != "default_page_size"} == set(options(TEXT))


def test_prometheus_is_told_the_token_alike_everywhere() -> None:
    (snippet,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", (ROOT / "docs" / "monitor.md").read_text("utf-8"), re.DOTALL)
    documented = yaml.safe_load(snippet)["scrape_configs"][0]["authorization"]
    shipped = (ROOT / "config" / "prometheus" / "scrape.yml").read_text("utf-8")
    opened = re.sub(r"^    # (authorization:|  credentials_file:)", r"    \1", shipped, flags=re.MULTILINE)
    assert yaml.safe_load(opened)["scrape_configs"][0]["authorization"] == documented
    assert urlsplit(HERE).netloc == yaml.safe_load(opened)["scrape_configs"][0]["static_configs"][0]["targets"][0]
