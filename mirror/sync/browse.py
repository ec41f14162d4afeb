"""A look at what an upstream offers, before anything is subscribed to. Reads the upstream, keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import partial

from mirror.amounts import count_text
from mirror.errors import ConfigError, FeedError, ListingError, RequestFailed, UpstreamUnavailable
from mirror.events import Emit, Note
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
    """A sub-resource on offer, with the number and total bytes of its files where they were asked for and could be listed."""

    sub: SubResource
    asked: bool = False
    files: int | None = None
    bytes: int | None = None


class NoSuchResource(ConfigError):
    """The upstream has no resource of the name that was given."""


class Browser:
    """Looks at one upstream. What a filter cannot judge, and so leaves out, is told as a warning in the stream of events."""

    def __init__(self, name: str, upstream: Upstream, contact: str | None, emit: Emit = lambda event: None) -> None:
        self._name = name
        self._emit = emit
        self._session = open_session(name, upstream, contact, emit)
        self._dialect = dialect_of(name, upstream)
        self._crawler = Crawler(self._session, self._dialect)
        self._workers = upstream.downloads

    async def resources(self, interest: Interest) -> list[Resource]:
        """The resources of interest. Raises UpstreamUnavailable."""
        async with self._session:
            found = [resource for resource in await self._capabilities() if _interesting(resource, interest)]
        if interest.bbox is None:
            return found
        self._tell_unplaced(sum(resource.footprint is None for resource in found), "resource")
        return [r for r in found if r.footprint is not None and intersects(r.footprint, interest.bbox)]

    async def offers(self, interest: Interest, *, sizes: bool | None = None) -> list[Offer]:
        """The sub-resources of interest of the resources that `interest.resources` name.

        Sizes cost a request each: by default they are asked for if there are at most `MOST_SIZES`.

        Raises:
            NoSuchResource: `interest.resources` has no glob in it, and names none.
            UpstreamUnavailable: it cannot be listed.
        """
        async with self._session:
            known = await self._capabilities()
            chosen = [resource for resource in known if matches(resource.id, interest.resources)]
            if not chosen and any(sign in name for name in interest.resources for sign in "*?["):
                return []
            if not chosen:
                ids = {resource.id.upper(): resource.id for resource in known}
                near = get_close_matches(interest.resources[0].upper(), ids, 1, 0.5)
                hint = f"did you mean {ids[near[0]]}? " if near else ""
                raise NoSuchResource(
                    f"upstream {self._name} has no resource {interest.resources[0]!r}; {hint}`catalog` lists them all"
                )
            wish = _wish(interest)
            listed = {}
            for resource in chosen:
                with self._listing(resource.id):
                    listing, _ = await self._crawler.resource(resource.id, scopes_for([wish], resource))
                listed[resource.id] = list(listing.entries)
            subs = [wanted.sub for wanted in select([wish], listed).wanted if _recent(wanted.sub, interest)]
            if interest.bbox is not None:
                self._tell_unplaced(sum(sub.footprint is None for sub in subs), "sub-resource")
                subs = [sub for sub in subs if sub.footprint is not None and intersects(sub.footprint, interest.bbox)]
            if sizes is False or (sizes is None and len(subs) > MOST_SIZES):
                return [Offer(sub) for sub in subs]
            return await self._with_sizes(subs)

    async def _capabilities(self) -> list[Resource]:
        with self._listing():
            return list((await self._crawler.capabilities(self._dialect.capabilities())).entries)

    @contextmanager
    def _listing(self, what: str = "") -> Iterator[None]:
        """Whatever keeps a listing from being had, the upstream cannot be browsed: the caller meets one error."""
        try:
            yield
        except (FeedError, ListingError, RequestFailed) as error:
            asked = f"{what} of upstream {self._name}" if what else f"upstream {self._name}"
            raise UpstreamUnavailable(f"{asked} cannot be listed: {error}") from error

    def _tell_unplaced(self, count: int, what: str) -> None:
        if count:
            have = f"{count_text(count, what)} {'has' if count == 1 else 'have'} no footprint upstream"
            self._emit(Note(f"{have}, so --bbox cannot place {'it' if count == 1 else 'them'}: left out", "warning"))

    async def _with_sizes(self, subs: Sequence[SubResource]) -> list[Offer]:
        offers = {(sub.resource, sub.id): Offer(sub, asked=True) for sub in subs}

        async def measure(sub: SubResource) -> None:
            try:
                files = (await self._crawler.sub_resource(sub.resource, sub.id)).entries
            except (FeedError, ListingError, RequestFailed) as error:
                # Listed, but answering 404 while it is published: its size is not known yet.
                self._emit(Note(f"the size of {sub.id} cannot be had: {error}"))
                return
            total = None if any(file.size is None for file in files) else sum(file.size or 0 for file in files)
            offers[sub.resource, sub.id] = Offer(sub, True, len(files), total)

        try:
            await in_parallel([partial(measure, sub) for sub in subs], self._workers)
        except UpstreamUnavailable as error:  # gone in between; what it has listed is worth showing
            self._emit(Note(f"sizes cannot be had: {error}", "warning"))
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
    )
