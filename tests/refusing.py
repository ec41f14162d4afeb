"""A kernel that refuses: what an old kernel or another file system would not do, this process is refused by its own (seccomp)."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_FLAGS = 16 + 4 * 8  # of struct seccomp_data: number, architecture, instruction pointer, then six arguments of 8 bytes
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}
_EXCHANGE = 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_exchange() -> None:
    """From now on, and for good, this process cannot let two folders change places: EINVAL, as of a file system that cannot."""
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, 0),
            (_EQUAL, 0, 3, _RENAMEAT2[platform.machine()]),
            (_LOAD, 0, 0, _FLAGS),
            (_EQUAL, 0, 1, _EXCHANGE),
            (_RETURN, 0, 0, _ERRNO | errno.EINVAL),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    made = _Program(len(program) // 8, program)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(made), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
