"""A system in a container with the Debian package installed, and a fake upstream on the loopback interface that both share."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .container import Container, base_root, booted, in_memory
from .upstream import FakeUpstream

PROJECT = Path(__file__).parents[1]
SERVICE = "inspire-mirror.service"
CONFIG = "/etc/inspire-mirror/inspire-mirror.toml"
ROOT = "/var/lib/inspire-mirror"


def package() -> Path:
    """The package that `make deb` has made of this state of the project."""
    found = sorted((PROJECT / "build").glob("inspire-mirror_*.deb"))
    if len(found) != 1:
        pytest.fail("there must be one package in build/: run `make systemd`, or `make deb` before")
    made = found[0].stat().st_mtime
    sources = [path for name in ("mirror", "packing", "systemd") for path in (PROJECT / name).rglob("*") if path.suffix != ".pyc"]
    newer = [path for path in sources if path.is_file() and path.stat().st_mtime > made]
    if newer:
        pytest.fail(f"{found[0].name} is older than {newer[0]}: run `make deb` first")
    return found[0]


def install_package(container: Container, package: Path) -> None:
    """By the documented command."""
    shutil.copy(package, container.inside(f"/root/{package.name}"))
    container.run("apt-get", "install", "-y", "--no-install-recommends", f"/root/{package.name}")


def free_address() -> str:
    """An address on the loopback interface that nobody listens at: containers share it with each other, and with the host."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Installed(Container):
    """A container with the package installed."""

    def __init__(self, leader: int) -> None:
        super().__init__(leader)
        self.address = free_address()
        """Where the service listens, by the config that `configure` writes."""

    def configure(self, upstream: FakeUpstream, *, more: str = "", **subscriptions: str) -> None:
        """Write the config: for each subscription the lines of its table; `more` stands before the tables."""
        tables = "".join(f"[subscription.{name.replace('_', '-')}]\n{lines}\n" for name, lines in subscriptions.items())
        head = f'root = "{ROOT}"\ncontact = "sig@example.org"\n{more}\n'
        at = f'[upstream.gpf]\nurl = "{upstream.url}"\nrequests_per_second = 1000\nretry_for = "1s"\n'
        self.write(CONFIG, f'{head}{at}{tables}[limits]\nmin_free = 0\n[serve]\nlisten = "{self.address}"\n')

    def drop_in(self, unit: str, section: str, *lines: str) -> None:
        """What `systemctl edit` would write."""
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", "\n".join([f"[{section}]", *lines, ""]))
        self.run("systemctl", "daemon-reload")

    def files(self) -> list[dict[str, Any]]:
        """What `query --json` says is here."""
        done = self.run("inspire-mirror", "query", "--json", check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
        return found

    def main_pid(self) -> str:
        """The process id of the service, inside."""
        return self.show(SERVICE, "MainPID")["MainPID"]

    def exposure(self, unit: str) -> float:
        """What `systemd-analyze security` rates a unit, 0 to 10."""
        said = self.run("systemd-analyze", "security", "--no-pager", unit).stdout
        return float(said.rpartition(": ")[2].split()[0])


@contextmanager
def system_with_package(folder: Path, package: Path) -> Iterator[Path]:
    """A root with the package installed, to lay containers over."""
    with in_memory(folder):
        with booted([base_root()], folder) as container:
            install_package(container, package)
        yield folder / "upper"


@contextmanager
def installed(root: Path, folder: Path) -> Iterator[Installed]:
    """A container of its own over that root."""
    with in_memory(folder), booted([root, base_root()], folder) as container:
        yield Installed(container.leader)
