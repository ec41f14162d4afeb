"""Are published archives sound inside? Every checksum in them is compared; nothing is written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby

from mirror.archives import ArchiveError, ArchiveRefused, ArchiveUnread, Bounds, archives_in, gap_in, no_archive, test
from mirror.settings import Limits
from mirror.store.holdings import Held
from mirror.store.tree import Folder, Tree
from mirror.upstream.crawl import in_parallel


async def broken_archives(tree: Tree, files: Iterable[Held], limits: Limits) -> list[tuple[Held, str]]:
    """The archives among `files`, which must come in the order of the tree, that are broken: the first file of each, and why.

    Their bytes are those that upstream published: fetching them again would bring the same. An archive of which a volume is not
    among `files` is left out, as that one is at fault.
    """
    found: list[tuple[Held, str]] = []

    async def check(folder: Folder, name: str, volumes: Sequence[Held]) -> None:
        try:
            paths = [tree.data / folder.relative / held.file for held in volumes]
            if await asyncio.to_thread(no_archive, paths):
                return  # published under such a name, it is what upstream lists; there is nothing in it to be compared
            await test(paths, Bounds(limits.max_extract_ratio, limits.max_members, None))
        except (ArchiveRefused, ArchiveUnread):
            pass  # encrypted, packed as no engine here knows, a bomb: nothing says that it is broken
        except ArchiveError as error:
            found.append((volumes[0], f"{name} is broken inside, as upstream published it: {error}"))

    jobs = []
    for folder, group in groupby(files, lambda held: Folder(held.upstream, held.resource, held.sub_resource)):
        here = {held.file: held for held in group}
        jobs += [
            partial(check, folder, archive.name, [here[name] for name in archive.files])
            for archive in archives_in(here)
            if not gap_in(archive)
        ]
    await in_parallel(jobs, max(1, os.cpu_count() or 1))
    return sorted(found, key=lambda one: (one[0].upstream, one[0].resource, one[0].sub_resource, one[0].file))
