"""Every requirement and every trap, over all that is served from mirrors of several shapes, following every link over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.catalogue import Catalogue

from ..served import ServedMirror, served_mirror
from ..upstream.recordings import recordings
from . import dataset_checks, metadata_checks, opensearch_checks, service_checks, trap_checks
from .mirrors import sample, shapes, visit, withdrawn
from .suite import CHECKS, failed, findings
from .visit import links

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "gpf"
SEVEN_ZIP = "application/x-7z-compressed"
"""No list of the register that was found has it: a limitation of the source (R34), and the one that is accepted."""


def test_the_suite_has_every_requirement_and_every_trap() -> None:
    """R36 and R37 are met by whoever meets the others, and are looked at all the same."""
    assert {
        one.__name__.rpartition(".")[2] for one in (service_checks, dataset_checks, opensearch_checks, trap_checks, metadata_checks)
    }
    ids = [one.id for one in CHECKS]
    assert len(set(ids)) == len(ids)
    assert {f"R{number}" for number in range(1, 46)} | {f"T{number}" for number in range(1, 11)} <= set(ids)
    assert all(one.text for one in CHECKS)


@asynccontextmanager
async def synced(folder: Path, *catalogues: Catalogue, **serve: Any) -> AsyncIterator[ServedMirror]:
    """A mirror that has seen these publications, a week between them."""
    async with served_mirror(folder, catalogues[0], **serve) as served:
        served.mirror.limits["max_shrink_ratio"] = 1
        for catalogue in catalogues[1:]:
            served.mirror.clock.pass_(days=8)
            assert (await served.sync(catalogue)).outcome == "complete"
        yield served


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"the recordings are not at {RECORDINGS}")
async def test_what_the_live_service_has_published_passes(tmp_path: Path) -> None:
    """A recorded data set: ten files of a shapefile, side files among them."""
    async with served_mirror(tmp_path, recordings(RECORDINGS)) as served:
        looked = visit(served)
        assert failed(await findings(looked)) == {}
        assert [len(links(entry, "section")) for one in await looked.datasets() for entry in one.entries] == [10]


@pytest.mark.parametrize(
    ("catalogues", "serve", "types"),
    [
        pytest.param([sample()], {}, {SEVEN_ZIP}, id="the sample catalogue"),
        pytest.param([shapes()], {}, set(), id="all shapes"),
        pytest.param([shapes(), withdrawn(shapes())], {}, set(), id="withdrawn upstream"),
        pytest.param([shapes()], {"public_url": "https://mirror.example.org/geo"}, set(), id="behind a proxy, below a path"),
    ],
)
async def test_what_is_served_passes(
    tmp_path: Path, catalogues: Sequence[Catalogue], serve: dict[str, str], types: set[str]
) -> None:
    """The only accepted failure is the media type of 7z."""
    async with synced(tmp_path, *catalogues, **serve) as served:
        found = await findings(visit(served))
        problems = failed(found)
        assert set(problems.pop("R34", ())) == types
        assert problems == {}
