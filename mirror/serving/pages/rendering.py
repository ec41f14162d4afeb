"""From what a page says to HTML in a language. Every text is escaped; phrases are put into the language where they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mirror.language import Language
from mirror.model import Term
from mirror.observing.health import Code
from mirror.observing.live import STAGES
from mirror.observing.outcomes import OUTCOMES
from mirror.phrases import Spoken, availability, day, joined, latency, moment, number, phrase, plural, share, size, span, speed
from mirror.serving.pages.statics import address_of
from mirror.serving.pages.status import DAMAGED
from mirror.serving.pages.titles import FOLDS, STATES, choices_of, edition_title
from mirror.serving.site import path_of
from mirror.version import __version__

CONTENT_TYPE = "text/html; charset=utf-8"
VARY = "Accept-Language, Cookie"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of all pages: nothing comes from elsewhere, and nothing that a feed says is ever run."""

_ADDRESS = re.compile(r"(https?://[^\s<>\"]+)")
_REASONS = {str(DAMAGED): DAMAGED}
"""What the index says in words of ours, and in English."""

_WARNINGS: dict[Code, Spoken] = {
    "stale": phrase("out of date"),
    "disk-low": phrase("the disk is nearly full"),
    "index": phrase("the index cannot be read"),
    "root": phrase("the disk cannot be read"),
    "stalled": phrase("the run under way is stuck"),
    "parked": phrase("files that cannot be had"),
    "upstream-walled": phrase("an upstream has told us to stop"),
    "upstream-silent": phrase("an upstream does not answer"),
    "refused": phrase("the last sync was refused"),
    "no-index": phrase("nothing was synced yet"),
    "hooks": phrase("a command fails"),
}


class PageBroken(RuntimeError):
    """A template does not fit what it was given: a fault of ours."""


def _pairs(terms: Iterable[Term]) -> list[tuple[str, str]]:
    return [(term.code, term.label) for term in terms]


@lru_cache(maxsize=4)
def _environment(language: Language) -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=language.put,
    )
    made.tests["spoken"] = lambda text: isinstance(text, Spoken)
    made.globals.update(
        availability=availability,
        day=day,
        joined=joined,
        latency=latency,
        moment=moment,
        number=number,
        phrase=phrase,
        pairs=_pairs,
        plural=plural,
        share=share,
        size=size,
        span=span,
        speed=speed,
        outcome_of=lambda outcome: OUTCOMES.get(outcome, outcome or ""),
        state_of=lambda state: STATES.get(state, state),
        reason_of=_REASONS.get,
        damaged=DAMAGED,
        warning_of=_WARNINGS.get,
        pieces_of=_ADDRESS.split,
        choices_of=choices_of,
        edition_title=edition_title,
        folds=FOLDS,
        stage_of=lambda stage: STAGES.get(stage, stage),
        lang=language.code,
        version=__version__,
    )
    return made


def render(template: str, language: Language, prefix: str, here: str, **facts: Any) -> bytes:
    """The page. `prefix` is what links within the site start with, `here` the path and query of the page within it."""

    def to(*parts: str) -> str:
        return prefix + (path_of(*parts) if parts else "/")

    def static(name: str) -> str:
        return prefix + address_of(name)

    try:
        text = _environment(language).get_template(template).render(to=to, static=static, prefix=prefix, here=here, **facts)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise PageBroken(
            f"{template}: {type(error).__name__}: {error}"
        ) from error  # no fault of the index, whose rows it is made of
    return text.encode("utf-8", "replace")
