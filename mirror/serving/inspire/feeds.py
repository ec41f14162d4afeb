"""The feeds: of the service, of a data set, of a representation, and of what a Get Spatial Data Set finds."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from lxml import etree

from mirror.geometry import around
from mirror.namespaces import ATOM_TYPE, INSPIRE_DLS, OPENSEARCH_TYPE
from mirror.phrases import phrase, plural
from mirror.serving.downloads.headers import media_type
from mirror.serving.geoplateforme.document import download_url
from mirror.serving.geoplateforme.spelling import MIRROR
from mirror.serving.inspire.atom import (
    MOST_POSITIONS,
    box_attribute,
    box_polygon,
    crs_category,
    edition_category,
    footprint_polygon,
    link,
    mark_withdrawn,
    new_entry,
    new_feed,
    text,
    written,
)
from mirror.serving.inspire.crs import UNKNOWN
from mirror.serving.inspire.datasets import Dataset
from mirror.serving.inspire.editions import Titled, all_files, files_on
from mirror.serving.inspire.representations import Representation, linked_singly, representations
from mirror.serving.inspire.service import Service
from mirror.store.newest import Newest, ground
from mirror.store.offer import Offer, OfferedFile

_XML = "application/xml"
_HTML = "text/html"


def service_feed(service: Service, found: Sequence[tuple[Dataset, Sequence[Representation]]]) -> bytes:
    """The service feed: an entry for each data set (R1, R5-R20)."""
    changed_at = max((one.offered.changed_at for one, _ in found), default="")
    feed = new_feed(service, service.feed, service.title, service.subtitle, changed_at)
    link(feed, "describedby", service.record, type=_XML, hreflang=service.lang)
    title = service.say(phrase("OpenSearch description of this service"))
    link(feed, "search", service.description, type=OPENSEARCH_TYPE, hreflang=service.lang, title=title)
    link(feed, "alternate", service.home, type=_HTML, title=service.say(phrase("This service as a page")))
    for one, its in found:
        url = service.dataset_feed(one.resource.id)
        entry = new_entry(feed, service, url, one.title, one.offered.changed_at)
        text(entry, "spatial_dataset_identifier_code", one.code, INSPIRE_DLS)
        text(entry, "spatial_dataset_identifier_namespace", service.home, INSPIRE_DLS)
        link(entry, "describedby", service.dataset_record(one.resource.id), type=_XML, hreflang=service.lang)
        link(entry, "alternate", url, type=ATOM_TYPE, hreflang=service.lang, title=one.title)
        text(entry, "rights", service.rights)
        text(entry, "summary", one.abstract)
        for uri, label in {each.crs: crs_label(service, each) for each in its}.items():
            crs_category(entry, uri, label)
        box_polygon(entry, around(each.box for each in its))
        if one.offered.withdrawn:
            mark_withdrawn(entry, None)
    return written(feed)


def dataset_feed(service: Service, offer: Offer, one: Dataset, newest: Newest) -> bytes:
    """The feed of a data set: an entry for each CRS and format (R21-R35)."""
    feed = new_feed(service, service.dataset_feed(one.resource.id), one.title, one.abstract, one.offered.changed_at)
    _dataset_links(feed, service, one)
    link(feed, "up", service.feed, type=ATOM_TYPE, hreflang=service.lang, title=service.title)
    _entries(feed, service, offer, one, newest, representations(newest))
    return written(feed)


def found_feed(service: Service, offer: Offer, one: Dataset, newest: Newest, crs: str | None) -> bytes:
    """The answer to a Get Spatial Data Set: links to all files in a CRS, or in any where `crs` is None (R43)."""
    found = representations(newest)
    wanted = [each for each in found if crs is None or each.crs == crs]
    asked = {
        "spatial_dataset_identifier_code": one.code,
        "spatial_dataset_identifier_namespace": service.home,
        **({} if crs is None else {"crs": crs}),
        "language": service.lang,
    }
    title = one.title if crs is None or not wanted else f"{one.title} – {crs_label(service, wanted[0])}"
    known = ", ".join(dict.fromkeys(each.crs for each in found))
    subtitle = service.say(phrase("Files of this data set, which is here in these CRS: {crs}", crs=known))
    changed_at = max((each.changed_at for each in wanted), default=one.offered.changed_at)
    url = f"{service.url('inspire', 'get')}?{urlencode(asked, quote_via=quote, safe='')}"
    feed = new_feed(service, url, title, subtitle, changed_at)
    link(feed, "up", service.dataset_feed(one.resource.id), type=ATOM_TYPE, hreflang=service.lang, title=one.title)
    _entries(feed, service, offer, one, newest, wanted)
    return written(feed)


def representation_feed(
    service: Service, offer: Offer, one: Dataset, newest: Newest, each: Representation, page: int
) -> bytes | None:
    """The feed of a representation, which says what its files are: an entry for each file. None beyond the last page.

    One link in an entry is what GDAL reads: it takes a feed with a dozen of them in one entry for a broken one.
    """
    if not 1 <= page <= each.pages:
        return None
    resource = one.resource.id
    subtitle = service.say(phrase("The files of the newest editions of this data set in one CRS and format"))
    url = service.representation_feed(resource, each.slug, page)
    feed = new_feed(service, url, representation_title(service, one, each), subtitle, each.changed_at)
    link(feed, "up", service.dataset_feed(resource), type=ATOM_TYPE, hreflang=service.lang, title=one.title)
    if each.pages > 1:  # RFC 5005, section 3
        for rel, number in {"first": 1, "previous": page - 1, "next": page + 1, "last": each.pages}.items():
            if 1 <= number <= each.pages:
                link(feed, rel, service.representation_feed(resource, each.slug, number), type=representation_type(each))
    for found, files in files_on(offer, newest, each, page):
        for file in files:
            _file_entry(feed, service, offer, each, found, file)
    return written(feed)


def representation_type(each: Representation) -> str:
    """The media type of the feed of a representation. Its parameter makes it one that no other entry of the data set links to: the
    validator takes entries in one CRS whose `alternate` links have the same type for the same representation (R27).
    """
    return f"{ATOM_TYPE};representation={each.slug}"


def representation_title(service: Service, one: Dataset, each: Representation) -> str:
    """What an entry is called; its own among those of the data set, as CRS and format are."""
    return f"{one.title} – {format_label(service, each)} – {crs_label(service, each)}"


def format_label(service: Service, each: Representation) -> str:
    """What its format is called."""
    return each.format_label or service.say(phrase("format not stated"))


def crs_label(service: Service, each: Representation) -> str:
    """What its CRS is called."""
    if each.crs != UNKNOWN:
        return each.crs_label or each.crs
    return service.say(phrase("CRS not stated"))


def _dataset_links(feed: etree._Element, service: Service, one: Dataset) -> None:
    resource = one.resource.id
    # R28: which objects are inside is for the publisher to say; what there is to know of them here is on our own page.
    title = service.say(phrase("What this data set is"))
    link(feed, "describedby", service.dataset_page(resource), type=_HTML, title=title)
    link(feed, "describedby", service.dataset_record(resource), type=_XML, hreflang=service.lang)


def _entries(
    feed: etree._Element, service: Service, offer: Offer, one: Dataset, newest: Newest, found: Sequence[Representation]
) -> None:
    singly = linked_singly(found)
    files = {each.slug: all_files(offer, newest, each) if each.slug in singly else [] for each in found}
    types: dict[tuple[str, str], int] = {}
    for each in found:
        if len(files[each.slug]) == 1:
            key = each.crs, _media_type(files[each.slug][0][1])
            types[key] = types.get(key, 0) + 1
    titles: set[str] = set()
    for each in found:
        offer.check()
        title = representation_title(service, one, each)
        if title in titles:
            title = f"{title} ({each.slug})"
        titles.add(title)
        url = service.representation_feed(one.resource.id, each.slug)
        entry = new_entry(feed, service, url, title, each.changed_at)
        linked = files[each.slug]
        described: dict[str, str | None] = {"type": representation_type(each), "hreflang": service.lang, "title": title}
        if len(linked) == 1:
            if types[each.crs, _media_type(linked[0][1])] > 1:
                link(entry, "alternate", url, **described)
            _file_link(entry, service, "alternate", *linked[0])
        else:
            if not linked:  # this is then the one link to the data, and has the length of what it leads to
                body = representation_feed(service, offer, one, newest, each, 1)
                described["length"] = str(len(body or b""))
            link(entry, "alternate", url, **described)
            for edition, file in linked:
                _file_link(entry, service, "section", edition, file)
        text(entry, "summary", _summary(service, each))
        crs_category(entry, each.crs, crs_label(service, each))
        box_polygon(entry, each.box)
        if each.withdrawn:
            mark_withdrawn(entry, each.withdrawn_at)


def _file_entry(
    feed: etree._Element, service: Service, offer: Offer, each: Representation, found: Titled, file: OfferedFile
) -> None:
    edition = found.edition
    entry = new_entry(feed, service, _file_url(service, found, file), _file_title(service, found, file), edition.changed_at)
    _file_link(entry, service, "alternate", found, file)
    about = ground(offer, edition, positions=MOST_POSITIONS)
    if about.abstract.strip() and about.abstract.strip() not in (edition.title.strip(), edition.name):
        text(entry, "summary", about.abstract)
    crs_category(entry, each.crs, crs_label(service, each))
    edition_category(entry, service.url("resource", edition.resource), edition.name, found.title)
    footprint_polygon(entry, about.footprint, edition.box)
    if edition.withdrawn_at:
        mark_withdrawn(entry, edition.withdrawn_at)


def _file_link(entry: etree._Element, service: Service, rel: str, found: Titled, file: OfferedFile) -> None:
    """Adds the link to a file (R29-R32), with the ground and the day that it is of."""
    edition = found.edition
    attributes = {
        "type": _media_type(file),
        "hreflang": service.lang,
        "length": str(file.size),
        "title": _file_title(service, found, file),
        "bbox": box_attribute(edition.box) if edition.box else None,
        "time": edition.edition_date.isoformat() if edition.edition_date else None,
        f"{{{MIRROR}}}state": "withdrawn" if edition.withdrawn_at else None,
    }
    link(entry, rel, _file_url(service, found, file), **attributes)


def _media_type(file: OfferedFile) -> str:
    """The media type of a file, as it is served (R30)."""
    return media_type(file.remote.media_type)


def _file_url(service: Service, found: Titled, file: OfferedFile) -> str:
    return download_url(service.url(), found.edition.resource, found.edition.name, file.remote.name)


def _file_title(service: Service, found: Titled, file: OfferedFile) -> str:
    """The title of the edition and the name of the file, which often begins with it."""
    name = file.remote.name
    title = name if name.startswith(found.title) else f"{found.title} – {name}"
    return service.say(phrase("{title} (withdrawn upstream)", title=title)) if found.edition.withdrawn_at else title


def _summary(service: Service, each: Representation) -> str:
    editions = plural(each.editions, "{n} edition", "{n} editions")
    files = plural(each.files, "{n} file", "{n} files")
    return service.say(phrase("{editions}, {files}", editions=editions, files=files))
