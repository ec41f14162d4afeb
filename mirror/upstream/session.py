"""One polite session per upstream: identity, pace, the wall, retries of feeds, redirects, and nothing secret in any message.

Which hosts and addresses may be asked is for `reach` to say, what may be told for `secret`.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from mirror.errors import ConfigError, RequestFailed, UpstreamUnavailable
from mirror.events import Answered, Emit, Requested, Retrying, Walled
from mirror.phrases import phrase
from mirror.upstream.answer import NotAPage, Untrusted, describe, is_here, read_body, read_retry_after, refusal
from mirror.upstream.pace import Gate, Pace
from mirror.upstream.reach import Kind, OutOfReach, Reach, kind_of
from mirror.upstream.secret import Secret
from mirror.version import __version__

_MOST_REDIRECTS = 5
_MOST_LOST_IN_A_ROW = 5  # pages given up one after the other, none read in between: the next ones get one attempt each
_DEFAULT_WALL = 5.0  # seconds, where 429 comes without Retry-After: the length of the Géoplateforme's ban [O]
_LONGEST_WALL = 3600.0
_SLOWEST_PAGE = 4_000.0  # bytes per second, over `slow_for`
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
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
        bandwidth: Callable[[], float | None] | float | None = None,
        api_key: str | None = None,
        ca_file: Path | None = None,
        redirect_hosts: Collection[str] = (),
        patience: Patience | None = None,
        rng: random.Random | None = None,
        gate: Gate | None = None,
        clock: Callable[[], float] = time.monotonic,
        resolver: AbstractResolver | None = None,
        address_kind: Callable[[str], Kind] = kind_of,
    ) -> None:
        """`gate` is that of the host, where several sessions go to it: its limits are per address, not per service.

        `bandwidth`, in bytes per second, is None for no limit; where it depends on the time, a function that tells it.
        `resolver` makes addresses of names, by default as the system does; `address_kind` says of what kind an address is.
        """
        self.upstream = upstream
        self.patience = patience or Patience()
        self.rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self.requests = 0
        self._base = URL(base)
        self._emit = emit
        self.secret = Secret(api_key)
        self._key = api_key
        self._clock = clock
        self._gate = gate or Gate(requests_per_second, clock)
        self._bandwidth: Callable[[], float | None] = bandwidth if callable(bandwidth) else lambda: bandwidth
        self._spending = Pace(1.0, clock)
        self._failing_since: float | None = None
        self._lost_in_a_row = 0
        self._agent = user_agent(contact)
        self._connections = connections
        self._ca_file = ca_file
        self._redirect_hosts = redirect_hosts
        self._resolver = resolver
        self._address_kind = address_kind
        self._proxies: dict[URL, URL | None] = {}
        self._reach: Reach | None = None
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Session:
        context: ssl.SSLContext | bool = True
        if self._ca_file is not None:
            try:
                context = ssl.create_default_context(cafile=str(self._ca_file))
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"[upstream.{self.upstream}] ca_file: cannot read {self._ca_file}: {error}") from error
        self._reach = Reach(
            self._base,
            self._redirect_hosts,
            self.secret,
            resolver=self._resolver or aiohttp.DefaultResolver(),
            kind_of=self._address_kind,
        )
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections + 2, ssl=context, resolver=self._reach),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=self.patience.connect, sock_read=self.patience.idle
            ),
            headers={"User-Agent": self._agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=1 << 20,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            await self._client.close()
        if self._reach is not None:
            await self._reach.close()

    def redact(self, text: str) -> str:
        """`text` without the API key, whichever way it got in."""
        return self.secret.redact(text)

    async def spend(self, size: int) -> None:
        """Account for `size` bytes received against the bandwidth limit."""
        if rate := self._bandwidth():
            self._spending.rate = rate
            await self._spending.take(size)

    @asynccontextmanager
    async def open(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        kind: Literal["listing", "file", "probe"] = "file",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One GET, once the wall is down and it is our turn. Waits out 429 and 503-with-Retry-After; follows redirects.

        A redirect costs a turn like any request, and leads to this host or to one of `redirect_hosts`. A probe waits for no wall
        that it meets.

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
            self._emit(Requested(self.upstream, self.redact(str(target.with_query(None)) if redirects else url)))
            response = await self._answered(url, target, headers, kind)
            try:
                status = response.status
                if status == 429 or (status == 503 and "Retry-After" in response.headers):
                    self._hit_wall(status, response.headers.get("Retry-After"), waits=kind != "probe")
                    continue
                self._failing_since = None
                if status in _REDIRECTS:
                    redirects += 1
                    target = self._redirect(url, target, response, redirects)
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
        retry_for = self.patience.retry_for if self._lost_in_a_row < _MOST_LOST_IN_A_ROW else 0
        while True:
            attempt += 1
            try:
                async with self.open(asked, {"Accept": accept, "Accept-Encoding": "gzip"}, kind="listing") as response:
                    if response.status == 200:
                        body = await read_body(response, self.patience.slow_for, self._least_speed)
                        self._lost_in_a_row = 0
                        return Feed(body, response.content_type)
                    if response.status not in _TRANSIENT:
                        raise RequestFailed(f"{self.redact(asked)}: {refusal(response.status)}", response.status)
                    reason = refusal(response.status)
            except NotAPage as error:
                raise RequestFailed(f"{self.redact(asked)}: {self.secret.tell(str(error))}") from None
            except _TRANSPORT as error:
                reason = self.secret.tell(describe(error))
            now = self._clock()
            if self._failing_since is None:
                self._failing_since = now
            since = now if since is None else since
            left = since + retry_for - now
            if left <= 0:
                raise await self._lost(asked, f"{reason} ({attempt} attempts in {now - since:.0f} s)", since)
            # The last attempt is made when the time is up, however long the waits have grown.
            wait = min(backoff(attempt, self.patience, self.rng), left)
            self._emit(Retrying(self.upstream, self.redact(asked), reason, attempt, wait))
            await asyncio.sleep(wait)

    @property
    def _least_speed(self) -> float:
        """Bytes per second below which a page is given up: this is against a body that never ends, not against a slow line."""
        return min(self.patience.min_speed, _SLOWEST_PAGE) or _SLOWEST_PAGE

    async def _lost(self, url: str, reason: str, since: float) -> UpstreamUnavailable | RequestFailed:
        """A page is given up: is it the page, or is it the upstream, which has answered nobody since then?

        Where nothing else tells, the upstream is asked: one page that breaks each connection must not hold up all others.
        """
        self._lost_in_a_row += 1
        silent = self._failing_since is not None and self._failing_since <= since
        if (silent or self._lost_in_a_row >= _MOST_LOST_IN_A_ROW) and not await self._answers():
            return UpstreamUnavailable(
                phrase(
                    "upstream {upstream} cannot be read: {url}: {reason}",
                    upstream=self.upstream,
                    url=self.redact(url),
                    reason=reason,
                )
            )
        return RequestFailed(f"{self.redact(url)}: {reason}")

    async def _answers(self) -> bool:
        """Whether the upstream is there at all, and in its senses."""
        try:
            async with self.open(str(self._base), kind="listing") as response:
                return response.status < 500
        except (*_TRANSPORT, RequestFailed, UpstreamUnavailable):
            return False

    async def _answered(
        self, url: str, target: URL, headers: Mapping[str, str] | None, kind: Literal["listing", "file", "probe"]
    ) -> aiohttp.ClientResponse:
        """The answer, as far as its head; tells what it was, and how long it took."""
        began = self._clock()
        try:
            response = await self._get(url, target, headers)
        except _TRANSPORT as error:
            self._emit(Answered(self.upstream, None, self._clock() - began, kind, is_here(error)))
            raise
        except Untrusted:
            self._emit(Answered(self.upstream, None, self._clock() - began, kind))
            raise
        self._emit(Answered(self.upstream, response.status, self._clock() - began, kind))
        return response

    async def _get(self, url: str, target: URL, headers: Mapping[str, str] | None) -> aiohttp.ClientResponse:
        assert self._client is not None, "use the session as a context manager"  # noqa: S101 - a programming error
        try:
            # The head of an answer that comes byte by byte is never silent, and never there.
            async with asyncio.timeout(self.patience.connect + 2 * self.patience.idle):
                return await self._client.get(target, headers=headers, allow_redirects=False, proxy=self._proxy(target))
        except aiohttp.ClientConnectorCertificateError as error:
            why = self.secret.tell(str(error.certificate_error))
            raise Untrusted(
                f"{self.redact(url)}: the server's certificate cannot be trusted ({why}); if its authority is your own, "
                "name it in ca_file"
            ) from error
        except aiohttp.ClientResponseError as error:
            # Its text, and every traceback with it, has the address with the key.
            raise aiohttp.ClientError(f"the answer is not HTTP: {self.secret.tell(error.message)}") from None
        except aiohttp.InvalidURL:
            raise RequestFailed(f"{self.redact(url)}: not an address that can be asked") from None
        except OutOfReach as error:
            raise RequestFailed(f"{self.redact(url)}: {self.secret.tell(str(error))}") from None

    def _proxy(self, target: URL) -> URL | None:
        """The proxy for a host; looked up once, as aiohttp's `trust_env` asks before each request, in two hops to other threads."""
        origin = target.origin()
        if origin not in self._proxies:
            self._proxies[origin] = proxy = _proxy_of(origin)
            if proxy is not None and self._reach is not None:
                self._reach.trust(proxy.raw_host or "")
        return self._proxies[origin]

    def _address(self, url: str) -> URL:
        try:
            target = URL(url)
            target.origin()
        except ValueError:
            raise RequestFailed(f"{self.redact(url)}: not an address that can be asked") from None
        if self._key:
            # Private services want the key on every URL [O]; it is added here, last, and never leaves this room.
            target = target.update_query({"apikey": self._key})
        return target

    def _hit_wall(self, status: int, retry_after: str | None, *, waits: bool) -> None:
        now = self._clock()
        seconds = read_retry_after(retry_after)
        if seconds is None:
            seconds = _DEFAULT_WALL
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > self.patience.retry_for or seconds > _LONGEST_WALL:
            raise UpstreamUnavailable(
                phrase(
                    "upstream {upstream} keeps refusing requests (HTTP {status}, asks to come back in {seconds} s); try later",
                    upstream=self.upstream,
                    status=str(status),
                    seconds=f"{seconds:.0f}",
                )
            )
        if self._gate.raise_wall(seconds):
            self._emit(Walled(self.upstream, status, seconds, self._gate.rate))
        if not waits:
            raise UpstreamUnavailable(
                phrase(
                    "upstream {upstream} refuses requests for {seconds} s (HTTP {status})",
                    upstream=self.upstream,
                    seconds=f"{seconds:.0f}",
                    status=str(status),
                )
            )

    def _redirect(self, url: str, at: URL, response: aiohttp.ClientResponse, count: int) -> URL:
        assert self._reach is not None, "use the session as a context manager"  # noqa: S101 - a programming error
        try:
            if count > _MOST_REDIRECTS:
                raise OutOfReach(f"redirected {count} times, in a circle or without end; not followed")
            if not (location := response.headers.get("Location")):
                raise OutOfReach("redirected to nowhere")
            target = self._reach.redirected(at, location)
        except OutOfReach as error:
            raise RequestFailed(f"{self.redact(url)}: {self.secret.tell(str(error))}", response.status) from None
        return self._address(str(target)) if self._reach.is_home(target) else target


def _proxy_of(origin: URL) -> URL | None:
    """The proxy that the environment (`https_proxy`, `no_proxy`, ...) has for this host, with credentials if it names them."""
    address = getproxies().get(origin.scheme)
    if not address or proxy_bypass(origin.authority):
        return None
    return URL(address if "://" in address else f"http://{address}")
