"""Answers that are not the file, or another than was begun: none of their bytes comes into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mirror.demo.body import Held, Pattern, read
from mirror.errors import RequestFailed, TransferError
from mirror.events import Chunk, Restarted

from .fetching import MIB, Bench, bench, catalogue_of
from .upstream import Exchange, Fault, faults

SIZE = 2 * MIB + 12_345
SMALL = 200_000


@pytest.fixture
async def big(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, SIZE) as made:
        yield made


async def refused(at: Bench, **facts: Any) -> TransferError:
    """The error that a transfer ends with; nothing is ready then."""
    with pytest.raises(TransferError) as caught:
        await at.fetch(at.listed(**facts))
    assert not at.ready.exists()
    assert "\n" not in str(caught.value)
    return caught.value


# -- answers that do not continue the file


async def test_the_whole_file_in_answer_to_a_range_begins_again(big: Bench) -> None:
    big.upstream.script("download", [faults.cut_after(MIB + 5), faults.ignore_range()])
    assert big.right(await big.fetch())
    assert [event.reason for event in big.of(Restarted)] == ["the whole file came where the rest was asked for"]


async def test_an_upstream_without_ranges_that_is_always_cut_is_given_up(big: Bench) -> None:
    """Also where one cut comes later than the one before it: that is no progress if the next comes earlier again."""

    def ignoring(count: int) -> Fault:
        async def fault(exchange: Any) -> Any:
            response = await exchange.send_part(exchange.whole_answer(), count)
            exchange.abort()
            return response

        return fault

    big.upstream.script("download", [ignoring(1000), ignoring(MIB)] * 50)
    assert (await refused(big)).retry
    # How much of a cut answer still arrives is not certain, so one may come a little further than all before it.
    assert len(big.asked()) < 50


@pytest.mark.parametrize("fault", [faults.wrong_content_range(), faults.wrong_content_range(-5), faults.status_416()])
async def test_another_part_than_was_asked_for(big: Bench, fault: Fault) -> None:
    """Once it is begun again from zero; for ever it is given up, though bytes come each time."""
    big.upstream.script("download", [faults.cut_after(1000), fault])
    assert big.right(await big.fetch())
    assert big.asked() == [None, "bytes=1000-", None]
    big.ready.unlink()
    big.upstream.script("download", [faults.cut_after(1000), fault] * 50)
    assert (await refused(big)).attempts <= 12


@pytest.mark.parametrize("label", ["", "bytes */5", "bytes 1000-" + "9" * 5000 + "/5", "bytes 1000-1999/*", "items 1000-2000/3000"])
async def test_a_content_range_that_says_nothing(big: Bench, label: str) -> None:
    """No label makes wrong bytes right, or breaks us."""

    async def mislabelled(exchange: Any) -> Any:
        answer = exchange.answer()
        return await exchange.send(replace(answer, headers={**answer.headers, "Content-Range": label[:8000]}))

    big.upstream.script("download", [faults.cut_after(1000), mislabelled])
    assert big.right(await big.fetch())


async def test_only_a_part_of_the_rest(big: Bench) -> None:
    async def shortened(exchange: Any) -> Any:
        answer = exchange.answer()
        label = f"bytes {answer.start}-{answer.start + 9}/{SIZE}"
        return await exchange.send(replace(answer, stop=answer.start + 10, headers={**answer.headers, "Content-Range": label}))

    big.upstream.script("download", [faults.cut_after(1000), shortened])
    assert big.right(await big.fetch())


async def test_a_page_for_people_is_no_archive_and_costs_none_of_its_bytes(big: Bench) -> None:
    """A maintenance page in the middle of a transfer of gigabytes says nothing against them."""
    big.upstream.script("download", [faults.cut_after(MIB), faults.html_200(), faults.gzip_body()])
    assert big.right(await big.fetch())
    assert big.asked() == [None, f"bytes={MIB}-", f"bytes={MIB}-", f"bytes={MIB}-"]


@pytest.mark.parametrize(("fault", "words"), [(faults.html_200(), "HTML page"), (faults.gzip_body(), "packed")])
async def test_what_is_never_the_file_is_the_upstreams_fault(big: Bench, fault: Fault, words: str) -> None:
    big.upstream.script("download", [fault], forever=True)
    error = await refused(big)
    assert "upstream is wrong" in str(error)
    assert words in str(error)
    assert (error.attempts, error.retry) == (3, False)


async def test_an_error_page_under_any_type_is_seen_where_no_md5_tells(tmp_path: Path) -> None:
    page = b" \r\n<!DOCTYPE html><title>Erreur</title>"
    async with bench(tmp_path, Held(page)) as at:
        assert "HTML" in str(await refused(at, md5=None))


async def test_a_file_that_looks_like_an_error_page_is_right_if_its_md5_is(tmp_path: Path) -> None:
    async with bench(tmp_path, Held(b"<?xml version='1.0'?><gpx/>"), name="track.gpx") as at:
        assert at.right(await at.fetch())


@pytest.mark.parametrize(("code", "retry"), [(404, True), (403, False), (401, False), (410, False)])
async def test_what_is_refused_is_not_tried_again_at_once(big: Bench, code: int, retry: bool) -> None:
    """A file that is being published answers 404 for a while; that is for later in the run."""
    big.upstream.script("download", [faults.status(code)], forever=True)
    error = await refused(big)
    assert f"HTTP {code}" in str(error)
    assert error.retry == retry
    assert isinstance(error.__cause__, RequestFailed)
    assert big.upstream.count() == 1


# -- files that change


async def test_a_file_replaced_while_it_is_sent(big: Bench) -> None:
    """Half of the one and half of the other is neither; the listed one is gone, so it is the upstream that is wrong."""
    big.upstream.script("download", [faults.replace_during(catalogue_of(Pattern(SIZE, "another")))])
    error = await refused(big)
    assert "upstream is wrong: MD5" in str(error)
    assert big.asked() == [None] * 3


@pytest.mark.parametrize("etags", [True, False])
async def test_a_validator_is_asked_with(tmp_path: Path, etags: bool) -> None:
    """`If-Range` gives the whole new file where it was replaced, and the rest where it was not."""
    async with bench(tmp_path, SIZE, etags=etags, last_modified=not etags) as at:
        at.upstream.script("download", [faults.cut_after(MIB)])
        assert at.right(await at.fetch())
        first, second = at.upstream.matching("download")
        assert "If-Range" not in first.headers
        assert second.headers["If-Range"] in (f'"{at.body.md5()}"', "Thu, 01 Jan 2026 00:00:00 GMT")
        assert second.status == 206


async def test_a_validator_that_is_no_ascii_is_not_sent_back(tmp_path: Path) -> None:
    """Bytes above ASCII are allowed in an ETag, and nobody can tell in which encoding to send them back."""

    async def odd(exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer()
        transport = exchange.request.transport
        assert transport is not None
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {answer.length}\r\n".encode() + b'ETag: "\xe9"\r\n\r\n'
        transport.write(head + read(answer.body, 0, MIB))
        transport.close()
        return web.Response()

    async with bench(tmp_path, SIZE) as at:
        at.upstream.script("download", [odd])
        assert at.right(await at.fetch())
        assert at.asked() == [None, f"bytes={MIB}-"]
        at.upstream.script("download", [odd])
        assert (await at.fetch(at.listed(md5=None))).path.read_bytes() == read(at.body)


async def test_a_replaced_file_is_never_mixed(tmp_path: Path) -> None:
    """Without an MD5 in the feed the validator is all there is: the bytes are then of one file, the new one."""
    new = Pattern(SIZE, "another")
    async with bench(tmp_path, SIZE, etags=True) as at:
        at.upstream.script("download", [faults.cut_after(MIB)])
        at.upstream.script("download", [faults.shift(catalogue_of(new))])
        at.upstream.script("download", [faults.cut_after(MIB + 1)])
        staged = await at.fetch(at.listed(md5=None))
        assert staged.path.read_bytes() in (read(at.body), read(new))


async def test_a_weak_validator_is_not_asked_with(big: Bench) -> None:
    def weak(fault_count: int | None) -> Fault:
        async def fault(exchange: Any) -> Any:
            answer = exchange.answer()
            answer = replace(answer, headers={**answer.headers, "ETag": 'W/"1"', "Last-Modified": "Mon, 01 Jan 2125 00:00:00 GMT"})
            if fault_count is None:
                return await exchange.send(answer)
            response = await exchange.send_part(answer, fault_count)
            exchange.abort()
            return response

        return fault

    big.upstream.script("download", [weak(MIB), weak(None)])
    assert big.right(await big.fetch())
    assert [record.headers.get("If-Range") for record in big.upstream.matching("download")] == [None, None]
    assert big.asked() == [None, f"bytes={MIB}-"]


async def test_what_nothing_vouches_for_is_not_continued(big: Bench) -> None:
    """Neither an MD5 nor a validator: the rest might be of another file."""
    big.upstream.script("download", [faults.cut_after(MIB)])
    assert big.right(await big.fetch(big.listed(md5=None)))
    assert big.asked() == [None, None]


# -- bodies without a length


class Endless:
    """Serves one body without `Content-Length`: in chunks, or until the connection closes."""

    def __init__(self, body: bytes, *, chunked: bool, endless: bool = False) -> None:
        self.body, self.chunked, self.endless = body, chunked, endless
        self.sent = 0

    async def __call__(self, exchange: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        if not self.chunked:
            response.force_close()
            response.headers["Connection"] = "close"
        else:
            response.enable_chunked_encoding()
        await response.prepare(exchange.request)
        while True:
            await response.write(self.body)
            self.sent += len(self.body)
            if not self.endless:
                break
        await response.write_eof()
        return response


@pytest.mark.parametrize("size", [0, SMALL, SIZE])
@pytest.mark.parametrize("facts", [{}, {"size": None}, {"size": None, "md5": None}])
async def test_bodies_in_chunks(tmp_path: Path, size: int, facts: dict[str, None]) -> None:
    """They end where they say, so even without a length a cut would show."""
    async with bench(tmp_path, size) as at:
        at.upstream.script("download", [Endless(read(at.body), chunked=True)])
        staged = await at.fetch(at.listed(**facts))
        assert at.right(staged)


async def test_an_endless_body_is_left_soon(big: Bench) -> None:
    endless = Endless(read(big.body), chunked=True, endless=True)
    big.upstream.script("download", [endless], forever=True)
    error = await refused(big)
    assert f"more than the {SIZE} bytes" in str(error)
    assert not error.retry
    assert endless.sent < 3 * 50 * SIZE
    assert sum(event.size for event in big.of(Chunk)) < 3 * 4 * SIZE
