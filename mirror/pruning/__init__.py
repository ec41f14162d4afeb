"""Retention carried out: the only command that deletes published files. Reads no network.

    index -> what is stored, whole and on the disk -> decision -> guards -> out of the tree, out of the index, deleted

What may go, and why, is decided in `planning/retention.py`; `judge` brings the facts to it; how a sub-resource goes is in
`sync/leaving.py`.
"""

from mirror.pruning.once import prune
from mirror.pruning.report import PruneAction, PruneRefusal, PruneReport

__all__ = ["PruneAction", "PruneRefusal", "PruneReport", "prune"]
