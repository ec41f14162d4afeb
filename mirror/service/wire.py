"""Events and reports as lines of JSON, for the way between the service and the command that handed a sync to it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mirror import events
from mirror.events import Event, FileKey, HookDone, HookFailed, HookKey, HookStarted, HookStopped
from mirror.sync import Account, Failure, Report

_EVENTS = {name: kind for name, kind in vars(events).items() if inspect.isclass(kind) and issubclass(kind, Event)}


def line(message: Mapping[str, object]) -> bytes:
    """One message, ready to be sent."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def event_message(event: Event) -> dict[str, object]:
    """What stands for an event."""
    values = {place.name: getattr(event, place.name) for place in fields(event)}
    return {
        "event": type(event).__name__,
        "facts": {
            name: [getattr(value, part.name) for part in fields(value)] if isinstance(value, FileKey | HookKey) else value
            for name, value in values.items()
        },
    }


def read_event(message: Mapping[str, Any]) -> Event | None:
    """The event that a message stands for; None for one that this version does not know."""
    kind = _EVENTS.get(message["event"])
    if kind is None:
        return None
    try:
        key = HookKey if issubclass(kind, HookStarted | HookDone | HookFailed | HookStopped) else FileKey
        facts = {name: key(*value) if name == "key" else value for name, value in message["facts"].items()}
        return kind(**facts)
    except TypeError:
        return None


def read_report(document: Mapping[str, Any]) -> Report:
    """The report that `Report.as_json` has made this document of."""
    account = document["account"]
    return Report(
        outcome=document["outcome"],
        reason=document["reason"] or "",
        requests=document["requests"],
        listed=document["listed"],
        planned=document["planned"],
        done=document["done"],
        failed=[
            Failure(failed["url"] or "", failed["file"], failed["reason"], failed["attempts"]) for failed in document["failed"]
        ],
        account=Account(account["expected"], account["present"], account["verified"]),
        remarks=document["remarks"],
        seconds=document["seconds"],
    )
