"""The units that need no service, and what comes with all of them: timers, confinement, installation and its end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .command import fetch
from .container import Container, base_root, booted, in_memory, need_container
from .installed import (
    CONFIG,
    PROJECT,
    ROOT,
    SERVICE,
    Installed,
    free_address,
    install_package,
    installed,
    package,
    system_with_package,
)
from .upstream import FakeUpstream, faults, simple_catalogue

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

SYNC = "inspire-mirror-sync@topo-isere"
VERIFY = "inspire-mirror-verify"
SERVE = "inspire-mirror-serve.service"
WANTED = 'resources = ["*"]\nedition = "all"'
AT_ONCE = ("OnCalendar=", "OnActiveSec=1ms", "RandomizedDelaySec=0", "AccuracySec=1ms")
"""Of a timer, in a drop-in: comes when it is started."""


@pytest.fixture(scope="module")
def package_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need_container()
    with system_with_package(tmp_path_factory.mktemp("package"), package()) as root:
        yield root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "container"
    place.mkdir()
    return place


@pytest.fixture
def system(package_root: Path, folder: Path) -> Iterator[Installed]:
    with installed(package_root, folder) as container:
        yield container


@pytest.fixture
def clean(folder: Path) -> Iterator[Container]:
    """A system that never knew the program."""
    need_container()
    with in_memory(folder), booted([base_root()], folder) as container:
        yield container


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(simple_catalogue(resources=1, subs=3, files=2, size=40_000)).in_thread() as running:
        yield running


def tree(container: Container) -> set[str]:
    """Every path of the system, but for what every command there may leave: caches, logs, lists of packages, backups of passwd."""
    left = (
        "/var/cache",
        "/var/log",
        "/var/lib/dpkg",
        "/var/lib/apt",
        "/var/lib/systemd",
        "/tmp",  # noqa: S108 - that of the container
        "/root",
        "/proc",
        "/sys",
        "/dev",
        "/run",
    )
    prune = " -o ".join(f"-path {path}" for path in left)
    said = container.run("sh", "-c", f"find / \\( {prune} \\) -prune -o -print").stdout
    return {line for line in said.splitlines() if not line.endswith("-") and not line.endswith(".lock")}


def listen_elsewhere(container: Container) -> None:
    """Another test, or its host, may have something at the usual address."""
    config = container.inside(CONFIG)
    config.write_text(f'{config.read_text("utf-8")}\n[serve]\nlisten = "{free_address()}"\n', "utf-8")


def test_make_install_and_uninstall(clean: Container) -> None:
    """On a clean system, by the documented commands. What stays is the config, and the mirror with the folder that it is in."""
    source = clean.inside("/root/inspire-mirror")
    for name in ("Makefile", "pyproject.toml", "requirements-test.lock", "README.md", "README.fr.md", "CHANGELOG.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        shutil.copy2(PROJECT / name, source / name)
    for name in ("mirror", "packing", "systemd", "config", "docs", "build/cpython-311"):
        shutil.copytree(PROJECT / name, source / name, symlinks=True)
    before = tree(clean)
    clean.run("make", "-C", "/root/inspire-mirror", "install")
    assert clean.run("inspire-mirror", "--version").stdout.startswith("inspire-mirror, version ")
    assert clean.run("systemctl", "is-enabled", SERVICE, check=False).stdout == "disabled\n"
    assert clean.run("id", "--name", "--user", "inspire-mirror").stdout == "inspire-mirror\n"
    listen_elsewhere(clean)
    clean.run("systemctl", "enable", "--now", "inspire-mirror")
    clean.run("make", "-C", "/root/inspire-mirror", "uninstall")
    assert clean.run("systemctl", "is-active", SERVICE, check=False).stdout == "inactive\n"
    left = tree(clean) - before
    assert {path for path in left if not path.startswith(ROOT)} == {
        "/etc/inspire-mirror",
        "/etc/inspire-mirror/inspire-mirror.toml",
    }
    assert before <= tree(clean)


def test_the_package_goes_without_a_trace_but_for_the_mirror(clean: Container) -> None:
    """Removed, it leaves its config too, which the next one takes up; purged, the mirror alone, and says so."""
    before = tree(clean)
    install_package(clean, package())
    listen_elsewhere(clean)
    clean.run("systemctl", "enable", "--now", "inspire-mirror", f"{VERIFY}.timer", f"{SYNC}.timer")
    config = clean.inside(CONFIG)
    config.write_text(f'root = "{ROOT}"\n# mine\n', "utf-8")
    clean.run("apt-get", "remove", "-y", "inspire-mirror")
    left = {path for path in tree(clean) - before if not path.startswith(ROOT)}
    assert left == {"/etc/inspire-mirror", "/etc/inspire-mirror/inspire-mirror.toml"}
    assert clean.run("systemctl", "is-active", SERVICE, check=False).stdout == "inactive\n"
    assert clean.run("systemctl", "list-unit-files", "--no-legend", "inspire-mirror*", check=False).stdout == ""

    install_package(clean, package())
    assert "# mine" in config.read_text("utf-8")
    said = clean.run("apt-get", "purge", "-y", "inspire-mirror")
    assert f"the mirror in {ROOT} and its user are kept" in said.stdout + said.stderr
    assert {path for path in tree(clean) - before if not path.startswith(ROOT)} == set()
    assert before <= tree(clean)
    assert clean.inside(ROOT).is_dir()


def test_units_are_well_formed(system: Installed) -> None:
    units = [SERVICE, SERVE, f"{SYNC}.service", f"{SYNC}.timer", f"{VERIFY}.service", f"{VERIFY}.timer"]
    folder = "/usr/lib/systemd/system"
    names = [f"{folder}/{unit.replace('topo-isere', '')}" for unit in units]
    done = system.run("systemd-analyze", "verify", "--man=no", *names, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for unit in units:
        assert system.show(unit, "LoadState")["LoadState"] == "loaded"
    assert system.run("journalctl", "--grep=Unknown|ignoring|Refusing", "--unit=inspire-mirror*", check=False).returncode != 0


def test_exposure_is_low(system: Installed) -> None:
    """By `systemd-analyze security`, where 10 is the worst."""
    assert system.exposure(SERVICE) <= 1.5
    assert system.exposure(SERVE) <= 1.5
    assert system.exposure(f"{SYNC}.service") <= 1.5
    assert system.exposure(f"{VERIFY}.service") <= 1.0


def test_archives_are_read_behind_their_fence(system: Installed) -> None:
    """The confinement of the units leaves to the program what it confines itself with: Landlock, and limits."""
    code = (
        "from mirror.archives.fence import fence; from mirror.archives.limits import confine;"
        "confine(); print('fenced in:', fence(None, links=False))"
    )
    system.write(
        "/etc/systemd/system/inspire-mirror-probe.service",
        f'[Service]\nType=oneshot\nExecStart=/usr/lib/inspire-mirror/venv/bin/python -I -c "{code}"\n',
    )
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", "inspire-mirror-probe")
    system.until_journal("fenced in: True", "--unit=inspire-mirror-probe")


def test_a_timer_syncs_without_a_service(system: Installed, upstream: FakeUpstream) -> None:
    system.configure(upstream, topo_isere=WANTED)
    system.drop_in(f"{SYNC}.timer", "Timer", *AT_ONCE)
    system.run("systemctl", "enable", "--now", f"{SYNC}.timer")
    system.until_journal("complete: 6 of 6", f"--unit={SYNC}")
    assert system.until_state(f"{SYNC}.service", "inactive", "failed") == "inactive/dead"
    assert len(system.files()) == 6
    assert system.show(SERVICE, "ActiveState")["ActiveState"] == "inactive"


def test_the_mirror_is_served_without_a_service(system: Installed, upstream: FakeUpstream) -> None:
    """A sync beside it shows at once; a changed config is taken by a reload."""
    system.configure(upstream, topo_isere=WANTED)
    system.run("systemctl", "start", SERVE)
    assert fetch(f"http://{system.address}/gpf/capabilities")[0] == 503
    system.run("systemctl", "start", SYNC)
    status, body = fetch(f"http://{system.address}/gpf/capabilities")
    assert (status, b"BDALPHA" in body) == (200, True)
    with system.inside(CONFIG).open("a") as config:
        config.write('public_url = "https://sig.example.org/mirror"\n')
    system.run("systemctl", "reload", SERVE)
    system.until(
        lambda: b"https://sig.example.org/mirror/gpf" in fetch(f"http://{system.address}/gpf/capabilities")[1], "it is taken"
    )
    system.run("systemctl", "stop", SERVE)
    assert system.show(SERVE, "ActiveState", "ExecMainStatus") == {"ActiveState": "inactive", "ExecMainStatus": "0"}


def test_an_incomplete_sync_fails_its_unit(system: Installed, upstream: FakeUpstream) -> None:
    """Nobody reads the journal every day: that something is missing must show as a failed unit, which no retry hides."""
    upstream.script("download", [faults.wrong_bytes()], forever=True)
    system.configure(upstream, topo_isere=WANTED)
    assert system.run("systemctl", "start", SYNC, check=False).returncode != 0
    assert system.show(f"{SYNC}.service", "ActiveState", "ExecMainStatus") == {"ActiveState": "failed", "ExecMainStatus": "1"}


def test_an_unavailable_upstream_is_tried_again(system: Installed, upstream: FakeUpstream) -> None:
    upstream.script(lambda record: True, [faults.status(503)], forever=True)
    system.configure(upstream, topo_isere=WANTED)
    system.drop_in(f"{SYNC}.service", "Service", "RestartSec=100ms")
    system.run("systemctl", "start", "--no-block", SYNC)
    system.until(lambda: system.show(f"{SYNC}.service", "NRestarts")["NRestarts"] != "0", "it is tried again")
    upstream.heal()
    system.until_journal("complete: 6 of 6", f"--unit={SYNC}")
    assert system.until_state(f"{SYNC}.service", "inactive", "failed") == "inactive/dead"


def test_the_nightly_scrub_fails_its_unit_on_a_fault_and_the_next_sync_repairs_it(
    system: Installed, upstream: FakeUpstream
) -> None:
    system.configure(upstream, topo_isere=WANTED)
    system.run("systemctl", "start", SYNC)
    broken = system.files()[0]
    path = system.inside(str(broken["path"]))
    path.write_bytes(b"?" * path.stat().st_size)
    system.drop_in(f"{VERIFY}.timer", "Timer", *AT_ONCE)
    system.run("systemctl", "start", f"{VERIFY}.timer")
    assert system.until_state(f"{VERIFY}.service", "failed") == "failed/failed"
    assert system.show(f"{VERIFY}.service", "ExecMainStatus")["ExecMainStatus"] == "1"
    system.until_journal("wrong: .*SHA-256", f"--unit={VERIFY}")
    system.run("systemctl", "start", SYNC)
    assert system.run("inspire-mirror", "verify", "--full").returncode == 0
    assert b"?" * 100 not in path.read_bytes()
