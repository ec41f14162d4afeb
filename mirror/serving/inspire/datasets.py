"""The data sets of a service: what is offered of each resource, with a code and a title that no other one has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mirror.model import Resource
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
        return self.resource.abstract.strip() or self.title


def datasets(offer: Offer, upstream: str) -> list[Dataset]:
    """All data sets that are offered, in the order of their ids."""
    offered = offer.resources(upstream)
    codes = codes_of(offer.identifiers(upstream))
    titles = Counter(_title(one) for one in offered)
    return [
        Dataset(one, codes[one.resource.id], title if titles[title] == 1 else f"{title} ({one.resource.id})")
        for one in offered
        for title in (_title(one),)
    ]


def dataset(offer: Offer, upstream: str, resource: str) -> Dataset | None:
    """The data set of a resource; None where nothing of it is offered."""
    if resource not in offer.identifiers(upstream):  # names of what is not there are endless, and must cost little
        return None
    return next((one for one in datasets(offer, upstream) if one.resource.id == resource), None)


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


def _title(one: OfferedResource) -> str:
    return " ".join(one.resource.title.split()) or one.resource.id
