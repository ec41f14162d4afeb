"""The languages that people are spoken to in: English, in which everything is written, and French.

    language = preferred(wishes_of_environment(os.environ))     # or of an Accept-Language header, or of whoever asks
    language.put(phrase("{files} to fetch", files=...))

A `Language` is a value that is handed on, not a state of the process: two pages may be written in two languages at once. The
catalogue of French is read when something is first said in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from gettext import GNUTranslations
from pathlib import Path

from mirror import amounts
from mirror.amounts import Notation
from mirror.phrases import Spoken

DOMAIN = "inspire-mirror"
LOCALE = Path(__file__).parent / "locale"
"""Where catalogues are: `fr/LC_MESSAGES/inspire-mirror.mo`, made of the .po beside it by `make messages`."""


@dataclass(frozen=True)
class Language:
    """A language by its two-letter `code`, with the way it writes amounts."""

    code: str
    notation: Notation

    def put(self, text: str) -> str:
        """The text in this language; what was not written to be translated, such as a name, stays as it is."""
        return text.into(self) if isinstance(text, Spoken) and self.code != "en" else text

    def word(self, msgid: str) -> str:
        """A message of the catalogue; as it is where that has none."""
        return self._catalogue.gettext(msgid)

    def words(self, one: str, many: str, count: int) -> str:
        """A message of the catalogue in the form that goes with a count."""
        return self._catalogue.ngettext(one, many, count)

    @cached_property
    def _catalogue(self) -> GNUTranslations:
        with (LOCALE / self.code / "LC_MESSAGES" / f"{DOMAIN}.mo").open("rb") as file:
            return GNUTranslations(file)


ENGLISH = Language("en", amounts.ENGLISH)


@lru_cache
def french() -> Language:
    """French."""
    return Language("fr", amounts.FRENCH)


def preferred(tags: Iterable[str]) -> Language:
    """The first of these languages that is spoken here, English if none is.

    A tag is a locale (`fr_FR.UTF-8`, `fr`) or one of HTTP (`fr-CA`), the most wanted first.
    """
    for tag in tags:
        code = re.split(r"[-_.@]", tag.strip(), maxsplit=1)[0].lower()
        if code == "fr":
            return french()
        if code == "en":
            break
    return ENGLISH


def wishes_of_environment(environ: Mapping[str, str]) -> list[str]:
    """The languages that whoever started the command wants, as GNU gettext takes them from the environment.

    The first that is set of LC_ALL, LC_MESSAGES and LANG is the locale; LANGUAGE, a list, goes before it, unless that is C.
    """
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "C")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return []
    return [tag for tag in environ.get("LANGUAGE", "").split(":") if tag] or [locale]
