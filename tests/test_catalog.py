"""`catalog` from outside: what it says where upstreams, listings or footprints are missing, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.demo.samples import sample_catalogue
from tests.command import run, write_config
from tests.upstream import FakeUpstream, faults, simple_catalogue


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(simple_catalogue(2, 3, 1)).in_thread() as fake:
        yield fake


@pytest.fixture(autouse=True)
def healthy(upstream: FakeUpstream) -> None:
    upstream.heal()


def two(folder: Path, first: str, second: str) -> None:
    """A config with two upstreams, `gpf` and `other`."""
    write_config(folder, first, more=f'[upstream.other]\nurl = "{second}"\nrequests_per_second = 1000\nretry_for = "0s"\n')


@pytest.mark.parametrize("fault", [faults.status(503), faults.status(404), faults.status(403), faults.html_200()])
@pytest.mark.parametrize("where", ["capabilities", "resource"])
def test_an_upstream_that_cannot_be_listed_is_exit_code_5(
    where: str, fault: faults.Fault, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Whatever it answers in place of a listing: one line, and one document with --json."""
    write_config(tmp_path, upstream.url)
    upstream.script(where, [fault], forever=True)
    outcome = run("catalog", "BDALPHA", "--json", cwd=tmp_path)
    assert outcome.code == 5, outcome
    assert outcome.json["exit_code"] == 5
    assert "cannot be listed" in outcome.err or "cannot be read" in outcome.err
    assert "Traceback" not in outcome.err


def test_one_dead_upstream_of_several_leaves_the_others(upstream: FakeUpstream, tmp_path: Path) -> None:
    """What the living ones have is shown, with a column for the upstream; the dead one is named, and the exit code is 1."""
    with FakeUpstream(simple_catalogue(1)).in_thread() as dead:
        dead.script("capabilities", [faults.status(503)], forever=True)
        two(tmp_path, upstream.url, dead.url)
        table = run("catalog", cwd=tmp_path)
        assert table.code == 1
        assert table.out.splitlines()[0].startswith("upstream  resource")
        assert "upstream other" in table.err
        rows = run("catalog", "BDALPHA", "--json", cwd=tmp_path)
        assert (rows.code, {row["upstream"] for row in rows.json}) == (1, {"gpf"})
        upstream.script("capabilities", [faults.status(503)], forever=True)
        assert run("catalog", "--json", cwd=tmp_path).code == 5


def test_a_resource_of_one_upstream_is_found_among_several(upstream: FakeUpstream, tmp_path: Path) -> None:
    """That the other one lacks it is no error; what neither has is."""
    with FakeUpstream(sample_catalogue()).in_thread() as samples:
        two(tmp_path, upstream.url, samples.url)
        outcome = run("catalog", "BDTOPO", "--json", cwd=tmp_path)
        assert (outcome.code, {row["upstream"] for row in outcome.json}) == (0, {"other"})
        assert run("catalog", "BDNOTHING", cwd=tmp_path).code == 2


def test_a_glob_that_matches_nothing_is_an_empty_answer(upstream: FakeUpstream, tmp_path: Path) -> None:
    """As a zone that has nothing is; only a plain name can be misspelt."""
    for arguments in (["NO*"], ["--zone", "D973"], ["--resource", "NO*"], ["NO*", "--latest"]):
        outcome = run("catalog", "--upstream", upstream.url, "--json", *arguments, cwd=tmp_path)
        assert (outcome.code, outcome.json) == (0, []), arguments
    assert run("catalog", "NO", "--upstream", upstream.url, cwd=tmp_path).code == 2


def test_the_footer_says_why_sizes_are_missing(tmp_path: Path) -> None:
    """Not asked for, too many to ask for, or asked for and not to be had: three things."""
    with FakeUpstream(simple_catalogue(1, 51, 1)).in_thread() as many:
        write_config(tmp_path, many.url)
        assert run("catalog", "BDALPHA", cwd=tmp_path).err == "51 sub-resources (more than 50: --sizes asks for their sizes)\n"
        assert run("catalog", "BDALPHA", "--no-sizes", cwd=tmp_path).err == "51 sub-resources\n"
        assert run("-q", "catalog", "BDALPHA", "--no-sizes", cwd=tmp_path).err == ""
        many.script("*_D073_2026-03-15", [faults.status(404)], forever=True)
        err = run("catalog", "BDALPHA", "--to", "2026-04-01", cwd=tmp_path).err
        assert re.search(r"sub-resources?, \d.*B; \d+ sizes? could not be had\n$", err), err


def test_sizes_without_sub_resources_is_bad_usage(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Resources have no sizes to be asked for."""
    outcome = run("catalog", "--sizes", "--upstream", upstream.url, cwd=tmp_path)
    assert outcome.code == 2
    assert "--latest" in outcome.err


def test_bbox_says_what_it_cannot_place(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Resources and sub-resources without a footprint are left out, and counted on stderr; the JSON stays an array."""
    for arguments, what in ((["--json"], "2 resources have"), (["BDALPHA", "--json"], "3 sub-resources have")):
        outcome = run("catalog", "--bbox", "5,44,6,45", "--upstream", upstream.url, *arguments, cwd=tmp_path)
        assert (outcome.code, outcome.json) == (0, [])
        assert f"{what} no footprint upstream" in outcome.err


# -- without a config file


def test_the_environment_alone_is_a_config(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Upstream, root and subscription from variables: browse, check, sync and query without any file."""
    here = {"INSPIRE_MIRROR_UPSTREAM__X__URL": upstream.url, "INSPIRE_MIRROR_UPSTREAM__X__REQUESTS_PER_SECOND": "1000"}
    rows = run("catalog", "--json", cwd=tmp_path, **here).json
    assert {row["upstream"] for row in rows} == {"x"}
    here |= {"INSPIRE_MIRROR_ROOT": "m", "INSPIRE_MIRROR_SUBSCRIPTION__A__RESOURCES": "BDALPHA"}
    assert run("config", "check", cwd=tmp_path, **here).out.startswith("environment: valid\n")
    assert run("sync", cwd=tmp_path, **here).code == 0
    assert len(run("query", "--json", cwd=tmp_path, INSPIRE_MIRROR_ROOT="m").json) == 3
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.parametrize("command", ["query", "catalog", "sync"])
def test_an_unknown_variable_is_an_error_without_a_file_too(command: str, tmp_path: Path) -> None:
    """It is named; nothing falls back to a default as if it were not there."""
    outcome = run(command, cwd=tmp_path, INSPIRE_MIRROR_BOGUS="1")
    assert outcome.code == 2
    assert "INSPIRE_MIRROR_BOGUS" in outcome.err


def test_a_root_that_no_variable_gives_is_asked_for(tmp_path: Path) -> None:
    """Some variables, no root, no file: the message says both."""
    outcome = run("query", cwd=tmp_path, INSPIRE_MIRROR_CONTACT="sig@example.org")
    assert outcome.code == 2
    assert all(words in outcome.err for words in ("root: required", "inspire-mirror init"))
