"""What a run shows while it runs: bars on a terminal, lines elsewhere. Both only read the stream of events, and write to stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

from mirror.amounts import count_text, size_text
from mirror.cli.render import clean
from mirror.events import (
    Checked,
    Checking,
    Chunk,
    Event,
    Failed,
    FileKey,
    Listed,
    ListingFailed,
    ListingStarted,
    Note,
    NotUnpacked,
    Planned,
    Published,
    Requested,
    Restarted,
    Retrying,
    TransferStarted,
    Unpacked,
    Verified,
    Walled,
    Withdrawn,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_KINDS = {"first": "everything, for the first time", "full": "everything", "changes": "changes"}


def message(event: Event, verbose: int = 0) -> str | None:
    """The log line of an event; None where it is not worth one at this verbosity."""
    line = _always(event) or (verbose and _verbose(event)) or (verbose > 1 and _debug(event)) or None
    return clean(line) if line else None


def _always(event: Event) -> str | None:
    match event:
        case ListingStarted(upstream, kind):
            return f"{upstream}: listing {_KINDS[kind]}"
        case Planned(add, replace, keep, size):
            return f"plan: {add:,} to add, {replace:,} to replace, {keep:,} to keep; {size_text(size)} to fetch"
        case Walled(upstream, status, seconds, rate):
            return f"{upstream}: HTTP {status}: told to wait {seconds:.0f} s; all workers wait, then go on at {rate:g} requests/s"
        case ListingFailed(upstream, what, _, reason, _):
            return f"{upstream}: {what} cannot be listed: {reason}"
        case Failed(key, _, reason, attempts):
            return f"parked {key}: {reason} ({count_text(attempts, 'attempt')})" if attempts else f"{key}: {reason}"
        case NotUnpacked(key, _, reason):
            return f"not unpacked: {key.resource}/{key.sub_resource}: {reason}"
        case Withdrawn(upstream, resource, sub_resource):
            return f"{upstream}: {resource}/{sub_resource} is no longer listed; kept here"
        case Note(text, "warning"):
            return f"warning: {text}"
        case _:
            return None


def _verbose(event: Event) -> str | None:
    match event:
        case Listed(_, level, what, entries):
            return f"listed {what}: {count_text(entries, level.removesuffix('s').replace('_', '-'))}"
        case Published(key, size, action):
            return f"published {key} ({size_text(size)}, {action})"
        case Unpacked(key, files, size):
            return f"unpacked {key.resource}/{key.sub_resource}: {count_text(files, 'file')}, {size_text(size)}"
        case Retrying(_, what, reason, attempt, wait):
            return f"retrying {what} in {wait:.1f} s: {reason} (attempt {attempt})"
        case Restarted(key, reason):
            return f"from zero again {key}: {reason}"
        case TransferStarted(key, size, offset) if offset:
            return f"resuming {key} at {size_text(offset)} of {size_text(size)}"
        case Checking(files, size):
            return f"checking {count_text(files, 'file')}, {size_text(size)}"
        case Note(text, "info"):
            return text
        case _:
            return None


def _debug(event: Event) -> str | None:
    match event:
        case Requested(_, url):
            return f"GET {url}"
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

    def __init__(self, verbose: int = 0, *, quiet: bool = False) -> None:
        self._verbose = verbose
        self._quiet = quiet

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._quiet and not isinstance(event, Failed | ListingFailed | NotUnpacked | Walled) and not _is_warning(event):
            return
        if line := message(event, self._verbose):
            click.echo(line, err=True)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass


def _is_warning(event: Event) -> bool:
    return isinstance(event, Note) and event.level == "warning"


class Bars:
    """A bar for the whole run and one for each transfer, with lines above them."""

    def __init__(self, verbose: int = 0) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.table import Column

        self._verbose = verbose
        self._progress: Progress = Progress(
            TextColumn("{task.description}", table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[files]}"),
            console=Console(stderr=True),
            expand=True,
            transient=True,
        )
        self._total: TaskID | None = None
        self._listing: TaskID | None = None
        self._listed = 0
        self._files = self._done = 0
        self._bars: dict[FileKey, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if line := message(event, self._verbose):
            self._progress.console.print(line, markup=False, highlight=False)
        match event:
            case ListingStarted(upstream, _):
                if self._listing is None:
                    self._listing = self._progress.add_task(f"listing {upstream}", total=None, files="")
            case Listed(upstream, level, what, entries):
                self._listed += entries
                if self._listing is not None:
                    where = upstream if level == "resources" else clean(what)  # resources are listed by an address
                    self._progress.update(self._listing, description=f"listing {where}", files=f"{self._listed:,} entries")
            case Planned(add, replace, _, size):
                if self._listing is not None:
                    self._progress.remove_task(self._listing)
                    self._listing = None
                self._files = add + replace
                if self._files:
                    self._total = self._progress.add_task("all files", total=size, files=self._count())
            case TransferStarted(key, size, offset):
                name = clean(key.file)
                name = f"…{name[-39:]}" if len(name) > 40 else name  # names of one sub-resource differ at the end
                self._bars[key] = self._progress.add_task(name, total=size, completed=offset, files="")
                self._advance(offset)
            case Chunk(key, size):
                if key in self._bars:
                    self._progress.advance(self._bars[key], size)
                self._advance(size)
            case Restarted(key, _):
                if key in self._bars:
                    self._advance(-int(self._progress.tasks[self._progress.task_ids.index(self._bars[key])].completed))
                    self._progress.reset(self._bars[key])
            case Verified(key, _, _) | Failed(key, _, _, _):
                if key in self._bars:
                    self._progress.remove_task(self._bars.pop(key))
            case Checking(files, size):
                self._files = files
                self._total = self._progress.add_task("checking", total=size, files=self._count())
            case Checked(size):
                self._done += 1
                self._advance(size)
                if self._total is not None:
                    self._progress.update(self._total, files=self._count())
            case Published():
                self._done += 1
                if self._total is not None:
                    self._progress.update(self._total, files=self._count())

    def _advance(self, size: int) -> None:
        if self._total is not None:
            self._progress.advance(self._total, size)

    def _count(self) -> str:
        return f"{self._done:,}/{self._files:,} files"


def watcher(verbose: int, *, quiet: bool, as_json: bool) -> Lines | Bars:
    """Bars on a terminal, lines elsewhere; nothing but trouble if quiet."""
    if sys.stderr.isatty() and not quiet and not as_json:
        return Bars(verbose)
    return Lines(verbose, quiet=quiet)
