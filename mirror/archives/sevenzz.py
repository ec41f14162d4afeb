"""Debian's `7zz` (or `7z`, `7za`) as a decoder of 7z and zip: it reads the volumes and writes one stream of bytes, no file.

It gets an archive as an open file, and volumes as links of our own naming in a folder of their own, so that neither a name nor a
neighbour can mean anything to it; it has no terminal to ask for a password at, and an empty environment.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import IO, Final, cast

from mirror.archives.limits import die_with
from mirror.archives.source import CHUNK, Told
from mirror.errors import ArchiveError, ArchiveRefused

_COMMANDS: Final = ("7zz", "7z", "7za")
_THREADS: Final = 2  # each takes some 130 MiB, and only archives of many blocks have work for them
_NO_MEMORY: Final = 8  # its exit status
_UNSUPPORTED: Final = "Unsupported Method"
_REASONS: Final = (
    _UNSUPPORTED,
    "Unexpected end of data",
    "Unexpected end of archive",
    "CRC Failed",
    "Data Error",
    "Headers Error",
)


def find_7zz() -> str | None:
    """The path of the command; None where it is not installed."""
    return next(filter(None, map(shutil.which, _COMMANDS)), None)


class SevenZz:
    """One run of the command over a whole archive."""

    def __init__(self, command: str, paths: list[str], kind: str, told: Told) -> None:
        self._command = command
        self._paths = paths
        self._kind = kind
        self._told = told

    def __enter__(self) -> SevenZz:
        """Start it."""
        self._said = os.memfd_create("7zz")
        self._links: str | None = None
        volume = os.open(self._paths[0], os.O_RDONLY | os.O_CLOEXEC)
        try:
            kind, first = f"-t{self._kind}", f"/dev/fd/{volume}"
            if len(self._paths) > 1:
                self._links = tempfile.mkdtemp(prefix="inspire-mirror-volumes-")
                for number, path in enumerate(self._paths, 1):
                    os.symlink(path, os.path.join(self._links, f"archive.{number:03d}"))
                kind, first = f"-t{self._kind}.split", os.path.join(self._links, "archive.001")
            switches = ["-so", "-bd", "-bsp0", "-y", "-p", f"-mmt={min(_THREADS, os.cpu_count() or 1)}", kind]
            parent = os.getpid()
            self._process = subprocess.Popen(  # noqa: S603 - a path from PATH, our own switches, our own name
                [self._command, "x", *switches, "--", first],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
                bufsize=0,
                env={"LC_ALL": "C.UTF-8"},
                pass_fds=[volume],
                preexec_fn=lambda: die_with(parent),  # this process has one thread
            )
            self._bytes = cast(IO[bytes], self._process.stdout)
            fcntl.fcntl(self._bytes, fcntl.F_SETPIPE_SZ, CHUNK)
        except BaseException:
            self._unlink()
            os.close(self._said)
            raise
        finally:
            os.close(volume)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """End it, if it has not."""
        self._unlink()
        self._process.kill()
        self._process.wait()
        self._bytes.close()
        os.close(self._said)

    def read(self, size: int) -> bytes:
        """What comes next."""
        data = self._bytes.read(min(size, CHUNK))
        if data:
            self._unlink()  # it has opened all volumes before the first byte
        else:
            self._complain()
        self._told(len(data))
        return data

    def end(self) -> None:
        """Compare how it ended: with nothing more to say, or with an error that no checksum has shown."""
        if self._bytes.read(1):
            raise ArchiveError("it holds more than its list of members says")
        self._complain()

    def _complain(self) -> None:
        status = self._process.wait()
        if status == 0:
            return
        said = os.pread(self._said, 1 << 16, 0).decode(errors="replace")
        if status == _NO_MEMORY or "allocate" in said:
            raise MemoryError
        lines = [line.removeprefix("ERROR: ") for line in said.splitlines()]
        reason = next((reason for reason in _REASONS if any(line.startswith(reason) for line in lines)), f"exit status {status}")
        if reason == _UNSUPPORTED:
            raise ArchiveRefused("it is packed in a way that the installed 7-Zip does not know")
        if status < 0:
            with suppress(ValueError):
                reason = f"it was ended by {signal.Signals(-status).name}"
        raise ArchiveError(f"7-Zip cannot unpack it: {reason}")

    def _unlink(self) -> None:
        if self._links is not None:
            shutil.rmtree(self._links, ignore_errors=True)
            self._links = None
