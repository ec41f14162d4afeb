"""How each upstream has answered, hour by hour, for as long as anybody may ask about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mirror.store.index import Index
from mirror.upstream.tally import Hours, hour_of

KEPT = timedelta(days=3 * 366)
"""An hour is 100 bytes: three years of one upstream are less than 3 MB."""


class UpstreamHours:
    """Writes what was counted. The caller holds the lock of the root."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def add(self, hours: Hours, *, at: datetime) -> None:
        """Count these to what is there; what is older than `KEPT` goes."""
        if not hours:
            return
        with self._index.transaction() as sql:
            sql.executemany(
                "INSERT INTO upstream_hours (upstream, hour, answered, failed, offline, probes, seconds, slowest) "
                "VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (upstream, hour) DO UPDATE SET answered=answered + excluded.answered, "
                "failed=failed + excluded.failed, offline=offline + excluded.offline, probes=probes + excluded.probes, "
                "seconds=seconds + excluded.seconds, slowest=max(slowest, excluded.slowest)",
                list(_rows(hours)),
            )
            sql.execute("DELETE FROM upstream_hours WHERE hour < ?", (hour_of(at - KEPT),))


def _rows(hours: Hours) -> Iterator[tuple[object, ...]]:
    for (upstream, hour), found in hours.items():
        yield upstream, hour, found.answered, found.failed, found.offline, found.probes, found.seconds, found.slowest
