"""The pages of the API, of what the mirror offers."""

from __future__ import annotations

from datetime import date

from mirror.model import Level
from mirror.serving.geoplateforme import listing
from mirror.serving.geoplateforme.asked import Asked
from mirror.serving.geoplateforme.document import (
    download_url,
    file_entry,
    firsts,
    given,
    head,
    language_links,
    link,
    resource_entry,
    resource_url,
    self_link,
    sub_entry,
)
from mirror.serving.geoplateforme.spelling import Document
from mirror.serving.origin import Origin
from mirror.store.offer import Offer, OfferedFile, OfferedResource, OfferedSub


def page(offer: Offer, origin: Origin, base: str, ids: tuple[str, ...], asked: Asked) -> Document | None:
    """The page of the capabilities, of a resource or of a sub-resource, by the number of ids; None where nothing is offered there.

    `base` is what all links start with, without a slash at its end.
    """
    match ids:
        case ():
            return _capabilities(offer, origin, base, asked)
        case (resource,):
            return _resource(offer, origin, base, resource, asked)
        case (resource, sub_resource):
            return _sub_resource(offer, origin, base, resource, sub_resource, asked)
    return None


def _capabilities(offer: Offer, origin: Origin, base: str, asked: Asked) -> Document:
    offered = offer.resources(origin.upstream)
    window = listing.resources(offered, asked)
    url = f"{base}/{Level.CAPABILITIES}"
    changed = max((one.changed_at for one in offered), default="")  # of the service, whichever part of it a page shows
    return {
        **head(window, asked.lang, origin.title(asked.lang), origin.subtitle(asked.lang), url),
        "rights": origin.rights,
        **given({"updated": changed[:10] or None}),
        "author": given({"name": origin.author, "email": origin.email}),
        "link": [self_link(url), *language_links(url, origin.title("en"), origin.title("fr")), link(url, "up")],
        "entry": [_resource_entry(one, base) for one in window.entries],
    }


def _resource(offer: Offer, origin: Origin, base: str, resource_id: str, asked: Asked) -> Document | None:
    found = offer.resource(origin.upstream, resource_id)
    if found is None:
        return None
    resource = found.resource
    window = listing.sub_resources(offer, origin.upstream, resource_id, asked)
    url = resource_url(base, resource_id)
    title = resource.title or resource_id
    return {
        **head(window, asked.lang, title, resource.abstract or None, url),
        **given({"updated": resource.updated, "spatialDatasetIdentifierCode": resource.identifier or None}),
        "link": [*language_links(url, title), self_link(url), link(f"{base}/{Level.CAPABILITIES}", "up")],
        "entry": [_sub_entry(sub, base) for sub in window.entries],
    }


def _sub_resource(offer: Offer, origin: Origin, base: str, resource_id: str, sub_id: str, asked: Asked) -> Document | None:
    found = offer.sub(origin.upstream, resource_id, sub_id)
    if found is None:
        return None
    sub = found.sub
    window = listing.files(offer, found, asked)
    url = resource_url(base, resource_id, sub_id)
    title = sub.title or sub_id
    return {
        **head(window, asked.lang, title, sub.abstract or None, url),
        **given({"updated": sub.updated}),
        **firsts(sub.zones, sub.formats, sub.resolutions),
        **given({"editionDate": _day(sub.edition_date)}),
        **_mark(found),
        "link": [
            link(f"{url}?lang=fr", "alternate", hreflang="fr", title=title),
            self_link(url),
            link(resource_url(base, resource_id), "up"),
        ],
        "entry": [_file_entry(found, file, base) for file in window.entries],
    }


def _resource_entry(one: OfferedResource, base: str) -> Document:
    resource = one.resource
    entry = resource_entry(
        resource_url(base, resource.id),
        title=resource.title,
        identifier=resource.identifier or None,
        updated=resource.updated,
        abstract=resource.abstract or None,
        footprint=resource.footprint,
        edition_from=_day(resource.edition_from),
        edition_to=_day(resource.edition_to),
        crs=resource.crs,
        zones=resource.zones,
        formats=resource.formats,
        resolutions=resource.resolutions,
    )
    return given({**entry, "state": "withdrawn" if one.withdrawn else None})


def _sub_entry(found: OfferedSub, base: str) -> Document:
    sub = found.sub
    entry = sub_entry(
        resource_url(base, sub.resource, sub.id),
        title=sub.title,
        updated=sub.updated,
        abstract=sub.abstract or None,
        footprint=sub.footprint,
        edition_date=_day(sub.edition_date),
        crs=sub.crs,
        zones=sub.zones,
        formats=sub.formats,
        resolutions=sub.resolutions,
    )
    return given({**entry, **_mark(found)})


def _file_entry(found: OfferedSub, file: OfferedFile, base: str) -> Document:
    remote = file.remote
    entry = file_entry(
        download_url(base, found.sub.resource, found.sub.id, remote.name),
        rel=remote.rel,
        media_type=remote.media_type,
        size=file.size,
        md5=file.md5,
        crs=found.sub.crs,
        contents=remote.contents,
    )
    return given(entry)


def _mark(found: OfferedSub) -> Document:
    """Ours: what upstream no longer has is kept here, and said to be so."""
    return {"state": "withdrawn", "withdrawnAt": found.withdrawn_at} if found.withdrawn_at else {}


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None
