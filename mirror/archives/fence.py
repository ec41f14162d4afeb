"""A fence around the process that reads archives, kept by the kernel (Landlock, Linux 5.13 and later).

Decoders are written in C and have had their faults: one that an archive takes over could write where this user may, which is all of
the mirror. Behind the fence it can make files in the one folder that it unpacks into, and nothing else: no file outside, no link,
no deletion; no connection either, and no signal to others, where the kernel is new enough for that. Else the rest holds.
"""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
from typing import Final

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the numbers of the system calls, the same on every architecture
_VERSION: Final = 1  # flag of the first: only tells what the kernel knows
_BENEATH: Final = 1  # kind of a rule: for all below a folder
_NO_NEW_PRIVILEGES: Final = 38

_WRITE, _REMOVE_FOLDER, _REMOVE, _MAKE_FOLDER, _MAKE_FILE, _MAKE_LINK = 1 << 1, 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_CHANGES: Final = _WRITE | sum(1 << bit for bit in range(4, 13))  # 4 to 12: to remove and to make things of every kind
_MOVE, _TRUNCATE = 1 << 13, 1 << 14
_CONNECT_AND_BIND: Final = 3
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 3


def fence(into: str | None, *, links: bool) -> bool:
    """From here on nothing can be made but files and folders below `into`; returns whether the kernel can see to that.

    With `links`, also folders and links in the folder for temporary files.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    changes = _CHANGES | (_MOVE if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    net = _CONNECT_AND_BIND if version >= 4 else 0
    scope = _ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0
    wanted = struct.pack("<QQQ", changes, net, scope)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = libc.syscall(_CREATE, wanted, ctypes.c_size_t(len(wanted)), 0)
    if rules < 0:
        return False
    try:
        allowed = [(os.devnull, _WRITE)]
        if into is not None:
            allowed.append((into, _WRITE | _MAKE_FOLDER | _MAKE_FILE))
        if links:
            allowed.append((tempfile.gettempdir(), _MAKE_FOLDER | _MAKE_LINK | _REMOVE | _REMOVE_FOLDER))
        for path, changes in allowed:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if libc.syscall(_ADD, rules, _BENEATH, struct.pack("<Qi", changes, place), 0) != 0:
                    return False
            finally:
                os.close(place)
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return False
        return bool(libc.syscall(_RESTRICT, rules, 0) == 0)
    finally:
        os.close(rules)
