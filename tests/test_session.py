"""The session is polite and patient, and keeps its secret: whatever the upstream answers, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import socket
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from mirror import __version__
from mirror.errors import ConfigError, MirrorError, RequestFailed, UpstreamUnavailable
from mirror.events import Event, Requested, Retrying, Walled
from mirror.upstream.answer import LARGEST_FEED, read_retry_after
from mirror.upstream.session import Feed, Patience, Session, user_agent

from .tls import over_tls
from .upstream import FakeUpstream, Fault, faults, simple_catalogue

CATALOGUE = simple_catalogue(resources=1, subs=1, files=1, size=1000)
FILE = f"/download/{CATALOGUE.resources[0].id}/{CATALOGUE.resources[0].subs[0].id}/{CATALOGUE.resources[0].subs[0].files[0].name}"
JSON = "application/json"
QUICK = Patience(idle=0.2, retry_for=5, first_wait=0.001, longest_wait=0.002)
BRIEF = Patience(idle=0.2, retry_for=0.05, first_wait=0.005, longest_wait=0.01)


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


def session(base: FakeUpstream | str, events: list[Event] | None = None, **options: Any) -> Session:
    """A quick and patient session; `events` collects what it tells."""
    url = base if isinstance(base, str) else base.base
    options = {"requests_per_second": 1000, "patience": QUICK, **options}
    return Session("gpf", url, emit=(events if events is not None else []).append, **options)


async def capabilities(client: Session, upstream: FakeUpstream) -> Feed:
    return await client.feed(upstream.url, {"page": "1"}, JSON)


async def feed_through(upstream: FakeUpstream, script: list[Fault], *, forever: bool = False, **options: Any) -> list[Event]:
    """Read the capabilities through a script of faults; they come out right in the end. Returns the events."""
    upstream.script("capabilities", script, forever=forever)
    events: list[Event] = []
    async with session(upstream, events, **options) as client:
        feed = await capabilities(client, upstream)
    assert json.loads(feed.body)["totalentries"] == 1
    return events


async def failure_of(upstream: FakeUpstream, script: list[Fault], **options: Any) -> MirrorError:
    """The error that reading the capabilities ends with, where the last fault of a script goes on for ever."""
    upstream.script("capabilities", script, forever=True)
    async with session(upstream, **options) as client:
        with pytest.raises(MirrorError) as caught:
            await capabilities(client, upstream)
    assert "\n" not in str(caught.value)
    return caught.value


# -- who we are


def test_user_agent() -> None:
    assert user_agent("sig@example.org") == f"inspire-mirror/{__version__} (+sig@example.org)"
    assert user_agent(None) == f"inspire-mirror/{__version__}"


@given(st.text() | st.text("bBoOtT°\u200b\n"))
def test_no_user_agent_has_bot_in_it_or_breaks_its_header(contact: str) -> None:
    """The firewall refuses who calls himself so, and a contact may well be talbot@example.org."""
    agent = user_agent(contact)
    assert "bot" not in agent.lower()
    assert re.fullmatch(r"[ -~]+", agent)


async def test_every_request_says_who_asks(upstream: FakeUpstream) -> None:
    async with session(upstream, contact="Talbot <talbot@example.org>") as client:
        await capabilities(client, upstream)
        async with client.open(upstream.base + FILE) as response:
            await response.read()
        assert client.requests == 2
    assert {record.headers["User-Agent"] for record in upstream.requests} == {
        f"inspire-mirror/{__version__} (+Talb%6Ft <talb%6Ft@example.org>)"
    }


# -- walls


@pytest.mark.parametrize("code", [429, 503])
async def test_told_to_come_back_later_we_do(upstream: FakeUpstream, code: int) -> None:
    events = await feed_through(upstream, [faults.retry_after(code, 1)])
    assert [event for event in events if isinstance(event, Walled)] == [Walled("gpf", code, 1.0, 500.0)]
    first, second = upstream.requests
    assert second.time - first.time >= 1.0  # by the clock of the upstream: it had its peace


async def test_a_retry_after_may_be_a_date(upstream: FakeUpstream) -> None:
    """One that is over is no wait; one in two hours is too long to wait for, and said so at once."""
    past = format_datetime(datetime.now(UTC) - timedelta(minutes=5), usegmt=True)
    events = await feed_through(upstream, [faults.retry_after(429, past)])
    assert [event.seconds for event in events if isinstance(event, Walled)] == [0.0]
    upstream.clear()
    future = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    error = await failure_of(upstream, [faults.retry_after(503, future)])
    assert isinstance(error, UpstreamUnavailable)
    assert upstream.count() == 1


@pytest.mark.parametrize("nonsense", ["9" * 500, "99999999"])
async def test_a_wall_without_end_is_not_waited_for(upstream: FakeUpstream, nonsense: str) -> None:
    assert isinstance(await failure_of(upstream, [faults.retry_after(429, nonsense)]), UpstreamUnavailable)
    assert upstream.count() == 1


@pytest.mark.parametrize("date", ["Wed, 01 Oct 99999999999999999999 10:00:00 GMT", f"1 Oct 2026 10:00:00 +{'9' * 30}", "soon"])
def test_a_retry_after_that_no_calendar_holds_is_none(date: str) -> None:
    assert read_retry_after(date) is None


async def test_walls_for_ever_end_when_patience_does(upstream: FakeUpstream) -> None:
    error = await failure_of(upstream, [faults.retry_after(429, 0)], patience=BRIEF)
    assert isinstance(error, UpstreamUnavailable)
    assert error.exit_code == 5
    assert upstream.count(status=429) > 1


async def test_a_ban_ends_since_everybody_stops(upstream: FakeUpstream) -> None:
    """Every request during this ban prolongs it: it can only end for a client whose listings and downloads stop as one."""
    upstream.ban(rate=20, seconds=1)
    events: list[Event] = []
    jobs = iter(range(40))

    async with session(upstream, events, requests_per_second=30, connections=8) as client:

        async def listings() -> None:
            for _ in jobs:
                await capabilities(client, upstream)

        async def downloads() -> None:
            for _ in jobs:
                async with client.open(upstream.base + FILE) as response:
                    assert response.status == 200
                    await response.read()

        async with asyncio.TaskGroup() as group:
            for work in [listings, downloads] * 4:
                group.create_task(work())

    assert upstream.count(status=200) == 40
    assert [event.rate for event in events if isinstance(event, Walled)] == [15.0]
    statuses = [record.status for record in upstream.requests]
    refused = statuses.count(429)
    first = statuses.index(429)
    assert refused <= 8
    assert set(statuses[first : first + refused]) == {429}
    assert {record.kind for record in upstream.requests[first + refused :]} == {"capabilities", "download"}


# -- failures


@pytest.mark.parametrize(
    "fault",
    [
        *(pytest.param(faults.status(code), id=str(code)) for code in (408, 500, 502, 503, 504)),
        pytest.param(faults.cut_after(10), id="cut"),
        pytest.param(faults.stall(10), id="stall"),
        pytest.param(faults.status(200, {"Content-Encoding": "gzip"}, gzip.compress(b"{}")[:-4]), id="packed and cut"),
        pytest.param(faults.status(200, {"Content-Encoding": "gzip"}, b"not packed"), id="not packed"),
    ],
)
async def test_what_passes_is_tried_again(upstream: FakeUpstream, fault: Fault) -> None:
    events = await feed_through(upstream, [fault, fault])
    assert upstream.count() == 3
    assert [event.attempt for event in events if isinstance(event, Retrying)] == [1, 2]
    assert len([event for event in events if isinstance(event, Requested)]) == 3


async def test_connections_that_break_before_an_answer_are_tried_again(upstream: FakeUpstream) -> None:
    await feed_through(upstream, [faults.close_before_response()] * 4)


@pytest.mark.parametrize(
    ("code", "words"), [(403, "refuses this client or its API key"), (404, "does not have it"), (400, "HTTP 400")]
)
async def test_what_is_final_is_not_tried_again(upstream: FakeUpstream, code: int, words: str) -> None:
    error = await failure_of(upstream, [faults.status(code)])
    assert isinstance(error, RequestFailed)
    assert error.status == code
    assert words in str(error)
    assert upstream.url in str(error)
    assert upstream.count() == 1


async def test_a_page_that_never_comes_is_the_page_while_others_come(upstream: FakeUpstream) -> None:
    """The first pages lost are told as such; when one after the other is lost, it is the upstream."""
    upstream.script("capabilities", [faults.status(500)], forever=True)
    async with session(upstream.url, patience=BRIEF) as client:
        for _ in range(4):
            with pytest.raises(RequestFailed, match="HTTP 500"):
                await capabilities(client, upstream)
        with pytest.raises(UpstreamUnavailable, match="HTTP 500"):
            await capabilities(client, upstream)


@pytest.mark.parametrize("fault", [faults.status(500), faults.close_before_response()])
async def test_pages_that_never_come_are_the_pages_while_the_upstream_answers(upstream: FakeUpstream, fault: Fault) -> None:
    """However many they are, and though nothing else is asked in between. Soon they are asked for once only."""
    upstream.script("resource", [fault], forever=True)
    async with session(upstream.url, patience=BRIEF) as client:
        for _ in range(8):
            upstream.clear()
            with pytest.raises(RequestFailed):
                await client.feed(f"{upstream.base}/resource/X", {}, JSON)
        assert upstream.count("resource") <= 2  # the transport itself asks twice where a connection that was open has gone
        await capabilities(client, upstream)


async def test_a_page_that_comes_clears_the_count_of_lost_ones(upstream: FakeUpstream) -> None:
    async with session(upstream, patience=BRIEF) as client:
        for _ in range(6):
            upstream.script("capabilities", [faults.status(500)], forever=True)
            with pytest.raises(RequestFailed):
                await capabilities(client, upstream)
            upstream.heal()
            await capabilities(client, upstream)


async def test_nobody_there() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]  # bound, and not listening: connections are refused
        events: list[Event] = []
        async with session(f"http://127.0.0.1:{port}", events, patience=BRIEF) as client:
            with pytest.raises(UpstreamUnavailable, match="cannot connect"):
                await client.feed(f"http://127.0.0.1:{port}/capabilities", {}, JSON)
    retries = [event for event in events if isinstance(event, Retrying)]
    assert len(retries) >= 2
    assert sum(event.wait for event in retries) <= BRIEF.retry_for


@pytest.mark.parametrize("url", ["http://[bad/", "http://127.0.0.1:99999/", "no address", "http:///x"])
async def test_what_is_no_address(url: str) -> None:
    async with session("http://127.0.0.1:1", patience=BRIEF) as client:
        with pytest.raises(RequestFailed, match="not an address"):
            async with client.open(url):
                pass


# -- redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_on_the_same_host_are_followed(upstream: FakeUpstream, code: int) -> None:
    upstream.script("resource", [faults.redirect("../capabilities?page=1", code)])
    async with session(upstream, api_key="s3cret") as client:
        feed = await client.feed(f"{upstream.base}/resource/X", {}, JSON)
    assert json.loads(feed.body)["totalentries"] == 1
    assert [record.query.get("apikey") for record in upstream.requests] == ["s3cret", "s3cret"]


async def test_redirects_to_another_host_are_not(upstream: FakeUpstream) -> None:
    """Neither our key nor our trust goes elsewhere; another port is another host."""
    async with FakeUpstream(CATALOGUE) as other:
        error = await failure_of(upstream, [faults.redirect(other.url)])
        assert isinstance(error, RequestFailed)
        assert "another host" in str(error)
        assert other.count() == 0
    assert upstream.count() == 1


@pytest.mark.parametrize("location", ["", "http://[", "mailto:sig@example.org", "file:///etc/passwd"])
async def test_redirects_to_nowhere(upstream: FakeUpstream, location: str) -> None:
    error = await failure_of(upstream, [faults.redirect(location)])
    assert isinstance(error, RequestFailed)
    assert upstream.count() == 1


async def test_redirects_in_a_circle(upstream: FakeUpstream) -> None:
    error = await failure_of(upstream, [faults.redirect("/telechargement/capabilities?page=1")])
    assert isinstance(error, RequestFailed)
    assert "in a circle" in str(error)
    assert upstream.count() <= 6


# -- the key

KEY = "s3cr3t&/+ké y"


@pytest.mark.parametrize(
    "fault",
    [
        faults.fine(),
        faults.status(403),
        faults.status(500),
        faults.retry_after(429, 0),
        faults.retry_after(429, 10_000),
        faults.cut_after(5),
        faults.close_before_response(),
        faults.redirect("http://elsewhere.example/?apikey=s3cr3t"),
        faults.redirect("/telechargement/capabilities"),
        faults.status(200, {"Content-Encoding": "br"}, b"x"),
    ],
)
async def test_the_key_is_on_every_url_and_nowhere_else(
    upstream: FakeUpstream, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in an event, an error, its traceback, or the log."""
    caplog.set_level(logging.DEBUG)
    upstream.script("capabilities", [fault], forever=True)
    events: list[Event] = []
    told = ""
    async with session(upstream, events, patience=BRIEF, api_key=KEY) as client:
        try:
            await capabilities(client, upstream)
        except MirrorError:
            told = traceback.format_exc()
        assert client.redact(f"apikey={KEY} APIKEY=abc&x {KEY}") == "apikey=*** APIKEY=***&x ***"
    assert {record.query["apikey"] for record in upstream.requests} == {KEY}
    assert "s3cr3t" not in repr(events) + told + caplog.text
    assert events


async def test_the_key_is_not_told_by_an_answer_that_is_not_http() -> None:
    """aiohttp's own error for it has the whole address in its text."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nno header at all\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        events: list[Event] = []
        async with session(f"http://127.0.0.1:{port}", events, patience=BRIEF, api_key=KEY) as client:
            with pytest.raises(MirrorError, match="not HTTP") as caught:
                await client.feed(f"http://127.0.0.1:{port}/capabilities", {}, JSON)
    assert "s3cr3t" not in repr(events) + "".join(traceback.format_exception(caught.value))


# -- bodies


async def test_packed_listings_are_asked_for_and_unpacked(upstream: FakeUpstream) -> None:
    await feed_through(upstream, [faults.gzip_body()])
    assert upstream.requests[0].headers["Accept-Encoding"] == "gzip"
    assert upstream.count() == 1


@pytest.mark.parametrize("packed", [True, False])
async def test_a_page_too_large_is_not_read(upstream: FakeUpstream, packed: bool) -> None:
    """Neither plain nor as some kilobytes that unpack to more."""
    body = bytes(LARGEST_FEED + 1)
    fault = faults.status(200, {"Content-Encoding": "gzip"}, gzip.compress(body, 1)) if packed else faults.status(200, {}, body)
    error = await failure_of(upstream, [fault])
    assert isinstance(error, RequestFailed)
    assert "64 MiB" in str(error)
    assert upstream.count() == 1


async def test_an_encoding_that_was_not_asked_for_is_refused(upstream: FakeUpstream) -> None:
    assert "br" in str(await failure_of(upstream, [faults.status(200, {"Content-Encoding": "br"}, b"x")]))


# -- certificates


async def test_an_authority_of_our_own_is_named_in_ca_file(tmp_path: Path) -> None:
    """Without it the certificate is not trusted, which no second attempt mends; with it all is well."""
    authority, fake = trustme.CA(), FakeUpstream(CATALOGUE)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with over_tls(fake, authority, "127.0.0.1") as base:
        async with session(base) as client:
            with pytest.raises(RequestFailed, match=r"certificate cannot be trusted.*ca_file"):
                await client.feed(f"{base}/capabilities", {}, JSON)
            assert client.requests == 1
        assert fake.count() == 0
        async with session(base, ca_file=tmp_path / "ca.pem") as client:
            assert json.loads((await client.feed(f"{base}/capabilities", {}, JSON)).body)["totalentries"] == 1


async def test_a_certificate_for_another_host_is_not_trusted(tmp_path: Path) -> None:
    authority, fake = trustme.CA(), FakeUpstream(CATALOGUE)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with over_tls(fake, authority, "elsewhere.example") as base, session(base, ca_file=tmp_path / "ca.pem") as client:
        with pytest.raises(RequestFailed, match="certificate cannot be trusted"):
            await client.feed(f"{base}/capabilities", {}, JSON)
    assert fake.count() == 0


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_cannot_be_read_is_told_at_once(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="ca_file"):
        async with session("https://127.0.0.1:1", ca_file=path):
            pass


# -- proxies


@pytest.mark.parametrize("exempt", [False, True])
async def test_the_proxy_of_the_environment_is_used(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, exempt: bool) -> None:
    """With its credentials, and unless `no_proxy` exempts the host."""
    asked: list[tuple[str, str | None]] = []

    async def proxy(request: web.BaseRequest) -> web.Response:
        asked.append((str(request.url), request.headers.get("Proxy-Authorization")))
        return web.json_response({})

    server = web.ServerRunner(web.Server(proxy))
    await server.setup()
    try:
        await web.TCPSite(server, "127.0.0.1", 0).start()
        for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{server.addresses[0][1]}")
        if exempt:
            monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with session(upstream) as client:
            await client.feed(upstream.url, {}, JSON)
    finally:
        await server.cleanup()
    assert asked == ([] if exempt else [(upstream.url, "Basic dXNlcjpwYXNz")])
    assert upstream.count() == exempt
