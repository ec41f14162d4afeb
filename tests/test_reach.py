"""Only the addresses of the public network are asked, and of those of other kinds only the ones where the upstream itself is."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mirror.upstream.reach import Kind, OutOfReach, Reach, kind_of, literal
from mirror.upstream.secret import Secret

from .redirecting import CATALOGUE, KEY, refusal, session
from .upstream import FakeUpstream, faults
from .upstream.raw import serving


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


@pytest.fixture
async def other() -> AsyncIterator[FakeUpstream]:
    """Another host: the same catalogue on another port."""
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


NEVER = {
    "10.0.0.1": Kind.PRIVATE,
    "172.16.0.1": Kind.PRIVATE,
    "172.31.255.255": Kind.PRIVATE,
    "192.168.1.1": Kind.PRIVATE,
    "100.64.0.1": Kind.PRIVATE,
    "169.254.169.254": Kind.LINK,
    "224.0.0.1": Kind.SPECIAL,
    "255.255.255.255": Kind.SPECIAL,
    "240.0.0.1": Kind.SPECIAL,
    "192.0.2.1": Kind.SPECIAL,
    "[fc00::1]": Kind.PRIVATE,
    "[fdff::1]": Kind.PRIVATE,
    "[fec0::1]": Kind.PRIVATE,
    "[fe80::1]": Kind.LINK,
    "[fe80::1%25eth0]": Kind.LINK,
    "[ff02::1]": Kind.SPECIAL,
    "[2001:db8::1]": Kind.SPECIAL,
    "[::ffff:10.0.0.1]": Kind.PRIVATE,
    "[::ffff:a00:1]": Kind.PRIVATE,
    "[::10.0.0.1]": Kind.PRIVATE,
    "[64:ff9b::10.0.0.1]": Kind.PRIVATE,
    "[2002:a00:1::]": Kind.PRIVATE,
    "167772161": Kind.PRIVATE,  # 10.0.0.1, as what connects reads it
    "0x0a000001": Kind.PRIVATE,
    "0x0a.1": Kind.PRIVATE,
    "10.1": Kind.PRIVATE,
    "012.0.0.1": Kind.PRIVATE,
    "10.0.0.1.": Kind.PRIVATE,
}
"""Hosts as a `Location` may spell them."""

LOOPBACK = ["127.0.0.2", "127.2", "127.255.255.254", "2130706434", "0x7f000002", "0177.0.0.2", "0x7f.0.0.2", "0.0.0.1", "0"]
LOOPBACK += [
    "0x0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.2]",
    "[::ffff:7f00:2]",
    "[::127.0.0.2]",
    "[64:ff9b::7f00:2]",
    "[2002:7f00:2::]",
]


@pytest.mark.parametrize("host", NEVER)
async def test_addresses_that_are_not_public_are_never_asked(upstream: FakeUpstream, host: str) -> None:
    """Whether or not the config names them. The upstream itself is on loopback here, so that alone would be allowed."""
    listed = (host.lower(), f"{literal(host.replace('%25', '%'))}", "10.0.0.1")
    told = await refusal(upstream, f"http://{host}/capabilities", redirect_hosts=listed)
    assert f"an address of {NEVER[host]}, where the upstream itself is not; never asked there" in told


class Names(AbstractResolver):
    """A name server: `answers` has the answers to each name in turn, the last one for ever."""

    def __init__(self, **answers: Sequence[list[str]]) -> None:
        self.answers = {name.replace("_", "."): list(turns) for name, turns in answers.items()}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        turns = self.answers[host]
        return [self._result(host, address, port) for address in (turns.pop(0) if len(turns) > 1 else turns[0])]

    def _result(self, host: str, address: str, port: int) -> ResolveResult:
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)

    async def close(self) -> None:
        pass


def as_if_public(address: str) -> Kind:
    """127.0.0.1 stands for the public network: there is no other here. All other addresses are what they are."""
    return Kind.PUBLIC if address == "127.0.0.1" else kind_of(address)


def by_name(fake: FakeUpstream, name: str = "upstream.test") -> str:
    return fake.base.replace("127.0.0.1", name)


class Inner:
    """A service that only this machine can reach, on another address of loopback; counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1


@pytest.fixture
async def inner() -> AsyncIterator[Inner]:
    made = Inner()
    async with serving(made.serve, "127.0.0.2") as made.port:
        yield made


@pytest.mark.parametrize("host", LOOPBACK)
async def test_loopback_is_only_for_an_upstream_that_is_there(upstream: FakeUpstream, host: str) -> None:
    """In every spelling, though the config names it."""
    told = await refusal(
        upstream,
        f"http://{host}/",
        by_name(upstream),
        resolver=Names(upstream_test=[["127.0.0.1"]]),
        address_kind=as_if_public,
        redirect_hosts=[host, "127.0.0.2", "[::1]"],
    )
    assert f"an address of {Kind.MACHINE}" in told


async def test_a_name_that_leads_to_loopback_is_not_asked(upstream: FakeUpstream, inner: Inner) -> None:
    """The name is one of the config, and looks like any other."""
    told = await refusal(
        upstream,
        f"http://files.test:{inner.port}/",
        by_name(upstream),
        resolver=Names(upstream_test=[["127.0.0.1"]], files_test=[["127.0.0.2"]]),
        address_kind=as_if_public,
        redirect_hosts=[f"files.test:{inner.port}"],
    )
    assert f"led to files.test (127.0.0.2), an address of {Kind.MACHINE}" in told
    assert inner.connections == 0


async def test_a_name_that_changes_its_mind_does_not_help(upstream: FakeUpstream, inner: Inner) -> None:
    """Rebinding: the upstream's own name, public when the run began, leads to loopback when it is asked for again."""
    told = await refusal(
        upstream,
        f"http://upstream.test:{inner.port}/",
        by_name(upstream),
        resolver=Names(upstream_test=[["127.0.0.1"], ["127.0.0.2"]]),
        address_kind=as_if_public,
        redirect_hosts=[f"upstream.test:{inner.port}"],
    )
    assert f"an address of {Kind.MACHINE}" in told
    assert inner.connections == 0


async def test_of_several_addresses_only_those_are_tried_that_may_be_asked(
    upstream: FakeUpstream, other: FakeUpstream, inner: Inner
) -> None:
    location = by_name(other, "files.test") + "/capabilities"
    upstream.script("capabilities", [faults.redirect(location)])
    names = Names(upstream_test=[["127.0.0.1"]], files_test=[["127.0.0.2", "::1", "10.0.0.1", "127.0.0.1"]])
    listed = [URL(location).authority]
    async with session(by_name(upstream), resolver=names, address_kind=as_if_public, redirect_hosts=listed) as client:
        await client.feed(f"{by_name(upstream)}/capabilities", {}, "application/json")
    assert (other.count(), inner.connections) == (1, 0)


async def test_where_the_upstream_itself_is_its_redirects_may_lead(upstream: FakeUpstream, other: FakeUpstream) -> None:
    """An upstream on this machine, by name, may name another service of this machine; the config must name it too."""
    location = by_name(other, "files.test") + "/capabilities"
    upstream.script("capabilities", [faults.redirect(location)])
    names = Names(upstream_test=[["127.0.0.1"]], files_test=[["127.0.0.1"]])
    async with session(by_name(upstream), resolver=names, redirect_hosts=[URL(location).authority]) as client:
        await client.feed(f"{by_name(upstream)}/capabilities", {}, "application/json")
    assert other.count() == 1


async def test_at_home_every_spelling_is_home(upstream: FakeUpstream) -> None:
    """An upstream on loopback may redirect to itself under another spelling of its address."""
    upstream.script("resource", [faults.redirect(f"http://2130706433:{URL(upstream.base).port}/telechargement/capabilities")])
    async with session(upstream, api_key=KEY) as client:
        await client.feed(f"{upstream.base}/resource/X", {}, "application/json")
    assert [record.query["apikey"] for record in upstream.requests] == [KEY, KEY]


@given(st.ip_addresses(v=4))
def test_no_special_address_counts_as_public_in_any_form(address: ipaddress.IPv4Address) -> None:
    """As IPv4, as one number, and inside each kind of IPv6 address that stands for it."""
    kind = kind_of(str(address))
    assert address.is_global or kind is not Kind.PUBLIC
    for spelt in (str(int(address)), hex(int(address)), ".".join(f"0{int(part):o}" for part in str(address).split("."))):
        assert literal(spelt) == str(address)
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        assert kind_of(str(ipaddress.IPv6Address(prefix | int(address)))) is kind
    assert kind_of(str(ipaddress.IPv6Address(0x2002 << 112 | int(address) << 80))) is kind


@given(st.ip_addresses(v=6))
def test_of_ipv6_only_what_is_given_out_counts_as_public(address: ipaddress.IPv6Address) -> None:
    if kind_of(str(address)) is Kind.PUBLIC:
        assert address.is_global or address.sixtofour
        assert not address.is_multicast


@pytest.mark.parametrize("host", ["example.org", "a1", "0x", "1.2.3.4.5", "256.1", "0xg", "", "xn--bcher-kva.example"])
def test_a_name_is_no_address(host: str) -> None:
    assert literal(host) is None


# -- what is home


def reach(base: str, *others: str) -> Reach:
    return Reach(URL(base), others, Secret(KEY), resolver=Names())


@pytest.mark.parametrize(
    ("base", "target", "home"),
    [
        ("http://h.test/x", "http://h.test/y", True),
        ("http://h.test/x", "http://H.TEST:80/y", True),
        ("http://h.test/x", "https://h.test/y", True),  # the same host, over TLS
        ("http://h.test:8080/x", "https://h.test/y", False),
        ("http://h.test/x", "https://h.test:8443/y", False),
        ("https://h.test/x", "https://h.test:443/y", True),
        ("https://h.test/x", "https://www.h.test/y", False),
        ("https://h.test/x", "https://h.test.evil.test/y", False),
    ],
)
def test_what_counts_as_the_upstream_itself(base: str, target: str, home: bool) -> None:
    assert reach(base).is_home(URL(target)) is home


@pytest.mark.parametrize(
    ("listed", "location", "followed"),
    [
        ("files.test", "https://files.test/x", True),
        ("files.test", "https://FILES.test./x", True),
        ("files.test", "https://files.test:8443/x", False),
        ("files.test:8443", "https://files.test:8443/x", True),
        ("files.test:443", "https://files.test/x", True),
        ("files.test", "https://a.files.test/x", False),
        ("files.test", "//files.test/x", True),
        ("files.test", "https://files.test@evil.test/x", False),
        ("[2600::1]", "https://[2600::1]/x", True),
        ("[2600::1]:8443", "https://[2600:0:0::1]:8443/x", True),
    ],
)
def test_redirect_hosts_are_meant_exactly(listed: str, location: str, followed: bool) -> None:
    if followed:
        assert reach("https://h.test/x", listed).redirected(URL("https://h.test/x"), location).path == "/x"
    else:
        with pytest.raises(OutOfReach, match="another host"):
            reach("https://h.test/x", listed).redirected(URL("https://h.test/x"), location)
