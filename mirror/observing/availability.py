"""How available an upstream was, month by month, as far as it was measured. Pure.

An hour counts with the share of its requests that were answered: anything but a 5xx status is an answer. A month is the mean of its
measured hours, so that the thousand requests of a nightly sync weigh no more than the one probe of a quiet hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mirror.store.observed import UpstreamHour
from mirror.upstream.tally import Hour


@dataclass(frozen=True, slots=True)
class Available:
    """An upstream in a span of time. `ratio` is None where nothing was measured; seconds are until the head of an answer."""

    upstream: str
    hours: int
    requests: int
    failed: int
    ratio: float | None
    mean_seconds: float | None
    slowest_seconds: float | None
    hours_down: int
    """Hours in which nothing at all was answered."""

    def as_json(self) -> dict[str, Any]:
        """As `status --upstream --json` shows it."""
        return {
            "hours": self.hours,
            "hours_down": self.hours_down,
            "requests": self.requests,
            "failed": self.failed,
            "availability": None if self.ratio is None else round(self.ratio, 6),
            "mean_seconds": None if self.mean_seconds is None else round(self.mean_seconds, 4),
            "slowest_seconds": None if self.slowest_seconds is None else round(self.slowest_seconds, 4),
        }


@dataclass(frozen=True, slots=True)
class Month:
    """A month, as `2026-10`, in UTC."""

    month: str
    available: Available


def offline_hours(hours: Iterable[UpstreamHour], hosts: Mapping[str, str]) -> frozenset[str]:
    """The hours in which upstreams on several hosts were asked and none answered anything: that was this machine, not all of them.

    `hosts` gives the host of each upstream: services of one host fail together.
    """
    asked: dict[str, set[str]] = {}
    heard: set[str] = set()
    for hour in hours:
        if hour.counts.answered:
            heard.add(hour.hour)
        elif hour.counts.failed:
            asked.setdefault(hour.hour, set()).add(hosts.get(hour.upstream, hour.upstream))
    return frozenset(hour for hour, silent in asked.items() if len(silent) > 1 and hour not in heard)


def available(upstream: str, hours: Iterable[Hour]) -> Available:
    """An upstream over these hours; those in which it was not asked, or could not be, do not count."""
    measured = [hour for hour in hours if hour.answered + hour.failed]
    answered, failed = sum(hour.answered for hour in measured), sum(hour.failed for hour in measured)
    return Available(
        upstream,
        len(measured),
        answered + failed,
        failed,
        sum(hour.answered / (hour.answered + hour.failed) for hour in measured) / len(measured) if measured else None,
        sum(hour.seconds for hour in measured) / answered if answered else None,
        max(hour.slowest for hour in measured) if answered else None,
        sum(not hour.answered for hour in measured),
    )


def months(hours: Iterable[UpstreamHour], hosts: Mapping[str, str]) -> dict[str, list[Month]]:
    """Each upstream by month, the newest first."""
    hours = list(hours)
    offline = offline_hours(hours, hosts)
    found: dict[str, dict[str, list[Hour]]] = {}
    for hour in hours:
        of_month = found.setdefault(hour.upstream, {}).setdefault(hour.hour[:7], [])
        if hour.hour not in offline:
            of_month.append(hour.counts)
    return {
        upstream: [Month(month, available(upstream, counts)) for month, counts in sorted(by_month.items(), reverse=True)]
        for upstream, by_month in found.items()
    }
