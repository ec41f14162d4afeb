"""The addresses of the JSON API. All of them only read: GET and HEAD, and OPTIONS, which says so.

No answer lets scripts of other web sites read it (CORS): the mirror of an office often stands where only its browsers can reach it,
and any page that one of them visits could else read the index through that browser. Who wants that says so in the proxy in front.
"""

from __future__ import annotations

import json

from aiohttp import web

from mirror.serving.answers import Document, respond
from mirror.serving.api.description import described
from mirror.serving.api.files import query_handler
from mirror.serving.api.history import changes_handler, feed_handler, runs_handler
from mirror.serving.api.parameters import asked
from mirror.serving.api.spool import Spools
from mirror.serving.shared import FRESH, Shared
from mirror.serving.site import Site

_ALLOWED = "GET, HEAD, OPTIONS"


def api_routes(site: Site, *, fresh: float = FRESH, spools: Spools | None = None) -> list[web.RouteDef]:
    """The routes; `fresh` is for how many seconds the status holds."""
    spools = spools or Spools()
    site.at_end.append(spools.close)
    status = Shared(lambda: site.status(), fresh=fresh)  # it may be replaced until the first request

    async def get_status(request: web.Request) -> web.StreamResponse:
        asked(request, ())
        text = json.dumps(await status.answer(), ensure_ascii=False, indent=2) + "\n"
        return respond(request, Document(text.encode("utf-8", "backslashreplace"), "application/json; charset=utf-8"))

    async def get_description(request: web.Request) -> web.StreamResponse:
        asked(request, ())
        text = json.dumps(described(site.base(request), needs_token=site.token() is not None), ensure_ascii=False, indent=2) + "\n"
        return respond(request, Document(text.encode(), "application/json; charset=utf-8"))

    async def get_options(request: web.Request) -> web.StreamResponse:
        return web.Response(status=204, headers={"Allow": _ALLOWED})

    async def get_start(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"{site.prefix()}/api/openapi.json"})

    handlers = {
        "/api/query": query_handler(site, spools),
        "/api/status": get_status,
        "/api/runs": runs_handler(site),
        "/api/changes": changes_handler(site),
        "/api/changes.atom": feed_handler(site),
        "/api/openapi.json": get_description,
    }
    routes = [web.get(path, handler) for path, handler in handlers.items()]
    routes += [web.get(path, get_start) for path in ("/api", "/api/")]
    return routes + [web.options(path, get_options) for path in handlers]
