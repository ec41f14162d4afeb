"""Downloads of a mirror that was really synced, over real sockets: whole, in parts, on conditions, with their hashes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from lxml import etree

from mirror.demo.body import Pattern, read
from mirror.demo.catalogue import SampleFile
from mirror.events import Note
from mirror.verifying import verify

from .downloading import ODD_NAMES, RESOURCE, SUB, connect, offering, path_to, sha256
from .mirrored import HASTE
from .served import ServedMirror, served_mirror
from .upstream import faults

DATA = read(Pattern(300_000, "data"))
FILES = (
    SampleFile("data.7z", DATA),
    SampleFile("empty.txt", b""),
    SampleFile("page.html", b"<script>alert(1)</script>", media_type="text/html"),
    SampleFile("odd type.bin", b"x", media_type="image/x; a, b"),
    *(SampleFile(name, name.encode()) for name in ODD_NAMES),
)
BY_NAME = sorted(file.name for file in FILES)
"""As people look for them; the feed has them in another order."""

FOLDER = f"/gpf/download/{RESOURCE}/{SUB}"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path / "root", offering(*FILES)) as mirror:
        yield mirror


def b64(digest: str) -> str:
    return b64encode(bytes.fromhex(digest)).decode()


async def test_a_whole_file_with_all_that_tells_of_it(served: ServedMirror) -> None:
    answer = await served.ask(path_to("data.7z"))
    assert (answer.status, answer.body) == (200, DATA)
    sha, md5 = sha256(DATA), hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    assert answer.headers["ETag"] == f'"{sha}"'
    assert answer.headers["Repr-Digest"] == f"sha-256=:{b64(sha)}:"
    assert answer.headers["Content-MD5"] == b64(md5)
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Content-Type"] == "application/x-7z-compressed"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    wanted = await served.ask(path_to("data.7z"), Want_Repr_Digest="sha-512=9, md5=1")
    assert wanted.headers["Repr-Digest"] == f"sha-256=:{b64(sha)}:, md5=:{b64(md5)}:"
    head = await served.ask(path_to("data.7z"), "HEAD", Range="bytes=0-9")
    differ = {"Date"}
    assert (head.status, head.body) == (200, b"")
    assert {n: v for n, v in head.headers.items() if n not in differ} == {
        n: v for n, v in answer.headers.items() if n not in differ
    }
    empty = await served.ask(path_to("empty.txt"))
    assert (empty.status, empty.body, empty.headers["Content-Length"]) == (200, b"", "0")


async def test_last_modified_is_when_it_came_here_and_never_in_the_future(served: ServedMirror) -> None:
    """The clock of this mirror is ahead: what it fetched has no date until then."""
    assert "Last-Modified" not in (await served.ask(path_to("data.7z"))).headers
    assert (await served.ask(path_to("data.7z"), If_Modified_Since="Fri, 01 Jan 2027 12:00:00 GMT")).status == 304
    assert (await served.ask(path_to("data.7z"), If_Modified_Since="Fri, 01 Jan 2027 11:59:59 GMT")).status == 200
    assert (await served.ask(path_to("data.7z"), If_Unmodified_Since="Fri, 01 Jan 2027 11:59:59 GMT")).status == 412
    served.mirror.clock.at = served.mirror.clock.at.replace(year=2020)
    await served.sync(offering(*FILES, SampleFile("late.7z", b"late"), updated="2026-02-01"))
    late = await served.ask(path_to("late.7z"))
    assert parsedate_to_datetime(late.headers["Last-Modified"]) == served.mirror.clock.at


async def test_parts(served: ServedMirror) -> None:
    tag = f'"{sha256(DATA)}"'
    for asked, start, stop in (("0-0", 0, 1), ("100000-", 100_000, 300_000), ("-5", 299_995, 300_000), ("9-1000000", 9, 300_000)):
        part = await served.ask(path_to("data.7z"), Range=f"bytes={asked}")
        assert (part.status, part.body) == (206, DATA[start:stop])
        assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/300000"
        assert part.headers["ETag"] == tag
        assert "Content-MD5" not in part.headers
        assert part.headers["Repr-Digest"] == f"sha-256=:{b64(sha256(DATA))}:"
    beyond = await served.ask(path_to("data.7z"), Range="bytes=300000-")
    assert (beyond.status, beyond.headers["Content-Range"], beyond.body) == (416, "bytes */300000", b"")
    assert (await served.ask(path_to("data.7z"), Range="bytes=0-1", If_Range=tag)).status == 206
    for other in ('"other"', f"W/{tag}", "Fri, 01 Jan 2027 12:00:00 GMT"):
        whole = await served.ask(path_to("data.7z"), Range="bytes=0-1", If_Range=other)
        assert (whole.status, whole.body) == (200, DATA)
    assert (await served.ask(path_to("empty.txt"), Range="bytes=0-5")).status == 200


async def test_several_parts_in_one_answer(served: ServedMirror) -> None:
    answer = await served.ask(path_to("data.7z"), Range="bytes=200000-299999,5-9,70000-200")
    assert answer.status == 200  # one of them is no range
    answer = await served.ask(path_to("data.7z"), Range="bytes=200000-299999,5-9,-1")
    assert answer.status == 206
    assert answer.headers["Content-Length"] == str(len(answer.body))
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.body)
    found = {part["Content-Range"]: part.get_payload(decode=True) for part in message.walk() if part is not message}
    assert found == {"bytes 200000-299999/300000": DATA[200_000:], "bytes 5-9/300000": DATA[5:10]}
    many = ",".join(f"{n * 1000}-{n * 1000}" for n in range(40))
    assert (await served.ask(path_to("data.7z"), Range=f"bytes={many}")).status == 416


async def test_a_connection_goes_on_after_every_kind_of_answer(served: ServedMirror) -> None:
    raw = await connect(served.url)
    path = path_to("data.7z").encode()
    for headers, status in (((), 200), (("Range: bytes=0-9",), 206), (("Range: bytes=0-0,9000-9009",), 206)):
        found, answer = await raw.ask(b"GET " + path, *headers)
        assert found == status
        assert len(await raw.rest(answer["Content-Length"])) == int(answer["Content-Length"])
    assert (await raw.ask(b"HEAD " + path))[0] == 200
    assert (await raw.ask(b"GET " + path, f'If-None-Match: "{sha256(DATA)}"'))[0] == 304
    assert (await raw.ask(b"GET " + path, 'If-Match: "x"'))[0] == 412
    lines = ('"x"', f'"{sha256(DATA)}"')  # a list may stand in several lines
    assert (await raw.ask(b"GET " + path, *(f"If-None-Match: {tag}" for tag in lines)))[0] == 304
    found, answer = await raw.ask(b"GET " + path, *(f"If-Match: {tag}" for tag in lines))
    assert found == 200
    await raw.rest(answer["Content-Length"])
    found, answer = await raw.ask(b"GET " + path_to("nothing").encode())
    assert found == 404
    await raw.rest(answer["Content-Length"])
    assert (await raw.ask(b"GET " + path))[0] == 200
    raw.close()


@pytest.mark.parametrize("in_memory", [True, False], ids=["from memory", "from the disk, by a thread"])
async def test_the_same_bytes_come_from_memory_and_from_the_disk(
    served: ServedMirror, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    """File systems say which it is, or cannot say; of both there are some under tests."""
    monkeypatch.setattr("mirror.serving.downloads.sending._is_in_memory", lambda *_: in_memory)
    whole = await asyncio.gather(*(served.ask(path_to("data.7z")) for _ in range(20)))
    assert {answer.body for answer in whole} == {DATA}
    assert (await served.ask(path_to("data.7z"), Range="bytes=-200000")).body == DATA[100_000:]
    raw = await connect(served.url)
    _, headers = await raw.ask(b"GET " + path_to("data.7z").encode(), "Range: bytes=0-99,150000-250000")
    assert DATA[150_000:250_001] in await raw.rest(headers["Content-Length"])
    raw.close()


async def test_many_at_once_each_get_their_own(served: ServedMirror) -> None:
    """They are looked up together: whether they are there, have been changed, or are no names at all."""
    paths = [*(path_to(file.name) for file in FILES), path_to("nothing"), path_to("..")] * 12
    answers = await asyncio.gather(*(served.ask(path) for path in paths))
    bodies = {path_to(file.name): read(file.body) for file in FILES}
    for path, answer in zip(paths, answers, strict=True):
        assert (answer.status, answer.body) == (200, bodies[path]) if path in bodies else answer.status == 404
    tag = f'"{sha256(DATA)}"'
    mixed = await asyncio.gather(
        *(
            served.ask(path_to("data.7z"), **headers)
            for headers in ({"If_None_Match": tag}, {"If_Match": '"x"'}, {})
            for _ in range(9)
        )
    )
    assert [answer.status for answer in mixed] == [304] * 9 + [412] * 9 + [200] * 9


async def test_one_that_cannot_be_opened_holds_up_no_other(served: ServedMirror) -> None:
    place = served.root / "data" / "gpf" / RESOURCE / SUB / "data.7z"
    place.unlink()
    place.symlink_to(place.name)  # a loop
    broken, fine = await asyncio.gather(served.ask(path_to("data.7z")), served.ask(path_to("page.html")))
    assert (broken.status, fine.status) == (503, 200)


async def test_no_file_is_a_page_of_this_site(served: ServedMirror) -> None:
    """Whatever type its publisher says that it has."""
    page = await served.ask(path_to("page.html"))
    assert page.headers["Content-Type"] == "text/html"
    assert page.headers["Content-Disposition"].startswith("attachment;")
    assert "sandbox" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert (await served.ask(path_to("odd type.bin"))).headers["Content-Type"] == "application/octet-stream"


async def test_files_of_any_name_can_be_had(served: ServedMirror) -> None:
    for name in ODD_NAMES:
        answer = await served.ask(path_to(name))
        assert (answer.status, answer.body.decode()) == (200, name)


async def test_checksums_as_the_tools_check_them(served: ServedMirror) -> None:
    for kind, digest in (("MD5SUMS", hashlib.md5), ("SHA256SUMS", hashlib.sha256)):
        answer = await served.ask(f"{FOLDER}/{kind}")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        lines = {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in answer.text.splitlines()}
        assert list(lines) == BY_NAME
        assert lines == {file.name: digest(read(file.body)).hexdigest() for file in FILES}
        assert (await served.ask(f"{FOLDER}/{kind}", If_None_Match=answer.headers["ETag"])).status == 304
    assert (await served.ask(f"/gpf/download/{RESOURCE}/none/MD5SUMS")).status == 404
    await served.sync(offering(*FILES, SampleFile("MD5SUMS", b"upstream's own"), updated="2026-02-01"))
    assert (await served.ask(f"{FOLDER}/MD5SUMS")).body == b"upstream's own"


async def test_a_metalink_names_every_file_with_size_and_hashes(served: ServedMirror) -> None:
    served.configure(public_url="https://mirror.example.org/geo")
    answer = await served.ask(f"{FOLDER}.meta4")
    assert answer.headers["Content-Type"] == "application/metalink4+xml"
    root = etree.fromstring(answer.body)
    names = {"m": "urn:ietf:params:xml:ns:metalink"}
    found = root.xpath("m:file", namespaces=names)
    assert [file.get("name") for file in found] == BY_NAME
    for element, file in zip(found, sorted(FILES, key=lambda file: file.name), strict=True):
        assert element.findtext("m:size", namespaces=names) == str(file.body.size)
        assert element.xpath("string(m:hash[@type='sha-256'])", namespaces=names) == sha256(file.body)
        assert element.xpath("string(m:hash[@type='md5'])", namespaces=names) == file.body.md5()
        assert element.findtext("m:url", namespaces=names) == f"https://mirror.example.org/geo{path_to(file.name)}"


async def test_folders_have_plain_links(served: ServedMirror) -> None:
    for path, links in (
        ("/gpf/download/", [f"{RESOURCE}/"]),
        (f"/gpf/download/{RESOURCE}/", ["../", f"{SUB}/"]),
    ):
        page = await served.ask(path)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert etree.HTML(page.body).xpath("//a/@href") == links
        bare = await served.ask(path.rstrip("/"))
        assert (bare.status, bare.headers["Location"]) == (308, path)
    page = await served.ask(f"{FOLDER}/")
    links = etree.HTML(page.body).xpath("//a")
    assert [link.text for link in links] == ["../", *BY_NAME, "MD5SUMS", "SHA256SUMS"]
    for link in links[1:]:
        assert (await served.ask(f"{FOLDER}/{link.get('href')}")).status == 200
    for nothing in ("/gpf/download/NONE/", f"/gpf/download/{RESOURCE}/none/", "/none/download/", f"{FOLDER}/?page=2"):
        assert (await served.ask(nothing)).status == 404
    assert (await served.ask(f"{FOLDER}/?page=x")).status == 400


async def test_a_long_folder_goes_on_on_another_page(served: ServedMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.serving.downloads.listings.PAGE_SIZE", 5)
    found, page = [], "?page=1"
    while page:
        links = etree.HTML((await served.ask(f"{FOLDER}/{page}")).body).xpath("//a")
        page = links[-1].get("href") if links[-1].text == "more" else ""
        found += [link.text for link in links if link.text not in ("../", "more", "MD5SUMS", "SHA256SUMS")]
    assert found == BY_NAME


async def test_what_verify_found_wrong_is_not_to_be_had_until_it_is_mended(served: ServedMirror) -> None:
    """It is not offered any more: 404, as in the listings. Others of its edition are."""
    place = served.root / "data" / "gpf" / RESOURCE / SUB / "data.7z"
    place.write_bytes(b"#" * len(DATA))
    await verify(served.mirror.settings, full=True)
    assert (await served.ask(path_to("data.7z"))).status == 404
    assert (await served.ask(path_to("page.html"))).status == 200
    await verify(served.mirror.settings, full=True, repair=True, patience=HASTE)
    assert (await served.ask(path_to("data.7z"))).body == DATA


async def test_what_is_gone_or_of_another_size_is_not_sent(served: ServedMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index says that it is sound: 503, and one line in the log that says what to do."""
    monkeypatch.setattr("mirror.serving.downloads.routes._WAITS", (0.001, 0.001))
    folder = served.root / "data" / "gpf" / RESOURCE / SUB
    (folder / "data.7z").write_bytes(DATA + b"x")
    (folder / "page.html").unlink()
    for name, words in (("data.7z", "300,001 bytes"), ("page.html", "No such file"), ("data.7z", "")):
        answer = await served.ask(path_to(name))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "300")
        told = [event.message for event in served.events if isinstance(event, Note) and event.level == "warning"]
        assert words in told[-1]
    assert len(told) == 2
    assert (await served.ask(path_to("empty.txt"))).status == 200


async def test_links_and_pipes_in_the_tree_are_not_followed(
    served: ServedMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever they stand below `data`, and whatever they lead to."""
    monkeypatch.setattr("mirror.serving.downloads.routes._WAITS", ())
    upstream = served.root / "data" / "gpf"
    file, outside = upstream / RESOURCE / SUB / "data.7z", tmp_path / "outside"
    for place in (file, file.parent, upstream / RESOURCE, upstream):
        place.rename(outside)
        place.symlink_to(outside)
        assert (await served.ask(path_to("data.7z"))).status == 503, place
        assert (await served.ask(path_to("data.7z"), "HEAD")).status == 503, place
        place.unlink()
        outside.rename(place)
    file.unlink()
    os.mkfifo(file)
    assert (await served.ask(path_to("data.7z"))).status == 503
    file.unlink()
    file.mkdir()
    assert (await served.ask(path_to("data.7z"))).status == 503


async def test_data_itself_may_lie_elsewhere(served: ServedMirror, tmp_path: Path) -> None:
    shutil.move(served.root / "data", tmp_path / "disk")
    (served.root / "data").symlink_to(tmp_path / "disk")
    assert (await served.ask(path_to("data.7z"))).body == DATA


ESCAPES = (
    b"/gpf/download/../../index.sqlite",
    b"/gpf/download/PRODUIT/../../../index.sqlite",
    b"/gpf/download/PRODUIT/..%2f..%2f..%2findex.sqlite/x",
    b"/gpf/download/%2e%2e/%2e%2e/index.sqlite",
    b"/gpf/download/PRODUIT/%2e%2e/PRODUIT",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/..%2f..%2f..%2f..%2findex.sqlite",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/%2Fetc%2Fpasswd",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/..%5c..%5cx",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/data.7z%00",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/data.7z%0d%0aX-Injected:%201",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/.",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/%2e",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/%ff%fe",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/" + b"a" * 3000,
    b"/gpf/download/PRODUIT//data.7z",
    b"//gpf/download/PRODUIT",
    b"/gpf/download/PRODUIT/PRODUIT_1-0_D038_2026-01-01/data.7z/",
    b"/.staging/download/parts/gpf/x",
    b"/..%2f/download/%2e%2e%2f/",
    b"http://elsewhere/gpf/download/PRODUIT/../../x",
)


async def test_no_path_leads_out_of_the_mirror(served: ServedMirror) -> None:
    for path in ESCAPES:
        raw = await connect(served.url)
        status, headers = await raw.ask(b"GET " + path)
        assert status in (308, 400, 404), path
        assert "X-Injected" not in headers, path
        assert b"SQLite" not in await raw.rest(headers.get("Content-Length", "0")), path
        if status == 308:
            assert headers["Location"].startswith("/"), path
            assert not headers["Location"].startswith("//"), path
        raw.close()


async def test_a_single_file_of_an_incomplete_edition_may_be_had(tmp_path: Path) -> None:
    async with served_mirror(tmp_path / "root", offering(*FILES[:3]), sync=False) as served:
        served.mirror.tables = {"all": {"resources": ["*"], "edition": "all", "publish": "each"}}
        served.mirror.upstream.script("*/download/*/page.html", [faults.status(404)] * 9, forever=True)
        served.mirror.upstream.script(lambda record: record.path.endswith("page.html"), [faults.status(404)], forever=True)
        await served.sync()
        assert (await served.ask(path_to("data.7z"))).body == DATA
        assert (await served.ask(path_to("page.html"))).status == 404
        assert (await served.ask(f"{FOLDER}/")).status == 404
