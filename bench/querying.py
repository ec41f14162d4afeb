"""Questions to an index of two million files, inside the process and as a whole command."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from statistics import median, quantiles

import mirror
from bench import synthetic
from bench.contest import Contender, contest, seconds
from bench.figures import Figure, at_most
from bench.ground import Ground
from bench.ours import Ours
from bench.published import fill, listed
from mirror.store import schema

_BASE = "https://upstream.example/telechargement"


def queries(ground: Ground) -> Iterator[Figure]:
    """By resource, zone, format and latest; then without the resource, so that every product answers."""
    sizes = ground.sizes
    ours = large_mirror(ground)
    files = f"{sizes.queried_sub_resources * sizes.files_each:,} files"
    for narrow in (True, False):
        times, found = _ask(ours.root, sizes.resources, sizes.queries, narrow=narrow)
        what = "resource, zone, format, latest" if narrow else "zone, format, latest"
        p99 = 1000 * quantiles(times, n=100)[98]
        note = f"median {1000 * median(times):.1f} ms, {median(found):,.0f} files found"
        yield Figure(f"query by {what} on {files}, p99 inside the process", p99, "ms", at_most(20), note)
    for narrow in (True, False):
        product = ["--resource", synthetic.resource_id(7)] if narrow else []
        command = ours.command("query", *product, "--zone", synthetic.ZONES[0], "--format", "GPKG", "--latest", "--json")
        results = contest({"query": Contender(command)}, sizes.rounds, ground.room("query-output"))["query"]
        found_here = len(json.loads(results[-1].output.read_text()))
        what = "by resource, zone, format, latest" if narrow else "by zone, format, latest"
        yield Figure(f"`query --json` {what}, whole command", seconds(results), "s", at_most(0.4), f"{found_here:,} files found")
    shutil.rmtree(ground.folder / "query-output")


def large_mirror(ground: Ground) -> Ours:
    """A mirror with an index of all the files that are asked for, and no tree."""
    sizes = ground.sizes
    ours = Ours(ground.folder / f"query-{sizes.queried_sub_resources}", f"{_BASE}/capabilities")
    _prepare(ours.root, sizes.resources, sizes.queried_sub_resources, sizes.files_each)
    return ours


def _prepare(root: Path, resources: int, sub_resources: int, files_each: int) -> None:
    """The index, kept from the last time where it was made for the same tables and the same catalogue."""
    recipe = "".join(Path(module.__file__).read_text() for module in (schema, synthetic) if module.__file__)
    made_for = hashlib.sha256(recipe.encode()).hexdigest()
    mark = root / "made-for"
    if mark.exists() and mark.read_text() == made_for:
        return
    shutil.rmtree(root, ignore_errors=True)
    offer = synthetic.catalogue(resources, sub_resources, files_each)
    fill(root, listed(offer, _BASE), newest=date.fromisoformat(synthetic.NEWEST), folders=False)
    mark.write_text(made_for)


def _ask(root: Path, resources: int, count: int, *, narrow: bool) -> tuple[list[float], list[int]]:
    """Seconds and number of files found of each of `count` different questions, of which each has an answer."""
    chance = random.Random(20260901)
    times: list[float] = []
    found: list[int] = []
    with mirror.open(root) as here:
        while len(times) < count:
            product = synthetic.resource_id(chance.randrange(resources)) if narrow else ()
            zone, form = chance.choice(synthetic.ZONES), chance.choice(synthetic.FORMATS)
            began = time.perf_counter()
            files = here.query(resource=product, zone=zone, format=form, latest=True)
            taken = time.perf_counter() - began
            if files:
                times.append(taken)
                found.append(len(files))
    return times, found
