"""The running service as others see it: over HTTP, by `status`, in the textfile; and what it asks while nothing is due."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from . import command
from .command import run, write_config
from .upstream import FakeUpstream, faults, simple_catalogue


class Seen:
    """A service that was started in `folder`, and where it answers."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.process = process
        self.log: list[str] = []
        self.url = self.wait_for(r"serves the mirror at (http://[^/]+)/")[1]

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line of the log, of those not yet read, that matches."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(pattern, line):
                return found
        pytest.fail(f"the service ended before it said {pattern!r}: {self.log}")

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def status(self) -> Any:
        return run("status", "--json", cwd=self.folder).json


@contextmanager
def service(folder: Path, *options: str) -> Iterator[Seen]:
    process = command.start(*options, "run", cwd=folder)
    try:
        yield Seen(folder, process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_what_a_service_does_is_to_be_seen_while_it_does_it(tmp_path: Path) -> None:
    """A transfer under way with its share, by `status` as JSON and for people, and over HTTP; then that it is over."""
    with FakeUpstream(simple_catalogue(1, 1, 1, 1_000_000)).in_thread() as fake:
        fake.script("download", [faults.trickle(250_000)])
        tables = 'x]\nresources = ["*"]\nschedule = "every 12h"\n[service]\njitter = "0s"\ntextfile = "mirror.prom"'
        write_config(tmp_path, fake.url, tables)
        with service(tmp_path, "--log", "json", "-vv") as seen:
            seen.wait_for('"event": "run-began"')
            seen.wait_for('"event": "transfer-started"')
            live = seen.status()["live"]
            assert live["run"]["subscriptions"] == ["x"]
            assert live["run"]["stage"] == "fetching"
            assert [transfer["size"] for transfer in live["transfers"]] == [1_000_000]
            told = run("status", cwd=tmp_path).out
            assert re.search(r"^syncing x, by schedule, .*: fetching; 0 of 1 file", told, re.MULTILINE)
            assert "inspire_mirror_transfers 1.0" in seen.get("/metrics")[1]
            seen.wait_for('"event": "run-ended"')
            document = seen.status()
            assert document["live"]["run"] is None
            assert document["subscriptions"][0]["outcome"] == "complete"
            assert document["subscriptions"][0]["next_run"]
            code, text = seen.get("/health")
            assert (code, json.loads(text)["status"]) == (200, "ok")
            metrics = seen.get("/metrics")[1]
            assert re.findall(r"^inspire_mirror_runs_total.*", metrics, re.MULTILINE) == [
                'inspire_mirror_runs_total{outcome="complete"} 1.0'
            ]
            assert re.search(r"inspire_mirror_subscription_next_run_timestamp_seconds\{.*\} \d", metrics)
    assert 'inspire_mirror_last_run_exit_code{command="sync"} 0.0' in (tmp_path / "mirror.prom").read_text("utf-8")


def test_without_a_service_status_has_nothing_live(tmp_path: Path) -> None:
    write_config(tmp_path, "http://127.0.0.1:1/capabilities", 'x]\nresources = ["*"]')
    document = run("status", "--json", cwd=tmp_path).json
    assert document["live"] is None
    assert document["subscriptions"][0]["next_run"] is None


def test_a_service_whose_port_is_taken_says_so_and_ends(tmp_path: Path) -> None:
    write_config(tmp_path, "http://127.0.0.1:1/capabilities", 'x]\nresources = ["*"]')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("run", cwd=tmp_path, INSPIRE_MIRROR_SERVE__LISTEN=address)
    assert done.code == 2
    assert f"[serve] listen: {address}: another program listens there" in done.err


def test_an_idle_service_asks_its_upstream_for_one_small_page(tmp_path: Path) -> None:
    """And writes down how that went, when it ends at the latest."""
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'x]\nresources = ["*"]\n[service]\nprobe_every = "1s"')
        assert run("sync", cwd=tmp_path).code == 0
        fake.clear()
        with service(tmp_path, "-vv") as seen:
            seen.wait_for(r"GET http.*limit=1")
            seen.wait_for(r"HTTP 200 after")
        probes = fake.matching("capabilities")
        assert {(record.query["page"], record.query["limit"]) for record in probes} == {("1", "1")}
    (month,) = run("status", "--upstream", "--json", cwd=tmp_path).json["upstreams"][0]["months"]
    assert month["requests"] >= 4
