"""Commands in processes of their own, forked from one that has everything imported: most of what a short command costs is imports.

As a program it takes orders from the socket whose number it is given. With each come three open files: what the command writes to
for output and errors, and where its process id is written when it begins, and its exit code when it has ended.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

import mirror

_PROJECT = Path(mirror.__file__).parent.parent
_LARGEST = 1 << 17
"""Bytes of an order, which has the arguments and the environment in it."""


class Starter:
    """Starts commands that have the user, the mounts and the open files of this process, and an environment of their own."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.prepared", str(theirs.fileno())],
                cwd=_PROJECT,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self._close)

    def _close(self) -> None:
        self._channel.close()
        self._process.wait()

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises TimeoutExpired when it takes longer than so many seconds; it is killed then."""
        order = json.dumps({"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}).encode()
        read, write = os.pipe()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(read, encoding="ascii") as told:
            socket.send_fds(self._channel, [order], [out.fileno(), err.fileno(), write])
            os.close(write)
            process = int(told.readline())
            if not select.select([told], [], [], timeout)[0]:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                told.read()
                raise subprocess.TimeoutExpired(["inspire-mirror", *arguments], timeout)
            code = int(told.read())
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())


@cache
def starter(user: int) -> Starter:
    """The one of this process, for this user id."""
    from .command import environment

    return Starter(environment())


def main() -> None:
    """Fork a process for every order that comes, and in that another, which is the command; until nobody gives any."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    for module in pkgutil.walk_packages(mirror.__path__, "mirror."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # what no collection of a command looks at need not be copied for it
    while True:
        order, files, _, _ = socket.recv_fds(channel, _LARGEST, 3)
        if not order:
            os._exit(0)
        if not os.fork():
            break
        for file in files:
            os.close(file)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    channel.close()
    out, err, told = files
    command = os.fork()
    if command:
        os.write(told, f"{command}\n".encode())
        _, status = os.waitpid(command, 0)
        os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for file in files:
        os.close(file)
    _become(json.loads(order))


def _become(order: Mapping[str, object]) -> None:
    """All that a process is given when it starts."""
    arguments, environment = order["arguments"], order["environment"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments


def _finish(code: object) -> NoReturn:
    """What an interpreter does at its end, but for taking apart, piece by piece, all that was imported."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
    # From here on this is the command.
    from mirror.cli import main as command

    try:
        command()
    except SystemExit as ended:
        _finish(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        _finish(1)
