"""A mirror that is to be pruned: three zones in three editions, of which one is to be kept; and looks at what goes."""

from __future__ import annotations

from pathlib import Path

from mirror.demo.catalogue import SampleSub
from mirror.pruning import PruneReport
from mirror.store.index import Index

from .mirrored import Mirrored, offered, only
from .upstream import FakeUpstream, simple_catalogue

CATALOGUE = simple_catalogue(resources=2, subs=9, files=2)
"""Three zones in three editions, of two resources."""

ALL = offered(CATALOGUE)
EDITIONS = ("2026-03-15", "2026-06-15", "2026-09-15")
ALPHA = CATALOGUE.resources[0]
OLDEST, MIDDLE, LATEST = (next(sub for sub in ALPHA.subs if f"D038_{day}" in sub.id) for day in EDITIONS)
KEEPING = {"resources": ["*"], "keep": 1}
NEWEST = only(ALL, EDITIONS[2])


async def mirrored(root: Path, upstream: FakeUpstream) -> Mirrored:
    """Everything was mirrored four days ago; from now on one edition is to be kept."""
    made = Mirrored(root, upstream)
    assert (await made.sync()).exit_code == 0
    made.tables = {"one": KEEPING}
    made.limits["max_delete_ratio"] = 1
    made.clock.pass_(days=4)
    return made


def folder(mirror: Mirrored, sub: SampleSub = OLDEST) -> Path:
    return mirror.root / "data" / "gpf" / sub.id.split("_")[0] / sub.id


def deleted(report: PruneReport) -> set[str]:
    return {action.sub_resource for action in report.actions if action.action == "delete"}


def reasons(report: PruneReport) -> str:
    return " ".join(action.reason for action in report.actions)


def unpack(mirror: Mirrored, sub: SampleSub, *, known: bool = True) -> Path:
    """A folder as of an unpacked archive, with its rows unless the index does not know it."""
    place = mirror.root / "extracted" / "gpf" / ALPHA.id / sub.id
    (place / "layers").mkdir(parents=True)
    (place / "layers" / "a.gpkg").write_bytes(b"unpacked")
    (place / "out").symlink_to(mirror.root / "data")
    with Index(mirror.root) as index:
        sql = index.connection
        if known:
            (unit,) = sql.execute("SELECT id FROM sub_resources WHERE sub_resource = ?", (sub.id,)).fetchone()
            sql.execute("INSERT INTO extractions (sub_resource_id, digest, extracted_at) VALUES (?, 'd', 'now')", (unit,))
            sql.execute("INSERT INTO archives (id, sub_resource_id, archive, probed_at) VALUES (?1, ?1, 'a', 'now')", (unit,))
            sql.execute("INSERT INTO members (archive_id, position, member, type) VALUES (?, 0, 'a.gpkg', 'x')", (unit,))
    return place
