"""inspire-mirror: a verified local mirror of INSPIRE Atom download services.

Example::

    import mirror

    with mirror.open("/var/lib/inspire-mirror") as here:
        for file in here.query(resource="BDTOPO", zone="D038", latest=True):
            print(file.path, file.edition_date)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.version import __version__

if TYPE_CHECKING:
    import os

    from mirror.api import Mirror

__all__ = ["__version__", "open"]


def open(path: str | os.PathLike[str]) -> Mirror:  # noqa: A001 - `mirror.open` is what it does
    """Open a mirror by its root folder (to query) or by its config file (to query, plan, sync and prune).

    Raises:
        ConfigError: the config file cannot be used.
    """
    from mirror.api import open_mirror

    return open_mirror(path)
