"""A page of the sample catalogue, as the live service writes it; what goes wrong in a catalogue goes wrong in its pages."""

from __future__ import annotations

from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.serving.geoplateforme.asked import Window
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
from mirror.serving.origin import GEOPLATEFORME_RIGHTS

# [L] official_capabilities.json
_AUTHOR = {"name": "Institut national de l’information géographique et forestière", "email": "geoplateforme@ign.fr"}
_SUBTITLE = "This Download Service allows you to download public datasources"


def capabilities(catalogue: Catalogue, window: Window[SampleResource], base: str, lang: str) -> Document:
    """The page of the capabilities that shows `window`; `base` is what all links start with, without a slash at its end."""
    url = f"{base}/capabilities"
    return {
        **head(window, lang, catalogue.title, _SUBTITLE, url),
        "rights": GEOPLATEFORME_RIGHTS,
        **given({"updated": catalogue.updated}),
        "author": _AUTHOR,
        "link": [self_link(url), *language_links(url, catalogue.title), link(url, "up")],
        "entry": [_resource_entry(resource, base) for resource in window.entries],
    }


def resource_page(resource: SampleResource, window: Window[SampleSub], base: str, lang: str) -> Document:
    """The page of a resource's sub-resources."""
    url = resource_url(base, resource.id)
    return {
        **head(window, lang, resource.stated_title, resource.abstract, url),
        **given({"updated": resource.stated_updated, "spatialDatasetIdentifierCode": resource.stated_identifier}),
        "link": [*language_links(url, resource.stated_title or resource.id), self_link(url), link(f"{base}/capabilities", "up")],
        "entry": [_sub_entry(resource.id, sub, base) for sub in window.entries],
    }


def sub_resource_page(resource_id: str, sub: SampleSub, window: Window[SampleFile], base: str, lang: str) -> Document:
    """The page of a sub-resource's files."""
    url = resource_url(base, resource_id, sub.id)
    return {
        **head(window, lang, sub.stated_title, sub.stated_abstract, url),
        **given({"updated": sub.updated, **firsts(sub.zones, sub.formats, sub.resolutions), "editionDate": sub.edition_date}),
        "link": [
            link(f"{url}?lang=fr", "alternate", hreflang="fr", title=sub.stated_title),
            self_link(url),
            link(resource_url(base, resource_id), "up"),
        ],
        "entry": [_file_entry(resource_id, sub, file, base) for file in window.entries],
    }


def _resource_entry(resource: SampleResource, base: str) -> Document:
    members = resource_entry(
        resource_url(base, resource.id),
        title=resource.stated_title,
        identifier=resource.stated_identifier,
        updated=resource.stated_updated,
        abstract=resource.abstract,
        footprint=resource.stated_polygon,
        edition_from=resource.stated_edition_from,
        edition_to=resource.stated_edition_to,
        crs=resource.stated_crs,
        zones=resource.stated_zones,
        formats=resource.stated_formats,
        resolutions=resource.stated_resolutions,
    )
    return given({**members, **dict(resource.extra)}, resource.omit)


def _sub_entry(resource_id: str, sub: SampleSub, base: str) -> Document:
    members = sub_entry(
        resource_url(base, resource_id, sub.id),
        title=sub.stated_title,
        updated=sub.updated,
        abstract=sub.stated_abstract,
        footprint=sub.polygon,
        edition_date=sub.edition_date,
        crs=sub.crs,
        zones=sub.zones,
        formats=sub.formats,
        resolutions=sub.resolutions,
    )
    return given({**members, **dict(sub.extra)}, sub.omit)


def _file_entry(resource_id: str, sub: SampleSub, file: SampleFile, base: str) -> Document:
    members = file_entry(
        file.href or download_url(base, resource_id, sub.id, file.name),
        rel=file.rel,
        media_type=file.stated_type,
        size=file.stated_size,
        md5=file.stated_md5,
        crs=sub.crs,
        contents=file.stated_contents,
    )
    return given({**members, **dict(file.extra)}, file.omit)
