"""A slash too many, or one too few, at the end of an address: a redirect leads to where there is something."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from mirror.serving.site import Site


def mends_slashes(site: Site) -> Middleware:
    """For addresses that no route has, where one has them with the slash, or without it."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        error = request.match_info.http_exception
        if isinstance(error, web.HTTPNotFound) and (other := await _other(request)) is not None:
            query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
            return web.Response(status=308, headers={"Location": f"{site.prefix()}{other}{query}"})
        return await handler(request)

    return middleware


async def _other(request: web.Request) -> str | None:
    """The path with or without its last slash, if there is a route to it."""
    path = request.rel_url.raw_path
    other = path[:-1] if path.endswith("/") else f"{path}/"
    if not other or other.startswith("//"):  # two slashes at the start would be another host
        return None
    found = await request.app.router.resolve(request.clone(rel_url=URL(other, encoded=True)))
    return other if found.http_exception is None else None
