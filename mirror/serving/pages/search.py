"""What the first page says: what this mirror is, and what of it matches."""

from __future__ import annotations

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


def search_facts(offer: Offer, asked: Asked, upstreams: dict[str, str]) -> dict[str, Any]:
    """For the template `search.html`. `upstreams` are those of the config with their addresses."""
    found = search(
        offer,
        asked.sought(),
        limit=_RESOURCES_A_PAGE,
        offset=(asked.page - 1) * _RESOURCES_A_PAGE,
        each=_EDITIONS_EACH,
    )
    return {
        "asked": asked,
        "found": found,
        "pager": Pager(asked.page, _RESOURCES_A_PAGE, found.resources),
        "holdings": _holdings(offer, upstreams),
        "zones": choices(offer, "zone", limit=_MOST_CHOICES),
        "formats": choices(offer, "format", limit=_MOST_CHOICES),
        "crs": choices(offer, "crs", limit=_MOST_CHOICES),
    }


def _holdings(offer: Offer, upstreams: dict[str, str]) -> list[Holdings]:
    found = {here.upstream: here for here in holdings(offer)}
    return [found.get(name, Holdings(name, 0, 0, 0)) for name in dict.fromkeys([*upstreams, *found])]


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
