"""What the service remembers through restarts: one small file, replaced whole; whoever loses it has runs made up, nothing worse."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mirror.errors import GuardRefused, Locked, os_error_text
from mirror.planning.agenda import Turn
from mirror.service.place import service_folder
from mirror.store.lock import open_lock, sign, signature, take_lock

_FILE = "turns.json"
_LARGEST = 1 << 20
_FIRST_YEAR, _LAST_YEAR = 2000, 2200
_MOST_STARTS = 3  # of a handed-over sync that the process does not survive


@dataclass(frozen=True, slots=True)
class Handed:
    """A sync that was handed over and is not done: it goes on with the next start. `starts` counts how often it has begun."""

    names: tuple[str, ...]
    retry: bool = False
    starts: int = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether it has taken the process down too often to be begun once more."""
        return self.starts >= _MOST_STARTS


@dataclass(frozen=True, slots=True)
class Memory:
    """The turns by subscription, and what was handed over, in its order."""

    turns: Mapping[str, Turn] = field(default_factory=dict)
    handed: tuple[Handed, ...] = ()


def remembered(root: Path) -> Memory:
    """What was written last; what cannot be read is not remembered."""
    try:
        fd = os.open(service_folder(root) / _FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            known = json.loads(file.read(_LARGEST))
        turns = {str(name): _turn(facts) for name, facts in known["turns"].items()}
        handed = [Handed(tuple(map(str, one["names"])), bool(one["retry"]), int(one["starts"])) for one in known["handed"]]
    except (OSError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
        return Memory()
    return Memory(turns, tuple(handed))


def remember(root: Path, memory: Memory) -> None:
    """Replace what was written. Raises OSError."""
    folder = service_folder(root)
    fresh = folder / f"{_FILE}.new"
    turns = {name: _facts(turn) for name, turn in memory.turns.items()}
    text = json.dumps({"turns": turns, "handed": [asdict(one) for one in memory.handed]}, indent=1)
    fresh.unlink(missing_ok=True)
    with fresh.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / _FILE)


def _turn(facts: Mapping[str, Any]) -> Turn:
    served, retry_at, begun_at = (_moment(facts.get(name)) for name in ("served", "retry_at", "begun_at"))
    return Turn(served, int(facts.get("failures", 0)), retry_at, begun_at, int(facts.get("crashes", 0)))


def _moment(text: str | None) -> datetime | None:
    """In UTC. Raises ValueError for one that no clock has shown."""
    moment = None if text is None else datetime.fromisoformat(text)
    if moment is None:
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError("not a moment of ours")
    return moment.astimezone(UTC)


def _facts(turn: Turn) -> dict[str, object]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(turn).items()}


@contextmanager
def sole_service(root: Path) -> Iterator[None]:
    """Be the one service of this root. Raises Locked where there is one, GuardRefused where the root cannot be written."""
    folder = service_folder(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder.parent, folder):
            if place.is_symlink():
                raise GuardRefused(f"{place} is a link, where only what this program made should be; move it away")
        fd = open_lock(folder / "lock")
    except OSError as error:
        raise GuardRefused(
            f"cannot write to the mirror at {root}: {os_error_text(error)}; check the folder and its owner"
        ) from error
    try:
        try:
            take_lock(fd)
        except BlockingIOError:
            holder = signature(fd)
            raise Locked(f"the service of {root} runs already (pid {holder}); there is one per mirror", holder=holder) from None
        sign(fd)
        yield
    finally:
        os.close(fd)
