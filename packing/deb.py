"""`make deb`: from a tree that `make install DESTDIR=... PREFIX=/usr` has made to a Debian package, with dpkg-deb alone.

Debhelper would want sources of everything; what this package ships is wheels in a virtual environment, which is bound to the minor
version of Debian's Python that it was made with: the package depends on just that one.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "debian"
HOME = "/usr/lib/inspire-mirror"
MAINTAINER = f"{os.environ.get('DEBFULLNAME', 'inspire-mirror')} <{os.environ.get('DEBEMAIL', 'root@localhost.localdomain')}>"
"""Whoever makes the package, as Debian's tools ask for it."""
_CONTROL = """\
Package: inspire-mirror
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: python3 (>= {python}), python3 (<< {next}~), libc6 (>= 2.28), libgcc-s1, libstdc++6, zlib1g, systemd | systemd-sysusers
Recommends: ca-certificates, 7zip
Section: net
Priority: optional
Description: mirror of INSPIRE Atom download services
 Mirrors the geodata of INSPIRE Atom download services, first the French
 Géoplateforme, verifies every byte, keeps the mirror in step with its
 upstream, and knows what is in it.
"""
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2026 the authors of inspire-mirror
License: EUPL-1.2
 European Union Public Licence 1.2, https://joinup.ec.europa.eu/collection/eupl
Comment: /usr/lib/inspire-mirror also holds the Python packages that it
 needs, each with its own license beside it in *.dist-info. The pages use
 Leaflet, copyright 2010-2023 Volodymyr Agafonkin and 2010-2011 CloudMade,
 under the BSD-2-Clause license, which lies beside it in
 mirror/serving/pages/static; coasts and borders are those of Natural
 Earth, which is in the public domain.
"""


def package(tree: Path, out: Path) -> Path:
    """Make the package of an installed tree, which is completed in place; returns its path. Raises CalledProcessError."""
    home = tree / HOME.lstrip("/") / "venv"
    (home.parent / "installed").unlink()  # dpkg has its own list
    for cache in list(home.rglob("__pycache__")):
        shutil.rmtree(cache)  # made anew on the machine that it is installed on, by its own interpreter
    python = next((home / "lib").glob("python3.*")).name.removeprefix("python")
    version = next(home.glob("lib/python3*/site-packages/inspire_mirror-*.dist-info")).name.split("-")[1].removesuffix(".dist")
    _finish_docs(tree, version)
    control = tree / "DEBIAN"
    control.mkdir(exist_ok=True)
    major, minor = python.split(".")
    words = {
        "version": version,
        "architecture": _output(["dpkg", "--print-architecture"]).strip(),
        "maintainer": MAINTAINER,
        "size": _output(["du", "-sk", "--exclude=DEBIAN", str(tree)]).split()[0],
        "python": python,
        "next": f"{major}.{int(minor) + 1}",
    }
    (control / "control").write_text(_CONTROL.format(**words), "utf-8")
    (control / "conffiles").write_text("/etc/inspire-mirror/inspire-mirror.toml\n", "utf-8")
    for script in ("postinst", "prerm", "postrm"):
        (control / script).write_text((SOURCE / script).read_text("utf-8").replace("@HOME@", f"{HOME}/venv"), "utf-8")
        (control / script).chmod(0o755)
    target = out / f"inspire-mirror_{version}_{words['architecture']}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", tree, target], check=True)
    return target


def _finish_docs(tree: Path, version: str) -> None:
    """What Debian wants of every package: copyright, a changelog, and long texts packed."""
    doc = tree / "usr/share/doc/inspire-mirror"
    (doc / "copyright").write_text(_COPYRIGHT, "utf-8")
    day = format_datetime(datetime.now(UTC))
    entry = f"inspire-mirror ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {MAINTAINER}  {day}\n"
    (doc / "changelog.gz").write_bytes(gzip.compress(entry.encode(), 9, mtime=0))
    (doc / "LICENSE").unlink(missing_ok=True)
    for page in (tree / "usr/share/man").rglob("*.1"):
        page.with_name(page.name + ".gz").write_bytes(gzip.compress(page.read_bytes(), 9, mtime=0))
        page.unlink()
    overrides = tree / "usr/share/lintian/overrides/inspire-mirror"
    overrides.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SOURCE / "lintian-overrides", overrides)
    for path in tree.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """The tree and the folder for the package are the two arguments."""
    if shutil.which("dpkg-deb") is None:
        sys.exit("make deb needs dpkg-deb, which Debian and Ubuntu have")
    print(package(Path(sys.argv[1]), Path(sys.argv[2])))


if __name__ == "__main__":
    main()
