"""The command line: global options, errors to exit codes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import update_wrapper
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from mirror.errors import MirrorError
from mirror.version import __version__

if TYPE_CHECKING:
    from mirror.cli.bars import Bars
    from mirror.cli.logs import Level, Log, Style
    from mirror.cli.progress import Lines
    from mirror.language import Language
    from mirror.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """The global options of a call."""

    config: Path | None = None
    verbose: int = 0
    quiet: bool = False
    log: Style = "auto"

    def watcher(self, *, bars: bool = True, language: Language | None = None) -> Lines | Bars | Log:
        """Who shows what a run does, as these options ask for it; without `bars` as lines, on a terminal too."""
        from mirror.cli.progress import watcher
        from mirror.language import ENGLISH

        return watcher(self.verbose, quiet=self.quiet, log=self.log, bars=bars, language=language or ENGLISH)

    def language(self) -> Language:
        """What whoever started the command reads: for the commands that speak more than English."""
        from mirror.language import preferred, wishes_of_environment

        return preferred(wishes_of_environment(os.environ))

    def settings(self, *, offline: bool = False, serving: bool = False) -> Settings:
        """The settings of the config in effect; those that hold secrets as `load` reads them. Raises ConfigError."""
        from mirror.settings import load_found

        return load_found(self.config, os.environ, Path.cwd(), offline=offline, serving=serving)[0]

    def settings_to_browse(self) -> Settings | None:
        """The settings in effect for what keeps nothing and so needs no root; None without config. Raises ConfigError."""
        from mirror.settings import config_is_given, load_found

        if not config_is_given(self.config, os.environ, Path.cwd()):
            return None
        return load_found(self.config, os.environ, Path.cwd(), defaults={"root": "."})[0]


_COMMANDS = {
    "init": "configure",
    "config": "configure",
    "catalog": "catalog",
    "plan": "runs",
    "sync": "runs",
    "query": "ask",
    "status": "ask",
    "verify": "runs",
    "prune": "prune",
    "serve": "service",
    "run": "service",
    "demo": "demo",
}
"""The module of each command, in the order of a first use."""


class Commands(click.Group):
    """Loads a command when it is asked for; lists them in the order of a first use, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, if there is one."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"mirror.cli.commands.{_COMMANDS[cmd_name]}"), cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name; an unknown one is an error that names the nearest."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0].lower(), _COMMANDS, 1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done and complete, 1 incomplete or faults found, 2 bad usage, config or index, 3 another run "
    "holds the lock, 4 a guard refused, 5 upstream unavailable, 130 interrupted.",
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="Config file. Default: $INSPIRE_MIRROR_CONFIG, ./inspire-mirror.toml, /etc/inspire-mirror/inspire-mirror.toml.",
)
@click.option("-v", "--verbose", count=True, help="Say more; twice: every request.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.option(
    "--log",
    type=click.Choice(["auto", "lines", "journal", "json"]),
    default="auto",
    help="How to write the log on stderr: lines for people, key=value for journald, JSON. Default: what suits where it goes.",
)
@click.version_option(__version__, prog_name="inspire-mirror")
@click.pass_context
def cli(context: click.Context, config: Path | None, verbose: int, quiet: bool, log: Style) -> None:
    """Mirror INSPIRE Atom download services, verify every byte, and know what you have.

    \b
    inspire-mirror init        write a config to start from
    inspire-mirror plan        see what a sync would fetch, and why
    inspire-mirror sync        fetch, verify, publish, index
    inspire-mirror query       ask what is here
    """
    if verbose and quiet:
        raise click.UsageError("-v and -q exclude one another")
    context.obj = Invocation(config, verbose, quiet, log)


def say(text: str, level: Level = "error", language: Language | None = None) -> None:
    """Tell on stderr what is no event, in the style of the log; to people in their language, where they read that command in it."""
    from mirror.cli.logs import say as tell

    context = click.get_current_context(silent=True)
    invocation = context.find_object(Invocation) if context is not None else None
    tell(text, level, invocation.log if invocation is not None else "auto", language)


pass_invocation = click.make_pass_decorator(Invocation)


def json_option(command: F) -> F:
    """Adds `--json`, which every command has."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there.")(command)


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def print_json_array(items: Iterable[object]) -> None:
    """One JSON array on stdout, written item by item: millions of files need not fit into memory."""
    from mirror.store.written import json_array

    for piece in json_array(items):
        click.echo(piece, nl=False)


def finish(code: int) -> NoReturn:
    """End the command with an exit code, which an interrupt can no longer change."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_stdout()
    except OSError as error:
        _give_up_stdout()
        click.echo(f"inspire-mirror: cannot write the output: {error.strerror}", err=True)
        code = code or 1
    sys.exit(code)


def _give_up_stdout() -> None:
    """Send what is left to nowhere: Python would else complain, at its very end, that it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turns the errors that we raise on purpose into one clear message and their exit code; with `--json` also into a document."""

    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except MirrorError as error:
            if kwargs.get("as_json"):
                print_json({"error": str(error), "exit_code": error.exit_code})
            for line in str(error).splitlines() or ["unknown error"]:
                say(line)
            finish(error.exit_code)
        except BrokenPipeError:
            # The reader of a pipe (head, less) has gone: nothing more to say, to nobody.
            _give_up_stdout()
            finish(0)
        except (OSError, sqlite3.Error) as error:
            with suppress(OSError):  # it may be stdout that cannot be written
                if kwargs.get("as_json"):
                    print_json({"error": str(error), "exit_code": 1})
            say(str(error))
            finish(1)
        except KeyboardInterrupt:
            if kwargs.get("as_json"):
                print_json({"error": "interrupted", "exit_code": 130})
            finish(130)

    return update_wrapper(wrapped, command)


def _show(error: click.ClickException) -> None:
    from mirror.cli.logs import goes_to_journal

    if goes_to_journal(os.environ):
        say(error.format_message())
    else:
        error.show()


_GLOBAL = ("-c", "--config", "-v", "-vv", "--verbose", "-q", "--quiet", "--log", "--version")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point of the command `inspire-mirror`."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        finish(cli.main(args=given, prog_name="inspire-mirror", standalone_mode=False) or 0)
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name in _GLOBAL:
            hint = f"It is a global option: inspire-mirror {error.option_name} COMMAND."
            error = click.UsageError(f"{error.format_message()} {hint}", error.ctx)
        if "--json" in given:
            print_json({"error": error.format_message(), "exit_code": error.exit_code})
        _show(error)
        finish(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        # As early as this nothing has been begun.
        if "--json" in given:
            print_json({"error": "interrupted", "exit_code": 130})
        finish(130)
