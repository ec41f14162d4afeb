"""Sessions for redirects: what they take, and how a redirect is refused."""

from __future__ import annotations

from typing import Any

import pytest
from yarl import URL

from mirror.errors import RequestFailed
from mirror.events import Event
from mirror.upstream.session import Patience, Session

from .upstream import FakeUpstream, faults, simple_catalogue

CATALOGUE = simple_catalogue(resources=1, subs=2, files=1, size=1000)
QUICK = Patience(idle=5, retry_for=0.05, first_wait=0.001, longest_wait=0.002)
KEY = "k3y-of-a-private-service"


def session(base: FakeUpstream | str, events: list[Event] | None = None, **options: Any) -> Session:
    url = base if isinstance(base, str) else base.base
    options = {"requests_per_second": 1000, "patience": QUICK, **options}
    return Session("gpf", url, emit=(events if events is not None else []).append, **options)


def host_of(fake: FakeUpstream) -> str:
    """How redirect_hosts names it."""
    return URL(fake.base).authority


async def refusal(upstream: FakeUpstream, location: str, url: str | None = None, **options: Any) -> str:
    """Why a redirect to `location` is not followed. Nothing is asked of the upstream but the first request."""
    upstream.script(lambda _: True, [faults.redirect(location)], forever=True)
    async with session(url or upstream, **options) as client:
        with pytest.raises(RequestFailed) as caught:
            await client.feed(f"{url}/capabilities" if url else upstream.url, {}, "application/json")
    assert upstream.count() == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)
