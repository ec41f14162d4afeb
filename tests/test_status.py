"""`status`: what it shows of upstreams and of a service at work; and what is said about `[serve]`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mirror.cli.standing import print_live, print_standings, print_upstreams
from mirror.events import Chunk, FileKey, Planned, RunBegan, Stage, TransferStarted, Walled
from mirror.observing.live import Live
from mirror.observing.observer import Observer
from mirror.observing.standings import standings
from mirror.settings import from_mapping, warnings
from mirror.store.hours import UpstreamHours
from mirror.store.index import Index
from mirror.upstream.tally import Hour

from .command import run, write_config
from .upstream import FakeUpstream, simple_catalogue


def measured(root: Path, upstream: str, *hours: tuple[str, Hour]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with Index(root) as index:
        UpstreamHours(index).add({(upstream, hour): counts for hour, counts in hours}, at=datetime(2026, 11, 5, tzinfo=UTC))


def test_status_upstream_shows_months_against_what_is_promised(tmp_path: Path) -> None:
    """Newest first; what is promised is known for the Géoplateforme only; 99.99 % is not rounded to 100."""
    (tmp_path / "inspire-mirror.toml").write_text(
        'root = "mirror"\n[upstream.ign]\nurl = "https://data.geopf.fr/telechargement/capabilities"\n'
        '[upstream.other]\nurl = "https://example.org/capabilities"\n',
        "utf-8",
    )
    up, down = Hour(10, 0, 0, 1, 1.0, 0.4), Hour(0, 10, 0, 1)
    measured(tmp_path / "mirror", "ign", ("2026-10-01T00", up), ("2026-10-01T01", down), ("2026-11-01T00", Hour(99_999, 1)))
    done = run("status", "--upstream", "--json", cwd=tmp_path)
    ign, other = done.json["upstreams"]
    assert (ign["promised"], other["promised"], other["months"]) == (0.995, None, [])
    november, october = ign["months"]
    assert (october["month"], october["availability"], october["hours"], october["hours_down"]) == ("2026-10", 0.5, 2, 1)
    assert (october["requests"], october["mean_seconds"], october["slowest_seconds"]) == (20, 0.1, 0.4)
    assert november["availability"] == 0.99999
    lines = run("status", "--upstream", cwd=tmp_path).out.splitlines()
    assert re.match(r"ign +2026-11 +99\.99 % +99\.50 % +kept", lines[1])
    assert re.match(r"ign +2026-10 +50\.00 % +99\.50 % +missed +2 +1 +20 +100 ms +400 ms", lines[2])
    assert lines[3] == "other: nothing was measured yet"


def test_status_upstream_of_a_mirror_that_was_synced(tmp_path: Path) -> None:
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        write_config(tmp_path, fake.url, 'x]\nresources = ["*"]')
        assert run("status", "--upstream", cwd=tmp_path).code == 2  # nothing to read yet
        assert run("sync", cwd=tmp_path).code == 0
    (month,) = run("status", "--upstream", "--json", cwd=tmp_path).json["upstreams"][0]["months"]
    assert (month["availability"], month["hours"]) == (1.0, 1)


def test_an_index_of_before_the_watch_has_no_hours(tmp_path: Path) -> None:
    """The next sync brings it up to date; until then nothing is measured, and nothing breaks."""
    measured(tmp_path, "gpf", ("2026-10-01T00", Hour(1)))
    with Index(tmp_path) as index:
        index.connection.execute("DROP TABLE upstream_hours")
    settings = from_mapping({"root": str(tmp_path), "upstream": {"gpf": {"url": "https://example.org/"}}}, tmp_path, {})
    look = Observer(settings).look()
    assert (look.problem, [found.hours for found in look.available]) == ("", [0])


def test_what_a_service_does_is_shown_with_speed_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    time = [0.0]
    live = Live(clock=lambda: time[0])
    live(RunBegan(("topo", "ortho"), "schedule"))
    live(Stage("fetching"))
    live(Planned(2, 1, 9, 4_000_000_000))
    live(TransferStarted(FileKey("gpf", "R", "S", "a.7z"), 2_000_000_000, 1_000_000_000))
    for _ in range(10):
        time[0] += 1
        live(Chunk(FileKey("gpf", "R", "S", "a.7z"), 10_000_000))
    live(Walled("gpf", 429, 5, 1))
    print_live({**live.snapshot().as_json(), "waiting": 2})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "gpf has told us to stop; 5 s to wait",
        "syncing topo, ortho, by schedule, for 10 s: fetching; 0 of 3 files, 1.1 GB of 4.0 GB, 10.0 MB/s, 4 min 50 s left",
        "file    size  done      speed        left",
        "a.7z  2.0 GB  55 %  10.0 MB/s  1 min 30 s",
        "waiting for a turn: 2 syncs",
    ]


def test_an_idle_service_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_live({**Live().snapshot().as_json(), "waiting": 0})
    assert capsys.readouterr().out == "the service is up and idle\n"


def test_the_next_run_is_shown_where_a_service_knows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {
        "root": str(tmp_path),
        "upstream": {"gpf": {"url": "https://example.org/"}},
        "subscription": {"x": {"resources": ["*"], "schedule": "daily 03:15"}},
    }
    settings = from_mapping(data, tmp_path, {})
    at = datetime(2026, 10, 6, 3, 15, tzinfo=UTC) + timedelta(minutes=4)
    document = standings(settings, {"x": at})
    assert document["subscriptions"][0]["next_run"] == "2026-10-06T03:19:00.000000Z"
    print_standings(document)
    assert "2026-10-06 03:19 UTC" in capsys.readouterr().out
    print_standings(standings(settings))
    assert "next run" not in capsys.readouterr().out


def test_names_from_outside_do_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    live = Live()
    live(RunBegan(("topo",), "command"))
    live(TransferStarted(FileKey("gpf", "R", "S", "a\x1b[2J\n.7z"), 10, 0))
    print_live({**live.snapshot().as_json(), "waiting": 0})
    print_upstreams({"upstreams": [{"upstream": "x\x1b[2J", "promised": None, "months": []}]})
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("serve", "warned"),
    [
        ({"listen": "127.0.0.1:8421", "public_url": "https://mirror.example.org"}, False),
        ({"listen": "[::1]:8421"}, False),
        ({"listen": "0.0.0.0:8421"}, True),
        ({"listen": "sig.example.org:8421"}, True),
        ({"listen": "0.0.0.0:8421", "token": "secret"}, False),
    ],
)
def test_a_mirror_that_others_can_reach_without_a_token_is_said(tmp_path: Path, serve: dict[str, str], warned: bool) -> None:
    lines = [line for line in warnings(from_mapping({"root": "/m", "serve": serve}, tmp_path, {})) if "serve" in line]
    assert [line.partition(":")[0] for line in lines] == ["[serve] listen"] * warned


def test_fields_of_status_are_documented(tmp_path: Path) -> None:
    """Those of the document, of a subscription and of what goes on."""
    live = Live()
    live(RunBegan(("topo",), "command"))
    live(TransferStarted(FileKey("gpf", "R", "S", "a"), 10, 0))
    live(Walled("gpf", 429, 5, 1))
    shown = live.snapshot().as_json()
    write_config(tmp_path, "http://127.0.0.1:1/capabilities", 'x]\nresources = ["*"]')
    document = run("status", "--json", cwd=tmp_path).json
    page = (Path(__file__).parents[1] / "docs" / "monitor.md").read_text("utf-8").partition("## Health")[0]
    words = set(re.findall(r"[a-z_.]+", page))
    assert words >= document.keys()
    assert words >= document["subscriptions"][0].keys()
    assert words >= {*shown["run"], *shown["transfers"][0], *shown["walls"][0]}
    assert words >= {f"live.{name}" for name in shown if name != "at"}
