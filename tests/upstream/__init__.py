"""The programmable fake upstream: the demo's sample service over real sockets, with a log, scripted faults and a rate limit.

    async with FakeUpstream(simple_catalogue()) as upstream:
        upstream.script("download", [faults.cut_after(1000), faults.status(503)])
        ...                                   # let the program under test run against upstream.url
        assert upstream.count("download") == 3

Tests of commands, which are synchronous, use `with FakeUpstream(...).in_thread() as upstream:`. To publish, set
`upstream.catalogue`, for example to what `publish`, `withdraw` or `replace_file` make of it.
"""

from . import faults
from .exchange import Exchange, Record
from .fake import FakeUpstream, on_page
from .faults import Fault
from .recordings import recordings
from .simple import publish, replace_file, simple_catalogue, withdraw

__all__ = [
    "Exchange",
    "FakeUpstream",
    "Fault",
    "Record",
    "faults",
    "on_page",
    "publish",
    "recordings",
    "replace_file",
    "simple_catalogue",
    "withdraw",
]
