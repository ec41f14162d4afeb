"""Errors: one base, each with what a user needs to act, each a single line."""

from __future__ import annotations


class MirrorError(Exception):
    """Base of all errors raised on purpose. `str(error)` is one line that says what happened and what to do."""

    exit_code = 1


def os_error_text(error: OSError, where: object = None) -> str:
    """`PATH: reason` of an error of the operating system; `where` stands in for a path that it does not name.

    Of a rename that failed it is the new place: the old one is in our own staging.
    """
    place = error.filename2 or error.filename or where
    reason = error.strerror or str(error)
    return f"{place}: {reason}" if place else reason


class ConfigError(MirrorError):
    """The config or the command line cannot be used; nothing was done."""

    exit_code = 2


class Locked(MirrorError):
    """Another run, of the process `holder`, holds the lock of this root; `brief` if only for a moment, to write something down."""

    exit_code = 3

    def __init__(self, message: str, *, brief: bool = False, holder: str = "unknown") -> None:
        super().__init__(message)
        self.brief = brief
        self.holder = holder


class GuardRefused(MirrorError):
    """A limit that protects the mirror said no; nothing was changed by what it refused."""

    exit_code = 4


class UpstreamUnavailable(MirrorError):
    """The upstream could not be listed; the mirror is untouched."""

    exit_code = 5


class FeedError(MirrorError):
    """A feed cannot be read: not the XML or JSON it should be, too large, or hostile."""


class ListingError(MirrorError):
    """A listing could not be proved complete, so nothing of it is used."""


class RequestFailed(MirrorError):
    """A request was answered, or failed, in a way that trying again at once would not mend.

    `status` is the HTTP status, or None where no answer came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TransferError(MirrorError):
    """A file could not be had after `attempts`; `retry` says whether trying once more later in the run may help.

    `wrong` says that what upstream serves is not what it lists, again and again.
    """

    def __init__(self, reason: str, *, attempts: int = 1, retry: bool = True, wrong: bool = False) -> None:
        super().__init__(reason)
        self.attempts = attempts
        self.retry = retry
        self.wrong = wrong


class ArchiveError(MirrorError):
    """An archive cannot be read or must not be unpacked: broken, encrypted, hostile, or packed as no engine here knows."""


class ArchiveUnread(ArchiveError):
    """What read an archive was ended from outside (for want of memory, by somebody): that says nothing about the archive."""


class ArchiveRefused(ArchiveError):
    """An archive may be sound, but is not for reading here: encrypted, packed as no engine here knows, or beyond a limit."""


class UnsafeName(MirrorError):
    """A name from a feed that could leave its folder, or that a file system cannot keep."""


class IndexUnusable(MirrorError):
    """The index is missing, of a newer version, or not to be opened."""

    exit_code = 2


class IndexMissing(IndexUnusable):
    """There is no index."""


class IndexDamaged(IndexUnusable):
    """The index is no database, or one with broken pages. A sync sets it aside and builds it anew."""
