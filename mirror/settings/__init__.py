"""The config: TOML and environment in, frozen and checked `Settings` out; the only room that knows pydantic.

find_config -> load ( file -> environment over it -> schema -> key files ) -> Settings -> warnings, effective
"""

from mirror.settings.addresses import Address
from mirror.settings.known import DEFAULT_UPSTREAM, KNOWN_UPSTREAMS, KnownUpstream, find_upstream
from mirror.settings.load import CONFIG_NAME, SYSTEM_CONFIG, find_config, from_mapping, load
from mirror.settings.report import effective, warnings
from mirror.settings.schema import MASK, Limits, Serve, Settings, Subscription, Upstream

__all__ = [
    "CONFIG_NAME",
    "DEFAULT_UPSTREAM",
    "KNOWN_UPSTREAMS",
    "MASK",
    "SYSTEM_CONFIG",
    "Address",
    "KnownUpstream",
    "Limits",
    "Serve",
    "Settings",
    "Subscription",
    "Upstream",
    "effective",
    "find_config",
    "find_upstream",
    "from_mapping",
    "load",
    "warnings",
]
