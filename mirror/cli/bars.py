"""Bars on a terminal: one for the whole run, one for each transfer, with lines above them."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from mirror.amounts import count_text, size_text
from mirror.cli.progress import message
from mirror.cli.render import clean, shorten
from mirror.events import (
    Checked,
    Checking,
    Chunk,
    Event,
    Failed,
    FileKey,
    Listed,
    ListingStarted,
    Planned,
    Published,
    Restarted,
    TransferStarted,
    Verified,
)
from mirror.language import ENGLISH, Language
from mirror.phrases import phrase, plural

_ROOM = 46  # columns for a bar and what is told beside it
_LONGEST = 72  # of a name

_BYTES, _HASHED, _LOOKED_AT = "bytes", "hashed", "looked at"
"""What a row counts: bytes that come at some speed; bytes of files that are told when each is done; sizes only."""


class _Told(ProgressColumn):
    """What is told of a row, in one column at its end: a listing has entries, and no bytes that columns of rich would count."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        if not unit:
            return Text(task.fields["said"])
        done = size_text(int(task.completed))
        told = [f"{done} of {size_text(int(task.total))}" if task.total is not None else done]
        # Files are told one by one, when they are done: over a moment that is no speed, over all the time it is.
        speed = task.speed if unit == _BYTES else task.completed / task.elapsed if task.elapsed else None
        if unit != _LOOKED_AT and speed:
            told.append(f"{size_text(int(speed))}/s")
            if task.total is not None:
                told.append(str(timedelta(seconds=int(max(0, task.total - task.completed) / speed))))
        return Text("  ".join(told))


class Bars:
    """A bar for the whole run and one for each transfer, with lines above them."""

    def __init__(self, verbose: int = 0, language: Language = ENGLISH) -> None:
        self._verbose = verbose
        self._language = language
        console = Console(stderr=True)
        self._name_width = max(20, min(_LONGEST, console.width - _ROOM))
        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            _Told(table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
            transient=True,
        )
        self._total: TaskID | None = None
        self._listing: TaskID | None = None
        self._listed = 0
        self._files = self._done = 0
        self._what = ""
        self._bars: dict[FileKey, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if line := message(event, self._verbose, self._language):
            self._progress.console.print(line, markup=False, highlight=False)
        match event:
            case ListingStarted(upstream, _):
                if self._listing is None:
                    self._listing = self._add(self._listing_of(upstream), None, said="")
            case Listed(upstream, level, what, entries):
                self._listed += entries
                if self._listing is not None:
                    where = upstream if level == "resources" else clean(what)  # resources are listed by an address
                    label = self._label(self._listing_of(where))
                    said = self._language.put(plural(self._listed, "{n} entry", "{n} entries"))
                    self._progress.update(self._listing, description=label, said=said)
            case Planned(add, replace, _, size):
                if self._listing is not None:
                    self._progress.remove_task(self._listing)
                    self._listing = None
                self._files, self._done, self._what = add + replace, 0, ""
                if self._total is not None:  # of the verification that this run repairs after
                    self._progress.remove_task(self._total)
                    self._total = None
                if self._files:
                    self._total = self._add(self._count(), size, unit=_BYTES)
            case TransferStarted(key, size, offset):
                self._bars[key] = self._add(key.file, size, completed=offset, unit=_BYTES)
                self._advance(offset)
            case Chunk(key, size):
                if key in self._bars:
                    self._progress.advance(self._bars[key], size)
                self._advance(size)
            case Restarted(key, _):
                if key in self._bars:
                    self._advance(-int(self._progress.tasks[self._progress.task_ids.index(self._bars[key])].completed))
                    self._progress.reset(self._bars[key])
            case Failed(key, _, _, _):
                self._remove(key)
            case Verified(key, _, _):
                self._remove(key)
                self._finish_one()
            case Checking(files, size, hashed):
                self._files, self._done = files, 0
                self._what = "hashed " if hashed else "compared "
                unit = _HASHED if hashed else _LOOKED_AT
                self._total = self._add(self._count(), size, unit=unit)
            case Checked(size):
                self._advance(size)
                self._finish_one()
            case Published(_, _, "adopt"):
                self._finish_one()  # it was here and was hashed: nothing was transferred that could have been verified

    def _add(self, label: str, total: int | None, *, completed: int = 0, said: str = "", unit: str = "") -> TaskID:
        return self._progress.add_task(self._label(label), total=total, completed=completed, said=said, unit=unit)

    def _listing_of(self, what: str) -> str:
        return self._language.put(phrase("listing {what}", what=what))

    def _label(self, text: str) -> str:
        return shorten(clean(text), self._name_width)

    def _remove(self, key: FileKey) -> None:
        if key in self._bars:
            self._progress.remove_task(self._bars.pop(key))

    def _finish_one(self) -> None:
        self._done += 1
        if self._total is not None:
            self._progress.update(self._total, description=self._label(self._count()))

    def _advance(self, size: int) -> None:
        if self._total is not None:
            self._progress.advance(self._total, size)

    def _count(self) -> str:
        return f"{self._what}{self._done:,} of {count_text(self._files, 'file')}"
