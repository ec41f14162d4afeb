"""What is counted from the first event on, for as long as the process lives: the source of Prometheus counters."""

from __future__ import annotations

from collections import Counter

from mirror.events import Answered, Chunk, Event, Failed, Published, Retrying, RunEnded, Walled

_HEARD = frozenset({Answered, Chunk, Failed, Published, Retrying, RunEnded, Walled})


class Counters:
    """A consumer of events. Plain dicts, which one thread writes to and others may copy at any time."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """By upstream, status (`none` where no answer came, `offline` where that was this machine) and kind."""

        self.answered: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        """Until the heads of the answers that came, in sum, by upstream."""

        self.received: Counter[str] = Counter()
        """Bytes of files, by upstream."""

        self.published: Counter[tuple[str, str]] = Counter()
        """Files, by upstream and action."""

        self.walls: Counter[tuple[str, str]] = Counter()
        """By upstream and status."""

        self.retries: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        """Files that were not to be had, by upstream: each time that this is found."""

        self.runs: Counter[str] = Counter()
        """Syncs of the service, by outcome."""

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        if type(event) not in _HEARD:
            return
        match event:
            case Chunk(key, size):
                self.received[key.upstream] += size
            case Answered(upstream, status, seconds, kind, here):
                text = str(status) if status is not None else "offline" if here else "none"
                self.requests[upstream, text, kind] += 1
                if status is not None:
                    self.answered[upstream] += 1
                    self.seconds[upstream] = self.seconds.get(upstream, 0.0) + seconds
            case Published(key, _, action):
                self.published[key.upstream, action] += 1
            case Walled(upstream, status, _, _):
                self.walls[upstream, str(status)] += 1
            case Retrying(upstream=upstream):
                self.retries[upstream] += 1
            case Failed(key=key):
                self.failed[key.upstream] += 1
            case RunEnded(outcome=outcome):
                self.runs[outcome] += 1
