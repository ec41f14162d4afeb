"""A Debian system booted from a clean root: systemd as PID 1, in a container that shares the loopback interface with the host.

    base root (made once by mmdebstrap) -> overlay, thrown away -> systemd-nspawn --boot -> commands inside, by nsenter

The changes of a test go into the overlay, so that every container begins as the same clean system. Nothing waits for a while:
booting ends with systemd's own READY, and everything else is a condition with a deadline.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "make", "python3", "libgcc-s1", "libstdc++6", "zlib1g")
"""A minimal Debian with systemd and what the package depends on, so that nothing need be fetched inside."""

_TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter", "dpkg-deb", "make")
_CACHE = Path("/var/cache/inspire-mirror-tests")
_POLL = 0.05
_LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
_STOP_BOOTED = signal.SIGRTMIN + 4
"""Tells PID 1 to power off, if it is systemd."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@lru_cache(maxsize=1)
def why_not() -> str | None:
    """Why no container can be booted here; None where one can."""
    if os.geteuid() != 0:
        return "a container can only be booted by root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian packages: mmdebstrap systemd-container make)"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with in_memory(Path(folder)), booted([base_root()], Path(folder)) as container:
                container.run("true")
        except (subprocess.SubprocessError, OSError, NotBooted) as error:
            return f"no container can be booted: {error}"
    return None


def need_container() -> None:
    """Skip a test where no container can be booted; in CI, fail."""
    reason = why_not()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def base_root() -> Path:
    """The root that all containers are laid over; made where there is none for this list of packages."""
    key = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    base = _CACHE / f"{SUITE}-{key}"
    if not base.is_dir():
        _CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=_CACHE))
        try:
            command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", "--dpkgopt=force-unsafe-io"]
            # Bytes as they came out of packages: no identity of the machine, no lists of packages that grow old.
            command += ["--customize-hook=: > $1/etc/machine-id", "--format=directory", SUITE, str(fresh / "root")]
            subprocess.run(command, check=True, timeout=600, stdin=subprocess.DEVNULL)
            with suppress(FileExistsError, OSError):  # another run was faster
                (fresh / "root").rename(base)
        finally:
            shutil.rmtree(fresh)
    return base


class NotBooted(Exception):
    """A container ended, or time was up, before systemd was ready; the message has what it said."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal."""

    priority: int
    message: str
    identifier: str


class Container:
    """A booted system. Commands run in its namespaces, as root unless they say otherwise."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def argv(self, *command: str | Path) -> list[str]:
        """The command line, for the host, of a command inside."""
        spaces = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        return [*spaces, "env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", "TERM=dumb", *map(str, command)]

    def run(self, *command: str | Path, check: bool = True, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises CalledProcessError, with its output as a note, where it fails and `check` is set."""
        done = subprocess.run(
            self.argv(*command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            error = subprocess.CalledProcessError(done.returncode, [*map(str, command)], done.stdout, done.stderr)
            error.add_note(done.stdout + done.stderr)
            raise error
        return done

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """A file inside, its folders too."""
        inside = self.inside(path)
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(content, "utf-8")
        inside.chmod(mode)

    def inside(self, path: str) -> Path:
        """A path of the container as the host reaches it; /run and /tmp are in it too."""
        return Path(f"/proc/{self.leader}/root") / path.lstrip("/")

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` has them."""
        names = [f"--property={name}" for name in properties]
        return dict(line.split("=", 1) for line in self.run("systemctl", "show", *names, unit).stdout.splitlines() if "=" in line)

    def until(self, condition: Callable[[], bool], what: str, within: float = 60) -> None:
        """Wait for a condition. Fails the test, with the end of the journal, where time is up."""
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(
                    f"not within {within:g} s: {what}\n{self.run('journalctl', '-n', '60', '--no-pager', check=False).stdout}"
                )
            time.sleep(_POLL)

    def until_state(self, unit: str, *states: str, within: float = 60) -> str:
        """Wait until `ActiveState/SubState` of a unit is one of these; returns it."""
        found = ""

        def reached() -> bool:
            nonlocal found
            shown = self.show(unit, "ActiveState", "SubState")
            found = f"{shown['ActiveState']}/{shown['SubState']}"
            return found in states or shown["ActiveState"] in states

        self.until(reached, f"{unit} is {' or '.join(states)}", within)
        return found

    def journal(self, *arguments: str) -> list[Entry]:
        """What the journal has, of what `journalctl` is told to show."""
        lines = self.run("journalctl", "--output=json", "--all", "--no-pager", *arguments).stdout.splitlines()
        return [_entry(json.loads(line)) for line in lines]

    def cursor(self) -> str:
        """The end of the journal as it is now, for `--after-cursor`."""
        shown = self.run("journalctl", "--sync").stdout + self.run("journalctl", "-n0", "--show-cursor", "--no-pager").stdout
        found = re.search(r"-- cursor: (\S+)", shown)
        assert found is not None, shown
        return found[1]

    def until_journal(self, pattern: str, *arguments: str, within: float = 60) -> Entry:
        """Wait for a line in what `journalctl` is told to show."""
        hits: list[Entry] = []

        def there() -> bool:
            hits[:] = [entry for entry in self.journal(*arguments) if re.search(pattern, entry.message)]
            return bool(hits)

        self.until(there, f"{pattern!r} in the journal of {arguments}", within)
        return hits[0]


def _entry(fields: dict[str, Any]) -> Entry:
    message = fields.get("MESSAGE")
    text = bytes(message).decode(errors="replace") if isinstance(message, list) else str(message)
    return Entry(int(fields.get("PRIORITY", 6)), text, str(fields.get("SYSLOG_IDENTIFIER", "")))


@contextmanager
def booted(below: Sequence[Path], folder: Path) -> Iterator[Container]:
    """Boot a system laid over the roots `below`, the uppermost first. What it changes goes into `folder`/upper. Raises NotBooted.

    `folder` is on a file system that an overlay may write to, as that of `in_memory` is.
    """
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir()
    options = f"lowerdir={':'.join(map(str, below))},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "container", "-o", options, root], check=True)
    try:
        with _running(root, folder) as leader:
            yield Container(leader)
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)


@contextmanager
def in_memory(folder: Path) -> Iterator[Path]:
    """A file system of the test's own over `folder`, gone when the body ends."""
    subprocess.run(["mount", "-t", "tmpfs", "container", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def _running(root: Path, folder: Path) -> Iterator[int]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, (folder / "console").open("w+b") as console:
        notices.bind(str(folder / "notify"))
        notices.settimeout(60)
        command = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={root}",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--notify-ready=yes",
        ]
        # Landlock, which the sandbox of the archives needs, is on no list of nspawn's; outside of containers nothing filters it.
        command += [
            "--console=pipe",
            "--hostname=mirror",
            "--resolv-conf=off",
            "--timezone=off",
            f"--system-call-filter={_LANDLOCK}",
        ]
        process = subprocess.Popen(
            command,
            env={"PATH": PATH, "NOTIFY_SOCKET": str(folder / "notify")},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        leader = 0
        try:
            leader = _ready(process, notices, folder / "console")
            notices.close()  # else all that systemd has to tell piles up in it, until PID 1 waits for somebody to read
            yield leader
        finally:
            if leader:
                with suppress(ProcessLookupError):
                    os.kill(leader, _STOP_BOOTED)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(process: subprocess.Popen[bytes], notices: socket.socket, console: Path) -> int:
    """Wait for systemd inside; returns its process id as the host knows it."""
    leader = 0
    said: Sequence[str] = ()
    notices.settimeout(0.5)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            said = notices.recv(4096).decode().splitlines()
        except TimeoutError:
            continue
        for line in said:
            if line.startswith("X_NSPAWN_LEADER_PID="):
                leader = int(line.partition("=")[2])
        if "READY=1" in said:
            return leader
    if process.poll() is None:
        process.kill()
        process.wait()
    raise NotBooted(console.read_text("utf-8", "replace")[-2000:].strip() or f"systemd-nspawn ended with {process.returncode}")
