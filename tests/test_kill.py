"""kill -9 at random points of a sync, then reruns: the same tree and index as if nobody had disturbed it.

30 kills in the ordinary suite; `make kill` does as many as $KILLS says, from another seed each time it is given by $KILL_SEED.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.model import Term
from mirror.store.index import FILE

from .forked import Syncs
from .mirrored import edition, offered, rewritten, tree_of, volumes
from .upstream import Exchange, FakeUpstream, faults, publish, withdraw

LARGE = 3 << 20


def _archive(zone: str, day: str) -> SampleSub:
    sub = volumes(
        f"BDORTHO_2-0_RVB-0M20_JP2-E080_LAMB93_{zone}_{day}", zone_files=(SampleFile(f"{zone}.md5", f"{zone} {day}".encode()),)
    )
    return replace(sub, edition_date=day, zones=(Term(zone),))


_TILES = SampleSub(
    "LHD_AB",
    updated="2026-08-01",
    edition_date="2026-07-01",
    files=(
        *(SampleFile(f"LHD_FXX_{n:04d}_6543.copc.laz", Pattern(500 + n, f"tile {n}")) for n in range(15)),
        *volumes("LHD_AB_index").files,
    ),
)
_LARGE = SampleSub("LARGE_2026", updated="2026-08-01", files=(SampleFile("large.7z", Pattern(LARGE, "large")),))
_ARCHIVES = tuple(_archive(zone, day) for zone in ("D038", "D073") for day in ("2024-01-01", "2025-01-01"))
FIRST = Catalogue((SampleResource("BDORTHO", _ARCHIVES), SampleResource("LIDAR", (_TILES,)), SampleResource("SCAN", (_LARGE,))))


def _second() -> Catalogue:
    """Of everything something: replaced in place, whole and in part, added, a new edition, withdrawn."""
    made = publish(FIRST, "BDORTHO", rewritten(_ARCHIVES[1], "again", updated="2026-11-01"))
    made = publish(made, "BDORTHO", edition(_ARCHIVES[3], "2026-01-01", "2026-11-01"))
    made = withdraw(made, "BDORTHO", _ARCHIVES[0].id)
    tiles = [*rewritten(_TILES, "again").files[:5], *_TILES.files[5:-3], *rewritten(_TILES, "again").files[-3:]]
    tiles.append(SampleFile("new.copc.laz", b"new"))
    made = publish(made, "LIDAR", replace(_TILES, files=tuple(tiles), updated="2026-11-01"))
    return publish(made, "SCAN", rewritten(_LARGE, "again", updated="2026-11-01"))


GENERATIONS = (FIRST, _second())


@dataclass
class Root:
    """A mirror that is synced, and killed, in processes of their own."""

    path: Path
    upstream: FakeUpstream
    syncs: Syncs
    kills: int = 0

    def settings(self) -> dict[str, Any]:
        return {
            "root": str(self.path),
            "limits": {"min_free": 0},
            "upstream": {"gpf": {"url": self.upstream.url, "requests_per_second": 100_000}},
            "subscription": {
                "whole": {"resources": ["BDORTHO", "SCAN"], "edition": "all"},
                "each": {"resources": ["LIDAR"], "publish": "each"},
            },
        }

    def sync(self, strike: Callable[[Callable[[], None]], None] = lambda kill: None) -> int:
        """One sync; `strike` arranges for it to be killed."""
        self.upstream.clear()
        self.upstream.heal()
        return self.syncs.run(self.settings(), self.path.parent, strike)

    def tree(self) -> dict[str, str]:
        return tree_of(self.path / "data" / "gpf")

    def aliases(self) -> dict[str, str]:
        return {link.name: os.readlink(link) for link in sorted((self.path / "current" / "gpf").iterdir())}

    def index(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the index holds, but row ids, moments and what tells of the runs themselves."""
        with closing(sqlite3.connect(self.path / FILE)) as sql:
            return {query: sorted(sql.execute(query).fetchall(), key=repr) for query in _CONTENT}

    def staged(self) -> list[Path]:
        return [path for path in (self.path / ".staging").rglob("*") if path.is_file() and path.name != "lock"]

    def check_sound(self) -> None:
        """What holds at every moment: no wrong byte, no archive of two generations, no row without its file."""
        here = self.tree()
        known = [offered(generation) for generation in GENERATIONS]
        for path, md5 in here.items():
            assert md5 in {generation.get(path) for generation in known}, path
        for generation_of in _WHOLES:
            found = {path: md5 for path, md5 in here.items() if path.startswith(generation_of)}
            states = [{p: md5 for p, md5 in generation.items() if p.startswith(generation_of)} for generation in known]
            assert not found or found in states, found
        if (self.path / FILE).exists():
            with closing(sqlite3.connect(self.path / FILE)) as sql:
                if sql.execute("SELECT count(*) FROM sqlite_master WHERE name = 'files'").fetchone()[0]:
                    rows = [row[0] for row in sql.execute("SELECT path FROM files WHERE path IS NOT NULL")]
                    assert {row.removeprefix("data/gpf/") for row in rows} <= here.keys()


# What appears in one step: the archives of BDORTHO with all their files, the volumes among the tiles.
_WHOLES = (
    *(f"BDORTHO/{sub.id}/" for generation in GENERATIONS for sub in generation.resources[0].subs if sub.id.startswith("BDORTHO")),
    "LIDAR/LHD_AB/LHD_AB_index.7z.",
)
_SUB = "SELECT s.resource, s.sub_resource"
_CONTENT = (
    "SELECT upstream, high_water FROM upstreams",
    "SELECT upstream, resource, title, abstract, updated, edition_from, edition_to, zones, formats, crs, url, state, fingerprint "
    "FROM resources",
    "SELECT upstream, resource, scope, fingerprint FROM listings",
    f"{_SUB}, title, abstract, edition_date, updated, zones, formats, crs, resolutions, footprint, url, series, state, latest, "
    "withdrawn_at IS NULL, fingerprint, files_fingerprint, files_digest, listed_files, listed_bytes, complete, settled, "
    "settled_files, settled_bytes, stored_files, stored_bytes FROM sub_resources s",
    f"{_SUB}, t.kind, t.code FROM sub_resource_terms t JOIN sub_resources s ON s.id = t.sub_resource_id",
    f"{_SUB}, l.file, l.position, l.url, l.size, l.md5, l.rel FROM listed_files l JOIN sub_resources s ON s.id = l.sub_resource_id",
    f"{_SUB}, f.file, f.url, f.size, f.md5, f.sha256, f.updated, f.verified_at IS NULL "
    "FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id",
    f"{_SUB}, p.file, p.reason FROM parked_files p JOIN sub_resources s ON s.id = p.sub_resource_id",
    "SELECT resource, sub_resource, file, path, size, md5, state, latest FROM files",
    "SELECT upstream, kind, code, label FROM terms",
    f"{_SUB}, w.subscription FROM wanted w JOIN sub_resources s ON s.id = w.sub_resource_id",
    "SELECT resource, sub_resource, title, labels, files FROM search",
    "SELECT subscription, upstream, outcome, upstream_date, expected, present, bytes, failures, parked FROM subscriptions",
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(FIRST).in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def syncs() -> Iterator[Syncs]:
    with Syncs() as made:
        yield made


@dataclass(frozen=True)
class Undisturbed:
    """What a sync of a generation, after those before it, comes to; and how many requests it takes."""

    tree: dict[str, str]
    aliases: dict[str, str]
    index: dict[str, list[tuple[Any, ...]]]
    requests: int


@pytest.fixture(scope="module")
def undisturbed(upstream: FakeUpstream, syncs: Syncs, tmp_path_factory: pytest.TempPathFactory) -> list[Undisturbed]:
    root = Root(tmp_path_factory.mktemp("undisturbed") / "root", upstream, syncs)
    found = []
    for generation in GENERATIONS:
        upstream.catalogue = generation
        assert root.sync() == 0
        found.append(Undisturbed(root.tree(), root.aliases(), root.index(), len(upstream.requests)))
    return found


def strike(upstream: FakeUpstream, rng: random.Random, requests: int) -> Callable[[Callable[[], None]], None]:
    """A kill at a random request: as it comes, in the middle of its answer, or some time after it."""
    number = rng.randint(1, requests)
    way = rng.choice(["as it comes", "in the middle", "later"])
    share, delay = rng.random(), rng.random() ** 3 * 0.2

    def arranged(kill: Callable[[], None]) -> None:
        async def fault(exchange: Exchange) -> web.StreamResponse:
            if way == "later":
                threading.Timer(delay, kill).start()
                return await faults.fine()(exchange)
            if way == "in the middle":
                answer = exchange.answer()
                await exchange.send_part(answer, int(answer.length * share))
            kill()
            return await faults.close_before_response()(exchange)

        upstream.script(lambda record: len(upstream.requests) == number, [fault])

    return arranged


def try_to_kill(root: Root, rng: random.Random, undisturbed: list[Undisturbed]) -> int:
    """Both generations, each killed up to three times and then left in peace; returns how many kills hit."""
    kills = 0
    for generation, expected in zip(GENERATIONS, undisturbed, strict=True):
        root.upstream.catalogue = generation
        for _ in range(rng.randint(1, 3)):
            code = root.sync(strike(root.upstream, rng, expected.requests))
            assert code in (0, -9)
            kills += code == -9
            root.check_sound()
        assert root.sync() == 0
        assert root.tree() == expected.tree
        assert root.aliases() == expected.aliases
        assert root.index() == expected.index
    assert root.sync() == 0
    assert len(root.upstream.requests) == 1
    assert root.staged() == []
    return kills


def kill(folder: Path, upstream: FakeUpstream, syncs: Syncs, undisturbed: list[Undisturbed], kills: int, seed: int) -> None:
    """Disturb one root after the other until that many kills have hit. A failure names the seed of its root."""
    hit = 0
    while hit < kills:
        root = Root(folder / f"seed-{seed}" / "root", upstream, syncs)
        root.path.parent.mkdir()
        hit += try_to_kill(root, random.Random(seed), undisturbed)  # noqa: S311 - to be repeated, not secret
        seed += 1


@pytest.mark.timeout(300)
def test_thirty_kills_leave_no_trace(tmp_path: Path, upstream: FakeUpstream, syncs: Syncs, undisturbed: list[Undisturbed]) -> None:
    kill(tmp_path, upstream, syncs, undisturbed, 30, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_thousand_kills_leave_no_trace(
    tmp_path: Path, upstream: FakeUpstream, syncs: Syncs, undisturbed: list[Undisturbed]
) -> None:
    kills, seed = int(os.environ.get("KILLS", "1000")), int(os.environ.get("KILL_SEED", "1000"))
    kill(tmp_path, upstream, syncs, undisturbed, kills, seed)
