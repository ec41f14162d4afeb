"""An index of a mirror in which everything is published, made through the store's own API without a byte being fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from bench.ours import UPSTREAM
from mirror.demo import listing, render
from mirror.demo.catalogue import Catalogue as Offer
from mirror.demo.catalogue import SampleResource
from mirror.model import RemoteFile, Resource, SubResource
from mirror.planning.changes import EVERYTHING
from mirror.planning.plan import settled_key
from mirror.serving.geoplateforme import asked, spelling
from mirror.store.catalogue import Catalogue, Unit, UpstreamFacts
from mirror.store.holdings import Holdings, StoredFile
from mirror.store.index import Index
from mirror.store.tree import Folder, Tree
from mirror.upstream.geoplateforme import Geoplateforme

_SHA256 = "0" * 64


@dataclass(frozen=True, slots=True)
class ListedSub:
    """A sub-resource with its files, as the feeds give them."""

    sub: SubResource
    files: tuple[RemoteFile, ...]


def listed(offer: Offer, base: str) -> Iterator[tuple[Resource, list[ListedSub]]]:
    """What an upstream at `base` that offers this would list, read from its own pages, resource by resource."""
    dialect = Geoplateforme(base)
    for resource in offer.listed:
        (entry,) = dialect.read_capabilities(_page(render.capabilities(offer, _all([resource]), base, "en"))).entries
        subs = dialect.read_resource(_page(render.resource_page(resource, _all(resource.listed), base, "en")), resource.id).entries
        yield entry, [ListedSub(sub, _files(dialect, resource, sub, base)) for sub in subs]


def fill(
    root: Path,
    listing_: Iterator[tuple[Resource, list[ListedSub]]],
    *,
    newest: date,
    folders: bool,
    upstream: str = UPSTREAM,
) -> None:
    """Write the index of a mirror that holds all of it; with `folders`, the tree too, of empty files with the listed sizes."""
    root.mkdir(parents=True, exist_ok=True)
    at, tree = datetime.now(UTC), Tree(root)
    resources: list[Resource] = []
    with Index(root) as index:
        catalogue, holdings = Catalogue(index), Holdings(index)
        for resource, subs in listing_:
            resources.append(resource)
            with index.transaction():
                catalogue.save_resources(upstream, [resource], complete=False)
                catalogue.save_listing(upstream, resource, [EVERYTHING], [one.sub for one in subs], at=at)
                for one in subs:
                    unit = catalogue.unit(upstream, resource.id, one.sub.id)
                    folder = Folder(upstream, resource.id, one.sub.id)
                    if folders:
                        _make(tree.data / folder.relative, one.files)
                    _hold(catalogue, holdings, upstream, unit, one.files, tree.stamp(folder), at)
        catalogue.save_resources(upstream, resources, complete=True)
        holdings.refresh_states(upstream, at=at)
        catalogue.save_upstream(upstream, UpstreamFacts(newest, at))


def stored(files: Sequence[RemoteFile]) -> list[StoredFile]:
    """The files as they would be once fetched and verified."""
    return [StoredFile(file, file.size or 0, file.md5 or "", _SHA256) for file in files]


def _hold(
    catalogue: Catalogue,
    holdings: Holdings,
    upstream: str,
    unit: Unit,
    files: Sequence[RemoteFile],
    stamp: int | None,
    at: datetime,
) -> None:
    catalogue.save_files(unit, files, at=at)
    holdings.record(unit.id, unit.sub.updated, stored(files), at=at)
    digest = catalogue.unit(upstream, unit.sub.resource, unit.sub.id).files_digest or ""
    size = sum(file.size or 0 for file in files)
    holdings.settle(unit.id, settled_key(digest, ()), stamp, files=len(files), size=size, at=at)


def _files(dialect: Geoplateforme, resource: SampleResource, sub: SubResource, base: str) -> tuple[RemoteFile, ...]:
    sample = resource.sub(sub.id)
    if sample is None:
        raise LookupError(sub.id)
    page = render.sub_resource_page(resource.id, sample, _all(sample.files), base, "en")
    return dialect.read_sub_resource(_page(page), resource.id, sub.id).entries


def _all(entries: Sequence[listing.T]) -> asked.Window[listing.T]:
    return asked.Window(tuple(entries), 1, max(1, len(entries)), len(entries))


def _page(document: spelling.Document) -> bytes:
    return spelling.to_json(document)


def _make(folder: Path, files: Sequence[RemoteFile]) -> None:
    folder.mkdir(parents=True)
    for file in files:
        with (folder / file.name).open("wb") as stream:
            stream.truncate(file.size or 0)
