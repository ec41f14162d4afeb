"""Log lines for machines: key=value with priorities for journald, JSON for who asks for it. One line per event, on stderr.

Names and reasons come from outside: whatever is in them, a line stays one line, and a field stays what it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

import click

from mirror.cli.progress import is_shown_if_quiet, message
from mirror.cli.render import show
from mirror.events import (
    Answered,
    Event,
    Failed,
    FileKey,
    HookFailed,
    HookKey,
    Listed,
    ListingFailed,
    ListingRefused,
    Note,
    NotUnpacked,
    Requested,
    RunEnded,
    Verified,
    Walled,
)
from mirror.language import ENGLISH, Language
from mirror.phrases import phrase

Style = Literal["auto", "lines", "journal", "json"]
STYLES: tuple[Style, ...] = ("auto", "lines", "journal", "json")
Level = Literal["error", "warning", "notice", "info", "debug"]

PRIORITIES: Mapping[Level, int] = {"error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}
"""What sd-daemon(3) has journald read from the start of a line."""

_ENDED: Mapping[str, Level] = {"complete": "info", "interrupted": "notice", "incomplete": "warning"}
_BARE = re.compile(r"[A-Za-z0-9_.:/@%+,~-]+")
_RENAMED = {(Listed, "level"): "kind", (Note, "message"): None, (Note, "level"): None}
"""Fields whose names mean something else in a log, and those that are told anyway."""


def style_in_effect(style: Style, environ: Mapping[str, str]) -> Literal["lines", "journal", "json"]:
    """What `auto` means here: key=value where stderr goes to the journal, lines elsewhere."""
    if style == "auto":
        return "journal" if goes_to_journal(environ) else "lines"
    return style


def goes_to_journal(environ: Mapping[str, str]) -> bool:
    """Whether stderr is the very stream that systemd has connected to the journal; the variable alone is inherited by everybody."""
    try:
        stats = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{stats.st_dev}:{stats.st_ino}"


def level_of(event: Event) -> Level:
    """How grave an event is."""
    match event:
        case Failed() | HookFailed() | ListingFailed() | ListingRefused() | NotUnpacked():
            return "error"
        case Walled():
            return "warning"
        case Note(_, level):
            return level
        case RunEnded(outcome=outcome):
            return _ENDED.get(outcome, "error")
        case Requested() | Answered() | Verified():
            return "debug"
        case _:
            return "info"


def name_of(event: Event) -> str:
    """`transfer-started` for TransferStarted."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(event).__name__).lower()


def facts_of(event: Event) -> dict[str, object]:
    """The fields of an event, flat; what is not known is left out."""
    found: dict[str, object] = {}
    for place in fields(event):
        name = _RENAMED.get((type(event), place.name), place.name)
        value = getattr(event, place.name)
        if isinstance(value, FileKey):
            parts = (("upstream", value.upstream), ("resource", value.resource), ("sub_resource", value.sub_resource))
            found.update((part, text) for part, text in (*parts, ("file", value.file)) if text)
        elif isinstance(value, HookKey):
            found.update((part.name, getattr(value, part.name)) for part in fields(value) if getattr(value, part.name))
        elif name is not None and value is not None and value != "":
            found[name] = round(value, 3) if isinstance(value, float) else value
    return found


def journal_line(level: Level, text: str, event: str, facts: Mapping[str, object]) -> str:
    """A line of key=value fields behind its priority: `<6>msg="published ..." event=published upstream=gpf ...`."""
    pairs = [("msg", text), ("event", event), *facts.items()]
    return f"<{PRIORITIES[level]}>" + " ".join(f"{name}={_value(value)}" for name, value in pairs)


def _value(value: object) -> str:
    match value:
        case tuple():
            text = ",".join(map(str, value))
        case bool():
            text = "true" if value else "false"
        case _:
            text = str(value)
    if _BARE.fullmatch(text):
        return text
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return f"\\{c}"
    if c.isprintable():
        return c
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def json_line(level: Level, text: str, event: str, facts: Mapping[str, object], at: datetime) -> str:
    """One JSON object, in ASCII: no text can end its line."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return json.dumps({"time": moment, "level": level, "event": event, "msg": text, **facts})


def say(text: str, level: Level, style: Style, language: Language | None = None) -> None:
    """What is told outside the stream of events: a warning about the config, the reason for which a command ends.

    Only people are spoken to in their `language`: the lines for machines are English.
    """
    match style_in_effect(style, os.environ):
        case "journal":
            click.echo(journal_line(level, text, "message", {}), err=True)
        case "json":
            click.echo(json_line(level, text, "message", {}, datetime.now(UTC)), err=True)
        case _:
            line = phrase("warning: {text}", text=text) if level == "warning" else phrase("inspire-mirror: {text}", text=text)
            show((language or ENGLISH).put(line), err=True)


class Log:
    """Writes events as lines for machines, those that would be shown to people as well."""

    def __init__(self, style: Literal["journal", "json"], verbose: int = 0, *, quiet: bool = False) -> None:
        self._style = style
        self._verbose = verbose
        self._quiet = quiet

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if self._quiet and not is_shown_if_quiet(event):
            return
        if (text := message(event, self._verbose)) is None:
            return
        level, name, facts = level_of(event), name_of(event), facts_of(event)
        if isinstance(event, Note):
            text = text.removeprefix("warning: ")
        line = (
            journal_line(level, text, name, facts)
            if self._style == "journal"
            else json_line(level, text, name, facts, datetime.now(UTC))
        )
        click.echo(line, err=True)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass
