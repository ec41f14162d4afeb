"""The OpenAPI 3.1 document: made of the same parameters that handlers check by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mirror.namespaces import ATOM_TYPE
from mirror.serving.api.files import FORMS, JSON
from mirror.serving.api.parameters import CHANGE_FEED, CHANGE_LIST, QUERY, RUN_LIST, Parameter
from mirror.serving.api.schemas import SCHEMAS
from mirror.version import __version__

_ABOUT = (
    "What `inspire-mirror query`, `status` and the history of runs and changes say, over HTTP. Reads only; GET and HEAD. "
    "Answers have an ETag; ask with If-None-Match."
)
_ERRORS: Mapping[str, str] = {
    "400": "A parameter is unknown or has a wrong value; `error` names it.",
    "401": "The mirror asks for a token, and this request names none, or another.",
    "405": "Another method than GET and HEAD.",
    "410": "`since` is a cursor of an index that was built anew; ask again with a day.",
    "413": "The request has a body, which nothing here takes.",
    "414": "The query string is too long.",
    "503": "The index cannot be read now, or too much is asked at once; Retry-After says when to come back.",
}


def described(base: str, *, needs_token: bool) -> dict[str, Any]:
    """The document, for a mirror at this address."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "inspire-mirror",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
        },
        "servers": [{"url": base}],
        "security": [{"bearer": []}, {"basic": []}] if needs_token else [{}, {"bearer": []}, {"basic": []}],
        "paths": {
            "/api/query": _get(
                "query",
                "The files that match every filter",
                QUERY,
                {form: {"schema": _files() if form == JSON else {"type": "string"}} for form in FORMS},
            ),
            "/api/status": _get("status", "How each subscription stands", (), _json("Status")),
            "/api/runs": _get("runs", "The runs of the mirror, the newest first", RUN_LIST, _json("Runs")),
            "/api/changes": _get(
                "changes", "What has changed, the oldest first", CHANGE_LIST, _json("Changes"), more_errors=("410",)
            ),
            "/api/changes.atom": _get(
                "changesFeed",
                "What has changed, the newest first, as an Atom feed",
                CHANGE_FEED,
                {ATOM_TYPE: {"schema": {"type": "string"}}},
                more_errors=("410",),
            ),
            "/api/openapi.json": _get("openapi", "This document", (), {JSON: {"schema": {"type": "object"}}}),
        },
        "components": {
            "schemas": dict(SCHEMAS),
            "responses": {f"Error{status}": _error(status) for status in _ERRORS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of [serve], where one is set."},
                "basic": {"type": "http", "scheme": "basic", "description": "The same token as the password of any user."},
            },
        },
    }


def _get(
    name: str, summary: str, parameters: Sequence[Parameter], content: Mapping[str, Any], *, more_errors: Sequence[str] = ()
) -> dict[str, Any]:
    errors = sorted({"400", "401", "405", "413", "414", "503", *more_errors})
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "parameters": [parameter.as_openapi() for parameter in parameters],
            "responses": {
                "200": {"description": "The answer", "headers": _HEADERS, "content": dict(content)},
                "304": {"description": "It is as it was: If-None-Match named its ETag", "headers": _HEADERS},
                **{status: {"$ref": f"#/components/responses/Error{status}"} for status in errors},
            },
        }
    }


_HEADERS = {"ETag": {"description": "Of this answer; not of very long ones", "schema": {"type": "string"}}}


def _json(schema: str) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _files() -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": "#/components/schemas/File"}}


def _error(status: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": _ERRORS[status], "content": _json("Problem")}
    if status == "401":
        about = "Bearer and Basic, in a header each"
        found["headers"] = {"WWW-Authenticate": {"description": about, "schema": {"type": "string"}}}
    if status == "405":
        found["headers"] = {"Allow": {"description": "What may be done", "schema": {"type": "string"}}}
    return found
