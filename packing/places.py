"""Where an installation goes, and what it has put there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

NAME = "inspire-mirror"
_LIST = "installed"


@dataclass(frozen=True, slots=True)
class Places:
    """Where things go, as they are called once installed, which is without `destdir`. All are absolute."""

    destdir: Path
    prefix: Path
    sysconfdir: Path
    unitdir: Path
    zshdir: Path

    @property
    def home(self) -> Path:
        """Its own folder: the environment, example hooks, the list of what was installed."""
        return self.prefix / "lib" / NAME

    @property
    def environment(self) -> Path:
        """The virtual environment in it, which each install makes anew."""
        return self.home / "venv"

    @property
    def bin(self) -> Path:
        """Where the launcher goes."""
        return self.prefix / "bin"

    @property
    def doc(self) -> Path:
        """Where the pages of docs/ go."""
        return self.prefix / "share/doc" / NAME

    def completion(self, shell: str) -> Path:
        """Where a shell looks for the completion of this program."""
        share = self.prefix / "share"
        return {
            "bash": share / "bash-completion/completions" / NAME,
            "zsh": self.zshdir / f"_{NAME}",
            "fish": share / "fish/vendor_completions.d" / f"{NAME}.fish",
        }[shell]

    def real(self, path: Path) -> Path:
        """Where a path is to be written now: below `destdir`."""
        return self.destdir / path.relative_to("/") if self.destdir.parts else path


@dataclass(slots=True)
class Tree:
    """Writes files and folders, and remembers them. Both lists hold paths without `destdir`."""

    places: Places
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def write(self, path: Path, content: str | bytes, mode: int = 0o644) -> None:
        """A file with that content, in the place of any other."""
        self.folder(path.parent)
        real = self.places.real(path)
        fresh = real.with_name(real.name + ".new")
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        fresh.chmod(mode)
        fresh.replace(real)
        self.files.append(str(path))

    def folder(self, path: Path) -> None:
        """A folder; those above it too."""
        for each in reversed([path, *path.parents]):
            real = self.places.real(each)
            if not real.is_dir():
                real.mkdir()
                real.chmod(0o755)
                self.folders.append(str(each))


def installed(places: Places) -> tuple[set[str], list[str]]:
    """The files and folders of the install that is there; nothing if there is none."""
    try:
        listed = json.loads(places.real(places.home / _LIST).read_text("utf-8"))
    except FileNotFoundError:
        return set(), []
    return set(listed["files"]), list(listed["folders"])


def write_list(places: Places, files: list[str], folders: list[str]) -> None:
    """Write down what an uninstall is to remove."""
    listed = json.dumps({"files": files, "folders": folders}, indent=1) + "\n"
    places.real(places.home / _LIST).write_text(listed, "utf-8")


def remove_list(places: Places) -> None:
    """Nothing is installed any more."""
    places.real(places.home / _LIST).unlink(missing_ok=True)


def unit_folder(prefix: Path) -> Path:
    """Where systemd finds units below a prefix; it looks into no other than these two."""
    return prefix / "lib/systemd/system" if str(prefix) in ("/usr", "/usr/local") else Path("/etc/systemd/system")
