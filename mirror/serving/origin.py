"""Whose data a served upstream's are, and who serves them: what feeds and pages say of both."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parseaddr
from urllib.parse import urlsplit

from mirror.settings import Settings
from mirror.settings.known import GEOPLATEFORME_HOST

GEOPLATEFORME_RIGHTS = "Conditions Générales d’Utilisation disponibles ici : https://cartes.gouv.fr/cgu-licences"
"""The terms of the Géoplateforme, as its capabilities state them [L] (official_capabilities.json)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """An upstream that is served. `url` is where it was mirrored from, None where the config no longer has it."""

    upstream: str
    url: str | None
    contact: str | None

    @property
    def is_geoplateforme(self) -> bool:
        """Whether it is IGN's own service."""
        return self.url is not None and urlsplit(self.url).hostname == GEOPLATEFORME_HOST

    @property
    def rights(self) -> str:
        """Under which terms the data may be used."""
        if self.is_geoplateforme:
            return GEOPLATEFORME_RIGHTS
        return f"As stated by the publisher: {self.url}" if self.url else "As stated by the publisher"

    @property
    def author(self) -> str:
        """Who runs this mirror, in a word: the name in `contact`, where that is a name with an address, else all of it."""
        name, address = parseaddr(self.contact or "")
        return name if name and address else self.contact or "inspire-mirror"

    @property
    def email(self) -> str | None:
        """The e-mail address of who runs it, where `contact` is or holds one."""
        address = parseaddr(self.contact or "")[1]
        return address if "@" in address.strip("@") and " " not in address else None

    def title(self, lang: str) -> str:
        """What the whole is called."""
        return f"Miroir de {self.upstream}" if lang == "fr" else f"Mirror of {self.upstream}"

    def subtitle(self, lang: str) -> str:
        """What it is."""
        name = self.url or self.upstream
        if lang == "fr":
            return f"Copie locale vérifiée de données publiées par {name}"
        return f"A verified local copy of data published by {name}"


def origin_of(settings: Settings, upstream: str) -> Origin:
    """What the config knows of an upstream."""
    table = settings.upstream.get(upstream)
    return Origin(upstream, table.url if table is not None else None, settings.contact)
