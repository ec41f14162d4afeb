"""What may be asked: the parameters of each address, which handlers check by and the description is made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aiohttp import web

from mirror.settings.problems import nearest
from mirror.store.asking import count_of_text, flag_of_text
from mirror.store.history import CHANGES
from mirror.store.query import STATES

_LONGEST_QUERY = 4096  # characters; what is longer was not written by a person, nor by a program that means well
_LONGEST_SAID = 300


_WORDS: Mapping[str, Any] = {"type": "string", "pattern": "^[^\\u0000]*$"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of them; `schema` is JSON Schema for one value."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: _WORDS)
    repeatable: bool = False
    listed: bool = False
    """Whether its values stand in one text, with commas between them; `schema` is then that of all."""

    def as_openapi(self) -> dict[str, Any]:
        """The Parameter Object of OpenAPI 3.1."""
        described: dict[str, Any] = {"name": self.name, "in": "query", "description": self.about, "schema": dict(self.schema)}
        if self.listed:
            described |= {"style": "form", "explode": False}
        if self.repeatable:
            most = {"minItems": 1, "maxItems": 100}
            described |= {"schema": {"type": "array", "items": dict(self.schema), **most}, "style": "form", "explode": True}
        return described


_NAMED = {**_WORDS, "minLength": 1}
_DAY = {"type": "string", "format": "date"}
_LONGITUDE = {"type": "number", "minimum": -180, "maximum": 180}
_LATITUDE = {"type": "number", "minimum": -90, "maximum": 90}
_GLOB = "Repeatable, globs, any case."
_FLAG = {"type": "string", "enum": ["1", "0", "true", "false", "yes", "no"]}


def _count(default: int | None, most: int | None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer", "minimum": 1}
    return schema | ({} if default is None else {"default": default}) | ({} if most is None else {"maximum": most})


QUERY = (
    Parameter("q", "Words that must all be found, without accents; file names and extensions too."),
    Parameter("resource", f"Resource id. {_GLOB}", _NAMED, repeatable=True),
    Parameter("zone", f"Zone code; D0971 finds D971. {_GLOB}", _NAMED, repeatable=True),
    Parameter("format", f"Format; Shapefile finds SHP. {_GLOB}", _NAMED, repeatable=True),
    Parameter("crs", f"CRS in any spelling: EPSG:2154, 2154. {_GLOB}", _NAMED, repeatable=True),
    Parameter("upstream", f"Upstream by its name in the config. {_GLOB}", _NAMED, repeatable=True),
    Parameter("state", "State of the file. Repeatable.", {"type": "string", "enum": list(STATES)}, repeatable=True),
    Parameter("member", f"Archives that hold such a file. {_GLOB}", _NAMED, repeatable=True),
    Parameter("from", "Editions of this day or later.", _DAY),
    Parameter("to", "Editions of this day or earlier.", _DAY),
    Parameter("updated_from", "Published on this day or later. `updated-from` is the same.", _DAY),
    Parameter(
        "bbox",
        "Footprint meets this box: west,south,east,north in degrees, as 5.5,44.7,6.4,45.9.",
        {"type": "array", "prefixItems": [_LONGITUDE, _LATITUDE] * 2, "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
        listed=True,
    ),
    Parameter("latest", "Only the newest edition of each series.", _FLAG),
    Parameter("limit", "At most so many files.", _count(None, None)),
    Parameter("links", "Adds `href` to each file: where this mirror has it for download.", _FLAG),
)

MOST_RUNS, RUNS = 100, 20
MOST_CHANGES, SOME_CHANGES = 1000, 100

_BEFORE = {"type": "integer", "minimum": 1}
_KIND = Parameter(
    "kind", f"Only such changes: {', '.join(CHANGES)}. Repeatable.", {"type": "string", "enum": list(CHANGES)}, repeatable=True
)
_SINCE = Parameter(
    "since",
    "A day or a moment (ISO 8601; without an offset, of UTC), from which on; or the `cursor` of an earlier answer, or the `id` of "
    "a change, behind which.",
    {
        "anyOf": [
            {"type": "string", "format": "date"},
            {"type": "string", "format": "date-time"},
            {"type": "string", "pattern": "^[0-9]{1,18}(-[0-9a-f]{8})?$"},
        ]
    },
)

RUN_LIST = (
    Parameter("before", "The `id` of a run: only older ones.", _BEFORE),
    Parameter("limit", "At most so many runs.", _count(RUNS, MOST_RUNS)),
    Parameter("command", "Only of this command. Repeatable.", _NAMED, repeatable=True),
    Parameter("reports", "0 leaves out `report`, which may be long.", _FLAG),
)
CHANGE_LIST = (_SINCE, Parameter("limit", "At most so many changes.", _count(SOME_CHANGES, MOST_CHANGES)), _KIND)
CHANGE_FEED = (
    _SINCE,
    Parameter("before", "The `id` of a change: only older ones.", _BEFORE),
    Parameter("limit", "At most so many entries.", _count(SOME_CHANGES, MOST_CHANGES)),
    _KIND,
)


def wrong(name: str, why: str) -> NoReturn:
    """What was asked cannot be taken."""
    said = f"{name}: {why}"
    raise web.HTTPBadRequest(text=said if len(said) <= _LONGEST_SAID else f"{said[: _LONGEST_SAID - 3]}...")


def asked(request: web.Request, known: Sequence[Parameter]) -> list[tuple[str, str]]:
    """What is asked, in its order, by the names of `known`. Raises HTTPException for any other name, and for a body."""
    if len(request.rel_url.raw_query_string) > _LONGEST_QUERY:
        raise web.HTTPRequestURITooLong(text=f"the query is too long: at most {_LONGEST_QUERY} characters are taken")
    if request.body_exists:
        if (request.content_length or 0) > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size, text="this takes no body, and none of that size")
        raise web.HTTPBadRequest(text="this takes no body; ask in the address")
    names = [parameter.name for parameter in known]
    found = []
    for given, value in request.query.items():
        name = given if given in names else given.replace("-", "_")
        if name not in names:
            wrong(given, f"there is no such parameter; {nearest(given, names) if names else 'this takes none'}")
        if "\0" in value:
            wrong(name, "must not hold NUL")
        found.append((name, value))
    return found


def one(given: Sequence[tuple[str, str]], name: str) -> str | None:
    """The value of what may be given once."""
    values = [value for key, value in given if key == name]
    if len(values) > 1:
        wrong(name, "may be given only once")
    return values[0] if values else None


def number(given: Sequence[tuple[str, str]], name: str, *, most: int | None = None) -> int | None:
    """A number of 1 or more; what is beyond `most` is refused."""
    value = one(given, name)
    if value is None:
        return None
    try:
        found = count_of_text(value)
    except ValueError as error:
        wrong(name, str(error))
    if most is not None and found > most:
        wrong(name, f"is {most} at most; go on from there with what the answer names")
    return found


def flag(given: Sequence[tuple[str, str]], name: str, *, default: bool = False) -> bool:
    """Yes or no."""
    value = one(given, name)
    if value is None:
        return default
    try:
        return flag_of_text(value)
    except ValueError as error:
        wrong(name, str(error))


def several(given: Sequence[tuple[str, str]], name: str, choice: Collection[str] = ()) -> tuple[str, ...]:
    """The values of what may be repeated; each one of `choice`, if there is one."""
    values = [value for key, value in given if key == name]
    for value in values:
        if not value:
            wrong(name, "must not be empty")
        if choice and value not in choice:
            wrong(name, f"{value!r} is none; {nearest(value, choice)}")
    return tuple(values)
