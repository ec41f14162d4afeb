"""What the first page says: what this mirror is, and what of it matches."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mirror.serving.pages.asked import Asked
from mirror.serving.pages.paging import Pager
from mirror.serving.site import path_of
from mirror.store.finding import Holdings, choices, holdings, search, suggested_editions, suggested_resources
from mirror.store.offer import Offer

_RESOURCES_A_PAGE = 12
_EDITIONS_EACH = 3
_MOST_CHOICES = 2000
_SUGGESTED = 8
_HOLDS = 5.0  # seconds, while a sync changes the index all the time


@dataclass(frozen=True, slots=True)
class Asides:
    """What stands beside every search, whatever is looked for: what is here, and what it can be narrowed by."""

    holdings: Sequence[Holdings]
    zones: Sequence[tuple[str, str]]
    formats: Sequence[tuple[str, str]]
    crs: Sequence[tuple[str, str]]


class Beside:
    """Reads the asides, which takes most of the time of a search, once for each version of the index; every few seconds at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: tuple[Hashable | None, float, Asides] | None = None

    def read(self, offer: Offer, version: Hashable | None) -> Asides:
        """Those of now, or of a moment ago. `version` is that of the index, None if unknown."""
        kept, now = self._kept, self._clock()
        if kept is not None and ((version is not None and kept[0] == version) or now - kept[1] < _HOLDS):
            return kept[2]
        read = Asides(
            holdings(offer),
            choices(offer, "zone", limit=_MOST_CHOICES),
            choices(offer, "format", limit=_MOST_CHOICES),
            choices(offer, "crs", limit=_MOST_CHOICES),
        )
        self._kept = version, now, read
        return read


def search_facts(offer: Offer, asked: Asked, upstreams: Iterable[str], asides: Asides) -> dict[str, Any]:
    """For the template `search.html`. `upstreams` are those of the config."""
    offset = (asked.page - 1) * _RESOURCES_A_PAGE
    found = search(offer, asked.sought(), limit=_RESOURCES_A_PAGE, offset=offset, each=_EDITIONS_EACH)
    here = {one.upstream: one for one in asides.holdings}
    return {
        "asked": asked,
        "found": found,
        "pager": Pager(asked.page, _RESOURCES_A_PAGE, found.resources),
        "holdings": [here.get(name, Holdings(name, 0, 0, 0)) for name in dict.fromkeys([*upstreams, *here])],
        "zones": asides.zones,
        "formats": asides.formats,
        "crs": asides.crs,
    }


def suggestions(offer: Offer, text: str) -> list[dict[str, str]]:
    """What somebody who types this may mean: resources, zones, editions. Paths are within the site."""
    found = [
        {"kind": "resource", "text": title or resource, "code": resource, "path": path_of(upstream, resource)}
        for upstream, resource, title in suggested_resources(offer, text, limit=5)
    ]
    folded = text.casefold()
    zones = [pair for pair in choices(offer, "zone", limit=_MOST_CHOICES) if folded in f"{pair[0]} {pair[1]}".casefold()]
    found += [
        {"kind": "zone", "text": label or code, "code": code, "path": f"/{Asked(zone=code).query}"} for code, label in zones[:3]
    ]
    left = _SUGGESTED - len(found)
    found += [
        {"kind": "edition", "text": sub, "code": resource, "path": path_of(upstream, resource, sub)}
        for upstream, resource, sub in suggested_editions(offer, text, limit=max(0, left))
    ]
    return found[:_SUGGESTED]
