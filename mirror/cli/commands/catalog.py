"""`catalog`: browse what an upstream offers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mirror.amounts import count_text, size_text
from mirror.cli.app import Invocation, finish, json_option, pass_invocation, print_json, reports_errors
from mirror.cli.options import check_days, filter_options
from mirror.cli.render import clean, clip, table
from mirror.errors import ConfigError, UpstreamUnavailable
from mirror.model import BBox, Resource, Term

if TYPE_CHECKING:
    from mirror.settings import Upstream
    from mirror.sync.browse import Browser, Interest, Offer

T = TypeVar("T")


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
    if sizes and not (resource or latest):
        raise click.UsageError("--sizes goes with RESOURCE or --latest: they list the sub-resources that have sizes")
    names = (resource,) if resource else resources
    check_days(start, end)
    interest = Interest(names, zones, formats, crs, start, end, updated_from, bbox, latest)
    chosen, contact = _upstreams(invocation, upstreams)
    show = _show_offers if resource or latest else _show_resources
    finish(show(_Catalogs(invocation, chosen, contact, as_json), interest, sizes))


def _upstreams(invocation: Invocation, wanted: Sequence[str]) -> tuple[Mapping[str, Upstream], str | None]:
    """The upstreams to browse: those of the config that match, else the ones that are named or addressed."""
    from mirror.planning.selection import matches
    from mirror.settings import Upstream, find_upstream

    contact = None
    if (settings := invocation.settings_to_browse()) is not None:
        found = {name: upstream for name, upstream in settings.upstream.items() if matches(name, wanted)}
        if found:
            return found, settings.contact
        contact = settings.contact
        if settings.upstream and wanted and not any("://" in name for name in wanted):
            raise ConfigError(f"there is no upstream {wanted[0]!r} in the config; there are: {', '.join(settings.upstream)}")
    addresses = [find_upstream(name) for name in (wanted or ("geoplateforme",))]
    return {name: Upstream(url=url) for name, url in addresses}, contact


@dataclass(frozen=True, slots=True)
class _Catalogs:
    """The upstreams that a call browses, one after the other."""

    invocation: Invocation
    upstreams: Mapping[str, Upstream]
    contact: str | None
    as_json: bool

    @property
    def several(self) -> bool:
        """Whether a table must tell upstreams apart."""
        return len(self.upstreams) > 1

    def each(self, look: Callable[[Browser], Coroutine[Any, Any, Sequence[T]]]) -> tuple[list[tuple[str, T]], int]:
        """What `look` finds, with the upstream of each, and the exit code.

        An upstream that cannot be listed, or that lacks the resource, does not take away what the others have; if that is all of
        them, the error comes out.
        """
        from mirror.cli.commands.runs import run_until_signal
        from mirror.sync.browse import Browser, NoSuchResource

        found: list[tuple[str, T]] = []
        dead: list[UpstreamUnavailable] = []
        lacking: list[NoSuchResource] = []
        with self.invocation.watcher() as watch:
            for name, upstream in self.upstreams.items():
                try:
                    found += [(name, item) for item in run_until_signal(look(Browser(name, upstream, self.contact, watch)))]
                except UpstreamUnavailable as error:
                    dead.append(error)
                except NoSuchResource as error:
                    lacking.append(error)
        if len(dead) + len(lacking) == len(self.upstreams):
            raise (dead or lacking)[0]
        for reason in dead:
            click.echo(f"inspire-mirror: {clean(str(reason))}", err=True)
        return found, 1 if dead else 0

    def show(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        upstreams: Iterable[str],
        *,
        names: Sequence[str],
        drop: Sequence[str],
    ) -> None:
        """Print a table as `render.table` does, with a column for the upstream if there are several."""
        if self.several:
            columns, rows = ["upstream", *columns], [[name, *row] for name, row in zip(upstreams, rows, strict=True)]
        if rows:
            table(columns, rows, right=["files", "size"], names=names, drop=drop)

    def tell(self, text: str) -> None:
        """Say how much was found, unless that is not wanted."""
        if not self.invocation.quiet:
            click.echo(text, err=True)


def _show_resources(catalogs: _Catalogs, interest: Interest, sizes: bool | None) -> int:
    found, code = catalogs.each(lambda browser: browser.resources(interest))
    if catalogs.as_json:
        print_json([_resource_json(name, resource) for name, resource in found])
        return code
    rows = [
        (r.id, r.title, clip(_codes(r.zones)), clip(_codes(r.formats)), _span(r.edition_from, r.edition_to), (r.updated or "")[:10])
        for _, r in found
    ]
    columns = ["resource", "title", "zones", "formats", "editions", "updated"]
    catalogs.show(columns, rows, [name for name, _ in found], names=["resource", "title"], drop=["updated", "zones", "formats"])
    catalogs.tell(f"{count_text(len(rows), 'resource')}; `inspire-mirror catalog RESOURCE` shows what one consists of")
    return code


def _show_offers(catalogs: _Catalogs, interest: Interest, sizes: bool | None) -> int:
    found, code = catalogs.each(lambda browser: browser.offers(interest, sizes=sizes))
    if catalogs.as_json:
        print_json([_offer_json(name, offer) for name, offer in found])
        return code
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
    columns = ["sub-resource", "zones", "formats", "crs", "edition", "updated", "files", "size"]
    drop = ["updated", "crs", "formats", "zones", "files"]
    catalogs.show(columns, rows, [name for name, _ in found], names=["sub-resource"], drop=drop)
    catalogs.tell(count_text(len(rows), "sub-resource") + _sizes_text([offer for _, offer in found], sizes))
    return code


def _sizes_text(offers: Sequence[Offer], sizes: bool | None) -> str:
    """How much the offers come to, and what is missing in that."""
    from mirror.sync.browse import MOST_SIZES

    known = [offer.bytes for offer in offers if offer.bytes is not None]
    unknown = sum(offer.asked and offer.bytes is None for offer in offers)
    text = f", {size_text(sum(known))}" if known or not offers else ""
    if unknown:
        text += f"; {count_text(unknown, 'size')} could not be had"
    if sizes is None and not all(offer.asked for offer in offers):
        text += f" (more than {MOST_SIZES}: --sizes asks for their sizes)"
    return text


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
