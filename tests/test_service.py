"""The service: one per mirror, takes syncs over its socket, heeds signals, is stopped and killed without loss, tells systemd."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mirror.service.place import service_folder

from .command import argv as command_line
from .command import environment, run, start, write_config
from .mirrored import offered, tree_of
from .running import WITHIN, Running, running
from .upstream import FakeUpstream, faults, simple_catalogue


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(simple_catalogue()).in_thread() as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path, upstream: FakeUpstream) -> Path:
    write_config(tmp_path, upstream.url, 'all]\nresources = ["*"]\nedition = "all"', more="[serve]\nlisten = '127.0.0.1:0'")
    return tmp_path


def tree(folder: Path) -> dict[str, str]:
    return tree_of(folder / "mirror" / "data" / "gpf")


@contextmanager
def held_downloads(upstream: FakeUpstream) -> Iterator[Callable[[], None]]:
    """From now on a download comes so far, and then nothing more of it until this is called: then all goes well."""
    release = threading.Event()
    upstream.script("download", [faults.hold(release, 100)], forever=True)

    def go() -> None:
        upstream.heal()
        release.set()

    try:
        yield go
    finally:
        go()


def wait_downloads(service: Running, upstream: FakeUpstream) -> None:
    service.wait_until(lambda: upstream.count("download"), "a download")


# -- handing over


def test_a_sync_is_done_by_the_running_service_and_ends_as_if_it_were_its_own(folder: Path, upstream: FakeUpstream) -> None:
    with running(folder) as service:
        done = run("sync", "--json", cwd=folder)
        assert (done.code, done.json["outcome"]) == (0, "complete")
        assert done.json["account"]["present"] == len(offered(upstream.catalogue)) == done.json["done"]["add"]
        assert "plan:" in done.err
        service.wait_log("syncing all, as a command asked")
        again = run("sync", cwd=folder)
        assert (again.code, again.out.split(":")[0]) == (0, "complete")
    assert tree(folder) == offered(upstream.catalogue)


def test_an_incomplete_sync_has_the_same_report_and_exit_code(folder: Path, upstream: FakeUpstream) -> None:
    upstream.script("download", [faults.status(404)] * 40, forever=True)
    with running(folder):
        by_service = run("sync", "--json", cwd=folder)
    assert by_service.code == by_service.json["exit_code"] == 1
    assert by_service.json["failed"][0]["reason"]
    assert "parked" in by_service.err


def test_an_upstream_that_is_away_is_exit_code_5(folder: Path, upstream: FakeUpstream) -> None:
    upstream.script("capabilities", [faults.status(503)], forever=True)
    with running(folder):
        assert run("sync", cwd=folder).code == 5


def test_without_a_service_the_command_does_it(folder: Path, upstream: FakeUpstream) -> None:
    with running(folder) as service:
        assert service.end(signal.SIGKILL) == -9
        assert run("sync", cwd=folder).code == 0  # its socket is still there, and nobody behind it
    assert tree(folder) == offered(upstream.catalogue)


def test_what_the_service_does_not_know_is_bad_usage(folder: Path) -> None:
    with running(folder):
        write_config(folder, "http://127.0.0.1:9/capabilities", 'new]\nresources = ["*"]')
        refused = run("sync", "new", cwd=folder)
    assert refused.code == 2
    assert "has no subscription 'new', but: all; has it been reloaded" in refused.err
    assert len(refused.err.splitlines()) == 1


def test_a_busy_service_is_exit_code_3_or_is_waited_for(folder: Path, upstream: FakeUpstream) -> None:
    with held_downloads(upstream) as go, running(folder) as service, service.sync() as first:
        wait_downloads(service, upstream)
        busy = run("sync", cwd=folder)
        assert busy.code == 3
        assert "the service is syncing all; wait for it with --wait" in busy.err
        with service.sync("--wait") as second:
            assert second.stderr is not None
            assert "waiting for the service, which is syncing all" in second.stderr.readline()
            go()
            first.send_signal(signal.SIGKILL)  # who has handed it over may go away
            assert second.wait(WITHIN) == 0
    assert tree(folder) == offered(upstream.catalogue)


def test_a_sync_of_another_process_makes_the_handed_one_wait_or_fail(folder: Path, upstream: FakeUpstream) -> None:
    with held_downloads(upstream) as go, start("sync", cwd=folder) as outside:
        until = time.monotonic() + WITHIN
        while not upstream.count("download"):  # else it might find the service, and hand itself over
            assert time.monotonic() < until
            time.sleep(0.02)
        with running(folder):
            busy = run("sync", cwd=folder)
            assert busy.code == 3
            assert f"another run (pid {outside.pid})" in busy.err
            go()
            assert outside.wait(WITHIN) == 0
            assert run("sync", cwd=folder).code == 0


def test_ctrl_c_away_from_a_terminal_leaves_the_sync_running(folder: Path, upstream: FakeUpstream) -> None:
    with held_downloads(upstream) as go, running(folder) as service, service.sync() as client:
        wait_downloads(service, upstream)
        client.send_signal(signal.SIGINT)
        _, said = client.communicate(timeout=WITHIN)
        assert client.returncode == 130
        assert "left running in the service" in said
        go()
        service.wait_log("complete after")
    assert tree(folder) == offered(upstream.catalogue)


@pytest.mark.parametrize(("answer", "code", "ending"), [("y\n", 130, "complete after"), ("n\n", 130, "interrupted after")])
def test_ctrl_c_on_a_terminal_asks(folder: Path, upstream: FakeUpstream, answer: str, code: int, ending: str) -> None:
    with held_downloads(upstream) as go, running(folder) as service:
        master, slave = pty.openpty()
        client = subprocess.Popen(
            command_line("sync"), cwd=folder, env=environment(TERM="xterm"), stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        wait_downloads(service, upstream)
        client.send_signal(signal.SIGINT)
        shown = ""
        while "Leave the sync running" not in shown:
            shown += os.read(master, 4096).decode(errors="replace")
        os.write(master, answer.encode())
        if answer == "y\n":
            go()
        service.wait_log(ending)
        assert client.wait(WITHIN) == code
        os.close(master)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_handed_over_goes_on_with_the_next_start(folder: Path, upstream: FakeUpstream, end: signal.Signals) -> None:
    """As the command says that it does; what was taken back is forgotten."""
    with held_downloads(upstream), running(folder) as service, service.sync("--json") as client:
        wait_downloads(service, upstream)
        service.end(end)
        out, _ = client.communicate(timeout=WITHIN)
        assert client.returncode == 130
        assert json.loads(out)["outcome"] == "interrupted"
    with running(folder) as service:
        service.wait_log("goes on with the sync of all that a command asked for")
        service.wait_log("complete after")
    assert tree(folder) == offered(upstream.catalogue)
    with running(folder) as service:
        assert service.end() == 0
        assert not any("goes on with the sync" in line for line in service.log)


# -- commands of subscriptions


def with_command(folder: Path, script: str, *more: str) -> Path:
    """Give the subscription `all` a command that is run after each publication."""
    program = folder / "load"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    config = folder / "inspire-mirror.toml"
    lines = "\n".join((f'on_publish = ["{program}", "{{path}}"]', *more))
    config.write_text(config.read_text().replace("[subscription.all]", f"[subscription.all]\n{lines}"))
    return folder / "mirror"


def test_commands_are_run_by_the_service_and_waited_for_by_whoever_asked(folder: Path) -> None:
    with_command(folder, 'echo "$1" >> "$(dirname "$0")/loaded"')
    with running(folder):
        assert run("sync", cwd=folder).code == 0
        loaded = (folder / "loaded").read_text().splitlines()
        assert sorted(loaded) == sorted(set(loaded))
        assert loaded
        assert all(Path(path).is_dir() for path in loaded)


def test_a_command_that_fails_makes_the_sync_fall_short(folder: Path) -> None:
    with_command(folder, "echo the database is away >&2; exit 7")
    with running(folder):
        done = run("sync", "--json", cwd=folder)
    assert (done.code, done.json["outcome"]) == (1, "incomplete")
    assert done.json["account"]["present"] == done.json["account"]["expected"]
    assert "the database is away" in done.err


def test_a_command_that_takes_long_holds_up_no_sync_and_ends_with_the_service(folder: Path) -> None:
    """It is left to the next start, in which it runs again."""
    with_command(folder, 'echo $$ > "$(dirname "$0")/began"; exec sleep 1000', 'schedule = "daily 03:15"')
    with running(folder) as service:
        service.wait_log("complete after")
        service.wait_until(lambda: (folder / "began").exists() and (folder / "began").read_text(), "the command")
        pid = int((folder / "began").read_text())
        (hook,) = run("status", "--json", cwd=folder).json["live"]["hooks"]
        assert (hook["subscription"], hook["hook"], hook["seconds"] >= 0) == ("all", "on_publish", True)
        assert f"running on_publish of all for {hook['resource']}/{hook['sub_resource']} for " in run("status", cwd=folder).out
        with service.sync():
            service.wait_log("complete after", after=len(service.log))
        assert service.end() == 0
    assert not Path(f"/proc/{pid}").exists()
    (folder / "load").write_text('#!/bin/sh\necho "$1" >> "$(dirname "$0")/loaded"\n')
    with running(folder) as service:
        service.wait_until(lambda: (folder / "loaded").exists(), "the command, once more")


# -- stop, kill, restart


def test_it_ends_by_sigterm_with_partial_files_safe_and_goes_on_from_there(folder: Path, upstream: FakeUpstream) -> None:
    """Exit code 0, told to systemd; the next start resumes what was under way without being asked."""
    config = folder / "inspire-mirror.toml"
    config.write_text(config.read_text().replace("[subscription.all]", '[subscription.all]\nschedule = "daily 03:15"'))
    with held_downloads(upstream), running(folder) as service:
        wait_downloads(service, upstream)  # what never ran is due at once
        assert service.end() == 0
        assert list(folder.glob("mirror/.staging/parts/**/*.part"))
        service.wait_until(lambda: any("STOPPING" in told for told in service.told), "STOPPING")
        assert any("interrupted after" in line for line in service.log)
    upstream.heal()
    upstream.clear()
    with running(folder) as service:
        service.wait_log("complete after")
        assert any(record.headers.get("Range") for record in upstream.matching("download"))
        assert service.end() == 0
    assert tree(folder) == offered(upstream.catalogue)
    upstream.clear()
    with running(folder) as service:
        assert service.end() == 0
        assert upstream.requests == []  # it is done for today


def test_what_a_kill_broke_off_goes_on_with_the_next_start(folder: Path, upstream: FakeUpstream) -> None:
    config = folder / "inspire-mirror.toml"
    config.write_text(config.read_text().replace("[subscription.all]", '[subscription.all]\nschedule = "daily 03:15"'))
    with held_downloads(upstream), running(folder) as service:
        wait_downloads(service, upstream)
        assert service.end(signal.SIGKILL) == -9
    upstream.heal()
    with running(folder) as service:
        service.wait_log("complete after")
    assert tree(folder) == offered(upstream.catalogue)


def test_ctrl_c_is_an_interrupt(folder: Path) -> None:
    with running(folder, "-q") as service:
        assert service.end(signal.SIGINT) == 130


def test_there_is_one_service_per_mirror(folder: Path) -> None:
    with running(folder) as service:
        second = run("run", cwd=folder)
        assert second.code == 3
        assert f"runs already (pid {service.process.pid})" in second.err
        assert run("sync", cwd=folder).code == 0  # and its socket is still that of the first


# -- reload


def test_reload_takes_a_config_that_can_be_used(folder: Path, upstream: FakeUpstream) -> None:
    with running(folder) as service:
        write_config(
            folder, upstream.url, 'one]\nresources = ["*"]', 'two]\nresources = ["*"]', more="[serve]\nlisten = '127.0.0.1:0'"
        )
        service.send(signal.SIGHUP)
        service.wait_log("read again: 2 subscriptions")
        service.wait_until(lambda: sum("READY" in told for told in service.told) == 2, "READY after RELOADING")
        assert any("RELOADING" in told and int(told["MONOTONIC_USEC"]) > 0 for told in service.told)
        assert run("sync", "two", cwd=folder).code == 0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("root = 5", "root: must be text"),
        ('root = "elsewhere"', "root: cannot change"),
        ('root = "mirror"\n[service]\nsocket = "x.sock"', "socket: cannot change"),
        ("]", "inspire-mirror.toml:1"),
        ('root = "mirror"\n[service]\njitter = "99999d"', "jitter: must be"),
    ],
)
def test_reload_keeps_the_old_config_where_the_new_one_cannot_be_used(folder: Path, bad: str, words: str) -> None:
    with running(folder) as service:
        good = (folder / "inspire-mirror.toml").read_text()
        (folder / "inspire-mirror.toml").write_text(bad)
        service.send(signal.SIGHUP)
        service.wait_log(words)
        service.wait_log("the config was not taken; the old one stays in effect")
        (folder / "inspire-mirror.toml").write_text(good)
        assert run("sync", cwd=folder).code == 0


# -- the socket


def test_the_socket_is_for_owner_and_group_only(folder: Path) -> None:
    with running(folder):
        place = service_folder(folder / "mirror") / "control.sock"
        assert stat.S_IMODE(place.stat().st_mode) == 0o660


def test_the_socket_is_where_systemd_or_the_config_wants_it_and_gone_at_the_end(folder: Path, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    with running(folder, RUNTIME_DIRECTORY=str(runtime)) as service:
        assert (runtime / "control.sock").is_socket()
        assert run("sync", cwd=folder, RUNTIME_DIRECTORY=str(runtime)).code == 0
        service.wait_log("as a command asked")
        assert service.end() == 0
    assert not (runtime / "control.sock").exists()
    deep = folder / ("d" * 100) / ("e" * 100) / "own.sock"  # longer than an address may be
    config = folder / "inspire-mirror.toml"
    config.write_text(config.read_text() + f'\n[service]\nsocket = "{deep}"\n')
    with running(folder) as service:
        assert deep.is_socket()
        assert run("sync", cwd=folder).code == 0
        service.wait_log("as a command asked")


def test_the_socket_of_another_service_is_not_taken(folder: Path, tmp_path: Path, upstream: FakeUpstream) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_config(other, upstream.url, 'all]\nresources = ["*"]')
    runtime = str(tmp_path)
    with running(folder, RUNTIME_DIRECTORY=runtime) as service:
        refused = run("run", cwd=other, RUNTIME_DIRECTORY=runtime)
        assert refused.code == 2
        assert "another service answers there" in refused.err
        assert run("sync", cwd=folder, RUNTIME_DIRECTORY=runtime).code == 0
        service.wait_log("as a command asked")


def test_who_never_reads_keeps_no_place_from_others(folder: Path) -> None:
    """As many as there are places, each with an answer that does not fit into what the system keeps for it."""
    with running(folder), ExitStack() as stack:
        os.chdir(service_folder(folder / "mirror"))
        for _ in range(64):
            channel = stack.enter_context(socket.socket(socket.AF_UNIX))
            channel.connect("control.sock")
            channel.sendall(b'{"op": "sync", "names": ["' + b"x" * 200_000 + b'"]}\n')
        assert run("sync", cwd=folder).code == 0


def test_the_service_of_another_mirror_is_left_alone(folder: Path, tmp_path: Path, upstream: FakeUpstream) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_config(other, upstream.url, 'all]\nresources = ["*"]')
    runtime = str(tmp_path)
    with running(folder, RUNTIME_DIRECTORY=runtime) as service:
        assert run("sync", cwd=other, RUNTIME_DIRECTORY=runtime).code == 0
        assert not any("as a command asked" in line for line in service.log)


@pytest.mark.parametrize(
    "said", [b"", b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"op": "sync", "names": 5}\n', b"x" * 400_000, b'{"op": "hello"']
)
def test_nonsense_on_the_socket_harms_nobody(folder: Path, said: bytes) -> None:
    with running(folder) as service:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(WITHIN)
            os.chdir(service_folder(folder / "mirror"))  # an address has little room
            channel.connect("control.sock")
            try:
                channel.sendall(said)
                channel.shutdown(socket.SHUT_WR)
                while channel.recv(4096):
                    pass
            except ConnectionError:
                pass
        assert run("sync", cwd=folder).code == 0
        assert service.end() == 0


def test_a_socket_that_cannot_be_made_is_one_clear_line(folder: Path) -> None:
    config = folder / "inspire-mirror.toml"
    (folder / "taken").write_text("a file of somebody's")
    config.write_text(config.read_text() + '\n[service]\nsocket = "taken"\n')
    done = run("-q", "run", cwd=folder)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "[service] socket: cannot listen at" in done.err
    assert (folder / "taken").read_text() == "a file of somebody's"


# -- what it tells systemd


def test_the_watchdog_is_fed_while_all_is_well(folder: Path) -> None:
    with running(folder, WATCHDOG_USEC="600000") as service:
        service.wait_until(lambda: sum("WATCHDOG" in told for told in service.told) > 3, "signs of life")
        assert service.told[-1]["STATUS"] == "idle; no subscription has a schedule"


def test_the_watchdog_is_not_fed_by_a_run_that_hangs(folder: Path, upstream: FakeUpstream) -> None:
    """The event loop turns and answers; but nothing comes, and nothing is at work."""
    config = folder / "inspire-mirror.toml"
    config.write_text(config.read_text() + '\n[service]\nstalled_after = "2s"\n')
    with held_downloads(upstream), running(folder, WATCHDOG_USEC="3000000") as service, service.sync():
        service.wait_log("no sign of progress")
        count = len(service.told)
        service.wait_until(lambda: len(service.told) > count + 3, "further words")
        assert not any("WATCHDOG" in told for told in service.told[count + 1 :])
        assert service.told[-1]["STATUS"] == "syncing all"


def test_status_json_of_the_service_is_asked_over_the_socket(folder: Path) -> None:
    from mirror.service.handover import ask

    with running(folder) as service:
        live = ask(service_folder(folder / "mirror") / "control.sock", "status")
    assert (live["pid"], live["current"], live["queue"]) == (service.process.pid, None, [])
    json.dumps(live)
