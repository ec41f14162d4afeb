"""The service under a real systemd: what each promise of the units is worth, on a system booted for each test."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .container import need_container
from .installed import CONFIG, ROOT, SERVICE, Installed, installed, package, system_with_package
from .upstream import FakeUpstream, faults, simple_catalogue

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

HOURLY = 'resources = ["*"]\nedition = "all"\nschedule = "every 1h"'
BY_HAND = 'resources = ["*"]\nedition = "all"'
CATALOGUE = simple_catalogue(resources=1, subs=3, files=2, size=40_000)
LARGE = 3 << 20


@pytest.fixture(scope="module")
def package_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need_container()
    with system_with_package(tmp_path_factory.mktemp("package"), package()) as root:
        yield root


@pytest.fixture
def system(package_root: Path, tmp_path: Path) -> Iterator[Installed]:
    folder = tmp_path / "container"
    folder.mkdir()
    with installed(package_root, folder) as container:
        yield container


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(CATALOGUE).in_thread() as running:
        yield running


@pytest.fixture
def slow() -> Iterator[FakeUpstream]:
    """An upstream with one large file, whose first transfer takes its time."""
    with FakeUpstream(simple_catalogue(resources=1, subs=1, files=1, size=LARGE)).in_thread() as running:
        running.script("download", [faults.trickle(LARGE // 20)])
        yield running


def until_under_way(system: Installed) -> None:
    """Wait until part of the large file is on the disk, and its sidecar says so."""
    system.until(lambda: saved(system) > 0, "the transfer is under way")


def saved(system: Installed) -> int:
    """How much of the large file a next run will not fetch again, whatever happens to this one."""
    found = [json.loads(path.read_text("utf-8"))["offset"] for path in system.inside(f"{ROOT}/.staging/parts").rglob("*.json")]
    return max(found, default=0)


def assert_resumed(upstream: FakeUpstream) -> None:
    """Every transfer but the first one began behind what was there."""
    first, *others = (record.headers.get("Range") for record in upstream.matching("download"))
    assert first is None
    assert others
    assert all(value and value.startswith("bytes=") and value != "bytes=0-" for value in others)


def test_the_service_starts_and_syncs_what_is_due(system: Installed, upstream: FakeUpstream) -> None:
    """`systemctl enable --now` returns once it is ready; the first run is due at once; its status says what comes next."""
    system.configure(upstream, topo=HOURLY)
    system.run("systemctl", "enable", "--now", "inspire-mirror")
    assert system.show(SERVICE, "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
    system.until(lambda: len(system.files()) == 6, "six files are published")
    system.until(
        lambda: system.show(SERVICE, "StatusText")["StatusText"].startswith("idle; next: topo"), "it waits for the next run"
    )
    published = Path(system.files()[0]["path"])
    assert system.run("stat", "--format=%U:%G %a", str(published)).stdout == "inspire-mirror:inspire-mirror 640\n"


def test_health_is_told_over_http(system: Installed, upstream: FakeUpstream) -> None:
    system.configure(upstream, topo=HOURLY)
    system.run("systemctl", "start", "inspire-mirror")
    system.until(lambda: len(system.files()) == 6, "six files are published")
    system.until(lambda: health(system) == 200, "it is healthy")


def health(system: Installed) -> int:
    try:
        with urllib.request.urlopen(f"http://{system.address}/health", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_journal_tells_what_needs_looking_at_from_what_does_not(system: Installed, upstream: FakeUpstream) -> None:
    """By priorities, which `journalctl -p` filters by: nothing from `warning` up of a run without a fault, an error of one with."""
    upstream.catalogue = simple_catalogue(resources=2)
    system.configure(upstream, alpha=HOURLY.replace("*", "BDALPHA"))
    system.run("systemctl", "start", "inspire-mirror")
    system.until_journal("complete", "--unit=inspire-mirror", "--identifier=inspire-mirror")
    told = system.journal("--unit=inspire-mirror", "--identifier=inspire-mirror")
    assert [entry for entry in told if entry.priority <= 4] == []
    assert not any(entry.message.startswith("<") for entry in told)
    upstream.script("download", [faults.wrong_bytes()], forever=True)
    system.configure(upstream, bravo=BY_HAND.replace("*", "BDBRAVO"))
    system.run("systemctl", "reload", "inspire-mirror")
    assert system.run("inspire-mirror", "sync", "bravo", check=False).returncode == 1
    system.until_journal("BDBRAVO", "--unit=inspire-mirror", "--identifier=inspire-mirror", "--priority=err")


def test_the_group_may_hand_over_syncs_and_others_may_not(system: Installed, upstream: FakeUpstream) -> None:
    system.configure(upstream, topo=BY_HAND)
    system.run("systemctl", "start", "inspire-mirror")
    system.run("useradd", "--groups", "inspire-mirror", "member")
    system.run("useradd", "stranger")
    assert (
        system.run("setpriv", "--reuid=member", "--regid=member", "--init-groups", "inspire-mirror", "sync", "topo").returncode == 0
    )
    assert len(system.files()) == 6
    as_stranger = system.run(
        "setpriv", "--reuid=stranger", "--regid=stranger", "--clear-groups", "inspire-mirror", "sync", "topo", check=False
    )
    assert as_stranger.returncode != 0


def test_reload_takes_a_good_config_and_refuses_a_bad_one(system: Installed, upstream: FakeUpstream) -> None:
    """A bad one makes `systemctl reload` fail with its reason in the journal, and the service goes on with what it has."""
    system.configure(upstream, topo=BY_HAND)
    system.run("systemctl", "start", "inspire-mirror")
    before = system.main_pid()
    system.configure(upstream, topo=BY_HAND, more="rot = 1")
    assert system.run("systemctl", "reload", "inspire-mirror", check=False).returncode != 0
    system.until_journal("rot", "--unit=inspire-mirror")
    assert system.show(SERVICE, "ActiveState")["ActiveState"] == "active"
    system.configure(upstream, topo=HOURLY)
    system.run("systemctl", "reload", "inspire-mirror")
    system.until(lambda: len(system.files()) == 6, "the schedule of the new config is in effect")
    assert system.main_pid() == before


def test_a_service_killed_in_a_download_comes_back_and_completes_it(system: Installed, slow: FakeUpstream) -> None:
    """kill -9: systemd starts it again, it recovers, resumes the transfer where it was, and publishes."""
    system.configure(slow, topo=HOURLY)
    system.drop_in(SERVICE, "Service", "RestartSec=100ms")
    system.run("systemctl", "start", "inspire-mirror")
    until_under_way(system)
    system.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "inspire-mirror")
    system.until(lambda: system.show(SERVICE, "NRestarts")["NRestarts"] == "1", "it was started again")
    system.until_state(SERVICE, "active/running")
    system.run("inspire-mirror", "sync", "--retry")
    assert [file["size"] for file in system.files()] == [LARGE]
    assert_resumed(slow)


def test_a_hung_service_is_killed_by_the_watchdog_and_comes_back(system: Installed, upstream: FakeUpstream) -> None:
    """Stopped as by SIGSTOP its loop does not turn: no sign of life, so systemd aborts it and starts it again."""
    system.configure(upstream, topo=BY_HAND)
    system.drop_in(SERVICE, "Service", "RestartSec=100ms", "WatchdogSec=3")
    system.run("systemctl", "start", "inspire-mirror")
    hung = system.main_pid()
    system.run("sh", "-c", f"kill -STOP {hung}")
    system.until_journal("[Ww]atchdog timeout", "--unit=inspire-mirror")
    system.until(lambda: system.show(SERVICE, "NRestarts")["NRestarts"] == "1", "it was started again")
    system.until_state(SERVICE, "active/running")
    assert system.main_pid() != hung
    assert system.run("inspire-mirror", "sync").returncode == 0
    system.until_journal("Fatal Python error: Aborted", "--unit=inspire-mirror")


def test_stop_ends_within_ten_seconds_and_keeps_what_was_fetched(system: Installed, slow: FakeUpstream) -> None:
    """In the middle of a transfer. systemd itself is the judge: what outstays TimeoutStopSec has the result `timeout`."""
    system.configure(slow, topo=HOURLY)
    system.drop_in(SERVICE, "Service", "TimeoutStopSec=10")
    system.run("systemctl", "start", "inspire-mirror")
    until_under_way(system)
    system.run("systemctl", "stop", "inspire-mirror")
    assert system.show(SERVICE, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert saved(system) > 0
    assert system.run("inspire-mirror", "verify").returncode == 0
    system.run("systemctl", "start", "inspire-mirror")
    system.until(lambda: [file["size"] for file in system.files()] == [LARGE], "the next start completes it")
    assert_resumed(slow)


def test_a_bad_config_is_said_once_and_not_tried_again(system: Installed, upstream: FakeUpstream) -> None:
    system.configure(upstream, topo=BY_HAND, more="rot = 1")
    assert system.run("systemctl", "start", "inspire-mirror", check=False).returncode != 0
    assert system.until_state(SERVICE, "failed", "activating/auto-restart") == "failed/failed"
    assert system.show(SERVICE, "NRestarts", "ExecMainStatus") == {"NRestarts": "0", "ExecMainStatus": "2"}
    system.until_journal("rot", "--unit=inspire-mirror")


def test_a_key_comes_as_a_credential(system: Installed, upstream: FakeUpstream) -> None:
    """By the drop-in of docs/service.md: root's file, which neither the service's user nor its group may read."""
    system.configure(upstream, topo=BY_HAND)
    system.write("/etc/inspire-mirror/gpf.key", "a-secret-key\n", 0o600)
    system.drop_in(
        SERVICE,
        "Service",
        "LoadCredential=gpf-key:/etc/inspire-mirror/gpf.key",
        "Environment=INSPIRE_MIRROR_UPSTREAM__GPF__API_KEY_FILE=%d/gpf-key",
    )
    system.run("systemctl", "start", "inspire-mirror")
    assert system.run("inspire-mirror", "sync").returncode == 0
    assert {record.headers.get("apikey") or record.query.get("apikey") for record in upstream.requests} == {"a-secret-key"}
    system.run("systemctl", "reload", "inspire-mirror")
    assert not any("a-secret-key" in entry.message for entry in system.journal())


def test_the_service_runs_under_a_dynamic_user(system: Installed, upstream: FakeUpstream) -> None:
    """By the drop-in of docs/service.md."""
    system.configure(upstream, topo=HOURLY)
    system.run("rmdir", ROOT)  # systemd would move it, which this container's overlay does not let it
    system.drop_in(SERVICE, "Service", "DynamicUser=yes", "User=inspire-mirror-dynamic", "Group=")
    system.run("systemctl", "start", "inspire-mirror")
    system.until(lambda: len(system.files()) == 6, "six files are published")
    assert system.inside("/var/lib/private/inspire-mirror/data").is_dir()


def test_config_of_the_package_is_valid_and_fetches_nothing(system: Installed) -> None:
    said = system.run("inspire-mirror", "config", "check").stdout
    assert CONFIG.lstrip("/") in said
    assert ROOT in said
    assert "no subscription yet" in said


def test_a_command_runs_when_something_is_published(system: Installed, upstream: FakeUpstream) -> None:
    """One of those that are installed, confined as the service is, into the folder that a drop-in opens to it."""
    command = 'on_publish = ["/usr/lib/inspire-mirror/hooks/write-sums", "/srv/sums"]'
    system.configure(upstream, topo=f"{HOURLY}\n{command}")
    system.run("install", "-d", "-o", "inspire-mirror", "/srv/sums")
    system.drop_in(SERVICE, "Service", "ReadWritePaths=/srv/sums")
    system.run("systemctl", "start", "inspire-mirror")
    system.until(lambda: len([*system.inside("/srv/sums").rglob("SHA256SUMS")]) == 3, "each sub-resource has its sums")
    (first, *_) = sorted(system.inside("/srv/sums").rglob("SHA256SUMS"))
    folder = Path(ROOT, "data", *first.parent.parts[-3:])
    assert system.run("sh", "-c", f"cd {folder} && sha256sum -c /{first.relative_to(system.inside('/'))}").returncode == 0
