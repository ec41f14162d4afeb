"""The token of `[serve]`: with one, metrics, the JSON API and the status page answer only who names it.

Prometheus, scripts and curl send it as `Authorization: Bearer`, browsers ask a person for it: as the password of any user.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_GUARDED = ("/api", "/metrics", "/-/status")
_CHALLENGES = ('Bearer realm="inspire-mirror"', 'Basic realm="inspire-mirror", charset="UTF-8"')
"""In a header each: browsers do not find the second one in a list."""


def token_asked(token: Callable[[], str | None]) -> Middleware:
    """Whoever comes for what is guarded has to name the token of this moment; where there is none, nobody has to."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        wanted = token() if _is_guarded(request) else None
        if wanted is None:
            return await handler(request)
        given = _token_of(request.headers.get("Authorization", ""))
        if given is None or not hmac.compare_digest(given, wanted.encode()):
            said = "this needs a token" if given is None else "this is not the token"
            refused = web.HTTPUnauthorized(text=f"{said}: send it as Authorization: Bearer, or as the password of any user")
            for challenge in _CHALLENGES:
                refused.headers.add("WWW-Authenticate", challenge)
            raise refused
        response = await handler(request)
        # A cache in between would give it to others.
        if not response.prepared:
            response.headers.setdefault("Cache-Control", "private")
            response.headers.add("Vary", "Authorization")
        return response

    return middleware


def _is_guarded(request: web.Request) -> bool:
    """By the path as it was read and by the route that was found for it, which need not be spelt alike."""
    resource = request.match_info.route.resource
    paths = (request.path, resource.canonical if resource is not None else "")
    return any(path == guarded or path.startswith(f"{guarded}/") for path in paths for guarded in _GUARDED)


def _token_of(header: str) -> bytes | None:
    """What an Authorization header names; None where it names nothing."""
    scheme, _, rest = header.partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "bearer" if rest:
            return rest.encode("utf-8", "surrogateescape")
        case "basic":
            try:
                _, colon, password = base64.b64decode(rest, validate=True).partition(b":")
            except (binascii.Error, ValueError):
                return None
            return password if colon else None
        case _:
            return None
