"""What config/ has for Prometheus and Grafana, and docs/monitor.md says of it: every name and label is really exposed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from mirror.events import RunBegan, RunEnded, Walled
from mirror.observing.health import CODES, FAILING
from mirror.observing.metrics import PREFIX
from mirror.observing.observer import Observer
from mirror.observing.textfile import write_textfile
from mirror.serving.app import make_app
from mirror.serving.listener import Listener
from mirror.serving.site import Site
from mirror.settings import from_mapping, load, warnings
from mirror.settings.addresses import Address
from mirror.sync import sync

from .command import run, write_config
from .mirrored import EVERYTHING, HASTE, Mirrored, edition
from .upstream import FakeUpstream, faults, publish, simple_catalogue

ROOT = Path(__file__).parents[1]
DASHBOARD = ROOT / "config" / "grafana" / "inspire-mirror.json"
ALERTS = ROOT / "config" / "prometheus" / "alerts.yml"
SCRAPE = ROOT / "config" / "prometheus" / "scrape.yml"
MONITOR = ROOT / "docs" / "monitor.md"

OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus itself adds."""

NAME = re.compile(r"\b((?:inspire_mirror|process)_[a-z_]+)(?:\{([^}]*)\})?")


@dataclass
class Exposed:
    """What a scrape has shown: metric names, and the labels and values that were seen under each."""

    families: list[Metric] = field(default_factory=list)
    labels: dict[str, dict[str, set[str]]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A scrape over a socket, of a mirror that was really synced: with parked files, a wall, a schedule, an upstream of IGN."""

    async def scrape() -> str:
        async with FakeUpstream(simple_catalogue(1, 3, 2)) as upstream:
            mirror = Mirrored(tmp_path_factory.mktemp("monitored"), upstream, daily={**EVERYTHING, "schedule": "daily 03:15"})
            observer = Observer(mirror.settings, now=mirror.clock)
            await sync(mirror.settings, emit=observer, now=mirror.clock, patience=HASTE)
            sub = edition(upstream.catalogue.resources[0].subs[0], "2026-12-15", "2026-12-31")
            upstream.catalogue = publish(upstream.catalogue, upstream.catalogue.resources[0].id, sub)
            upstream.script("download", [faults.status(500), faults.retry_after(429, 0), *[faults.status(403)] * 9])
            observer(RunBegan(("daily",), "schedule"))
            report = await sync(mirror.settings, emit=observer, now=mirror.clock, patience=HASTE)
            observer(RunEnded(("daily",), report.outcome, report.reason, report.seconds))
            observer(Walled("gpf", 429, 60, 1))
            observer.service.next_runs = lambda: {"daily": mirror.clock()}
            known = from_mapping(
                {
                    "root": str(mirror.root),
                    "upstream": {"gpf": {"url": "https://data.geopf.fr/telechargement/capabilities"}},
                    "subscription": {"daily": {**EVERYTHING, "schedule": "daily 03:15"}},
                },
                mirror.root,
                {},
            )
            observer.settings = known
            listener = Listener(make_app(Site(observer)), Address("127.0.0.1", 0))
            await listener.start()
            async with aiohttp.ClientSession() as client, client.get(f"{listener.url}/metrics") as response:
                found = await response.text()
            await listener.stop()
            return found

    return asyncio.run(scrape())


@pytest.fixture(scope="module")
def exposed(text: str) -> Exposed:
    found = Exposed(list(text_string_to_metric_families(text)))
    for family in found.families:
        for sample in family.samples:
            labels = found.labels.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of dashboard and alerts, with where it stands."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                yield f"panel {panel['title']}, legend", f"by ({label})"
    for variable in dashboard["templating"]["list"]:
        yield f"variable {variable['name']}", variable["query"]["query"]
    for line in ALERTS.read_text("utf-8").splitlines():
        if (found := re.match(r"\s+expr: (.*)", line)) is not None:
            yield "alert", found[1]


def test_every_metric_of_dashboard_and_alerts_is_exposed_with_its_labels(exposed: Exposed) -> None:
    known_labels = {label for labels in exposed.labels.values() for label in labels} | OF_PROMETHEUS
    seen = set()
    for where, expression in expressions():
        for found in NAME.finditer(expression):
            name, matchers = found[1], found[2] or ""
            seen.add(name)
            assert name in exposed.labels, f"{where}: {name}"
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
                assert label in exposed.labels[name].keys() | OF_PROMETHEUS, f"{where}: {name}, {label}"
        for group in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression):
            for label in group.split(","):
                assert label.strip() in known_labels, f"{where}: {label}"
        for name, label in re.findall(r"label_values\((\w+), (\w+)\)", expression):
            assert label in exposed.labels[name].keys() | OF_PROMETHEUS, where
    assert len(seen) > 25


def test_values_that_alerts_and_dashboard_ask_for_exist(exposed: Exposed) -> None:
    """A status, a state or a command that nothing ever has would never fire."""
    known = {"command": {"sync", "prune"}, "state": {"current", "superseded", "withdrawn", "parked"}, "job": {"inspire-mirror"}}
    for where, expression in expressions():
        for label, value in re.findall(r'(\w+)(?:=|!=)"([^"$]+)"', expression):
            values = known.get(label) or {v for labels in exposed.labels.values() for v in labels.get(label, ())}
            assert value in values, f"{where}: {label}={value}"


def test_the_exposition_is_as_prometheus_wants_it(text: str, exposed: Exposed) -> None:
    """Each metric once, with help and type; counters end in _total, times are in seconds, sizes in bytes, shares are ratios."""
    names = [family.name for family in exposed.families]
    assert len(names) == len(set(names))
    for family in exposed.families:
        assert family.documentation, family.name
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "summary"), family.name
        assert family.name.startswith((PREFIX, "process_"))
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert not family.name.endswith("_total")
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent|minutes|days|date)$", family.name), family.name
        if "timestamp" in family.name or "duration" in family.name:
            assert family.name.endswith("_seconds")
        for sample in family.samples:
            assert sample.value == sample.value, sample  # no NaN
    assert len(re.findall(r"^# HELP ", text, re.MULTILINE)) == len(re.findall(r"^# TYPE ", text, re.MULTILINE))


def metrics_table(families: Sequence[Metric]) -> str:
    """As it stands in docs/monitor.md."""
    rows = ["| metric | type | labels | what |", "|---|---|---|---|"]
    for family in families:
        if family.name.startswith(PREFIX):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = dict.fromkeys(label for sample in family.samples for label in sample.labels)
            rows.append(f"| `{name}` | {family.type} | {', '.join(f'`{label}`' for label in labels)} | {family.documentation} |")
    return "\n".join(rows)


def test_docs_have_every_metric_with_its_labels_and_no_other(exposed: Exposed) -> None:
    """`UPDATE_DOCS=1` brings the page up to date first."""
    page = MONITOR.read_text("utf-8")
    before, rest = page.split("<!-- metrics -->\n")
    documented, after = rest.split("<!-- end -->")
    table = metrics_table(exposed.families)
    if os.environ.get("UPDATE_DOCS"):
        MONITOR.write_text(f"{before}<!-- metrics -->\n\n{table}\n\n<!-- end -->{after}", "utf-8")
    else:
        assert documented.strip() == table


def test_docs_have_every_reason_with_its_severity() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (503|200) \|", MONITOR.read_text("utf-8"), re.MULTILINE))
    assert rows == {code: "503" if code in FAILING else "200" for code in CODES}


def test_docs_say_of_every_alert_what_to_do() -> None:
    alerts = re.findall(r"alert: (\w+)", ALERTS.read_text("utf-8"))
    assert len(alerts) == len(set(alerts)) > 10
    assert re.findall(r"^\| `(InspireMirror\w+)` \|", MONITOR.read_text("utf-8"), re.MULTILINE) == alerts


def test_every_alert_says_what_it_is_about() -> None:
    for block in re.split(r"\n      - alert: ", ALERTS.read_text("utf-8"))[1:]:
        assert re.search(r"severity: (critical|warning|info)\}", block), block
        assert re.search(r"^ +expr: .+$", block, re.MULTILINE)
        assert "summary: " in block
        assert "description: " in block


def test_the_dashboard_can_be_imported() -> None:
    """One data source, asked for on import; panels that do not overlap, in known kinds."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    assert [found["name"] for found in dashboard["__inputs"]] == ["DS_PROMETHEUS"]
    assert dashboard["id"] is None
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    kinds = {found["id"] for found in dashboard["__requires"] if found["type"] == "panel"}
    cells = set()
    for panel in dashboard["panels"]:
        assert panel["type"] in kinds
        assert panel["datasource"]["uid"] == "${DS_PROMETHEUS}"
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            assert x < 24
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in cells, panel["title"]
                cells.add((x, y))


def test_the_scrape_example_asks_where_the_default_listens() -> None:
    settings = from_mapping({"root": "/m"}, ROOT, {}, offline=True)
    assert f'["{settings.serve.listen}"]' in SCRAPE.read_text("utf-8")


# -- textfile


def families_of(path: Path) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(path.read_text("utf-8"))}


def test_a_sync_writes_the_textfile(tmp_path: Path) -> None:
    """Whole, readable for everybody, without what node_exporter has itself and without counters; also after a sync that failed."""
    place = tmp_path / "metrics" / "mirror.prom"
    place.parent.mkdir()
    with FakeUpstream(simple_catalogue(1, 3, 2)).in_thread() as fake:
        write_config(
            tmp_path, fake.url, 'daily]\nresources = ["*"]\nedition = "all"\n\n[service]\ntextfile = "metrics/mirror.prom"'
        )
        assert run("sync", cwd=tmp_path).code == 0
    found = families_of(place)
    assert place.stat().st_mode & 0o777 == 0o644
    assert [child.name for child in place.parent.iterdir()] == ["mirror.prom"]
    assert all(name.startswith(PREFIX) for name in found)
    assert all(family.type == "gauge" for family in found.values())
    assert found["inspire_mirror_subscription_files_missing"].samples[0].value == 0
    assert {s.labels["command"]: s.value for s in found["inspire_mirror_last_run_exit_code"].samples} == {"sync": 0}
    assert run("sync", cwd=tmp_path).code == 5  # the upstream is gone
    assert families_of(place)["inspire_mirror_last_run_exit_code"].samples[0].value == 5


def test_a_textfile_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'daily]\nresources = ["*"]\n\n[service]\ntextfile = "nowhere/mirror.prom"')
        done = run("sync", cwd=tmp_path)
    assert done.code == 0
    assert re.search(r"^warning: \[service\] textfile: cannot write .*nowhere", done.err, re.MULTILINE)


@pytest.mark.parametrize("place", ["mirror/data/x.prom", "mirror/x.prom", "link/x.prom", "metrics.txt", "mirror/index.sqlite"])
def test_a_textfile_never_takes_the_place_of_what_is_in_the_mirror(place: str, tmp_path: Path) -> None:
    """Nor of anything that is no file of metrics; the config is told so, and so is each sync."""
    (tmp_path / "link").symlink_to("mirror/data")
    (tmp_path / "mirror" / "data").mkdir(parents=True)
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        config = write_config(tmp_path, fake.url, f'daily]\nresources = ["*"]\n\n[service]\ntextfile = "{place}"')
        done = run("sync", cwd=tmp_path)
    assert done.code == 0
    assert re.search(r"^warning: \[service\] textfile: nothing is written there: .*", done.err, re.MULTILINE)
    assert not list(tmp_path.rglob("*.prom"))
    assert run("verify", "--full", cwd=tmp_path).code == 0
    assert any("[service] textfile: nothing is written there" in line for line in warnings(load(config, {})))


def test_without_textfile_nothing_is_written(tmp_path: Path) -> None:
    settings = from_mapping({"root": str(tmp_path / "root")}, tmp_path, {}, offline=True)
    assert write_textfile(settings) is None
    assert list(tmp_path.iterdir()) == []


# -- by Prometheus' own tool, where it is installed (Debian: package prometheus)

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@needs_promtool
def test_the_rules_fire_when_they_should() -> None:
    subprocess.run(["promtool", "test", "rules", ROOT / "tests" / "alerts.yml"], check=True, timeout=60)


@needs_promtool
def test_prometheus_finds_nothing_to_say_about_the_metrics(text: str) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout + done.stderr == ""
