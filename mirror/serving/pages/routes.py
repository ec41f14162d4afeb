"""The routes of the pages. Each is made in a thread, of one state of the index, and kept until that changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Hashable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from mirror.errors import IndexMissing
from mirror.language import Language
from mirror.serving.absent import ids_of, not_here
from mirror.serving.answers import Document, respond
from mirror.serving.origin import origin_of
from mirror.serving.pages.asked import Asked, asked_of
from mirror.serving.pages.errors import error_page, is_browser
from mirror.serving.pages.footprints import MOST_SHAPES, geojson
from mirror.serving.pages.rendering import CONTENT_TYPE, POLICY, VARY, render
from mirror.serving.pages.resource import edition_facts, resource_facts, shape_of, shapes_of
from mirror.serving.pages.search import Beside, search_facts, suggestions
from mirror.serving.pages.statics import get_static
from mirror.serving.pages.status import RUNS_SHOWN, charts, status_facts
from mirror.serving.shared import FRESH, Shared
from mirror.serving.site import LANGUAGE_COOKIE, Site, language_of, path_of
from mirror.store.finding import TooMuch, bounded, runs
from mirror.store.offer import Offer

_JSON = "application/json"
_A_YEAR = 365 * 24 * 3600
_LONGEST_TYPED = 100

# By itself aiohttp takes no braces for a part of a path; ids may have them.
_UPSTREAM, _RESOURCE, _SUB_RESOURCE = "{upstream:[^/]+}", "{resource:[^/]+}", "{sub_resource:[^/]+}"

Facts = Callable[[Offer], dict[str, Any] | None]


def page_routes(site: Site, *, fresh: float = FRESH) -> list[web.RouteDef]:
    """The routes; they come after all others, as `/{upstream}/{resource}` is any two words. `fresh` as in `machine_routes`."""
    beside = Beside()
    standing = Shared(lambda: status_facts(site), fresh=fresh)

    async def answer(
        request: web.Request,
        template: str,
        asked: Asked,
        facts: Facts,
        *,
        depends: tuple[Any, ...] = (),
        version: Hashable | None = None,
    ) -> web.Response:
        """A page of the index, as far as it can be made; `depends` is what else it depends on, `version` as in `Answers.get`."""
        language, prefix = language_of(request), site.prefix()
        if not all(request.query.values()):  # as a form sends what nobody has filled in
            said = urlencode([(name, value) for name, value in request.query.items() if value])
            place = f"{prefix}{path_of(*request.match_info.values()) or '/'}{'?' if said else ''}{said}"
            return web.Response(status=303, headers={"Location": place})
        here = (path_of(*request.match_info.values()) or "/") + asked.query

        def make(offer: Offer) -> Document | None:
            with bounded(offer):
                found = facts(offer)
            if found is None:
                return None
            is_of_now = found.pop("is_of_now", True)
            return Document(render(template, language, prefix, here, **found), CONTENT_TYPE, vary=VARY, is_of_now=is_of_now)

        try:
            key = ("page", template, here, asked, language.code, prefix, *depends)
            document = await site.answers.get(key, make, version=version)
        except IndexMissing:
            return without_index(request)
        except TooMuch as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from None
        if document is None:
            raise await not_here(site, *ids_of(request))
        return _as_page(request, respond(request, document), language)

    def without_index(request: web.Request) -> web.Response:
        """Nothing was ever synced. Raises HTTPNotFound for a name that not even the config knows, and what programs are told."""
        if request.match_info.get("upstream", "") not in ("", *site.settings.upstream):
            raise web.HTTPNotFound
        if not is_browser(request):
            raise web.HTTPServiceUnavailable(text="nothing has been mirrored yet: there is no index", headers={"Retry-After": "60"})
        page = error_page(site, request, 503, missing=True)
        page.headers["Retry-After"] = "60"
        return page

    async def get_search(request: web.Request) -> web.StreamResponse:
        asked = asked_of(request.query)
        upstreams, version = tuple(site.settings.upstream), site.readers.version()

        def facts(offer: Offer) -> dict[str, Any]:
            asides, is_of_now = beside.read(offer, version)
            return {**search_facts(offer, asked, upstreams, asides), "is_of_now": is_of_now}

        return await answer(request, "search.html", asked, facts, depends=upstreams, version=version)

    async def get_upstream(request: web.Request) -> web.StreamResponse:
        upstream = request.match_info["upstream"]
        try:
            known = upstream in site.settings.upstream or upstream in await site.readers.ask(Offer.upstreams)
        except IndexMissing:
            known = False
        if not known:
            raise web.HTTPNotFound
        return web.Response(status=302, headers={"Location": f"{site.prefix()}/?{urlencode({'upstream': upstream})}"})

    async def get_resource(request: web.Request) -> web.StreamResponse:
        asked, base, prefix = asked_of(request.query), site.base(request), site.prefix()
        origin, name = origin_of(site.settings, request.match_info["upstream"]), request.match_info["resource"]

        def facts(offer: Offer) -> dict[str, Any] | None:
            return resource_facts(offer, origin, name, asked, base, prefix)

        return await answer(request, "resource.html", asked, facts, depends=(base, origin))

    async def get_edition(request: web.Request) -> web.StreamResponse:
        asked, base, prefix = asked_of(request.query), site.base(request), site.prefix()
        origin, resource = origin_of(site.settings, request.match_info["upstream"]), request.match_info["resource"]
        name = request.match_info["sub_resource"]

        def facts(offer: Offer) -> dict[str, Any] | None:
            return edition_facts(offer, origin, resource, name, asked, base, prefix)

        return await answer(request, "edition.html", asked, facts, depends=(base, origin))

    async def get_status(request: web.Request) -> web.StreamResponse:
        language = language_of(request)
        try:
            found = dict(await standing.answer())
            last = await site.readers.ask(lambda offer: runs(offer, limit=RUNS_SHOWN)) if found["document"]["last_run"] else []
        except IndexMissing:  # gone between the two questions
            return without_index(request)
        found |= {"runs": last, "charts": charts(last)}
        body = await asyncio.to_thread(render, "status.html", language, site.prefix(), "/-/status", **found)
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", "Vary": VARY}
        return _as_page(request, web.Response(body=body, headers=headers), language)

    async def get_footprints(request: web.Request) -> web.StreamResponse:
        asked, prefix = asked_of(request.query), site.prefix()
        upstream, name = request.match_info["upstream"], request.match_info["resource"]
        edition = request.match_info.get("sub_resource")

        def make(offer: Offer) -> Document | None:
            with bounded(offer):
                shapes = (
                    shapes_of(offer, upstream, name, asked, prefix) if edition is None else shape_of(offer, upstream, name, edition)
                )
            if shapes is None or (not shapes and offer.resource(upstream, name) is None):
                return None
            return Document(json.dumps(geojson(shapes[:MOST_SHAPES]), separators=(",", ":")).encode(), "application/geo+json")

        return respond(request, await site.answers.get(("footprints", upstream, name, edition, asked, prefix), make))

    async def get_suggestions(request: web.Request) -> web.StreamResponse:
        typed = " ".join(request.query.get("q", "")[:_LONGEST_TYPED].split())
        prefix, language = site.prefix(), language_of(request)

        def make(offer: Offer) -> Document:
            with bounded(offer, 1.0):
                found = [{**one, "path": prefix + one["path"]} for one in suggestions(offer, typed, language)] if typed else []
            return Document(json.dumps({"suggestions": found}, ensure_ascii=False).encode(), _JSON, vary=VARY)

        return respond(request, await site.answers.get(("suggest", typed, prefix, language.code), make))

    return [
        web.get("/", get_search),
        web.get("/-/status", get_status),
        web.get("/-/suggest", get_suggestions),
        web.get(f"/-/footprints/{_UPSTREAM}/{_RESOURCE}", get_footprints),
        web.get(f"/-/footprints/{_UPSTREAM}/{_RESOURCE}/{_SUB_RESOURCE}", get_footprints),
        web.get("/-/static/{name}", get_static),
        web.get(f"/{_UPSTREAM}", get_upstream),
        web.get(f"/{_UPSTREAM}/", get_upstream),
        web.get(f"/{_UPSTREAM}/{_RESOURCE}", get_resource),
        web.get(f"/{_UPSTREAM}/{_RESOURCE}/{_SUB_RESOURCE}", get_edition),
    ]


def _as_page(request: web.Request, response: web.Response, language: Language) -> web.Response:
    response.headers["Content-Security-Policy"] = POLICY
    if request.query.get("lang"):
        response.set_cookie(LANGUAGE_COOKIE, language.code, max_age=_A_YEAR, path="/", httponly=True, samesite="Lax")
    return response
