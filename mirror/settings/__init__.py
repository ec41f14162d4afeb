"""The config: TOML and environment in, frozen and checked `Settings` out; the only room that knows pydantic.

find_config -> load, load_found ( file -> environment over it -> schema -> key files ) -> Settings -> warnings, effective
"""

from mirror.settings.addresses import Address
from mirror.settings.known import DEFAULT_UPSTREAM, KNOWN_UPSTREAMS, KnownUpstream, find_upstream
from mirror.settings.load import CONFIG_NAME, SYSTEM_CONFIG, config_is_given, find_config, from_mapping, load, load_found
from mirror.settings.report import effective, warnings
from mirror.settings.schema import MASK, Limits, Serve, Service, Settings, Subscription, Upstream

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
    "Service",
    "Settings",
    "Subscription",
    "Upstream",
    "config_is_given",
    "effective",
    "find_config",
    "find_upstream",
    "from_mapping",
    "load",
    "load_found",
    "warnings",
]
