"""What a command is told: the JSON on its stdin, and what stands for its placeholders. Read from the index when it is run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from mirror.model import SubResource
from mirror.planning.series import edition_order
from mirror.planning.volumes import archives_in
from mirror.settings import Subscription
from mirror.store.hook_jobs import HookJob

VERSION = 1
"""Of the document: it changes when a member goes or changes its meaning, not when one is added."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`document` is for stdin, as JSON; `values` are what the placeholders stand for."""

    document: Mapping[str, Any]
    values: Mapping[str, str]


def manifest_of(connection: sqlite3.Connection, root: Path, job: HookJob, subscription: Subscription) -> Manifest:
    """The facts of a job as they are now. Raises LookupError if what it is about is not in the index."""
    common = {
        "manifest": VERSION,
        "hook": job.hook,
        "subscription": job.subscription,
        "upstream": job.upstream,
        "root": str(root),
        "attempt": job.attempts + 1,
    }
    values = {"subscription": job.subscription, "upstream": job.upstream, "root": str(root)}
    if job.hook != "on_publish":
        published = [
            {**one, "path": str(root / "data" / job.upstream / one["resource"] / one["sub_resource"])}
            for one in job.facts["published"]
        ]
        document = {**common, **job.facts, "changed": bool(published), "published": published}
        return Manifest(document, {**values, "outcome": job.facts["outcome"]})
    found = connection.execute(
        "SELECT * FROM sub_resources WHERE upstream = ? AND resource = ? AND sub_resource = ?",
        (job.upstream, job.resource, job.sub_resource),
    ).fetchone()
    if found is None:
        raise LookupError(f"{job.resource}/{job.sub_resource} is not in the index")
    folder = Path(job.upstream, job.resource, job.sub_resource)
    edition, previous = _edition(found), _previous(connection, root, found)
    files = _files(connection, root / "data" / folder, found["id"])
    new = {row[0] for row in connection.execute(_NEW, (found["id"], job.handled))}
    document = {
        **common,
        "resource": job.resource,
        "sub_resource": job.sub_resource,
        "title": found["title"],
        "edition": edition or None,
        "previous": previous,
        "series": found["series"],
        "latest": bool(found["latest"]),
        "path": str(root / "data" / folder),
        "current": str(root / "current" / job.upstream / found["series"]),
        "extracted": str(root / "extracted" / folder) if subscription.extract else None,
        "zones": json.loads(found["zones"]),
        "formats": json.loads(found["formats"]),
        "crs": json.loads(found["crs"]),
        "updated": found["updated"],
        "published": [file["file"] for file in files if file["file"] in new],
        "files": files,
    }
    return Manifest(
        document,
        {
            **values,
            "resource": job.resource,
            "sub_resource": job.sub_resource,
            "edition": edition,
            "previous_edition": (previous or {}).get("edition") or "",
            "series": found["series"],
            "path": document["path"],
            "current": document["current"],
            "extracted": str(root / "extracted" / folder),
        },
    )


_NEW = "SELECT file FROM stored_files WHERE sub_resource_id = ? AND publication > ?"


def _edition(row: sqlite3.Row) -> str:
    """The day of an edition; where upstream gives none, that of its publication."""
    return str(row["edition_date"] or (row["updated"] or "")[:10])


def _previous(connection: sqlite3.Connection, root: Path, found: sqlite3.Row) -> dict[str, str | None] | None:
    """The newest edition of the same series before this one that is here and complete."""
    rows = connection.execute(
        "SELECT resource, sub_resource, edition_date, updated FROM sub_resources "
        "WHERE upstream = ? AND series = ? AND complete AND stored_files AND id <> ?",
        (found["upstream"], found["series"], found["id"]),
    )
    older = [row for row in rows if edition_order(_bare(row)) < edition_order(_bare(found))]
    if not older:
        return None
    newest = max(older, key=lambda row: edition_order(_bare(row)))
    path = root / "data" / found["upstream"] / newest["resource"] / newest["sub_resource"]
    return {"sub_resource": newest["sub_resource"], "edition": _edition(newest) or None, "path": str(path)}


def _bare(row: sqlite3.Row) -> SubResource:
    day = date.fromisoformat(row["edition_date"]) if row["edition_date"] else None
    return SubResource(row["resource"], row["sub_resource"], "", updated=row["updated"], edition_date=day)


def _files(connection: sqlite3.Connection, folder: Path, unit_id: int) -> list[dict[str, Any]]:
    """Every sound file of a sub-resource that is here; of an archive in volumes, the first has the members."""
    rows = connection.execute(
        "SELECT f.file, f.size, f.md5, f.sha256, l.media_type FROM stored_files f "
        "LEFT JOIN listed_files l ON l.sub_resource_id = f.sub_resource_id AND l.file = f.file "
        "WHERE f.sub_resource_id = ? AND f.verified_at IS NOT NULL GROUP BY f.file ORDER BY f.file",
        (unit_id,),
    ).fetchall()
    archives = {name: archive for archive in archives_in(row["file"] for row in rows) for name in archive.files}
    members: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(
        "SELECT a.archive, m.member, m.size, m.type FROM archives a JOIN members m ON m.archive_id = a.id "
        "WHERE a.sub_resource_id = ? ORDER BY a.archive, m.position",
        (unit_id,),
    ):
        members.setdefault(row["archive"], []).append({"member": row["member"], "size": row["size"], "type": row["type"]})
    found = []
    for row in rows:
        archive = archives.get(row["file"])
        first = archive is not None and archive.files[0] == row["file"]
        found.append(
            {
                "file": row["file"],
                "path": str(folder / row["file"]),
                "size": row["size"],
                "md5": row["md5"],
                "sha256": row["sha256"],
                "media_type": row["media_type"],
                "archive": archive.name if archive else None,
                "members": members.get(archive.name, []) if archive is not None and first else [],
            }
        )
    return found
