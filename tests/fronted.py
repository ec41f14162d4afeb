"""A real nginx before a served mirror, with the config that users are given."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "config" / "nginx" / "inspire-mirror.conf"

_MAIN = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/inspire-mirror.conf;
}}
"""


def free_port() -> int:
    """A port that nobody has at this moment."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write(folder: Path, url: str, root: Path, port: int) -> None:
    folder.mkdir()
    text = EXAMPLE.read_text("utf-8")
    for there, here in (
        ("127.0.0.1:8420", url.removeprefix("http://")),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("/var/lib/inspire-mirror/data/", f"{root}/data/"),
    ):
        assert there in text
        text = text.replace(there, here)
    (folder / "inspire-mirror.conf").write_text(text, "utf-8")
    user = "user root;" if os.geteuid() == 0 else ""  # its workers would otherwise not be let into a private folder
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user), "utf-8")


@asynccontextmanager
async def nginx_before(url: str, root: Path, folder: Path, port: int) -> AsyncIterator[str]:
    """The example as it is, but for addresses and paths; yields where nginx listens."""
    _write(folder, url, root, port)
    log = folder / "error.log"
    command = ("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(log))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        for _ in range(1000):
            assert process.returncode is None, f"nginx ends at once; see {log}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()
