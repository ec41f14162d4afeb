"""Commands of the config: an argument list, no shell; `{path}` and the like in it stand for facts that are known when it is run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from mirror.phrases import phrase

PUBLISHED = (
    "path",
    "current",
    "extracted",
    "upstream",
    "resource",
    "sub_resource",
    "edition",
    "previous_edition",
    "series",
    "subscription",
    "root",
)
"""What may stand in `on_publish`."""

RAN = ("outcome", "upstream", "subscription", "root")
"""What may stand in `on_failure` and `on_complete`: those are about a run, not about a sub-resource."""

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def check_command(arguments: Sequence[str], known: Sequence[str], folder: Path) -> tuple[str, ...]:
    """A command as it is kept: its program by name, or by an absolute path; what is relative starts at `folder`.

    Raises ValueError for a placeholder that is not `known`, a brace that belongs to none, or a program that would be one.
    """
    for number, argument in enumerate(arguments, 1):
        for found in _BRACES.finditer(argument):
            name = found[1]
            if name is None:
                if found[0] in ("{", "}"):
                    raise ValueError(f'item {number} has a "{found[0]}" alone; write "{found[0] * 2}" for the sign itself')
            elif number == 1:
                raise ValueError("must start with a program, not with a placeholder")
            elif name not in known:
                raise ValueError(f"item {number} has a placeholder that is not known here: {_nearest(name, known)}")
    if not arguments:
        return ()
    program = os.path.expanduser(_filled(arguments[0], lambda name: ""))
    if "/" in program:
        program = os.path.normpath(folder / program)
    return (program.replace("{", "{{").replace("}", "}}"), *arguments[1:])


def _nearest(name: str, known: Sequence[str]) -> str:
    if name in PUBLISHED and known is not PUBLISHED:
        return "it is about a sub-resource, and only on_publish is run for one"
    if name in RAN and known is not RAN:
        return "it is about a run, and on_publish is run for a sub-resource"
    close = get_close_matches(name.strip().lower(), known, n=1)
    return f"did you mean {{{close[0]}}}?" if close else f"known: {', '.join(f'{{{one}}}' for one in known)}"


def filled(command: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The command with `values` in the places of its placeholders."""
    return [_filled(argument, values.__getitem__) for argument in command]


def _filled(argument: str, value: Callable[[str], str]) -> str:
    return _BRACES.sub(lambda found: found[0][0] if found[1] is None else value(found[1]), argument)


def problem_with_program(command: Sequence[str]) -> str | None:
    """Why a command could not be started now, as far as its program tells; None where nothing speaks against it."""
    program = filled(command[:1], {})[0]
    if "/" not in program:
        paths = os.environ.get("PATH", os.defpath).split(os.pathsep)
        if any(_can_run(os.path.join(path, program)) for path in paths):
            return None
        return phrase(
            "there is no program {program!r} in the PATH of this command; its full path is safer under systemd and cron",
            program=program,
        )
    if not os.path.exists(program):
        return phrase("there is no program at {program}", program=program)
    if _can_run(program):
        return None
    return phrase("{program} cannot be executed by this user; chmod +x, or check its owner", program=program)


def _can_run(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
