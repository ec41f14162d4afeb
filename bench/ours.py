"""Our side of a contest: a config, the command of the project's own environment, and what it must have said."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.contest import Contender, Timed

UPSTREAM = "loopback"


class Ours:
    """A mirror of everything that an upstream offers, under `folder`/root."""

    def __init__(self, folder: Path, url: str, *, downloads: int = 4, ca_file: Path | None = None) -> None:
        self.root = folder / "root"
        self._config = folder / "inspire-mirror.toml"
        lines = [
            f'root = "{self.root}"',
            'contact = "bench@mirror.example"',
            f"[upstream.{UPSTREAM}]",
            f'url = "{url}"',
            'dialect = "geoplateforme"',
            "requests_per_second = 100000",
            f"downloads = {downloads}",
            *([f'ca_file = "{ca_file}"'] if ca_file else []),
            "[subscription.all]",
            'resources = ["*"]',
            'edition = "all"',
        ]
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text("\n".join(lines) + "\n")

    def command(self, *arguments: str) -> list[str]:
        """Our command, as a user types it."""
        return [sys.executable, "-m", "mirror", "-c", str(self._config), *arguments]

    def sync(self, files: int) -> Contender:
        """A first sync, which must end with so many files verified."""

        def check(timed: Timed) -> None:
            report = said(timed)
            if report["outcome"] != "complete" or report["account"]["verified"] != files:
                raise RuntimeError(f"our sync went wrong: {report}")

        return Contender(self.command("sync", "--json"), self.clear, check)

    def clear(self) -> None:
        """Remove the mirror."""
        shutil.rmtree(self.root, ignore_errors=True)


def said(timed: Timed) -> dict[str, Any]:
    """The JSON document that a command of ours gave."""
    document: dict[str, Any] = json.loads(timed.output.read_text())
    return document
