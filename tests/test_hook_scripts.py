"""The commands that come in config/hooks: write-sums, post-webhook, mail-failure. load-postgis has a file of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from .hooking import Hooked, recorder, told
from .mirrored import EVERYTHING
from .upstream import FakeUpstream, faults, simple_catalogue, withdraw

HOOKS = Path(__file__).parents[1] / "config" / "hooks"
FIRST = simple_catalogue(1, 2, 2)
SUB = FIRST.resources[0].subs[0]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(FIRST) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Hooked:
    return Hooked(tmp_path / "root", upstream)


@pytest.mark.parametrize("path", sorted(HOOKS.iterdir()), ids=lambda path: path.name)
def test_each_can_be_run_and_says_what_it_is(path: Path) -> None:
    assert os.access(path, os.X_OK)
    first, second, *_ = path.read_text("utf-8").splitlines()
    assert first == "#!/usr/bin/env python3"
    assert second.startswith('"""')
    assert path.read_text("utf-8").count(f'= ["/usr/lib/inspire-mirror/hooks/{path.name}"') == 1


# write-sums


async def test_sums_are_those_that_the_tools_take(mirror: Hooked, tmp_path: Path) -> None:
    """And the mirror has nothing in it that is not its own."""
    mirror.tables = {"all": {**EVERYTHING, "on_publish": [str(HOOKS / "write-sums"), str(tmp_path / "sums")]}}
    assert (await mirror.sync_and_run()).exit_code == 0
    folder = mirror.root / "data" / "gpf" / "BDALPHA" / SUB.id
    for tool, name in (("md5sum", "MD5SUMS"), ("sha256sum", "SHA256SUMS")):
        sums = tmp_path / "sums" / "gpf" / "BDALPHA" / SUB.id / name
        done = subprocess.run([tool, "-c", str(sums)], cwd=folder, capture_output=True, text=True, check=False)  # noqa: ASYNC221
        assert (done.returncode, done.stdout.count(": OK")) == (0, 2)
    assert sorted(path.name for path in sums.parent.iterdir()) == ["MD5SUMS", "SHA256SUMS"]


async def test_sums_of_what_was_deleted_go_and_other_files_stay(mirror: Hooked, tmp_path: Path) -> None:
    sums = tmp_path / "sums" / "gpf" / "BDALPHA"
    mirror.tables = {"all": {**EVERYTHING, "on_publish": [str(HOOKS / "write-sums"), str(tmp_path / "sums")]}}
    (sums / "mine").mkdir(parents=True)
    (sums / "mine" / "notes").touch()
    (sums / "gone").mkdir()
    (sums / "gone" / "MD5SUMS").touch()
    assert (await mirror.sync_and_run()).exit_code == 0
    assert sorted(path.name for path in sums.iterdir()) == sorted([*(sub.id for sub in FIRST.resources[0].subs), "mine"])


async def test_sums_do_not_go_into_the_mirror(mirror: Hooked) -> None:
    mirror.tables = {"all": {**EVERYTHING, "on_publish": [str(HOOKS / "write-sums"), str(mirror.root / "data" / "sums")]}}
    assert (await mirror.sync_and_run()).exit_code == 1
    assert "is the mirror's own; name a folder outside it" in mirror.reasons()[0]


# post-webhook


class Receiver:
    """Takes what is posted to it, and answers what it is told to."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.answers: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, text="told you", headers={"Location": "/elsewhere"} if status == 302 else {})


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    application = web.Application()
    application.router.add_post("/hook", made.take)
    async with TestServer(application) as server:
        yield made, str(server.make_url("/hook"))


async def test_what_happened_is_posted(mirror: Hooked, receiver: tuple[Receiver, str], tmp_path: Path) -> None:
    taken, url = receiver
    (tmp_path / "url").write_text(f"{url}\n")
    post = [str(HOOKS / "post-webhook"), "--url-file", str(tmp_path / "url")]
    mirror.tables = {"all": {**EVERYTHING, "on_publish": post, "on_complete": [*post, "--text-only"], "on_failure": post}}
    mirror.upstream.catalogue = withdraw(FIRST, "BDALPHA", FIRST.resources[0].subs[1].id)
    assert (await mirror.sync_and_run()).exit_code == 0, mirror.reasons()
    mirror.upstream.catalogue = FIRST
    mirror.upstream.script("*/download/*-2.bin", [faults.status(403)], forever=True)
    await mirror.sync_and_run()
    published, complete, failed = taken.bodies
    assert published["text"] == f"all: {SUB.id} is here: 2 files, edition 2026-03-15"
    assert published["mirror"]["path"].endswith(SUB.id)
    assert complete == {"text": "all: complete; 1 sub-resources published"}
    assert failed["text"].startswith("all: incomplete: ")
    assert failed["text"].endswith(" wanted files are not here as upstream lists them; `status` says which and why (1 failures)")


@pytest.mark.parametrize(
    ("answers", "posts", "code", "words"),
    [
        ([503, 429, 204], 3, 0, "posted (204, try 3)"),
        ([404], 1, 1, "HTTP 404: told you"),
        ([302], 1, 1, "HTTP 302"),
        ([500, 500], 2, 1, "HTTP 500: told you (after 2 tries)"),
    ],
)
async def test_it_is_posted_again_where_that_helps(
    receiver: tuple[Receiver, str], answers: list[int], posts: int, code: int, words: str
) -> None:
    taken, url = receiver
    taken.answers = list(answers)
    manifest = {"hook": "on_complete", "subscription": "all", "outcome": "complete", "published": []}
    done = await run([str(HOOKS / "post-webhook"), url, "--tries", str(max(2, len(answers)))], manifest)
    assert (done.returncode, len(taken.bodies)) == (code, posts)
    assert words in (done.stderr if code else done.stdout)


async def run(command: list[str], manifest: dict[str, Any], **env: str) -> subprocess.CompletedProcess[str]:
    """In a thread: it is answered by this one."""
    return await asyncio.to_thread(
        subprocess.run, command, input=json.dumps(manifest), capture_output=True, text=True, check=False, env={**os.environ, **env}
    )


async def test_a_webhook_that_is_not_there_is_told() -> None:
    manifest = {"hook": "on_complete", "subscription": "all", "outcome": "complete", "published": []}
    done = await run([str(HOOKS / "post-webhook"), "http://127.0.0.1:9/", "--tries", "1"], manifest)
    assert (done.returncode, "Connection refused" in done.stderr) == (1, True)
    done = await run([str(HOOKS / "post-webhook"), "file:///etc/passwd"], manifest)
    assert done.returncode == 2


# mail-failure


async def test_a_failure_is_mailed(mirror: Hooked, tmp_path: Path) -> None:
    """Through a sendmail of the test; names from outside stay in their place."""
    mirror.tables = {"all": {**EVERYTHING, "on_failure": recorder(tmp_path / "log")}}
    mirror.upstream.script("*/download/*-2.bin", [faults.status(403)], forever=True)
    await mirror.sync_and_run()
    (manifest,) = told(tmp_path / "log")
    sendmail = tmp_path / "bin" / "sendmail"
    sendmail.parent.mkdir()
    sendmail.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/mail\n')
    sendmail.chmod(0o755)
    manifest["outcome"] = "incomplete"
    done = await run([str(HOOKS / "mail-failure"), "sig@example.org"], manifest, PATH=f"{sendmail.parent}:{os.environ['PATH']}")
    assert done.stdout == "mailed to sig@example.org\n"
    mail = (tmp_path / "mail").read_text()
    assert "Subject: inspire-mirror: all is incomplete\n" in mail
    assert "To: sig@example.org\n" in mail
    assert f"- BDALPHA/{SUB.id}/{SUB.files[1].name}: " in mail.replace("=\n", "")
