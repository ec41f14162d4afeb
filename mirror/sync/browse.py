"""A look at what an upstream offers, before anything is subscribed to. Reads the upstream, keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import partial

from mirror.errors import ConfigError, RequestFailed
from mirror.events import Emit
from mirror.geometry import intersects
from mirror.model import BBox, Resource, SubResource
from mirror.planning.changes import published_day, scopes_for
from mirror.planning.edition import All, Between, Edition, Latest
from mirror.planning.selection import Wish, matches, select, term_matches
from mirror.settings import Upstream
from mirror.sync.wiring import dialect_of, open_session
from mirror.upstream.crawl import Crawler, in_parallel
from mirror.vocabulary import fold_crs, fold_format, fold_zone

MOST_SIZES = 50
"""Sub-resources whose files are listed to know their sizes, if not asked for more: each costs a request."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What to show; the filters of `catalog`. Empty and None do not filter."""

    resources: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    crs: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    updated_from: date | None = None
    bbox: BBox | None = None
    latest: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A sub-resource on offer, with the number and total bytes of its files where they were listed."""

    sub: SubResource
    files: int | None = None
    bytes: int | None = None


class Browser:
    """Looks at one upstream."""

    def __init__(self, name: str, upstream: Upstream, contact: str | None, emit: Emit = lambda event: None) -> None:
        self._session = open_session(name, upstream, contact, emit)
        self._dialect = dialect_of(name, upstream)
        self._crawler = Crawler(self._session, self._dialect)
        self._workers = upstream.downloads

    async def resources(self, interest: Interest) -> list[Resource]:
        """The resources of interest. Raises RequestFailed, ListingError, UpstreamUnavailable."""
        async with self._session:
            return [resource for resource in await self._capabilities() if _interesting(resource, interest)]

    async def offers(self, interest: Interest, *, sizes: bool | None = None) -> list[Offer]:
        """The sub-resources of interest of the resources that `interest.resources` name.

        Sizes cost a request each: by default they are asked for if there are at most `MOST_SIZES`.

        Raises:
            ConfigError: no resource has such a name.
            RequestFailed, ListingError, UpstreamUnavailable: it cannot be listed.
        """
        async with self._session:
            known = await self._capabilities()
            chosen = [resource for resource in known if matches(resource.id, interest.resources)]
            if not chosen:
                ids = {resource.id.upper(): resource.id for resource in known}
                near = get_close_matches(interest.resources[0].upper(), ids, 1, 0.5)
                hint = f"did you mean {ids[near[0]]}? " if near else ""
                raise ConfigError(f"the upstream has no resource {interest.resources[0]!r}; {hint}`catalog` lists them all")
            wish = _wish(interest)
            listed = {}
            for resource in chosen:
                listing, _ = await self._crawler.resource(resource.id, scopes_for([wish], resource))
                listed[resource.id] = list(listing.entries)
            subs = [wanted.sub for wanted in select([wish], listed).wanted if _recent(wanted.sub, interest)]
            if sizes is False or (sizes is None and len(subs) > MOST_SIZES):
                return [Offer(sub) for sub in subs]
            return await self._with_sizes(subs)

    async def _capabilities(self) -> list[Resource]:
        return list((await self._crawler.capabilities(self._dialect.capabilities())).entries)

    async def _with_sizes(self, subs: Sequence[SubResource]) -> list[Offer]:
        offers = {sub.id: Offer(sub) for sub in subs}

        async def measure(sub: SubResource) -> None:
            with suppress(RequestFailed):  # listed, but answering 404 while it is published: its size is not known yet
                files = (await self._crawler.sub_resource(sub.resource, sub.id)).entries
                total = None if any(file.size is None for file in files) else sum(file.size or 0 for file in files)
                offers[sub.id] = Offer(sub, len(files), total)

        await in_parallel([partial(measure, sub) for sub in subs], self._workers)
        return list(offers.values())


def _wish(interest: Interest) -> Wish:
    edition: Edition = All()
    if interest.latest:
        edition = Latest()
    elif interest.start or interest.end:
        edition = Between(interest.start, interest.end)
    return Wish(
        "catalog",
        "",
        interest.resources,
        (),
        interest.zones,
        interest.formats,
        interest.crs,
        edition=edition,
        bbox=interest.bbox,
    )


def _recent(sub: SubResource, interest: Interest) -> bool:
    dated = interest.start is not None or interest.end is not None
    if dated and (sub.edition_date is None or sub.edition_date not in Between(interest.start, interest.end)):
        return False
    return _published_since(sub.updated, interest.updated_from)


def _published_since(updated: str | None, since: date | None) -> bool:
    day = published_day(updated)
    return since is None or (day is not None and day >= since)


def _interesting(resource: Resource, interest: Interest) -> bool:
    return (
        matches(resource.id, interest.resources)
        and term_matches(resource.zones, interest.zones, fold_zone)
        and term_matches(resource.formats, interest.formats, fold_format)
        and term_matches(resource.crs, interest.crs, fold_crs)
        and (interest.start is None or resource.edition_to is None or resource.edition_to >= interest.start)
        and (interest.end is None or resource.edition_from is None or resource.edition_from <= interest.end)
        and _published_since(resource.updated, interest.updated_from)
        and (interest.bbox is None or (resource.footprint is not None and intersects(resource.footprint, interest.bbox)))
    )
