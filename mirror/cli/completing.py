"""What the shell completes NAME with: the subscriptions of the config.

A person waits for each of these, so it reads the names alone, and does not load what checks a config; and it says nothing of what
is wrong, as whatever it says would be taken for a name.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem

_LARGEST = 2**20  # bytes; no config is larger
# As in mirror.settings, which would bring in all of pydantic.
_VARIABLE = "INSPIRE_MIRROR_CONFIG"
_PLACES = (Path("inspire-mirror.toml"), Path("/etc/inspire-mirror/inspire-mirror.toml"))


def complete_subscription(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The subscriptions whose names go on from what is typed, but for those that are named already."""
    try:
        named = context.params.get(parameter.name or "") or ()
        config = _config(context.find_root().params.get("config"), os.environ)
        return [
            CompletionItem(name, help=", ".join(map(str, resources)))
            for name, resources in subscriptions(config).items()
            if name.startswith(incomplete) and name not in named and name.isprintable()
        ]
    except Exception:  # whatever it is: the command says it, once it is called
        return []


def subscriptions(config: Path) -> dict[str, list[str]]:
    """Names of subscriptions, and what resources they are of. Raises whatever reading TOML of any shape raises."""
    with config.open("rb") as file:
        tables = tomllib.loads(file.read(_LARGEST).decode("utf-8-sig")).get("subscription", {})
    return {name: list(table.get("resources", [])) for name, table in tables.items()}


def _config(option: Path | None, environ: Mapping[str, str]) -> Path:
    """The config in effect. Raises StopIteration where there is none."""
    named = option or environ.get(_VARIABLE)
    return Path(named) if named else next(path for path in _PLACES if path.exists())
