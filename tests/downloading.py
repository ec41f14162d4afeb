"""Mirrors whose files are downloaded: where a file is, one that is large enough to be under way, and a client of raw bytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from mirror.demo.body import Body, Pattern, read
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub

RESOURCE, SUB = "PRODUIT", "PRODUIT_1-0_D038_2026-01-01"
LARGE = 24 << 20
"""More than any connection keeps for a client that does not read."""

ODD_NAMES = ("100% é;\"q'?#&<b>.7z", "a{b} c.7z", "CON5~$(x)`.zip", "%2e%2e%2fx.zip")


def needs(*tools: str) -> pytest.MarkDecorator:
    """In CI all tools are there."""
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(lacking) and not os.environ.get("CI"), reason=f"not installed: {', '.join(lacking)}")


def offering(*files: SampleFile, updated: str = "2026-01-15") -> Catalogue:
    """One edition with these files."""
    return Catalogue((SampleResource(RESOURCE, (SampleSub(SUB, files=files, updated=updated),)),))


def large(seed: str = "first", *, size: int = LARGE, name: str = "large.7z") -> SampleFile:
    """A file that is under way for as long as nobody reads it."""
    return SampleFile(name, Pattern(size, seed))


def path_to(name: str, *, resource: str = RESOURCE, sub: str = SUB) -> str:
    """Where a file is served."""
    return f"/gpf/download/{resource}/{sub}/{quote(name, safe='')}"


def sha256(body: bytes | Body) -> str:
    """Of bytes, in hex."""
    return hashlib.sha256(body if isinstance(body, bytes) else read(body)).hexdigest()


@dataclass
class Raw:
    """A connection to a server, that reads when told."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, line: bytes, *headers: str) -> tuple[int, dict[str, str]]:
        """Send a request, and read as far as the end of the head of the answer."""
        self.writer.write(line + b" HTTP/1.1\r\nHost: here\r\n" + "".join(f"{h}\r\n" for h in headers).encode() + b"\r\n")
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), {name.title(): value for name, value in pairs}

    async def rest(self, length: str) -> bytes:
        """So many bytes of the body, or as many as come before the connection ends."""
        try:
            return await asyncio.wait_for(self.reader.readexactly(int(length)), 60)
        except asyncio.IncompleteReadError as error:
            return error.partial

    def close(self) -> None:
        self.writer.close()


async def connect(url: str, *, buffer: int = 65536) -> Raw:
    """A client that takes no more than `buffer` bytes, and half as much again, before it reads."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    return Raw(*await asyncio.open_connection(sock=connection, limit=buffer))


async def run_tool(command: Sequence[str], folder: os.PathLike[str]) -> str:
    """A program to its end, which has to be a good one; what it said."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, f"{command[0]}: {said.decode()}"
    return said.decode()
