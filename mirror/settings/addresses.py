"""Addresses in the config: URLs of services, and where to listen.

Errors never repeat the value: a URL is where people paste passwords and keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

_LISTEN = re.compile(r"(?P<host>\[[0-9a-f:.%]+\]|[^\s\[\]:/]+):(?P<port>[0-9]{1,5})", re.IGNORECASE | re.ASCII)
_REDIRECT_HOST = re.compile(
    r"(?P<host>[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[(?P<ipv6>[0-9a-f:.]{2,45})\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f-\x9f\s]")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port; port 0 lets the system choose one. An IPv6 host stands here without its brackets."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name other than localhost may be any address."""
        try:
            return ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(value: object) -> Address:
    """An address from `"127.0.0.1:8420"`, `"localhost:0"` or `"[::1]:8420"`. Raises ValueError."""
    if isinstance(value, Address):
        return value
    found = _LISTEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or int(found["port"]) > 65535:
        raise ValueError('must be HOST:PORT, such as "127.0.0.1:8420", "0.0.0.0:80" or "[::1]:8420"')
    return Address(found["host"].strip("[]"), int(found["port"]))


def check_service_url(value: object) -> str:
    """The URL of an upstream: http(s), with a host, and nothing secret in it. Raises ValueError."""
    return _check_url(value, "a key goes into api_key_file or api_key", "filters go into a subscription, a key into api_key_file")


def check_public_url(value: object) -> str:
    """The URL under which the mirror is seen from outside, without its last slash. Raises ValueError."""
    return _check_url(value, "visitors would see it", "paths are added to it").rstrip("/")


def check_accel(value: object) -> str:
    """A location of nginx, as `/mirrored-files/`. Raises ValueError."""
    if not isinstance(value, str) or not re.fullmatch(r"/(?:[A-Za-z0-9_.~-]+/)+", value, re.ASCII) or "/../" in value:
        raise ValueError('must be a location that begins and ends with a slash, such as "/mirrored-files/"')
    return value


def check_redirect_host(value: str) -> str:
    """A host that a redirect may lead to, as `host`, `host:port` or `[::1]:port`, in small letters. Raises ValueError."""
    found = _REDIRECT_HOST.fullmatch(value.lower().removesuffix("."))
    port = int(found["port"]) if found and found["port"] else None
    if found is None or ".." in found["host"] or port == 0 or (port or 0) > 65535:
        raise ValueError(
            'must be HOST or HOST:PORT, such as "files.example.org" or "files.example.org:8443", '
            "without scheme, path or wildcard (a name with accents as xn--...)"
        )
    host = found["host"]
    if found["ipv6"]:
        try:
            host = f"[{IPv6Address(found['ipv6']).compressed}]"
        except ValueError:
            raise ValueError("must have an IPv6 address in its brackets") from None
    return host if port is None else f"{host}:{port}"


def _check_url(value: object, why_no_password: str, why_no_query: str) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    url = value.strip()
    try:
        parts = urlsplit(url)
        host, has_user = parts.hostname, "@" in parts.netloc
        _ = parts.port  # raises where it is no number, or out of range
    except ValueError:
        raise ValueError("must be a URL that can be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must be a whole URL that starts with https:// or http:// and names a host")
    if has_user:
        raise ValueError(f"must have no user or password; {why_no_password}")
    if "?" in url or "#" in url:
        raise ValueError(f"must end before any ? or #; {why_no_query}")
    if _NOT_IN_A_URL.search(url):
        raise ValueError("must have no blanks or control characters")
    return url
