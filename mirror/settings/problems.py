"""What is wrong with a config, one line per problem: where, which key, what is allowed, what was found.

    inspire-mirror.toml:12: [subscription.topo-isere] zonez: unknown key; did you mean "zones"?
    inspire-mirror.toml:4: [upstream.geoplateforme] requests_per_second: must be a number, got "four"
    environment INSPIRE_MIRROR_LIMITS__MIN_FREE: [limits] min_free: must be a size such as ...

The value of a key that can hold a secret is never shown, nor that of a key which is not known: it may be a misspelt secret.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mirror.settings.schema import Limits, Serve, Service, Settings, Subscription, Upstream

Place = tuple[str, ...]
"""The way to a key through its tables: `("limits", "min_free")`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend; `variable` is the environment variable that it came from, where no place tells that."""

    place: Place
    text: str
    variable: str | None = None


# A key may have been pasted into any of these by mistake.
_NEVER_SHOWN = frozenset({"api_key", "api_key_file", "token", "token_file", "url", "public_url"})
_MAY_HOLD_KEY = re.compile(r"://|api_?key=", re.IGNORECASE)
_LONGEST_SHOWN = 60

_EXPECTED = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "model_type": "must be a table",
    "dict_type": "must hold tables: [{table}.NAME]",
    "value_error": "{error}",
}


def problems_of(error: ValidationError) -> list[Problem]:
    """What pydantic found, in our words and without its habit of repeating input."""
    problems = []
    for detail in error.errors(include_url=False):
        place = tuple(part for part in detail["loc"] if isinstance(part, str) and part != "[key]")
        problems.append(Problem(place, _describe(detail, place)))
    return problems


def render(problems: Iterable[Problem], *, source: str, toml: str, given: Mapping[Place, str]) -> str:
    """One line per problem, in the order of the file.

    `source` names the file, `toml` is its text, and `given` says which environment variable gave which place.
    """
    lines = _line_numbers(toml)
    located = []
    for problem in problems:
        variable = problem.variable or given.get(problem.place) or given.get(problem.place[:2])
        number = None if variable else _nearest_line(lines, problem.place)
        start = f"environment {printable(variable)}" if variable else f"{source}:{number}" if number else source
        located.append((number or 0, ": ".join(filter(None, (start, show_place(problem.place), problem.text)))))
    return "\n".join(line for _, line in sorted(located, key=lambda pair: pair[0]))


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean ...?` with the nearest known word; where none is near, all of them."""
    known = list(known)
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"did you mean {show(by_lower[close[0]])}?" if close else f"known: {', '.join(map(show, known))}"


def show(value: object) -> str:
    """A value as one short printable piece of text, spelt as TOML would; only the kind of what is nested or could hold a key."""
    match value:
        case str() if _MAY_HOLD_KEY.search(value):
            return "a URL"
        case bool() | str() | float():
            text = json.dumps(value, ensure_ascii=False)
        case int():
            text = str(value) if abs(value) < 10**_LONGEST_SHOWN else "a very large number"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"
    text = printable(text)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def printable(text: str) -> str:
    """The text with all that would break a line, or hide in one, spelt out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def show_place(place: Place) -> str:
    """`[subscription.topo-isere] zones`, or `root`."""
    names = [name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else show(name) for name in place]
    if len(names) == 2 and names[0] in ("upstream", "subscription"):
        return f"[{'.'.join(names)}]"
    return f"[{'.'.join(names[:-1])}] {names[-1]}" if len(names) > 1 else "".join(names)


def _describe(detail: ErrorDetails, place: Place) -> str:
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {_advice_on_unknown(place)}"
    if kind == "missing":
        return "required key is missing"
    words = {name: f"{part:g}" if isinstance(part, float) else str(part) for name, part in detail.get("ctx", {}).items()}
    text = _EXPECTED[kind].format(**words, table=place[0]) if kind in _EXPECTED else detail["msg"]
    if kind == "literal_error":
        text = text.replace("'", '"')  # as TOML quotes
    # A list was judged by its items, and a name is shown by its place.
    judged_inside = kind == "value_error" and (isinstance(value, list) or detail["loc"][-1] == "[key]")
    # Nor is a plain value where a table must be: it may be a URL with a password.
    hidden = place[-1] in _NEVER_SHOWN or kind in ("model_type", "dict_type")
    return text if judged_inside or hidden else f"{text}, got {show(value)}"


def _advice_on_unknown(place: Place) -> str:
    tables: dict[str, type[BaseModel]] = {
        "[upstream.NAME]": Upstream,
        "[subscription.NAME]": Subscription,
        "[limits]": Limits,
        "[serve]": Serve,
        "[service]": Service,
    }
    own = Settings if len(place) == 1 else next(model for name, model in tables.items() if name.startswith(f"[{place[0]}"))
    advice, key = nearest(place[-1], own.model_fields), place[-1]
    if not advice.startswith("known"):
        return advice
    if own is not Settings and key in Settings.model_fields:
        return "it belongs at the top, before the first [table]"
    return next((f"it belongs in {name}" for name, model in tables.items() if key in model.model_fields), advice)


_HEADER = re.compile(r"\s*\[(?P<name>[^\[].*?)\]\s*(?:#.*)?")
_KEY = re.compile(r"""\s*(?P<name>(?:[A-Za-z0-9_.\- ]|"[^"]*"|'[^']*')+?)\s*=""")


def _line_numbers(toml: str) -> dict[Place, int]:
    """Where each table and key of a TOML text first stands, as far as a look at each line can tell.

    A multi-line text that looks like keys can mislead it, by a wrong line number in an error message and nothing worse.
    """
    lines: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(toml.split("\n"), 1):
        if header := _HEADER.fullmatch(line.rstrip("\r")):
            place = table = _split(header["name"])
        elif key := _KEY.match(line):
            place = table + _split(key["name"])
        else:
            continue
        for end in range(1, len(place) + 1):
            lines.setdefault(place[:end], number)
    return lines


def _split(dotted: str) -> Place:
    if re.fullmatch(r"[A-Za-z0-9_-]+", dotted):
        return (dotted,)
    try:
        tables: object = tomllib.loads(f"{dotted} = 0")
    except ValueError:
        return (dotted,)
    place: Place = ()
    while isinstance(tables, dict):
        name, tables = next(iter(tables.items()))
        place += (name,)
    return place


def _nearest_line(lines: Mapping[Place, int], place: Place) -> int | None:
    """The line of a key, or else that of the table it is in."""
    return next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), None)
