"""What the first page says: what this mirror is, and what of it matches."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mirror.language import Language
from mirror.serving.pages.asked import Asked
from mirror.serving.pages.paging import Pager
from mirror.serving.pages.titles import FOLDS, STATES, choices_of, edition_title
from mirror.serving.site import path_of
from mirror.store.finding import (
    Found,
    Holdings,
    choices,
    holdings,
    search,
    suggested_editions,
    suggested_resources,
    title_of,
)
from mirror.store.offer import Offer
from mirror.vocabulary import fold_zone

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

    def read(self, offer: Offer, version: Hashable | None) -> tuple[Asides, bool]:
        """Those of now, or of a moment ago, and whether they are of now. `version` is that of the index, None if unknown."""
        kept, now = self._kept, self._clock()
        if kept is not None:
            is_of_now = version is not None and kept[0] == version
            if is_of_now or now - kept[1] < _HOLDS:
                return kept[2], is_of_now
        here = holdings(offer)
        upstreams = [one.upstream for one in here]
        read = Asides(here, _named(offer, "zone", upstreams), _named(offer, "format", upstreams), _named(offer, "crs", upstreams))
        self._kept = version, now, read
        return read, True


def _named(offer: Offer, kind: Literal["zone", "format", "crs"], upstreams: Iterable[str]) -> list[tuple[str, str]]:
    """The codes that are here, which the index has folded, with the labels that upstreams give to any spelling of them."""
    found = choices(offer, kind, limit=_MOST_CHOICES)
    fold, there = FOLDS[kind], {code for code, _ in found}
    labels = [(fold(code), label) for upstream in upstreams for code, label in offer.labels(upstream, kind)]
    return choices_of(kind, [*found, *(pair for pair in labels if pair[0] in there)])


def _zones_meant(text: str, zones: Iterable[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """The words of a text that are a zone in another spelling (`38`), with the code and name of that."""
    known = {fold_zone(code): (code, name) for code, name in zones}
    return [(word, *known[fold_zone(word)]) for word in text.split() if fold_zone(word) in known and word.upper() not in known]


def search_facts(offer: Offer, asked: Asked, upstreams: Iterable[str], asides: Asides) -> dict[str, Any]:
    """For the template `search.html`. `upstreams` are those of the config."""
    offset = (asked.page - 1) * _RESOURCES_A_PAGE

    def looked(one: Asked) -> Found:
        return search(offer, one.sought(), limit=_RESOURCES_A_PAGE, offset=offset, each=_EDITIONS_EACH)

    found, meant = looked(asked), _zones_meant(asked.q, asides.zones)
    if not found.resources and meant:
        spelt = {word: code for word, code, _ in meant}
        asked = replace(asked, q=" ".join(spelt.get(word, word) for word in asked.q.split()))
        found, meant = looked(asked), []
    here = {one.upstream: one for one in asides.holdings}
    return {
        "asked": asked,
        "found": found,
        "meant": [(code, name) for _, code, name in meant],
        "pager": Pager(asked.page, _RESOURCES_A_PAGE, found.resources),
        "holdings": [here.get(name, Holdings(name, 0, 0, 0)) for name in dict.fromkeys([*upstreams, *here])],
        "zones": asides.zones,
        "formats": asides.formats,
        "crs": asides.crs,
    }


def suggestions(offer: Offer, text: str, language: Language) -> list[dict[str, str]]:
    """What somebody who types this may mean: resources, zones, editions. Paths are within the site."""
    found = [
        {"kind": "resource", "text": title or resource, "code": resource, "path": path_of(upstream, resource)}
        for upstream, resource, title in suggested_resources(offer, text, limit=5)
    ]
    folded = text.casefold()
    upstreams = [one.upstream for one in holdings(offer)]
    zones = [
        (fold_zone(text) != fold_zone(code), code, name)
        for code, name in _named(offer, "zone", upstreams)
        if fold_zone(text) == fold_zone(code) or folded in f"{code} {name}".casefold()
    ]
    found += [
        {"kind": "zone", "text": name or code, "code": code, "path": f"/{Asked(zone=code).query}"}
        for _, code, name in sorted(zones)[:3]
    ]
    left = _SUGGESTED - len(found)
    found += [
        {
            "kind": "edition",
            "text": language.put(edition_title(title_of(offer, one.upstream, one.sub.resource), one.sub)),
            "code": one.sub.id,
            "state": language.put(STATES[one.state]),
            "path": path_of(one.upstream, one.sub.resource, one.sub.id),
        }
        for one in suggested_editions(offer, text, limit=max(0, left))
    ]
    return found[:_SUGGESTED]
