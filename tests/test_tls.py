"""Over TLS, what cannot be trusted is not spoken to: a sync ends with 5, the mirror stays, and nothing goes out in the clear."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from .mirrored import HASTE, Mirrored, offered
from .tls import over_tls
from .upstream import FakeUpstream, publish, simple_catalogue
from .upstream.raw import Serve, serving

CATALOGUE = simple_catalogue(resources=1, subs=2, files=1, size=1000)
NOW = datetime.now(UTC)
KEY = "k3y-of-a-private-service"


class Secured:
    """A mirror of an upstream over TLS, and an authority that it trusts."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.fake = FakeUpstream(CATALOGUE)
        self.mirror = Mirrored(folder / "root", self.fake)
        self.mirror.patience = replace(HASTE, connect=0.5, idle=1)
        self.ca_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))

    def at(self, base: str, ca_file: Path | None) -> None:
        self.mirror.upstream_options = {"url": f"{base}/capabilities", "api_key": KEY}
        if ca_file is not None:
            self.mirror.upstream_options["ca_file"] = str(ca_file)


@pytest.fixture
async def secured(tmp_path: Path) -> Secured:
    """After a first sync, with something new to fetch."""
    made = Secured(tmp_path)
    async with over_tls(made.fake, made.authority, "127.0.0.1") as base:
        made.at(base, made.ca_file)
        assert (await made.mirror.sync()).exit_code == 0
    assert made.mirror.tree() == offered(CATALOGUE)
    made.fake.catalogue = publish(CATALOGUE, "BDALPHA", replace(CATALOGUE.resources[0].subs[0], id="NEW", updated="2026-12-01"))
    return made


async def refused(secured: Secured, words: str) -> None:
    report = await secured.mirror.sync()
    assert (report.outcome, report.exit_code) == ("unavailable", 5)
    assert words in report.reason
    assert secured.fake.count() == 0
    assert secured.mirror.tree() == offered(CATALOGUE)


async def test_with_its_authority_named_all_is_well(secured: Secured) -> None:
    async with over_tls(secured.fake, secured.authority, "127.0.0.1") as base:
        secured.at(base, secured.ca_file)
        assert (await secured.mirror.sync()).exit_code == 0
    assert secured.mirror.tree() == offered(secured.fake.catalogue)


CERTIFICATES: dict[str, tuple[str, dict[str, Any], str]] = {
    "expired": ("127.0.0.1", {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=1)}, "expired"),
    "not yet valid": ("127.0.0.1", {"not_before": NOW + timedelta(days=1), "not_after": NOW + timedelta(days=9)}, "not yet valid"),
    "another address": ("127.0.0.2", {}, "mismatch"),
    "another host": ("elsewhere.example", {}, "mismatch"),
}


@pytest.mark.parametrize("kind", CERTIFICATES)
async def test_a_certificate_that_does_not_hold(secured: Secured, kind: str) -> None:
    name, facts, words = CERTIFICATES[kind]
    async with over_tls(secured.fake, secured.authority, name, **facts) as base:
        secured.at(base, secured.ca_file)
        await refused(secured, words)
        assert secured.mirror.requests() == {}


@pytest.mark.parametrize("trusted", ["the system's authorities", "another authority"])
async def test_a_certificate_of_an_authority_that_is_not_trusted(secured: Secured, tmp_path: Path, trusted: str) -> None:
    """The message says what to do if the authority is one's own."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with over_tls(secured.fake, secured.authority, "127.0.0.1") as base:
        secured.at(base, None if trusted.startswith("the system") else other)
        await refused(secured, "certificate cannot be trusted")
        await refused(secured, "name it in ca_file")


async def test_plain_http_where_tls_should_be(secured: Secured) -> None:
    """The request, with the key in it, never leaves."""
    await secured.fake.start()
    try:
        secured.at(secured.fake.base.replace("http:", "https:"), secured.ca_file)
        await refused(secured, "no secure connection could be made")
    finally:
        await secured.fake.stop()


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x03\x00\x05hello" * 10)
    await writer.drain()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize("answer", [cut, babble, silence])
async def test_a_handshake_that_breaks(secured: Secured, answer: Serve) -> None:
    """It is tried again for a while, over TLS and nothing else."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(5))
        await answer(reader, writer)

    async with serving(serve) as port:
        secured.at(f"https://127.0.0.1:{port}", secured.ca_file)
        await refused(secured, "cannot be read")
    assert len(got) >= 2
    assert {first[:1] for first in got} == {b"\x16"}  # a ClientHello each time


async def test_a_key_is_told_by_no_failure_of_tls(secured: Secured) -> None:
    async with over_tls(secured.fake, secured.authority, "elsewhere.example") as base:
        secured.at(base, secured.ca_file)
        report = await secured.mirror.sync()
    assert KEY not in report.reason + repr(secured.mirror.events)
