"""What the subscriptions want of what the upstream lists.

These filters are the authority. The upstream's own filters may narrow what is listed, never what is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import translate
from functools import lru_cache

from mirror.geometry import intersects
from mirror.model import BBox, RemoteFile, Resource, SubResource, Term
from mirror.phrases import phrase, plural
from mirror.planning.edition import All, Between, Edition, Latest
from mirror.planning.series import SeriesKey, edition_order, series_key, version_of
from mirror.vocabulary import fold_crs, fold_format, fold_zone

Fold = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Wish:
    """What one subscription asks for, without its schedule: the selection part of `[subscription.NAME]`."""

    name: str
    upstream: str
    resources: tuple[str, ...]
    sub_resources: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    crs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    edition: Edition = Latest()
    bbox: BBox | None = None
    whole: bool = True
    extract: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A sub-resource that one or more subscriptions want, with what they want of it.

    `files` are globs, empty for all. `whole` is true if any of them wants it all or nothing, `extract` if any wants it unpacked.
    """

    sub: SubResource
    wishes: tuple[str, ...]
    files: tuple[str, ...]
    whole: bool
    extract: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """`wanted` by sub-resource, and `remarks`: what a user would miss without being told (one line each)."""

    wanted: tuple[Wanted, ...]
    remarks: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{translate(glob)})" for glob in globs), re.IGNORECASE)


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether `name` matches one of `globs`, whatever the case; no globs match everything."""
    return not globs or _pattern(tuple(globs)).match(name) is not None


def term_matches(terms: Iterable[Term], globs: Sequence[str], fold: Fold) -> bool:
    """Whether one of `terms` matches one of `globs` once both are folded; no globs match everything, no terms match no glob."""
    if not globs:
        return True
    folded = tuple(fold(glob) for glob in globs)
    return any(matches(fold(term.code), folded) for term in terms)


def wants_resource(wish: Wish, resource: str) -> bool:
    """Whether a subscription names this resource."""
    return matches(resource, wish.resources)


def wants_file(file: RemoteFile, globs: Sequence[str]) -> bool:
    """Whether a file of a wanted sub-resource is wanted itself."""
    return matches(file.name, globs)


def select(wishes: Collection[Wish], listed: Mapping[str, Sequence[SubResource]]) -> Selection:
    """Match the wishes of one upstream against its listing, `listed` by resource id.

    Editions are plural within what the other filters leave, except `bbox`: a footprint may differ from edition to edition, and
    an old edition is no stand-in for a newer one that has moved out of the box.
    """
    chosen: dict[tuple[str, str], list[Wish]] = {}
    by_key: dict[tuple[str, str], SubResource] = {}
    remarks: list[str] = []
    for wish in wishes:
        hits = [
            sub for resource, subs in listed.items() if wants_resource(wish, resource) for sub in subs if wants_fields(wish, sub)
        ]
        kept = _editions(wish.edition, hits)
        if wish.bbox is not None:
            without = sum(sub.footprint is None for sub in kept)
            if without:
                remarks.append(
                    plural(
                        without,
                        "{name}: {count} sub-resource has no footprint upstream, so bbox cannot place it: left out "
                        "(zones would name them)",
                        "{name}: {count} sub-resources have no footprint upstream, so bbox cannot place them: left out "
                        "(zones would name them)",
                        name=wish.name,
                        count=without,
                    )
                )
            kept = [sub for sub in kept if sub.footprint is not None and intersects(sub.footprint, wish.bbox)]
        if not kept:
            remarks.append(phrase("{name}: nothing that the upstream lists matches this subscription", name=wish.name))
        for sub in kept:
            key = sub.resource, sub.id
            by_key[key] = sub
            chosen.setdefault(key, []).append(wish)
    wanted = tuple(_merge(by_key[key], chosen[key]) for key in sorted(chosen))
    return Selection(wanted, tuple(remarks))


def wants_fields(wish: Wish, sub: SubResource) -> bool:
    """Whether a sub-resource has the id, zone, format and CRS that a subscription asks for, whatever its edition and place."""
    return (
        matches(sub.id, wish.sub_resources)
        and term_matches(sub.zones, wish.zones, fold_zone)
        and term_matches(sub.formats, wish.formats, fold_format)
        and term_matches(sub.crs, wish.crs, fold_crs)
    )


def _editions(edition: Edition, subs: Sequence[SubResource]) -> list[SubResource]:
    if isinstance(edition, All):
        return list(subs)
    if isinstance(edition, Between):
        return [sub for sub in subs if sub.edition_date is not None and sub.edition_date in edition]
    return [sub for members in by_series(subs) for sub in newest(members, edition.count)]


def by_series(subs: Iterable[SubResource]) -> list[list[SubResource]]:
    """Sub-resources in groups within which editions are plural.

    Within a series, those whose fields differ (one lacks its zone, and its name stood in) are plural apart: what a narrower filter
    on that field would take must not be crowded out by what it would not.
    """
    series: dict[tuple[SeriesKey, _Fields], list[SubResource]] = {}
    for sub in subs:
        series.setdefault((series_key(sub), _fields(sub)), []).append(sub)
    return list(series.values())


_Fields = tuple[frozenset[str], frozenset[str], frozenset[str]]


def _fields(sub: SubResource) -> _Fields:
    return (
        frozenset(fold_zone(term.code) for term in sub.zones),
        frozenset(fold_format(term.code) for term in sub.formats),
        frozenset(fold_crs(term.code) for term in sub.crs),
    )


def newest(members: Iterable[SubResource], count: int) -> list[SubResource]:
    """The last `count` editions of one series.

    Sub-resources of the same edition date are one edition. Of two versions of it, or of a dated name and a `..._LATEST`, the newer
    stands; names that tell no such difference are not known to hold the same, so all of them stand.
    """
    kept: list[SubResource] = []
    editions: dict[date | str, tuple[tuple[int, ...], bool]] = {}
    for sub in sorted(members, key=edition_order, reverse=True):
        edition = sub.edition_date or sub.id
        version = version_of(sub)
        if editions.get(edition, version) != version:
            continue
        if edition not in editions and len(editions) == count:
            break
        editions[edition] = version
        kept.append(sub)
    return kept


def _merge(sub: SubResource, wishes: Sequence[Wish]) -> Wanted:
    everything = any(not wish.files for wish in wishes)
    files = () if everything else tuple(sorted({glob for wish in wishes for glob in wish.files}))
    names = tuple(wish.name for wish in wishes)
    return Wanted(sub, names, files, any(wish.whole for wish in wishes), any(wish.extract for wish in wishes))


def resources_wanted(wishes: Iterable[Wish], resources: Iterable[Resource]) -> list[Resource]:
    """The resources that at least one wish names."""
    wishes = tuple(wishes)
    return [resource for resource in resources if any(wants_resource(wish, resource.id) for wish in wishes)]
