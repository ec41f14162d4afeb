"""Which sub-resources are editions of one another, and which of them is the newest.

A series is one resource, theme, zones, formats, CRS and resolution. The published fields decide; the name only adds what no field
says, the theme. Names alone cannot be parsed reliably (OCS GE alone has eight patterns), so nothing is read *out of* a name by its
position: the tokens that are versions, dates or `LATEST` are dropped, those that repeat a field are dropped, and what is left over,
whatever its order, is the theme.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from mirror.model import SubResource, Term
from mirror.vocabulary import CRS_NAMES, fold_crs, fold_format, fold_zone

_SEPARATORS = re.compile(r"[_\s]+")
_VERSION = re.compile(r"(?i)^v?\d{1,2}([-.]\d{1,2}){1,2}$|^v\d{1,3}$")
# 2024-01-01, 2024-01, 2024, 20240101, 2024T3 (a quarter), each also behind ED (édition). A period (2018-2021) is no date: the
# differences of two periods are not editions of one another.
_DATE = re.compile(r"(?i)^(ed)?(19|20)\d\d(-?\d\d(-?\d\d)?|-?[tq][1-4])?$")
_LATEST = re.compile(r"(?i)^latest$")
_ZONE = re.compile(r"(?i)^(D0?\d[0-9AB]\d?|R\d\d|FRA|FXX|FR|EUR|WLD)$")
# As `fold_format` writes them: those that stand in names of deliveries [C].
_VECTOR_FORMATS = ("GPKG", "SHP", "FGB", "PARQUET", "PMTILES", "CSV", "GEOJSON", "GML", "SQL", "MIF", "TAB")
_RASTER_FORMATS = ("TIFF", "JP2", "JP2-E080", "JP2-E100", "JP2-E120", "ECW", "ASC", "XYZ", "LAZ", "COPC", "VPC")
_FORMATS = frozenset({*_VECTOR_FORMATS, *_RASTER_FORMATS})
_LENGTH = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*(cm|m|km)?\s*", re.IGNORECASE)
_METRES = {"cm": 0.01, "m": 1.0, "km": 1000.0}
_LONGEST_SLUG = 120


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """What the editions of one series have in common. All parts are folded, so that spellings do not split a series."""

    resource: str
    theme: tuple[str, ...]
    zones: tuple[str, ...]
    formats: tuple[str, ...]
    crs: tuple[str, ...]
    resolutions: tuple[str, ...]

    @property
    def slug(self) -> str:
        """A name for this series that can be a folder name, reads well, and differs from that of every other series."""
        crs = [code.replace(":", "-") for code in self.crs]
        parts = (self.resource, *self.theme, *self.formats, *crs, *self.zones, *self.resolutions)
        raw = "_".join(part for part in parts if part)
        clean = re.sub(r"[^A-Za-z0-9_.+-]+", "-", raw).strip(".")
        # A joined name stands for one key alone if each part shows which kind it is of ("A_B" + "C" would read as "A" + "B_C").
        kinds = ["resource", *("theme" for _ in self.theme), *("format" for _ in self.formats), *("crs" for _ in crs)]
        kinds += [*("zone" for _ in self.zones), *("resolution" for _ in self.resolutions)]
        telling = "_" not in self.resource and all(_kind(part) == kind for part, kind in zip(parts[1:], kinds[1:], strict=True))
        if telling and clean == raw and len(clean) <= _LONGEST_SLUG:
            return clean
        digest = hashlib.blake2b(repr(self).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        return f"{clean[: _LONGEST_SLUG - 9]}~{digest}"


def _kind(part: str) -> str | None:
    """Which part of a key a word of a slug is, as a reader of the slug would tell; None for what is no single word."""
    if not part or "_" in part:
        return None
    if part in _FORMATS:
        return "format"
    if re.fullmatch(r"EPSG-[0-9]+", part):
        return "crs"
    if _ZONE.match(part) and part == fold_zone(part):
        return "zone"
    if re.fullmatch(r"[0-9]+([.][0-9]+)?m", part):
        return "resolution"
    return "theme"


def series_key(sub: SubResource) -> SeriesKey:
    """The series of a sub-resource. Where a field is missing, the token of the name that plainly is one stands in for it."""
    zones = {fold_zone(term.code) for term in sub.zones}
    formats = {fold_format(term.code) for term in sub.formats}
    crs = {fold_crs(term.code) for term in sub.crs}
    resolutions = {_resolution(term) for term in sub.resolutions}
    own = {token.upper() for token in _tokens(sub.resource)} | {sub.resource.upper()}
    theme: list[str] = []
    for token in _tokens(_without_resource(sub)):
        folded = token.upper()
        if _VERSION.match(token) or _DATE.match(token) or _LATEST.match(token) or folded in own:
            continue
        if fold_zone(token) in zones or fold_format(token) in formats:
            continue
        if folded in CRS_NAMES and (not sub.crs or fold_crs(CRS_NAMES[folded]) in crs):
            crs.add(fold_crs(CRS_NAMES[folded]))
            continue
        if not sub.zones and _ZONE.match(token):
            zones.add(fold_zone(token))
            continue
        if not sub.formats and fold_format(token) in _FORMATS:
            formats.add(fold_format(token))
            continue
        theme.append(folded)
    return SeriesKey(
        sub.resource, tuple(theme), tuple(sorted(zones)), tuple(sorted(formats)), tuple(sorted(crs)), tuple(sorted(resolutions))
    )


def told_by_name(resource: str, sub_id: str, siblings: Iterable[SubResource]) -> SubResource:
    """A sub-resource that upstream no longer lists, as far as its name and its siblings in the resource tell.

    A sibling whose name differs in date and version only is another edition of it, with the same zones, formats, CRS and
    resolution. Where there is none, tokens that plainly are zones, formats or CRS count as such.
    """
    bare = SubResource(resource, sub_id, "", title=sub_id, edition_date=_date_in(sub_id))
    stem = stem_of(sub_id)
    for sibling in siblings:
        if stem_of(sibling.id) == stem:
            fields = {name: getattr(sibling, name) for name in ("zones", "formats", "crs", "resolutions")}
            return replace(bare, **fields)
    key = series_key(bare)
    return replace(bare, zones=tuple(map(Term, key.zones)), formats=tuple(map(Term, key.formats)), crs=tuple(map(Term, key.crs)))


def stem_of(name: str) -> tuple[str, ...]:
    """What the names of all editions of a sub-resource have in common: all but versions and dates."""
    return tuple(t.upper() for t in _tokens(name) if not (_VERSION.match(t) or _DATE.match(t) or _LATEST.match(t)))


def _date_in(name: str) -> date | None:
    """The one full day that a name holds."""
    days = set()
    for token in _tokens(name):
        if _DATE.match(token) and len(digits := re.sub(r"\D", "", token)) == 8:
            try:
                days.add(date.fromisoformat(digits))
            except ValueError:
                continue
    return days.pop() if len(days) == 1 else None


def edition_order(sub: SubResource) -> tuple[str, str, tuple[int, ...], str]:
    """A key that sorts the editions of one series from the oldest to the newest.

    The edition date decides; then the publication day, the version in the name, and the id, so that the order is the same in
    every run. A sub-resource without an edition date counts by its publication day.
    """
    published = (sub.updated or "")[:10]
    return (sub.edition_date.isoformat() if sub.edition_date else published, published, _version(sub.id), sub.id)


def version_of(sub: SubResource) -> tuple[tuple[int, ...], bool]:
    """The version in the name, and whether the name is one that is replaced in place (`..._LATEST`)."""
    return _version(sub.id), any(_LATEST.match(token) for token in _tokens(sub.id))


def _tokens(name: str) -> list[str]:
    return [token for token in _SEPARATORS.split(name) if token]


def _without_resource(sub: SubResource) -> str:
    """The id without the resource id that most begin with (`ADMIN-EXPRESS_3-2__SHP...`), which would read as themes."""
    if sub.id.upper().startswith(sub.resource.upper()):
        return sub.id[len(sub.resource) :]
    return sub.id


def _version(name: str) -> tuple[int, ...]:
    for token in _tokens(name):
        if _VERSION.match(token):
            return tuple(int(part) for part in re.findall(r"\d+", token))
    return ()


def _resolution(term: Term) -> str:
    """`0.2m`, `0,20 m` and `20cm` are one resolution; what is no length is kept as it is."""
    found = _LENGTH.fullmatch(term.code)  # in full: 1:25000 is no length
    if not found:
        return term.code.strip().upper()
    metres = float(found[1].replace(",", ".")) * _METRES[(found[2] or "m").lower()]
    return f"{metres:g}m"
