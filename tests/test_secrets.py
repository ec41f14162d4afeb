"""The API key is in no log, error, event, index, sidecar or page, whatever the upstream makes of the URL that it was asked with.

The upstream here repeats the key wherever it can, in every spelling. What is searched is all that comes out of us: every output of
every command, every event, every traceback, and every byte below the root.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.progress import message
from mirror.demo.body import Held, Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.errors import MirrorError
from mirror.events import Event
from mirror.model import Page, RemoteFile, Resource, SubResource, Term
from mirror.sync.browse import Browser, Interest
from mirror.upstream.secret import MASK, Secret

from .command import Outcome, run, write_config
from .mirrored import EVERYTHING, Mirrored
from .tls import over_tls
from .upstream import Exchange, FakeUpstream, Fault, faults

KEY = "s3cr3t/K3y+of=Mine&%41~"
"""With what URLs, JSON and HTML spell in ways of their own."""

PARTS = (b"s3cr3t", b"k3y+of", b"k3y%2bof", b"k3y%252bof")
"""What no output may hold, in any capitals."""

SPELLINGS = (KEY, quote(KEY), quote(KEY, safe=""), quote_plus(KEY).lower(), quote(quote(KEY, safe=""), safe=""), KEY.upper())


def clean(*outputs: object) -> None:
    """Nothing of the key is in any of these."""
    for output in outputs:
        content = output if isinstance(output, bytes) else str(output).encode("utf-8", "surrogatepass")
        lower = content.lower()
        for part in PARTS:
            at = lower.find(part)
            assert at < 0, content[max(0, at - 200) : at + 100]


def clean_below(root: Path) -> int:
    """Nothing of the key is in any name or byte below a folder, also while it changes; how many bytes that are."""
    size = 0
    for folder, folders, files in os.walk(root):
        clean(*folders, *files)
        for name in files:
            with suppress(FileNotFoundError):  # moved in this moment
                content = (Path(folder) / name).read_bytes()
                clean(content)
                size += len(content)
    return size


# -- an upstream that repeats what it was asked


def catalogue() -> Catalogue:
    def sub(name: str, count: int = 2) -> SampleSub:
        files = tuple(SampleFile(f"{name}-{n}.bin", Pattern(3000, f"{name}{n}")) for n in range(count))
        return SampleSub(name, updated="2026-10-01", zones=(Term("D038", "Isère"),), files=files)

    return Catalogue(tuple(SampleResource(name, (sub(f"{name}_A"), sub(f"{name}_B"))) for name in ("ALPHA", "BRAVO")))


def asked(exchange: Exchange) -> str:
    """The URL that was asked, as the upstream saw it, and the key as it is."""
    return f"{exchange.upstream.base}{exchange.request.rel_url.raw_path_qs} {KEY} {SPELLINGS[2]}"


def echoing() -> Fault:
    """The right answer, with the key in everything that people may read."""

    async def fault(exchange: Exchange) -> Any:
        answer = exchange.answer()
        headers = {**answer.headers, "X-Asked": asked(exchange), "ETag": f'"{SPELLINGS[1]}"'}
        body = answer.body
        if exchange.record.kind != "download" and answer.length:
            found = json.loads(b"".join(answer.chunks()))
            url = asked(exchange)
            found["title"] = found["subtitle"] = url
            for entry in found["entry"]:
                entry["title"] = f"{entry.get('title')} {url}"
                if exchange.record.kind != "sub-resource":
                    entry["content"] = entry["summary"] = url
                entry["id"] = f"{entry['id']}?apikey={SPELLINGS[2]}"
                for link in entry.get("link", ()):
                    link["href"] = f"{link['href']}?apikey={SPELLINGS[2]}#{SPELLINGS[1]}"
                    link["title"] = url
                for name in ("zone", "format"):
                    entry[name] = [{**term, "label": url} for term in entry.get(name) or ()]
            found["entry"] += [{"title": "x" * cut + url} for cut in (0, 40, 70)]  # without a name, so told and left out
            found["entry"].append({"id": f"{exchange.upstream.base}/x/{SPELLINGS[2]}", "title": "named after the key"})
            found["totalentries"] += 4
            body = Held(json.dumps(found).encode())
        return await exchange.send(replace(answer, body=body, headers=headers))

    return fault


def status(code: int, headers: Callable[[str], dict[str, str]] = lambda url: {}) -> Fault:
    """An error page that repeats the URL, with headers made of it."""

    async def fault(exchange: Exchange) -> Any:
        url = asked(exchange)
        page = f"<html><h1>{code}</h1><a href='{url}'>{url}</a></html>".encode()
        return await faults.status(code, {"Content-Type": "text/html", **headers(url)}, page)(exchange)

    return fault


def raw(answer: str) -> Fault:
    """Bytes in place of an answer; `{}` in them is the URL."""

    async def fault(exchange: Exchange) -> Any:
        assert exchange.request.transport is not None
        exchange.request.transport.write(answer.format(asked(exchange)).encode())
        exchange.request.transport.close()
        return web.Response()

    return fault


def partly(count: int) -> Fault:
    """The beginning of the right answer, under a validator that has the key in it."""

    async def fault(exchange: Exchange) -> Any:
        answer = exchange.answer()
        answer = replace(answer, headers={**answer.headers, "ETag": f'"{SPELLINGS[2]}"'})
        response = await exchange.send_part(answer, count)
        exchange.abort()
        return response

    return fault


FAULTS: dict[str, Fault] = {
    **{f"HTTP {code}": status(code) for code in (400, 401, 403, 404, 410, 500, 502, 503)},
    "HTML with 200": status(200),
    "a wall": status(429, lambda url: {"Retry-After": "0", "X-Asked": url}),
    "an endless wall": status(429, lambda url: {"Retry-After": "99999"}),
    "an encoding": status(200, lambda url: {"Content-Encoding": url, "Content-Type": "application/json"}),
    "a range": status(206, lambda url: {"Content-Range": f"bytes {url}", "Content-Type": "application/octet-stream"}),
    "a redirect to another host": status(
        302, lambda url: {"Location": f"https://elsewhere.example/?next={quote(url)}&apikey={KEY}"}
    ),
    "a redirect into the network": status(302, lambda url: {"Location": f"http://10.0.0.1/{SPELLINGS[1]}?{url}"}),
    "a redirect in a circle": status(302, lambda url: {"Location": url.split()[0]}),
    "a redirect to nothing": status(302, lambda url: {"Location": f"mailto:{url}"}),
    "no HTTP": raw("HTTP/1.1 200 OK\r\nno header {}\r\n\r\n"),
    "no HTTP at all": raw("{}\r\n\r\n"),
    "a reason": raw("HTTP/1.1 404 {}\r\nContent-Length: 0\r\n\r\n"),
    "a status": raw("HTTP/1.1 4o4{}\r\n\r\n"),
    "a line too long": raw("HTTP/1.1 200 OK\r\nX-Asked: " + "{}" * 120 + "\r\n\r\n"),
    "cut": partly(20),
    "a page of text": status(200, lambda url: {"Content-Type": "text/plain"}),
}


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(catalogue(), etags=True) as fake:
        yield fake


class Watched(Mirrored):
    """A mirror whose outputs and root are searched after each sync, and the root also while it runs."""

    def __init__(self, root: Path, upstream: FakeUpstream) -> None:
        super().__init__(root, upstream)
        self.upstream_options = {"api_key": KEY}
        self.told = 0

    async def checked(self) -> int:
        """A sync with all of it searched; its exit code."""

        def watch(event: Event) -> None:
            clean(repr(event), message(event, 2) or "")
            self.told += 1
            if self.told % 20 == 0 and self.root.exists():
                clean_below(self.root)  # the write-ahead log and the sidecars too

        self.events = _Noticing(watch)
        report = await self.sync()
        clean(json.dumps(report.as_json(), ensure_ascii=False), repr(report))
        clean_below(self.root)
        return report.exit_code


class _Noticing(list[Event]):
    def __init__(self, notice: Callable[[Event], None]) -> None:
        super().__init__()
        self._notice = notice

    def append(self, event: Event) -> None:
        self._notice(event)

    def clear(self) -> None:
        pass


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_makes_us_tell_the_key(
    tmp_path: Path, upstream: FakeUpstream, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On each level in turn, for ever; and at the end, once all is well, the mirror is whole."""
    caplog.set_level(logging.DEBUG)
    mirror = Watched(tmp_path / "root", upstream)
    for level in ("capabilities", "resource", "sub-resource", "download"):
        upstream.script(level, [FAULTS[fault]], forever=True)
        assert await mirror.checked() in (0, 1, 5)
        upstream.heal()
        mirror.clock.pass_(days=400)
    assert await mirror.checked() == 0
    assert {record.query["apikey"] for record in upstream.requests} == {KEY}
    clean(caplog.text)


async def test_a_feed_that_repeats_the_key_everywhere(
    tmp_path: Path, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """What it says besides is taken, with a mask in the place of the key; an entry that is named after the key is left out."""
    caplog.set_level(logging.DEBUG)
    upstream.script(lambda _: True, [echoing()], forever=True)
    mirror = Watched(tmp_path / "root", upstream)
    mirror.tables = {"all": {**EVERYTHING, "publish": "each"}}  # with "whole", files that cannot be named hold back the others
    assert await mirror.checked() == 1  # entries that cannot be taken are a gap, and told
    assert len(mirror.tree()) == 8
    titles = mirror.rows("SELECT title FROM resources UNION SELECT title FROM sub_resources")
    assert all(MASK in title for (title,) in titles)
    clean(titles, caplog.text)


async def test_a_partial_file_has_no_key_in_its_sidecar(tmp_path: Path, upstream: FakeUpstream) -> None:
    """The validator that the sidecar would keep is one that has the key in it; it is done without."""
    upstream.script("download", [partly(1000)] * 8)
    upstream.script("download", [faults.status(500)], forever=True)
    mirror = Watched(tmp_path / "root", upstream)
    assert await mirror.checked() == 1
    assert [name for name in mirror.staged() if name.endswith(".part.json")]
    upstream.heal()
    mirror.clock.pass_(days=400)
    assert await mirror.checked() == 0


async def test_no_failure_of_tls_tells_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    authority, fake = trustme.CA(), FakeUpstream(catalogue())
    mirror = Watched(tmp_path / "root", fake)
    async with over_tls(fake, authority, "elsewhere.example") as base:
        mirror.upstream_options["url"] = f"{base}/capabilities"
        assert await mirror.checked() == 5
    clean(caplog.text)


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_traceback_tells_the_key(upstream: FakeUpstream, fault: str) -> None:
    """With all causes and contexts: an error that nobody expected is printed with them."""
    upstream.script(lambda _: True, [FAULTS[fault]], forever=True)
    settings = Mirrored(Path("/nowhere"), upstream)
    settings.upstream_options = {"api_key": KEY, "retry_for": "1s"}
    events: list[Event] = []
    browser = Browser("gpf", settings.settings.upstream["gpf"], None, events.append)
    with pytest.raises(MirrorError) as caught:
        await browser.resources(Interest())
    clean("".join(traceback.format_exception(caught.value)), repr(events))


# -- every command


COMMANDS = (
    "config check",
    "config check --json",
    "catalog",
    "catalog --json",
    "catalog ALPHA --sizes",
    "catalog ALPHA --json",
    "plan",
    "plan --json --all",
    "sync --json",
    "sync",
    "query --json",
    "query --csv",
    "query --paths",
    "query alpha",
    "status",
    "status --json",
    "verify --full --json",
    "verify --full --repair",
)


def checked_run(folder: Path, *arguments: str) -> Outcome:
    outcome = run("-v", "-v", *arguments, cwd=folder, INSPIRE_MIRROR_UPSTREAM__GPF__API_KEY=KEY)
    clean(outcome.out, outcome.err)
    assert "Traceback" not in outcome.err
    return outcome


@pytest.mark.timeout(600)  # eighteen commands, each a process
def test_no_command_tells_the_key(tmp_path: Path) -> None:
    """At its most talkative, on a service that repeats the key in all it says and that fails in every way, file by file."""
    with FakeUpstream(catalogue(), etags=True).in_thread() as fake:
        everything = 'all]\nresources = ["*"]\nedition = "all"\npublish = "each"'
        write_config(tmp_path, fake.url, everything, more="[limits]\nmin_free = 0")
        fake.script(lambda record: record.kind != "download", [echoing()], forever=True)
        fake.script(
            "download", [partly(1000), *(fault for name, fault in FAULTS.items() if "wall" not in name), echoing()], forever=True
        )
        codes = [checked_run(tmp_path, *command.split()).code for command in COMMANDS]
        assert set(codes) <= {0, 1, 5}
        assert {record.query["apikey"] for record in fake.requests} == {KEY}
    assert clean_below(tmp_path) > 100_000


@pytest.mark.parametrize("fault", ["HTTP 403", "a redirect to another host", "no HTTP", "an endless wall"])
def test_no_command_that_ends_on_an_error_tells_the_key(tmp_path: Path, fault: str) -> None:
    """With `--json`, which has the reason in its document, and without."""
    with FakeUpstream(catalogue()).in_thread() as fake:
        write_config(tmp_path, fake.url, 'all]\nresources = ["*"]')
        fake.script(lambda _: True, [FAULTS[fault]], forever=True)
        for command in ("catalog", "sync --json"):
            assert checked_run(tmp_path, *command.split()).code in (1, 5)
        assert fake.count() > 0
    clean_below(tmp_path)


# -- the mask itself


@pytest.mark.parametrize("spelt", [*SPELLINGS, quote(KEY, safe="").lower(), json.dumps(KEY), repr(KEY.encode())])
def test_every_spelling_is_masked(spelt: str) -> None:
    secret = Secret(KEY)
    for text in (spelt, f"http://h/?a=1&x={spelt}&b=2", f"<a href='{spelt}'>", f"{spelt}{spelt}"):
        clean(secret.redact(text))
        assert MASK in secret.redact(text)
        assert secret.holds(text)


@given(st.text(min_size=8).filter(lambda key: not any(c.isspace() or c in "*." for c in key)), st.text())
def test_no_key_is_left_in_a_text(key: str, around: str) -> None:
    assert key not in Secret(key).redact(around + key + around).replace(MASK, "\0")


@pytest.mark.parametrize("key", ["clé-d'été", "quo\"te'd", "back\\slash", "a+b%2Fc"])
def test_keys_that_are_escaped_are_masked_too(key: str) -> None:
    """As JSON, Python and URLs write them."""
    for spelt in (json.dumps(key), repr(key), repr(key.encode()), repr(repr(key.encode())), quote(key, safe=""), quote_plus(key)):
        told = Secret(key).redact(f"at {spelt}!")
        assert (MASK in told, told[:3], told[-1]) == (True, "at ", "!")
        assert not Secret(key).holds(told)


def test_without_a_key_what_looks_like_one_is_masked_all_the_same() -> None:
    """A key that was pasted into an address."""
    assert Secret(None).redact("GET http://h/?a=1&apikey=abc&x='") == "GET http://h/?a=1&apikey=***&x='"
    assert Secret(None).redact("nothing") == "nothing"
    assert Secret("ab").redact("about ab, apikey=ab") == "about ab, apikey=***"


def test_a_message_is_cut_after_the_key_is_taken_out() -> None:
    """So that no part of a key is left where the cut falls."""
    for start in range(380, 405):
        clean(Secret(KEY).tell("x" * start + KEY))
    assert Secret(KEY).tell("a\n  b\tc") == "a b c"


def test_a_page_is_cleaned_in_all_its_texts_and_keeps_its_names() -> None:
    page = Page((Resource("R", f"http://h/{KEY}", title=KEY, zones=(Term("Z", KEY),)),), total=1, title=KEY, rejected=(KEY,))
    cleaned = Secret(KEY).clean(page)
    assert cleaned == Page(
        (Resource("R", f"http://h/{MASK}", title=MASK, zones=(Term("Z", MASK),)),), total=1, title=MASK, rejected=(MASK,)
    )
    named = Page((SubResource("R", f"a{KEY}", "u"), SubResource("R", "b", "u")))
    assert Secret(KEY).clean(named) == Page((SubResource("R", "b", "u"),), rejected=("an entry has the API key for a name",))


def test_a_short_key_makes_no_name_unusable() -> None:
    """`demo` may be a part of a name by chance."""
    page = Page((RemoteFile("demo.7z", "http://h/demo.7z"),))
    assert [file.name for file in Secret("demo").clean(page).entries] == ["demo.7z"]
