"""The programmable fake upstream: each fault does what it says, in the order of its script, and the log tells."""

from __future__ import annotations

import asyncio
import gzip
import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from mirror.demo.body import Pattern, read
from mirror.demo.catalogue import Catalogue, SampleFile
from mirror.demo.service import SampleService

from .upstream import FakeUpstream, Fault, faults, on_page, publish, replace_file, simple_catalogue, withdraw

SIZE = 200_000
CATALOGUE = simple_catalogue(resources=1, subs=1, files=1, size=SIZE)
RESOURCE = CATALOGUE.resources[0]
SUB = RESOURCE.subs[0]
FILE = SUB.files[0]
CONTENT = read(FILE.body)
PATH = f"/download/{RESOURCE.id}/{SUB.id}/{FILE.name}"
JSON = {"Accept": "application/json"}


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


class Got:
    """An answer as far as it came: `whole` is False where the connection broke before its promised end."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = b""
        self.whole = True


async def get(client: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None) -> Got:
    async with client.get(url, headers=headers, allow_redirects=False) as response:
        got = Got(response)
        try:
            async for chunk in response.content.iter_any():
                got.body += chunk
        except aiohttp.ClientPayloadError:
            got.whole = False
        return got


async def download(upstream: FakeUpstream, client: aiohttp.ClientSession, fault: Fault, asked: str | None = None) -> Got:
    """A download that meets `fault`, with a `Range`."""
    upstream.script("download", [fault])
    return await get(client, upstream.base + PATH, {"Range": asked} if asked else None)


async def test_without_a_script_the_service_answers(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await get(client, upstream.base + PATH)
    assert (got.status, got.body == CONTENT) == (200, True)


async def test_status_with_headers_and_body(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.status(503, {"X-Reason": "maintenance"}, b"later"))
    assert (got.status, got.headers["X-Reason"], got.body) == (503, "maintenance", b"later")


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after(upstream: FakeUpstream, client: aiohttp.ClientSession, code: int) -> None:
    got = await download(upstream, client, faults.retry_after(code, 7))
    assert (got.status, got.headers["Retry-After"]) == (code, "7")


async def test_redirect(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.redirect("http://elsewhere.example/"))
    assert (got.status, got.headers["Location"]) == (302, "http://elsewhere.example/")


@pytest.mark.parametrize("count", [0, 1, 100_000, SIZE - 1])
async def test_cut_after(upstream: FakeUpstream, client: aiohttp.ClientSession, count: int) -> None:
    """All bytes before the cut arrive, none after it, and the promise was of the whole."""
    got = await download(upstream, client, faults.cut_after(count))
    assert (got.status, got.headers["Content-Length"], got.whole) == (200, str(SIZE), False)
    assert got.body == CONTENT[:count]


async def test_a_cut_counts_from_the_start_of_the_range(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.cut_after(10), "bytes=500-")
    assert (got.status, got.body, got.whole) == (206, CONTENT[500:510], False)


async def test_close_before_response(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    """No status comes. It is forever, as aiohttp's client asks once more where a kept connection breaks."""
    upstream.script("download", [faults.close_before_response()], forever=True)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await get(client, upstream.base + PATH)
    assert {record.status for record in upstream.matching("download")} == {None}


async def test_a_stall_lasts_until_the_client_goes(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    """The bytes before the stall arrive, no more come, and the fake serves others meanwhile."""
    upstream.script("download", [faults.stall(1000)])
    async with client.get(upstream.base + PATH) as response:
        assert await response.content.readexactly(1000) == CONTENT[:1000]
        assert (await get(client, upstream.url)).status == 200
        assert not response.content.at_eof()


async def test_a_stall_ends_when_the_fake_stops(client: aiohttp.ClientSession) -> None:
    fake = FakeUpstream(CATALOGUE)
    await fake.start()
    fake.script("download", [faults.stall()])
    async with client.get(fake.base + PATH) as response:
        assert response.status == 200
        await asyncio.wait_for(fake.stop(), 10)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_trickle_brings_the_right_bytes_slowly(client: aiohttp.ClientSession) -> None:
    """4,000 bytes at 20,000 a second take a fifth of a second."""
    catalogue = simple_catalogue(resources=1, subs=1, files=1, size=4000)
    async with FakeUpstream(catalogue) as fake:
        fake.script("download", [faults.trickle(20_000)])
        began = asyncio.get_running_loop().time()
        got = await get(client, fake.base + PATH)
        took = asyncio.get_running_loop().time() - began
    assert got.body == read(catalogue.resources[0].subs[0].files[0].body)
    assert took >= 0.15


async def test_html_200(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.html_200())
    assert (got.status, got.headers["Content-Type"], got.body[:15]) == (200, "text/html;charset=UTF-8", b"<!DOCTYPE html>")


async def test_truncated_body(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    """Half a document, whole as HTTP sees it."""
    upstream.script("capabilities", [faults.truncated_body()])
    got = await get(client, upstream.url, JSON)
    assert got.whole
    assert got.headers["Content-Length"] == str(len(got.body))
    with pytest.raises(json.JSONDecodeError):
        json.loads(got.body)


async def test_wrong_bytes(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.wrong_bytes(at=1234))
    assert [at for at in range(SIZE) if got.body[at] != CONTENT[at]] == [1234]


@pytest.mark.parametrize("by", [-10, 10])
async def test_wrong_length(upstream: FakeUpstream, client: aiohttp.ClientSession, by: int) -> None:
    got = await download(upstream, client, faults.wrong_length(by))
    assert (got.whole, len(got.body), got.headers["Content-Length"]) == (True, SIZE + by, str(SIZE + by))
    assert got.body[: SIZE - 10] == CONTENT[: SIZE - 10]


async def test_ignore_range(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.ignore_range(), "bytes=100-")
    assert (got.status, got.body == CONTENT, "Content-Range" in got.headers) == (200, True, False)


async def test_wrong_content_range(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.wrong_content_range(5), "bytes=100-")
    assert (got.status, got.headers["Content-Range"]) == (206, f"bytes 105-{SIZE - 1}/{SIZE}")
    assert got.body == CONTENT[105:]


async def test_status_416(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.status_416(), "bytes=100-")
    assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


async def test_gzip_body(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    got = await download(upstream, client, faults.gzip_body())
    assert (got.headers["Content-Encoding"], got.headers["Content-Length"]) == ("gzip", str(len(got.body)))
    assert gzip.decompress(got.body) == CONTENT


async def test_replace_during_goes_on_with_the_new_file(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    new = SampleFile(FILE.name, Pattern(SIZE, "new"))
    after = replace_file(CATALOGUE, RESOURCE.id, SUB.id, new)
    got = await download(upstream, client, faults.replace_during(after, after=150_000))
    assert got.body == CONTENT[:150_000] + read(new.body, 150_000)
    assert (await get(client, upstream.base + PATH)).body == read(new.body)


async def test_replace_during_by_a_shorter_file_breaks_off(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    after = replace_file(CATALOGUE, RESOURCE.id, SUB.id, SampleFile(FILE.name, Pattern(1000, "new")))
    got = await download(upstream, client, faults.replace_during(after))
    assert (got.body == CONTENT[: SIZE // 2], got.whole) == (True, False)


async def test_shift_publishes_between_two_pages(client: aiohttp.ClientSession) -> None:
    """What is published after page 1 moves an entry of page 1 to page 2."""
    before = simple_catalogue(resources=1, subs=12)
    resource = before.resources[0]
    after = publish(before, resource.id, replace(resource.subs[0], id="AAA"))
    async with FakeUpstream(before) as fake:
        fake.script(on_page("resource", 1), [faults.shift(after)])
        pages = [json.loads((await get(client, f"{fake.base}/resource/{resource.id}?page={n}", JSON)).body) for n in (1, 2)]
    first, second = ([entry["id"] for entry in page["entry"]] for page in pages)
    assert first[-1] == second[0]
    assert [page["totalentries"] for page in pages] == [12, 13]


async def test_faults_come_in_order_one_for_each_request(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    """Only requests that match use up a script; a second script waits for the first."""
    upstream.script(f"*/{FILE.name}", [faults.status(500), faults.fine(), faults.status(502)])
    upstream.script("download", [faults.status(503)])
    for expected in (500, 200, 502, 503, 200):
        assert (await get(client, upstream.url)).status == 200
        assert (await get(client, upstream.base + PATH)).status == expected


async def test_a_script_may_go_on_forever_until_it_is_healed(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    upstream.script(lambda record: record.query.get("page") == "1", [faults.fine(), faults.status(500)], forever=True)
    statuses = [(await get(client, f"{upstream.url}?page=1")).status for _ in range(4)]
    upstream.heal()
    assert [*statuses, (await get(client, f"{upstream.url}?page=1")).status] == [200, 500, 500, 500, 200]


async def test_the_log_tells_what_was_asked_and_answered(upstream: FakeUpstream, client: aiohttp.ClientSession) -> None:
    await get(client, f"{upstream.url}?page=1&zone=D038", {"User-Agent": "test"})
    await get(client, f"{upstream.base}/resource/{RESOURCE.id}")
    await get(client, f"{upstream.base}/resource/{RESOURCE.id}/{SUB.id}")
    await get(client, upstream.base + PATH, {"Range": "bytes=1-"})
    await get(client, f"{upstream.base}/resource/none")
    assert [(record.kind, record.status) for record in upstream.requests] == [
        ("capabilities", 200),
        ("resource", 200),
        ("sub-resource", 200),
        ("download", 206),
        ("resource", 404),
    ]
    first, *_, last = upstream.requests
    assert (first.method, first.path, dict(first.query), first.page) == ("GET", "/capabilities", {"page": "1", "zone": "D038"}, 1)
    assert first.headers["User-Agent"] == "test"
    assert first.time <= last.time
    assert upstream.matching("download")[0].ids == (RESOURCE.id, SUB.id, FILE.name)
    assert (upstream.count(), upstream.count("resource"), upstream.count("resource", status=404)) == (5, 2, 1)
    upstream.clear()
    assert upstream.count() == 0


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_ban_lasts_while_one_keeps_asking(client: aiohttp.ClientSession) -> None:
    """Over the rate all is 429, pages and files alike; each request during the ban extends it; after a true pause all is well."""
    clock = Clock()
    async with FakeUpstream(CATALOGUE, clock=clock) as fake:
        fake.ban(rate=2, seconds=5)
        assert [(await get(client, fake.url)).status for _ in range(3)] == [200, 200, 429]
        clock.now += 4
        banned = await get(client, fake.base + PATH)
        assert (banned.status, banned.headers["Retry-After"]) == (429, "5")
        clock.now += 4
        assert (await get(client, fake.url)).status == 429
        clock.now += 5
        assert [(await get(client, fake.url)).status for _ in range(2)] == [200, 200]
        clock.now += 1
        assert (await get(client, fake.url)).status == 200


@pytest.mark.parametrize(
    ("options", "accept", "status", "kind"),
    [
        ({}, "application/json", 200, "application/json"),
        ({"json": False}, "application/json", 200, "application/atom+xml;charset=UTF-8"),
        ({"xml_only_406": True}, "application/json", 406, "text/plain;charset=UTF-8"),
        ({"xml_only_406": True}, "application/json, application/atom+xml;q=0.9", 200, "application/atom+xml;charset=UTF-8"),
        ({"xml_only_406": True}, "*/*", 200, "application/atom+xml;charset=UTF-8"),
    ],
)
async def test_a_service_that_has_no_json(
    client: aiohttp.ClientSession, options: dict[str, Any], accept: str, status: int, kind: str
) -> None:
    async with FakeUpstream(CATALOGUE, **options) as fake:
        got = await get(client, fake.url, {"Accept": accept})
    assert (got.status, got.headers["Content-Type"]) == (status, kind)


def test_in_a_thread_it_serves_those_who_block() -> None:
    """A catalogue that is set from the test is served at once; a stalled client does not keep it from stopping."""
    with FakeUpstream().in_thread() as fake:
        fake.catalogue = CATALOGUE
        fake.script("download", [faults.stall(10)])
        with urllib.request.urlopen(f"{fake.url}?outputFormat=application/json") as answer:  # noqa: S310 - loopback
            assert json.load(answer)["totalentries"] == 1
        stalled = urllib.request.urlopen(fake.base + PATH)  # noqa: S310 - loopback
        assert stalled.read(10) == CONTENT[:10]
    stalled.close()
    assert fake.count(status=200) == 2


async def test_a_port_that_is_taken_is_an_error(upstream: FakeUpstream) -> None:
    port = int(upstream.url.split(":")[2].partition("/")[0])
    with pytest.raises(OSError, match=r"in use"):
        await SampleService(CATALOGUE).start(port)


def test_simple_catalogues_are_regular_and_the_same_in_every_call() -> None:
    """Series of editions for each zone, unique ids, and bytes that differ from file to file."""
    catalogue = simple_catalogue(resources=8, subs=20, files=3, size=10)
    assert catalogue == simple_catalogue(resources=8, subs=20, files=3, size=10)
    subs = [sub for resource in catalogue.resources for sub in resource.subs]
    files = [file for sub in subs for file in sub.files]
    assert len({sub.id for sub in subs}) == 160
    assert len({file.stated_md5 for file in files}) == len(files) == 480
    assert subs[0].id == "BDALPHA_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-03-15"
    assert [sub.zones[0].code for sub in subs[:4] if sub.zones] == ["D038", "D073", "D001", "D038"]
    assert (subs[0].edition_date, subs[0].updated, subs[3].edition_date) == ("2026-03-15", "2026-04-01", "2026-06-15")


@pytest.mark.parametrize(
    ("change", "resources", "subs"),
    [
        (lambda old: publish(old, "BDALPHA", replace(SUB, id="new")), 2, 4),
        (lambda old: publish(old, "BDALPHA", SUB), 2, 3),
        (lambda old: publish(old, "BDNEW", SUB), 3, 3),
        (lambda old: withdraw(old, "BDALPHA", SUB.id), 2, 2),
        (lambda old: withdraw(old, "BDBRAVO"), 1, 3),
        (lambda old: replace_file(old, "BDALPHA", SUB.id, FILE, "2026-10-01"), 2, 3),
    ],
)
def test_a_publication_is_another_catalogue(change: Callable[[Catalogue], Catalogue], resources: int, subs: int) -> None:
    before = simple_catalogue(resources=2, subs=3, files=1)
    after = change(before)
    alpha = after.resource("BDALPHA")
    assert alpha is not None
    assert (len(after.resources), len(alpha.subs)) == (resources, subs)
    assert before == simple_catalogue(resources=2, subs=3, files=1)


def test_a_file_cannot_be_replaced_where_there_is_none() -> None:
    with pytest.raises(KeyError):
        replace_file(CATALOGUE, "NONE", "NONE", FILE)
