"""`/api/query` and `/api/status` say what the commands say, to the letter; what is asked wrongly gets one line that names it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from mirror.demo.samples import sample_catalogue
from mirror.store.index import FILE

from .command import run, write_config
from .eventful import GONE, eventful_mirror
from .served import ServedMirror, served_mirror
from .upstream import simple_catalogue

Options = tuple[tuple[str, str], ...]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with eventful_mirror(tmp_path / "mirror") as found:
        yield found


def command(served: ServedMirror, *arguments: str) -> str:
    folder = served.root.parent
    config = write_config(folder, served.mirror.upstream.url)
    done = run("-c", config, *arguments, cwd=folder)
    assert done.code == 0, done.err
    return done.out


QUESTIONS: list[Options] = [
    (),
    (("q", "D038 bdalpha"),),
    (("resource", "bdalp*"), ("zone", "D001"), ("zone", "d073")),
    (("format", "gpkg"), ("crs", "2154"), ("upstream", "g*")),
    (("state", "withdrawn"), ("state", "PARKED")),
    (("from", "2026-06-01"), ("to", "2026-12-20"), ("updated-from", "2026-04-01")),
    (("latest", ""), ("limit", "3")),
    (("limit", "9" * 40),),
    (("resource", "nothing"),),
]
OF_SAMPLES: list[Options] = [
    (("bbox", "5.5,44.7,6.4,45.9"), ("resource", "bd*")),
    (("member", "*.gpkg"), ("zone", "D038")),
    (("q", "batiments"),),
]


async def compare(served: ServedMirror, questions: list[Options]) -> list[int]:
    """Ask both, and how many files each question finds."""
    counts = []
    for question in questions:
        text = [value for name, value in question if name == "q"]
        options = [part for name, value in question if name != "q" for part in ((f"--{name}", value) if value else (f"--{name}",))]
        said = command(served, "query", *text, *options, "--json")
        answer = await served.ask(f"/api/query?{urlencode(question)}")
        assert (answer.status, answer.text) == (200, said), question
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        counts.append(len(answer.json()))
    return counts


async def test_query_answers_as_the_command(served: ServedMirror) -> None:
    """The same bytes for the same filters, by the same names."""
    *counts, nothing = await compare(served, QUESTIONS)
    assert (all(counts), nothing) == (True, 0)
    states = {file["state"] for file in (await served.ask("/api/query")).json()}
    assert states == {"current", "superseded", "withdrawn", "parked"}


async def test_boxes_members_and_words_are_those_of_the_command(tmp_path: Path) -> None:
    async with served_mirror(tmp_path / "mirror", sample_catalogue(), sync=False) as served:
        served.mirror.tables = {"some": {"resources": ["BDTOPO", "ADMIN*"], "formats": ["GPKG"]}}
        assert (await served.sync()).outcome == "complete"
        counts = await compare(served, OF_SAMPLES)
        everything = len((await served.ask("/api/query")).json())
        assert all(0 < count < everything for count in counts)


async def test_csv_is_that_of_the_command_and_lines_are_the_objects(served: ServedMirror) -> None:
    answer = await served.ask("/api/query?zone=D001", Accept="text/csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.text == command(served, "query", "--zone", "D001", "--csv")
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) > 1
    lines = await served.ask("/api/query?zone=D001", Accept="application/x-ndjson, text/csv;q=0.5")
    assert lines.headers["Content-Type"].startswith("application/x-ndjson")
    objects = [json.loads(line) for line in lines.text.splitlines()]
    assert objects == (await served.ask("/api/query?zone=D001", Accept="text/html, */*")).json()


async def test_links_lead_to_the_files_of_this_mirror(served: ServedMirror) -> None:
    served.configure(public_url="https://mirror.example.org/geo")
    files = (await served.ask("/api/query?links=1&state=withdrawn&state=parked")).json()
    parked = [file for file in files if file["state"] == "parked"]
    assert [file["href"] for file in parked] == [None]
    there = next(file for file in files if file["sub_resource"] == GONE)
    assert there["href"] == f"https://mirror.example.org/geo/gpf/download/BDALPHA/{GONE}/{there['file']}"
    assert "href" not in (await served.ask("/api/query?limit=1&links=0")).json()[0]


async def test_status_is_that_of_the_command(served: ServedMirror) -> None:
    """Of the command, `live` is what a service says; here it is what this one does."""
    here = (await served.ask("/api/status")).json()
    assert here == json.loads(json.dumps(served.site.status()))
    tables = [f'{name}]\nresources = ["{table["resources"][0]}"]' for name, table in served.mirror.tables.items()]
    write_config(served.root.parent, served.mirror.upstream.url, *tables)
    told = run("status", "--json", cwd=served.root.parent).json
    assert {**here, "live": None} == told


WRONG = {
    "from=2026-13-01": "from: '2026-13-01' is not a day; write it as YYYY-MM-DD",
    "from=2026-02-01&to=2026-01-01": "from: 2026-02-01 is later than to 2026-01-01",
    "updated_from=x": "updated_from: 'x' is not a day; write it as YYYY-MM-DD",
    "updated-from=x": "updated_from: 'x' is not a day; write it as YYYY-MM-DD",
    "bbox=1,2,3": "bbox: '1,2,3' is not four numbers; write west,south,east,north in degrees, as 5.5,44.7,6.4,45.9",
    "bbox=nan,2,3,4": "bbox: 'nan,2,3,4' is not a box in degrees: west,south,east,north, the smaller number first",
    "limit=0": "limit: '0' is not a number of 1 or more",
    "limit=-1": "limit: '-1' is not a number of 1 or more",
    "limit=1&limit=2": "limit: may be given only once",
    "latest=maybe": "latest: 'maybe' is neither 1 nor 0",
    "state=gone": "state: 'gone' is none; there are current, superseded, withdrawn, parked",
    "zone=": "zone: must not be empty",
    "zone=" + "&zone=".join(["D038"] * 101): "zone: may be given at most 100 times",
    "q=a%00b": "q: must not hold NUL",
    "zones=D038": 'zones: there is no such parameter; did you mean "zone"?',
    "%0d%0aX=1": "there is no such parameter",
}


@pytest.mark.parametrize("query", WRONG, ids=lambda text: text[:30])
async def test_what_is_asked_wrongly_is_named(tmp_path: Path, query: str) -> None:
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1), sync=False) as served:
        answer = await served.ask(f"/api/query?{query}")
    assert answer.status == 400
    assert WRONG[query] in answer.json()["error"]
    assert answer.text.count("\n") == 0
    assert len(answer.json()["error"]) <= 300


async def test_a_parameter_of_another_address_is_unknown_here(tmp_path: Path) -> None:
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1), sync=False) as served:
        for path in ("/api/status?q=x", "/api/runs?zone=D038", "/api/openapi.json?x"):
            assert (await served.ask(path)).status == 400, path


@pytest.mark.parametrize("path", ["/api", "/api/"])
async def test_the_address_alone_leads_to_the_description(tmp_path: Path, path: str) -> None:
    async with served_mirror(tmp_path / "root", simple_catalogue(1, 1, 1), public_url="https://geo.example/mirror") as mirror:
        answer = await mirror.ask(path)
    assert (answer.status, answer.headers["Location"]) == (302, "/mirror/api/openapi.json")


async def test_only_reading_and_only_in_the_address(tmp_path: Path) -> None:
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1)) as served:
        head, whole = await served.ask("/api/query", "HEAD"), await served.ask("/api/query")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(whole.body)))
        options = await served.ask("/api/query", "OPTIONS", Origin="https://elsewhere.example")
        assert (options.status, options.headers["Allow"], options.body) == (204, "GET, HEAD, OPTIONS", b"")
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            refused = await served.ask("/api/query", method)
            assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD,OPTIONS")
            assert refused.json()["status"] == 405
        long = await served.ask("/api/query?q=" + "x" * 5000)
        assert (long.status, "at most 4096" in long.json()["error"]) == (414, True)
        for size, status in ((10, 400), (100_000, 413)):
            async with served.client.get(f"{served.url}/api/query", data=b"x" * size) as answer:
                assert (answer.status, "takes no body" in (await answer.json())["error"]) == (status, True)


async def test_scripts_of_other_sites_cannot_read_answers(served: ServedMirror) -> None:
    answer = await served.ask("/api/query", Origin="https://elsewhere.example")
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


async def test_an_answer_that_is_known_is_not_sent_again(served: ServedMirror) -> None:
    for path in ("/api/query?limit=2", "/api/runs", "/api/changes", "/api/changes.atom", "/api/openapi.json"):
        first = await served.ask(path)
        again = await served.ask(path, If_None_Match=first.headers["ETag"])
        assert (first.status, again.status, again.body) == (200, 304, b""), path


async def test_without_an_index_it_says_so_and_recovers(tmp_path: Path) -> None:
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1), sync=False) as served:
        for path in ("/api/query", "/api/runs", "/api/changes"):
            assert (await served.ask(path)).status == 503, path
        assert (await served.ask("/api/status")).json()["files"] == 0
        await served.sync()
        assert len((await served.ask("/api/query")).json()) == 1
        (tmp_path / FILE).write_bytes(b"no index at all")
        for end in ("-wal", "-shm"):
            (tmp_path / f"{FILE}{end}").unlink(missing_ok=True)
        answer = await served.ask("/api/query")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
