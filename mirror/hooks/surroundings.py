"""The environment of a command: that of whoever started us, without our secrets, and with the facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_KEYS = re.compile(r"(?i)INSPIRE_MIRROR_.*API_KEY")
_SUPERVISION = re.compile(r"NOTIFY_SOCKET|WATCHDOG_.*|LISTEN_.*|CREDENTIALS_DIRECTORY|JOURNAL_STREAM|INVOCATION_ID")
"""Between the service manager and us: a command that uses them would speak for the service, or read its secrets."""


def hook_around(environ: Mapping[str, str], root: Path) -> str:
    """The command of a hook of the mirror at `root` that we were started by, in words; empty where there is none."""
    if environ.get("MIRROR_HOOK_ROOT") != str(root):
        return ""
    return f"{environ.get('MIRROR_HOOK', 'a hook')} of {environ.get('MIRROR_HOOK_SUBSCRIPTION', '?')}"


def environment_for(environ: Mapping[str, str], hook: str, attempt: int, values: Mapping[str, str]) -> dict[str, str]:
    """With `MIRROR_HOOK_PATH` and the like: `INSPIRE_MIRROR_...` would be a setting to an `inspire-mirror` that is called."""
    kept = {name: value for name, value in environ.items() if not _SUPERVISION.fullmatch(name) and not _KEYS.fullmatch(name)}
    facts = {f"MIRROR_HOOK_{name.upper()}": value for name, value in {**values, "attempt": str(attempt)}.items()}
    return {**kept, "MIRROR_HOOK": hook, **facts}
