"""The changes of the mirror as an Atom feed (RFC 4287), the newest first; older pages by RFC 5005."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree

from mirror.namespaces import ATOM, ATOM_TYPE, XML
from mirror.store.history import Change
from mirror.store.journal import ONE_FILE
from mirror.version import __version__

_OURS = uuid.UUID("7ed20605-f8bd-541a-a17c-742b74abc991")  # made once; all ids of ours derive from it
_NEVER = "1970-01-01T00:00:00Z"
_NOT_IN_XML = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)), "\ufffd")


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of it. `history` tells the history of this mirror from any other; each entry comes with its page and its folder."""

    history: str
    here: str
    home: str
    older: str | None
    entries: Sequence[tuple[Change, str, str | None]]


def written(feed: Feed) -> bytes:
    """The XML. Ids stay as they are, whatever the mirror is called and wherever it moves."""
    own = uuid.uuid5(_OURS, feed.history)
    root = etree.Element(f"{{{ATOM}}}feed", nsmap={None: ATOM})
    root.set(f"{{{XML}}}lang", "en")
    _add(root, "id", own.urn)
    _add(root, "title", "Changes of this mirror")
    _add(root, "updated", feed.entries[0][0].at if feed.entries else feed.history or _NEVER)
    _add(_add(root, "author"), "name", "inspire-mirror")
    _add(root, "generator", "inspire-mirror", version=__version__)
    _add(root, "link", rel="self", type=ATOM_TYPE, href=feed.here)
    _add(root, "link", rel="alternate", type="text/html", href=feed.home)
    if feed.older is not None:
        _add(root, "link", rel="next", type=ATOM_TYPE, href=feed.older)
    for change, page, folder in feed.entries:
        entry = _add(root, "entry")
        _add(entry, "id", uuid.uuid5(own, f"{change.id} {change.at}").urn)
        _add(entry, "title", _title(change))
        _add(entry, "updated", change.at)
        _add(entry, "category", term=change.change)
        _add(entry, "link", rel="alternate", type="text/html", href=page)
        if folder is not None:
            _add(entry, "link", rel="related", href=folder)
        _add(entry, "summary", change.message or change.change)
    body: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return body


def _title(change: Change) -> str:
    about = "/".join(part for part in (change.resource, change.sub_resource) if part) or change.upstream
    return (
        f"{change.change}: {about}: {change.file}"
        if change.file and not _stands_for_others(change)
        else f"{change.change}: {about}"
    )


def _stands_for_others(change: Change) -> bool:
    """Of a publication of several files one stands for all; else it is the one that the change is about."""
    return change.change in ("published", "replaced", "adopted") and not change.message.startswith(ONE_FILE)


def _add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
    element = etree.SubElement(parent, f"{{{ATOM}}}{name}", {key: _clean(value) for key, value in attributes.items()})
    element.text = None if text is None else _clean(text)
    return element


def _clean(text: str) -> str:
    """Without what XML cannot hold; messages may quote anything."""
    return text.translate(_NOT_IN_XML)
