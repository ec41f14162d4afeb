"""The index: one SQLite file in WAL mode, one writer, readers never blocked. Connections and transactions live here.

`synchronous=NORMAL` may lose the last commits in a power cut, never the file's consistency; what is then missing from the index is
in the tree and is adopted by the next sync.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from mirror.errors import IndexUnusable

FILE = "index.sqlite"


def connect_reader(root: Path) -> sqlite3.Connection:
    """A read-only connection that never blocks or waits for the writer.

    Raises:
        IndexUnusable: there is no index, or it is not one.
    """
    path = root / FILE
    if not path.exists():
        raise IndexUnusable(f"no index at {path}: nothing has been synced to this root yet; run `inspire-mirror sync`")
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?{_reading(path)}", uri=True, timeout=30)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM upstreams").fetchone()
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise IndexUnusable(f"cannot read the index at {path}: {error}") from error
    return connection


def _reading(path: Path) -> str:
    """How to open an index for reading.

    Even a reader of a WAL database writes: it makes a file of shared memory beside it, unless a writer has. Who may not do that
    reads the file as it lies there, which is sound as long as no write-ahead log belongs to it.
    """
    alone = not path.with_name(f"{path.name}-wal").exists()
    return "immutable=1" if alone and not os.access(path.parent, os.W_OK, effective_ids=True) else "mode=ro"


class Index:
    """The writer's side: owns the connection, applies migrations, groups statements into transactions."""

    def __init__(self, root: Path) -> None:
        """Open, create or migrate the index of `root`.

        Raises:
            IndexUnusable: the file is no database, is damaged, or was written by a newer version.
        """
        # sqlite-utils costs a sixth of a second to import; only writers need it.
        from sqlite_utils import Database

        from mirror.store.schema import migrations

        self.path = root / FILE
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, cached_statements=256)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -16384")
            self.db = Database(connection)
            unknown = {row.name for row in migrations.applied(self.db)} - {m.name for m in migrations._migrations}
            if unknown:
                raise IndexUnusable(f"the index at {self.path} was written by a newer version of inspire-mirror; upgrade this one")
            if migrations.pending(self.db):
                migrations.apply(self.db)
        except (sqlite3.Error, IndexUnusable) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, IndexUnusable):
                raise
            broken = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            advice = "move it away, and the next sync builds it anew from the tree" if broken else "check the folder and its owner"
            raise IndexUnusable(f"cannot open the index at {self.path}: {error}; {advice}") from error
        self.connection = connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; nested use joins the outer transaction."""
        if self.connection.in_transaction:
            yield self.connection
            return
        self.connection.execute("BEGIN")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.rollback()
            raise

    def close(self) -> None:
        """Close, folding the write-ahead log into the file."""
        self.connection.execute("PRAGMA optimize")
        self.db.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
