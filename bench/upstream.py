"""The upstream of all measurements: an nginx of our own on loopback, feeds and files from disk, over HTTP and TLS.

SITE/files/<resource>/<sub_resource>/<file>                        what /telechargement/download/... serves
SITE/pages/<http|https>/<all|changes>/<capabilities|resource/...>/<page>.json   the feeds, links as each scheme has them
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from mirror.demo import listing, render
from mirror.demo.catalogue import Catalogue, SampleResource
from mirror.serving.geoplateforme import asked, document, spelling

_CONFIG = Template("""\
$user
worker_processes 1;
daemon off;
pid $folder/nginx.pid;
error_log $folder/error.log;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $folder/temp/body;
    proxy_temp_path $folder/temp/proxy;
    fastcgi_temp_path $folder/temp/fastcgi;
    uwsgi_temp_path $folder/temp/uwsgi;
    scgi_temp_path $folder/temp/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    types { }
    default_type application/octet-stream;
    map $$arg_page $$page { "" 1; default $$arg_page; }
    map $$arg_updatedFrom $$listing { "" all; default changes; }
    server {
        listen 127.0.0.1:$http;
        listen 127.0.0.1:$https ssl;
        ssl_certificate $folder/certificate.pem;
        ssl_certificate_key $folder/key.pem;
        location ^~ /telechargement/download/ { alias $site/files/; }
        location ~ ^/telechargement/(?<feed>.+)$$ {
            default_type application/json;
            root $site/pages;
            try_files /$$scheme/$$listing/$$feed/$$page.json =404;
        }
    }
}
""")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running upstream. The addresses are those of the capabilities; `certificate` is the authority of the second."""

    site: Path
    bases: Mapping[str, str]
    certificate: Path

    def url(self, scheme: str = "http") -> str:
        """The address of the capabilities, for a config."""
        return f"{self.bases[scheme]}/capabilities"

    def file(self, resource: str, sub: str, name: str, scheme: str = "http") -> str:
        """The address of a file, for a peer."""
        return document.download_url(self.bases[scheme], resource, sub, name)

    def publish(self, catalogue: Catalogue, *, changed_since: str | None = None, bodies: bool = True) -> None:
        """Offer this catalogue and nothing else; any `updatedFrom` gets what changed since that day.

        Without `bodies` only the feeds are there.
        """
        shutil.rmtree(self.site, ignore_errors=True)
        for scheme, base in self.bases.items():
            pages = self.site / "pages" / scheme
            _write_capabilities(catalogue, catalogue.listed, base, pages / "all")
            changed = listing.resources(catalogue, {"updatedFrom": changed_since} if changed_since else {})
            _write_capabilities(catalogue, changed, base, pages / "changes")
            for resource in catalogue.listed:
                _write_resource(resource, base, pages / "all" / "resource" / resource.id)
        if bodies:
            self._write_bodies(catalogue.listed)

    def _write_bodies(self, resources: Iterable[SampleResource]) -> None:
        for resource in resources:
            for sub in resource.listed:
                folder = self.site / "files" / resource.id / sub.id
                folder.mkdir(parents=True)
                for file in sub.files:
                    with (folder / file.name).open("wb") as stream:
                        stream.writelines(file.body.chunks(0, file.body.size))


@contextmanager
def running(folder: Path) -> Iterator[Upstream]:
    """An nginx in `folder`, which is emptied before and removed after. Raises RuntimeError where it does not start."""
    shutil.rmtree(folder, ignore_errors=True)
    site = folder / "site"
    (folder / "temp").mkdir(parents=True)
    http, https = free_ports(2)
    _make_certificate(folder)
    user = "user root;" if os.geteuid() == 0 else ""  # its workers would otherwise not be let into a private folder
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.substitute(folder=folder, site=site, http=http, https=https, user=user))
    log = folder / "error.log"
    server = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config), "-e", str(log)], stderr=subprocess.DEVNULL)
    try:
        wait_for(server, http, log)
        bases = {"http": f"http://127.0.0.1:{http}/telechargement", "https": f"https://127.0.0.1:{https}/telechargement"}
        yield Upstream(site, bases, folder / "certificate.pem")
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _write_capabilities(catalogue: Catalogue, resources: Iterable[SampleResource], base: str, folder: Path) -> None:
    for window in _windows(tuple(resources)):
        _write(render.capabilities(catalogue, window, base, "en"), folder / "capabilities", window.page)


def _write_resource(resource: SampleResource, base: str, folder: Path) -> None:
    for subs in _windows(resource.listed):
        _write(render.resource_page(resource, subs, base, "en"), folder, subs.page)
    for sub in resource.listed:
        for files in _windows(sub.files):
            _write(render.sub_resource_page(resource.id, sub, files, base, "en"), folder / sub.id, files.page)


def _windows(entries: tuple[Any, ...]) -> Iterator[asked.Window[Any]]:
    for page in range(1, max(1, -(-len(entries) // asked.LARGEST_LIMIT)) + 1):
        yield listing.window(entries, {"page": str(page), "limit": str(asked.LARGEST_LIMIT)})


def _write(document: spelling.Document, folder: Path, page: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{page}.json").write_bytes(spelling.to_json(document))


def _make_certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
        ],
        check=True,
        capture_output=True,
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until it answers. Raises RuntimeError where it ends before that."""
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"it does not start: {log.read_text() if log.exists() else 'it says nothing'}")
