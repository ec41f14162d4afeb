"""The log: lines for people, key=value for journald, JSON; whatever is in a name, a line is one line and a field is one field."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import string
import subprocess
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror import events
from mirror.cli.logs import facts_of, journal_line, json_line, level_of, name_of
from mirror.events import Event, Failed, FileKey, Listed, Note, Published, RunEnded, TransferStarted, Walled

from .command import argv, environment, run, write_config
from .upstream import FakeUpstream, faults, simple_catalogue

KEY = FileKey("gpf", "BDTOPO", "BDTOPO_3-5", "a.7z")
FIELD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)')


def pairs_of(line: str) -> list[tuple[str, str]]:
    """What a reader of key=value lines sees; fails where the line is not made of such fields alone."""
    rest = re.sub(r"^<[3-7]>", "", line)
    assert FIELD.sub("", rest).strip(" ") == "", rest
    return [(name, value) for name, value in FIELD.findall(rest)]


def text_of(value: str) -> str:
    """A value as it was before it was quoted."""
    if not value.startswith('"'):
        return value

    def unescape(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code[1:], 16)) if code[0] in "uU" else code

    return re.sub(r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|.)", unescape, value[1:-1])


def sync_with(style: str, tmp_path: Path, *options: str, **env: str) -> list[str]:
    """The lines that a sync with one refused file writes to stderr."""
    with FakeUpstream(simple_catalogue(1, 1, 2)).in_thread() as fake:
        fake.script("*/download/*-2.bin", [faults.status(403)], forever=True)
        write_config(tmp_path, fake.url, 'x]\nresources = ["*"]\npublish = "each"')
        done = run("--log", style, *options, "sync", cwd=tmp_path, **env)
    assert done.code == 1
    return done.err.splitlines()


def test_under_journald_lines_are_fields_with_priorities(tmp_path: Path) -> None:
    lines = sync_with("journal", tmp_path)
    assert all(re.match(r"<[3-6]>msg=", line) for line in lines)
    found = [dict(pairs_of(line)) for line in lines]
    (failed,) = [pairs for pairs in found if pairs["event"] == "failed"]
    assert failed["upstream"] == "gpf"
    assert failed["resource"] == "BDALPHA"
    assert failed["attempts"] == "1"
    assert any(line.startswith("<3>") and "event=failed" in line for line in lines)
    assert lines[-1].startswith('<3>msg="1 of 2 wanted files are not here')


def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    found = [json.loads(line) for line in sync_with("json", tmp_path, "-vv")]
    for entry in found:
        assert datetime.fromisoformat(entry["time"]).tzinfo is not None
        assert entry["level"] in ("error", "warning", "notice", "info", "debug")
        assert entry["msg"]
    assert {entry["event"] for entry in found} >= {"requested", "answered", "listed", "planned", "published", "failed", "message"}
    (published,) = [entry for entry in found if entry["event"] == "published"]
    assert (published["size"], published["action"], published["level"]) == (1000, "add", "info")


def test_lines_are_for_people(tmp_path: Path) -> None:
    lines = sync_with("lines", tmp_path)
    assert any(line.startswith("parked BDALPHA/") for line in lines)
    assert lines[-1].startswith("inspire-mirror: 1 of 2 wanted files")
    assert not any("event=" in line for line in lines)


@pytest.mark.parametrize("style", ["lines", "journal", "json"])
def test_quiet_leaves_what_went_wrong(style: str, tmp_path: Path) -> None:
    lines = sync_with(style, tmp_path, "-q")
    assert len(lines) == 2
    assert "BDALPHA" in lines[0]


def test_auto_knows_the_journal_by_its_stream_and_not_by_the_variable(tmp_path: Path) -> None:
    """The variable is inherited by everything that a service starts; only the stream tells where stderr goes."""
    (tmp_path / "inspire-mirror.toml").write_text("root = 3\n", "utf-8")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stats = os.fstat(theirs.fileno())
        for stream, journal in ((f"{stats.st_dev}:{stats.st_ino}", True), (f"{stats.st_dev}:{stats.st_ino + 1}", False)):
            env = environment(JOURNAL_STREAM=stream)
            subprocess.run(argv("sync"), cwd=tmp_path, env=env, stderr=theirs.fileno(), timeout=60, check=False)
            told = ours.recv(65536).decode()
            assert told.startswith("<3>msg=") == journal
            assert "root" in told


def test_the_key_is_in_no_log(tmp_path: Path) -> None:
    """In none of the styles, at the highest verbosity, with answers that repeat it."""
    for style in ("lines", "journal", "json"):
        folder = tmp_path / style
        folder.mkdir()
        with FakeUpstream(simple_catalogue(1, 1, 2)).in_thread() as fake:
            fake.script("download", [faults.redirect("http://other.example/?apikey=s3cretkey"), faults.status(500)])
            write_config(folder, fake.url, 'x]\nresources = ["*"]')
            done = run("--log", style, "-vv", "sync", cwd=folder, INSPIRE_MIRROR_UPSTREAM__GPF__API_KEY="s3cretkey")
        assert "GET http" in done.err
        assert "s3cretkey" not in done.err + done.out


# -- rules over all events


def every_event() -> list[type[Event]]:
    return [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event]


@pytest.mark.parametrize("kind", every_event())
def test_no_field_of_an_event_hides_one_of_the_log(kind: type[Event]) -> None:
    """Each field has a name of its own, that a reader of key=value lines can read."""
    reserved = {"msg", "event", "time"}
    for place in fields(kind):
        assert place.name not in reserved
        assert re.fullmatch("[a-z_]+", place.name)
    assert kind is Note or "level" not in _names(kind)
    assert re.fullmatch("[a-z-]+", name_of(kind.__new__(kind)))


def _names(kind: type[Event]) -> list[str]:
    return ["kind" if (kind is Listed and place.name == "level") else place.name for place in fields(kind)]


def test_fields_are_flat_and_what_is_not_known_is_left_out() -> None:
    assert facts_of(TransferStarted(KEY, None, 5)) == {
        "upstream": "gpf",
        "resource": "BDTOPO",
        "sub_resource": "BDTOPO_3-5",
        "file": "a.7z",
        "offset": 5,
    }
    assert facts_of(Listed("gpf", "files", "x", 3)) == {"upstream": "gpf", "kind": "files", "what": "x", "entries": 3}
    assert facts_of(Note("text", "warning")) == {}


def test_how_grave_events_are() -> None:
    assert level_of(Failed(KEY, "u", "r", 1)) == "error"
    assert level_of(Walled("gpf", 429, 5, 1)) == "warning"
    assert level_of(Published(KEY, 1, "add")) == "info"
    assert [level_of(RunEnded((), how, "", 1)) for how in ("complete", "incomplete", "refused", "failed", "interrupted")] == [
        "info",
        "warning",
        "error",
        "error",
        "notice",
    ]


TEXT = st.text(st.characters() | st.sampled_from('"\\\n\r\x1b\x00\u2028\u2029\x85= <>'))


@given(TEXT, TEXT)
def test_nothing_in_a_name_forges_a_field_or_a_line(reason: str, name: str) -> None:
    """Whatever comes from outside, lone surrogates and line separators too, comes out as the value that it is."""
    event = Failed(FileKey("gpf", "R", "S", name), "u", reason, 2)
    line = journal_line("error", reason, name_of(event), facts_of(event))
    assert len((line + "\n").splitlines()) == 1
    assert line.isprintable()
    pairs = pairs_of(line)
    assert [key for key, _ in pairs] == [
        "msg",
        "event",
        *(key for key in ("upstream", "resource", "sub_resource", "file", "url", "reason", "attempts") if key in facts_of(event)),
    ]
    assert text_of(dict(pairs)["msg"]) == reason
    assert text_of(dict(pairs).get("file", "")) == name
    line.encode("utf-8")
    written = json_line("error", reason, "failed", facts_of(event), datetime(2026, 1, 1, tzinfo=UTC))
    assert len(written.splitlines()) == 1
    assert json.loads(written)["msg"] == reason


@given(st.text(string.ascii_letters + ' "$`', min_size=1))
def test_values_are_quoted_where_they_must_be(value: str) -> None:
    """As a shell splits it, a field is one word."""
    line = journal_line("info", value, "note", {})
    assert shlex.split(line.removeprefix("<6>"))[0] == f"msg={value}"
