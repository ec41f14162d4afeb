"""Which words of file names go into the full-text index."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mirror.model import RemoteFile

_WORD = re.compile(r"\w+")
_EXTENSIONS = re.compile(r"(?:\.[A-Za-z0-9]{1,7})+$")


def search_words(sub_id: str, files: Iterable[RemoteFile]) -> str:
    """The words of the file names that the sub-resource's own id does not hold: names mostly repeat it.

    What follows as an extension tells the files of a sub-resource apart for nobody: `.7z`, `.7z.001`, `.copc.laz`.
    """
    rests = {_EXTENSIONS.sub("", file.name.removeprefix(sub_id)) for file in files}
    words = {word for rest in rests for word in _WORD.findall(rest)}
    return " ".join(sorted(words.difference(_WORD.findall(sub_id))))
