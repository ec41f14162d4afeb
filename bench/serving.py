"""The mirror over HTTP against nginx, which serves the same files and a copy of the same feed: in turn, on an index of millions."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from string import Template
from urllib.request import urlopen

from bench import synthetic
from bench.figures import Figure, Goal, at_least, at_most
from bench.ground import MIB, Ground
from bench.published import fill, listed
from bench.querying import large_mirror
from bench.upstream import free_ports, wait_for
from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.serving.geoplateforme.document import download_url

_UPSTREAM, _RESOURCE, _SUB = "served", "PAYLOAD", "PAYLOAD_2026-01-01"
_FEED = f"/{_UPSTREAM}/resource/{_RESOURCE}"
_FEED_SECONDS = 4
_CROWD_FILES = 20
_SPREAD, _LINE, _TAKEN = 2.0, 1_000_000, 2_000_000  # seconds, bytes per second, bytes

_NGINX = Template("""\
$user
worker_processes 1;
daemon off;
pid $folder/nginx.pid;
error_log $folder/error.log;
events { worker_connections 2048; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    types { }
    server {
        listen 127.0.0.1:$port backlog=1024;
        location /$upstream/download/ { alias $data/$upstream/; default_type application/x-7z-compressed; }
        location = $feed { alias $folder/feed.xml; default_type application/atom+xml; }
    }
}
""")

Measured = dict[str, list[float]]


def serving(ground: Ground) -> Iterator[Figure]:
    """Large files, a crowd, small feeds, memory."""
    sizes, folder = ground.sizes, ground.room("serving")
    catalogue = _catalogue(sizes.served_file, sizes.crowd_file)
    root = _mirror(ground, folder, catalogue)
    large, *crowd = (f"/{_UPSTREAM}{download_url('', _RESOURCE, _SUB, file.name)}" for file in catalogue.resources[0].subs[0].files)
    ports = dict(zip(("ours", "nginx"), free_ports(2), strict=True))
    with _ours(folder, root, ports["ours"]) as process, _nginx(folder, root, ports):
        resident: list[int] = []
        with urlopen(f"http://127.0.0.1:{ports['ours']}{_FEED}") as answer:
            (folder / "feed.xml").write_bytes(answer.read())

        def in_turn(measure: Callable[[int], float]) -> Measured:
            for port in ports.values():
                measure(port)  # the files into memory, the connections through
            found: Measured = {name: [] for name in ports}
            for _ in range(sizes.rounds):
                for name, port in ports.items():
                    found[name].append(measure(port))
                resident.append(_resident(process.pid))
            return found

        size = f"{sizes.served_file / MIB:,.0f} MiB"
        for connections in (1, 4):
            rates = in_turn(lambda port, count=connections: _fetch(port, large, count))  # type: ignore[misc]
            yield _ratio(f"serving {size}, {connections} at once / nginx", rates, 0.8, "MB/s", 1e6)
        what = f"{sizes.crowd} clients at once"
        first = _Firsts()
        in_turn(lambda port: _crowd(port, _Crowd(sizes.crowd, _SPREAD, _LINE, _TAKEN), crowd, first))
        pace = f"{_LINE / 1e6:.0f} MB/s each, coming within {_SPREAD:.0f} s"
        yield first.figure(f"{what}, {pace}: first byte, p99", ports, at_most(100))
        first = _Firsts()
        rates = in_turn(lambda port: _crowd(port, _Crowd(sizes.crowd), crowd, first))
        yield _ratio(f"serving {what}, {sizes.crowd_file / MIB:.0f} MiB each / nginx", rates, 0.8, "MB/s", 1e6)
        yield first.figure(f"{what}, in the same moment and as fast as they can: first byte, p99", ports, None)
        rates = in_turn(_feeds)
        yield Figure("small feeds", median(rates["ours"]), "/s", at_least(2000), f"nginx {median(rates['nginx']):,.0f} of a file")
        yield _ratio("small feeds / nginx with a copy of the file", rates, None, "/s", 1)
        note = f"{resident[0] / MIB:.0f} MiB after the first round, {resident[-1] / MIB:.0f} MiB after the last"
        yield Figure("serving: memory after all rounds / after the first", resident[-1] / resident[0], "", at_most(1.1), note)
    shutil.rmtree(folder)


def _ratio(what: str, rates: Measured, bound: float | None, unit: str, scale: float) -> Figure:
    each = [ours / nginx for ours, nginx in zip(rates["ours"], rates["nginx"], strict=True)]
    note = f"{median(rates['ours']) / scale:,.0f} / {median(rates['nginx']) / scale:,.0f} {unit}"
    return Figure(what, median(each), "", at_least(bound) if bound else None, note)


def _fetch(port: int, path: str, count: int) -> float:
    """Bytes per second of so many downloads of a file side by side, each by a curl of its own."""
    command = ["curl", "-sSf", "-o", "/dev/null", "-w", "%{size_download}", f"http://127.0.0.1:{port}{path}"]
    began = time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    total = sum(int(process.communicate()[0] or 0) for process in running)
    if any(process.returncode for process in running):
        raise RuntimeError("a download failed")
    return total / (time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class _Crowd:
    """As `crowd` takes it."""

    clients: int
    spread: float = 0
    rate: int = 0
    most: int = 0


class _Firsts(dict[int, list[float]]):
    """Seconds until the first byte, of all clients, by port."""

    def figure(self, what: str, ports: Mapping[str, int], goal: Goal | None) -> Figure:
        cuts = {name: [1000 * cut for cut in quantiles(self[port], n=100)] for name, port in ports.items()}
        ours, nginx = cuts["ours"], cuts["nginx"]
        return Figure(what, ours[98], "ms", goal, f"p50 {ours[49]:.0f} ms; nginx p50 {nginx[49]:.0f}, p99 {nginx[98]:.0f} ms")


def _crowd(port: int, crowd: _Crowd, paths: list[str], first: _Firsts) -> float:
    """Bytes per second of all of them; adds the seconds after which each got a first byte."""
    command = [sys.executable, "-m", "bench.crowd", "127.0.0.1", str(port), *map(str, astuple(crowd)), *paths]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr.strip().splitlines()[-1])
    told = json.loads(ended.stdout)
    first.setdefault(port, []).extend(told["first"])
    return float(told["bytes"] / told["seconds"])


def _feeds(port: int) -> float:
    """Feeds per second."""
    command = ["wrk", "-t1", "-c16", f"-d{_FEED_SECONDS}s", f"http://127.0.0.1:{port}{_FEED}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None or "Non-2xx" in said:
        raise RuntimeError(f"wrk: {said}")
    return float(found[1])


def _catalogue(large: int, small: int) -> Catalogue:
    names = [(f"{_SUB}.7z", large), *((f"{_SUB}-{n:03d}.7z", small) for n in range(_CROWD_FILES))]
    files = tuple(SampleFile(name, Pattern(size, name)) for name, size in names)
    return Catalogue((SampleResource(_RESOURCE, (SampleSub(_SUB, files=files),)),))


def _mirror(ground: Ground, folder: Path, catalogue: Catalogue) -> Path:
    """The large index, with some files of a second upstream that are really there."""
    root = folder / "root"
    root.mkdir()
    for path in large_mirror(ground).root.glob("index.sqlite*"):
        shutil.copy(path, root / path.name)
    fill(root, listed(catalogue, "https://upstream.example/telechargement"), newest=date.fromisoformat(synthetic.NEWEST),
         folders=True, upstream=_UPSTREAM)  # fmt: skip
    for file in catalogue.resources[0].subs[0].files:
        with (root / "data" / _UPSTREAM / _RESOURCE / _SUB / file.name).open("wb") as stream:
            stream.writelines(file.body.chunks(0, file.body.size))
    return root


@contextmanager
def _ours(folder: Path, root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / "inspire-mirror.toml"
    config.write_text(
        f'root = "{root}"\n[serve]\nlisten = "127.0.0.1:{port}"\n[upstream.{_UPSTREAM}]\nurl = "https://upstream.example/x"\n'
        f'[subscription.all]\nupstream = "{_UPSTREAM}"\nresources = ["*"]\n',
        "utf-8",
    )
    log = folder / "serve.log"
    with log.open("wb") as said:
        process = subprocess.Popen([sys.executable, "-m", "mirror", "-q", "-c", str(config), "serve"], stderr=said)
        with _until_over(process, port, log):
            yield process


@contextmanager
def _nginx(folder: Path, root: Path, ports: dict[str, int]) -> Iterator[None]:
    user = "user root;" if os.geteuid() == 0 else ""
    config, log = folder / "nginx.conf", folder / "error.log"
    config.write_text(
        _NGINX.substitute(folder=folder, data=root / "data", port=ports["nginx"], upstream=_UPSTREAM, feed=_FEED, user=user)
    )
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config), "-e", str(log)], stderr=subprocess.DEVNULL)
    with _until_over(process, ports["nginx"], log):
        yield


@contextmanager
def _until_over(process: subprocess.Popen[bytes], port: int, log: Path) -> Iterator[None]:
    try:
        wait_for(process, port, log)
        yield
    finally:
        process.terminate()
        process.wait()


def _resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
