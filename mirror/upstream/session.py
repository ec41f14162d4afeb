"""One polite session per upstream: identity, pace, the wall, retries of feeds, redirects, and nothing secret in any message."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from mirror.errors import ConfigError, RequestFailed, UpstreamUnavailable
from mirror.events import Emit, Requested, Retrying, Walled
from mirror.upstream.answer import describe, read_body, read_retry_after, refusal
from mirror.upstream.pace import Gate, Pace
from mirror.version import __version__

_MOST_REDIRECTS = 5
_MOST_LOST_IN_A_ROW = 5  # pages given up one after the other, none read in between: it is the upstream, not the pages
_DEFAULT_WALL = 5.0  # seconds, where 429 comes without Retry-After: the length of the Géoplateforme's ban [O]
_LONGEST_WALL = 3600.0
_TRANSIENT = frozenset({408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_TRANSPORT = (aiohttp.ClientError, TimeoutError, ConnectionError, OSError)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds, and how slow is too slow, in bytes per second over `slow_for` seconds. Never a total time."""

    connect: float = 15.0
    idle: float = 30.0
    min_speed: float = 64_000.0
    slow_for: float = 30.0
    retry_for: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 30.0
    index: float = 10.0  # for another program that writes to the index


@dataclass(frozen=True, slots=True)
class Feed:
    """The bytes of a page and the media type it came under."""

    body: bytes
    media_type: str


def user_agent(contact: str | None) -> str:
    """`inspire-mirror/VERSION (+contact)`.

    The Géoplateforme's firewall refuses any User-Agent that contains "bot" [O]; a contact that does (talbot@...) is written with
    its o percent-encoded. What a header cannot hold is written as a backslash escape.
    """
    text = f"inspire-mirror/{__version__}" + (f" (+{contact})" if contact else "")
    printable = "".join(c if " " <= c <= "~" else c.encode("unicode-escape").decode("ascii") for c in text)
    return re.sub("(?i)(b)o(t)", r"\1%6F\2", printable)


def backoff(attempt: int, patience: Patience, rng: random.Random) -> float:
    """Seconds to wait before attempt `attempt` + 1: doubling, capped, with jitter so that workers do not come back as one."""
    longest: float = min(patience.longest_wait, patience.first_wait * 2.0 ** min(attempt - 1, 16))
    return longest * rng.uniform(0.5, 1.0)


class Session:
    """All requests to one upstream go through here. Use as an async context manager."""

    def __init__(
        self,
        upstream: str,
        base: str,
        *,
        emit: Emit,
        contact: str | None = None,
        requests_per_second: float = 4.0,
        connections: int = 4,
        bandwidth: float | None = None,
        api_key: str | None = None,
        ca_file: Path | None = None,
        patience: Patience | None = None,
        rng: random.Random | None = None,
        gate: Gate | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`gate` is that of the host, where several sessions go to it: its limits are per address, not per service."""
        self.upstream = upstream
        self.patience = patience or Patience()
        self.rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self.requests = 0
        self._base = URL(base)
        self._emit = emit
        self._key = api_key
        self._clock = clock
        self._gate = gate or Gate(requests_per_second, clock)
        self._bandwidth = Pace(bandwidth, clock) if bandwidth else None
        self._failing_since: float | None = None
        self._lost_in_a_row = 0
        self._agent = user_agent(contact)
        self._connections = connections
        self._ca_file = ca_file
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Session:
        context: ssl.SSLContext | bool = True
        if self._ca_file is not None:
            try:
                context = ssl.create_default_context(cafile=str(self._ca_file))
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"[upstream.{self.upstream}] ca_file: cannot read {self._ca_file}: {error}") from error
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections + 2, ssl=context),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=self.patience.connect, sock_read=self.patience.idle
            ),
            headers={"User-Agent": self._agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=1 << 20,
            proxy=_proxy(self._base),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            await self._client.close()

    def redact(self, text: str) -> str:
        """`text` without the API key, whichever way it got in."""
        if self._key:
            text = text.replace(self._key, "***")
        return re.sub(r"(?i)(apikey=)[^&\s'\"]+", r"\1***", text)

    async def spend(self, size: int) -> None:
        """Account for `size` bytes received against the bandwidth limit."""
        if self._bandwidth is not None:
            await self._bandwidth.take(size)

    @asynccontextmanager
    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """One GET, once the wall is down and it is our turn. Waits out 429 and 503-with-Retry-After; follows same-host redirects.

        Yields the response, whatever its status. Transport errors come out as they are, without the address in their text.

        Raises:
            RequestFailed: this is no address, the certificate cannot be trusted, or we are redirected where we do not go.
            UpstreamUnavailable: nothing but walls for `retry_for` seconds, or one that is too long to wait for.
        """
        target = self._address(url)
        redirects = 0
        while True:
            await self._gate.pass_through()
            self.requests += 1
            self._emit(Requested(self.upstream, self.redact(url)))
            response = await self._get(url, target, headers)
            try:
                status = response.status
                if status == 429 or (status == 503 and "Retry-After" in response.headers):
                    self._hit_wall(url, status, response.headers.get("Retry-After"))
                    continue
                self._failing_since = None
                if status in (301, 302, 303, 307, 308):
                    redirects += 1
                    target = self._redirect(url, target, response.headers.get("Location"), redirects)
                    continue
                yield response
                return
            finally:
                if response.content.is_eof():
                    response.release()
                else:
                    response.close()

    async def feed(self, url: str, query: Mapping[str, str], accept: str) -> Feed:
        """The body of a page, tried again through transient failures for `retry_for` seconds.

        Raises:
            RequestFailed: an answer that trying again would not mend (status set), or failures for longer than that.
            UpstreamUnavailable: the upstream as a whole has not answered for that long.
        """
        asked = str(URL(url).update_query(query)) if query else url
        attempt, since = 0, None
        while True:
            attempt += 1
            try:
                async with self.open(asked, {"Accept": accept, "Accept-Encoding": "gzip"}) as response:
                    if response.status == 200:
                        page = Feed(await read_body(response, self.redact(asked)), response.content_type)
                        self._lost_in_a_row = 0
                        return page
                    if response.status not in _TRANSIENT:
                        raise RequestFailed(f"{self.redact(asked)}: {refusal(response.status)}", response.status)
                    reason = refusal(response.status)
            except _TRANSPORT as error:
                reason = self.redact(describe(error))
            now = self._clock()
            if self._failing_since is None:
                self._failing_since = now
            since = now if since is None else since
            left = since + self.patience.retry_for - now
            if left <= 0:
                raise self._lost(asked, f"{reason} ({attempt} attempts in {now - since:.0f} s)", since)
            # The last attempt is made when the time is up, however long the waits have grown.
            wait = min(backoff(attempt, self.patience, self.rng), left)
            self._emit(Retrying(self.upstream, self.redact(asked), reason, attempt, wait))
            await asyncio.sleep(wait)

    def _lost(self, url: str, reason: str, since: float) -> UpstreamUnavailable | RequestFailed:
        """A page is given up: is it the page, or is it the upstream, which has answered nobody since then?"""
        self._lost_in_a_row += 1
        silent = self._failing_since is not None and self._failing_since <= since
        if silent or self._lost_in_a_row >= _MOST_LOST_IN_A_ROW:
            return UpstreamUnavailable(f"upstream {self.upstream} cannot be read: {self.redact(url)}: {reason}")
        return RequestFailed(f"{self.redact(url)}: {reason}")

    async def _get(self, url: str, target: URL, headers: Mapping[str, str] | None) -> aiohttp.ClientResponse:
        assert self._client is not None, "use the session as a context manager"  # noqa: S101 - a programming error
        try:
            return await self._client.get(target, headers=headers, allow_redirects=False)
        except aiohttp.ClientConnectorCertificateError as error:
            raise RequestFailed(
                f"{self.redact(url)}: the server's certificate cannot be trusted ({error.certificate_error}); "
                "if its authority is your own, name it in ca_file"
            ) from error
        except aiohttp.ClientResponseError as error:
            # Its text, and every traceback with it, has the address with the key.
            raise aiohttp.ClientError(f"the answer is not HTTP: {error.message}") from None
        except aiohttp.InvalidURL:
            raise RequestFailed(f"{self.redact(url)}: not an address that can be asked") from None

    def _address(self, url: str) -> URL:
        try:
            target = URL(url)
        except ValueError:
            raise RequestFailed(f"{self.redact(url)}: not an address that can be asked") from None
        if self._key:
            # Private services want the key on every URL [O]; it is added here, last, and never leaves this room.
            target = target.update_query({"apikey": self._key})
        return target

    def _hit_wall(self, url: str, status: int, retry_after: str | None) -> None:
        now = self._clock()
        seconds = read_retry_after(retry_after)
        if seconds is None:
            seconds = _DEFAULT_WALL
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > self.patience.retry_for or seconds > _LONGEST_WALL:
            raise UpstreamUnavailable(
                f"upstream {self.upstream} keeps refusing requests (HTTP {status}, asks to come back in {seconds:.0f} s); try later"
            )
        if self._gate.raise_wall(seconds):
            self._emit(Walled(self.upstream, status, seconds, self._gate.rate))

    def _redirect(self, url: str, at: URL, location: str | None, count: int) -> URL:
        if not location or count > _MOST_REDIRECTS:
            raise RequestFailed(f"{self.redact(url)}: redirected in a circle or to nowhere")
        try:
            target = at.join(URL(location))
            origin = target.origin()
        except ValueError:
            raise RequestFailed(f"{self.redact(url)}: redirected to something that is no address") from None
        if origin != self._base.origin():
            raise RequestFailed(
                f"{self.redact(url)}: redirected to another host, {origin}; not followed. If that is the upstream's new "
                "home, put its address in the config"
            )
        return self._address(str(target))


def _proxy(base: URL) -> URL | None:
    """The proxy that the environment (`https_proxy`, `no_proxy`, ...) has for this host, with credentials if it names them.

    All requests go to one host, so it is asked once; aiohttp's `trust_env` asks before each request, in two hops to other threads.
    """
    address = getproxies().get(base.scheme)
    if not address or proxy_bypass(base.authority):
        return None
    return URL(address if "://" in address else f"http://{address}")
