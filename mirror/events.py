"""What happens, as it happens. Progress bars, log lines, the account of a run and its JSON all read this one stream.

Events are facts that have come true: `Published` is sent after the rename, never before. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class FileKey:
    """Which file an event is about."""

    upstream: str
    resource: str
    sub_resource: str
    file: str

    def __str__(self) -> str:
        return f"{self.resource}/{self.sub_resource}/{self.file}"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class Requested(Event):
    """A request went out to an upstream, a retry or a redirect included."""

    upstream: str
    url: str


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """How a request ended: with an HTTP status `seconds` after it went out, as the head of the answer was here; or with None.

    `here` says that it was no fault of the upstream that no answer came: this machine has no network, no names, no way out.
    """

    upstream: str
    status: int | None
    seconds: float
    kind: Literal["listing", "file", "probe"]
    here: bool = False


@dataclass(frozen=True, slots=True)
class Walled(Event):
    """The upstream told this address to stop: every worker of that host waits `seconds`, then goes on at `rate` requests/s."""

    upstream: str
    status: int
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class Retrying(Event):
    """A request or transfer failed and is tried again."""

    upstream: str
    what: str
    reason: str
    attempt: int
    wait: float


@dataclass(frozen=True, slots=True)
class Stage(Event):
    """A run has come to its next stage."""

    name: Literal["listing", "planning", "fetching", "unpacking"]


@dataclass(frozen=True, slots=True)
class ListingStarted(Event):
    """The listing phase of an upstream begins. `kind` is how much it lists."""

    upstream: str
    kind: Literal["first", "full", "changes"]


@dataclass(frozen=True, slots=True)
class Listed(Event):
    """A listing is complete: `entries` resources, sub-resources or files of `what`."""

    upstream: str
    level: Literal["resources", "sub_resources", "files"]
    what: str
    entries: int


@dataclass(frozen=True, slots=True)
class ListingFailed(Event):
    """A listing could not be had in this run; what hangs on it is missing from the plan, and the run is incomplete."""

    upstream: str
    what: str
    url: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class ListingRefused(Event):
    """A listing came whole and is not believed: what was known of `what` stays, and nothing is fetched for it in this run."""

    upstream: str
    what: str
    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """The plan stands: numbers of files, and bytes to fetch."""

    add: int
    replace: int
    keep: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TransferStarted(Event):
    """A transfer begins. `offset` bytes are here from an earlier attempt; `size` is None where nobody says."""

    key: FileKey
    size: int | None
    offset: int


@dataclass(frozen=True, slots=True)
class Chunk(Event):
    """`size` more bytes of a file are in staging."""

    key: FileKey
    size: int


@dataclass(frozen=True, slots=True)
class Restarted(Event):
    """A transfer begins again from zero: what was in staging cannot be continued."""

    key: FileKey
    reason: str


@dataclass(frozen=True, slots=True)
class SetBack(Event):
    """A transfer has failed, and has another turn later in this run."""

    key: FileKey
    reason: str


@dataclass(frozen=True, slots=True)
class Verified(Event):
    """Length and hashes of a staged file agree with the feed. `resumed` bytes were not fetched again."""

    key: FileKey
    size: int
    resumed: int


@dataclass(frozen=True, slots=True)
class Published(Event):
    """A file is in the tree and in the index. `action` is why it came."""

    key: FileKey
    size: int
    action: Literal["add", "replace", "adopt"]


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """A wanted file is not to be had in this run. No `attempts`: it is parked, and was not tried."""

    key: FileKey
    url: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Unpacked(Event):
    """The archives of a sub-resource lie unpacked: `files` of `size` bytes. The file of `key` is empty."""

    key: FileKey
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class NotUnpacked(Event):
    """A sub-resource, listed at `url`, that a subscription wants unpacked is not to be had so. The file of `key` is empty."""

    key: FileKey
    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Withdrawn(Event):
    """Upstream no longer lists a sub-resource that is kept here."""

    upstream: str
    resource: str
    sub_resource: str


@dataclass(frozen=True, slots=True)
class Waiting(Event):
    """Another run, of the process `holder`, has the mirror; this one waits for it to end. Sent once."""

    holder: str


@dataclass(frozen=True, slots=True)
class Checking(Event):
    """A verification begins: so many files and bytes are to be looked at; if not `hashed`, only at their sizes."""

    files: int
    bytes: int
    hashed: bool = True


@dataclass(frozen=True, slots=True)
class Checked(Event):
    """A published file of `size` bytes was looked at. Sent from a thread."""

    size: int


@dataclass(frozen=True, slots=True)
class HookKey:
    """Which command an event is about. `resource` and `sub_resource` are empty where it is about a run."""

    subscription: str
    hook: Literal["on_publish", "on_failure", "on_complete"]
    upstream: str
    resource: str = ""
    sub_resource: str = ""

    def __str__(self) -> str:
        about = f" for {self.resource}/{self.sub_resource}" if self.sub_resource else ""
        return f"{self.hook} of {self.subscription}{about}"


@dataclass(frozen=True, slots=True)
class HookStarted(Event):
    """A command of a subscription begins, for the `attempt`th time."""

    key: HookKey
    attempt: int


@dataclass(frozen=True, slots=True)
class HookDone(Event):
    """A command has succeeded, within `seconds`. `output` is the last of what it printed."""

    key: HookKey
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class HookFailed(Event):
    """A command has failed, or did not end in time. `next_try` is when it is run again, in ISO 8601; None: it is given up."""

    key: HookKey
    reason: str
    attempt: int
    next_try: str | None


@dataclass(frozen=True, slots=True)
class HookStopped(Event):
    """A command was ended before its time, as somebody has asked for it or the program ends; it counts for nothing."""

    key: HookKey


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A line for people: something they would want to know."""

    message: str
    level: Literal["debug", "info", "notice", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class RunBegan(Event):
    """The service begins a sync of the subscriptions `names`, by its schedule or because a command asked for it."""

    names: tuple[str, ...]
    origin: Literal["schedule", "command"]


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """A sync of the service has ended, after publishing `files` and fetching `bytes`: as runs end, or `failed` before it began."""

    names: tuple[str, ...]
    outcome: str
    reason: str
    seconds: float
    files: int = 0
    bytes: int = 0


Emit = Callable[[Event], None]


def fan_out(*consumers: Emit) -> Emit:
    """One stream to several consumers, in order."""

    def emit(event: Event) -> None:
        for consume in consumers:
            consume(event)

    return emit
