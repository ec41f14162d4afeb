"""What the system that we run on is told of an installation, where it is this very system that was changed, and we may."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from packing.places import NAME, Places


def is_ours_to_tell(places: Places) -> bool:
    """Whether it was this system, not a tree for another one, and whether we are root."""
    return not places.destdir.parts and os.geteuid() == 0


def has_systemd() -> bool:
    """Whether systemd runs it."""
    return Path("/run/systemd/system").is_dir()


def tell_installed(places: Places) -> None:
    """User, folders and units are there. A service that runs is restarted: it must not go on with modules of another version."""
    if not is_ours_to_tell(places):
        return
    for command in (["systemd-sysusers", f"{NAME}.conf"], ["systemd-tmpfiles", "--create", f"{NAME}.conf"]):
        if shutil.which(command[0]):
            subprocess.run(command, check=False)
    if has_systemd():
        subprocess.run(["systemctl", "daemon-reload"], check=False)
        subprocess.run(["systemctl", "try-restart", f"{NAME}.service"], check=False)


def stop_units(places: Places) -> None:
    """Stop and disable all that runs of it, before its files go."""
    if is_ours_to_tell(places) and has_systemd():
        subprocess.run(["systemctl", "stop", f"{NAME}-sync@*.timer", f"{NAME}-sync@*.service"], check=False)
        links = sorted(Path("/etc/systemd/system").glob(f"*.wants/{NAME}-sync@*.timer"))
        units = [
            f"{NAME}.service",
            f"{NAME}-serve.service",
            f"{NAME}-verify.timer",
            f"{NAME}-verify.service",
            *(link.name for link in links),
        ]
        subprocess.run(["systemctl", "disable", "--now", "--quiet", *units], check=False)


def tell_uninstalled(places: Places) -> None:
    """The units are gone."""
    if is_ours_to_tell(places) and has_systemd():
        subprocess.run(["systemctl", "daemon-reload"], check=False)
