"""JSON Schema (2020-12) of what the API answers. Every member is named; more may be added, none goes away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirror.store.history import CHANGES
from mirror.store.query import STATES

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}


def _or_null(schema: Schema, about: str = "") -> Schema:
    found = {**schema, "type": [schema["type"], "null"]}
    return {**found, "description": about} if about else found


def _said(schema: Schema, about: str) -> Schema:
    return {**schema, "description": about}


def _object(members: Mapping[str, Schema], *, optional: tuple[str, ...] = (), about: str = "") -> Schema:
    found: Schema = {
        "type": "object",
        "properties": dict(members),
        "required": [name for name in members if name not in optional],
    }
    return {**found, "description": about} if about else found


def _list(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def _maybe(name: str) -> Schema:
    return {"anyOf": [{"$ref": f"#/components/schemas/{name}"}, {"type": "null"}]}


_FILE = _object(
    {
        "upstream": _TEXT,
        "resource": _TEXT,
        "sub_resource": _TEXT,
        "title": _TEXT,
        "file": _TEXT,
        "path": _or_null(_TEXT, "Absolute, on the machine of the mirror; null for what is parked."),
        "url": _said(_TEXT, "Where upstream has it."),
        "size": _or_null(_COUNT, "In bytes."),
        "md5": _or_null({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
        "sha256": _or_null({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
        "zones": _TEXTS,
        "formats": _TEXTS,
        "crs": _said(_TEXTS, "As EPSG:2154."),
        "edition_date": _or_null({"type": "string", "format": "date"}),
        "updated": _or_null(_TEXT, "As upstream has it: a day or a moment, ISO 8601."),
        "state": {"type": "string", "enum": list(STATES)},
        "fetched_at": _or_null(_MOMENT),
        "verified_at": _or_null(_MOMENT),
        "members": _said(_TEXTS, "Paths inside the archive; only where `member` asked for some."),
        "href": _or_null(_TEXT, "Where this mirror has it for download; only with `links=1`."),
    },
    optional=("members", "href"),
    about="A file of the mirror.",
)
_RUN = _object(
    {
        "id": _COUNT,
        "command": _TEXT,
        "started_at": _MOMENT,
        "finished_at": _or_null(_MOMENT),
        "outcome": _or_null(
            _TEXT, "complete, incomplete, refused, unavailable, interrupted, failed; running or killed where there is no end."
        ),
        "exit_code": _or_null({"type": "integer"}),
        "requests": _or_null(_COUNT),
        "subscriptions": _TEXTS,
        "report": _or_null({"type": "object"}, "What the command gave with --json; null with `reports=0`."),
    }
)
_CHANGE = _object(
    {
        "id": _COUNT,
        "at": _MOMENT,
        "change": {
            "type": "string",
            "enum": list(CHANGES),
            "description": "; ".join(f"{name}: {meaning}" for name, meaning in CHANGES.items()),
        },
        "upstream": _TEXT,
        "resource": _or_null(_TEXT),
        "sub_resource": _or_null(_TEXT),
        "file": _or_null(_TEXT, "The first of the files, of a publication."),
        "message": _TEXT,
        "run": _or_null(_COUNT, "The `id` of the run in which it happened."),
        "href": _or_null(_TEXT, "The folder of the sub-resource in this mirror; null where nothing is to be had there now."),
    }
)
_STATUS = _object(
    {
        "root": _TEXT,
        "files": _COUNT,
        "bytes": _COUNT,
        "last_run": _maybe("LastRun"),
        "parked": _list("Parked"),
        "unlisted": _list("Unlisted"),
        "not_unpacked": _list("NotUnpacked"),
        "hooks": _list("Hook"),
        "subscriptions": _list("Subscription"),
        "live": _or_null({"type": "object"}, "What the service is doing; null where none runs."),
    }
)
_WHERE = {"upstream": _TEXT, "resource": _TEXT, "sub_resource": _TEXT}

SCHEMAS: Mapping[str, Schema] = {
    "File": _FILE,
    "Run": _RUN,
    "Runs": _object({"runs": _list("Run"), "next": _or_null(_TEXT, "The address of the next page; null after the last.")}),
    "Change": _CHANGE,
    "Changes": _object(
        {
            "changes": _list("Change"),
            "cursor": _said(_TEXT, "The `since` of who wants to know later what has changed from here on."),
            "next": _or_null(_TEXT, "The address of the next page; null where there is nothing more yet."),
        }
    ),
    "Status": _STATUS,
    "LastRun": _object({name: schema for name, schema in _RUN["properties"].items() if name not in ("subscriptions", "report")}),
    "Subscription": _object(
        {
            "subscription": _TEXT,
            "upstream": _TEXT,
            "outcome": _or_null(_TEXT),
            "last_run": _or_null(_MOMENT),
            "last_success": _or_null(_MOMENT),
            "upstream_date": _or_null(_TEXT),
            "files": _COUNT,
            "expected": _or_null(_COUNT),
            "bytes": _COUNT,
            "failures": _or_null(_COUNT),
            "parked": _COUNT,
            "next_run": _or_null(_MOMENT),
        }
    ),
    "Parked": _object(
        {
            **_WHERE,
            "file": _TEXT,
            "url": _TEXT,
            "reason": _TEXT,
            "attempts": _COUNT,
            "since": _MOMENT,
            "last_try": _or_null(_MOMENT),
            "next_try": _or_null(_MOMENT),
        }
    ),
    "Unlisted": _object({"upstream": _TEXT, "what": _or_null(_TEXT), "reason": _TEXT, "at": _MOMENT}),
    "NotUnpacked": _object({**_WHERE, "reason": _TEXT}),
    "Hook": _object(
        {
            "subscription": _TEXT,
            "hook": _TEXT,
            "upstream": _TEXT,
            "resource": _or_null(_TEXT),
            "sub_resource": _or_null(_TEXT),
            "state": {"type": "string", "enum": ["waiting", "failed", "given-up"]},
            "attempts": _COUNT,
            "created_at": _MOMENT,
            "since": _or_null(_MOMENT),
            "last_try": _or_null(_MOMENT),
            "next_try": _or_null(_MOMENT),
            "message": _TEXT,
        }
    ),
    "Problem": _object({"error": _said(_TEXT, "One line."), "status": {"type": "integer"}}),
}
