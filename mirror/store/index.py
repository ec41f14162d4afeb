"""The index: one SQLite file in WAL mode, one writer, readers never blocked. Connections and transactions live here.

`synchronous=NORMAL` may lose the last commits in a power cut, never the file's consistency; what is then missing from the index is
in the tree and is adopted by the next sync.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple
from urllib.parse import quote

from mirror.errors import GuardRefused, IndexDamaged, IndexMissing, IndexUnusable, Locked, MirrorError
from mirror.phrases import phrase
from mirror.steps import step

FILE = "index.sqlite"
BUSY_WAIT = 10.0
"""Seconds for which a writer waits for another program that is writing to the index."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_TOOBIG})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_REFUSED = _NO_ROOM | {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}


def is_damage(error: BaseException) -> bool:
    """Whether an error says that the index itself is broken: not that it is locked, or that the disk or its owner refuse."""
    # That text is no UTF-8 is found by Python, in rows as in SQLite's own messages, and has no code; that a header names a format
    # which has never existed has none of its own.
    told = isinstance(error, sqlite3.Error) and str(error).startswith(("Could not decode to UTF-8", "unsupported file format"))
    return told or isinstance(error, UnicodeDecodeError) or _code(error) in _DAMAGE


def is_refused(error: BaseException) -> bool:
    """Whether an error says that the disk or its owner refuse: no room, no permission, a device that fails."""
    return _code(error) in _REFUSED


def is_busy(error: BaseException) -> bool:
    """Whether an error says that another program keeps the index locked."""
    return _code(error) in _BUSY


class BrokenRow(sqlite3.DatabaseError):
    """A row holds what nobody has written there."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


@contextmanager
def reading_rows() -> Iterator[None]:
    """What rows hold is turned into objects in here: where it does not fit, the index is damaged. Raises BrokenRow."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise BrokenRow(f"a row cannot be read: {error}") from error


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code: what is above it tells which part


def why_unusable(path: Path, error: sqlite3.Error) -> MirrorError:
    """An error of SQLite on opening the index at `path`, as what it means to users and what they can do."""
    if is_damage(error):
        return IndexDamaged(
            f"the index at {path} is damaged ({error}); `inspire-mirror sync` or `verify --repair` sets it aside and builds it "
            "anew from the files that are here"
        )
    if is_busy(error):
        return Locked(
            f"the index at {path} is locked by another program (sqlite3 with an open transaction, for example); end that, and try "
            "again: nothing was changed"
        )
    for place in (path, *_beside(path)):
        if place.is_dir():
            return IndexUnusable(f"there is a folder at {place}, where a file of the index should be; move it away")
    if _code(error) in _NO_ROOM or (_code(error) == sqlite3.SQLITE_CANTOPEN and _is_full(path.parent)):
        return GuardRefused(f"the disk has no room for the index at {path}, or fails ({error}); nothing was changed")
    return IndexUnusable(f"cannot open the index at {path}: {error}; check the file, its folder and their owner")


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _refuse_strange(path: Path) -> None:
    """A pipe or a device in the place of the index would be opened for ever. Raises IndexUnusable."""
    for place in (path, *_beside(path)):
        with suppress(OSError):
            kind = place.stat().st_mode
            if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # of a folder SQLite says itself what is wrong
                raise IndexUnusable(f"{place} is a pipe, a socket or a device, where a file of the index should be; move it away")


def _is_full(folder: Path) -> bool:
    """Whether a file system can hold no more files or bytes; SQLite does not say why it cannot make a file."""
    try:
        stats = os.statvfs(folder)
    except OSError:
        return False
    return stats.f_bavail == 0 or (stats.f_files > 0 and stats.f_favail == 0)


def connect_reader(root: Path, *, wait: float = 30.0) -> sqlite3.Connection:
    """A read-only connection that never blocks or waits for the writer, but `wait` seconds for who has locked even readers out.

    For one thread at a time; any may close it.

    Raises:
        IndexUnusable: there is no index, or it is not one.
        Locked: another program has locked even readers out.
    """
    path = root / FILE
    _refuse_strange(path)
    log, _ = _beside(path)
    alone = not (log.exists() and log.stat().st_size)
    if not path.exists() or (alone and path.is_file() and path.stat().st_size == 0):
        raise missing(root)
    # Even a reader of a WAL database writes: it makes a file of shared memory beside it, unless a writer has. Who may not do that,
    # or has no room for it, reads the file as it lies there, which is sound as long as no write-ahead log belongs to it.
    forbidden = alone and not os.access(root, os.W_OK, effective_ids=True)
    try:
        return _connect(path, "immutable=1" if forbidden else "mode=ro", wait)
    except sqlite3.Error as error:
        if str(error).startswith("no such table"):
            raise missing(root) from error  # a first run that was killed before it had made them
        if alone and is_refused(error):
            with suppress(sqlite3.Error):
                return _connect(path, "immutable=1", wait)
        raise why_unusable(path, error) from error


def _connect(path: Path, how: str, wait: float) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, timeout=wait, check_same_thread=False)
    try:
        with reading_rows():  # of a damaged schema not even the error message need be text
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM upstreams").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class Identity(NamedTuple):
    """Which file the index is. Without a write-ahead log, who may not write reads it as it lies there, and has to see it change."""

    device: int
    inode: int
    has_log: bool
    changed_ns: int


def identity_of(path: Path) -> Identity | None:
    """Of the index at `path`; None where there is none."""
    try:
        stats = os.stat(path)
    except OSError:
        return None
    try:
        has_log = os.stat(f"{path}-wal").st_size > 0
    except OSError:
        has_log = False
    return Identity(stats.st_dev, stats.st_ino, has_log, 0 if has_log else stats.st_mtime_ns)


def missing(root: Path) -> IndexMissing:
    """There is no index: is there no mirror either?"""
    path = root / FILE
    if (root / "data").is_dir():
        return IndexMissing(
            phrase(
                "no index at {path}, though there are files in {data}; `inspire-mirror sync` or `verify --repair` builds it anew "
                "from them",
                path=path,
                data=root / "data",
            )
        )
    return IndexMissing(
        phrase("no index at {path}: nothing has been synced to this root yet; run `inspire-mirror sync`", path=path)
    )


class Index:
    """The writer's side: owns the connection, applies migrations, groups statements into transactions."""

    def __init__(self, root: Path, *, wait: float = BUSY_WAIT) -> None:
        """Open, create or migrate the index of `root`. `wait` is how many seconds another writer may keep it waiting.

        Raises:
            IndexDamaged: the file is no database, or a broken one.
            IndexUnusable: it was written by a newer version, or cannot be opened.
            Locked: another program has it locked.
            GuardRefused: the disk has no room for it.
        """
        # sqlite-utils costs a sixth of a second to import; only writers need it.
        from sqlite_utils import Database

        from mirror.store.schema import migrations

        self.path = root / FILE
        _refuse_strange(self.path)
        for place in (self.path, *_beside(self.path)):
            # SQLite would open it to read, and leave files beside it that are not to be written either.
            if place.exists() and not place.is_dir() and not os.access(place, os.W_OK, effective_ids=True):
                raise IndexUnusable(f"cannot write to {place}; check the file and its owner")
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self.path, timeout=wait, isolation_level=None, cached_statements=256)
            connection.row_factory = sqlite3.Row
            with reading_rows():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA cache_size = -16384")
                self.db = Database(connection)
                unknown = {row.name for row in migrations.applied(self.db)} - {m.name for m in migrations._migrations}
            if unknown:
                raise IndexUnusable(f"the index at {self.path} was written by a newer version of inspire-mirror; upgrade this one")
            if migrations.pending(self.db):
                step("index: about to be migrated")
                try:
                    migrations.apply(self.db)
                except sqlite3.OperationalError as error:
                    if _code(error) != sqlite3.SQLITE_ERROR:
                        raise
                    raise BrokenRow(f"its tables are not ours: {error}") from error
                step("index: migrated")
        except (sqlite3.Error, IndexUnusable) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, IndexUnusable):
                raise
            raise why_unusable(self.path, error) from error
        self.connection = connection

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """All or nothing; nested use joins the outer transaction. If `durable`, a power cut cannot undo it once it is committed."""
        if self.connection.in_transaction:
            yield self.connection
            return
        if durable:
            self.connection.execute("PRAGMA synchronous = FULL")
        try:
            # At once for writing: what was read first could else be out of date by then, and SQLite would not even wait.
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.rollback()
            raise
        finally:
            if durable:
                self.connection.execute("PRAGMA synchronous = NORMAL")

    def problem(self, *, thorough: bool = False) -> str | None:
        """What SQLite's own check finds wrong in the file, None if nothing; `thorough` also compares tables with their indexes."""
        return find_damage(self.connection, thorough=thorough)

    def has_our_tables(self) -> bool:
        """Whether every table is as the migrations make it; others may have added their own."""
        from sqlite_utils import Database

        from mirror.store.schema import migrations

        fresh = Database(memory=True)
        try:
            migrations.apply(fresh)
            known = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            return set(map(tuple, fresh.execute(known))) <= set(map(tuple, self.connection.execute(known)))
        finally:
            fresh.close()

    def wait(self, seconds: float) -> None:
        """From now on wait for another writer for so long."""
        self.connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def hurry(self) -> None:
        """Wait for no other writer any more: one wait has shown that it does not end."""
        self.wait(0)

    def close(self) -> None:
        """Close, folding the write-ahead log into the file. What cannot be folded in now stays in the log, and is as good there."""
        with suppress(sqlite3.Error):
            self.connection.execute("PRAGMA optimize")
        with suppress(sqlite3.Error):
            self.db.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@contextmanager
def writing_beside(root: Path, *, wait: float = BUSY_WAIT) -> Iterator[sqlite3.Connection]:
    """One short, durable transaction in an index that is there, beside a run that may be writing to it: each waits for the other.

    For what cannot wait until a run of hours gives the lock of the root back. It makes no index and no tables.

    Raises:
        sqlite3.Error: there is no index, another program keeps it locked for longer than `wait` seconds, or it cannot be written.
        IndexUnusable: something else than a file is there.
    """
    _refuse_strange(root / FILE)
    with closing(sqlite3.connect(f"file:{quote(str(root / FILE))}?mode=rw", uri=True, timeout=wait, isolation_level=None)) as sql:
        sql.row_factory = sqlite3.Row
        sql.execute("PRAGMA foreign_keys = ON")
        sql.execute("BEGIN IMMEDIATE")
        try:
            yield sql
            sql.execute("COMMIT")
        except BaseException:
            sql.rollback()
            raise


def find_damage(connection: sqlite3.Connection, *, thorough: bool = False) -> str | None:
    """What SQLite's own check finds wrong in a database, in one line; None if nothing. Reads all of it."""
    try:
        found = connection.execute(f"PRAGMA {'integrity_check' if thorough else 'quick_check'}(1)").fetchone()[0]
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        found = str(error)
    return None if found == "ok" else " ".join(str(found).split())
