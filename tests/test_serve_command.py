"""`serve` as users start it: a process that answers over HTTP until it is told to end, alone or beside the service."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .command import fetch, run, write_config
from .running import Running, running
from .upstream import FakeUpstream, simple_catalogue

ALL = '[subscription.all]\nresources = ["*"]\nedition = "all"\n'


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(simple_catalogue(2, 3, 2)).in_thread() as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Path:
    """A folder with a config, and a mirror that is in sync."""
    configure(tmp_path, upstream)
    assert run("sync", cwd=tmp_path).code == 0
    return tmp_path


def configure(folder: Path, upstream: FakeUpstream, more: str = "") -> None:
    write_config(folder, upstream.url, more="[limits]\nmin_free = 0\n")
    with (folder / "inspire-mirror.toml").open("a") as config:
        config.write(f"{ALL}{more}")


def address(server: Running) -> str:
    found = re.search(r"serves the mirror at (http://[0-9.:]+)/", server.wait_log("serves the mirror at"))
    assert found
    return found[1]


def capabilities(url: str) -> dict[str, Any]:
    status, body = fetch(f"{url}/gpf/capabilities?outputFormat=application/json")
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def test_it_serves_until_it_is_told_to_end(mirror: Path) -> None:
    with running(mirror, command_="serve") as server:
        url = address(server)
        assert capabilities(url)["totalentries"] == 2
        page = json.loads(fetch(f"{url}/gpf/resource/BDALPHA?outputFormat=application/json")[1])
        below = json.loads(fetch(page["entry"][0]["id"] + "?outputFormat=application/json")[1])
        file = below["entry"][0]["link"][0]
        status, body = fetch(file["href"])
        assert (status, len(body)) == (200, file["length"])
        assert server.end() == 0


def test_ctrl_c_ends_it_too(mirror: Path) -> None:
    with running(mirror, command_="serve") as server:
        assert server.end(signal.SIGINT) == 130


def test_a_sync_beside_it_shows_at_once(mirror: Path, upstream: FakeUpstream) -> None:
    with running(mirror, command_="serve") as server:
        url = address(server)
        assert capabilities(url)["totalentries"] == 2
        upstream.catalogue = simple_catalogue(3, 3, 2)
        assert run("sync", cwd=mirror, INSPIRE_MIRROR_UPSTREAM__GPF__FULL_LISTING_EVERY="1s").code == 0
        assert capabilities(url)["totalentries"] == 3


def test_it_may_come_before_the_first_sync(tmp_path: Path, upstream: FakeUpstream) -> None:
    configure(tmp_path, upstream)
    with running(tmp_path, command_="serve") as server:
        url = address(server)
        assert fetch(f"{url}/gpf/capabilities")[0] == 503
        assert run("sync", cwd=tmp_path).code == 0
        assert capabilities(url)["totalentries"] == 2


def test_the_service_serves_as_well(mirror: Path) -> None:
    with running(mirror) as service:
        assert capabilities(address(service))["totalentries"] == 2


def test_a_reload_takes_what_can_be_taken(mirror: Path, upstream: FakeUpstream) -> None:
    with running(mirror, command_="serve") as server:
        url = address(server)
        configure(mirror, upstream, '[serve]\npublic_url = "https://sig.example.org/m"\n')
        server.send(signal.SIGHUP)
        server.wait_log("the config was read again")
        assert capabilities(url)["id"] == "https://sig.example.org/m/gpf/capabilities"
        configure(mirror, upstream, '[serve]\npublic_url = "nonsense"\n')
        server.send(signal.SIGHUP)
        server.wait_log("the config was not taken")
        assert capabilities(url)["id"] == "https://sig.example.org/m/gpf/capabilities"


def test_it_listens_where_the_command_line_says_also_after_a_reload(mirror: Path, upstream: FakeUpstream) -> None:
    """The log names that address first, and then the one that links start with."""
    configure(mirror, upstream, '[serve]\nlisten = "192.0.2.1:1"\npublic_url = "https://sig.example.org/m"\n')
    with running(mirror, command_="serve --listen 127.0.0.1:0") as server:
        said = server.wait_log("serves the mirror at")
        found = re.search(r"serves the mirror at (http://127\.0\.0\.1:\d+)/, seen as https://sig\.example\.org/m/", said)
        assert found
        assert capabilities(found[1])["totalentries"] == 2
        server.send(signal.SIGHUP)
        server.wait_log("the config was read again")
        assert capabilities(found[1])["totalentries"] == 2


def test_what_is_no_address_to_listen_at_is_said_with_exit_code_2(mirror: Path) -> None:
    done = run("serve", "--listen", "8421", cwd=mirror)
    assert (done.code, "--listen" in done.err, "must be HOST:PORT" in done.err) == (2, True, True)


def test_a_taken_port_is_said_with_exit_code_2(mirror: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--json", cwd=mirror, INSPIRE_MIRROR_SERVE__LISTEN=listen)
    assert done.code == 2
    assert done.json["exit_code"] == 2
    assert f"[serve] listen: {listen}: another program listens there" in done.err
