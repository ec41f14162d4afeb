"""The routes of the API: `/{upstream}/capabilities`, `/{upstream}/resource/{r}` and `/{upstream}/resource/{r}/{sub}`."""

from __future__ import annotations

from aiohttp import web

from mirror.namespaces import ATOM_TYPE
from mirror.serving.absent import not_here
from mirror.serving.answers import Document, respond
from mirror.serving.geoplateforme.asked import NotUnderstood, asked_of
from mirror.serving.geoplateforme.pages import page
from mirror.serving.geoplateforme.spelling import to_json, to_xml
from mirror.serving.negotiation import listed, weight_of
from mirror.serving.origin import origin_of
from mirror.serving.readers import Lane
from mirror.serving.site import Site, path_of
from mirror.store.offer import Offer

_JSON = "application/json"
_XML = (ATOM_TYPE, "application/xml", "text/xml")


def geoplateforme_routes(site: Site) -> list[web.RouteDef]:
    """The routes to the listings."""

    async def get_page(request: web.Request) -> web.StreamResponse:
        upstream = request.match_info["upstream"]
        ids = tuple(request.match_info[name] for name in ("resource", "sub_resource") if name in request.match_info)
        try:
            asked = asked_of(request.query)
        except NotUnderstood as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        base = f"{site.base(request)}{path_of(upstream)}"
        origin = origin_of(site.settings, upstream)
        json = wants_json(request)

        def make(offer: Offer) -> Document | None:
            # Of an upstream of the config of which nothing is here yet, the listing is empty; a name that nobody knows is none.
            if upstream not in site.settings.upstream and upstream not in offer.upstreams():
                return None
            document = page(offer, origin, base, ids, asked)
            if document is None:
                return None
            if json:
                return Document(to_json(document), _JSON, vary="Accept")
            return Document(to_xml(document), f"{ATOM_TYPE};charset=UTF-8", vary="Accept")

        lane: Lane = "listings" if asked.polygon is None else "costly"
        document = await site.answers.get(("geoplateforme", origin, base, ids, asked, json), make, lane)
        if document is None:
            raise await not_here(site, upstream, *ids)
        return respond(request, document)

    return [
        web.get("/{upstream:[^/]+}/capabilities", get_page),
        web.get("/{upstream:[^/]+}/resource/{resource:[^/]+}", get_page),
        web.get("/{upstream:[^/]+}/resource/{resource:[^/]+}/{sub_resource:[^/]+}", get_page),
    ]


def wants_json(request: web.Request) -> bool:
    """Whether JSON was asked for, in either of the two ways [C], and XML not liked better; the default is XML [O]."""
    if request.query.get("outputFormat", "").lower() == _JSON:
        return True
    accept = listed(request, "Accept")
    liking = weight_of(accept, _JSON)
    return liking > 0 and all(weight_of(accept, kind) <= liking for kind in _XML)
