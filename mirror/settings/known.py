"""The upstreams that have a name here, so that nobody has to look up their addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from mirror.errors import ConfigError
from mirror.settings.addresses import check_service_url


@dataclass(frozen=True, slots=True)
class KnownUpstream:
    """A public service: where it starts, what is special about it, and the requests per second that it grants an address."""

    url: str
    about: str
    most_requests_per_second: float | None = None
    needs_key: bool = False


# Addresses and limits: IGN's documentation of the download API [O]. Nothing is documented on the rate of /extraction.
KNOWN_UPSTREAMS = {
    "geoplateforme": KnownUpstream(
        "https://data.geopf.fr/telechargement/capabilities",
        "the open data of the Géoplateforme, as archives",
        most_requests_per_second=10,
    ),
    "geoplateforme-chunk": KnownUpstream(
        "https://data.geopf.fr/chunk/telechargement/capabilities",
        "cloud-native single files: FlatGeobuf, GeoParquet, COPC, PMTiles",
        most_requests_per_second=200,
    ),
    "geoplateforme-private": KnownUpstream(
        "https://data.geopf.fr/private/telechargement/capabilities",
        "what your own key opens",
        most_requests_per_second=10,
        needs_key=True,
    ),
    "geoplateforme-extraction": KnownUpstream(
        "https://data.geopf.fr/extraction/telechargement/capabilities",
        "the results of extraction jobs",
    ),
}
DEFAULT_UPSTREAM = "geoplateforme"

GEOPLATEFORME_HOST = "data.geopf.fr"
_GEOPLATEFORME_DEFAULT_RATE = 10.0
_GEOPLATEFORME_AVAILABILITY = 0.995  # what IGN commits to for its platform; the page that says so is still to be named here

RESERVED_NAMES = frozenset({"api", "health", "metrics"})
"""Paths of the HTTP interface, where an upstream of that name would hide them: `/{upstream}/...` stands beside `/api/query`."""

UPSTREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""What an upstream or a subscription may be called: it becomes a folder and a part of addresses."""


def find_upstream(name_or_url: str) -> tuple[str, str]:
    """The name and URL of what `init --upstream` was given: a known name, its last part (`chunk`), or the URL of any service.

    A URL that is not known is named after its host. Raises ConfigError where it is neither.
    """
    for name in (name_or_url, f"{DEFAULT_UPSTREAM}-{name_or_url}"):
        if name in KNOWN_UPSTREAMS:
            return name, KNOWN_UPSTREAMS[name].url
    try:
        url = check_service_url(name_or_url)
    except ValueError as error:
        raise ConfigError(f"--upstream {error}; or it is one of these names: {', '.join(KNOWN_UPSTREAMS)}") from None
    for name, known in KNOWN_UPSTREAMS.items():
        if known.url == url:
            return name, url
    return _name_from_host(urlsplit(url).hostname or ""), url


def granted_requests_per_second(url: str) -> float | None:
    """The rate that the service behind `url` grants, or None where none is known."""
    parts = urlsplit(url)
    if parts.hostname != GEOPLATEFORME_HOST:
        return None
    for known in KNOWN_UPSTREAMS.values():
        service = urlsplit(known.url).path.removesuffix("capabilities")
        if parts.path.startswith(service):
            return known.most_requests_per_second
    return _GEOPLATEFORME_DEFAULT_RATE


def promised_availability(url: str) -> float | None:
    """The share of a month that the service behind `url` commits to be available for, or None where none is known."""
    return _GEOPLATEFORME_AVAILABILITY if urlsplit(url).hostname == GEOPLATEFORME_HOST else None


def _name_from_host(host: str) -> str:
    if ":" in host:  # an IPv6 address, of which no name can be made that would tell anybody anything
        return "upstream"
    name = re.sub(r"[^A-Za-z0-9._-]", "-", host.removeprefix("www.")).lstrip("._-")[:64]
    return name if UPSTREAM_NAME.fullmatch(name) and name not in RESERVED_NAMES else "upstream"
