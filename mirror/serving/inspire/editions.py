"""The editions of a representation, as far as a document names them one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mirror.serving.inspire.representations import Representation, page_of
from mirror.store.newest import NewEdition, Newest, editions
from mirror.store.offer import Offer, OfferedFile


@dataclass(frozen=True, slots=True)
class Titled:
    """An edition, with a title that no other one of the representation has."""

    edition: NewEdition
    title: str


def files_on(offer: Offer, newest: Newest, each: Representation, page: int) -> Iterable[tuple[Titled, list[OfferedFile]]]:
    """The editions on a page of a representation, with the files that are there."""
    parts = page_of(newest.counted(each.codes), page)
    found = editions(offer, [number for number, _, _ in parts])
    for one, (number, offset, limit) in zip(titled(found, newest.titles(each.codes)), parts, strict=True):
        offer.check()
        yield one, offer.files(number, limit=limit, offset=offset)


def all_files(offer: Offer, newest: Newest, each: Representation) -> list[tuple[Titled, OfferedFile]]:
    """All files of a representation with their editions, in order."""
    found = editions(offer, [number for number, _ in newest.counted(each.codes)])
    files: list[tuple[Titled, OfferedFile]] = []
    for one in titled(found, (edition.title for edition in found)):
        offer.check()
        files += [(one, file) for file in offer.files(one.edition.id)]
    return files


def titled(found: list[NewEdition], titles: Iterable[str]) -> list[Titled]:
    """Each edition by its title, with its id where another one has the same. `titles` are those of the whole representation."""
    own = {_plain(one.title) for one in found}
    counts = Counter(title for title in map(_plain, titles) if title in own)
    return [
        Titled(one, f"{title} ({one.name})" if title and counts[title] > 1 else title or one.name)
        for one in found
        for title in (_plain(one.title),)
    ]


def _plain(title: str) -> str:
    return " ".join(title.split())
