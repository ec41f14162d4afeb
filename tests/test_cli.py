"""The command line from outside: what each command prints where, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.demo.samples import sample_catalogue
from tests.command import argv, environment, run_anew, start, write_config
from tests.upstream import FakeUpstream, faults, simple_catalogue

EVERYTHING = 'all]\nresources = ["*"]\nedition = "all"'
COMMANDS = ("init", "config", "catalog", "plan", "sync", "query", "status", "verify", "prune", "serve", "run", "demo")


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(sample_catalogue()).in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def mirrored(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and a complete mirror of the samples."""
    folder = tmp_path_factory.mktemp("mirrored")
    write_config(
        folder,
        upstream.url,
        'topo]\nresources = ["BDTOPO"]\nformats = ["GPKG"]\nedition = 2',
        'rest]\nresources = ["ADMIN*", "BDORTHO", "limites*", "LiDAR*"]',
    )
    outcome = run_anew("sync", "--json", cwd=folder)
    assert outcome.code == 0, outcome
    return folder


# -- all commands


def test_help_names_every_command_and_nothing_that_is_not_there(tmp_path: Path) -> None:
    """Each command of this version has help; none of a later one is mentioned."""
    listed = run_anew("--help", cwd=tmp_path).out.partition("Commands:\n")[2].partition("\n\n")[0]
    assert tuple(line.split()[0] for line in listed.splitlines()) == COMMANDS
    for name in COMMANDS:
        outcome = run_anew(name, "--help", cwd=tmp_path)
        assert outcome.code == 0
        assert "Usage: inspire-mirror" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [("sync",), ("plan",), ("query",), ("status",), ("verify",), ("prune",), ("config", "check"), ("-c", "nowhere.toml", "sync")],
)
def test_without_a_config_each_command_says_what_to_do(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Exit code 2, one line, and `init` is named."""
    outcome = run_anew(*arguments, cwd=tmp_path)
    assert outcome.code == 2
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert "inspire-mirror init" in outcome.err


def test_usage_errors_end_with_2(tmp_path: Path) -> None:
    """An unknown option or command, and options that exclude one another, are bad usage."""
    write_config(tmp_path, "http://127.0.0.1:9/capabilities", EVERYTHING)
    for arguments in (
        ["sink"],
        ["sync", "--hurry"],
        ["query", "--json", "--csv"],
        ["query", "-0"],
        ["query", "--bbox", "1,2,3"],
        ["query", "--bbox", "9,2,3,4"],
        ["query", "--from", "yesterday"],
        ["sync", "no-such-subscription"],
        ["-v", "-q", "status"],
        ["verify", "--wait"],
        ["query", "--from", "2026-02-01", "--to", "2026-01-01"],
        ["catalog", "--from", "2026-02-01", "--to", "2026-01-01"],
    ):
        assert run_anew(*arguments, cwd=tmp_path).code == 2, arguments


def test_a_misspelt_command_and_a_misplaced_option_get_a_hint(tmp_path: Path) -> None:
    """The nearest command is named, and where a global option goes."""
    assert "Did you mean 'sync'?" in run_anew("synk", cwd=tmp_path).err
    assert "Did you mean" not in run_anew("frobnicate", cwd=tmp_path).err
    assert "inspire-mirror -v COMMAND" in run_anew("sync", "-v", cwd=tmp_path).err


def test_output_that_cannot_be_written_is_one_line(mirrored: Path) -> None:
    """A full disk behind stdout: exit code 1, no traceback."""
    for arguments in (["query", "--json"], ["query", "--limit", "1"], ["status"]):
        with open("/dev/full", "w") as full:
            process = subprocess.run(
                argv(*arguments), cwd=mirrored, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert process.returncode == 1
        assert "Traceback" not in process.stderr
        assert len([line for line in process.stderr.splitlines() if "No space left" in line]) == 1


def test_errors_with_json_are_one_document(tmp_path: Path) -> None:
    """With --json stdout holds one JSON document even when nothing could be done."""
    outcome = run_anew("sync", "--json", cwd=tmp_path)
    assert outcome.code == 2
    assert outcome.json["exit_code"] == 2
    assert "init" in outcome.json["error"]


# -- init and config


def test_init_writes_a_config_that_is_valid_and_never_overwrites(tmp_path: Path) -> None:
    """What init writes passes `config check`; a second init changes nothing and ends with 2."""
    assert run_anew("init", cwd=tmp_path).code == 0
    written = (tmp_path / "inspire-mirror.toml").read_bytes()
    assert run_anew("config", "check", cwd=tmp_path).code == 0
    again = run_anew("init", cwd=tmp_path)
    assert again.code == 2
    assert "inspire-mirror.toml" in again.err
    assert (tmp_path / "inspire-mirror.toml").read_bytes() == written


def test_init_takes_a_folder_and_an_upstream(tmp_path: Path) -> None:
    """The folder is made, and the upstream's address is in the config."""
    outcome = run_anew("init", "--upstream", "https://inspire.example.org/service.xml", "--json", "a/b", cwd=tmp_path)
    assert outcome.code == 0
    assert "https://inspire.example.org/service.xml" in (tmp_path / "a/b/inspire-mirror.toml").read_text("utf-8")
    assert outcome.json["url"] == "https://inspire.example.org/service.xml"


def test_config_check_shows_what_is_in_effect_and_no_secret(tmp_path: Path) -> None:
    """Defaults and environment are in the document; the key of a private service is masked, there and in every other output."""
    write_config(tmp_path, "https://data.example.org/private/capabilities", EVERYTHING)
    env = {"INSPIRE_MIRROR_UPSTREAM__GPF__API_KEY": "s3cr3t-key", "INSPIRE_MIRROR_LIMITS__MIN_FREE": "3 GB"}
    outcome = run_anew("config", "check", "--json", cwd=tmp_path, **env)
    assert outcome.code == 0
    document = outcome.json
    assert document["limits"]["min_free"] == "3 GB"
    assert document["subscription"]["all"]["publish"] == "whole"
    assert "s3cr3t-key" not in outcome.out + outcome.err


def test_a_wrong_key_is_named_with_the_nearest(tmp_path: Path) -> None:
    """File, table, key and nearest known key are in the message."""
    write_config(tmp_path, "https://x.example.org/capabilities", 'a]\nresources = ["*"]\nzonez = ["D038"]')
    outcome = run_anew("config", "check", cwd=tmp_path)
    assert outcome.code == 2
    assert all(part in outcome.err for part in ("inspire-mirror.toml", "subscription.a", "zonez", "zones"))


# -- catalog


def test_catalog_lists_resources_and_sub_resources(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Without a config, --upstream takes an address; filters narrow; sizes are those of the files."""
    outcome = run_anew("catalog", "--upstream", upstream.url, "--json", cwd=tmp_path)
    assert outcome.code == 0
    assert {row["resource"] for row in outcome.json} == {resource.id for resource in upstream.catalogue.resources}
    outcome = run_anew("catalog", "BDTOPO", "--upstream", upstream.url, "--zone", "D971", "--latest", "--json", cwd=tmp_path)
    rows = outcome.json
    assert rows
    assert all(row["zones"] == ["D0971"] and row["size"] > 0 and row["edition_date"] == "2026-09-15" for row in rows)


def test_catalog_of_an_unknown_resource_names_the_nearest(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Exit code 2, and the resource that was probably meant."""
    outcome = run_anew("catalog", "BDTOPOO", "--upstream", upstream.url, cwd=tmp_path)
    assert outcome.code == 2
    assert "BDTOPO?" in outcome.err


# -- plan and sync


def test_plan_says_what_and_why_and_changes_nothing(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Each action has its reason; afterwards there is not even a root."""
    write_config(tmp_path, upstream.url, 'topo]\nresources = ["BDTOPO"]\nzones = ["D038"]\nformats = ["GPKG"]')
    outcome = run_anew("plan", "--json", cwd=tmp_path)
    assert outcome.code == 0
    document = outcome.json
    assert document["planned"]["add"] == len(document["actions"]) == 1
    action = document["actions"][0]
    assert action["action"] == "add"
    assert action["reason"]
    assert action["sub_resource"] == "BDTOPO_3-5_TOUSTHEMES_GPKG_LAMB93_D038_2026-09-15"
    assert document["planned"]["bytes"] == action["size"]
    assert not (tmp_path / "mirror").exists()
    assert run_anew("sync", "--dry-run", "--json", cwd=tmp_path).json["actions"] == document["actions"]


def test_plan_after_sync_has_nothing_to_do(mirrored: Path) -> None:
    """Applying the plan and planning again leaves only files to keep."""
    document = run_anew("plan", "--json", cwd=mirrored).json
    assert document["actions"] == []
    assert document["planned"]["add"] == document["planned"]["replace"] == 0
    assert document["planned"]["keep"] > 0
    kept = run_anew("plan", "--json", "--all", cwd=mirrored).json["actions"]
    assert len(kept) == document["planned"]["keep"]
    assert {action["action"] for action in kept} == {"keep"}


def test_sync_for_people_goes_to_both_streams(upstream: FakeUpstream, tmp_path: Path) -> None:
    """The result is on stdout, what happened on the way on stderr; -q leaves both empty when all is well."""
    write_config(tmp_path, upstream.url, 'topo]\nresources = ["BDTOPO"]\nzones = ["D038"]\nformats = ["GPKG"]')
    outcome = run_anew("sync", cwd=tmp_path)
    assert outcome.code == 0
    assert outcome.out.startswith("complete: 1 of 1 wanted file here and verified")
    assert "plan: 1 to add" in outcome.err
    quiet = run_anew("-q", "sync", cwd=tmp_path)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_sync_json_is_the_document_of_the_interface(mirrored: Path) -> None:
    """Every member that INTERFACE.md names, and nothing but the document on stdout."""
    document = run_anew("-vv", "sync", "--json", cwd=mirrored).json
    assert document["outcome"] == "complete"
    assert document["exit_code"] == 0
    assert document["requests"] == 1
    assert set(document["listed"]) == {"resources", "sub_resources", "files"}
    assert set(document["planned"]) == {"add", "replace", "keep", "bytes"}
    assert set(document["done"]) == {"add", "replace", "bytes", "resumed_bytes"}
    assert document["failed"] == []
    account = document["account"]
    assert account["expected"] == account["present"] == account["verified"] > 0
    assert isinstance(document["seconds"], float)


def test_an_upstream_that_is_not_there_is_exit_code_5(tmp_path: Path) -> None:
    """Nothing listens: the mirror is untouched and the reason is one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    write_config(tmp_path, f"http://127.0.0.1:{port}/telechargement/capabilities", EVERYTHING)
    outcome = run_anew("sync", "--json", cwd=tmp_path)
    assert outcome.code == 5
    assert outcome.json["outcome"] == "unavailable"
    assert not (tmp_path / "mirror" / "data").exists()
    assert run_anew("plan", cwd=tmp_path).code == 5


def test_a_file_that_cannot_be_had_is_exit_code_1_and_shows_everywhere(tmp_path: Path) -> None:
    """The run is incomplete, `failed` and `status` say which file and why, `query` shows it as parked, without a path."""
    with FakeUpstream(simple_catalogue(1, 3, 1)).in_thread() as fake:
        fake.script("*/download/*D073*", [faults.status(403)], forever=True)
        write_config(tmp_path, fake.url, EVERYTHING)
        outcome = run_anew("sync", "--json", cwd=tmp_path)
        assert outcome.code == 1
        assert outcome.json["outcome"] == "incomplete"
        (failed,) = outcome.json["failed"]
        assert "D073" in failed["file"]
        assert "403" in failed["reason"]
        assert failed["url"].startswith(fake.url.removesuffix("/capabilities"))
        status = run_anew("status", "--json", cwd=tmp_path).json
        assert status["subscriptions"][0]["parked"] == 1
        assert status["subscriptions"][0]["last_success"] is None
        assert "403" in status["parked"][0]["reason"]
        assert "403" in run_anew("status", cwd=tmp_path).out
        (parked,) = run_anew("query", "--state", "parked", "--json", cwd=tmp_path).json
        assert parked["path"] is None
        assert len(run_anew("query", "--paths", cwd=tmp_path).out.splitlines()) == 2
        fake.heal()
        assert run_anew("sync", cwd=tmp_path).code == 0
        assert run_anew("query", "--state", "parked", "--json", cwd=tmp_path).json == []


def test_too_little_space_is_exit_code_4(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A plan that would leave less than `min_free` is refused before anything is fetched."""
    write_config(tmp_path, upstream.url, EVERYTHING, more='[limits]\nmin_free = "900 TB"')
    outcome = run_anew("sync", "--json", cwd=tmp_path)
    assert outcome.code == 4
    assert outcome.json["outcome"] == "refused"
    assert "min_free" in outcome.json["reason"]
    assert not (tmp_path / "mirror" / "data").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_keeps_what_was_fetched(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a download: the partial file stays, the next sync continues it."""
    size = 4_000_000
    with FakeUpstream(simple_catalogue(1, 1, 1, size)).in_thread() as fake:
        fake.script("download", [faults.stall(2_500_000)])
        write_config(tmp_path, fake.url, EVERYTHING)
        process = start("-vv", "sync", "--json", cwd=tmp_path)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("fetching"):
                break
        parts = tmp_path / "mirror" / ".staging" / "parts"
        while sum(path.stat().st_size for path in parts.rglob("*.part")) < 1_000_000:
            assert process.poll() is None
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 130
        assert json.loads(out)["outcome"] == "interrupted"
        resumed = run_anew("sync", "--json", cwd=tmp_path)
        assert resumed.code == 0
        assert resumed.json["done"]["resumed_bytes"] >= 1_000_000
        assert resumed.json["done"]["bytes"] + resumed.json["done"]["resumed_bytes"] == size


def test_an_interrupted_plan_is_a_plan_document(tmp_path: Path) -> None:
    """Ctrl-C while it lists: the document of `plan --json`, with that outcome, and one line on stderr."""
    with FakeUpstream(simple_catalogue(1, 1, 1)).in_thread() as fake:
        fake.script("resource", [faults.stall(10)], forever=True)
        write_config(tmp_path, fake.url, EVERYTHING)
        process = start("-vv", "plan", "--json", cwd=tmp_path)
        assert process.stderr is not None
        asked = False
        for line in process.stderr:
            asked = asked or "/resource/" in line
            if asked and "HTTP 200" in line:  # its head has come, and nothing more will
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        document = json.loads(out)
        assert (process.returncode, document["outcome"], document["exit_code"]) == (130, "interrupted", 130)
        assert document["actions"] == []
        assert err.splitlines() == ["inspire-mirror: interrupted; a plan changes nothing"]


def test_a_root_that_cannot_be_written_is_a_refusal(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Exit code 4, the document of `sync --json`, and the reason in one line on stderr."""
    write_config(tmp_path, upstream.url, EVERYTHING)
    (tmp_path / "mirror").write_text("in the way", "utf-8")
    outcome = run_anew("sync", "--json", cwd=tmp_path)
    assert (outcome.code, outcome.json["outcome"], outcome.json["exit_code"]) == (4, "refused", 4)
    assert outcome.json["planned"]["bytes"] == 0
    assert outcome.err.count("cannot write to the mirror") == 1
    plain = run_anew("sync", cwd=tmp_path)
    assert (plain.code, plain.out) == (4, "")
    assert len(plain.err.splitlines()) == 1


def test_a_second_sync_of_the_same_root_ends_with_3_or_waits(tmp_path: Path) -> None:
    """One lock per root, held for the whole run; readers never need it."""
    with FakeUpstream(simple_catalogue(1, 1, 1, 3_000_000)).in_thread() as fake:
        fake.script("download", [faults.stall(2_000_000)])
        write_config(tmp_path, fake.url, EVERYTHING)
        first = start("-vv", "sync", cwd=tmp_path)
        assert first.stderr is not None
        for line in first.stderr:
            if line.startswith("fetching"):
                break
        second = run_anew("sync", "--json", cwd=tmp_path)
        assert second.code == 3
        assert str(first.pid) in second.json["error"]
        assert run_anew("status", "--json", cwd=tmp_path).json["last_run"]["outcome"] == "running"
        assert run_anew("query", "--json", cwd=tmp_path).code == 0
        waiting = start("sync", "--wait", "--json", cwd=tmp_path)
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == f"waiting for the run of pid {first.pid} to end\n"
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=20)
        out, err = waiting.communicate(timeout=30)
        assert "waiting" not in err
        assert waiting.returncode == 0
        assert json.loads(out)["outcome"] == "complete"
