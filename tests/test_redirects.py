"""A redirect leads to this host or to one of the config, never to what only this machine can reach, and never with the key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from yarl import URL

from mirror.errors import RequestFailed
from mirror.events import Event, Requested
from mirror.upstream.pace import Gate

from .fetching import MIB, bench
from .mirrored import Mirrored, offered
from .redirecting import CATALOGUE, KEY, host_of, refusal, session
from .tls import over_tls
from .upstream import Exchange, FakeUpstream, Fault, faults


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def other() -> AsyncIterator[FakeUpstream]:
    """Another host: the same catalogue on another port."""
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


# -- other hosts


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_host_of_the_config_is_followed_without_the_key(upstream: FakeUpstream, other: FakeUpstream, code: int) -> None:
    """Neither the key nor any header that could stand for it; what does not identify us goes along."""
    upstream.script("capabilities", [faults.redirect(f"{other.url}?page=1", code)])
    async with session(upstream, api_key=KEY, redirect_hosts=[host_of(other)]) as client:
        page = await client.feed(upstream.url, {}, "application/json")
    assert json.loads(page.body)["totalentries"] == 1
    assert [record.query.get("apikey") for record in upstream.requests] == [KEY]
    (record,) = other.requests
    assert dict(record.query) == {"page": "1"}
    assert record.headers.keys() == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


@pytest.mark.parametrize("listed", [(), ("localhost",), ("127.0.0.1",), ("127.0.0.1:1",), ("example.org",)])
async def test_hosts_that_the_config_does_not_name_are_not_asked(
    upstream: FakeUpstream, other: FakeUpstream, listed: tuple[str, ...]
) -> None:
    """A host without a port is that host at its usual port."""
    told = await refusal(upstream, other.url, redirect_hosts=listed)
    assert f"redirected to another host, http://{host_of(other)}; not followed" in told
    assert "redirect_hosts" in told
    assert other.count() == 0


@pytest.mark.parametrize(
    "echo", [f"apikey={KEY}", f"APIKEY={KEY}&page=1", f"next=%2Fx%3Fapikey%3D{KEY}", f"token={KEY.replace('-', '%2D')}"]
)
async def test_a_key_that_the_upstream_hands_on_is_taken_off(upstream: FakeUpstream, other: FakeUpstream, echo: str) -> None:
    upstream.script("capabilities", [faults.redirect(f"{other.url}?limit=5&{echo}")])
    async with session(upstream, api_key=KEY, redirect_hosts=[host_of(other)]) as client:
        await client.feed(upstream.url, {}, "application/json")
    (record,) = other.requests
    assert record.query["limit"] == "5"
    assert "k3y" not in repr(record)


@pytest.mark.parametrize("spelt", [KEY, KEY.upper(), KEY.replace("-", "%2D"), KEY.replace("-", "%252d")])
async def test_a_key_in_the_path_to_another_host_goes_nowhere(upstream: FakeUpstream, other: FakeUpstream, spelt: str) -> None:
    told = await refusal(upstream, f"{other.base}/{spelt}/x", api_key=KEY, redirect_hosts=[host_of(other)])
    assert "API key in the address" in told
    assert "k3y" not in told.lower()
    assert other.count() == 0


async def test_a_user_in_a_redirect_is_not_sent(upstream: FakeUpstream, other: FakeUpstream) -> None:
    upstream.script("capabilities", [faults.redirect(other.url.replace("://", "://user:pass@"))])
    async with session(upstream, redirect_hosts=[host_of(other)]) as client:
        await client.feed(upstream.url, {}, "application/json")
    assert "Authorization" not in other.requests[0].headers


async def test_back_home_the_key_goes_along_again(upstream: FakeUpstream, other: FakeUpstream) -> None:
    upstream.script("capabilities", [faults.redirect(other.url)])
    other.script("capabilities", [faults.redirect(f"{upstream.base}/capabilities?page=1")])
    async with session(upstream, api_key=KEY, redirect_hosts=[host_of(other)]) as client:
        await client.feed(upstream.url, {}, "application/json")
    assert [record.query.get("apikey") for record in [*upstream.requests, *other.requests]] == [KEY, KEY, None]


async def test_each_step_of_a_redirect_waits_for_its_turn(upstream: FakeUpstream, other: FakeUpstream) -> None:
    """It is a request like any other, and told as one."""

    class Counting(Gate):
        turns = 0

        async def pass_through(self) -> None:
            self.turns += 1
            await super().pass_through()

    gate, events = Counting(1000, lambda: 0.0), list[Event]()
    upstream.script("download", [faults.redirect("/telechargement/capabilities")])
    upstream.script("capabilities", [faults.redirect(f"{other.url}?signature=abc")])
    async with session(upstream, events, gate=gate, redirect_hosts=[host_of(other)]) as client:
        async with client.open(f"{upstream.base}/download/R/S/f") as response:
            assert response.status == 200
        assert (client.requests, gate.turns) == (3, 3)
    asked = [event.url for event in events if isinstance(event, Requested)]
    assert asked == [f"{upstream.base}/download/R/S/f", upstream.url, other.url]


async def test_redirects_without_end_stop_after_a_few(upstream: FakeUpstream, other: FakeUpstream) -> None:
    """Between two hosts, and each time to another address."""
    numbers = iter(range(1000))

    def onward(to: FakeUpstream) -> Fault:
        async def fault(exchange: Exchange) -> Any:
            return await faults.redirect(f"{to.base}/capabilities?{next(numbers)}")(exchange)

        return fault

    upstream.script("capabilities", [onward(other)], forever=True)
    other.script("capabilities", [onward(upstream)], forever=True)
    async with session(upstream, redirect_hosts=[host_of(other)]) as client:
        with pytest.raises(RequestFailed, match="in a circle or without end"):
            await client.feed(upstream.url, {}, "application/json")
    assert upstream.count() + other.count() == 6


# -- from https to http


async def test_from_https_no_redirect_leads_to_http(other: FakeUpstream, tmp_path: Path) -> None:
    """Not even to a host that the config names: what comes from there could be from anybody."""
    authority, fake = trustme.CA(), FakeUpstream(CATALOGUE)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with over_tls(fake, authority, "127.0.0.1") as base:
        told = await refusal(fake, other.url, base, ca_file=tmp_path / "ca.pem", redirect_hosts=[host_of(other)])
    assert "redirected from https to http://" in told
    assert other.count() == 0


async def test_another_host_has_to_show_a_certificate_too(upstream: FakeUpstream, tmp_path: Path) -> None:
    authority, fake = trustme.CA(), FakeUpstream(CATALOGUE)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with over_tls(fake, authority, "127.0.0.1") as base:
        listed = [URL(base).authority]
        assert "certificate cannot be trusted" in await refusal(upstream, f"{base}/capabilities", redirect_hosts=listed)
        assert fake.count() == 0
        async with session(upstream, ca_file=tmp_path / "ca.pem", redirect_hosts=listed) as client:
            await client.feed(upstream.url, {}, "application/json")
        assert fake.count() == 1


# -- a whole sync


def mirror_of(tmp_path: Path, upstream: FakeUpstream, *listed: str) -> Mirrored:
    mirror = Mirrored(tmp_path / "root", upstream)
    mirror.upstream_options = {"redirect_hosts": list(listed), "api_key": KEY}
    return mirror


async def test_files_that_lie_on_another_host_of_the_config_are_mirrored(
    tmp_path: Path, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    """Also resumed there, in the middle of the file."""
    upstream.script("download", [_moved_to(other)], forever=True)
    other.script("download", [faults.cut_after(500)])
    mirror = mirror_of(tmp_path, upstream, host_of(other))
    report = await mirror.sync()
    assert (report.exit_code, report.requests) == (0, upstream.count() + other.count())
    assert mirror.tree() == offered(CATALOGUE)
    assert [record.headers.get("Range") for record in other.requests].count("bytes=500-") == 1
    assert {record.query.get("apikey") for record in other.requests} == {None}


async def test_files_on_a_host_that_the_config_does_not_name_are_parked(
    tmp_path: Path, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    upstream.script("download", [_moved_to(other)], forever=True)
    mirror = mirror_of(tmp_path, upstream)
    report = await mirror.sync()
    assert (report.exit_code, len(report.failed), other.count()) == (1, 2, 0)
    assert all("redirect_hosts" in failure.reason for failure in report.failed)
    assert mirror.tree() == {}
    mirror.upstream_options["redirect_hosts"] = [host_of(other)]
    assert (await mirror.sync()).exit_code == 0
    assert mirror.tree() == offered(CATALOGUE)


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/", "/telechargement/x"])
async def test_a_feed_that_is_redirected_where_we_do_not_go_leaves_the_mirror_as_it_is(
    tmp_path: Path, upstream: FakeUpstream, location: str
) -> None:
    mirror = mirror_of(tmp_path, upstream, "169.254.169.254")
    await mirror.sync()
    upstream.script(lambda _: True, [faults.redirect(location)], forever=True)
    mirror.clock.pass_(days=8)
    report = await mirror.sync()
    assert (report.outcome, report.exit_code) == ("unavailable", 5)
    assert "redirected" in report.reason or "led to" in report.reason
    assert mirror.tree() == offered(CATALOGUE)


async def test_a_large_file_goes_on_over_redirects_that_break(tmp_path: Path, other: FakeUpstream) -> None:
    async with bench(tmp_path, 2 * MIB, session={"redirect_hosts": [host_of(other)]}) as at:
        other.catalogue = at.upstream.catalogue
        at.upstream.script("download", [_moved_to(other)] * 2)
        other.script("download", [faults.cut_after(MIB), faults.status(500)])
        assert at.right(await at.fetch())
        assert at.asked() == [None, f"bytes={MIB}-", f"bytes={MIB}-"]


def _moved_to(other: FakeUpstream) -> Fault:
    async def fault(exchange: Exchange) -> Any:
        return await faults.redirect(other.base + exchange.record.path)(exchange)

    return fault
