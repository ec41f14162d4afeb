"""The fake upstream over TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trustme
from aiohttp import web

from .upstream import FakeUpstream


@asynccontextmanager
async def over_tls(fake: FakeUpstream, authority: trustme.CA, name: str, **facts: Any) -> AsyncIterator[str]:
    """Serves `fake` with a certificate for `name`, and yields its address; `facts` are those of the certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, **facts).configure_cert(context)
    runner = web.AppRunner(fake.application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/telechargement"
    finally:
        await runner.cleanup()
