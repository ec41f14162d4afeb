"""The manual page inspire-mirror(1), made of what the command line knows about itself, and of a few sections that it does not.

One page for all commands, as people search within a page. Run with the interpreter of an installation; prints roff, with no macros
but those of man(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from mirror.cli.app import cli
from mirror.version import __version__

_FILES = """\
/etc/inspire-mirror/inspire-mirror.toml|The config, where neither -c nor INSPIRE_MIRROR_CONFIG names one and there is none in the \
working folder.
/var/lib/inspire-mirror|The mirror, as the packaged config and units have it: data/, extracted/, current/, index.sqlite.
/run/inspire-mirror/control.sock|Where commands find the service. Its user and group may open it.
share/inspire-mirror, lib/inspire-mirror/hooks|Below /usr/local or /usr: example configs; commands for on_publish and the like."""

_ENVIRONMENT = """\
INSPIRE_MIRROR_CONFIG|The config file, where -c names none.
INSPIRE_MIRROR_TABLE__KEY|The value of any key of the config, which it takes the place of: INSPIRE_MIRROR_ROOT, \
INSPIRE_MIRROR_LIMITS__MIN_FREE, INSPIRE_MIRROR_UPSTREAM__NAME__API_KEY_FILE.
HTTPS_PROXY, HTTP_PROXY, NO_PROXY|The proxy.
NO_COLOR|Set to anything: no colours."""

_EXIT_CODES = """\
0|Done, and the mirror is complete for what was asked.
1|Progress, but incomplete: some files failed or are parked; or verify found faults.
2|Bad usage, config or index; nothing was done.
3|Another run holds the lock.
4|A guard refused: disk space, a listing that has shrunk, the limits of prune. Nothing was changed by what it refused.
5|The upstream is unavailable; the mirror is as it was.
130|Interrupted; what was fetched is kept."""

_SEE_ALSO = "systemctl(1), journalctl(1), systemd.timer(5); the pages beside this one, in share/doc/inspire-mirror"


def page() -> str:
    """The whole page."""
    context = click.Context(cli, info_name="inspire-mirror")
    lines = [
        f'.TH INSPIRE-MIRROR 1 "" "inspire-mirror {__version__}" "User Commands"',
        ".SH NAME",
        r"inspire-mirror \- mirror INSPIRE Atom download services",
        ".SH SYNOPSIS",
        *_synopsis("inspire-mirror", "[-c FILE] [-v | -q] COMMAND [ARGUMENTS]"),
        ".SH DESCRIPTION",
        *_prose(cli.help or ""),
        ".SH OPTIONS",
        "They stand before the command.",
        *_options(cli, context),
        ".SH COMMANDS",
        "NAME is a subscription of the config; none means all.",
    ]
    for name, command in commands(cli, context):
        lines += [f".SS {_text(name)}", *_synopsis(f"inspire-mirror {name}", " ".join(command.collect_usage_pieces(context)))]
        lines += [".PP", *_prose(command.help or "")]
        lines += _options(command, context)
    for heading, rows in (("EXIT STATUS", _EXIT_CODES), ("FILES", _FILES), ("ENVIRONMENT", _ENVIRONMENT)):
        lines.append(f".SH {heading}" if " " not in heading else f'.SH "{heading}"')
        for row in rows.splitlines():
            term, _, meaning = row.partition("|")
            lines += [".TP", _bold(term), _text(meaning)]
    return "\n".join([*lines, '.SH "SEE ALSO"', _text(_SEE_ALSO), ""])


def commands(group: click.Group, context: click.Context, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command that can be called, by the words that call it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, context, f"{before}{name} ")
        elif command is not None and not command.hidden:
            yield before + name, command


def _synopsis(name: str, rest: str) -> list[str]:
    return [".PP", f"{_bold(name)} {_text(rest)}"]


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for option in command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None:
            spelt, meaning = record
            yield from (".TP", _bold(spelt), _text(meaning))


def _prose(help_text: str) -> Iterator[str]:
    """Paragraphs of a help text; those marked with \\b keep their lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", "\n".join(line.strip() for line in help_text.strip().splitlines()))):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            verbatim = help_text_lines(paragraph)
            yield from (".nf", *verbatim, ".fi")
        else:
            yield _text(" ".join(paragraph.split()))


def help_text_lines(paragraph: str) -> list[str]:
    """The lines of a paragraph that keeps them, but for its mark."""
    return [_text(line) for line in paragraph.lstrip("\b").strip("\n").splitlines()]


def _bold(text: str) -> str:
    return rf"\fB{_escape(text)}\fP"


def _text(text: str) -> str:
    """A line of text: nothing in it is taken for a request, and code is set apart."""
    line = re.sub(r"`([^`]*)`", lambda found: rf"\fB{found[1]}\fP", _escape(text))
    return rf"\&{line}" if line.startswith((".", "'")) else line


def _escape(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti").replace("^", r"\(ha")


if __name__ == "__main__":
    print(page(), end="")
