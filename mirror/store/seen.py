"""What was listed last, as far as it is needed to judge whether the next listing can be true."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime

from mirror.model import SubResource, Term
from mirror.planning.changes import Scope
from mirror.planning.guards import Days, counted
from mirror.store.index import Index


def seen_sub_resources(index: Index, upstream: str, resource: str, scopes: Iterable[Scope]) -> Days:
    """The sub-resources of a resource that are listed and that `scopes` would surely show, with the days that count.

    The index says when an entry was first seen as it is: what was dated later than that does not count.
    """
    scopes = tuple(scopes)
    rows = index.connection.execute(
        "SELECT sub_resource, edition_date, updated, zones, formats, listed_at FROM sub_resources "
        "WHERE upstream = ? AND resource = ? AND withdrawn_at IS NULL",
        (upstream, resource),
    )
    days = {}
    for row in rows:
        sub = SubResource(
            resource,
            row["sub_resource"],
            "",
            edition_date=date.fromisoformat(row["edition_date"]) if row["edition_date"] else None,
            zones=tuple(Term(code) for code in json.loads(row["zones"])),
            formats=tuple(Term(code) for code in json.loads(row["formats"])),
        )
        if any(scope.holds(sub) for scope in scopes):
            days[sub.id] = counted(row["updated"], datetime.fromisoformat(row["listed_at"]).date())
    return days
