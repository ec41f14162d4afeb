"""What things are called for people: zones without their codes, editions by what they are of, each code in one spelling."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mirror.model import SubResource
from mirror.phrases import Spoken, day, joined, phrase
from mirror.vocabulary import fold_crs, fold_format, fold_zone

FOLDS: dict[str, Callable[[str], str]] = {"zone": fold_zone, "format": fold_format, "crs": fold_crs}
"""By the names of the filters: which spellings of a code are one."""

STATES: dict[str, Spoken] = {
    "current": phrase("current"),
    "superseded": phrase("superseded"),
    "withdrawn": phrase("withdrawn"),
}
"""Of editions, in words."""

_MOST = 2  # zones in a title


def zone_name(code: str, label: str) -> str:
    """`Isère` for the label `D038 Isère`; the code where there is no more."""
    first, _, rest = label.partition(" ")
    name = rest if fold_zone(first) == fold_zone(code) else label
    return name.strip(" -–·") or code


def edition_title(resource_title: str, sub: SubResource) -> str:
    """`BD TOPO® – Isère – GPKG – 2026-09-15`, unless upstream has a title for it; the id where nothing is known of it."""
    if sub.title and sub.title not in (sub.id, sub.resource, resource_title):
        return sub.title
    zones = list(dict.fromkeys(zone_name(term.code, term.label) for term in sub.zones))
    known = [
        ", ".join(zones[:_MOST]) + (f" +{len(zones) - _MOST}" if len(zones) > _MOST else ""),
        ", ".join(term.code for term in sub.formats[:_MOST]),
        day(sub.edition_date.isoformat()) if sub.edition_date else "",
    ]
    parts = [part for part in known if part]
    return joined(" – ", [resource_title or sub.resource, *parts]) if parts else sub.id


def choices_of(kind: str, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Codes with their names, one for all spellings of a code: that which all are folded to, if it is among them."""
    fold = FOLDS[kind]
    found: dict[str, tuple[str, str]] = {}
    for code, label in pairs:
        name = zone_name(code, label) if kind == "zone" else label
        key = fold(code)
        known_code, known_name = found.get(key, (code, ""))
        better = known_name if known_name not in ("", known_code) else "" if name == code else name
        found[key] = (code if code == key else known_code, better)
    return sorted(found.values(), key=lambda pair: fold(pair[0]))
