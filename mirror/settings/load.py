"""From a file and the environment to checked settings, or to one ConfigError that names all that is wrong."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Any

from pydantic import SecretStr, ValidationError

from mirror.errors import ConfigError
from mirror.settings.environment import CONFIG_VARIABLE, names_settings, overlay
from mirror.settings.problems import Problem, nearest, printable, problems_of, render, show
from mirror.settings.schema import Settings, check_key

CONFIG_NAME = "inspire-mirror.toml"
SYSTEM_CONFIG = Path("/etc/inspire-mirror", CONFIG_NAME)

_LARGEST_CONFIG = 2**20
_LARGEST_KEY_FILE = 4096


def find_config(option: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """The config to use: `-c`, else `$INSPIRE_MIRROR_CONFIG`, else the one in `cwd`, else the system's.

    One that is named must be there; the others are only looked for. Raises ConfigError that says what was tried.
    """
    chosen = environ.get(CONFIG_VARIABLE)
    if option or chosen:
        path, origin = (cwd / option, "-c") if option else (cwd / str(chosen), f"${CONFIG_VARIABLE}")
        if not _is_there(path):
            raise ConfigError(f"{origin}: there is no {_short(path)}; `inspire-mirror init` writes a config to start from")
        return path
    candidates = (cwd / CONFIG_NAME, SYSTEM_CONFIG)
    for path in candidates:
        if _is_there(path):
            return path
    tried = f"-c and ${CONFIG_VARIABLE} are not given, there is no {' and no '.join(map(_short, candidates))}"
    raise ConfigError(f"no config found: {tried}; `inspire-mirror init` writes one to start from")


def config_is_given(option: Path | None, environ: Mapping[str, str], cwd: Path) -> bool:
    """Whether there are settings of any kind: a file that is named or found, or variables of the environment."""
    named = option is not None or bool(environ.get(CONFIG_VARIABLE))
    return named or names_settings(environ) or any(map(_is_there, (cwd / CONFIG_NAME, SYSTEM_CONFIG)))


def load_found(
    option: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    *,
    offline: bool = False,
    serving: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Settings, str]:
    """The settings in effect, and where they come from in words: the config that `find_config` finds, else the environment alone.

    Without a file, relative paths start at `cwd`, and `defaults` stand for what the environment does not say. Raises ConfigError
    as `find_config` and `load` do; where neither a file nor a variable says anything, that is the error of `find_config`.
    """
    try:
        path = find_config(option, environ, cwd)
    except ConfigError:
        if option or environ.get(CONFIG_VARIABLE) or not names_settings(environ):
            raise
        source = "environment (there is no config file; `inspire-mirror init` writes one)"
        return from_mapping(defaults or {}, cwd, environ, source=source, offline=offline, serving=serving), "environment"
    return load(path, environ, offline=offline, serving=serving), _short(path)


def load(path: Path, environ: Mapping[str, str], *, offline: bool = False, serving: bool = False) -> Settings:
    """The settings of the file at `path`, with those of `environ` laid over it.

    `offline` is for commands that open no connection: files of keys and certificates are then not looked at, so that people who
    may not read them can still query the mirror. With `serving`, the token is read all the same. Raises ConfigError with one line
    per problem; no secret is in it.
    """
    source = _short(path)
    toml = _read_config(path, source)
    return from_mapping(_parse(toml, source), path.parent, environ, source=source, toml=toml, offline=offline, serving=serving)


def from_mapping(
    data: Mapping[str, Any],
    folder: Path,
    environ: Mapping[str, str],
    *,
    source: str = "config",
    toml: str = "",
    offline: bool = False,
    serving: bool = False,
) -> Settings:
    """The settings that `data`, shaped as the TOML file is, stands for; relative paths in it start at `folder`.

    `source` and `toml` (the text it was read from) are only for the messages. Raises ConfigError as `load` does.
    """
    tables = _copy_tables(data, depth=2)
    given, problems = overlay(tables, environ)
    problems += _choose_upstreams(tables)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(tables, context={"folder": folder})
    except ValidationError as error:
        known = {problem.place for problem in problems}
        problems += [problem for problem in problems_of(error) if problem.place not in known]
    if settings and not offline:
        settings, more = _with_key_files(settings)
        problems += more + _missing_certificates(settings)
    if settings and (serving or not offline):
        settings, more = _with_token_file(settings)
        problems += more
    # Raised here and not where pydantic's error is handled: that one holds the input, and would stay attached.
    if problems or settings is None:
        raise ConfigError(render(problems, source=source, toml=toml, given=given))
    return settings


def _is_there(path: Path) -> bool:
    """Whether a path exists; one that may not be looked at does, so that reading it tells why it cannot be used."""
    try:
        return path.exists()
    except OSError:
        return True


def _short(path: Path) -> str:
    """The path as people would type it from where they are, on one line."""
    try:
        shown = os.fspath(path.relative_to(Path.cwd()))
    except (OSError, ValueError):
        shown = os.fspath(path)
    return printable(shown)


def _read_config(path: Path, source: str) -> str:
    try:
        if not path.is_file():
            raise ConfigError(f"{source}: {'is not a file' if path.exists() else 'does not exist'}")
        with path.open("rb") as file:
            content = file.read(_LARGEST_CONFIG + 1)
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST_CONFIG:
        raise ConfigError(f"{source}: is larger than 1 MiB, which no config is; name the right file with -c")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise ConfigError(f"{source}:{line}: is not UTF-8 text; save it as UTF-8")


def _parse(toml: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
    except (ValueError, RecursionError):  # an integer of thousands of digits; brackets nested without end
        message = "holds a number or a nesting that no setting has"
    at = re.fullmatch(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)", message, re.DOTALL)
    if at is None:
        raise ConfigError(f"{source}: {printable(message).removesuffix(' (at end of document)')}")
    what = printable(at["what"])
    if what == "Cannot overwrite a value":
        line = toml.splitlines()[int(at["line"]) - 1][: int(at["column"]) - 1]
        what = f"{show(line.partition('=')[0].strip())} is set a second time"
    raise ConfigError(f"{source}:{at['line']}: {what} (column {at['column']})")


def _copy_tables(data: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """A copy down to the keys of `[upstream.NAME]`, so that nothing of the caller's is changed."""
    return {key: _copy_tables(value, depth - 1) if depth and isinstance(value, dict) else value for key, value in data.items()}


def _choose_upstreams(data: dict[str, Any]) -> list[Problem]:
    """Give each subscription that names no upstream the only one there is; say where there is no such choice."""
    upstreams, subscriptions = data.get("upstream", {}), data.get("subscription", {})
    if not isinstance(upstreams, dict) or not isinstance(subscriptions, dict):
        return []
    problems = []
    for name, subscription in subscriptions.items():
        if not isinstance(subscription, dict):
            continue
        place = ("subscription", name, "upstream")
        chosen = subscription.get("upstream")
        if not upstreams:
            problems.append(Problem(place, "there is no [upstream.NAME] table"))
        elif chosen is None and len(upstreams) == 1:
            subscription["upstream"] = next(iter(upstreams))
        elif chosen is None:
            problems.append(Problem(place, f"required key is missing, as there are several: {', '.join(map(show, upstreams))}"))
        elif isinstance(chosen, str) and chosen not in upstreams:
            problems.append(Problem(place, f"there is no upstream {show(chosen)}; {nearest(chosen, upstreams)}"))
    return problems


def _with_key_files(settings: Settings) -> tuple[Settings, list[Problem]]:
    """The settings with `api_key` read from each `api_key_file`."""
    upstreams = dict(settings.upstream)
    problems: list[Problem] = []
    for name, upstream in settings.upstream.items():
        if upstream.api_key_file is not None:
            key = _read_secret(upstream.api_key_file, problems, "upstream", name, "api_key_file")
            upstreams[name] = upstream.model_copy(update={"api_key": key})
    return settings.model_copy(update={"upstream": upstreams}), problems


def _with_token_file(settings: Settings) -> tuple[Settings, list[Problem]]:
    """The settings with `token` read from `token_file`."""
    serve, problems = settings.serve, list[Problem]()
    if serve.token_file is not None:
        serve = serve.model_copy(update={"token": _read_secret(serve.token_file, problems, "serve", "token_file")})
    return settings.model_copy(update={"serve": serve}), problems


def _read_secret(path: Path, problems: list[Problem], *keys: str) -> SecretStr | None:
    """What is in a file; None, and one problem more, where that cannot be read."""
    try:
        return _read_key(path)
    except (OSError, ValueError) as error:
        # The path is left out: people paste the key itself here.
        reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
        problems.append(Problem(keys, f"must name a file with the key in it, but that {reason}"))
        return None


def _read_key(path: Path) -> SecretStr:
    """The key in a file, without the blanks around it. Raises OSError, or ValueError that goes on from "that file"."""
    if not S_ISREG(path.stat().st_mode):
        raise ValueError("is not a file")
    with path.open("rb") as file:
        content = file.read(_LARGEST_KEY_FILE + 1)
    if len(content) > _LARGEST_KEY_FILE:
        raise ValueError("is too large for a key")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    return check_key(text)


def _missing_certificates(settings: Settings) -> list[Problem]:
    return [
        Problem(("upstream", name, "ca_file"), f"there is no file {show(str(upstream.ca_file))} that can be read")
        for name, upstream in settings.upstream.items()
        if upstream.ca_file and not (os.path.isfile(upstream.ca_file) and os.access(upstream.ca_file, os.R_OK))
    ]
