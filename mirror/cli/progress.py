"""What a run shows while it runs: bars on a terminal, lines elsewhere. Both only read the stream of events, and write to stderr."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

from mirror.amounts import count_text, size_text
from mirror.cli.render import clean, one_line, show, time_text
from mirror.events import (
    Answered,
    Checking,
    Event,
    Failed,
    HookDone,
    HookFailed,
    HookStarted,
    Listed,
    ListingFailed,
    ListingRefused,
    ListingStarted,
    Note,
    NotUnpacked,
    Planned,
    Published,
    Requested,
    Restarted,
    Retrying,
    RunBegan,
    RunEnded,
    SetBack,
    TransferStarted,
    Unpacked,
    Verified,
    Waiting,
    Walled,
    Withdrawn,
)
from mirror.language import ENGLISH, Language
from mirror.phrases import phrase, plural
from mirror.phrases import seconds as seconds_of

if TYPE_CHECKING:
    from mirror.cli.bars import Bars
    from mirror.cli.logs import Log, Style

_KINDS = {
    "first": phrase("everything, for the first time"),
    "full": phrase("everything"),
    "changes": phrase("changes"),
}


def message(event: Event, verbose: int = 0, language: Language = ENGLISH) -> str | None:
    """The log line of an event; None where it is not worth one at this verbosity. What a plan tells knows other languages too."""
    line = _always(event) or (verbose and _verbose(event)) or (verbose > 1 and _debug(event)) or None
    return clean(language.put(line)) if line else None


def _always(event: Event) -> str | None:
    match event:
        case ListingStarted(upstream, kind):
            return phrase("{upstream}: listing {kind}", upstream=upstream, kind=_KINDS[kind])
        case Waiting(holder):
            return f"waiting for the run of pid {holder} to end"
        case Planned(add, replace, keep, size):
            return f"plan: {add:,} to add, {replace:,} to replace, {keep:,} to keep; {size_text(size)} to fetch"
        case Walled(upstream, status, seconds, rate):
            return phrase(
                "{upstream}: HTTP {status}: told to wait {seconds} s; all workers wait, then go on at {rate} requests/s",
                upstream=upstream,
                status=str(status),
                seconds=f"{seconds:.0f}",
                rate=f"{rate:g}",
            )
        case ListingFailed(upstream, what, _, reason, _):
            return phrase("{upstream}: {what} cannot be listed: {reason}", upstream=upstream, what=what, reason=reason)
        case ListingRefused(_, _, _, reason):
            return phrase("refused: {reason}", reason=reason)
        case Failed(key, _, reason, attempts):
            return f"parked {key}: {reason} ({count_text(attempts, 'attempt')})" if attempts else f"{key}: {reason}"
        case NotUnpacked(key, _, reason):
            return f"not unpacked: {key.resource}/{key.sub_resource}: {reason}"
        case HookStarted(key, _):
            return f"running {key}"
        case HookFailed(key, reason, attempt, next_try):
            again = f"next try {time_text(next_try)}" if next_try else "given up until the next publication or sync --retry"
            return f"{key} failed: {one_line(reason)} ({count_text(attempt, 'attempt')}; {again})"
        case Withdrawn(upstream, resource, sub_resource):
            return f"{upstream}: {resource}/{sub_resource} is no longer listed; kept here"
        case Retrying(upstream, what, reason, 3, _) if "://" in what:
            # A page, not a file: nothing else is said meanwhile, and it may go on for a minute.
            return phrase("{upstream} does not answer as it should: {reason}; still trying", upstream=upstream, reason=reason)
        case Note(text, "warning"):
            return phrase("warning: {text}", text=text)
        case Note(text, "notice"):
            return text
        case RunBegan(names, origin):
            return f"syncing {', '.join(names)}, {'by schedule' if origin == 'schedule' else 'as a command asked'}"
        case RunEnded(names, outcome, reason, seconds, files, size):
            done = f"{count_text(files, 'file')} published, {size_text(size)} fetched"
            return f"{outcome} after {seconds:.0f} s: {', '.join(names)}; {done}" + (f": {reason}" if reason else "")
        case _:
            return None


def _verbose(event: Event) -> str | None:
    match event:
        case Listed(_, level, what, entries):
            return phrase("listed {what}: {entries}", what=what, entries=_entries(level, entries))
        case Published(key, size, action):
            return f"published {key} ({size_text(size)}, {action})"
        case Unpacked(key, files, size):
            return f"unpacked {key.resource}/{key.sub_resource}: {count_text(files, 'file')}, {size_text(size)}"
        case HookDone(key, seconds, output):
            return f"{key} done in {seconds:.1f} s" + (f": {one_line(output)}" if output else "")
        case Retrying(_, what, reason, attempt, wait):
            return phrase(
                "retrying {what} in {wait}: {reason} (attempt {n})", what=what, wait=seconds_of(wait), reason=reason, n=attempt
            )
        case Restarted(key, reason):
            return f"from zero again {key}: {reason}"
        case SetBack(key, reason):
            return f"later in this run {key}: {reason}"
        case TransferStarted(key, size, offset) if offset:
            return f"resuming {key} at {size_text(offset)} of {size_text(size)}"
        case Checking(files, size):
            return f"checking {count_text(files, 'file')}, {size_text(size)}"
        case Note(text, "info"):
            return text
        case _:
            return None


def _entries(level: str, count: int) -> str:
    match level:
        case "resources":
            return plural(count, "{n} resource", "{n} resources")
        case "sub_resources":
            return plural(count, "{n} sub-resource", "{n} sub-resources")
        case _:
            return plural(count, "{n} file", "{n} files")


def _debug(event: Event) -> str | None:
    match event:
        case Requested(_, url):
            return f"GET {url}"
        case Answered(upstream, status, seconds, _, _):
            return f"{upstream}: {f'HTTP {status}' if status else 'no answer'} after {seconds:.3f} s"
        case TransferStarted(key, size, _):
            return f"fetching {key} ({size_text(size)})"
        case Verified(key, _, _):
            return f"verified {key}"
        case Note(text, _):
            return text
        case _:
            return None


class Lines:
    """One line per event on stderr, for logs and pipes; `quiet` leaves only what went wrong."""

    def __init__(self, verbose: int = 0, *, quiet: bool = False, language: Language = ENGLISH, times: bool = False) -> None:
        """With `times` each line begins with the moment, for a log that is read long afterwards."""
        self._times = times
        self._verbose = verbose
        self._language = language
        self._quiet = quiet

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._quiet and not is_shown_if_quiet(event):
            return
        if line := message(event, self._verbose, self._language):
            show(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z} {line}" if self._times else line, err=True)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass


def is_shown_if_quiet(event: Event) -> bool:
    """Whether an event is trouble."""
    if isinstance(event, Note):
        return event.level == "warning"
    return isinstance(event, Failed | HookFailed | ListingFailed | ListingRefused | NotUnpacked | Walled)


def watcher(
    verbose: int, *, quiet: bool, log: Style = "auto", bars: bool = True, language: Language = ENGLISH
) -> Lines | Bars | Log:
    """What `--log` asks for; `auto` is bars on a terminal, and elsewhere what suits where stderr goes. Only trouble if quiet.

    Without `bars` a terminal gets lines too, and a file gets lines with their moments. People are spoken to in their
    `language`.
    """
    from mirror.cli.logs import Log, style_in_effect

    style = style_in_effect(log, os.environ)
    if style != "lines":
        return Log(style, verbose, quiet=quiet)
    if bars and log == "auto" and sys.stderr.isatty() and not quiet:
        from mirror.cli.bars import Bars

        return Bars(verbose, language)
    return Lines(verbose, quiet=quiet, language=language, times=not bars and not sys.stderr.isatty())
