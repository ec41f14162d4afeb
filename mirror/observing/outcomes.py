"""How runs end, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mirror.phrases import phrase

OUTCOMES: Mapping[str | None, str] = {
    "complete": phrase("complete"),
    "incomplete": phrase("incomplete"),
    "refused": phrase("refused"),
    "unavailable": phrase("unavailable"),
    "interrupted": phrase("interrupted"),
    "running": phrase("running"),
    "killed": phrase("killed"),
    "failed": phrase("failed"),
    "damaged": phrase("faults found"),
    None: phrase("never run"),
}
"""How runs end or stand, as people are told; None is for a subscription that no run was of."""
