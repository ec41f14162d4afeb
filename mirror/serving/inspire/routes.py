"""The routes of the INSPIRE download service, all below `/{upstream}/inspire/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from functools import partial

from aiohttp import web

from mirror.language import Language
from mirror.namespaces import ATOM_TYPE, OPENSEARCH_TYPE
from mirror.serving.absent import ids_of, not_here
from mirror.serving.answers import Document, respond
from mirror.serving.inspire.crs import NONE, UNKNOWN, crs_uri
from mirror.serving.inspire.datasets import Dataset, dataset, dataset_of_code, datasets
from mirror.serving.inspire.feeds import dataset_feed, found_feed, representation_feed, representation_type, service_feed
from mirror.serving.inspire.metadata import dataset_record, service_record
from mirror.serving.inspire.opensearch import opensearch_description
from mirror.serving.inspire.people import dataset_page, matching, results_page
from mirror.serving.inspire.representations import Representation, representations, representations_of
from mirror.serving.inspire.service import Service
from mirror.serving.origin import origin_of
from mirror.serving.site import Site, language_of
from mirror.store.newest import Newest
from mirror.store.offer import Offer

_XML = "application/xml"
_HTML = "text/html; charset=utf-8"
_LONGEST_WORD = 300

Make = Callable[[Service, Offer], Document | None]


def inspire_routes(site: Site) -> list[web.RouteDef]:
    """The routes."""

    def service_of(request: web.Request) -> Service:
        upstream = request.match_info["upstream"]
        now = site.observer.now().astimezone(UTC)
        return Service(origin_of(site.settings, upstream), site.base(request), now.date(), now)

    async def made(request: web.Request, make: Make, *key: object, keep: bool = True) -> Document | None:
        """What is kept by the service and `key`, which is what the document depends on besides."""
        service = service_of(request)
        upstream = service.origin.upstream

        def document(offer: Offer) -> Document | None:
            # Of an upstream of the config of which nothing is here yet, the service is empty; a name that nobody knows is none.
            if upstream not in site.settings.upstream and upstream not in offer.upstreams():
                return None
            return make(service, offer)

        if not keep:
            return await site.readers.ask(document)
        return await site.answers.get(("inspire", service, *key), document)

    async def answer(request: web.Request, make: Make, *key: object, keep: bool = True) -> web.StreamResponse:
        document = await made(request, make, *key, keep=keep)
        if document is None:
            raise await not_here(site, *ids_of(request))
        return respond(request, document)

    def asked_code(request: web.Request) -> str:
        """The code that is asked for. Raises HTTPNotFound where it is one in a namespace that is not ours."""
        namespace = _word(request.query, "spatial_dataset_identifier_namespace")
        if namespace and not service_of(request).names(namespace):
            raise web.HTTPNotFound
        return _code(request.query)

    async def get_service_feed(request: web.Request) -> web.StreamResponse:
        return await answer(request, _service_feed, "service")

    async def get_description(request: web.Request) -> web.StreamResponse:
        return await answer(request, _description, "description")

    async def get_service_record(request: web.Request) -> web.StreamResponse:
        return await answer(request, _service_record, "record")

    async def get_dataset_feed(request: web.Request) -> web.StreamResponse:
        resource = request.match_info["resource"]
        return await answer(request, partial(_dataset_feed, resource=resource), "feed", resource)

    async def get_dataset_record(request: web.Request) -> web.StreamResponse:
        resource = request.match_info["resource"]
        return await answer(request, partial(_dataset_record, resource=resource), "record", resource)

    async def get_dataset_page(request: web.Request) -> web.StreamResponse:
        resource, language = request.match_info["resource"], language_of(request)
        make = partial(_dataset_page, resource=resource, language=language)
        return await answer(request, make, "page", resource, language.code)

    async def get_representation_feed(request: web.Request) -> web.StreamResponse:
        resource, slug = request.match_info["resource"], request.match_info["slug"]
        page = _page(request.query)
        make = partial(_representation_feed, resource=resource, slug=slug, page=page)
        return await answer(request, make, "representation", resource, slug, page)

    async def describe(request: web.Request) -> web.StreamResponse:
        code = asked_code(request)
        return await answer(request, partial(_described, code=code), "described", code)

    async def get(request: web.Request) -> web.StreamResponse:
        code, asked = asked_code(request), _word(request.query, "crs")
        crs = crs_uri(asked) if asked else None
        if crs is not None:
            # What people make up is endless: one answer stands for all that there is nothing in.
            there = await made(request, partial(_systems, code=code), "systems", code)
            known = there.body.decode().split() if there is not None else []
            crs = crs if crs in known and (crs != UNKNOWN or asked == UNKNOWN) else NONE
        return await answer(request, partial(_found, code=code, crs=crs), "found", code, crs)

    async def search(request: web.Request) -> web.StreamResponse:
        make = partial(_results, asked=_word(request.query, "q"), language=language_of(request))
        return await answer(request, make, keep=False)  # what people type is endless

    base = "/{upstream:[^/]+}/inspire"
    return [
        web.get(f"{base}/service.xml", get_service_feed),
        web.get(f"{base}/opensearch.xml", get_description),
        web.get(f"{base}/metadata/service.xml", get_service_record),
        web.get(base + "/metadata/dataset/{resource}.xml", get_dataset_record),
        web.get(base + "/dataset/{resource}.html", get_dataset_page),
        web.get(base + "/dataset/{resource}.xml", get_dataset_feed),
        web.get(base + "/files/{resource}/{slug}.xml", get_representation_feed),
        web.get(f"{base}/describe", describe),
        web.get(f"{base}/get", get),
        web.get(f"{base}/search", search),
        web.get(f"{base}/", search),
        web.get(base + "/{resource:[^/]+}.xml", get_dataset_feed),
    ]


# -- what is made in a thread


def _everything(service: Service, offer: Offer) -> list[tuple[Dataset, list[Representation]]]:
    upstream = service.origin.upstream
    return [(one, representations_of(offer, upstream, one.resource.id)) for one in datasets(offer, upstream)]


def _service_feed(service: Service, offer: Offer) -> Document:
    return Document(service_feed(service, _everything(service, offer)), ATOM_TYPE)


def _description(service: Service, offer: Offer) -> Document:
    return Document(opensearch_description(service, _everything(service, offer)), OPENSEARCH_TYPE)


def _service_record(service: Service, offer: Offer) -> Document:
    return Document(service_record(service, _everything(service, offer)), _XML)


def _dataset_feed(service: Service, offer: Offer, *, resource: str) -> Document | None:
    return _feed_of(service, offer, dataset(offer, service.origin.upstream, resource))


def _feed_of(service: Service, offer: Offer, one: Dataset | None) -> Document | None:
    if one is None:
        return None
    newest = Newest(offer, service.origin.upstream, one.resource.id)
    return Document(dataset_feed(service, offer, one, newest), ATOM_TYPE)


def _dataset_record(service: Service, offer: Offer, *, resource: str) -> Document | None:
    one = dataset(offer, service.origin.upstream, resource)
    if one is None:
        return None
    return Document(dataset_record(service, one, representations_of(offer, service.origin.upstream, resource)), _XML)


def _dataset_page(service: Service, offer: Offer, *, resource: str, language: Language) -> Document | None:
    one = dataset(offer, service.origin.upstream, resource)
    if one is None:
        return None
    found = representations_of(offer, service.origin.upstream, resource)
    return Document(dataset_page(service, language, one, found), _HTML, vary="Accept-Language, Cookie")


def _representation_feed(service: Service, offer: Offer, *, resource: str, slug: str, page: int) -> Document | None:
    one = dataset(offer, service.origin.upstream, resource)
    if one is None:
        return None
    newest = Newest(offer, service.origin.upstream, resource)
    each = next((each for each in representations(newest) if each.slug == slug), None)
    if each is None:
        return None
    body = representation_feed(service, offer, one, newest, each, page)
    return Document(body, representation_type(each)) if body is not None else None


def _described(service: Service, offer: Offer, *, code: str) -> Document | None:
    return _feed_of(service, offer, dataset_of_code(offer, service.origin.upstream, code))


def _systems(service: Service, offer: Offer, *, code: str) -> Document | None:
    """In which CRS a data set is: URIs, for ourselves."""
    one = dataset_of_code(offer, service.origin.upstream, code)
    if one is None:
        return None
    found = representations_of(offer, service.origin.upstream, one.resource.id)
    return Document("\n".join(dict.fromkeys(each.crs for each in found)).encode(), "text/plain")


def _found(service: Service, offer: Offer, *, code: str, crs: str | None) -> Document | None:
    """A data set that is known is always found: of a CRS that it is not in there are no files (trap 4 of the validator)."""
    one = dataset_of_code(offer, service.origin.upstream, code)
    if one is None:
        return None
    newest = Newest(offer, service.origin.upstream, one.resource.id)
    return Document(found_feed(service, offer, one, newest, crs), ATOM_TYPE)


def _results(service: Service, offer: Offer, *, asked: str, language: Language) -> Document:
    found = matching(datasets(offer, service.origin.upstream), asked)
    return Document(results_page(service, language, found, asked), _HTML, vary="Accept-Language, Cookie")


# -- what is asked


def _code(query: Mapping[str, str]) -> str:
    """The code. Raises HTTPBadRequest where there is none."""
    code = _word(query, "spatial_dataset_identifier_code")
    if not code:
        raise web.HTTPBadRequest(text="spatial_dataset_identifier_code must say which data set is asked for")
    return code


def _word(query: Mapping[str, str], name: str) -> str:
    """A parameter; a placeholder of the template that nobody has filled in, such as `{searchTerms}`, says nothing."""
    value = query.get(name, "").strip()
    if len(value) > _LONGEST_WORD:
        raise web.HTTPBadRequest(text=f"{name} must be at most {_LONGEST_WORD} characters")
    return "" if value.startswith("{") and value.endswith("}") else value


def _page(query: Mapping[str, str]) -> int:
    """The page that is asked for; 0, which there is none of, for what is no number of one. Page 1 has one address, without it."""
    value = query.get("page")
    if value is None:
        return 1
    number = int(value) if value.isascii() and value.isdecimal() and len(value) < 7 else 0
    return number if number > 1 else 0
