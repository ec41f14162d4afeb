"""Where a request may go: which hosts a redirect may name, and which addresses a host may lead to.

A service, or who pretends to be it, could send us to what only this machine can reach: a database on loopback, a router, the
metadata of a cloud. So an address outside the public network is asked only if the upstream itself is at one of the same kind.
That is checked where names become addresses, with the very answer that the connection then uses: names that change do not help.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from mirror.upstream.secret import Secret

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NUMERIC_HOST = re.compile(r"[0-9a-fx.]+", re.IGNORECASE | re.ASCII)


class Kind(StrEnum):
    """The kinds of addresses, in words for people."""

    PUBLIC = "the public network"
    MACHINE = "this machine"
    PRIVATE = "a private network"
    LINK = "the local link"
    SPECIAL = "no host that could be asked"


class OutOfReach(Exception):
    """A request is not sent there; the text says why, and has no address with a key in it."""


# RFC 6890 and the IANA registries of special-purpose addresses; written out, as `ipaddress` differs between versions of Python.
_KINDS_V4 = [
    (Kind.MACHINE, "0.0.0.0/8 127.0.0.0/8"),
    (Kind.PRIVATE, "10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.168.0.0/16 198.18.0.0/15"),
    (Kind.LINK, "169.254.0.0/16"),
    (Kind.SPECIAL, "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"),
]
_KINDS_V6 = [
    (Kind.MACHINE, "::/127"),
    (Kind.PRIVATE, "fc00::/7 fec0::/10 64:ff9b:1::/48"),
    (Kind.LINK, "fe80::/10"),
    (Kind.SPECIAL, "2001::/23 2001:db8::/32 3fff::/20"),
]
_NETWORKS_V4 = [(kind, IPv4Network(text)) for kind, texts in _KINDS_V4 for text in texts.split()]
_NETWORKS_V6 = [(kind, IPv6Network(text)) for kind, texts in _KINDS_V6 for text in texts.split()]
_GLOBAL_V6 = IPv6Network("2000::/3")
# IPv6 addresses that stand for an IPv4 address, and how far from the right that begins: compatible, mapped, NAT64, 6to4.
_EMBEDDED = [
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
]


def kind_of(address: str) -> Kind:
    """The kind of an IP address, an IPv6 one with or without a zone. Raises ValueError where it is none."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address):
        return next((kind for kind, network in _NETWORKS_V4 if ip in network), Kind.PUBLIC)
    ip = IPv6Address(int(ip))  # without its zone
    for kind, network in _NETWORKS_V6:
        if ip in network:
            return kind
    for network, shift in _EMBEDDED:
        if ip in network:
            return kind_of(str(IPv4Address(int(ip) >> shift & 0xFFFFFFFF)))
    return Kind.PUBLIC if ip in _GLOBAL_V6 else Kind.SPECIAL


def literal(host: str) -> str | None:
    """The IP address that a host is, in its usual spelling; None for a name.

    `2130706433`, `0x7f.1` and `0177.0.0.1` are names to nobody: what connects reads them as 127.0.0.1.
    """
    text = host.strip("[]").rstrip(".")
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    if not _NUMERIC_HOST.fullmatch(text):
        return None
    try:
        return str(IPv4Address(socket.inet_aton(text)))
    except OSError:
        return None


class Reach(AbstractResolver):
    """The hosts and addresses that one upstream may make us ask; resolves their names."""

    def __init__(
        self,
        base: URL,
        others: Collection[str],
        secret: Secret,
        *,
        resolver: AbstractResolver,
        kind_of: Callable[[str], Kind] = kind_of,
    ) -> None:
        """`others` are further hosts that redirects may name, as `host` or `host:port`. `resolver` is asked for names."""
        self._base = base
        self._others = frozenset(others)
        self._secret = secret
        self._resolver = resolver
        self._kind_of = kind_of
        self._trusted: set[str] = set()
        at = literal(base.host or "")
        self._home: set[Kind] | None = None if at is None else {kind_of(at)}
        """The kinds of addresses that the upstream was at when it was first looked for."""

    def trust(self, host: str) -> None:
        """A proxy of the environment: it may be anywhere."""
        self._trusted.add(host)

    def is_home(self, url: URL) -> bool:
        """Whether a request goes to the upstream itself, and so may carry its key; the same host over TLS is home too."""
        base = self._base
        if url.host != base.host:
            return False
        if (url.scheme, url.port) == (base.scheme, base.port):
            return True
        return (base.scheme, base.port, url.scheme, url.port) == ("http", 80, "https", 443)

    def redirected(self, at: URL, location: str) -> URL:
        """Where a redirect leads from `at`, without the key or any other credential. Raises OutOfReach where we do not go."""
        try:
            target = at.join(URL(location))
            target.origin()
            address = literal(target.host or "")
            target = (target if address is None else target.with_host(address)).with_user(None).with_fragment(None)
        except ValueError:
            raise OutOfReach("redirected to something that is no address") from None
        if target.scheme not in _DEFAULT_PORTS:
            raise OutOfReach("redirected to something that is no address")
        if at.scheme == "https" and target.scheme != "https":
            raise OutOfReach(
                f"redirected from https to {target.origin()}, where anybody on the way could change what comes; not followed"
            )
        if address is not None:
            self._check(address, address)
        if self.is_home(target):
            return target
        if self._spelt(target).isdisjoint(self._others):
            raise OutOfReach(
                f"redirected to another host, {target.origin()}; not followed. If that is the upstream's new home, put its address "
                "in the config; if the upstream keeps files there, name it in redirect_hosts"
            )
        return self._without_key(target)

    def _spelt(self, url: URL) -> set[str]:
        """How redirect_hosts may name the host of an address."""
        host = (url.host or "").lower().rstrip(".")
        host = f"[{host}]" if ":" in host else host
        names = {f"{host}:{url.port}"}
        return names | {host} if url.port == _DEFAULT_PORTS[url.scheme] else names

    def _without_key(self, target: URL) -> URL:
        if self._secret.holds(str(target)):
            kept = [
                (name, value) for name, value in target.query.items() if name.lower() != "apikey" and not self._secret.holds(value)
            ]
            target = target.with_query(kept or None)
        if self._secret.holds(str(target)):
            raise OutOfReach("redirected to another host with the API key in the address, which never goes there")
        return target

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """The addresses of a host, those only that may be asked. Raises OutOfReach if it has no others, OSError if it has none."""
        found = await self._resolver.resolve(host, port, family)
        if host in self._trusted:
            return found
        if self._home is None and host.rstrip(".") == (self._base.raw_host or "").rstrip("."):
            self._home = {self._kind_of(one["host"]) for one in found}
        allowed = [one for one in found if self._allows(one["host"])]
        if not allowed and found:
            self._check(host, found[0]["host"])
        return allowed

    async def close(self) -> None:
        """Give back what resolving took."""
        await self._resolver.close()

    def _allows(self, address: str) -> bool:
        return self._kind_of(address) in (Kind.PUBLIC, *(self._home or ()))

    def _check(self, host: str, address: str) -> None:
        if not self._allows(address):
            where = f"{host} ({address})" if host != address else host
            raise OutOfReach(
                f"led to {where}, an address of {self._kind_of(address)}, where the upstream itself is not; never asked there"
            )
