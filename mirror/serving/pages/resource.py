"""What the pages of a resource and of one of its editions say."""

from __future__ import annotations

from typing import Any

from mirror.geometry import footprint_from_text
from mirror.serving.origin import Origin
from mirror.serving.pages.asked import Asked
from mirror.serving.pages.commands import READABLE, commands
from mirror.serving.pages.footprints import FRAMES, MOST_SHAPES, Shape, drawings
from mirror.serving.pages.paging import Pager
from mirror.serving.pages.snippets import MOST_NAMED, Shown, Snippet, edition_snippet, sayable, snippet
from mirror.serving.pages.titles import zone_name
from mirror.serving.site import path_of
from mirror.store.finding import Column, editions, grounds, members, missing
from mirror.store.offer import Offer, OfferedSub
from mirror.store.rows import strings_of

EDITIONS_A_PAGE = 50
FILES_A_PAGE = 100
_MISSING_SHOWN = 20
_MEMBERS_READ = 20
_SERIES_SHOWN = 20

_DESCENDS: frozenset[Column] = frozenset({"edition", "size", "updated"})
"""What one wants to see the largest or newest of first."""


def resource_facts(offer: Offer, origin: Origin, name: str, asked: Asked, base: str, prefix: str) -> dict[str, Any] | None:
    """For the template `resource.html`; None where nothing of it is offered. `base` starts absolute links."""
    found = offer.resource(origin.upstream, name)
    if found is None:
        return None
    order, descending = (asked.sort, asked.descending) if asked.sort else ("zone", False)
    sought = asked.sought(origin.upstream, name)
    subs, total = editions(
        offer, sought, order=order, descending=descending, limit=EDITIONS_A_PAGE, offset=(asked.page - 1) * EDITIONS_A_PAGE
    )
    shapes = shapes_of(offer, origin.upstream, name, asked, prefix)
    absent, absent_count = missing(offer, origin.upstream, name, limit=_MISSING_SHOWN)
    return {
        "asked": asked,
        "found": found,
        "origin": origin,
        "subs": [(sub, _only_file(offer, sub)) for sub in subs],
        "pager": Pager(asked.page, EDITIONS_A_PAGE, total),
        "order": order,
        "descending": descending,
        "descends": _DESCENDS,
        "drawings": drawings(shapes[:MOST_SHAPES]),
        "shapes_left_out": len(shapes) > MOST_SHAPES,
        "frames": _frames(),
        "missing": absent,
        "missing_count": absent_count,
        "snippet": _snippet(offer, origin, name, asked, base),
    }


def _capabilities(origin: Origin, base: str) -> str:
    return f"{base}{path_of(origin.upstream)}/capabilities"


def _snippet(offer: Offer, origin: Origin, name: str, asked: Asked, base: str) -> Snippet:
    named, total = editions(offer, asked.sought(origin.upstream, name), order="id", descending=False, limit=MOST_NAMED, offset=0)
    wider = sayable(asked).sought(origin.upstream, name)
    _, most = editions(offer, wider, order="id", descending=False, limit=0, offset=0)
    shown = Shown(total, most, [sub.sub.id for sub in named])
    return snippet(origin.upstream, _capabilities(origin, base), origin.url, name, asked, shown)


def shapes_of(offer: Offer, upstream: str, resource: str, asked: Asked, prefix: str) -> list[Shape]:
    """The grounds of the editions of a resource, as asked for, one more than a map shows at most."""
    labels = dict(offer.labels(upstream, "zone"))
    shapes = []
    for ground in grounds(offer, asked.sought(upstream, resource), limit=MOST_SHAPES + 1):
        codes = strings_of(ground.zones)
        label = ", ".join(labels.get(code) or code for code in codes[:3]) or ground.sub_resource
        href = prefix + path_of(upstream, resource)
        if ground.editions == 1 or not codes:
            href += path_of(ground.sub_resource)
        else:
            href += asked.of(codes[0]).query + "#editions"
        shapes.append(Shape(footprint_from_text(ground.footprint).rings, label, href))
    return shapes


def shape_of(offer: Offer, upstream: str, resource: str, edition: str) -> list[Shape] | None:
    """The ground of an edition; None where that is not offered."""
    found = offer.sub(upstream, resource, edition)
    if found is None:
        return None
    names = [zone_name(term.code, term.label) for term in found.sub.zones[:3]]
    return [Shape(found.sub.footprint.rings, ", ".join(names) or edition, "")] if found.sub.footprint else []


def _only_file(offer: Offer, sub: OfferedSub) -> str | None:
    """The name of the file of an edition that has but one."""
    return next((file.remote.name for file in offer.files(sub.id, limit=1)), None) if sub.files == 1 else None


def _frames() -> list[tuple[str, list[float]]]:
    return [(name, list(box)) for name, box in FRAMES]


def edition_facts(
    offer: Offer, origin: Origin, resource: str, name: str, asked: Asked, base: str, prefix: str
) -> dict[str, Any] | None:
    """For the template `edition.html`; None where it is not offered."""
    sub = offer.sub(origin.upstream, resource, name)
    found = offer.resource(origin.upstream, resource)
    if sub is None or found is None:
        return None
    folder = path_of(origin.upstream, "download", resource, name)
    files = offer.files(sub.id, limit=FILES_A_PAGE, offset=(asked.page - 1) * FILES_A_PAGE, by_name=True)
    first = files if asked.page == 1 else offer.files(sub.id, limit=FILES_A_PAGE, by_name=True)
    named = [(file.remote.name, f"{base}{folder}{path_of(file.remote.name)}") for file in first]
    shapes = shape_of(offer, origin.upstream, resource, name) or []
    series = offer.series(sub.upstream, sub.series, limit=_SERIES_SHOWN, but=sub.id)
    return {
        "asked": asked,
        "found": found,
        "sub": sub,
        "origin": origin,
        "files": files,
        "pager": Pager(asked.page, FILES_A_PAGE, sub.files),
        "folder": prefix + folder,
        "series": series,
        "newest": next((other for other in series if other.latest and _is_newer(other, sub)), None),
        "drawings": drawings(shapes),
        "shapes_left_out": False,
        "frames": _frames(),
        "lines": commands(
            f"{base}{folder}/",
            f"{base}{folder}.meta4",
            named,
            members(offer, sub.id, endings=READABLE, limit=_MEMBERS_READ),
            sub.files,
        ),
        "snippet": edition_snippet(origin.upstream, _capabilities(origin, base), origin.url, resource, name),
    }


def _is_newer(other: OfferedSub, sub: OfferedSub) -> bool:
    """Whether the newest edition of a series takes the place of this one, which may be withdrawn, or newer and not complete."""
    if sub.state == "superseded":
        return True
    before, after = sub.sub.edition_date, other.sub.edition_date
    return sub.state == "withdrawn" and before is not None and after is not None and before < after
