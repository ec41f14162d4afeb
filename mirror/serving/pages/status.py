"""What the page on how the mirror stands says: the document of `status --json`, the last runs, how available upstreams were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mirror.observing.standings import failing_hooks, upstream_standings
from mirror.phrases import Spoken, moment, number, phrase, size, span
from mirror.serving.site import Site
from mirror.store.finding import RunFacts

DAMAGED = phrase("verify found it gone or wrong; the next sync fetches it again")
"""As `status --json` says it of a file."""

RUNS_SHOWN = 60
_PARKED_SHOWN = 100
_OTHERS_SHOWN = 50
_HEIGHT = 60  # units of a chart
_BAR, _GAP = 8, 2


@dataclass(frozen=True, slots=True)
class Bar:
    """A run in a chart: where it stands, how high, how it ended, and what a pointer over it says."""

    x: int
    y: float
    height: float
    outcome: str
    label: Spoken


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars for the last runs, the newest on the right; `most` is what the highest one stands for."""

    title: str
    most: Spoken
    width: int
    bars: tuple[Bar, ...]


def charts(runs: Sequence[RunFacts]) -> list[Chart]:
    """How long the last syncs took, and what they fetched."""
    syncs = [run for run in reversed(runs) if run.command == "sync" and run.finished_at]
    if not syncs:
        return []
    return [
        _chart(phrase("How long syncs took"), syncs, lambda run: run.seconds, span),
        _chart(phrase("What syncs fetched"), syncs, lambda run: float(run.size), lambda value: size(int(value))),
        _chart(phrase("Files that came"), syncs, lambda run: float(run.files), lambda value: number(int(value))),
    ]


def _chart(title: str, runs: Sequence[RunFacts], measure: Callable[[RunFacts], float], put: Callable[[float], Spoken]) -> Chart:
    most = max(map(measure, runs))
    bars = []
    for place, run in enumerate(runs):
        # What is nothing still is a run: a line at the foot.
        height = max(1.5, round(_HEIGHT * measure(run) / most, 1)) if most else 1.5
        label = phrase("{moment}: {amount}", moment=moment(run.started_at), amount=put(measure(run)))
        bars.append(Bar(place * (_BAR + _GAP), round(_HEIGHT - height, 1), height, run.outcome or "", label))
    return Chart(title, put(most), max(len(runs), 20) * (_BAR + _GAP), tuple(bars))


def status_facts(site: Site) -> dict[str, Any]:
    """For the template `status.html`, but for `runs` and `charts`. Blocks. Raises IndexUnusable, Locked."""
    document = site.status()
    months = upstream_standings(site.settings)["upstreams"] if document["last_run"] else []
    return {
        "document": document,
        "health": site.observer.health(),
        "live": document.get("live"),
        "files": document["files"] - sum(one["reason"] == DAMAGED for one in document["parked"]),
        "parked": document["parked"][:_PARKED_SHOWN],
        "hooks": failing_hooks(document["hooks"])[:_OTHERS_SHOWN],
        "unlisted": document["unlisted"][:_OTHERS_SHOWN],
        "not_unpacked": document["not_unpacked"][:_OTHERS_SHOWN],
        "upstreams": months,
    }
