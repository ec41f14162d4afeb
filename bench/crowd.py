"""Many clients at once, in a process of their own: when the first byte comes to each, and when all have what they want.

    python -m bench.crowd HOST PORT CLIENTS SPREAD RATE BYTES PATH...

They come evenly over SPREAD seconds; 0 is all in the same moment. Each takes RATE bytes per second, and goes away once it has
BYTES; 0 is as many as there are. Client n asks for path n, from the first again once all are taken. One line of JSON: `first`
(seconds from the connection on, of each), `seconds`, `bytes`.
"""

from __future__ import annotations

import heapq
import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

_AT_ONCE = 2**18
_PACED = 2**16  # bytes that a client with a rate takes in one go


@dataclass(order=True, slots=True)
class _Client:
    due: float
    number: int
    request: bytes = field(compare=False)
    connection: socket.socket | None = field(default=None, compare=False)
    began: float = field(default=0.0, compare=False)
    first: float | None = field(default=None, compare=False)
    size: int | None = field(default=None, compare=False)
    got: int = field(default=0, compare=False)
    head: bytes = field(default=b"", compare=False)


def main() -> None:
    """Raises RuntimeError where one of them does not get what it wants."""
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    spread, rate, most, paths = float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]), sys.argv[7:]
    began = time.perf_counter()
    clients = [
        _Client(
            began + spread * number / count,
            number,
            f"GET {paths[number % len(paths)]} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(),
        )
        for number in range(count)
    ]
    waiting, buffer = selectors.DefaultSelector(), memoryview(bytearray(_AT_ONCE))
    later = list(clients)
    heapq.heapify(later)
    while later or waiting.get_map():
        while later and later[0].due <= time.perf_counter():
            client = heapq.heappop(later)
            if client.connection is None:
                client.connection, client.began = socket.socket(), time.perf_counter()
                client.connection.setblocking(False)
                client.connection.connect_ex((host, port))
                waiting.register(client.connection, selectors.EVENT_WRITE, client)
            else:
                waiting.register(client.connection, selectors.EVENT_READ, client)
        for key, _ in waiting.select(max(0.0, later[0].due - time.perf_counter()) if later else None):
            client, connection = key.data, key.data.connection
            if client.request:
                connection.sendall(client.request)
                client.request = b""
                waiting.modify(connection, selectors.EVENT_READ, client)
                continue
            got = connection.recv_into(buffer, _PACED if rate else _AT_ONCE)
            if client.first is None:
                client.first = time.perf_counter() - client.began
            client.got += _body(client, buffer[:got])
            if not got or (most and client.got >= most):
                waiting.unregister(connection)
                connection.close()
            elif rate:
                waiting.unregister(connection)
                client.due = client.began + client.got / rate
                heapq.heappush(later, client)
    for client in clients:
        if client.size is None or client.got < (most or client.size):
            raise RuntimeError(f"a client did not get everything: {client.head[:200]!r}, {client.got} of {client.size} bytes")
    total = sum(client.got for client in clients)
    print(json.dumps({"first": [c.first for c in clients], "seconds": time.perf_counter() - began, "bytes": total}))


def _body(client: _Client, block: memoryview) -> int:
    """Bytes of the body among them."""
    if client.size is not None:
        return len(block)
    client.head += bytes(block)
    head, found, body = client.head.partition(b"\r\n\r\n")
    if not found:
        return 0
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{head.splitlines()[0].decode()}: {body[:500].decode('utf-8', 'replace')}")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    client.size = int(fields[b"content-length"])
    return len(body)


if __name__ == "__main__":
    main()
