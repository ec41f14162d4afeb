"""What machines look at: /health and /metrics, over real sockets, from a mirror that was really synced."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mirror.errors import ConfigError
from mirror.events import Event, Note, RunEnded, Walled
from mirror.hooks import sync_with_hooks
from mirror.observing.observer import Observer
from mirror.observing.standings import failing_hooks
from mirror.serving.app import make_app
from mirror.serving.listener import Listener
from mirror.serving.shared import Shared
from mirror.serving.site import Site
from mirror.settings.addresses import Address
from mirror.store.index import FILE
from mirror.sync import sync

from .mirrored import EVERYTHING, HASTE, Mirrored
from .upstream import FakeUpstream, faults, simple_catalogue


@dataclass
class Served:
    """A mirror, and who looks at it over HTTP."""

    mirror: Mirrored
    observer: Observer
    url: str
    events: list[Event]

    async def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], str]:
        async with aiohttp.ClientSession() as client, client.request(method, self.url + path, headers=headers) as response:
            return response.status, response.headers.copy(), await response.text()

    async def health(self) -> tuple[int, dict[str, Any]]:
        status, _, text = await self.get("/health")
        return status, json.loads(text)

    async def codes(self) -> tuple[int, list[str]]:
        status, document = await self.health()
        return status, [reason["code"] for reason in document["reasons"]]

    async def sync(self) -> None:
        report = await sync(self.mirror.settings, emit=self.observer, now=self.mirror.clock, patience=HASTE)
        assert report.requests


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with FakeUpstream(simple_catalogue(1, 3, 2)) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream, daily={**EVERYTHING, "schedule": "daily 03:15"})
        observer = Observer(mirror.settings, now=mirror.clock)
        events: list[Event] = []
        listener = Listener(make_app(Site(observer, events.append), fresh=0), Address("127.0.0.1", 0))
        await listener.start()
        yield Served(mirror, observer, listener.url, events)
        await listener.stop()


# -- health


async def test_all_is_well(served: Served) -> None:
    await served.sync()
    status, headers, text = await served.get("/health")
    assert (status, json.loads(text)) == (200, {"status": "ok", "reasons": []})
    assert headers["Content-Type"].startswith("application/json")
    assert headers["Cache-Control"] == "no-store"


async def test_plain_text_for_who_asks_for_it(served: Served) -> None:
    await served.sync()
    served.mirror.clock.pass_(days=4)
    status, headers, text = await served.get("/health", Accept="text/plain")
    assert status == 503
    assert headers["Content-Type"].startswith("text/plain")
    first, second = text.splitlines()
    assert first == "failing"
    assert re.fullmatch(r"stale: daily was last complete 4 days ago, .*", second)


async def test_a_mirror_that_was_never_synced_warns(served: Served) -> None:
    assert await served.codes() == (200, ["no-index"])


async def test_a_subscription_that_misses_its_schedule_is_stale_and_recovers(served: Served) -> None:
    await served.sync()
    served.mirror.clock.pass_(days=2)
    assert await served.codes() == (200, [])
    served.mirror.clock.pass_(days=1, hours=10)
    status, document = await served.health()
    assert status == 503
    assert document["status"] == "failing"
    (reason,) = document["reasons"]
    assert (reason["code"], reason["severity"], reason["subscription"], reason["upstream"]) == ("stale", "failing", "daily", "gpf")
    await served.sync()
    assert await served.codes() == (200, [])


async def test_parked_files_are_a_reason_and_no_failure(served: Served) -> None:
    served.mirror.upstream.script("*/download/*-1.bin", [faults.status(403)], forever=True)
    served.mirror.upstream.script("download", [faults.status(403)], forever=True)
    await served.sync()
    status, document = await served.health()
    assert (status, document["status"]) == (200, "warning")
    (reason,) = document["reasons"]
    assert reason["code"] == "parked"
    assert reason["upstream"] == "gpf"


async def test_a_full_disk_fails(served: Served) -> None:
    await served.sync()
    served.mirror.limits = {"min_free": "1000 TB"}
    served.observer.settings = served.mirror.settings
    assert await served.codes() == (503, ["disk-low"])


async def test_an_index_that_is_gone_or_damaged_fails(served: Served) -> None:
    """And what looked well before is not taken for a mirror that was never synced: its disk may not be mounted."""
    await served.sync()
    assert await served.codes() == (200, [])
    index = served.mirror.root / FILE
    whole = index.read_bytes()
    index.write_bytes(b"no database at all" * 1000)
    for name in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(f"{index}{name}")
    assert await served.codes() == (503, ["index"])
    os.unlink(index)
    assert await served.codes() == (503, ["index"])
    index.write_bytes(whole)
    assert await served.codes() == (200, [])


async def test_a_wall_and_a_silent_upstream_are_told(served: Served) -> None:
    await served.sync()
    served.observer(Walled("gpf", 429, 3600, 1.0))
    assert await served.codes() == (200, ["upstream-walled"])
    await served.mirror.upstream.stop()
    served.mirror.clock.pass_(hours=1)
    await served.sync()
    status, codes = await served.codes()
    assert (status, set(codes)) == (200, {"upstream-walled", "upstream-silent"})


async def test_what_the_service_hands_in(served: Served) -> None:
    await served.sync()
    served.observer.service.stalled = lambda: 7200.0
    assert await served.codes() == (503, ["stalled"])


async def test_a_command_that_fails_is_told_by_its_name(served: Served) -> None:
    """As long as it has not succeeded, or been given up for good."""
    served.mirror.tables = {"daily": {**EVERYTHING, "schedule": "daily 03:15", "on_complete": ["/bin/false"]}}
    report = await sync_with_hooks(served.mirror.settings, emit=served.observer, now=served.mirror.clock, patience=HASTE)
    assert report.outcome
    status, document = await served.health()
    assert (status, [reason["code"] for reason in document["reasons"]]) == (200, ["hooks"])
    assert document["reasons"][0]["message"] == "a command fails: on_complete of daily"
    assert "inspire_mirror_hooks_failing 1.0" in (await served.get("/metrics"))[2]


async def test_a_command_that_fails_alike_for_many_is_told_once(served: Served) -> None:
    """The metric counts them all."""
    served.mirror.tables = {"daily": {**EVERYTHING, "schedule": "daily 03:15", "on_publish": ["/bin/false"]}}
    await sync_with_hooks(served.mirror.settings, emit=served.observer, now=served.mirror.clock, patience=HASTE)
    _, document = await served.health()
    (message,) = [reason["message"] for reason in document["reasons"] if reason["code"] == "hooks"]
    assert message.startswith("a command fails: on_publish of daily for BDALPHA/")
    assert message.endswith(" and 2 more")
    assert "inspire_mirror_hooks_failing 3.0" in (await served.get("/metrics"))[2]
    (shown,) = failing_hooks(served.observer.status()["hooks"])
    assert (shown["sub_resource"].endswith(" and 2 more"), shown["attempts"]) == (True, 1)


async def test_a_root_that_goes_before_anybody_has_asked_fails(served: Served, tmp_path: Path) -> None:
    """An unmounted disk under a running service is no mirror that was never synced."""
    await served.sync()
    served.observer(RunEnded(("daily",), "complete", "", 1.0, 1, 1))
    (tmp_path / "root").rename(tmp_path / "gone")
    status, codes = await served.codes()
    assert (status, "index" in codes, "no-index" in codes) == (503, True, False)
    (tmp_path / "gone").rename(tmp_path / "root")
    fresh = Observer(served.mirror.settings, now=served.mirror.clock)
    (tmp_path / "root").rename(tmp_path / "gone")
    assert fresh.health().status == "failing"


# -- metrics


async def test_metrics_parse_and_say_what_was_done(served: Served) -> None:
    await served.sync()
    status, headers, text = await served.get("/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    daily = ("subscription", "daily"), ("upstream", "gpf")
    gpf = ("upstream", "gpf")
    assert samples["inspire_mirror_subscription_files_expected", *daily] == 6
    assert samples["inspire_mirror_subscription_files_missing", *daily] == 0
    assert samples["inspire_mirror_subscription_last_success_timestamp_seconds", *daily] == served.mirror.clock().timestamp()
    assert samples["inspire_mirror_files", ("state", "current"), gpf] == 6
    assert samples["inspire_mirror_file_bytes", ("state", "current"), gpf] == 6000
    assert samples["inspire_mirror_received_bytes_total", gpf] == 6000
    assert samples["inspire_mirror_requests_total", ("kind", "file"), ("status", "200"), gpf] == 6
    assert samples["inspire_mirror_request_duration_seconds_count", gpf] == served.mirror.upstream.count()
    assert samples["inspire_mirror_healthy",] == samples["inspire_mirror_index_up",] == 1
    assert samples["inspire_mirror_upstream_availability_ratio", gpf] == 1
    assert samples["inspire_mirror_disk_free_bytes",] > 0
    assert samples["process_resident_memory_bytes",] > 0


async def test_metrics_are_to_be_had_without_an_index_and_with_a_damaged_one(served: Served) -> None:
    for content in (None, b"no database" * 1000):
        if content is not None:
            served.mirror.root.mkdir()
            (served.mirror.root / FILE).write_bytes(content)
        status, _, text = await served.get("/metrics")
        assert status == 200
        assert "inspire_mirror_index_up 0.0" in text


async def test_a_scrape_while_a_sync_writes_sees_one_state(served: Served) -> None:
    """Neither waits for the other, whoever holds the index."""
    await served.sync()
    with closing(sqlite3.connect(served.mirror.root / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM subscriptions")
        status, _, text = await asyncio.wait_for(served.get("/metrics"), 10)
        other.execute("ROLLBACK")
    assert status == 200
    assert "inspire_mirror_subscription_files_expected" in text


async def test_a_question_that_many_ask_is_asked_once() -> None:
    asked: list[int] = []
    seconds = [0.0]

    def question() -> int:
        asked.append(1)
        return len(asked)

    shared = Shared(question, lambda: seconds[0])
    assert await asyncio.gather(*(shared.answer() for _ in range(50))) == [1] * 50
    seconds[0] = 0.9
    assert await shared.answer() == 1
    seconds[0] = 1.1
    assert await shared.answer() == 2


async def test_an_answer_that_failed_is_not_kept() -> None:
    answers = iter([0, 1])

    def question() -> float:
        return 1 / next(answers)

    shared = Shared(question)
    with pytest.raises(ZeroDivisionError):
        await shared.answer()
    assert await shared.answer() == 1


# -- HTTP


async def test_every_answer_is_guarded(served: Served) -> None:
    for path in ("/health", "/metrics", "/nothing"):
        _, headers, _ = await served.get(path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "inspire-mirror"


async def test_head_has_the_headers_of_get(served: Served) -> None:
    for path in ("/health", "/metrics"):
        status, headers, text = await served.get(path, "HEAD")
        assert (status, text) == (200, "")
        assert int(headers["Content-Length"]) > 0


async def test_unknown_paths_and_methods_are_errors_in_json(served: Served) -> None:
    status, headers, text = await served.get("/etc/passwd")
    assert (status, json.loads(text)) == (404, {"error": "Not Found", "status": 404})
    assert headers["Content-Type"].startswith("application/json")
    status, headers, text = await served.get("/health", "DELETE")
    assert (status, json.loads(text)["status"], headers["Allow"]) == (405, 405, "GET,HEAD")


async def test_what_goes_wrong_inside_is_told_to_the_log_and_not_to_who_asks(served: Served) -> None:
    def fails() -> int:
        raise RuntimeError("secret detail")

    await served.sync()
    served.observer.service.waiting = fails
    status, _, text = await served.get("/metrics")
    assert status == 500
    assert "secret" not in text
    assert any(isinstance(event, Note) and event.level == "warning" and "secret detail" in event.message for event in served.events)
    assert (await served.get("/health"))[0] == 200


async def test_requests_are_told_at_debug(served: Served) -> None:
    await served.get("/nothing")
    (note,) = [event for event in served.events if isinstance(event, Note)]
    assert (note.level, note.message) == ("debug", "127.0.0.1: GET /nothing 404")


async def test_what_is_no_http_and_what_is_too_large_is_turned_away(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for sent in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 9000 + b"\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        assert (await reader.read()).startswith(b"HTTP/1.1 400") or (await reader.read()) == b""
        writer.close()
    assert (await served.get("/health"))[0] == 200
    assert caplog.records == []


async def test_a_port_that_is_taken_is_one_clear_line(served: Served) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listener = Listener(make_app(Site(served.observer)), Address("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(ConfigError, match=r"\[serve\] listen: 127\.0\.0\.1:\d+: another program listens there"):
            await listener.start()


@pytest.mark.parametrize(
    ("host", "why"), [("192.0.2.1", "no such address"), ("no-such-host.invalid", "no address of this machine goes by that name")]
)
async def test_an_address_that_is_not_ours_is_one_clear_line(host: str, why: str, served: Served) -> None:
    listener = Listener(make_app(Site(served.observer)), Address(host, 0))
    with pytest.raises(ConfigError, match=why):
        await listener.start()


async def test_who_says_nothing_is_sent_away(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also who sends a request byte by byte; others are served meanwhile."""
    monkeypatch.setattr("mirror.serving.listener._HEAD_WITHIN", 0.2)
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /hea")
    assert (await served.get("/health"))[0] == 200
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_who_takes_no_answers_is_sent_away(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks on and on and reads nothing. Who reads slowly is served to the end, and an idle connection is closed."""
    monkeypatch.setattr("mirror.serving.listener._MOVES_WITHIN", 0.3)
    monkeypatch.setattr("mirror.serving.listener._KEPT_ALIVE", 1.0)
    listener = Listener(make_app(Site(served.observer)), Address("127.0.0.1", 0))
    await listener.start()
    address = ("127.0.0.1", int(listener.url.rpartition(":")[2]))
    loop = asyncio.get_running_loop()
    try:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, address)

            async def ask_on() -> None:
                while True:
                    await loop.sock_sendall(deaf, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 100)

            with pytest.raises(ConnectionError):
                await asyncio.wait_for(ask_on(), 30)
        reader, writer = await asyncio.open_connection(*address, limit=1024)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        answers = 0
        while block := await reader.read(8192):
            answers += block.count(b"HTTP/1.1 200")
            await asyncio.sleep(0.001)
        assert 19 <= answers <= 21  # one may lie across two blocks; the end is that of an idle connection
        writer.close()
    finally:
        await listener.stop()
