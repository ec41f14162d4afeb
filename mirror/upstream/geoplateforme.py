"""The dialect of the Géoplateforme's download API: which request lists what. Opens no socket.

Routes [O]: /capabilities -> /resource/{r} -> /resource/{r}/{s} -> /download/{r}/{s}/{f}; exactly three levels, files flat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import quote

from mirror.model import Page, RemoteFile, Resource, SubResource
from mirror.planning.changes import Scope
from mirror.upstream.feed import parse_capabilities, parse_resource, parse_sub_resource

PAGE_LIMITS = (50, 47, 43)
"""Entries per page to ask for, on the first reading and on each further one.

50 is the most there is: a larger limit is clamped without a word [O]. A reading that does not add up is done again with other page
borders, so that an entry which upstream really lists twice comes to lie within a page, and pages that overlap still show.
"""

ACCEPT = "application/json, application/atom+xml;q=0.9, application/xml;q=0.8"
"""JSON first: its shape is known from live answers [L], that of the XML only in part."""


@dataclass(frozen=True, slots=True)
class Request:
    """A page to ask for: the address without its query, and the query."""

    url: str
    query: Mapping[str, str]


class Geoplateforme:
    """The requests of one service of this kind, from the address of its capabilities (or of the folder above)."""

    def __init__(self, url: str) -> None:
        self.base = url.rstrip("/").removesuffix("/capabilities")

    def capabilities(self, updated_from: date | None = None) -> Request:
        """The resources; only those published on `updated_from` or later, if it is given."""
        return Request(f"{self.base}/capabilities", {"updatedFrom": updated_from.isoformat()} if updated_from else {})

    def resource(self, resource: str, scope: Scope) -> Request:
        """The sub-resources of a resource within a scope. Unlike the capabilities, this level has no updatedFrom [O]."""
        filters = {
            "zone": scope.zone,
            "format": scope.format,
            "editionDateFrom": scope.start.isoformat() if scope.start else "",
            "editionDateTo": scope.end.isoformat() if scope.end else "",
        }
        return Request(f"{self.base}/resource/{_segment(resource)}", {name: value for name, value in filters.items() if value})

    def sub_resource(self, resource: str, sub_resource: str) -> Request:
        """The files of a sub-resource. Paged like everything else: 2,213 LiDAR tiles lie in one block [C]."""
        return Request(f"{self.base}/resource/{_segment(resource)}/{_segment(sub_resource)}", {})

    def page(self, request: Request, number: int, limit: int) -> Request:
        """One page of a listing, counted from 1."""
        return Request(request.url, {**request.query, "page": str(number), "limit": str(limit)})

    def read_capabilities(self, body: bytes) -> Page[Resource]:
        """Raises FeedError."""
        return parse_capabilities(body)

    def read_resource(self, body: bytes, resource: str) -> Page[SubResource]:
        """Raises FeedError."""
        return parse_resource(body, resource)

    def read_sub_resource(self, body: bytes, resource: str, sub_resource: str) -> Page[RemoteFile]:
        """Raises FeedError."""
        page = parse_sub_resource(body)
        return replace(page, entries=tuple(self._at_home(file, resource, sub_resource) for file in page.entries))

    def _at_home(self, file: RemoteFile, resource: str, sub_resource: str) -> RemoteFile:
        """The file with an address on the configured endpoint.

        Hosts have moved before (the 2023 beta host is gone [O]), and a mirror or proxy may list the original's addresses: where a
        file is fetched is for the config to say, never for a feed. The three names are what the route is made of [O].
        """
        if file.url.startswith(self.base + "/"):
            return file
        name = file.url.rstrip("/").rpartition("/")[2] or _segment(file.name)  # as encoded there; it has no query any more
        return replace(file, url=f"{self.base}/download/{_segment(resource)}/{_segment(sub_resource)}/{name}")


def _segment(name: str) -> str:
    return quote(name, safe="")
