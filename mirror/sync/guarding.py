"""Listings of one upstream against what was listed before: what `planning.guards` refuses ends here, as GuardRefused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

from mirror.errors import GuardRefused
from mirror.model import RemoteFile, Resource, SubResource
from mirror.phrases import Phrase, phrase
from mirror.planning.changes import Scope, published_day
from mirror.planning.guards import contradicts, counted, refuse_files, refuse_resources, refuse_sub_resources
from mirror.store.catalogue import Catalogue, Unit
from mirror.store.index import Index
from mirror.store.seen import seen_sub_resources


class Guards:
    """Judges complete listings before they are taken in. `most` is the part of a listing that may be missing, 1 to believe all."""

    def __init__(self, upstream: str, index: Index, catalogue: Catalogue, now: Callable[[], datetime], most: float) -> None:
        self._upstream = upstream
        self._index = index
        self._catalogue = catalogue
        self._now = now
        self._most = most

    def contradicted(self, listed: Sequence[Resource], since: date) -> bool:
        """Whether a listing of what changed since a day shows that there is more to it than changes."""
        return contradicts(self._seen_resources(), _days(listed), since)

    def resources(self, listed: Sequence[Resource]) -> None:
        """Judge a full listing of the resources. Raises GuardRefused."""
        reason = refuse_resources(self._seen_resources(), _days(listed), self._most, self._today())
        if reason:
            raise GuardRefused(phrase("upstream {upstream}: {reason}", upstream=self._upstream, reason=reason))

    def sub_resources(self, resource: str, listed: Sequence[SubResource], scopes: Sequence[Scope]) -> None:
        """Judge a listing of a resource under `scopes`, against what the index holds within them. Raises GuardRefused."""
        before = seen_sub_resources(self._index, self._upstream, resource, scopes)
        shown = [sub for sub in listed if any(scope.holds(sub) for scope in scopes)]
        if reason := refuse_sub_resources(before, _days(shown), self._most, self._today()):
            raise GuardRefused(self._of(resource, reason))

    def files(self, unit: Unit, listed: Sequence[RemoteFile]) -> None:
        """Judge a listing of the files of a sub-resource. Raises GuardRefused."""
        before = (file.name for file in self._catalogue.files(unit.id))
        if reason := refuse_files(before, (file.name for file in listed), self._most):
            raise GuardRefused(self._of(f"{unit.sub.resource}/{unit.sub.id}", reason))

    def _of(self, what: str, reason: str) -> Phrase:
        return phrase("upstream {upstream}: {what}: {reason}", upstream=self._upstream, what=what, reason=reason)

    def _seen_resources(self) -> dict[str, date | None]:
        high_water = self._catalogue.upstream(self._upstream).high_water
        known = self._catalogue.resources(self._upstream)
        return {name: counted(resource.updated, high_water) for name, resource in known.items()}

    def _today(self) -> date:
        return self._now().astimezone(UTC).date()


def _days(listed: Sequence[Resource] | Sequence[SubResource]) -> dict[str, date | None]:
    return {entry.id: published_day(entry.updated) for entry in listed}
