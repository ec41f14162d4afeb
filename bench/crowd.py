"""Many clients at once, in a process of their own: when the first byte comes to each, and when all have everything.

    python -m bench.crowd HOST PORT CLIENTS PATH...

Client n asks for path n, from the first again once all are taken. One line of JSON: `first` (seconds, of each), `seconds`, `bytes`.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass

_AT_ONCE = 2**18


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    request: bytes
    began: float
    first: float | None = None
    left: int | None = None
    head: bytes = b""


def main() -> None:
    """Raises RuntimeError where one of them does not get everything."""
    host, port, count, paths = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    waiting, total, buffer = selectors.DefaultSelector(), 0, bytearray(_AT_ONCE)
    began = time.perf_counter()
    clients = []
    for number in range(count):
        connection = socket.socket()
        connection.setblocking(False)
        path = paths[number % len(paths)]
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        client = _Client(connection, request, time.perf_counter())
        connection.connect_ex((host, port))
        waiting.register(connection, selectors.EVENT_WRITE, client)
        clients.append(client)
    while waiting.get_map():
        for key, _ in waiting.select():
            client = key.data
            if client.request:
                client.connection.sendall(client.request)
                client.request = b""
                waiting.modify(client.connection, selectors.EVENT_READ, client)
                continue
            got = client.connection.recv_into(buffer)
            if client.first is None:
                client.first = time.perf_counter() - client.began
            if not got:
                waiting.unregister(client.connection)
                client.connection.close()
            total += _take(client, memoryview(buffer)[:got])
    for client in clients:
        if client.left != 0:
            raise RuntimeError(f"a client did not get everything: {client.head[:200]!r}, {client.left} bytes left")
    print(json.dumps({"first": [c.first for c in clients], "seconds": time.perf_counter() - began, "bytes": total}))


def _take(client: _Client, block: memoryview) -> int:
    """Bytes of the body among them."""
    if client.left is None:
        client.head += bytes(block)
        head, found, body = client.head.partition(b"\r\n\r\n")
        if not found:
            return 0
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        client.left = int(fields[b"content-length"]) - len(body)
        return len(body)
    client.left -= len(block)
    return len(block)


if __name__ == "__main__":
    main()
