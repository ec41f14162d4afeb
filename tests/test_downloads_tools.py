"""What people download with: curl, wget, aria2, rclone, the checksum tools; and a real nginx before the mirror."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.demo.body import read
from mirror.demo.catalogue import SampleFile

from .downloading import RESOURCE, SUB, connect, large, needs, offering, path_to, run_tool, sha256
from .fronted import EXAMPLE, free_port, nginx_before
from .served import ServedMirror, served_mirror
from .test_pages import code_blocks

FILES = (large(), SampleFile("notes é.txt", b"notes"), SampleFile("b c.zip", b"zip"))
FILE = FILES[0]
BODY = read(FILE.body)
FOLDER = f"/gpf/download/{RESOURCE}/{SUB}"
EVERYTHING = {file.name: sha256(file.body) for file in FILES}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedMirror]:
    async with served_mirror(tmp_path / "root", offering(*FILES)) as mirror:
        yield mirror


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def found(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()) for path in folder.iterdir()}


@needs("curl")
async def test_curl(served: ServedMirror, target: Path) -> None:
    """Whole under the name that it is given, from where it broke off, some parts, and nothing where it has it already."""
    url = served.url + path_to(FILE.name)
    await run_tool(["curl", "-sSfOJ", url], target)
    assert sha256((target / FILE.name).read_bytes()) == sha256(BODY)
    (target / "broken.7z").write_bytes(BODY[:1_000_000])
    await run_tool(["curl", "-sSf", "-C", "-", "-o", "broken.7z", url], target)
    assert sha256((target / "broken.7z").read_bytes()) == sha256(BODY)
    await run_tool(["curl", "-sSf", "-r", "5-9,1000000-1000099", "-o", "parts", url], target)
    assert BODY[1_000_000:1_000_100] in (target / "parts").read_bytes()
    await run_tool(["curl", "-sSf", "--etag-save", "tag", "-o", "a", url], target)
    said = await run_tool(["curl", "-sSf", "--etag-compare", "tag", "-o", "b", "-w", "%{http_code}", url], target)
    assert said == "304"


@needs("curl")
async def test_the_lines_of_an_editions_page(served: ServedMirror, target: Path) -> None:
    """As they are copied: files come under their own names, blanks and accents too, and the line with the sums finds them."""
    lines = [line for line in code_blocks(await served.ask(f"/gpf/{RESOURCE}/{SUB}")) if line.startswith("curl ")]
    for line in lines:
        said = await run_tool(["sh", "-c", line], target)
    assert found(target) == EVERYTHING
    assert said.count(": OK") == len(EVERYTHING)


@needs("curl")
async def test_a_line_for_several_files_ends_with_the_one_that_is_not_to_be_had(served: ServedMirror, target: Path) -> None:
    """And says so by its exit status, so that what follows after `&&` does not go on with less than all."""
    blocks = code_blocks(await served.ask(f"/gpf/{RESOURCE}/{SUB}"))
    (line,) = [line for line in blocks if line.startswith("curl ") and line.count(served.url) == len(FILES)]
    first, gone, _ = sorted(FILES, key=lambda file: line.index(served.url + path_to(file.name)))
    line = line.replace(served.url + path_to(gone.name), served.url + path_to("none.bin"))
    said = await run_tool(["sh", "-c", f"{line}\necho exit $?"], target)
    assert "404" in said
    assert said.splitlines()[-1] == "exit 22"
    assert found(target) == {first.name: EVERYTHING[first.name]}


@needs("wget")
async def test_wget(served: ServedMirror, target: Path) -> None:
    """From where it broke off; then all below a folder, by the links of its page."""
    (target / FILE.name).write_bytes(BODY[:5_000_000])
    await run_tool(["wget", "-q", "-c", served.url + path_to(FILE.name)], target)
    assert sha256((target / FILE.name).read_bytes()) == sha256(BODY)
    below = target / "below"
    below.mkdir()
    options = ["-q", "-r", "-np", "-nH", "--cut-dirs=4", "-R", "index.html*", "-e", "robots=off"]
    await run_tool(["wget", *options, f"{served.url}{FOLDER}/"], below)
    here = found(below)
    assert {name: here[name] for name in EVERYTHING} == EVERYTHING
    for tool in ("md5sum", "sha256sum"):
        await run_tool([tool, "--check", "--strict", f"{tool[:-3].upper()}SUMS"], below)


@needs("aria2c")
async def test_aria2_by_the_metalink(served: ServedMirror, target: Path) -> None:
    """All files of an edition, the large one over several connections, all checked against their hashes."""
    link = f"{served.url}{FOLDER}.meta4"
    await run_tool(["curl", "-sSfO", link], target)
    options = ["--no-conf", "--quiet", "--follow-metalink=mem", "-x4", "-s4", "-k1M", "--file-allocation=none"]
    said = await run_tool(["aria2c", *options, link], target)
    (target / f"{SUB}.meta4").unlink()
    assert found(target) == EVERYTHING, said
    assert sum(f"GET {path_to(FILE.name)} 206" in str(event) for event in served.events) >= 3


@needs("rclone")
async def test_rclone(served: ServedMirror, target: Path, tmp_path: Path) -> None:
    config = ["--config", str(tmp_path / "rclone.conf"), "--http-url", f"{served.url}/gpf/download/"]
    listing = await run_tool(["rclone", *config, "lsf", "-R", "--files-only", ":http:"], target)
    assert {f"{RESOURCE}/{SUB}/{name}" for name in EVERYTHING} <= set(listing.splitlines())
    await run_tool(["rclone", *config, "copy", f":http:{RESOURCE}/{SUB}", str(target)], target)
    here = found(target)
    assert {name: here[name] for name in EVERYTHING} == EVERYTHING


@needs("nginx")
async def test_nginx_sends_what_the_mirror_tells_it_to(served: ServedMirror, tmp_path: Path, target: Path) -> None:
    """With the config that users are given: names, parts and conditions, nothing past the mirror, no links followed."""
    port = free_port()
    served.configure(accel="/mirrored-files/", public_url=f"http://127.0.0.1:{port}")
    place = served.root / "data" / "gpf" / RESOURCE / SUB
    async with nginx_before(served.url, served.root, tmp_path / "nginx", port) as url:
        for file in FILES:
            answer = await served.ask(url + path_to(file.name))
            assert (answer.status, sha256(answer.body)) == (200, sha256(file.body))
            assert answer.headers["Server"].startswith("nginx")
            assert answer.headers["Content-Disposition"].startswith("attachment;")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "X-Accel-Redirect" not in answer.headers
            assert "Repr-Digest" not in answer.headers
        tag = (await served.ask(url + path_to(FILE.name), "HEAD")).headers["ETag"]
        part = await served.ask(url + path_to(FILE.name), Range="bytes=10-19", If_Range=tag)
        assert (part.status, part.body) == (206, BODY[10:20])
        assert (await served.ask(url + path_to(FILE.name), If_None_Match=tag)).status == 304
        assert (await served.ask(url + path_to(FILE.name), If_Match='"other"')).status == 412
        for nothing in (path_to("nothing"), f"/mirrored-files/gpf/{RESOURCE}/{SUB}/b%20c.zip", f"{FOLDER}/..%2f..%2f..%2fx"):
            assert (await served.ask(url + nothing)).status == 404
        assert (await served.ask(f"{url}{FOLDER}/")).status == 200
        assert f"{url}{path_to(FILE.name)}" in (await served.ask(f"{url}{FOLDER}.meta4")).text

        raw = await connect(url)
        _, headers = await raw.ask(b"GET " + path_to(FILE.name).encode())
        begun = await raw.rest("1000000")
        new = large("second", size=len(BODY) + 1)  # nginx tells files apart by second and size
        await served.sync(offering(new, *FILES[1:], updated="2026-02-01"))
        assert sha256(begun + await raw.rest(str(len(BODY) - len(begun)))) == sha256(BODY)
        raw.close()
        again = await served.ask(url + path_to(FILE.name), Range="bytes=1000000-", If_Range=headers["Etag"])
        assert (again.status, sha256(again.body)) == (200, sha256(new.body))

        (target / "secret").write_bytes(b"zip")
        (place / "b c.zip").unlink()
        (place / "b c.zip").symlink_to(target / "secret")
        assert (await served.ask(url + path_to("b c.zip"))).status == 503
        assert (await served.ask(f"{served.url}{path_to(FILE.name)}")).headers["X-Accel-Redirect"] == (
            f"/mirrored-files/gpf/{RESOURCE}/{SUB}/{FILE.name}"
        )


@needs("nginx", "curl")
async def test_nginx_as_a_plain_proxy(served: ServedMirror, tmp_path: Path, target: Path) -> None:
    """Without the option, files come through it as they are, with their tags and hashes."""
    port = free_port()
    async with nginx_before(served.url, served.root, tmp_path / "nginx", port) as url:
        answer = await served.ask(url + path_to(FILE.name))
        assert sha256(answer.body) == sha256(BODY)
        assert answer.headers["ETag"] == f'"{sha256(BODY)}"'
        assert "Repr-Digest" in answer.headers
        part = await served.ask(url + path_to(FILE.name), Range="bytes=10-19,1000-1009")
        assert part.status == 206
        await run_tool(["curl", "-sSfO", url + path_to(FILE.name)], target)
        assert found(target) == {FILE.name: sha256(BODY)}


def test_the_documentation_shows_the_config_that_is_tested() -> None:
    page = (Path(__file__).parents[1] / "docs" / "serve.md").read_text("utf-8")
    assert re.search(r"```nginx\n(.*?)```", page, re.DOTALL)[1] == EXAMPLE.read_text("utf-8")  # type: ignore[index]
