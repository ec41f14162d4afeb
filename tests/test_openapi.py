"""The description of the JSON API is true: what it allows is answered as it says, what it forbids is refused, by real requests."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from .command import environment
from .eventful import eventful_mirror
from .served import served_mirror
from .upstream import simple_catalogue

TOKEN = "a-token-0f-the-m1rror"  # noqa: S105 (a marker to look for)
SCHEMATHESIS = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

# A cursor of another index is well-formed, and gone: 410. What is too long is too long, whatever else it is: 414.
CONFIG = """
[phases.coverage]
unexpected-methods = ["POST", "TRACE"]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 414]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 304, 401, 410, 414]
"""


@pytest.mark.skipif(SCHEMATHESIS is None and not os.environ.get("CI"), reason="schemathesis is not installed")
@pytest.mark.parametrize("token", [None, pytest.param(TOKEN, marks=pytest.mark.slow)], ids=["open", "token"])
async def test_it_holds_for_whatever_is_asked(tmp_path: Path, token: str | None) -> None:
    """Statuses, media types and schemas of answers; wrong values, other methods, requests without the token."""
    assert SCHEMATHESIS is not None
    (tmp_path / "schemathesis.toml").write_text(CONFIG, "utf-8")
    async with eventful_mirror(tmp_path / "mirror", **({"token": token} if token else {})) as served:
        phases = "fuzzing" if token else "coverage,fuzzing"
        options = ["--seed=1", f"--max-examples={3 if token else 12}", f"--phases={phases}", "--checks=all"]
        options += ["--continue-on-failure", "--generation-database=none", "--no-color"]
        options += ["--header", f"Authorization: Bearer {token}"] if token else []
        process = await asyncio.create_subprocess_exec(
            *(SCHEMATHESIS, "run", f"{served.url}/api/openapi.json", *options),
            cwd=tmp_path,
            env=environment(SCHEMATHESIS_HOOKS="tests.possible"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        assert b"Selected: 5/5" in said
        assert not [event for event in served.events if getattr(event, "level", "") == "warning"]


async def test_every_address_is_described_and_no_other(tmp_path: Path) -> None:
    async with served_mirror(tmp_path, simple_catalogue(1, 1, 1), public_url="https://mirror.example.org/geo") as served:
        document = (await served.ask("/api/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        assert document["servers"] == [{"url": "https://mirror.example.org/geo"}]
        for path in document["paths"]:
            assert (await served.ask(path)).status == 200
    described = set(document["paths"])
    assert {path for path in described if not path.startswith("/api/")} == set()
    assert described == {f"/api/{name}" for name in ("query", "status", "runs", "changes", "changes.atom", "openapi.json")}
    operations = [path["get"] for path in document["paths"].values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert {"200", "304", "400", "401", "405", "413", "414", "503"} <= set(operation["responses"])


async def test_every_member_of_an_answer_is_described(tmp_path: Path) -> None:
    """Schemas let more through; what is answered now has to be in them."""
    async with eventful_mirror(tmp_path / "mirror") as served:
        schemas = (await served.ask("/api/openapi.json")).json()["components"]["schemas"]
        files = (await served.ask("/api/query?links=1&member=*")).json() + (await served.ask("/api/query?links=1")).json()
        runs, changes = (await served.ask("/api/runs")).json(), (await served.ask("/api/changes")).json()
        status = (await served.ask("/api/status")).json()
    answered = {
        "File": files,
        "Runs": [runs],
        "Run": runs["runs"],
        "Changes": [changes],
        "Change": changes["changes"],
        "Status": [status],
        "LastRun": [status["last_run"]],
        "Subscription": status["subscriptions"],
        "Parked": status["parked"],
    }
    for name, documents in answered.items():
        assert documents
        optional = set(schemas[name]["properties"]) - set(schemas[name]["required"])
        for document in documents:
            assert set(schemas[name]["required"]) <= set(document) <= set(schemas[name]["properties"]), name
        assert optional <= {"members", "href"}
