"""What goes with the files of an edition: checksums, a metalink, and folders as pages with plain links. Made of the index alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote
from xml.sax.saxutils import escape as xml_escape
from xml.sax.saxutils import quoteattr

from mirror.namespaces import METALINK, METALINK_TYPE
from mirror.serving.answers import Document
from mirror.serving.site import path_of
from mirror.store.offer import Offer, OfferedFile
from mirror.version import __version__

MD5SUMS, SHA256SUMS, METALINK_SUFFIX = "MD5SUMS", "SHA256SUMS", ".meta4"

PAGE_SIZE = 20_000
"""Links on a page of a folder; the last one leads to the next page. What takes all of them at once (rclone) gets these."""

_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a folder: `href` as it stands in the page; when it changed, in ISO 8601; `size` in bytes."""

    href: str
    name: str
    changed_at: str = ""
    size: int | None = None


def checksums(offer: Offer, upstream: str, resource: str, sub_resource: str, kind: str) -> Document | None:
    """As `md5sum` and `sha256sum` write and check them; names that they would escape (line breaks, backslashes) are never here."""
    files = _files(offer, upstream, resource, sub_resource)
    if files is None:
        return None
    hashed = ((file.md5 if kind == MD5SUMS else file.sha256, file.remote.name) for file in files)
    lines = [f"{digest}  {name}\n" for digest, name in hashed if digest]
    return Document("".join(lines).encode(), "text/plain; charset=utf-8")


def metalink(offer: Offer, base: str, upstream: str, resource: str, sub_resource: str) -> Document | None:
    """All files of an edition with their sizes and hashes (RFC 5854). `base` is what links start with.

    The mirror is the only source that is named: upstream is what it spares, and may have other bytes there by now.
    """
    found = offer.sub(upstream, resource, sub_resource)
    if found is None:
        return None
    folder = f"{base}{path_of(upstream, 'download', resource, sub_resource)}"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        f"<metalink xmlns={quoteattr(METALINK)}>\n",
        f"  <generator>inspire-mirror/{xml_escape(__version__)}</generator>\n",
        f'  <origin dynamic="true">{xml_escape(folder + METALINK_SUFFIX)}</origin>\n',
    ]
    if found.changed_at:
        lines.append(f"  <updated>{xml_escape(found.changed_at[:19])}Z</updated>\n")
    for file in offer.files(found.id, by_name=True):
        lines += (
            f"  <file name={quoteattr(file.remote.name)}>\n    <size>{file.size}</size>\n",
            f'    <hash type="sha-256">{file.sha256}</hash>\n' if file.sha256 else "",
            f'    <hash type="md5">{file.md5}</hash>\n' if _MD5.fullmatch(file.md5) else "",
            f'    <url priority="1">{xml_escape(folder + path_of(file.remote.name))}</url>\n  </file>\n',
        )
    return Document(("".join(lines) + "</metalink>\n").encode(), METALINK_TYPE)


def folder_of_upstream(offer: Offer, upstream: str) -> Document | None:
    """The resources of an upstream, as folders."""
    lines = [Line(_down(one.resource.id), f"{one.resource.id}/", one.changed_at) for one in offer.resources(upstream)]
    return _folder(f"/{upstream}/download/", lines, above=False) if lines else None


def folder_of_resource(offer: Offer, upstream: str, resource: str, page: int) -> Document | None:
    """The editions of a resource, as folders."""
    subs, total = offer.subs(upstream, resource, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    if not subs:
        return None
    lines = [Line(_down(one.sub.id), f"{one.sub.id}/", one.changed_at) for one in subs]
    return _folder(f"/{upstream}/download/{resource}/", lines, following=page + 1 if total > page * PAGE_SIZE else None)


def folder_of_sub(offer: Offer, upstream: str, resource: str, sub_resource: str, page: int) -> Document | None:
    """The files of an edition, then their checksums, where no file of upstream's is called so."""
    found = offer.sub(upstream, resource, sub_resource)
    if found is None:
        return None
    files = offer.files(found.id, limit=PAGE_SIZE + 1, offset=(page - 1) * PAGE_SIZE, by_name=True)
    if not files and page > 1:
        return None
    lines = [Line(_beside(f.remote.name), f.remote.name, f.fetched_at, f.size) for f in files[:PAGE_SIZE]]
    if page == 1:
        names = {file.remote.name for file in files}
        lines += [Line(name, name, found.changed_at) for name in (MD5SUMS, SHA256SUMS) if name not in names]
    following = page + 1 if len(files) > PAGE_SIZE else None
    return _folder(f"/{upstream}/download/{resource}/{sub_resource}/", lines, following=following)


def _files(offer: Offer, upstream: str, resource: str, sub_resource: str) -> Sequence[OfferedFile] | None:
    found = offer.sub(upstream, resource, sub_resource)
    return offer.files(found.id, by_name=True) if found is not None else None


def _folder(path: str, lines: Iterable[Line], *, above: bool = True, following: int | None = None) -> Document:
    title = escape(f"Index of {path}")
    page = [
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n',
        f"<body>\n<h1>{title}</h1>\n<pre>\n",
        '<a href="../">../</a>\n' if above else "",
        *_written(lines),
        f'<a href="?page={following}">more</a>\n' if following else "",
        "</pre>\n</body>\n</html>\n",
    ]
    return Document("".join(page).encode(), "text/html; charset=utf-8")


def _written(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        facts = f"{line.changed_at[:16].replace('T', ' '):16} {'' if line.size is None else line.size:>15}".rstrip()
        space = " " * max(1, 70 - len(line.name))
        yield f'<a href="{escape(line.href)}">{escape(line.name)}</a>{space if facts else ""}{facts}\n'


def _down(name: str) -> str:
    return f"{_beside(name)}/"


def _beside(name: str) -> str:
    """A relative link. Percent-encoded, no name is taken for a scheme, a host or a query."""
    return quote(name, safe="")
