"""The representations of a data set: what of it is in one CRS and one format (R27)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mirror.geometry import around
from mirror.model import BBox, Term
from mirror.serving.inspire.crs import UNKNOWN, crs_uri, crs_word
from mirror.store.newest import Alike, Codes, Newest
from mirror.store.offer import Offer
from mirror.vocabulary import fold_format

MOST_LINKS = 5_000
"""Files that an entry links to one by one; where there are more, it links to the feed of the representation, which has pages."""

MOST_IN_FEED = 20_000
"""Files that all entries of a feed link to one by one."""

PAGE_FILES = 1_000
"""Files on a page of the feed of a representation."""

_LONGEST_WORD = 60


@dataclass(frozen=True)
class Representation:
    """The newest editions of a data set in one CRS and one format. `crs` is a URI.

    `crs_label` is its name or else its code, `formats` are the folded codes and `format_label` what they are called; labels are
    empty where upstream states nothing.
    """

    crs: str
    crs_label: str
    formats: tuple[str, ...]
    format_label: str
    alike: tuple[Alike, ...]

    @cached_property
    def slug(self) -> str:
        """A name for addresses, that no other representation of the data set has: `EPSG-2154_GPKG`."""
        words = (crs_word(self.crs), "-".join(self.formats) or "data")
        clean = tuple(re.sub(r"[^A-Za-z0-9.-]+", "-", word)[:_LONGEST_WORD] for word in words)
        name = "_".join(clean)
        if clean == words and len(self.formats) < 2:
            return name
        digest = hashlib.blake2b(repr((self.crs, self.formats)).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        return f"{name}~{digest}"

    @property
    def codes(self) -> list[Codes]:
        """What to ask for its editions by."""
        return [one.codes for one in self.alike]

    @property
    def editions(self) -> int:
        """How many editions it has."""
        return sum(one.editions for one in self.alike)

    @cached_property
    def files(self) -> int:
        """How many files it has."""
        return sum(one.files for one in self.alike)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.alike)

    @cached_property
    def changed_at(self) -> str:
        """When something of it last changed here."""
        return max(one.changed_at for one in self.alike)

    @property
    def withdrawn(self) -> bool:
        """Upstream has nothing of it any more."""
        return all(one.withdrawn for one in self.alike)

    @property
    def withdrawn_at(self) -> str | None:
        """When upstream last withdrew something of it."""
        return max((one.withdrawn_at for one in self.alike if one.withdrawn_at), default=None)

    @cached_property
    def box(self) -> BBox | None:
        """The box around the footprints."""
        return around(one.box for one in self.alike)

    @property
    def pages(self) -> int:
        """How many pages its feed has: an answer has an end, however much there is."""
        return max(1, -(-self.files // PAGE_FILES))


def representations(newest: Newest) -> list[Representation]:
    """Those of a data set, of the newest editions of their series, in the order of CRS and format.

    An edition in several CRS is part of each; a CRS without a URI counts as not known.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Alike]] = {}
    for found in newest.alike():
        formats = tuple(sorted({fold_format(term.code) for term in found.formats if term.code.strip()}))
        for uri in dict.fromkeys([crs_uri(term.code) for term in found.crs] or [UNKNOWN]):
            groups.setdefault((uri, formats), []).append(found)
    return [
        Representation(
            uri,
            _label([term for found in alike for term in found.crs if crs_uri(term.code) == uri]),
            formats,
            _label([term for found in alike for term in found.formats]),
            tuple(alike),
        )
        for (uri, formats), alike in sorted(groups.items(), key=lambda group: (group[0][0] == UNKNOWN, group[0]))
    ]


def representations_of(offer: Offer, upstream: str, resource: str) -> list[Representation]:
    """The same, where nothing is asked of single editions."""
    return representations(Newest(offer, upstream, resource))


def page_of(counted: Iterable[tuple[int, int]], page: int) -> list[tuple[int, int, int]]:
    """What is on a page, in order: editions by number, the first of their files there, how many. `counted`: how many each has."""
    begin, end = (page - 1) * PAGE_FILES, page * PAGE_FILES
    found, before = [], 0
    for number, files in counted:
        if before >= end:
            break
        first, last = max(begin, before), min(end, before + files)
        if first < last:
            found.append((number, first - before, last - first))
        before += files
    return found


def linked_singly(found: Sequence[Representation]) -> set[str]:
    """The slugs of those of a feed whose files are linked to one by one: the smaller ones first, as far as there is room."""
    room = MOST_IN_FEED
    singly = set()
    for one in sorted(found, key=lambda one: one.files):
        if one.files > min(room, MOST_LINKS):
            break
        room -= one.files
        singly.add(one.slug)
    return singly


def _label(terms: Sequence[Term]) -> str:
    """What these codes, which mean one thing or a few, are called: a label, or else a code, for each."""
    names: dict[str, str] = {}
    for term in terms:
        label = " ".join(term.label.split())
        if label or term.code.strip():
            key = fold_format(term.code)
            names[key] = names.get(key) or label
    return ", ".join(sorted(dict.fromkeys(names[key] or key for key in names)))
