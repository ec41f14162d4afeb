"""A mirror as a Python object: the same questions and runs as on the command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mirror.errors import ConfigError
from mirror.model import BBox
from mirror.store.query import Filters, MirroredFile, Reader

if TYPE_CHECKING:
    from mirror.pruning import PruneReport
    from mirror.settings import Settings
    from mirror.sync import PlannedAction, Report

OneOrMore = str | Sequence[str]
Day = date | str


class Mirror:
    """One mirror, opened by its root (to query) or by its config (to query, plan, sync and prune). Usable as a context manager."""

    def __init__(self, root: Path, settings: Settings | None = None) -> None:
        self.root = root
        self._settings = settings
        self._reader: Reader | None = None

    def query(
        self,
        text: str = "",
        *,
        resource: OneOrMore = (),
        zone: OneOrMore = (),
        format: OneOrMore = (),  # noqa: A002 - the field's own word, and the command line's
        crs: OneOrMore = (),
        start: Day | None = None,
        end: Day | None = None,
        updated_from: Day | None = None,
        bbox: BBox | None = None,
        latest: bool = False,
        upstream: OneOrMore = (),
        state: OneOrMore = (),
        limit: int | None = None,
        member: OneOrMore = (),
    ) -> list[MirroredFile]:
        """The files that match every filter given; see `Filters`. Reads the index, never the network.

        Raises:
            IndexUnusable: nothing was synced to this root yet, or its index cannot be read.
            ValueError: a day is not YYYY-MM-DD.
        """
        filters = Filters(
            text,
            _several(resource),
            _several(zone),
            _several(format),
            _several(crs),
            _day(start),
            _day(end),
            _day(updated_from),
            bbox,
            latest,
            _several(upstream),
            _several(state),
            limit,
            _several(member),
        )
        return list(self.reader.files(filters))

    @property
    def reader(self) -> Reader:
        """The open index. Raises IndexUnusable."""
        if self._reader is None:
            self._reader = Reader(self.root)
        return self._reader

    def status(self) -> list[dict[str, Any]]:
        """How each subscription stands. Raises IndexUnusable."""
        return self.reader.subscriptions()

    def plan(self, *names: str, retry: bool = False) -> tuple[Report, list[PlannedAction]]:
        """What `sync` would do. Needs a mirror opened by its config. Raises ConfigError, IndexUnusable."""
        from mirror.sync import plan

        actions: list[PlannedAction] = []
        report = asyncio.run(plan(self._need_settings(), names, visit=actions.append, retry=retry))
        return report, actions

    def sync(self, *names: str, wait: bool = False, retry: bool = False) -> Report:
        """Sync the named subscriptions, or all; with `retry` parked files and failed commands too, whatever their next try.

        Needs a mirror opened by its config. Raises ConfigError, Locked, IndexUnusable.
        """
        from mirror.hooks import sync_with_hooks

        return asyncio.run(sync_with_hooks(self._need_settings(), names, wait=wait, retry=retry))

    def prune(self, *names: str, dry_run: bool = False, wait: bool = False) -> PruneReport:
        """Delete the editions that no subscription keeps, of the named subscriptions or of all; with `dry_run`, say only which.

        Needs a mirror opened by its config. Raises ConfigError, Locked, GuardRefused, IndexUnusable.
        """
        from mirror.pruning import prune

        return asyncio.run(prune(self._need_settings(), names, dry_run=dry_run, wait=wait))

    def _need_settings(self) -> Settings:
        if self._settings is None:
            raise ConfigError(f"opened by its root {self.root}, which has no subscriptions; open the mirror by its config file")
        return self._settings

    def close(self) -> None:
        """Give the index back."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_mirror(path: str | os.PathLike[str]) -> Mirror:
    """Open a mirror by its root folder or its config file. Raises ConfigError for a config that cannot be used."""
    place = Path(path).absolute()
    if place.is_file():
        from mirror.settings import load

        settings = load(place, os.environ)
        return Mirror(settings.root, settings)
    return Mirror(place)


def _several(value: OneOrMore) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _day(value: Day | None) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value
