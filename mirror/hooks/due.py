"""Which jobs are to be run now, and when one that failed is tried again. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from mirror.settings import Subscription
from mirror.store.hook_jobs import HookJob

WAITS: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=6))
"""After the first failure, the second, ...; the last goes on."""

MOST_ATTEMPTS: Final = 20
"""Some four days; then it is given up, until there is something new to run it for or somebody asks for it."""


HELD: Final = WAITS[-1]
"""For which commands that somebody has stopped wait, unless a sync comes before."""


def verdict(
    job: HookJob, subscription: Subscription | None, *, at: datetime, retry: bool = False
) -> Literal["due", "later", "void"]:
    """Whether a job is to be run now, later, or never. With `retry`, failures do not wait, nor stay given up."""
    if subscription is None or not command_of(job, subscription):
        return "void"
    if not job.run_ended:
        return "later"  # the mirror is to be at rest, and the aliases to be where they belong
    if job.hook == "on_publish":
        if not job.here:
            return "void"
        if (subscription.publish == "whole" and not job.whole) or (subscription.extract and not job.unpacked):
            return "later"
    if retry or (job.outcome is None and job.next_try is None):
        return "due"
    if job.next_try is None:
        return "later"
    # One that lies further ahead than any wait was written by a clock that has been set back since.
    return "later" if at < job.next_try <= at + WAITS[-1] else "due"


def command_of(job: HookJob, subscription: Subscription) -> tuple[str, ...]:
    """The command that a job is to run; empty where the config has none any more."""
    match job.hook:
        case "on_publish":
            return subscription.on_publish
        case "on_failure":
            return subscription.on_failure
        case "on_complete":
            return subscription.on_complete


def next_try(attempt: int, at: datetime) -> datetime | None:
    """When a command is run again whose `attempt`th attempt has failed; None gives it up."""
    return at + WAITS[min(attempt, len(WAITS)) - 1] if attempt < MOST_ATTEMPTS else None
