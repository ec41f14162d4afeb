"""The Python API: `mirror.open`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

import mirror
from mirror.errors import ConfigError, IndexUnusable
from tests.command import write_config
from tests.upstream import FakeUpstream, simple_catalogue


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A config, and a mirror that was synced from it through the API."""
    with FakeUpstream(simple_catalogue(2, 9, 1)).in_thread() as fake:
        path = write_config(tmp_path_factory.mktemp("api"), fake.url, 'all]\nresources = ["*"]\nedition = "all"')
        with mirror.open(path) as here:
            report, actions = here.plan()
            assert len(actions) == report.planned["add"] == 18
            assert here.sync().outcome == "complete"
            assert here.sync("all").requests == 1
        yield path


def test_a_root_is_enough_to_query(config: Path) -> None:
    """One value or several, dates as text or as dates; what comes back has paths that exist."""
    with mirror.open(config.parent / "mirror") as here:
        (file,) = here.query(resource="BDALPHA", zone="D038", latest=True)
        assert file.edition_date == "2026-09-15"
        assert file.path is not None
        assert Path(file.path).stat().st_size == file.size
        assert len(here.query(zone=["D038", "D073"])) == 12
        assert here.query(start=date(2026, 9, 1)) == here.query(start="2026-09-01", state="current")
        assert {found.edition_date for found in here.query(end="2026-03-31")} == {"2026-03-15"}
        assert len(here.query(limit=5)) == 5
        (standing,) = here.status()
        assert standing["outcome"] == "complete"
        assert {"subscription", "upstream", "last_run", "last_success", "files", "expected", "bytes"} <= standing.keys()


def test_a_root_alone_cannot_sync(config: Path) -> None:
    """Without a config there are no subscriptions; the error says what to open instead."""
    with pytest.raises(ConfigError, match="config file"):
        mirror.open(config.parent / "mirror").sync()


def test_nothing_synced_yet_is_an_error_that_says_so(tmp_path: Path) -> None:
    """An empty answer would look like an empty mirror."""
    with pytest.raises(IndexUnusable, match="inspire-mirror sync"):
        mirror.open(tmp_path).query()


def test_a_query_does_not_wait_for_a_writer(config: Path) -> None:
    """A transaction that is open in the index neither blocks a reader nor shows what is not committed."""
    from mirror.store.index import Index

    root = config.parent / "mirror"
    with mirror.open(root) as here, Index(root) as index:
        before = len(here.query())
        with index.transaction() as sql:
            sql.execute("DELETE FROM stored_files")
            assert len(here.query()) == before
            sql.execute("ROLLBACK")
            sql.execute("BEGIN")
