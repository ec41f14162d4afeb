"""What of the mirror a request for a listing gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mirror.geometry import meets
from mirror.model import Footprint, Term
from mirror.serving.geoplateforme.asked import Asked, Paging, Window
from mirror.serving.geoplateforme.themes import is_about
from mirror.store.narrowing import Narrowing
from mirror.store.offer import Offer, OfferedFile, OfferedResource, OfferedSub
from mirror.vocabulary import fold_crs, fold_format, fold_zone

T = TypeVar("T")


def resources(offered: Iterable[OfferedResource], asked: Asked) -> Window[OfferedResource]:
    """Those of the resources that pass the filters of the capabilities [O]."""
    found = [one for one in offered if _passes(one, asked)]
    if asked.order == "title":
        found.sort(key=lambda one: (one.resource.title, one.resource.id))
    elif asked.order == "edition":
        found.sort(key=lambda one: (str(one.resource.edition_to or ""), one.resource.id))
    if asked.descending:
        found.reverse()
    return _window(found, asked.paging)


def sub_resources(offer: Offer, upstream: str, resource: str, asked: Asked) -> Window[OfferedSub]:
    """The sub-resources that pass the filters of a resource: those of the capabilities without `updated*` and `thematic` [O]."""
    ring = asked.polygon
    box = Footprint((ring,)).bbox if ring is not None else None
    narrowing = Narrowing(asked.zone, asked.format, asked.crs, asked.edition_from, asked.edition_to, box)
    page = asked.paging
    subs, total = offer.subs(
        upstream,
        resource,
        narrowing,
        order=asked.order,
        descending=asked.descending,
        limit=page.size,
        offset=page.offset,
        keep=None if ring is None else lambda footprint: meets(footprint, ring),
    )
    return Window(tuple(subs), page.page, page.size, total)


def files(offer: Offer, sub: OfferedSub, asked: Asked) -> Window[OfferedFile]:
    """The files of a sub-resource; the limit applies to them too [C]."""
    page = asked.paging
    if asked.order == "title" or asked.descending:
        found = sorted(offer.files(sub.id), key=lambda file: file.remote.name, reverse=asked.descending)
        return _window(found, page)
    return Window(tuple(offer.files(sub.id, limit=page.size, offset=page.offset)), page.page, page.size, sub.files)


def _window(found: Sequence[T], page: Paging) -> Window[T]:
    return Window(tuple(found[page.offset : page.offset + page.size]), page.page, page.size, len(found))


def _passes(one: OfferedResource, asked: Asked) -> bool:
    resource = one.resource
    coded = (
        (asked.zone, resource.zones, fold_zone),
        (asked.format, resource.formats, fold_format),
        (asked.crs, resource.crs, fold_crs),
    )
    if not all(code is None or _has(terms, fold(code), fold) for code, terms, fold in coded):
        return False
    day = (resource.updated or "")[:10]
    if asked.updated_from and day < asked.updated_from.isoformat():
        return False
    if asked.updated_to and (not day or day > asked.updated_to.isoformat()):
        return False
    # What has no date is in no period [I].
    if asked.edition_from and (resource.edition_to is None or resource.edition_to < asked.edition_from):
        return False
    if asked.edition_to and (resource.edition_from is None or resource.edition_from > asked.edition_to):
        return False
    if asked.thematic and not is_about(resource, asked.thematic):
        return False
    return asked.polygon is None or (resource.footprint is not None and meets(resource.footprint, asked.polygon))


def _has(terms: Sequence[Term], code: str, fold: Callable[[str], str]) -> bool:
    return any(fold(term.code) == code for term in terms)
