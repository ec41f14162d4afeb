"""What machines look at to see whether all is well: `/health` and `/metrics`."""

from __future__ import annotations

import json

from aiohttp import web

from mirror.observing.health import Health
from mirror.observing.metrics import CONTENT_TYPE, exposition
from mirror.serving.shared import FRESH, Shared
from mirror.serving.site import Site


def machine_routes(site: Site, *, fresh: float = FRESH) -> list[web.RouteDef]:
    """The routes; `fresh` is for how many seconds answers hold."""
    health = Shared(site.observer.health, fresh=fresh)
    metrics = Shared(lambda: exposition(site.observer), fresh=fresh)

    async def get_health(request: web.Request) -> web.StreamResponse:
        return _health(await health.answer(), as_text=_prefers_text(request.headers.get("Accept", "")))

    async def get_metrics(request: web.Request) -> web.StreamResponse:
        body = await metrics.answer()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})

    return [web.get("/health", get_health), web.get("/metrics", get_metrics)]


def _health(found: Health, *, as_text: bool) -> web.Response:
    status = 503 if found.status == "failing" else 200
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    if as_text:
        return web.Response(text=found.as_text(), status=status, headers=headers)
    body = json.dumps(found.as_json(), ensure_ascii=False, indent=2) + "\n"
    return web.Response(text=body, status=status, content_type="application/json", headers=headers)


def _prefers_text(accept: str) -> bool:
    """Whether plain text is named before JSON: curl and scripts that name nothing get JSON."""
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in ("text/plain", "text/*"):
            return True
        if kind in ("application/json", "application/*"):
            return False
    return False
