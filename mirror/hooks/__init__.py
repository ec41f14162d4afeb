"""Commands of subscriptions: run after what they are about, retried, never lost, never in the way of a sync.

index (jobs) -> due (which, when) -> manifest (facts) -> command (a process) -> index (outcome), events

`runner` is the wiring; `once` is a sync followed by the commands that it gave rise to.
"""

from mirror.hooks.once import commands_after, sync_with_hooks
from mirror.hooks.runner import HookRunner, HookSummary

__all__ = ["HookRunner", "HookSummary", "commands_after", "sync_with_hooks"]
