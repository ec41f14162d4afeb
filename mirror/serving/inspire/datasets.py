"""The data sets of a service: what is offered of each resource, with a code and a title that no other one has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mirror.model import Resource
from mirror.serving.inspire.atom import legal
from mirror.store.offer import Offer, OfferedResource


@dataclass(frozen=True, slots=True)
class Dataset:
    """A resource as an INSPIRE data set. `code` identifies it within the namespace of the service, `title` is its own alone."""

    offered: OfferedResource
    code: str
    title: str

    @property
    def resource(self) -> Resource:
        """What it is."""
        return self.offered.resource

    @property
    def abstract(self) -> str:
        """What it is, in words; never empty, as metadata without an abstract is invalid."""
        return legal(self.resource.abstract).strip() or self.title


def datasets(offer: Offer, upstream: str) -> list[Dataset]:
    """All data sets that are offered, in the order of their ids."""
    offered = offer.resources(upstream)
    codes = codes_of(offer.identifiers(upstream))
    titles = _titles({one.resource.id: one.resource.title for one in offered})
    return [Dataset(one, codes[one.resource.id], titles[one.resource.id]) for one in offered]


def dataset(offer: Offer, upstream: str, resource: str) -> Dataset | None:
    """The data set of a resource; None where nothing of it is offered."""
    identifiers = offer.identifiers(upstream)
    if resource not in identifiers:  # names of what is not there are endless, and must cost little
        return None
    offered = offer.resource(upstream, resource)
    if offered is None:
        return None
    return Dataset(offered, codes_of(identifiers)[resource], _titles(offer.titles(upstream))[resource])


def dataset_of_code(offer: Offer, upstream: str, code: str) -> Dataset | None:
    """The data set that a code is of; an id is taken for one too. None where nothing of it is offered."""
    known = codes_of(offer.identifiers(upstream))
    resource = next((resource for resource, its_code in known.items() if its_code == code), code)
    return dataset(offer, upstream, resource)


def codes_of(identifiers: Mapping[str, str]) -> dict[str, str]:
    """The code of each resource, by its id: what upstream's catalogues call it, or its id where that would not tell it from others.

    Known resources count whether they are offered or not: a code does not change with what is mirrored. A code has a letter or a
    digit in it, or the validator refuses it (R13).
    """
    shared = Counter(identifiers.values())
    return {
        resource: identifier
        if shared[identifier] == 1 and any(map(str.isalnum, identifier)) and identifier not in identifiers.keys() - {resource}
        else resource
        for resource, identifier in identifiers.items()
    }


def _titles(published: Mapping[str, str]) -> dict[str, str]:
    """The title of each resource, by its id: with that, where others have the same. Without what no XML can hold."""
    plain = {resource: " ".join(legal(title).split()) or resource for resource, title in published.items()}
    counts = Counter(plain.values())
    return {resource: title if counts[title] == 1 else f"{title} ({resource})" for resource, title in plain.items()}
