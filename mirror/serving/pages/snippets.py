"""Parts of a config to copy: this mirror as an upstream, and the subscription that takes what a page shows or says it cannot."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mirror.phrases import Phrase, joined, number, phrase, plural
from mirror.serving.pages.asked import Asked

MOST_NAMED = 20
"""Editions that a subscription names one by one, where filters of a page cannot be said in it."""

_LONGEST = 64  # characters of a name in a config
_RATE = 50  # requests per second


@dataclass(frozen=True, slots=True)
class Snippet:
    """Two parts in TOML: the table of the upstream, which a config has once, and that of the subscription.

    `remark` is what has to be said of it where it takes other editions than those that the page shows; empty where it does not.
    """

    upstream: str
    subscription: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows of a resource: how many editions, how many of the `sayable` question, and some or all of their ids."""

    editions: int
    wider: int
    ids: Sequence[str] = ()


def sayable(asked: Asked) -> Asked:
    """What of a question can be said in a subscription; as much as this one, or more."""
    dated = asked.start or asked.end
    return replace(asked, q="", state="latest" if asked.state in ("latest", "current") and not dated else "", page=1)


def is_said(asked: Asked, shown: Shown) -> bool:
    """Whether a subscription can say all of it, today and tomorrow."""
    says_more = asked.q or asked.state in ("superseded", "withdrawn") or (asked.state and (asked.start or asked.end))
    return not says_more and shown.editions == shown.wider


def snippet(upstream: str, url: str, original: str | None, resource: str, asked: Asked, shown: Shown) -> Snippet:
    """For a resource as it is narrowed. `url` is where this mirror's upstream is to be had, `original` where that is from."""
    table: dict[str, object] = {"upstream": name_of(upstream, url), "resources": [_exactly(resource)]}
    remark: Phrase | None = None
    if is_said(asked, shown):
        table |= _filters(asked)
    elif 0 < shown.editions <= MOST_NAMED:
        table |= {"sub_resources": [_exactly(name) for name in shown.ids], "edition": "all"}
        remark = phrase("Words and some states cannot be said in a subscription: it names the editions that are shown now.")
    else:
        table |= _filters(sayable(asked))
        remark = phrase(
            "Words and some states cannot be said in a subscription: it takes {editions}, not only the {shown} that are shown.",
            editions=plural(shown.wider, "{n} edition", "{n} editions"),
            shown=number(shown.editions),
        )
    words = (resource, asked.zone, asked.format, asked.crs, _days(asked), asked.state, asked.q)
    return Snippet(_upstream(upstream, url, original), _subscription(words, table, remark), remark or "")


def edition_snippet(upstream: str, url: str, original: str | None, resource: str, sub_resource: str) -> Snippet:
    """For one edition."""
    table: dict[str, object] = {
        "upstream": name_of(upstream, url),
        "resources": [_exactly(resource)],
        "sub_resources": [_exactly(sub_resource)],
        "edition": "all",
    }
    return Snippet(_upstream(upstream, url, original), _subscription((sub_resource,), table, None))


def name_of(upstream: str, url: str) -> str:
    """What this mirror's upstream is called in the config of another: as the mirror's own is, it would replace what is there."""
    return _slug((urlsplit(url).netloc, upstream))


def _upstream(upstream: str, url: str, original: str | None) -> str:
    lines: list[str] = [f"[upstream.{name_of(upstream, url)}]"]
    if original:
        lines.append(joined(" ", ["#", phrase("Mirrored from {url}", url=_text(original))]))
    rate = joined("  ", [f"requests_per_second = {_RATE}", joined(" ", ["#", phrase("for a mirror of your own; else ask less")])])
    return joined("\n", [*lines, f"url = {_text(url)}", rate, ""])


def _subscription(words: Sequence[str], table: Mapping[str, object], remark: Phrase | None) -> str:
    said = [joined(" ", ["#", remark])] if remark is not None else []
    pairs = [f"{key} = {_text(value) if isinstance(value, str) else _list(value)}" for key, value in table.items()]
    return joined("\n", [f"[subscription.{_slug(words)}]", *said, *pairs, ""])


def _filters(asked: Asked) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, code in (("zones", asked.zone), ("formats", asked.format), ("crs", asked.crs)):
        if code:
            found[key] = [_exactly(code)]
    return found | {"edition": _days(asked) or ("latest" if asked.state in ("latest", "current") else "all")}


def _days(asked: Asked) -> str:
    return f"{asked.start or ''}..{asked.end or ''}" if asked.start or asked.end else ""


def _list(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    texts = [_text(str(item)) for item in value]
    return f"[{', '.join(texts)}]" if len(texts) < 3 else "[\n" + "".join(f"    {text},\n" for text in texts) + "]"


def _text(value: str) -> str:
    """A basic string of TOML: those of JSON, which leave but one character that TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _slug(words: Sequence[str]) -> str:
    """A name in a config, from these words; what is lost in it comes back as a mark, so that others are called otherwise."""
    whole = "-".join(word for word in words if word)
    name = re.sub(r"[^a-z0-9_-]+", "-", whole.lower()).strip("-_") or "mirrored"
    odd = re.search(r"[^A-Za-z0-9_.: -]", whole) is not None
    if not odd and len(name) <= _LONGEST:
        return name
    mark = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: _LONGEST - 9].rstrip('-_')}-{mark}"


def _exactly(name: str) -> str:
    """A glob that matches this name and no other."""
    return re.sub(r"[*?[]", lambda found: f"[{found[0]}]", name)
