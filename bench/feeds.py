"""Pages into the model: entries per second, XML and JSON, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from statistics import median
from typing import Any

from bench import synthetic
from bench.figures import Figure, at_least
from bench.ground import Ground
from mirror.demo import listing, render
from mirror.model import Page
from mirror.serving.geoplateforme import spelling
from mirror.upstream.feed import parse_resource, parse_sub_resource

_BASE = "https://upstream.example/telechargement"
_PAGES = 20
_TURN = 0.5  # seconds of parsing per round

Spelling = Callable[[spelling.Document], bytes]
Parse = Callable[[bytes], Page[Any]]


def feeds(ground: Ground) -> Iterator[Figure]:
    """Full pages of 50, sub-resources with footprints and files with their facts; JSON and XML in turn."""
    offer = synthetic.catalogue(_PAGES, _PAGES * 50, 50)
    full = {"limit": "50"}
    subs = [render.resource_page(resource, listing.window(resource.listed, full), _BASE, "en") for resource in offer.listed]
    files = [
        render.sub_resource_page(resource.id, sub, listing.window(sub.files, full), _BASE, "en")
        for resource in offer.listed
        for sub in resource.listed[:1]
    ]
    spellings: dict[str, tuple[Spelling, float]] = {"JSON": (spelling.to_json, 60_000), "XML": (spelling.to_xml, 30_000)}
    levels: dict[str, tuple[Sequence[spelling.Document], Parse]] = {
        "files": (files, parse_sub_resource),
        "sub-resources": (subs, lambda body: parse_resource(body, "PRODUIT000")),
    }
    for level, (documents, parse) in levels.items():
        bodies = {name: [spell(document) for document in documents] for name, (spell, _) in spellings.items()}
        rates: dict[str, list[float]] = {name: [] for name in spellings}
        for _ in range(ground.sizes.rounds):
            for name in spellings:
                rates[name].append(_entries_per_second(bodies[name], parse))
        for name, (_, bound) in spellings.items():
            note = f"{sum(map(len, bodies[name])) / len(bodies[name]) / 1000:.0f} kB a page of 50"
            yield Figure(f"pages of {level} into the model, {name}", median(rates[name]), "entries/s", at_least(bound), note)


def _entries_per_second(bodies: Sequence[bytes], parse: Parse) -> float:
    entries, began = 0, time.perf_counter()
    for body in cycle(bodies):
        page = parse(body)
        entries += len(page.entries)
        if page.rejected or len(page.entries) != 50:
            raise RuntimeError(f"a page was not read whole: {page.rejected}")
        if (taken := time.perf_counter() - began) >= _TURN:
            return entries / taken
    raise AssertionError("pages never end")
