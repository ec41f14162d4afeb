"""What every page and feed needs: the settings, the index, the addresses of others pages, the languages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import web

from mirror.events import Emit
from mirror.language import ENGLISH, Language, french, preferred
from mirror.observing.observer import Observer
from mirror.serving.answers import Answers
from mirror.serving.readers import Readers
from mirror.settings import Settings
from mirror.settings.addresses import Address

_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_LANGUAGES = {"fr": "fr", "fre": "fr", "fra": "fr", "en": "en", "eng": "en"}
LANGUAGE_COOKIE = "lang"


class Site:
    """One mirror as it is seen over HTTP. `observer.settings` may be replaced by newer ones at any time; the root stays."""

    def __init__(self, observer: Observer, emit: Emit = lambda event: None) -> None:
        self.observer = observer
        self.emit = emit
        self.status: Callable[[], dict[str, Any]] = observer.status
        """The document of `status --json`; blocks, to be asked in a thread. Raises IndexUnusable, Locked."""

        self.readers = Readers(observer.settings.root)
        self.answers = Answers(self.readers)
        self.at_end: list[Callable[[], None]] = []
        """Called when the mirror is no longer served; none of them may wait."""

    @property
    def settings(self) -> Settings:
        """Those in effect."""
        return self.observer.settings

    def base(self, request: web.Request) -> str:
        """What all absolute links in an answer start with, without a slash at the end: `public_url`, or as the client came here.

        Raises HTTPBadRequest for a Host that is none: it would come back in the links.
        """
        if self.settings.serve.public_url is not None:
            return self.settings.serve.public_url
        host = request.headers.get("Host")
        if host is None and request.transport is not None:  # HTTP/1.0: where it came to
            host = str(Address(*request.transport.get_extra_info("sockname")[:2]))
        if not _HOST.fullmatch(host or ""):
            raise web.HTTPBadRequest(text="the Host header of this request is no host")
        return f"{request.scheme}://{host}"

    def seen_at(self, url: str) -> str:
        """Where it listens, which is `url`, and where people find it."""
        public = self.settings.serve.public_url
        return f"{url}/, seen as {public}/" if public is not None else f"{url}/"

    def prefix(self) -> str:
        """What links within the site start with: the path of `public_url`, for a mirror that is not at the root of its host."""
        return urlsplit(self.settings.serve.public_url).path.rstrip("/") if self.settings.serve.public_url else ""

    def token(self) -> str | None:
        """What is to be named by who asks for more than the mirror itself; None where nothing is.

        Raises HTTPServiceUnavailable for a token that ought to be there: better nobody gets in than everybody.
        """
        if self.settings.serve.token is None and self.settings.serve.token_file is not None:
            raise web.HTTPServiceUnavailable(text="the token of this mirror was not read")
        return self.settings.serve.token.get_secret_value() if self.settings.serve.token is not None else None

    async def close(self) -> None:
        """Give the index back."""
        for end in self.at_end:
            end()
        await self.readers.close()


def path_of(*parts: str) -> str:
    """A path of these parts, percent-encoded, with a slash before each."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def language_of(request: web.Request) -> Language:
    """The language of a page: `?lang=`, else what was chosen before (a cookie), else Accept-Language."""
    chosen = request.query.get("lang", "") or request.cookies.get(LANGUAGE_COOKIE, "")
    code = _LANGUAGES.get(chosen.lower())
    if code is not None:
        return french() if code == "fr" else ENGLISH
    return preferred(_wished(request.headers.get("Accept-Language", "")))


def _wished(header: str) -> list[str]:
    """The tags of an Accept-Language header, the most wanted first; those of quality 0 are not wanted."""
    found: list[tuple[float, str]] = []
    for part in header[:1000].split(","):
        tag, _, rest = part.partition(";")
        quality = re.fullmatch(r"\s*q\s*=\s*(1(?:\.0{0,3})?|0(?:\.[0-9]{0,3})?)\s*", rest) if rest else None
        found.append((float(quality[1]) if quality else 1.0, tag.strip()))
    return [tag for weight, tag in sorted(found, key=lambda pair: -pair[0]) if weight > 0 and tag]
