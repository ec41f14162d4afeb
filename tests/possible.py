"""What schemathesis loads before it asks: it leaves out what the description cannot say, that one value is not beyond another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import schemathesis


@schemathesis.hook
def filter_query(context: schemathesis.HookContext, query: Mapping[str, Any] | None) -> bool:
    """Boxes have their smaller numbers first, days their order."""
    query = query or {}
    start, end, box = query.get("from"), query.get("to"), query.get("bbox")
    if isinstance(start, str) and isinstance(end, str) and start > end:
        return False
    parts = box.split(",") if isinstance(box, str) else box if isinstance(box, list) else ()
    with suppress(ValueError, TypeError):  # what is no box at all has to be refused
        west, south, east, north = (float(part) for part in parts)
        return west <= east and south <= north
    return True
