"""Which names from a feed may become names on disk.

Names are never mended: a name that is not safe as it stands is refused, and what it names is reported as not to be had. Mending
would publish a file under a name that upstream never gave, and two names could be mended into one.
"""

from __future__ import annotations

import re

from mirror.errors import UnsafeName
from mirror.phrases import phrase

LONGEST = 255
"""Bytes in one path component: the limit of ext4, xfs and btrfs."""

# Windows' device names: refused so that a mirror can be shared over SMB or copied to NTFS.
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$")
# Letters and marks that count as printable and show nothing: fillers, variation selectors, the grapheme joiner, blank Braille.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_SUFFIXES = len(b".part.json~")  # room that staging needs behind a name


def check_name(name: str) -> str:
    """Return `name` if it can be one path component, unchanged.

    Raises:
        UnsafeName: for separators, `.`, `..`, control or invisible formatting characters, a leading dot, a trailing dot or space,
            over-long and reserved names, and text that UTF-8 cannot hold.
    """
    problem = problem_with(name)
    if problem:
        raise UnsafeName(phrase("unsafe name {name!r} in the feed: {problem}", name=name[:80], problem=problem))
    return name


def problem_with(name: str) -> str | None:
    """Why `name` cannot be one path component, in words; None where it can."""
    if not name:
        return phrase("it is empty")
    if "/" in name or "\\" in name:
        return phrase("it has a path separator")
    if name.startswith("."):
        return phrase("it starts with a dot")
    if name != name.rstrip(". ") or name != name.lstrip():
        return phrase("it starts or ends with a blank or ends with a dot")
    if not name.isprintable() or _INVISIBLE.search(name):
        return phrase("it has control or invisible characters")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return phrase("it is not text that UTF-8 can hold")
    if size > LONGEST - _SUFFIXES:
        return phrase("it is longer than {most} bytes", most=LONGEST - _SUFFIXES)
    if _RESERVED.match(name):
        return phrase("it is a reserved device name")
    return None
