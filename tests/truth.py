"""What an upstream has offered over time, and by when a mirror must have noticed: the oracle of the tests by model.

It knows nothing of how the mirror works, only what the documentation promises about time: a change that is dated as it happens is
seen by the next sync; a second one of the same day, once that day is over and six hours more; one that no date tells of, and what
is withdrawn, with the next listing of everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from hashlib import md5
from io import BytesIO
from itertools import groupby
from typing import Any, Generic, TypeVar
from zipfile import ZipFile, ZipInfo

from mirror.demo.body import Pattern
from mirror.demo.catalogue import SampleFile, SampleSub

from .upstream import FakeUpstream, publish, withdraw

T = TypeVar("T")
Subs = tuple[SampleSub, ...]
Files = tuple[SampleFile, ...]
Tables = Mapping[str, Mapping[str, Any]]

FULL_LISTING = timedelta(days=7)
"""`full_listing_every`, as the mirrors under test have it."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _State(Generic[T]):
    """A state of a listing, which came with the change of that number; a mirror must have noticed it by `due`."""

    what: T
    due: datetime
    since: int = 0


class Truth:
    """All that an upstream has offered. Publications go through here, and take effect at once."""

    def __init__(self, upstream: FakeUpstream, clock: Callable[[], datetime]) -> None:
        self._upstream = upstream
        self._clock = clock
        self._listings: dict[str, list[_State[Subs]]] = {}
        self._files: dict[tuple[str, str], list[_State[Files]]] = {}
        self._last_day: dict[str, str] = {}
        self.inside: dict[str, dict[str, str]] = {}
        """What lies in each archive: MD5 by path of its members, by its own MD5."""

        self._made = 0
        self._changes = 0
        self._noticed = 0

    @property
    def now(self) -> datetime:
        """The time on everybody's clock."""
        return self._clock()

    # -- publications

    def publish(self, resource: str, sub: SampleSub, *, silent: bool = False, racing: bool = False) -> SampleSub:
        """Offer a sub-resource, dated today, or in silence without a new date. `racing` says that a sync is under way."""
        now = self._clock()
        today, due = now.date().isoformat(), now
        if silent:
            due = now + FULL_LISTING
        else:
            sub = replace(sub, updated=today)
            if racing or self._last_day.get(resource, "") >= today:
                due = datetime(now.year, now.month, now.day, 6, tzinfo=UTC) + timedelta(days=1)
            self._last_day[resource] = max(today, self._last_day.get(resource, ""))
        self._upstream.catalogue = publish(self._upstream.catalogue, resource, sub)
        self._changes += 1
        self._listings.setdefault(resource, [_State((), _LONG_AGO)]).append(_State(self._subs(resource), due, self._changes))
        self._files.setdefault((resource, sub.id), []).append(_State(sub.files, due, self._changes))
        return sub

    def withdraw(self, resource: str, sub: str | None = None) -> None:
        """Offer a sub-resource, or a whole resource, no longer."""
        due = self._clock() + FULL_LISTING
        for name in [other.id for other in self._subs(resource) if sub in (None, other.id)]:
            self._hide(self._files[resource, name], due)
        self._upstream.catalogue = withdraw(self._upstream.catalogue, resource, sub)
        self._hide(self._listings[resource], due)
        self._changes += 1
        self._listings[resource].append(_State(self._subs(resource), due, self._changes))

    def _hide(self, states: list[_State[T]], due: datetime) -> None:
        """What no complete run has had a chance to see, and is gone now, no mirror needs to notice."""
        for number, state in enumerate(states):
            if state.since > self._noticed:
                states[number] = replace(state, due=max(state.due, due))

    def noticed(self) -> None:
        """A run was complete: it has seen all that could be seen."""
        self._noticed = self._changes

    def file(self, name: str, size: int, **facts: Any) -> SampleFile:
        """A file whose bytes there have never been before."""
        self._made += 1
        return SampleFile(name, Pattern(size, f"{name} #{self._made}"), **facts)

    def archive(self, name: str, **facts: Any) -> SampleFile:
        """A zip archive whose bytes there have never been before, and what lies in it."""
        self._made += 1
        members = {"layer/data.gpkg": f"{name} #{self._made}".encode() * 9, "readme.txt": b"read me"}
        buffer = BytesIO()
        with ZipFile(buffer, "w") as archive:
            for member, content in members.items():
                archive.writestr(ZipInfo(member), content)
        file = SampleFile(name, buffer.getvalue(), **facts)
        self.inside[file.body.md5()] = {
            member: md5(content, usedforsecurity=False).hexdigest() for member, content in members.items()
        }
        return file

    def again(self, file: SampleFile, size: int | None = None) -> SampleFile:
        """The same file with other bytes. An archive stays one, of the size that it comes to."""
        if file.name.endswith(".zip"):
            return replace(file, data=self.archive(file.name).data)
        return replace(file, data=self.file(file.name, file.body.size if size is None else size).data)

    # -- what is offered

    @property
    def offered(self) -> list[tuple[str, SampleSub]]:
        """Every sub-resource that is offered now, with its resource."""
        return [(resource.id, sub) for resource in self._upstream.catalogue.listed for sub in resource.listed]

    @property
    def ever_offered(self) -> Iterable[tuple[str, str]]:
        """Resource and id of every sub-resource that was ever offered."""
        return self._files.keys()

    def _subs(self, resource: str) -> Subs:
        found = self._upstream.catalogue.resource(resource)
        return found.listed if found else ()

    def generations(self, path: str) -> set[str]:
        """The MD5 of everything that was ever offered under a path below `data/UPSTREAM`."""
        resource, sub, name = path.split("/")
        return {
            file.body.md5()
            for state in self._files.get((resource, sub), ())
            for file in state.what
            if file.name == name and file is next(other for other in state.what if other.name == name)
        }

    def states(self, resource: str, sub: str) -> Iterator[dict[str, str]]:
        """Every state that the files of a sub-resource ever had: MD5 by name."""
        for state in self._files.get((resource, sub), ()):
            yield {file.name: file.body.md5() for file in reversed(state.what)}  # of a name listed twice the first is served

    def was_ever_unwanted(self, tables: Tables, resource: str, sub_id: str) -> bool:
        """Whether there was a listing by which nobody wants a sub-resource."""
        return any(sub_id not in {sub.id for sub, _ in wanted(tables, resource, state.what)} for state in self._listings[resource])

    def surely_wanted(self, tables: Tables) -> Iterator[tuple[str, str]]:
        """The sub-resources, by resource and id, that are wanted by whichever state of the listings a mirror may know."""
        for resource, states in self._listings.items():
            ids = [{sub.id for sub, _ in wanted(tables, resource, subs)} for subs in self._possible(states)]
            for sub_id in set.intersection(*ids):
                yield resource, sub_id

    # -- what a mirror must have

    def may_be_missing(self, tables: Tables, tree: Mapping[str, str]) -> tuple[set[int], list[str]]:
        """How many files may be wanted now, and what of them is not in `tree` though a mirror that calls itself complete has it.

        There are several numbers where changes were made that a mirror need not have noticed yet.
        """
        numbers, missing = {0}, []
        for resource, states in self._listings.items():
            found: set[int] = set()
            closest: list[str] | None = None
            for subs in self._possible(states):
                count, lacking = self._of_listing(tables, resource, subs, tree)
                if not lacking:
                    found |= count
                if closest is None or len(lacking) < len(closest):
                    closest = lacking
            missing += closest or []
            numbers = {number + one for number in numbers for one in found or {0}}
        return numbers, missing

    def _of_listing(self, tables: Tables, resource: str, subs: Subs, tree: Mapping[str, str]) -> tuple[set[int], list[str]]:
        numbers, missing = {0}, []
        for sub, globs in wanted(tables, resource, subs):
            found = set()
            lacking: list[str] = []
            for files in self._possible(self._files[resource, sub.id]):
                names = [file.name for file in files if matches(file.name, globs)]
                lacking = [
                    f"{resource}/{sub.id}/{file.name}"
                    for file in files
                    if matches(file.name, globs)
                    and (
                        not can_be_had(file)
                        or names.count(file.name) > 1
                        or tree.get(f"{resource}/{sub.id}/{file.name}") != file.body.md5()
                    )
                ]
                if not lacking:
                    found.add(len(names))
            missing += lacking if not found else []
            numbers = {number + one for number in numbers for one in found or {0}}
        return numbers, missing

    def _possible(self, states: Sequence[_State[T]]) -> list[T]:
        """The states that a mirror may take for the present one: the last that it must know, and all after it."""
        now = self._clock()
        known = max((number for number, state in enumerate(states) if state.due <= now), default=0)
        return [state.what for state in states[known:]]


def can_be_had(file: SampleFile) -> bool:
    """Whether what is served is what is listed, under a name that can be kept."""
    return (
        file.stated_md5 in (None, file.body.md5())
        and file.stated_size in (None, file.body.size)
        and not file.name.startswith(".")
        and "\\" not in file.name
    )


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether a file is wanted; no globs want all."""
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def wanted(tables: Tables, resource: str, subs: Iterable[SampleSub]) -> list[tuple[SampleSub, tuple[str, ...]]]:
    """Which of the sub-resources that are listed the subscriptions want, with the globs of what they want of them.

    Of a subscription it understands `resources` (whole ids or `*`), `zones` (codes), `files` and `edition`.
    """
    found: dict[str, tuple[SampleSub, list[tuple[str, ...]]]] = {}
    for table in tables.values():
        hits = [sub for sub in subs if governs(table, resource, sub.id)]
        for sub in _newest(hits, table.get("edition", "latest")):
            found.setdefault(sub.id, (sub, []))[1].append(tuple(table.get("files", ())))
    return [(sub, () if () in globs else tuple(sorted({glob for part in globs for glob in part}))) for sub, globs in found.values()]


def governs(table: Mapping[str, Any], resource: str, sub_id: str) -> bool:
    """Whether a sub-resource passes the filters of a subscription, whatever its edition. Ids have their zone in them."""
    zones = table.get("zones")
    return bool({resource, "*"} & set(table["resources"])) and (not zones or any(f"_{zone}_" in sub_id for zone in zones))


def _newest(subs: Iterable[SampleSub], edition: str | int) -> list[SampleSub]:
    if edition == "all":
        return list(subs)
    count = 1 if edition == "latest" else int(edition)
    in_order = sorted(subs, key=lambda sub: (series_of(sub), sub.edition_date or ""))
    return [sub for _, group in groupby(in_order, key=series_of) for sub in list(group)[-count:]]


def series_of(sub: SampleSub) -> str:
    """What the editions of a sub-resource have in common; ids end in the day of their edition."""
    return sub.id.rpartition("_")[0]
