"""The command line as users start it: a process of its own, from a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mirror

from .prepared import starter

_PROJECT = Path(mirror.__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """An environment without settings of whoever runs the tests.

    Also without the one that keeps no bytecode, as hundreds of commands would each compile all of the package, and in English.
    """
    ours = ("INSPIRE_MIRROR", "PYTHONDONTWRITEBYTECODE", "LC_", "LANGUAGE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(_PROJECT), "COLUMNS": "120", "LANG": "C.UTF-8", **more}


def argv(*arguments: str | Path) -> list[str]:
    """The command line that starts the command in this interpreter."""
    return [sys.executable, "-m", "mirror", *map(str, arguments)]


def run(*arguments: str | Path, cwd: Path, **env: str) -> Outcome:
    """Run the command to its end, in a process that has its modules already."""
    done = starter(os.geteuid()).run([*map(str, arguments)], cwd, environment(**env), timeout=100)
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_anew(*arguments: str | Path, cwd: Path, **env: str) -> Outcome:
    """Run the command to its end, from the interpreter on."""
    done = subprocess.run(
        argv(*arguments), cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=100, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def start(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """Start the command and leave it running; a service answers at a port of its own, unless the test names one."""
    if "run" in arguments or "serve" in arguments:
        env = {"INSPIRE_MIRROR_SERVE__LISTEN": "127.0.0.1:0", **env}
    return subprocess.Popen(
        argv(*arguments), cwd=cwd, env=environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def fetch(url: str) -> tuple[int, bytes]:
    """Status and body of an answer over HTTP, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def write_config(folder: Path, url: str, *subscriptions: str, more: str = "") -> Path:
    """A config for one upstream on loopback; each of `subscriptions` is the text of a table, from its name on."""
    path = folder / "inspire-mirror.toml"
    tables = "\n".join(f"[subscription.{text}" for text in subscriptions)
    path.write_text(
        f'root = "mirror"\ncontact = "sig@example.org"\n{more}\n'
        f'[upstream.gpf]\nurl = "{url}"\nrequests_per_second = 1000\nretry_for = "1s"\n{tables}\n',
        "utf-8",
    )
    return path
