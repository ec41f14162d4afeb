"""Metrics in the words of Prometheus: what the index and the disk say when somebody looks, and what was counted since the start.

Names, labels and meanings are public: docs/monitor.md has them, with the dashboard and the alert rules that use them.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from mirror.observing.counters import Counters
from mirror.observing.health import CODES, FAILING, Facts, judge, stale_at
from mirror.observing.observer import Look, Observer
from mirror.settings.known import promised_availability
from mirror.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "inspire_mirror_"

Sample = tuple[tuple[str, ...], float]
"""Values of the labels, and the value itself."""


def _gauge(name: str, about: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, about, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counter(name: str, about: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + name, about, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


class _Collected(Collector):
    """Metrics that were collected already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry asks this instead of collecting once more."""
        return []


def exposition(observer: Observer) -> bytes:
    """All metrics of a running service, as `/metrics` gives them."""
    look = observer.look()
    families = [
        *_of_mirror(observer, look),
        *_of_health(observer.facts(look)),
        *_of_service(observer),
        *_of_counters(observer.counters),
    ]
    return _written(families, of_process=True)


def textfile(observer: Observer) -> bytes:
    """What is true of a mirror without a service, for node_exporter: no counters, which would begin anew with each command."""
    look = observer.look()
    return _written([*_of_mirror(observer, look), *_of_health(observer.facts(look))], of_process=False)


def _written(families: list[Metric], *, of_process: bool) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collected(families))
    if of_process:
        ProcessCollector(registry=registry)
    return generate_latest(registry)


def _of_mirror(observer: Observer, look: Look) -> Iterator[Metric]:
    yield _gauge(
        "build_info",
        "The version of this program; always 1.",
        ("version", "python"),
        [((__version__, platform.python_version()), 1)],
    )
    yield _gauge("index_up", "Whether the index can be read.", (), [((), not look.problem and not look.no_index)])
    yield _gauge("index_migrations", "Migrations that have made the index what it is.", (), [((), look.schema)])
    if look.disk is not None:
        yield _gauge("disk_size_bytes", "Size of the file system of the root.", (), [((), look.disk.size)])
        yield _gauge("disk_free_bytes", "Free on it, for the user of the mirror.", (), [((), look.disk.free)])
    yield _gauge("disk_min_free_bytes", "What [limits] min_free leaves free.", (), [((), observer.settings.limits.min_free)])
    yield _gauge(
        "files",
        "Files that are here, by state; parked ones are wanted and are not here as listed.",
        ("upstream", "state"),
        [((found.upstream, found.state), found.files) for found in look.by_state],
    )
    yield _gauge(
        "file_bytes",
        "Bytes of these files.",
        ("upstream", "state"),
        [((found.upstream, found.state), found.bytes) for found in look.by_state],
    )
    parked = {found.upstream: found for found in look.parked}
    yield _gauge(
        "parked_files",
        "Parked files that upstream still lists.",
        ("upstream",),
        [((name,), parked[name].files if name in parked else 0) for name in dict.fromkeys([*observer.settings.upstream, *parked])],
    )
    yield _gauge(
        "parked_oldest_timestamp_seconds",
        "Since when the oldest of them is parked.",
        ("upstream",),
        [((found.upstream,), found.since.timestamp()) for found in look.parked if found.since is not None],
    )
    yield _gauge("hooks_failing", "Commands of hooks whose last try failed.", (), [((), look.hooks_failing)])
    yield from _of_subscriptions(look)
    yield from _of_runs(look)
    yield from _of_upstreams(observer, look)


def _of_subscriptions(look: Look) -> Iterator[Metric]:
    labels = ("subscription", "upstream")
    rows = {(found.name, found.upstream): look.standings.get(found.name, {}) for found in look.subscriptions}

    def moments(field: str) -> list[Sample]:
        found = [(key, _seconds(row.get(field))) for key, row in rows.items()]
        return [(key, value) for key, value in found if value is not None]

    def numbers(field: str) -> list[Sample]:
        return [(key, row[field]) for key, row in rows.items() if row.get(field) is not None]

    yield _gauge(
        "subscription_last_success_timestamp_seconds",
        "When a run last left nothing missing.",
        labels,
        moments("last_success"),
    )
    yield _gauge("subscription_last_run_timestamp_seconds", "When it was last synced.", labels, moments("last_run"))
    yield _gauge(
        "subscription_complete",
        "Whether its last run left nothing missing.",
        labels,
        [(key, row["outcome"] == "complete") for key, row in rows.items() if row.get("outcome")],
    )
    limits = [((found.name, found.upstream), stale_at(found)) for found in look.subscriptions]
    yield _gauge(
        "subscription_stale_timestamp_seconds",
        "When its last success becomes too old; absent where nothing says so.",
        labels,
        [(key, limit.timestamp()) for key, limit in limits if limit is not None],
    )
    yield _gauge(
        "subscription_upstream_date_timestamp_seconds",
        "The newest day of publication upstream among what it wants.",
        labels,
        moments("upstream_date"),
    )
    yield _gauge("subscription_files_expected", "Files that it wants.", labels, numbers("expected"))
    yield _gauge("subscription_files_present", "Wanted files that are here.", labels, numbers("files"))
    yield _gauge("subscription_files_missing", "Wanted files that are not here as listed.", labels, numbers("failures"))
    yield _gauge("subscription_files_parked", "Those of them that were tried, or found wrong.", labels, numbers("parked"))
    yield _gauge("subscription_file_bytes", "Bytes of its files that are here.", labels, numbers("bytes"))


def _of_runs(look: Look) -> Iterator[Metric]:
    labels = ("command",)
    yield _gauge(
        "last_run_timestamp_seconds",
        "When the last finished run of a command began.",
        labels,
        [((run.command,), run.started_at.timestamp()) for run in look.runs],
    )
    yield _gauge("last_run_duration_seconds", "How long it took.", labels, [((run.command,), run.seconds) for run in look.runs])
    yield _gauge(
        "last_run_exit_code", "How it ended: 0 is complete.", labels, [((run.command,), run.exit_code) for run in look.runs]
    )
    yield _gauge("last_run_requests", "Requests that it made.", labels, [((run.command,), run.requests) for run in look.runs])
    yield _gauge(
        "last_run_received_bytes", "Bytes that it received.", labels, [((run.command,), run.received) for run in look.runs]
    )


def _of_upstreams(observer: Observer, look: Look) -> Iterator[Metric]:
    measured = [found for found in look.available if found.ratio is not None]
    yield _gauge(
        "upstream_availability_ratio",
        "Share of requests that an upstream answered, as the mean of the measured hours of the last 30 days.",
        ("upstream",),
        [((found.upstream,), found.ratio or 0.0) for found in measured],
    )
    yield _gauge(
        "upstream_measured_seconds",
        "Time of the last 30 days in which it was asked, in whole hours.",
        ("upstream",),
        [((found.upstream,), found.hours * 3600) for found in look.available],
    )
    promised = [(name, promised_availability(upstream.url)) for name, upstream in observer.settings.upstream.items()]
    yield _gauge(
        "upstream_promised_availability_ratio",
        "What its operator commits to, where that is known.",
        ("upstream",),
        [((name,), ratio) for name, ratio in promised if ratio is not None],
    )


def _of_health(facts: Facts) -> Iterator[Metric]:
    health = judge(facts)
    yield _gauge("healthy", "Whether /health answers 200.", (), [((), health.status != "failing")])
    counts = {code: sum(reason.code == code for reason in health.reasons) for code in CODES}
    yield _gauge(
        "health_reasons",
        "Reasons that /health gives, by code.",
        ("code", "severity"),
        [((code, "failing" if code in FAILING else "warning"), count) for code, count in counts.items()],
    )


def _of_service(observer: Observer) -> Iterator[Metric]:
    snapshot, service = observer.live.snapshot(), observer.service
    walled = {wall.upstream for wall in snapshot.walls}
    upstreams = observer.settings.upstream
    yield _gauge("running", "Whether a sync is under way.", (), [((), snapshot.run is not None)])
    yield _gauge("queue_length", "Syncs that wait for their turn.", (), [((), service.waiting())])
    yield _gauge("hooks_running", "Commands of hooks that run.", (), [((), len(snapshot.hooks))])
    yield _gauge("transfers", "Files that are being fetched.", (), [((), len(snapshot.transfers))])
    yield _gauge(
        "receive_bytes_per_second",
        "Bytes of files received per second, over the last ten seconds.",
        (),
        [((), snapshot.run.bytes_per_second if snapshot.run is not None else 0.0)],
    )
    yield _gauge(
        "upstream_walled",
        "Whether an upstream has told this address to stop, and the time is not over.",
        ("upstream",),
        [((name,), name in walled) for name in upstreams],
    )
    yield _gauge(
        "subscription_next_run_timestamp_seconds",
        "When the schedule syncs it next.",
        ("subscription", "upstream"),
        [
            ((name, observer.settings.subscription[name].upstream), moment.timestamp())
            for name, moment in service.next_runs().items()
            if name in observer.settings.subscription
        ],
    )


def _of_counters(counters: Counters) -> Iterator[Metric]:
    def one(counted: Counter[str]) -> list[Sample]:
        return [((name,), value) for name, value in sorted(counted.copy().items())]

    yield _counter(
        "requests",
        "Requests, by HTTP status; none: no answer came, offline: for a reason on this side.",
        ("upstream", "status", "kind"),
        [(key, value) for key, value in sorted(counters.requests.copy().items())],
    )
    answers = SummaryMetricFamily(PREFIX + "request_duration_seconds", "Time until the head of an answer.", labels=("upstream",))
    seconds = dict(counters.seconds)
    for name, count in sorted(counters.answered.copy().items()):
        answers.add_metric((name,), count, seconds.get(name, 0.0))
    yield answers
    yield _counter("received_bytes", "Bytes of files received.", ("upstream",), one(counters.received))
    yield _counter(
        "published_files",
        "Files that came into the mirror.",
        ("upstream", "action"),
        [(key, value) for key, value in sorted(counters.published.copy().items())],
    )
    yield _counter(
        "walls",
        "Times that an upstream told this address to stop.",
        ("upstream", "status"),
        [(key, value) for key, value in sorted(counters.walls.copy().items())],
    )
    yield _counter("retries", "Requests and transfers that were tried again.", ("upstream",), one(counters.retries))
    yield _counter("failed_files", "Wanted files that a run could not have, each time.", ("upstream",), one(counters.failed))
    yield _counter("runs", "Syncs of the service, by outcome.", ("outcome",), one(counters.runs))


def _seconds(text: Any) -> float | None:
    """A moment or a day of the index as seconds since 1970; None for what is none: upstream writes its days itself."""
    with suppress(ValueError, TypeError):
        if len(text) == 10:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        return datetime.fromisoformat(text).timestamp()
    return None
