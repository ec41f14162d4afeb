"""The sample upstream: a small Géoplateforme on loopback, serving a catalogue that may be exchanged at any time."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote

from aiohttp import web

from mirror.demo import listing, render
from mirror.demo.answer import Answer, file_answer, http_date, problem, send
from mirror.demo.body import Held
from mirror.demo.catalogue import Catalogue
from mirror.model import Level
from mirror.serving.geoplateforme.asked import lang_of
from mirror.serving.geoplateforme.routes import wants_json
from mirror.serving.geoplateforme.spelling import Document, to_json, to_xml

BASE: Final = "/telechargement"
"""The path that all routes start with, as on the live host."""

DOWNLOAD: Final = "download"
"""The kind of a route to a file; the other kinds are the levels of feeds."""

OTHER: Final = "other"
"""The kind of a path that is no route."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for: `kind` is a level of feeds, `DOWNLOAD` or `OTHER`; `ids` are decoded, from the outside in."""

    kind: str
    ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, raw_path: str) -> Route:
        """The route of a path as it was sent, percent-encoded. Exactly three levels, files are flat in a sub-resource [O]."""
        if not raw_path.startswith(f"{BASE}/"):
            return cls(OTHER)
        head, *parts = raw_path.removeprefix(f"{BASE}/").split("/")
        ids = tuple(map(unquote, parts))
        match head, len(ids):
            case "capabilities", 0:
                return cls(Level.CAPABILITIES.value)
            case "resource", 1:
                return cls(Level.RESOURCE.value, ids)
            case "resource", 2:
                return cls(Level.SUB_RESOURCE.value, ids)
            case "download", 3:
                return cls(DOWNLOAD, ids)
        return cls(OTHER)


class SampleService:
    """Serves `catalogue`; put another one in its place to publish. Start it with `async with`, or `start` and `stop`.

    There is no evidence of validators on the downloads of the live service [C]; `etags` and `last_modified` add them.
    """

    def __init__(self, catalogue: Catalogue, *, etags: bool = False, last_modified: bool = False) -> None:
        self.catalogue = catalogue
        self.etags = etags
        self.last_modified = last_modified
        self._runner: web.AppRunner | None = None
        self._root = ""

    @property
    def base(self) -> str:
        """The address that all routes start with, without a slash at its end; to be asked after the start."""
        return f"{self._root}{BASE}"

    @property
    def url(self) -> str:
        """The address of the capabilities: what a config names as the upstream's `url`."""
        return f"{self.base}/capabilities"

    def application(self) -> web.Application:
        """The service as an aiohttp application, to be run by others."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    async def start(self, port: int = 0) -> str:
        """Listens on loopback, on a free port unless one is given, and returns `url`. Raises OSError where the port is taken."""
        # With cancellation, an answer ends when its client goes; no answer outlives the stop by more than a second.
        self._runner = web.AppRunner(self.application(), handler_cancellation=True, shutdown_timeout=1, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        except OSError:
            await self.stop()
            raise
        host, bound = self._runner.addresses[0][:2]
        self._root = f"http://{host}:{bound}"
        return self.url

    async def stop(self) -> None:
        """Closes all connections. Stopping twice does nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        return await send(request, self.answer(request))

    def answer(self, request: web.Request) -> Answer:
        """What a request gets; sends nothing."""
        if request.method not in ("GET", "HEAD"):
            return problem(HTTPStatus.METHOD_NOT_ALLOWED)
        route = Route.of(request.rel_url.raw_path)
        try:
            answer = self._download(request, *route.ids) if route.kind == DOWNLOAD else self.page(request, route)
        except ValueError as error:  # a polygon that is none
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        return answer or problem(HTTPStatus.NOT_FOUND)

    def written(self, request: web.Request, document: Document, *, beyond: bool) -> Answer:
        """The document in the format asked for; beyond the last page, an empty 200 [C]."""
        json = self.wants_json(request)
        content = to_json(document) if json else to_xml(document)
        headers = {"Content-Type": "application/json" if json else "application/atom+xml;charset=UTF-8"}
        return Answer(HTTPStatus.OK, Held(b"" if beyond else content), headers)

    def wants_json(self, request: web.Request) -> bool:
        """Whether JSON was asked for."""
        return wants_json(request)

    def base_for(self, request: web.Request) -> str:
        """The address that the links of an answer start with: the one by which this request came."""
        return f"{request.scheme}://{request.host}{BASE}"

    def page(self, request: web.Request, route: Route) -> Answer | None:
        """A page of a listing, or None where there is none of that name. Raises ValueError for a filter that cannot be read."""
        query, base = request.query, self.base_for(request)
        lang = lang_of(query)
        if route.kind == Level.CAPABILITIES:
            resources = listing.window(listing.resources(self.catalogue, query), query)
            return self.written(request, render.capabilities(self.catalogue, resources, base, lang), beyond=resources.beyond)
        resource = self.catalogue.resource(route.ids[0]) if route.ids else None
        if resource and route.kind == Level.RESOURCE:
            subs = listing.window(listing.sub_resources(resource, query), query)
            return self.written(request, render.resource_page(resource, subs, base, lang), beyond=subs.beyond)
        if resource and route.kind == Level.SUB_RESOURCE and (sub := resource.sub(route.ids[1])):
            files = listing.window(sub.files, query)
            return self.written(request, render.sub_resource_page(resource.id, sub, files, base, lang), beyond=files.beyond)
        return None

    def _download(self, request: web.Request, resource_id: str, sub_id: str, name: str) -> Answer | None:
        resource = self.catalogue.resource(resource_id)
        sub = resource.sub(sub_id) if resource else None
        file = sub.file(name) if sub else None
        if sub is None or file is None:
            return None
        headers = {"Content-Type": file.stated_type or "application/octet-stream"}
        if self.etags:
            headers["ETag"] = f'"{file.body.md5()}"'
        if self.last_modified and sub.updated:
            headers["Last-Modified"] = http_date(sub.updated)
        return file_answer(file.body, headers, request.headers)
