"""`make install` and `make uninstall` below a DESTDIR, as packagers use them and as any user may try them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .installed import PROJECT

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

CONFIG = Path("etc/inspire-mirror/inspire-mirror.toml")


def make(target: str, destdir: Path, *variables: str) -> str:
    command = ["make", "-C", str(PROJECT), target, f"DESTDIR={destdir}", *variables]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def tree(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def version(destdir: Path, prefix: str = "usr/local") -> str:
    """What the installed command answers, started through a link and from elsewhere, with another Python's settings around it."""
    link = destdir / "link"
    link.symlink_to(destdir / prefix / "bin/inspire-mirror")
    try:
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"}
        return subprocess.run([link, "--version"], env=environ, cwd="/", check=True, capture_output=True, text=True).stdout
    finally:
        link.unlink()


def test_install_upgrade_uninstall(tmp_path: Path) -> None:
    """A second install takes the place of the first: files of another version go, a config that is there is left alone.

    Uninstalling removes what both have brought, and nothing else: what was there before and the config stay.
    """
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/other").write_text("other", "utf-8")
    before = tree(tmp_path)
    make("install", tmp_path)
    assert version(tmp_path).startswith("inspire-mirror, version ")
    first = tree(tmp_path)

    (tmp_path / CONFIG).write_text("# mine\n", "utf-8")
    (tmp_path / "usr/local/share/doc/inspire-mirror/stale.md").write_text("of another version", "utf-8")
    listed = tmp_path / "usr/local/lib/inspire-mirror/installed"
    more = '"files": ["/usr/local/share/doc/inspire-mirror/stale.md",'
    listed.write_text(listed.read_text("utf-8").replace('"files": [', more), "utf-8")
    make("install", tmp_path)
    assert tree(tmp_path) == first
    assert (tmp_path / CONFIG).read_text("utf-8") == "# mine\n"

    make("uninstall", tmp_path)
    assert tree(tmp_path) == {*before, Path("etc"), CONFIG.parent, CONFIG}


def test_nothing_names_the_folder_that_it_was_made_in(tmp_path: Path) -> None:
    """So that the tree can be packed, and moved."""
    make("install", tmp_path, "PREFIX=/opt/mirror", "UNITDIR=/opt/mirror/units")
    assert version(tmp_path, "opt/mirror").startswith("inspire-mirror, version ")
    needle = str(tmp_path).encode()
    naming = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink() and needle in path.read_bytes()]
    assert naming == []
    unit = (tmp_path / "opt/mirror/units/inspire-mirror.service").read_text("utf-8")
    assert "ExecStart=/opt/mirror/bin/inspire-mirror run" in unit
    assert "@" not in unit.replace("inspire-mirror-sync@", "")
