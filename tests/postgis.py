"""A PostgreSQL with PostGIS of its own for a test: in a folder of its own, on a Unix socket, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_INSTALLED = Path("/usr/lib/postgresql")
_EXTENSIONS = Path("/usr/share/postgresql")


def _newest() -> Path | None:
    found = sorted(_INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def what_is_missing() -> list[str]:
    """The Debian packages that are not here, as far as programs tell."""
    bin_folder = _newest()
    missing = [] if bin_folder else ["postgresql"]
    if bin_folder and not (_EXTENSIONS / bin_folder.parts[-2] / "extension" / "postgis.control").exists():
        missing.append(f"postgresql-{bin_folder.parts[-2]}-postgis-3")
    return missing + [package for program, package in (("ogr2ogr", "gdal-bin"), ("7zz", "7zip")) if not shutil.which(program)]


class Cluster:
    """Started as a context manager; `connection` is for psql and libpq. PostgreSQL does not run as root: then as `postgres`."""

    def __enter__(self) -> Cluster:
        bin_folder = _newest()
        assert bin_folder is not None
        self._bin = bin_folder
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        self._folder.chmod(0o755)
        self._as_owner("initdb", "-D", f"{self._folder}/data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-N")
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off -c shared_buffers=16MB"
        self._as_owner("pg_ctl", "-D", f"{self._folder}/data", "-l", f"{self._folder}/log", "-w", "-o", options, "start")
        self.connection = f"host={self._folder} user=postgres dbname=postgres"
        self.sql("CREATE EXTENSION postgis")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._as_owner("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)

    def _as_owner(self, program: str, *arguments: str) -> None:
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        with (self._folder.parent / f"{self._folder.name}.out").open("w+") as output:
            Path(output.name).unlink()
            command = [*user, str(self._bin / program), *arguments]
            code = subprocess.run(command, cwd="/", stdout=output, stderr=output, check=False).returncode
            output.seek(0)
            assert code == 0, output.read()

    def sql(self, statements: str) -> list[str]:
        """The lines that statements answer; columns are separated by `|`."""
        command: Sequence[str] = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.connection, "-c", statements]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
