"""Pages to complete listings. A listing is complete, and shown to be so, or it is an error; there is nothing in between.

Publication while a crawl runs shifts pages: an entry slips onto a page already read, or is read twice. So a listing counts only if
every page echoes its number, all pages agree on the totals, and the entries add up to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic

from mirror.errors import FeedError, ListingError
from mirror.model import E, Page, RemoteFile, Resource, SubResource
from mirror.planning.changes import Scope
from mirror.upstream.geoplateforme import ACCEPT, PAGE_LIMITS, Geoplateforme, Request
from mirror.upstream.session import Session

Parse = Callable[[bytes], Page[E]]

MOST_ENTRIES = 1_000_000
"""Entries of one listing. The largest known ones have tens of thousands."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[E]):
    """All entries of a feed in its order, a repeated one once; `rejected` has a line for each entry that has no usable id."""

    entries: tuple[E, ...]
    rejected: tuple[str, ...] = ()


class Crawler:
    """Complete listings of one upstream."""

    def __init__(self, session: Session, dialect: Geoplateforme) -> None:
        self._session = session
        self._dialect = dialect

    async def capabilities(self, request: Request) -> Listing[Resource]:
        """The resources. Raises ListingError, RequestFailed, UpstreamUnavailable."""
        return await self._listing(request, self._dialect.read_capabilities)

    async def resource(self, resource: str, scopes: Sequence[Scope]) -> tuple[Listing[SubResource], tuple[Scope, ...]]:
        """The sub-resources within `scopes`, and the scopes really listed: the whole resource where that takes fewer pages.

        Several scopes cost at least a page each. One page of the whole tells how many it would take, and is its first page if
        the whole is the shorter way; where it cannot be read, the scopes still may. Raises as `capabilities` does.
        """

        def parse(body: bytes) -> Page[SubResource]:
            return self._dialect.read_resource(body, resource)

        if len(scopes) > 1:
            whole = Scope()
            request = self._dialect.resource(resource, whole)
            with suppress(FeedError, ListingError):
                first = await self._page(request, parse, 1, PAGE_LIMITS[0])
                if _page_count(first) <= len(scopes):
                    return await self._listing(request, parse, first), (whole,)
        parts = [await self._listing(self._dialect.resource(resource, scope), parse) for scope in scopes]
        subs = {sub.id: sub for part in parts for sub in part.entries}
        return Listing(tuple(subs.values()), tuple(dict.fromkeys(line for part in parts for line in part.rejected))), tuple(scopes)

    async def sub_resource(self, resource: str, sub_resource: str) -> Listing[RemoteFile]:
        """The files of a sub-resource, a name listed twice included. Raises as `capabilities` does."""

        def parse(body: bytes) -> Page[RemoteFile]:
            return self._dialect.read_sub_resource(body, resource, sub_resource)

        return await self._listing(self._dialect.sub_resource(resource, sub_resource), parse)

    async def _listing(self, request: Request, parse: Parse[E], first: Page[E] | None = None) -> Listing[E]:
        """Read all pages; where they do not add up, read them all again, then give up."""
        problem = ""
        for limit in PAGE_LIMITS:
            try:
                pages = [first or await self._page(request, parse, 1, limit)]
                _within_reason(pages[0].total or 0)
                came = len(pages[0].entries)
                for number in range(2, _page_count(pages[0]) + 1):
                    pages.append(await self._page(request, parse, number, limit))
                    _agree(pages[0], pages[-1], number)
                    _within_reason(came := came + len(pages[-1].entries))
                return _complete(pages)
            except (FeedError, ListingError) as error:
                problem, first = self._session.secret.tell(str(error)), None
        raise ListingError(f"{request.url}: read {len(PAGE_LIMITS)} times and never complete: {problem}")

    async def _page(self, request: Request, parse: Parse[E], number: int, limit: int) -> Page[E]:
        asked = self._dialect.page(request, number, limit)
        feed = await self._session.feed(asked.url, asked.query, ACCEPT)
        page = self._session.secret.clean(parse(feed.body))
        if page.page not in (None, number):
            raise ListingError(f"page {number} was asked for, page {page.page} came")
        return page


def _page_count(page: Page[E]) -> int:
    """How many pages there are. Upstream's own count is trusted and never exceeded: beyond it are empty pages without end [C]."""
    if page.page_count is not None:
        return page.page_count
    if page.total is None:
        raise ListingError("the feed says neither how many pages nor how many entries it has, so it cannot be shown to be complete")
    size = page.page_size or len(page.entries) or 1
    return -(-page.total // size)


def _within_reason(count: int) -> None:
    """A listing without end would fill the memory before it could be shown to be wrong."""
    if count > MOST_ENTRIES:
        raise ListingError(f"more than {MOST_ENTRIES:,} entries are listed; such a listing is not read")


def _agree(head: Page[E], page: Page[E], number: int) -> None:
    """Whether a further page can be of the same listing as the first: asked at once, so that no page is read in vain."""
    if (page.total, page.page_count) != (head.total, head.page_count):
        raise ListingError(
            f"the totals changed between page 1 ({head.total} entries on {head.page_count} pages) "
            f"and page {number} ({page.total} on {page.page_count})"
        )
    if not page.entries and not page.rejected:
        # Also what ends a crawl through a page count that is far too high.
        raise ListingError(f"page {number} of {page.page_count} is empty")


def _complete(pages: Sequence[Page[E]]) -> Listing[E]:
    head = pages[0]
    entries: list[E] = []
    seen: set[str] = set()
    rejected: list[str] = []
    came = across = 0
    for page in pages:
        here: dict[str, E] = {}
        for entry in page.entries:
            # Real feeds list an entry twice [C]; on one page that is all it can be. One that comes twice with other facts is for
            # the plan to judge, so both stay.
            if here.get(_key(entry)) == entry:
                continue
            across += _key(entry) in seen
            here[_key(entry)] = entry
            entries.append(entry)
        seen |= here.keys()
        rejected += page.rejected
        came += len(page.entries) + len(page.rejected)
    if across:
        raise ListingError(f"{across} entries came on two pages: the pages moved while they were read")
    if head.total is not None and head.total not in (came, len(seen) + len(rejected)):
        raise ListingError(f"{came} entries came, {head.total} were announced")
    if head.total is None and any(len(page.entries) + len(page.rejected) < (head.page_size or 1) for page in pages[:-1]):
        raise ListingError("a page in the middle is not full")
    return Listing(tuple(entries), tuple(rejected))


def _key(entry: Resource | SubResource | RemoteFile) -> str:
    return entry.name if isinstance(entry, RemoteFile) else entry.id


async def in_parallel(jobs: Iterable[Callable[[], Awaitable[None]]], workers: int) -> None:
    """Run `jobs`, `workers` at a time; the first error ends the others and comes out."""
    queue = iter(jobs)

    async def work() -> None:
        for job in queue:
            await job()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except BaseExceptionGroup as group_error:
        raise _first(group_error) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
