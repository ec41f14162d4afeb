"""Why there is nothing at an address: one line for who asked, with what there is instead."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from mirror.serving.readers import TooBusy
from mirror.serving.site import Site, path_of
from mirror.store.offer import GivenUp, Offer

_IDS = ("upstream", "resource", "sub_resource")
_MOST_NAMED = 20
_LONGEST = 80  # characters of a name that is repeated


def ids_of(request: web.Request) -> tuple[str, ...]:
    """What the path of a request names: an upstream, a resource of it and a sub-resource of that, as far as it goes."""
    return tuple(request.match_info[name] for name in _IDS if name in request.match_info)


async def not_here(site: Site, *ids: str) -> web.HTTPNotFound:
    """The error for an upstream, a resource of it, a sub-resource of that or a file of that, by the number of ids."""
    configured, prefix = tuple(site.settings.upstream), site.prefix()
    try:
        return web.HTTPNotFound(text=await site.readers.ask(lambda offer: why_nothing(offer, configured, prefix, ids)))
    except (TooBusy, GivenUp):  # that nothing is there was known before
        return web.HTTPNotFound()


def why_nothing(offer: Offer, configured: Collection[str], prefix: str, ids: tuple[str, ...]) -> str:
    """The first of these that is not here. `configured` are the upstreams of the config, `prefix` is what paths start with."""
    upstream, *rest = ids
    if not offer.offers(upstream):
        return _no_upstream(offer, configured, upstream)
    if rest and not offer.offers(upstream, rest[0]):
        listing = f"{prefix}{path_of(upstream, 'capabilities')}"
        return f"nothing of a resource {_named(rest[0])} of {upstream!r} is here; {listing} lists what is"
    if rest[1:] and not offer.offers(upstream, *rest[:2]):
        listing = f"{prefix}{path_of(upstream, 'resource', rest[0])}"
        return f"there is no sub-resource {_named(rest[1])} of {rest[0]!r} here that is complete; {listing} lists those that are"
    if rest[2:]:
        listing = f"{prefix}{path_of(upstream, 'download', *rest[:2])}/"
        return f"there is no file {_named(rest[2])} of {rest[1]!r} here; {listing} lists those that are"
    return "there is nothing at this address"


def _no_upstream(offer: Offer, configured: Collection[str], upstream: str) -> str:
    if upstream in configured:
        return f"nothing of {upstream!r} is here yet"
    known = sorted({*configured, *offer.upstreams()})
    if not known:
        return f"there is no upstream {_named(upstream)} here, nor any other"
    more = "" if len(known) <= _MOST_NAMED else " and others"
    return f"there is no upstream {_named(upstream)} here; there are: {', '.join(known[:_MOST_NAMED])}{more}"


def _named(name: str) -> str:
    return repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}...")
