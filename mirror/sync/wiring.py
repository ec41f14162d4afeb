"""From settings to the parts of a run: wishes, sessions, dialects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from mirror.errors import ConfigError
from mirror.events import Emit
from mirror.planning.selection import Wish
from mirror.settings import Settings, Subscription, Upstream
from mirror.settings.hours import find_zone
from mirror.upstream.geoplateforme import Geoplateforme
from mirror.upstream.pace import Gate
from mirror.upstream.session import Patience, Session

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of real runs."""
    return datetime.now(UTC)


def wish_of(name: str, subscription: Subscription) -> Wish:
    """The selection part of a subscription."""
    return Wish(
        name=name,
        upstream=subscription.upstream,
        resources=subscription.resources,
        sub_resources=subscription.sub_resources,
        zones=subscription.zones,
        formats=subscription.formats,
        crs=subscription.crs,
        files=subscription.files,
        edition=subscription.edition,
        bbox=subscription.bbox,
        whole=subscription.publish == "whole",
        extract=subscription.extract,
    )


def wishes_of(settings: Settings, names: Sequence[str]) -> tuple[Wish, ...]:
    """The wishes of the named subscriptions, of all if none is named. Raises ConfigError for an unknown name."""
    if not settings.subscription:
        raise ConfigError(
            "the config has no [subscription.NAME] table, so there is nothing to mirror; `inspire-mirror init` shows one"
        )
    for name in names:
        if name not in settings.subscription:
            raise ConfigError(f"there is no subscription {name!r}; there are: {', '.join(settings.subscription)}")
    return tuple(wish_of(name, settings.subscription[name]) for name in (names or settings.subscription))


def open_session(
    name: str,
    upstream: Upstream,
    contact: str | None,
    emit: Emit,
    patience: Patience | None = None,
    gate: Gate | None = None,
    bandwidth: Callable[[], float | None] | None = None,
) -> Session:
    """The session of a configured upstream; `bandwidth` tells its limit at the time it is called, see `bandwidth_of`."""
    return Session(
        name,
        upstream.url,
        emit=emit,
        contact=contact,
        requests_per_second=upstream.requests_per_second,
        connections=upstream.downloads,
        bandwidth=bandwidth,
        api_key=upstream.api_key.get_secret_value() if upstream.api_key else None,
        ca_file=upstream.ca_file,
        redirect_hosts=upstream.redirect_hosts,
        gate=gate,
        patience=patience or Patience(min_speed=upstream.min_speed, retry_for=upstream.retry_for.total_seconds()),
    )


def bandwidth_of(settings: Settings, upstream: Upstream, now: Clock) -> Callable[[], float | None] | None:
    """The limit on an upstream's bytes per second, as it is when asked; None where there is none at any time."""
    rates = upstream.bandwidth
    if rates is None:
        return None
    zone = find_zone(settings.service.timezone)
    return lambda: rates.at(now().astimezone(zone).time())


def dialect_of(name: str, upstream: Upstream) -> Geoplateforme:
    """The dialect of a configured upstream. Raises ConfigError for one that this version cannot read."""
    if upstream.dialect == "inspire":
        raise ConfigError(f'[upstream.{name}] dialect: this version reads "geoplateforme" services only')
    return Geoplateforme(upstream.url)
