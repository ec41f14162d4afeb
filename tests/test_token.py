"""With a token, metrics, the JSON API and the status page answer only who names it; the token itself is told to nobody."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from .command import run, start, write_config
from .served import ServedMirror, served_mirror
from .upstream import simple_catalogue

TOKEN = "t0ken-QZX9-of-the-mirror"  # noqa: S105 (a marker to look for)
OTHER = "an0ther-token"
GUARDED = ("/metrics", "/api/query", "/api/status", "/api/runs", "/api/changes", "/api/changes.atom", "/api/openapi.json")
FORBIDDEN_TOO = ("/api", "/api/", "/api/nothing", "/-/status", "/%61pi/query", "/%2D/status", "/metrics/")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path / "mirror", simple_catalogue(1, 2, 1), token=TOKEN) as found:
        yield found


async def test_nobody_gets_in_without_it(served: ServedMirror) -> None:
    for path in (*GUARDED, *FORBIDDEN_TOO):
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            refused = await served.ask(path, method)
            assert refused.status == 401, (method, path)
            assert refused.headers.getall("WWW-Authenticate") == [
                'Bearer realm="inspire-mirror"',
                'Basic realm="inspire-mirror", charset="UTF-8"',
            ]
    assert "needs a token" in (await served.ask("/api/query")).json()["error"]
    assert (await served.ask("/health")).status == 200


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", basic("", TOKEN), basic("any body", TOKEN)])
async def test_who_names_it_gets_in(served: ServedMirror, header: str) -> None:
    for path in GUARDED:
        answer = await served.ask(path, Authorization=header)
        assert answer.status == 200, path
        assert "Authorization" in answer.headers.getall("Vary")
        assert "Cache-Control" in answer.headers


WRONG = [
    f"Bearer {OTHER}",
    "Bearer",
    "Bearer ",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN.upper()}",
    f"Token {TOKEN}",
    TOKEN,
    basic(TOKEN, ""),
    basic("user", OTHER),
    "Basic " + base64.b64encode(TOKEN.encode()).decode(),
    "Basic ====",
    "Basic ünsinn",
    "Bearer ünsinn",
]


@pytest.mark.parametrize("header", WRONG)
async def test_anything_else_does_not(served: ServedMirror, header: str) -> None:
    answer = await served.ask("/api/query", Authorization=header)
    assert answer.status == 401
    assert TOKEN not in answer.text


async def test_it_does_not_count_in_an_address(served: ServedMirror) -> None:
    for name in ("token", "access_token", "apikey"):
        assert (await served.ask(f"/api/query?{name}={TOKEN}")).status == 401


async def test_a_new_config_changes_it(served: ServedMirror) -> None:
    served.configure(token=OTHER)
    assert (await served.ask("/metrics", Authorization=f"Bearer {TOKEN}")).status == 401
    assert (await served.ask("/metrics", Authorization=f"Bearer {OTHER}")).status == 200
    served.configure(token=None)
    assert (await served.ask("/metrics")).status == 200


async def test_a_token_that_was_not_read_lets_nobody_in(served: ServedMirror, tmp_path: Path) -> None:
    """Settings of a command that reads no secrets have the file and no token."""
    served.serve.clear()
    served.configure(token_file=str(tmp_path / "secret"))
    for header in ("", "Bearer ", f"Bearer {TOKEN}"):
        assert (await served.ask("/metrics", Authorization=header)).status == 503
    assert (await served.ask("/health")).status == 200


async def test_no_answer_and_no_event_tells_it(served: ServedMirror) -> None:
    served.mirror.upstream.script("download", [], forever=True)
    said = []
    for path in (*GUARDED, *FORBIDDEN_TOO, "/health", "/api/query?limit=x"):
        for header in (f"Bearer {TOKEN}", basic("u", TOKEN), f"Bearer {OTHER}"):
            answer = await served.ask(path, Authorization=header)
            said += [answer.text, str(answer.headers)]
    said += [str(event) for event in served.events]
    assert not [text for text in said if TOKEN in text or base64.b64encode(TOKEN.encode()).decode()[:-4] in text]


@pytest.mark.parametrize("place", ["token", "token_file"])
async def test_serve_takes_it_from_the_config_and_anew_on_reload(tmp_path: Path, place: str) -> None:
    """The command itself: neither what it prints nor its config shows the token; SIGHUP takes another."""
    secret = tmp_path / "secret"
    secret.write_text(TOKEN + "\n", "utf-8")
    secret.chmod(0o600)

    def configure(token: str) -> None:
        secret.write_text(token + "\n", "utf-8")
        line = f'token = "{token}"' if place == "token" else f'token_file = "{secret}"'
        write_config(tmp_path, "http://127.0.0.1:9/", more=f'[serve]\nlisten = "127.0.0.1:0"\n{line}\n')

    configure(TOKEN)
    shown = run("config", "check", "--json", cwd=tmp_path)
    assert (shown.code, TOKEN in shown.out + shown.err) == (0, False)
    assert json.loads(shown.out)["serve"]["token"] == ("********" if place == "token" else None)
    process = start("-v", "serve", cwd=tmp_path)
    assert process.stderr is not None
    said: list[str] = []
    try:
        url = ""
        while not url:
            said.append(await asyncio.to_thread(process.stderr.readline))
            assert said[-1], said
            url = next((word.rstrip("/.,;") for word in said[-1].split() if word.startswith("http://")), "")
        async with aiohttp.ClientSession() as client:

            async def status(token: str) -> int:
                async with client.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}) as answer:
                    return answer.status

            assert (await status(TOKEN), await status(OTHER)) == (200, 401)
            configure(OTHER)
            process.send_signal(signal.SIGHUP)
            while "read again" not in said[-1]:
                said.append(await asyncio.to_thread(process.stderr.readline))
                assert said[-1], said
            assert (await status(TOKEN), await status(OTHER)) == (401, 200)
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert not [text for text in (out, err, *said) if TOKEN in text or OTHER in text]
