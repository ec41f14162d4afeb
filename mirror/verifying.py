"""Does the tree hold what the index says? Sizes at once, hashes on demand; what is wrong can be set aside and fetched again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from mirror.errors import GuardRefused, Locked
from mirror.events import Checked, Checking, Emit, FileKey
from mirror.settings import Settings
from mirror.store.holdings import Held, Holdings, held_files
from mirror.store.index import Index, connect_reader
from mirror.store.journal import Journal
from mirror.store.tree import Folder, Tree
from mirror.sync import Clock, Report, hold_lock, sync, utc_now, wishes_of
from mirror.transfer.receive import hash_file
from mirror.upstream.session import Patience

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
    faults: list[Fault] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    repair: Report | None = None

    @property
    def exit_code(self) -> int:
        """0 if the mirror is now as it should be, else 1."""
        return int(any(not fault.repaired for fault in self.faults))

    def as_json(self) -> dict[str, Any]:
        """The document of `verify --json`."""
        return {
            "outcome": "faults" if self.exit_code else "complete",
            "exit_code": self.exit_code,
            "files": self.files,
            "bytes": self.bytes,
            "hashed": self.hashed,
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
    patience: Patience | None = None,
) -> Findings:
    """Compare what is published with the index: sizes, or with `full` every hash.

    Without `repair` it needs no lock; what it learns is written down if no other run holds one. With it, wrong files go to
    `.staging/quarantine` and the sub-resources concerned are synced again. Cancelled, it stops within a block of hashing.

    Raises:
        ConfigError: an unknown name.
        Locked: to repair, while another run holds the root and `wait` is false.
        IndexUnusable: there is no index to compare with.
    """
    if names:
        wishes_of(settings, names)
    tree = Tree(settings.root)
    with closing(connect_reader(settings.root)):
        pass  # there must be an index: nothing is made here, least of all an empty mirror on a disk that is not mounted
    with ExitStack() as stack:
        try:
            stack.enter_context(await hold_lock(settings.root, wait=wait and repair))
        except (Locked, GuardRefused):
            if repair:
                raise
            return (await _look(tree, settings.root, names, full=full, emit=emit))[0]
        findings, sound, wrong = await _look(tree, settings.root, names, full=full, emit=emit)
        index = stack.enter_context(Index(settings.root))
        holdings, journal = Holdings(index), Journal(index)
        if full:
            holdings.mark_verified((held.id for held in sound), at=now())
        for held, fault in zip(wrong, findings.faults, strict=True):
            if repair:
                tree.quarantine(Folder(held.upstream, held.resource, held.sub_resource), held.file)
            if held.sound or repair:
                about = FileKey(held.upstream, held.resource, held.sub_resource, held.file)
                journal.event("damaged", at=now(), about=about, message=fault.problem)
        # Also without an order to repair: the next sync knows, and queries no longer point at it.
        holdings.mark_damaged(held.id for held in wrong)
    if repair and wrong:
        damaged_units = sorted({(held.upstream, held.resource, held.sub_resource) for held in wrong})
        findings.repair = await sync(settings, (), emit=emit, wait=wait, now=now, patience=patience, only=damaged_units)
        with closing(connect_reader(settings.root)) as reader:
            mended = {held.id for held in held_files(reader) if held.sound}
        findings.faults = [
            Fault(f.upstream, f.resource, f.sub_resource, f.file, f.path, f.problem, held.id in mended)
            for held, f in zip(wrong, findings.faults, strict=True)
        ]
    return findings


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
