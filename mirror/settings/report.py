"""Settings as `config check` shows them, and what is worth a warning in them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from stat import S_IROTH
from typing import Any
from urllib.parse import urlsplit

from mirror.phrases import phrase
from mirror.settings.commands import problem_with_program
from mirror.settings.hours import find_zone
from mirror.settings.known import GEOPLATEFORME_HOST, granted_requests_per_second
from mirror.settings.problems import show_place
from mirror.settings.schema import Settings, Subscription, Upstream
from mirror.settings.textfiles import problem_with_textfile

_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_RUNS_LOOKED_AT = 60
_MOST_DOWNLOADS = 8  # eight are fine, sixteen draw 429 [C]


def effective(settings: Settings) -> dict[str, Any]:
    """All settings with their defaults, ready for JSON: secrets masked, sizes, durations and paths as the config takes them."""
    shown: dict[str, Any] = settings.model_dump(mode="json")
    for upstream in shown["upstream"].values():
        if upstream["api_key_file"]:
            upstream["api_key"] = None  # it came from there, and the config takes only one of the two
    if shown["serve"]["token_file"]:
        shown["serve"]["token"] = None
    return shown


def warnings(settings: Settings) -> list[str]:
    """What is allowed and may surprise, one line each. Looks at the permissions of key files and programs."""
    found: list[str] = []
    if settings.contact is None:
        found.append(phrase("contact: not set; an address here lets the operator of an upstream write to you before blocking you"))
    if not settings.upstream:
        found.append(phrase("upstream: none is set; there is nothing to mirror from"))
    elif not settings.subscription:
        found.append(phrase("subscription: none is set; sync has nothing to do"))
    for name, upstream in settings.upstream.items():
        found += [_about(show_place(("upstream", name, key)), text) for key, text in _about_upstream(upstream)]
    for name, subscription in settings.subscription.items():
        for key in ("on_publish", "on_failure", "on_complete"):
            command = getattr(subscription, key)
            if command and (problem := problem_with_program(command)):
                found.append(_about(show_place(("subscription", name, key)), problem))
        if _never_in_window(settings, subscription):
            text = phrase("its runs are never in the [service] window, and all begin when that opens")
            found.append(_about(show_place(("subscription", name, "schedule")), text))
    if settings.service.textfile is not None and (problem := problem_with_textfile(settings.service.textfile, settings.root)):
        found.append(phrase("[service] textfile: nothing is written there: {problem}", problem=problem))
    if settings.serve.token_file is not None and _everybody_reads(settings.serve.token_file):
        found.append(_about("[serve] token_file", phrase("everybody on this machine can read it; chmod o-r")))
    if not settings.serve.listen.is_loopback and settings.serve.token is None:
        text = phrase("other machines can reach it, and /metrics and /api ask for no token; set token_file if they should")
        found.append(_about("[serve] listen", text))
    return found


def _about(place: str, text: str) -> str:
    return phrase("{place}: {text}", place=place, text=text)


def _never_in_window(settings: Settings, subscription: Subscription) -> bool:
    """Whether each of its next runs falls outside the window: they then all begin when that opens, whatever the schedule says."""
    window, schedule = settings.service.window, subscription.schedule
    if window is None or schedule is None:
        return False
    zone = find_zone(settings.service.timezone)
    own = find_zone(subscription.timezone or settings.service.timezone)
    moment = _ANY_DAY
    for _ in range(_RUNS_LOOKED_AT):
        moment = schedule.after(moment, own)
        if window.is_open(moment, zone):
            return False
    return True


def _about_upstream(upstream: Upstream) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    granted = granted_requests_per_second(upstream.url)
    if granted is not None and upstream.requests_per_second > granted:
        text = phrase(
            "{asked} is more than the {granted} that this service grants; beyond them it answers 429 to every request for a while",
            asked=f"{upstream.requests_per_second:g}",
            granted=f"{granted:g}",
        )
        found.append(("requests_per_second", text))
    if urlsplit(upstream.url).hostname == GEOPLATEFORME_HOST and upstream.downloads > _MOST_DOWNLOADS:
        text = phrase(
            "{downloads} at once may draw 429 from this service; {most} are fine",
            downloads=upstream.downloads,
            most=_MOST_DOWNLOADS,
        )
        found.append(("downloads", text))
    if upstream.api_key is not None and urlsplit(upstream.url).scheme == "http":
        found.append(("url", phrase("the key goes over http, where anybody on the way can read it; use https")))
    if upstream.api_key_file and _everybody_reads(upstream.api_key_file):
        found.append(("api_key_file", phrase("everybody on this machine can read it; chmod o-r")))
    return found


def _everybody_reads(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & S_IROTH)
    except OSError:
        return False
