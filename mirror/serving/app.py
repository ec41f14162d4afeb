"""What is at which path: the routes of all rooms, put together into one application.

Fixed names win over those of a mirror: `/health`, `/metrics` and `/api` are no upstream's, `capabilities`, `resource`, `download`
and `inspire` no resource's. What has no other place is below `/-/`, which no upstream can be called.
"""

from __future__ import annotations

from aiohttp import web

from mirror.serving.api import api_routes
from mirror.serving.downloads.routes import download_routes
from mirror.serving.geoplateforme.routes import geoplateforme_routes
from mirror.serving.guards import add_headers, guarded, told
from mirror.serving.inspire.routes import inspire_routes
from mirror.serving.machines import machine_routes
from mirror.serving.pages.errors import errors_as_pages
from mirror.serving.pages.routes import page_routes
from mirror.serving.shared import FRESH
from mirror.serving.site import Site
from mirror.serving.slashes import mends_slashes
from mirror.serving.tokens import token_asked

_LARGEST_BODY = 64 * 1024  # bytes of a request; nothing here takes any


def make_app(site: Site, *, fresh: float = FRESH) -> web.Application:
    """The application for one mirror. Requests are told as events, at debug; `fresh` is for how many seconds health holds."""
    middlewares = [told(site.emit), errors_as_pages(site), guarded(site.emit), token_asked(site.token), mends_slashes(site)]
    app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
    app.router.add_routes(machine_routes(site, fresh=fresh))
    app.router.add_routes(api_routes(site, fresh=fresh))
    app.router.add_routes(geoplateforme_routes(site))
    app.router.add_routes(inspire_routes(site))
    app.router.add_routes(download_routes(site))
    app.router.add_routes(page_routes(site, fresh=fresh))  # the last: any two words are the path of a page
    app.on_response_prepare.append(add_headers)
    app.on_cleanup.append(lambda _: site.close())
    return app
