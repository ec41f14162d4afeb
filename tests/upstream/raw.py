"""Servers that are none of HTTP, or only half: a function that is given the streams of each connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Lets `serve` answer each connection, and yields the port. At the end it waits until every connection is done with.

    A client that goes away ends its connection: reading then gives nothing, or fails, and either is fine.
    """
    under_way: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(one, host, 0) as server:
        yield server.sockets[0].getsockname()[1]
    if under_way:
        await asyncio.wait(under_way)
