"""Settings as `config check` shows them, and what is worth a warning in them."""

from __future__ import annotations

from pathlib import Path
from stat import S_IROTH
from typing import Any
from urllib.parse import urlsplit

from mirror.settings.commands import problem_with_program
from mirror.settings.known import GEOPLATEFORME_HOST, granted_requests_per_second
from mirror.settings.problems import show_place
from mirror.settings.schema import Settings, Upstream
from mirror.settings.textfiles import problem_with_textfile

_MOST_DOWNLOADS = 8  # eight are fine, sixteen draw 429 [C]


def effective(settings: Settings) -> dict[str, Any]:
    """All settings with their defaults, ready for JSON: secrets masked, sizes, durations and paths as the config takes them."""
    shown: dict[str, Any] = settings.model_dump(mode="json")
    for upstream in shown["upstream"].values():
        if upstream["api_key_file"]:
            upstream["api_key"] = None  # it came from there, and the config takes only one of the two
    return shown


def warnings(settings: Settings) -> list[str]:
    """What is allowed and may surprise, one line each. Looks at the permissions of key files and programs."""
    found = []
    if settings.contact is None:
        found.append("contact: not set; an address here lets the operator of an upstream write to you before blocking you")
    if not settings.upstream:
        found.append("upstream: none is set; there is nothing to mirror from")
    elif not settings.subscription:
        found.append("subscription: none is set; sync has nothing to do")
    for name, upstream in settings.upstream.items():
        found += [f"{show_place(('upstream', name, key))}: {text}" for key, text in _about_upstream(upstream)]
    for name, subscription in settings.subscription.items():
        for key in ("on_publish", "on_failure", "on_complete"):
            command = getattr(subscription, key)
            if command and (problem := problem_with_program(command)):
                found.append(f"{show_place(('subscription', name, key))}: {problem}")
    if settings.service.textfile is not None and (problem := problem_with_textfile(settings.service.textfile, settings.root)):
        found.append(f"[service] textfile: nothing is written there: {problem}")
    if settings.serve.public_url is not None:
        found.append("[serve] public_url: accepted, but this version serves only /health and /metrics over HTTP, not the mirror")
    return found


def _about_upstream(upstream: Upstream) -> list[tuple[str, str]]:
    found = []
    granted = granted_requests_per_second(upstream.url)
    if granted is not None and upstream.requests_per_second > granted:
        asked = f"{upstream.requests_per_second:g} is more than the {granted:g} that this service grants"
        found.append(("requests_per_second", f"{asked}; beyond them it answers 429 to every request for a while"))
    if urlsplit(upstream.url).hostname == GEOPLATEFORME_HOST and upstream.downloads > _MOST_DOWNLOADS:
        found.append(("downloads", f"{upstream.downloads} at once may draw 429 from this service; {_MOST_DOWNLOADS} are fine"))
    if upstream.api_key is not None and urlsplit(upstream.url).scheme == "http":
        found.append(("url", "the key goes over http, where anybody on the way can read it; use https"))
    if upstream.api_key_file and _everybody_reads(upstream.api_key_file):
        found.append(("api_key_file", "everybody on this machine can read it; chmod o-r"))
    return found


def _everybody_reads(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & S_IROTH)
    except OSError:
        return False
