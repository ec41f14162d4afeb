"""Feed bytes to a page of the model: resources, sub-resources or files. JSON and XML of one listing give equal pages.

    bytes -> sniff -> feed_json | feed_xml -> published.py -> here: ids, dates, hashes -> Page

Whatever the bytes, the only error is `FeedError`. An entry that cannot be taken costs one line in `Page.rejected`, never the page.
Whether a name is fit for a file system is not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from sys import intern
from urllib.parse import unquote

from mirror.errors import FeedError
from mirror.model import E, Page, RemoteFile, Resource, SubResource
from mirror.upstream.feed_json import read_json
from mirror.upstream.feed_xml import read_xml
from mirror.upstream.published import PublishedEntry, PublishedLink, PublishedPage

SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes of a page that are read at most. 50 entries without polygons are some 50 kB."""

_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_LINK = PublishedLink()


def parse_capabilities(body: bytes, *, size_limit: int = SIZE_LIMIT) -> Page[Resource]:
    """A page of the capabilities: the resources. Raises FeedError."""
    return _page(_read(body, size_limit), _resource, _id_first)


def parse_resource(body: bytes, resource: str, *, size_limit: int = SIZE_LIMIT) -> Page[SubResource]:
    """A page of the feed of `resource` (its id): the sub-resources. Raises FeedError."""

    def build(entry: PublishedEntry, name: str, link: PublishedLink) -> SubResource:
        return _sub_resource(resource, entry, name, link)

    return _page(_read(body, size_limit), build, _id_first)


def parse_sub_resource(body: bytes, *, size_limit: int = SIZE_LIMIT) -> Page[RemoteFile]:
    """A page of the feed of a sub-resource: the files. Raises FeedError."""
    return _page(_read(body, size_limit), _remote_file, _href_first)


def _read(body: bytes, size_limit: int) -> PublishedPage:
    if len(body) > size_limit:
        raise FeedError(f"expected a feed of at most {size_limit} bytes, got {len(body)}")
    start = body.strip().removeprefix(b"\xef\xbb\xbf").lstrip()
    match start[:1]:
        case b"{" | b"[":
            return read_json(start)
        case b"<":
            return read_xml(start)
        case b"":
            raise FeedError("expected a feed, got an empty body")
        case _:
            raise FeedError(f"expected a feed in XML or JSON, got {len(body)} bytes of something else")


def _page(
    published: PublishedPage,
    build: Callable[[PublishedEntry, str, PublishedLink], E],
    urls: Callable[[PublishedEntry, PublishedLink], tuple[str, str]],
) -> Page[E]:
    entries: list[E] = []
    rejected: list[str] = []
    for number, entry in enumerate(published.entries, 1):
        if entry is None:
            rejected.append(f"entry {number}: expected an object, got something else")
            continue
        link = _chosen(entry.links)
        first, second = urls(entry, link)
        name = _last_segment(first) or _last_segment(second)
        if not name:
            rejected.append(f"entry {number}{_titled(entry)}: neither its id nor a link has a name for it")
        elif "\ufffd" in name:
            rejected.append(f"entry {number}{_titled(entry)}: its name is not valid UTF-8 ({name!r})")
        else:
            entries.append(build(entry, name, link))
    return Page(
        entries=tuple(entries),
        page=published.page,
        page_size=published.page_size,
        page_count=published.page_count,
        total=published.total,
        title=published.title,
        rejected=tuple(rejected),
    )


def _titled(entry: PublishedEntry) -> str:
    return f" ({entry.title!r})" if entry.title else ""


# [O] The id of a resource or sub-resource is the last segment of its `id`, the name of a file that of its link. Feeds trimmed or
# written by others lack the one or the other [L], so each stands in for the other.


def _id_first(entry: PublishedEntry, link: PublishedLink) -> tuple[str, str]:
    return entry.id, link.href


def _href_first(entry: PublishedEntry, link: PublishedLink) -> tuple[str, str]:
    return link.href, entry.id


def _chosen(links: list[PublishedLink]) -> PublishedLink:
    """The link to what the entry lists: the first `alternate` (no rel means that, says RFC 4287) or `section`, else the first."""
    for link in links:
        if link.href and link.rel in ("alternate", "section", ""):
            return link
    return next((link for link in links if link.href), _NO_LINK)


def _resource(entry: PublishedEntry, name: str, link: PublishedLink) -> Resource:
    return Resource(
        id=name,
        url=_without_query(link.href or entry.id),
        title=entry.title,
        abstract=entry.content or entry.summary,
        updated=_day_or_later(entry.updated),
        edition_from=_date(entry.edition_start),
        edition_to=_date(entry.edition_end),
        zones=entry.zones,
        formats=entry.formats,
        crs=entry.crs,
        resolutions=entry.resolutions,
        footprint=entry.footprint,
        identifier=entry.identifier,
    )


def _sub_resource(resource: str, entry: PublishedEntry, name: str, link: PublishedLink) -> SubResource:
    return SubResource(
        resource=resource,
        id=name,
        url=_without_query(link.href or entry.id),
        title=entry.title,
        abstract=entry.content or entry.summary,
        updated=_day_or_later(entry.updated),
        edition_date=_date(entry.edition_date),
        zones=entry.zones,
        formats=entry.formats,
        crs=entry.crs,
        resolutions=entry.resolutions,
        footprint=entry.footprint,
    )


def _remote_file(entry: PublishedEntry, name: str, link: PublishedLink) -> RemoteFile:
    return RemoteFile(
        name=name,
        url=_without_query(link.href or entry.id),
        size=link.length,
        # [O] The content of a file's entry is its MD5.
        md5=entry.content.lower() if _MD5.fullmatch(entry.content) else None,
        media_type=intern(link.media_type),
        rel=intern(link.rel) or "alternate",
        contents=entry.media_types,
    )


def _without_query(url: str) -> str:
    """The URL without query and fragment: on the private service the query holds the key [O], which must not go any further."""
    return url.partition("?")[0].partition("#")[0]


def _last_segment(url: str) -> str:
    """The last segment of the URL's path, percent-decoded once; empty where there is none. U+FFFD stands for what is not UTF-8."""
    path = _without_query(url)
    _, scheme, rest = path.partition("://")
    if scheme:
        path = rest.partition("/")[2]
    segment = path.rstrip("/").rpartition("/")[2]
    return unquote(segment) if "%" in segment else segment


@lru_cache(maxsize=4096)
def _date(text: str) -> date | None:
    """The day that a date, or a date with a time behind it, begins with."""
    if not _DAY.match(text):
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _day_or_later(text: str) -> str | None:
    """The text as published if it begins with a day; `2024-09-16` and `2026-07-07T14:59:00+01:00` both occur [O, L]."""
    return text if _date(text) else None
