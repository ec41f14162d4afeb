"""`make install` and `make uninstall`: a virtual environment of its own, a launcher, and what belongs to a system around them.

    venv -> wheels into it -> freed of its folder -> units, examples, docs, man page, completions -> the list of all that

The list stands in PREFIX/lib/inspire-mirror/installed. Uninstalling removes what is in it and the folders that were made for it,
and nothing else: configs and data are kept. A second install takes the place of the first at the very end, or not at all.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

from packing.host import stop_units, tell_installed, tell_uninstalled
from packing.places import NAME, Places, Tree, installed, remove_list, unit_folder, write_list

SOURCE = Path(__file__).resolve().parents[1]
UNITS = tuple(
    f"{NAME}{unit}" for unit in (".service", "-serve.service", "-sync@.service", "-sync@.timer", "-verify.service", "-verify.timer")
)
CONFINED = (f"{NAME}.service.d", f"{NAME}-.service.d")
"""Folders of drop-ins; the second is that of all units whose names go on from there."""
SHELLS = ("bash", "zsh", "fish")


def install(places: Places, wheels: Path, tools: Path, *, compiled: bool = True) -> None:
    """Put everything in place. Raises OSError, or CalledProcessError where a step that is another program's has failed."""
    tree = Tree(places)
    old_files, old_folders = installed(places)
    tree.folder(places.home)
    fresh, old = (places.environment.with_name(name) for name in ("venv.new", "venv.old"))
    for leftover in (fresh, old):
        shutil.rmtree(places.real(leftover), ignore_errors=True)
    make_environment(places, fresh, wheels, tools, compiled=compiled)
    python = str(places.real(fresh) / "bin/python")
    manual = _output([python, "-I", str(SOURCE / "packing/manual.py")])
    completions = {shell: _output([python, "-I", "-m", "mirror"], _INSPIRE_MIRROR_COMPLETE=f"{shell}_source") for shell in SHELLS}
    if places.real(places.environment).exists():
        places.real(places.environment).rename(places.real(old))
    places.real(fresh).rename(places.real(places.environment))
    shutil.rmtree(places.real(old), ignore_errors=True)
    tree.write(places.bin / NAME, launcher(places), 0o755)
    for path, content, mode in surroundings(places):
        tree.write(path, content, mode)
    tree.write(places.prefix / "share/man/man1" / f"{NAME}.1", manual)
    for shell, script in completions.items():
        tree.write(places.completion(shell), script)
    _config(tree, places, python=str(places.real(places.environment) / "bin/python"))
    for stale in sorted(old_files - set(tree.files)):
        places.real(Path(stale)).unlink(missing_ok=True)
    folders = [*old_folders, *(each for each in tree.folders if each not in old_folders)]
    write_list(places, tree.files, folders)


def uninstall(places: Places) -> bool:
    """Remove what was installed; returns whether anything was."""
    files, folders = installed(places)
    for path in files:
        places.real(Path(path)).unlink(missing_ok=True)
    there = places.real(places.environment).is_dir()
    if there:
        shutil.rmtree(places.real(places.environment))
    remove_list(places)
    for folder in reversed(folders):
        real = places.real(Path(folder))
        if real.is_dir() and not any(real.iterdir()):
            real.rmdir()
    return there


def make_environment(places: Places, folder: Path, wheels: Path, tools: Path, *, compiled: bool) -> None:
    """A virtual environment with the program in it that can be moved, and holds no word of where it was made.

    `tools` is one with a pip. The new one has none, as an upgrade is another install. Its interpreter is named by its minor
    version, which it is bound to.
    """
    real = places.real(folder)
    venv.EnvBuilder(symlinks=True, with_pip=False).create(real)
    python = real / "bin/python"
    interpreter = python.resolve()
    pip = [
        str(tools / "bin/python"),
        "-m",
        "pip",
        "--python",
        str(python),
        "--disable-pip-version-check",
        "--no-cache-dir",
        "install",
    ]
    wanted = ["--no-index", "--find-links", str(wheels), NAME]
    subprocess.run([*pip, "--quiet", "--no-compile", "--root-user-action=ignore", *wanted], check=True)
    shutil.rmtree(real / "bin")  # launchers with the path of this folder in them, but for the one that we write
    python.parent.mkdir()
    python.symlink_to(interpreter)
    for name in ("include", "share"):
        shutil.rmtree(real / name, ignore_errors=True)
    (real / "pyvenv.cfg").write_text(
        f"home = {interpreter.parent}\ninclude-system-site-packages = false\nversion = {platform.python_version()}\n",
        "utf-8",
    )
    for needless in real.glob("lib/python*/site-packages/pip*"):
        shutil.rmtree(needless)  # for the plugins of sqlite-utils' own command, which is not there either
    for record in real.glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        record.unlink()  # the folder of the wheels
    if compiled:
        # The folder gets its name at the end, and tracebacks must say that one.
        subprocess.run([python, "-I", "-m", "compileall", "-q", "-s", real, "-p", places.environment, real / "lib"], check=True)
    for path in [real, *real.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def launcher(places: Places) -> str:
    """The command, which finds its interpreter from where it is itself, so that all of it can be moved.

    -I keeps what users have in their environment out of it; with faulthandler it answers a watchdog's SIGABRT with a traceback.
    """
    way = os.path.relpath(places.environment, places.bin)
    return f'#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/{way}/bin/python" -I -X faulthandler -m mirror "$@"\n'


def surroundings(places: Places) -> Iterator[tuple[Path, str | bytes, int]]:
    """Units, their users and folders, examples and docs: path, content, mode."""
    words = {"@BINDIR@": places.bin, "@DOCDIR@": places.doc, "@SYSCONFDIR@": places.sysconfdir}

    def filled(name: str) -> str:
        text = (SOURCE / "systemd" / name).read_text("utf-8")
        for word, place in words.items():
            text = text.replace(word, str(place))
        return text

    for unit in UNITS:
        yield places.unitdir / unit, filled(unit), 0o644
    for folder in CONFINED:
        yield places.unitdir / folder / "10-confinement.conf", filled("10-confinement.conf"), 0o644
    for kind in ("sysusers", "tmpfiles"):
        yield places.prefix / f"lib/{kind}.d/{NAME}.conf", filled(f"{kind}.conf"), 0o644
    for path in sorted((SOURCE / "config").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            within = path.relative_to(SOURCE / "config")
            base = places.home if within.parts[0] == "hooks" else places.prefix / "share" / NAME
            yield base / within, path.read_bytes(), mode
    for page in [
        *sorted((SOURCE / "docs").glob("*.md")),
        *(SOURCE / name for name in ("README.md", "README.fr.md", "CHANGELOG.md", "LICENSE")),
    ]:
        yield places.doc / page.name, page.read_bytes(), 0o644


def _config(tree: Tree, places: Places, python: str) -> None:
    """A commented config to start from, unless there is one. It is not in the list: it is the user's from now on."""
    path = places.sysconfdir / NAME / f"{NAME}.toml"
    if places.real(path).exists():
        return
    code = (
        "from mirror.config_template import init_text; from mirror.settings import find_upstream;"
        "print(init_text(*find_upstream('geoplateforme'), '/var/lib/inspire-mirror'), end='')"
    )
    places.real(path.parent).mkdir(parents=True, exist_ok=True)
    Tree(places).write(path, _output([python, "-I", "-c", code]))


def _output(command: list[str], **environ: str) -> str:
    return subprocess.run(
        command, env={**os.environ, "LC_ALL": "C.UTF-8", **environ}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def main() -> None:
    """Parse, and do one or the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("action", choices=("install", "uninstall"))
    parser.add_argument("--destdir", default="")
    parser.add_argument("--prefix", type=Path, default=Path("/usr/local"))
    parser.add_argument("--sysconfdir", type=Path, default=Path("/etc"))
    parser.add_argument("--unitdir", type=Path)
    parser.add_argument("--zshdir", type=Path)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--tools", type=Path)
    parser.add_argument("--no-compile", dest="compiled", action="store_false")
    given = parser.parse_args()
    for name in ("prefix", "sysconfdir", "unitdir", "zshdir"):
        path = getattr(given, name)
        if path is not None and not (path.is_absolute() and str(path).isprintable() and " " not in str(path)):
            parser.error(f"{name.upper()} must be an absolute path without blanks, not {path}")
    places = Places(
        Path(given.destdir).absolute() if given.destdir else Path(),
        given.prefix,
        given.sysconfdir,
        given.unitdir or unit_folder(given.prefix),
        given.zshdir or given.prefix / "share/zsh/site-functions",
    )
    try:
        if given.action == "install":
            os.umask(0o022)
            install(places, given.wheels.absolute(), given.tools.absolute(), compiled=given.compiled)
            tell_installed(places)
            print(f"installed below {places.real(places.prefix)}; the config is {places.sysconfdir / NAME}/{NAME}.toml")
        else:
            stop_units(places)
            gone = uninstall(places)
            tell_uninstalled(places)
            kept = f"{places.sysconfdir / NAME} and the mirror (/var/lib/{NAME}) are kept"
            print(f"uninstalled; {kept}" if gone else f"nothing is installed below {places.real(places.prefix)}")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{given.action}: {error}")


if __name__ == "__main__":
    main()
