"""What is known of a partial file, beside it on disk. It never claims bytes that are not there.

The order on disk is: data flushed, then the sidecar written elsewhere, flushed and renamed. After a power cut the sidecar may say
less than the file holds, never more.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mirror.model import RemoteFile
from mirror.steps import step
from mirror.upstream.answer import can_be_sent

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Sidecar:
    """`offset` bytes of the file that the other fields describe are on the disk. `validator` is an ETag or a Last-Modified."""

    url: str
    size: int | None
    md5: str | None
    validator: str | None
    offset: int

    def continues(self, file: RemoteFile) -> bool:
        """Whether those bytes are of the file that is wanted now.

        Hosts move, so the MD5 identifies a file where there is one. Without it only the same address with a validator, which the
        server will be asked to confirm, will do.
        """
        if file.md5 is not None or self.md5 is not None:
            return (file.md5, file.size) == (self.md5, self.size)
        return self.validator is not None and (file.url, file.size) == (self.url, self.size)


def sidecar_path(part: Path) -> Path:
    """Where the sidecar of a partial file is."""
    return part.with_name(part.name + ".json")


def load_sidecar(part: Path) -> Sidecar | None:
    """The sidecar of a partial file; None where there is none that can be believed."""
    try:
        with open(sidecar_path(part), "rb") as stream:
            found = json.loads(stream.read(65536))
        version = found.pop("version")
        sidecar = Sidecar(**found)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    sound = (
        version == _VERSION
        and isinstance(sidecar.url, str)
        and (sidecar.md5 is None or isinstance(sidecar.md5, str))
        and (sidecar.validator is None or (isinstance(sidecar.validator, str) and can_be_sent(sidecar.validator)))
        and (sidecar.size is None or _is_size(sidecar.size))
        and _is_size(sidecar.offset)
    )
    return sidecar if sound else None


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def save_sidecar(part: Path, sidecar: Sidecar) -> None:
    """Write the sidecar; the bytes that it claims must have been flushed before."""
    path = sidecar_path(part)
    fresh = path.with_name(path.name + "~")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        text = json.dumps({"version": _VERSION, **asdict(sidecar)}).encode()
        if os.write(fd, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(fresh))
        os.fsync(fd)
    finally:
        os.close(fd)
    step("sidecar: written")
    os.rename(fresh, path)
    step("sidecar: saved")


def drop_sidecar(part: Path) -> None:
    """The partial file is complete or given up."""
    sidecar_path(part).unlink(missing_ok=True)
