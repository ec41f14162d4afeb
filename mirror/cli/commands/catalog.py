"""`catalog`: browse what an upstream offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.amounts import count_text, size_text
from mirror.cli.app import Invocation, json_option, pass_invocation, print_json, reports_errors
from mirror.cli.options import filter_options
from mirror.cli.render import clip, table
from mirror.errors import ConfigError
from mirror.model import BBox, Resource, Term

if TYPE_CHECKING:
    from mirror.settings import Upstream
    from mirror.sync.browse import Interest, Offer


@click.command(short_help="Browse what an upstream offers.")
@click.argument("resource", required=False)
@filter_options
@click.option(
    "--sizes/--no-sizes", default=None, help="Ask for sizes, a request per sub-resource. Default: if there are at most 50."
)
@json_option
@pass_invocation
@reports_errors
def catalog(
    invocation: Invocation,
    resource: str | None,
    resources: tuple[str, ...],
    zones: tuple[str, ...],
    formats: tuple[str, ...],
    crs: tuple[str, ...],
    start: date | None,
    end: date | None,
    updated_from: date | None,
    bbox: BBox | None,
    latest: bool,
    upstreams: tuple[str, ...],
    sizes: bool | None,
    as_json: bool,
) -> None:
    """List the resources of an upstream, or the sub-resources of RESOURCE (a glob), with zones, formats, dates and sizes.

    Works without a config too: on the Géoplateforme, or on the service whose address --upstream gives.

    \b
    inspire-mirror catalog
    inspire-mirror catalog BDTOPO --zone D038 --format GPKG --latest
    """
    from mirror.sync.browse import Interest

    if resource and resources:
        raise click.UsageError("name the resource once: as RESOURCE, or with --resource to filter the list of resources")
    names = (resource,) if resource else resources
    interest = Interest(names, zones, formats, crs, start, end, updated_from, bbox, latest)
    chosen, contact = _upstreams(invocation, upstreams)
    if resource or latest:
        _show_offers(invocation, chosen, contact, interest, sizes, as_json=as_json)
    else:
        _show_resources(invocation, chosen, contact, interest, as_json=as_json)


def _upstreams(invocation: Invocation, wanted: Sequence[str]) -> tuple[Mapping[str, Upstream], str | None]:
    """The upstreams to browse: those of the config that match, else the ones that are named or addressed."""
    import os

    from mirror.planning.selection import matches
    from mirror.settings import CONFIG_NAME, SYSTEM_CONFIG, Upstream, find_upstream

    has_config = (
        invocation.config or os.environ.get("INSPIRE_MIRROR_CONFIG") or Path(CONFIG_NAME).exists() or SYSTEM_CONFIG.exists()
    )
    contact = None
    if has_config:
        settings = invocation.settings()
        found = {name: upstream for name, upstream in settings.upstream.items() if matches(name, wanted)}
        if found:
            return found, settings.contact
        contact = settings.contact
        if wanted and not any("://" in name for name in wanted):
            raise ConfigError(
                f"there is no upstream {wanted[0]!r} in the config; there are: {', '.join(settings.upstream) or 'none'}"
            )
    addresses = [find_upstream(name) for name in (wanted or ("geoplateforme",))]
    return {name: Upstream(url=url) for name, url in addresses}, contact


def _show_resources(
    invocation: Invocation, upstreams: Mapping[str, Upstream], contact: str | None, interest: Interest, *, as_json: bool
) -> None:
    from mirror.cli.commands.runs import run_until_signal
    from mirror.cli.progress import watcher
    from mirror.sync.browse import Browser

    found: list[tuple[str, Resource]] = []
    with watcher(invocation.verbose, quiet=invocation.quiet, as_json=as_json) as watch:
        for name, upstream in upstreams.items():
            listed = run_until_signal(Browser(name, upstream, contact, watch).resources(interest))
            found += [(name, resource) for resource in listed]
    if as_json:
        print_json([_resource_json(name, resource) for name, resource in found])
        return
    rows = [
        (r.id, r.title, clip(_codes(r.zones)), clip(_codes(r.formats)), _span(r.edition_from, r.edition_to), (r.updated or "")[:10])
        for _, r in found
    ]
    if rows:
        table(["resource", "title", "zones", "formats", "editions", "updated"], rows)
    click.echo(f"{count_text(len(rows), 'resource')}; `inspire-mirror catalog RESOURCE` shows what one consists of", err=True)


def _show_offers(
    invocation: Invocation,
    upstreams: Mapping[str, Upstream],
    contact: str | None,
    interest: Interest,
    sizes: bool | None,
    *,
    as_json: bool,
) -> None:
    from mirror.cli.commands.runs import run_until_signal
    from mirror.cli.progress import watcher
    from mirror.sync.browse import MOST_SIZES, Browser

    found: list[tuple[str, Offer]] = []
    with watcher(invocation.verbose, quiet=invocation.quiet, as_json=as_json) as watch:
        for name, upstream in upstreams.items():
            offers = run_until_signal(Browser(name, upstream, contact, watch).offers(interest, sizes=sizes))
            found += [(name, offer) for offer in offers]
    if as_json:
        print_json([_offer_json(name, offer) for name, offer in found])
        return
    rows = [
        (
            offer.sub.id,
            clip(_codes(offer.sub.zones)),
            clip(_codes(offer.sub.formats)),
            clip(_codes(offer.sub.crs)),
            offer.sub.edition_date.isoformat() if offer.sub.edition_date else "",
            (offer.sub.updated or "")[:10],
            "" if offer.files is None else f"{offer.files:,}",
            "" if offer.files is None else size_text(offer.bytes),
        )
        for _, offer in found
    ]
    if rows:
        table(["sub-resource", "zones", "formats", "crs", "edition", "updated", "files", "size"], rows, right=["files", "size"])
    unknown = f" (more than {MOST_SIZES}: --sizes asks for their sizes)" if any(offer.files is None for _, offer in found) else ""
    total = size_text(sum(offer.bytes or 0 for _, offer in found))
    click.echo(f"{count_text(len(rows), 'sub-resource')}{unknown or ', ' + total}", err=True)


def _codes(terms: Sequence[Term]) -> list[str]:
    return [term.code for term in terms]


def _span(start: date | None, end: date | None) -> str:
    days = [day.isoformat() for day in (start, end) if day]
    return " .. ".join(dict.fromkeys(days))


def _resource_json(upstream: str, resource: Resource) -> dict[str, Any]:
    return {
        "upstream": upstream,
        "resource": resource.id,
        "title": resource.title,
        "abstract": resource.abstract,
        "zones": _codes(resource.zones),
        "formats": _codes(resource.formats),
        "crs": _codes(resource.crs),
        "edition_from": resource.edition_from.isoformat() if resource.edition_from else None,
        "edition_to": resource.edition_to.isoformat() if resource.edition_to else None,
        "updated": resource.updated,
        "url": resource.url,
    }


def _offer_json(upstream: str, offer: Offer) -> dict[str, Any]:
    sub = offer.sub
    return {
        "upstream": upstream,
        "resource": sub.resource,
        "sub_resource": sub.id,
        "title": sub.title,
        "zones": _codes(sub.zones),
        "formats": _codes(sub.formats),
        "crs": _codes(sub.crs),
        "edition_date": sub.edition_date.isoformat() if sub.edition_date else None,
        "updated": sub.updated,
        "files": offer.files,
        "size": offer.bytes,
        "url": sub.url,
    }
