"""Settings from the environment: `INSPIRE_MIRROR_<TABLE>__<KEY>`, laid over what the file says.

INSPIRE_MIRROR_ROOT=/srv/mirror
INSPIRE_MIRROR_LIMITS__MIN_FREE=10 GiB
INSPIRE_MIRROR_UPSTREAM__GEOPLATEFORME__URL=https://...
INSPIRE_MIRROR_SUBSCRIPTION__TOPO_ISERE__ZONES=D038,D073     [subscription.topo-isere]
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from mirror.settings.problems import Place, Problem, nearest, show
from mirror.settings.schema import Limits, Serve, Service, Settings, Subscription, Upstream

PREFIX = "INSPIRE_MIRROR_"
CONFIG_VARIABLE = "INSPIRE_MIRROR_CONFIG"
"""Names the config file; the one variable that is not a setting."""

_NAMED_TABLES: dict[str, type[BaseModel]] = {"upstream": Upstream, "subscription": Subscription}
_TABLES: dict[str, type[BaseModel]] = {"limits": Limits, "serve": Serve, "service": Service}


def names_settings(environ: Mapping[str, str]) -> bool:
    """Whether a variable of `environ` is meant as a setting, rightly or not."""
    return any(name.startswith(PREFIX) and name != CONFIG_VARIABLE for name in environ)


def overlay(data: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[Place, str], list[Problem]]:
    """Put the settings of `environ` into `data`, which is changed in place.

    Returns which variable gave which place (a key, or a table that only the environment names), and the variables that name no
    setting or more than one. Whether a key is known is left to the check of the whole.
    """
    given: dict[Place, str] = {}
    problems: list[Problem] = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and name != CONFIG_VARIABLE):
        try:
            place, model = _locate(variable, data)
        except ValueError as error:
            problems.append(Problem((), str(error), variable))
            continue
        if len(place) == 3 and not _holds(data.get(place[0]), place[1]):
            given[place[:2]] = variable
        if _put(data, place, _read(environ[variable], model, place[-1])):
            given[place] = variable
    return given, problems


def _locate(variable: str, data: dict[str, Any]) -> tuple[Place, type[BaseModel]]:
    """The place that a variable names, and the model of its table. Raises ValueError where it names none, or several."""
    table, *rest = variable.removeprefix(PREFIX).lower().split("__")
    if table in _NAMED_TABLES:
        name, _, key = "__".join(rest).rpartition("__")
        if not name or not key:
            raise ValueError(f"names no setting; it must be {PREFIX}{table.upper()}__NAME__KEY")
        return (table, _existing_name(data.get(table), name), key), _NAMED_TABLES[table]
    if table in _TABLES:
        if len(rest) != 1 or not rest[0]:
            raise ValueError(f"names no setting; it must be {PREFIX}{table.upper()}__KEY")
        return (table, rest[0]), _TABLES[table]
    if rest or not table:
        raise ValueError(f"names no setting; there is no table {show(table)}; {nearest(table, [*_NAMED_TABLES, *_TABLES])}")
    return (table,), Settings


def _existing_name(tables: object, name: str) -> str:
    """The name of the table that a part of a variable means: variables have no case, dots or hyphens. Itself where it is new."""
    found = [table for table in tables if _fold(table) == _fold(name)] if isinstance(tables, dict) else []
    if len(found) > 1:
        raise ValueError(f"fits several tables: {', '.join(map(show, found))}")
    return found[0] if found else name


def _holds(tables: object, name: str) -> bool:
    return isinstance(tables, dict) and name in tables


def _fold(name: str) -> str:
    return re.sub(r"[-.]", "_", name.lower())


def _put(data: dict[str, Any], place: Place, value: object) -> bool:
    """Set the value at its place; leave a file alone that has something else where a table must be, as that is its own problem."""
    for name in place[:-1]:
        data = data.setdefault(name, {})
        if not isinstance(data, dict):
            return False
    data[place[-1]] = value
    return True


def _read(text: str, model: type[BaseModel], key: str) -> object:
    """The text as the type that its key takes, where it can be read as that; else as it is, for the check to judge."""
    field = model.model_fields.get(key)
    types = _types(field.annotation) if field else set()
    if tuple in types:
        return _read_list(text, numbers=float in types)
    value = _toml(text)
    return value if type(value) in types & {bool, int, float} or (type(value) is int and float in types) else text


def _read_list(text: str, *, numbers: bool) -> object:
    """A TOML array, or items between commas; a glob such as `[AB]*` is an item, an array that TOML cannot read stays text."""
    if text.lstrip().startswith("["):
        whole = _toml(text)
        if isinstance(whole, list) or re.search("[\"']", text):
            return text if whole is None else whole
    items = [item.strip() for item in text.split(",") if item.strip()]
    return [_number(item) for item in items] if numbers else items


def _number(item: str) -> object:
    value = _toml(item)
    return item if value is None else value


def _toml(text: str) -> object:
    """What TOML makes of one value; None where it makes nothing of it."""
    if "\n" in text or "\r" in text:
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # not TOML; a number of too many digits; brackets without end
        return None


def _types(annotation: object) -> set[object]:
    """The plain types that a field takes, out of its annotations, unions and tuples."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return {found for member in get_args(annotation) for found in _types(member)}
    if origin is tuple:
        return {tuple, *get_args(annotation)}
    return {annotation}
