"""The catalogue of each language, brought up to date with what the source says: `make messages`.

A message is a literal that is given to `phrase` or `plural`, in a module or in the template of a page. New ones come into the .po
without a translation; those that the source no longer has leave it. No translation is guessed from a similar message. The .mo is
what the program reads, and is kept with the source: an installation needs no tool for it.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from mirror.language import DOMAIN, LOCALE

SOURCE = LOCALE.parent
KEYWORDS: dict[str, tuple[int, ...] | None] = {"phrase": None, "plural": (2, 3)}
LANGUAGES = ("fr",)
METHODS = [("**.py", "python"), ("serving/pages/templates/**.html", "jinja2")]
_OPTIONS = {"serving/pages/templates/**.html": {"silent": "false", "trim_blocks": "true", "lstrip_blocks": "true"}}


def po_of(code: str) -> Path:
    """Where the catalogue of a language is."""
    return LOCALE / code / "LC_MESSAGES" / f"{DOMAIN}.po"


def catalogue_of(code: str) -> Catalog:
    """The catalogue of a language as it is."""
    with po_of(code).open("rb") as file:
        return read_po(file, locale=code, domain=DOMAIN)


def template() -> Catalog:
    """All messages of the source, with the modules and templates that they are in."""
    found = Catalog(domain=DOMAIN)
    for file, _, message, comments, _ in extract_from_dir(SOURCE, METHODS, _OPTIONS, keywords=KEYWORDS):
        found.add(message, locations=[(f"{SOURCE.name}/{file}", 0)], auto_comments=comments)
    return found


def compiled(catalogue: Catalog) -> bytes:
    """The bytes of the .mo."""
    made = BytesIO()
    write_mo(made, catalogue)
    return made.getvalue()


def update(code: str) -> list[str]:
    """Bring the catalogue of a language up to date; returns the messages that it has no translation of."""
    catalogue = catalogue_of(code)
    catalogue.update(template(), no_fuzzy_matching=True, update_creation_date=False)
    with po_of(code).open("wb") as file:
        # Modules without line numbers: a line that moves changes no translation.
        write_po(file, catalogue, width=132, ignore_obsolete=True, include_lineno=False, sort_by_file=True)
    po_of(code).with_suffix(".mo").write_bytes(compiled(catalogue_of(code)))
    return [str(message.id) for message in catalogue if message.id and not (message.string and all(message.string))]


if __name__ == "__main__":
    for language in LANGUAGES:
        for untranslated in update(language):
            print(f"{language}: not translated: {untranslated}")
