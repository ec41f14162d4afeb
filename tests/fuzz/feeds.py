"""Feeds: damaged JSON and XML, from bytes to a plan, and into an index."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mirror.demo import render
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.demo.listing import window
from mirror.errors import FeedError, UnsafeName
from mirror.geometry import rectangle
from mirror.model import Page, RemoteFile, Resource, SubResource, Term
from mirror.names import check_name
from mirror.planning.changes import EVERYTHING, files_digest, fingerprint, scopes_for
from mirror.planning.plan import Adopt, Kept, Park, plan_unit
from mirror.planning.selection import Wanted, Wish, select
from mirror.planning.series import series_key
from mirror.planning.volumes import publishing_groups
from mirror.serving.geoplateforme import spelling
from mirror.store.catalogue import Catalogue as Listings
from mirror.store.index import Index
from mirror.upstream.geoplateforme import Geoplateforme
from mirror.upstream.secret import Secret

from .names import check_safe
from .target import Target, anything, damaged, text

BASE = "https://data.example/telechargement"
_NOW = datetime(2026, 10, 1, tzinfo=UTC)
_KEY = "s3cr3t-k3y"
_SECRET = Secret(_KEY)


def _seeds() -> Iterator[dict[str, Any]]:
    """Small pages of all levels, with everything in them that feeds may have."""
    terms = {
        "zones": (Term("D038", "Isère"), Term("D0971")),
        "formats": (Term("GPKG", "GeoPackage"),),
        "resolutions": (Term("0,20 m"),),
    }
    files = (
        SampleFile("B_1-0__GPKG_LAMB93_D038_2026-01-01.7z.001", b"1", rel="section", contents=("image/tiff", "text/plain")),
        SampleFile("B_1-0__GPKG_LAMB93_D038_2026-01-01.7z.002", b"2", rel="section"),
        SampleFile("é à.md5", b"3", md5=None, size=None),
    )
    sub = SampleSub("B_1-0__GPKG_LAMB93_D038_2026-01-01", polygon=rectangle((4.7, 44.6, 6.4, 45.9)), files=files, **terms)  # type: ignore[arg-type]
    resource = SampleResource("B", (sub, SampleSub("B_LATEST", updated="2026-07-07T14:59:00+01:00")), abstract="<p>&amp; é</p>")
    yield render.capabilities(Catalogue((resource,)), window([resource], {}), BASE, "fr")
    yield render.resource_page(resource, window(resource.listed, {}), BASE, "en")
    yield render.sub_resource_page("B", sub, window(files, {}), BASE, "fr")


_DOCUMENTS = tuple(_seeds())
_JSON = tuple(spelling.to_json(document) for document in _DOCUMENTS)
_XML = tuple(spelling.to_xml(document) for document in _DOCUMENTS)

_JSON_TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"-1", b"1e999", b"9" * 5000, b"NaN", b"\\u0000", b"\\ud800",
    b"\\ud83d\\udc09", b"[" * 5000, b'{"a":' * 3000, b'{"entry":[', b'"entry"', b'"link"', b'"href"', b'"length":', b'"term"',
    b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"%2F..%2F", b"%00", b"%ff", b"/" * 40, b"?apikey=x",
    b'"polygon":"' + b"1 2 " * 2000 + b'"', _KEY.encode(), b"?apikey=s3cr3t-k3y", b"S3CR3T%2Dk3y", b"s3cr3t\\u002dk3y",
)  # fmt: skip
_XML_TOKENS = (
    b"<", b">", b"/>", b"&", b"&amp;", b"&#0;", b"&#xD800;", b"&bomb;", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<?x?>", b"\x00",
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY bomb "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    b'<!DOCTYPE x SYSTEM "file:///etc/passwd">', b"<a>" * 3000, b"</feed>", b"<entry>", b"</entry>", b"<html>", b'xmlns="x"',
    b' encoding="utf-16"', b' encoding="utf-7"', b"\xff\xfe", b"\xef\xbb\xbf", b"%2F..%2F", b"%ff", b"9" * 5000,
    b"<georss:polygon>" + b"1 2 " * 2000, b"<title><b>x</b>y</title>", _KEY.encode(), b"?apikey=s3cr3t-k3y", b"s3cr3t%252Dk3y",
    b"&#115;3cr3t-k3y",
)  # fmt: skip
_MEMBERS = sorted({name for document in _DOCUMENTS for entry in document["entry"] for name in entry} | set(_DOCUMENTS[0]))
_INNER = ("href", "rel", "type", "length", "term", "label")


def _json(rng: random.Random) -> tuple[int, bytes]:
    """Damaged bytes, or a sound document in which members were exchanged for anything at all."""
    if rng.random() < 0.5:
        return rng.randrange(3), damaged(rng, _JSON, _JSON_TOKENS)
    document = json.loads(rng.choice(_JSON))
    for _ in range(rng.randrange(1, 4)):
        place: Any = document
        if rng.random() < 0.7 and isinstance(place.get("entry"), list) and place["entry"]:
            place = rng.choice(place["entry"])
        if rng.random() < 0.4 and isinstance(place, dict):
            inner = [value[0] if isinstance(value, list) and value else value for value in place.values()]
            place = rng.choice([value for value in inner if isinstance(value, dict)] or [place])
        if isinstance(place, dict):
            place[rng.choice((rng.choice(_MEMBERS), rng.choice(_INNER), text(rng, 5)))] = anything(rng)
    return rng.randrange(3), json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _xml(rng: random.Random) -> tuple[int, bytes]:
    return rng.randrange(3), damaged(rng, _XML, _XML_TOKENS)


def read(level: int, body: bytes) -> Page[Any] | None:
    """The page of a level, from the capabilities (0) to the files (2), as the crawl takes it; None where it is refused.

    Neither it nor the words of a refusal have the API key in them, which upstream may repeat anywhere.
    """
    dialect = Geoplateforme(f"{BASE}/capabilities")
    readers: tuple[Callable[[bytes], Page[Any]], ...] = (
        dialect.read_capabilities,
        lambda body: dialect.read_resource(body, "B"),
        lambda body: dialect.read_sub_resource(body, "B", "B_LATEST"),
    )
    try:
        page = _SECRET.clean(readers[level](body))
    except FeedError as error:
        told = _SECRET.tell(str(error))
        assert len(told.splitlines()) == 1  # the command line, which is where they are shown, does away with the rest
        assert len(told) <= 400
        assert _KEY not in told.lower()
        return None
    assert _KEY not in repr(page).lower()
    return page


def _check(case: tuple[int, bytes]) -> None:
    """A page whose every text can be kept, and every name is judged; or a FeedError of one line."""
    page = read(*case)
    if page is None:
        return
    repr(page).encode()
    assert not any("\n" in line for line in page.rejected)
    for entry in page.entries:
        _check_entry(entry)
    _check_plan([entry for entry in page.entries if isinstance(entry, RemoteFile)])


def _check_entry(entry: Resource | SubResource | RemoteFile) -> None:
    name = entry.name if isinstance(entry, RemoteFile) else entry.id
    assert name
    assert "?" not in entry.url
    with suppress(UnsafeName):
        check_safe(check_name(name))
    if isinstance(entry, RemoteFile):
        assert entry.url.startswith(f"{BASE}/")
        assert entry.size is None or 0 <= entry.size < 2**63
        assert entry.md5 is None or re.fullmatch("[0-9a-f]{32}", entry.md5)
        return
    assert fingerprint(entry)
    if isinstance(entry, SubResource):
        check_safe(check_name(series_key(entry).slug))
        wish = Wish("w", "u", ("*",), zones=("D038",), formats=("SHP",), bbox=(5.0, 44.0, 6.0, 46.0))
        select([wish], {"B": [entry, entry]})
    else:
        assert all(scope == EVERYTHING or scope.key for scope in scopes_for([Wish("w", "u", ("*",), zones=("D*",))], entry))


def _check_plan(files: list[RemoteFile]) -> None:
    """Whatever is listed, no action but parking is about a name that is not safe, and none comes twice."""
    assert files_digest(files)
    kept = {file.name: Kept(1, "0" * 32, None) for file in files[:1]}
    sizes = {file.name: file.size or 0 for file in files[1:]}
    plan = plan_unit(Wanted(SubResource("B", "B_LATEST", ""), ("w",), (), whole=True), files, kept, sizes)
    acting = [action.file.name for action in plan.actions if not isinstance(action, Park)]
    for name in acting:
        check_safe(name)
    assert len(set(acting)) == len(acting)
    assert not any(isinstance(action, Adopt) and action.file.md5 is None for action in plan.actions)
    assert sorted(name for group in publishing_groups(acting, whole=False) for name in group) == sorted(acting)


@cache
def _index(_: int) -> Index:
    """An index of this process."""
    return Index(Path(mkdtemp(prefix="inspire-mirror-fuzz-")))


class _Undo(Exception):
    """Ends a transaction, so that the next input finds an empty index."""


def _keep(case: tuple[int, bytes]) -> None:
    """Whatever a page holds, the index takes it in and gives it back."""
    page = read(*case)
    if page is None:
        return
    index = _index(os.getpid())
    with suppress(_Undo), index.transaction():
        listings = Listings(index)
        resources = [entry for entry in page.entries if isinstance(entry, Resource)] or [Resource("B", BASE)]
        listings.save_resources("u", resources, complete=True)
        assert {resource.id for resource in resources} == listings.resources("u").keys()
        subs = [entry for entry in page.entries if isinstance(entry, SubResource)] or [SubResource("B", "B_LATEST", BASE)]
        listings.save_listing("u", Resource("B", BASE), [EVERYTHING], subs, at=_NOW)
        files = [entry for entry in page.entries if isinstance(entry, RemoteFile)]
        unit = listings.unit("u", "B", subs[0].id)
        listings.save_files(unit, files, at=_NOW)
        assert [file.name for file in listings.files(unit.id)] == [file.name for file in files]
        raise _Undo


def _either(rng: random.Random) -> tuple[int, bytes]:
    return _json(rng) if rng.random() < 0.7 else _xml(rng)


TARGETS = (
    Target("feed-json", _json, _check, share=6),
    Target("feed-xml", _xml, _check, share=6),
    Target("feed-to-index", _either, _keep, share=1),
)
