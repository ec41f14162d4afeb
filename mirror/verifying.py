"""Does the tree hold what the index says? Sizes at once, hashes on demand; what is wrong can be set aside and fetched again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from mirror.errors import GuardRefused, IndexDamaged, IndexMissing, IndexUnusable, Locked
from mirror.events import Checked, Checking, Emit, FileKey, Note
from mirror.settings import Settings
from mirror.steps import step
from mirror.store.holdings import Held, Holdings, held_files
from mirror.store.index import FILE, BrokenRow, Index, connect_reader, find_damage, is_damage, why_unusable
from mirror.store.journal import Journal
from mirror.store.rescue import set_aside
from mirror.store.tree import Folder, Tree
from mirror.sync import Clock, Report, hold_lock, sync, utc_now, wishes_of
from mirror.sync.reconcile import reconcile
from mirror.transfer.receive import hash_file

_AHEAD = 32  # files handed to the hashing threads before the first answer is waited for


@dataclass(frozen=True, slots=True)
class Fault:
    """A published file that is not as it was published. `path` is where it is, or should be."""

    upstream: str
    resource: str
    sub_resource: str
    file: str
    path: str
    problem: str
    repaired: bool = False


@dataclass(slots=True)
class Findings:
    """What a verification found. `foreign` are files in the tree that the index does not know: reported, never touched."""

    files: int = 0
    bytes: int = 0
    hashed: bool = False
    rebuilt: bool = False
    """The index was missing or damaged, and was made anew by the sync in `repair`."""
    faults: list[Fault] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    repair: Report | None = None

    @property
    def exit_code(self) -> int:
        """0 if the mirror is now as it should be, else 1; that of the sync that was to repair it, if it was interrupted, or had to
        rebuild the index and could not.
        """
        if self.repair is not None and (self.rebuilt or self.repair.outcome == "interrupted") and self.repair.exit_code:
            return self.repair.exit_code
        return int(any(not fault.repaired for fault in self.faults))

    def as_json(self) -> dict[str, Any]:
        """The document of `verify --json`."""
        return {
            "outcome": "interrupted" if self.exit_code == 130 else "faults" if self.exit_code else "complete",
            "exit_code": self.exit_code,
            "files": self.files,
            "bytes": self.bytes,
            "hashed": self.hashed,
            "rebuilt": self.rebuilt,
            "faults": [
                {
                    "upstream": f.upstream,
                    "resource": f.resource,
                    "sub_resource": f.sub_resource,
                    "file": f.file,
                    "path": f.path,
                    "problem": f.problem,
                    "repaired": f.repaired,
                }
                for f in self.faults
            ],
            "foreign": self.foreign,
            "repair": self.repair.as_json() if self.repair else None,
        }


async def verify(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    full: bool = False,
    repair: bool = False,
    wait: bool = False,
    emit: Emit = lambda event: None,
    now: Clock = utc_now,
) -> Findings:
    """Compare what is published with the index: sizes, or with `full` every hash.

    Without `repair` it needs no lock; what it learns is written down if no other run holds one. With it, wrong files go to
    `.staging/quarantine` and the sub-resources concerned are synced again; an index that is missing beside a tree, or damaged, is
    built anew by a sync of everything, which fetches nothing that is here and known by its MD5. Cancelled, it stops within a block
    of hashing.

    Raises:
        ConfigError: an unknown name.
        Locked: to repair, while another run holds the root and `wait` is false.
        IndexUnusable: there is no index to compare with, or a damaged one, and it is not to be repaired.
        GuardRefused: to repair, where the root cannot be written.
    """
    if names:
        wishes_of(settings, names)
    try:
        try:
            await asyncio.to_thread(_check_index, settings.root, full)
            return await _verify(settings, names, full=full, repair=repair, wait=wait, emit=emit, now=now)
        except sqlite3.Error as error:
            raise why_unusable(settings.root / FILE, error) from error
    except (IndexMissing, IndexDamaged) as error:
        # Nothing is made where nothing is, least of all an empty mirror on a disk that is not mounted.
        if not repair or not any(Tree(settings.root).folders(name) for name in settings.upstream):
            raise
        emit(Note(str(error), "warning"))
        return await _rebuild(settings, error, names, full=full, wait=wait, emit=emit, now=now)


def _check_index(root: Path, full: bool) -> None:
    with closing(connect_reader(root)) as index:
        if (problem := find_damage(index, thorough=full)) is not None:
            raise why_unusable(root / FILE, BrokenRow(problem))


async def _rebuild(
    settings: Settings, error: IndexUnusable, names: Sequence[str], *, full: bool, wait: bool, emit: Emit, now: Clock
) -> Findings:
    if isinstance(error, IndexDamaged):
        with await hold_lock(settings.root, wait=wait):
            place = set_aside(settings.root, now())
        emit(Note(f"the damaged index is set aside as {place}", "warning"))
    report = await sync(settings, (), emit=emit, wait=wait, now=now)
    if report.outcome in ("complete", "incomplete"):
        findings = await _verify(settings, names, full=full, repair=False, wait=wait, emit=emit, now=now)
    else:
        findings = Findings(hashed=full)
    findings.rebuilt, findings.repair = True, report
    return findings


async def _verify(
    settings: Settings, names: Sequence[str], *, full: bool, repair: bool, wait: bool, emit: Emit, now: Clock
) -> Findings:
    tree = Tree(settings.root)
    with ExitStack() as stack:
        try:
            stack.enter_context(await hold_lock(settings.root, wait=wait and repair))
        except (Locked, GuardRefused):
            if repair:
                raise
            return (await _look(tree, settings.root, names, full=full, emit=emit))[0]
        if repair:
            # What a killed run left halfway is put right first: it is no damage.
            with Index(settings.root) as index:
                await asyncio.to_thread(tree.recover)
                await reconcile(tree, Holdings(index), Journal(index), at=now())
        findings, sound, wrong = await _look(tree, settings.root, names, full=full, emit=emit)
        try:
            with Index(settings.root) as index:
                # Also without an order to repair: the next sync knows, and queries no longer point at it. Before anything is moved.
                _write_down(index, findings, sound if full else (), wrong, repair=repair, at=now())
        except (GuardRefused, Locked, sqlite3.Error) as error:
            if repair or is_damage(error):
                raise
            emit(Note(f"what was found could not be written down: {error}", "warning"))
        for held in wrong if repair else ():
            tree.quarantine(Folder(held.upstream, held.resource, held.sub_resource), held.file)
            step("verify: damaged file set aside")
    if repair and wrong:
        damaged_units = sorted({(held.upstream, held.resource, held.sub_resource) for held in wrong})
        findings.repair = await sync(settings, (), emit=emit, wait=wait, now=now, only=damaged_units)
        with closing(connect_reader(settings.root)) as reader:
            mended = {held.id for held in held_files(reader) if held.sound}
        findings.faults = [
            Fault(f.upstream, f.resource, f.sub_resource, f.file, f.path, f.problem, held.id in mended)
            for held, f in zip(wrong, findings.faults, strict=True)
        ]
    return findings


def _write_down(
    index: Index, findings: Findings, sound: Iterable[Held], wrong: Sequence[Held], *, repair: bool, at: datetime
) -> None:
    holdings, journal = Holdings(index), Journal(index)
    with index.transaction():
        holdings.mark_verified((held.id for held in sound), at=at)
        holdings.mark_damaged(held.id for held in wrong)
        for held, fault in zip(wrong, findings.faults, strict=True):
            if held.sound or repair:
                about = FileKey(held.upstream, held.resource, held.sub_resource, held.file)
                journal.event("damaged", at=at, about=about, message=fault.problem)
    step("verify: damage entered")


async def _look(tree: Tree, root: Path, names: Sequence[str], *, full: bool, emit: Emit) -> tuple[Findings, list[Held], list[Held]]:
    """Compare tree and index, reading only; what is sound and what is wrong by the rows of the end."""
    with closing(connect_reader(root)) as index:
        known = list(held_files(index, names))
        emit(Checking(len(known), sum(held.size for held in known)))
        findings, sound, wrong = await _compare(tree, known, full=full, emit=emit)
        if not names:
            folders = {Folder(held.upstream, held.resource, held.sub_resource) for held in known}
            findings.foreign += [str(path) for path in tree.unknown_folders(folders)]
        # A sync may have replaced files since their rows were read.
        current = {held.id: held for held in held_files(index, names)}
        still = [current.get(held.id) == held for held in wrong]
        findings.faults = [fault for fault, true in zip(findings.faults, still, strict=True) if true]
        return findings, sound, [held for held, true in zip(wrong, still, strict=True) if true]


async def _compare(tree: Tree, holdings: Sequence[Held], *, full: bool, emit: Emit) -> tuple[Findings, list[Held], list[Held]]:
    """Look at every file, in threads; what is sound and what is wrong, in the order of `holdings`."""
    findings = Findings(hashed=full)
    sound: list[Held] = []
    wrong: list[Held] = []
    dropped = False

    def look() -> None:
        for held, path, problem in _problems(tree, holdings, findings.foreign, full=full, dropped=lambda: dropped):
            if dropped:
                return
            findings.files += 1
            findings.bytes += held.size
            emit(Checked(held.size))
            if problem is None:
                sound.append(held)
            else:
                wrong.append(held)
                findings.faults.append(Fault(held.upstream, held.resource, held.sub_resource, held.file, str(path), problem))

    task = asyncio.ensure_future(asyncio.to_thread(look))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        dropped = True
        await asyncio.wait([task])
        raise
    return findings, sound, wrong


def _problems(
    tree: Tree, holdings: Iterable[Held], foreign: list[str], *, full: bool, dropped: Callable[[], bool]
) -> Iterator[tuple[Held, Path, str | None]]:
    """Each published file with what is wrong with it. Files that nobody knows are added to `foreign`."""
    with ThreadPoolExecutor(thread_name_prefix="verify") as pool:
        pending: deque[tuple[Held, Path, Future[str | None]]] = deque()
        for (upstream, resource, sub_resource), group in groupby(holdings, lambda h: (h.upstream, h.resource, h.sub_resource)):
            folder = Folder(upstream, resource, sub_resource)
            here = tree.published(folder)
            for held in group:
                path = tree.data / folder.relative / held.file
                size = here.pop(held.file, None)
                if size is None:
                    yield held, path, "missing"
                elif size != held.size:
                    yield held, path, f"{size} bytes, {held.size} were published"
                elif full:
                    pending.append((held, path, pool.submit(_hash_problem, held, path, dropped)))
                    if len(pending) > _AHEAD:
                        done, place, future = pending.popleft()
                        yield done, place, future.result()
                else:
                    yield held, path, None
            foreign += [str(tree.data / folder.relative / name) for name in sorted(here)]
        for done, place, future in pending:
            yield done, place, future.result()


def _hash_problem(held: Held, path: Path, dropped: Callable[[], bool]) -> str | None:
    try:
        hashes = hash_file(path, dropped)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if hashes.sha256 != held.sha256:
        return f"SHA-256 is {hashes.sha256}, {held.sha256} was published"
    return None
