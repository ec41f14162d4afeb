"""The pipeline: from feeds to a verified mirror. `once` is one sync, `run` its wiring, the other modules are its stages."""

from mirror.sync.once import PlannedAction, hold_lock, plan, sync
from mirror.sync.report import Account, Failure, Report
from mirror.sync.space import free_space
from mirror.sync.wiring import Clock, dialect_of, open_session, utc_now, wish_of, wishes_of

__all__ = [
    "Account",
    "Clock",
    "Failure",
    "PlannedAction",
    "Report",
    "dialect_of",
    "free_space",
    "hold_lock",
    "open_session",
    "plan",
    "sync",
    "utc_now",
    "wish_of",
    "wishes_of",
]
