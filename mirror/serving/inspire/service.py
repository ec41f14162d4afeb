"""One upstream of the mirror as an INSPIRE download service: where its documents are, who answers for it, its dates, its words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mirror.language import Language, french
from mirror.phrases import phrase
from mirror.serving.origin import Origin
from mirror.serving.site import path_of

_EARLIEST = "2012-01-01T00:00:00Z"
"""The reference validator takes what is dated before for a fault (R19)."""

_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}")
_FIXED: Final = frozenset({"service", "opensearch"})
"""Names of documents that stand where the feeds of data sets are."""


@dataclass(frozen=True, slots=True)
class Service:
    """One upstream as a download service. `base` is what all links start with, without a slash at the end; `day` is today."""

    origin: Origin
    base: str
    day: date
    now: datetime = field(compare=False, repr=False)
    """The moment of the request: documents depend on it only where the index is dated into the future, and then on `day`."""

    # -- where its documents are

    def url(self, *parts: str) -> str:
        """The address of something of this upstream."""
        return f"{self.base}{path_of(self.origin.upstream, *parts)}"

    @property
    def home(self) -> str:
        """The page for people, with all data sets; and so the namespace of their codes: it is ours, and it can be looked at."""
        return f"{self.url('inspire')}/"

    @property
    def feed(self) -> str:
        """The service feed."""
        return self.url("inspire", "service.xml")

    @property
    def description(self) -> str:
        """The OpenSearch description."""
        return self.url("inspire", "opensearch.xml")

    @property
    def record(self) -> str:
        """The metadata of the service."""
        return self.url("inspire", "metadata", "service.xml")

    def dataset_feed(self, resource: str) -> str:
        """The feed of a data set."""
        folder = ("inspire", "dataset") if resource in _FIXED else ("inspire",)
        return self.url(*folder, f"{resource}.xml")

    def dataset_page(self, resource: str) -> str:
        """What a data set is, for people."""
        return self.url("inspire", "dataset", f"{resource}.html")

    def dataset_record(self, resource: str) -> str:
        """The metadata of a data set."""
        return self.url("inspire", "metadata", "dataset", f"{resource}.xml")

    def representation_feed(self, resource: str, slug: str, page: int = 1) -> str:
        """The feed of a representation; from the second page on with its number."""
        url = self.url("inspire", "files", resource, f"{slug}.xml")
        return url if page == 1 else f"{url}?page={page}"

    def names(self, namespace: str) -> bool:
        """Whether a namespace that was asked for is ours, under whatever name the mirror was found by whoever has kept it."""
        return _split(namespace).path.rstrip("/").endswith(path_of(self.origin.upstream, "inspire"))

    # -- who answers for it

    @property
    def author(self) -> str:
        """Who runs it: a name, or else what the config has as the contact."""
        said = self.origin.author
        return said if any(map(str.isalnum, said)) else "inspire-mirror"

    @property
    def email(self) -> str:
        """An e-mail address of who runs it: never none, as a feed without one is invalid (R12, R25).

        Where the config has none it is the webmaster of the host, the mailbox that RFC 2142 gives to whoever serves HTTP there; for
        a host without a domain one below `.invalid`, which RFC 2606 keeps for what is none.
        """
        address = self.origin.email or ""
        if _EMAIL.fullmatch(address):
            return address
        host = urlsplit(self.base).hostname or ""
        return f"webmaster@{host if _DOMAIN.fullmatch(host) else 'mirror.invalid'}"

    @property
    def homepage(self) -> str | None:
        """Where the contact is an address on the web, that."""
        contact = self.origin.contact or ""
        parts = _split(contact)
        plain = contact.isascii() and contact.isprintable() and " " not in contact
        return contact if plain and parts.scheme in ("http", "https") and parts.hostname else None

    @property
    def rights(self) -> str:
        """Under which terms the data may be used: those of the publisher, which a mirror cannot change."""
        if self.origin.is_geoplateforme:
            return self.origin.rights
        if self.origin.url:
            return self.say(phrase("As stated by the publisher: {url}", url=self.origin.url))
        return self.say(phrase("As stated by the publisher"))

    # -- what it says

    @property
    def language(self) -> Language:
        """That of the content, and so of all feeds: titles and abstracts are the publisher's, and what stands beside them goes with
        them. The one dialect that is mirrored is that of the Géoplateforme, whose content is in French.
        """
        return french()

    @property
    def lang(self) -> str:
        """Its code."""
        return self.language.code

    @property
    def title(self) -> str:
        """What it is called."""
        return self.origin.title(self.lang)

    @property
    def subtitle(self) -> str:
        """What it is."""
        return self.origin.subtitle(self.lang)

    def say(self, text: str) -> str:
        """A phrase in its language."""
        return self.language.put(text)

    def moment(self, changed_at: str) -> str:
        """When something last changed here, with seconds and zone; never in the future, never before 2012 (R11, R19, R24).

        What a clock gone wrong has dated into the future counts as of the day that it is.
        """
        try:
            at = datetime.fromisoformat(changed_at)
        except ValueError:
            return _EARLIEST
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if at > self.now:
            return f"{self.day.isoformat()}T00:00:00Z"
        return max(f"{at:%Y-%m-%dT%H:%M:%S}Z", _EARLIEST)


def _split(text: str) -> SplitResult:
    """The parts of an address; none of what is no address."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")
