"""What has to be done to one sub-resource, and why. Pure: the listing, the index and the folder come in as facts.

The plan is computed from config x listing x index x folder each time; no state says what is still to be done, so a changed filter,
a killed run or a file deleted by hand needs no special case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from unicodedata import normalize

from mirror.errors import UnsafeName
from mirror.model import RemoteFile
from mirror.names import check_name
from mirror.phrases import phrase
from mirror.planning.changes import publication
from mirror.planning.parking import NOTHING_PARKED, Parking
from mirror.planning.selection import Wanted, wants_file
from mirror.planning.volumes import archive_of, incomplete_archives, publishing_groups

# Made once: a plan may have 200,000 actions.
_NEW = phrase("new: not in the mirror")
_NO_MD5 = phrase("in the folder but not in the index, and upstream gives no MD5 to know it by")
_TO_BE_HASHED = phrase("in the folder but not in the index: to be hashed and taken in")
_GONE = phrase("in the index but gone from the folder")
_NOT_KNOWN_SOUND = phrase("not known to be sound: to be hashed, and fetched again if it is another file")
_OTHER_BYTES = phrase("damaged: verify found other bytes than were published")
_OTHER_MD5 = phrase("upstream lists another MD5")
_MAY_HAVE_PUBLISHED = phrase("upstream gives no MD5 and may have published since this was fetched")
_AS_LISTED = phrase("verified, and as upstream lists it")
_TWICE = phrase("upstream lists this name twice with different facts")


@dataclass(frozen=True, slots=True)
class Kept:
    """What the index knows of a published file: the size in bytes and MD5 it was verified with.

    `published` is the `publication` of its sub-resource that it was fetched from; `sound` is false once `verify` has found it
    wrong.
    """

    size: int
    md5: str
    published: str | None
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Action:
    """Base of all actions: a file, and the reason in words for people, a phrase that their language can be put on."""

    file: RemoteFile
    reason: str


@dataclass(frozen=True, slots=True)
class Add(Action):
    """Fetch a file that is not here."""


@dataclass(frozen=True, slots=True)
class Replace(Action):
    """Fetch a file again: what is here is not, or may not be, what upstream now lists.

    `ours` is false where the file in the way is not in the index: it is set aside, not overwritten.
    """

    ours: bool = True


@dataclass(frozen=True, slots=True)
class Adopt(Action):
    """A file of the right size is in the folder but not in the index: hash it, and fetch it only if it is another one.

    Not even then if `parked` says why it is not to be fetched yet.
    """

    parked: str | None = None


@dataclass(frozen=True, slots=True)
class Keep(Action):
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Park(Action):
    """Wanted, but not to be had as it is listed.

    `waiting` is true for a file that was tried and proved wrong, and is left alone until its next try.
    """

    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Hold(Action):
    """In staging already, and must appear together with a file that is parked: to be left where it is.

    Whether it is still what upstream lists is looked at when it can be published.
    """


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """The actions on one sub-resource, in publishing order. `whole` is the publishing rule that applies."""

    wanted: Wanted
    actions: tuple[Action, ...]
    dropped: frozenset[str] = frozenset()
    """Volumes that are here of archives that upstream now splits without them."""

    published: str | None = None
    """The `publication` that files fetched by this plan are of."""

    def leftovers(self, published: Collection[str]) -> tuple[str, ...]:
        """Which of the dropped volumes must leave as `published` appear: they would read as part of the new archive.

        Where nothing is to be published, as all that is still listed is here, they all must.
        """
        archives = {archive for name in published if (archive := archive_of(name))}
        return tuple(sorted(name for name in self.dropped if not published or archive_of(name) in archives))

    @property
    def transfers(self) -> tuple[Action, ...]:
        """The actions that need bytes, from upstream or from the folder."""
        return tuple(action for action in self.actions if isinstance(action, Add | Replace | Adopt))

    @property
    def parked(self) -> tuple[Park, ...]:
        """The actions that cannot be carried out."""
        return tuple(action for action in self.actions if isinstance(action, Park))

    @property
    def staging(self) -> frozenset[str]:
        """The files of which this plan wants what is in staging; of a parked one too, which may be as listed and broken inside."""
        return frozenset(action.file.name for action in self.actions if not isinstance(action, Keep))


def plan_unit(
    wanted: Wanted,
    listed: Sequence[RemoteFile],
    indexed: Mapping[str, Kept],
    on_disk: Mapping[str, int],
    parking: Parking = NOTHING_PARKED,
    listed_at: datetime | None = None,
) -> UnitPlan:
    """Decide for each wanted file of a sub-resource.

    Args:
        wanted: the sub-resource and which of its files are wanted.
        listed: its complete file listing.
        indexed: what the index says is published here, by file name.
        on_disk: what is in its folder, sizes in bytes by file name.
        parking: which of its files are parked; those whose time has not come are not fetched.
        listed_at: when the listing was made; None is long after its last publication.
    """
    published = publication(wanted.sub.updated, listed_at)
    actions: list[Action] = []
    seen: dict[str, RemoteFile] = {}
    folded: dict[str, str] = {}
    names = {file.name for file in listed}
    incomplete = incomplete_archives(names)
    for file in listed:
        if not wants_file(file, wanted.files):
            continue
        if (twice := seen.get(file.name)) is not None:
            if (twice.url, twice.size, twice.md5) != (file.url, file.size, file.md5):
                actions = [action for action in actions if action.file.name != file.name]
                actions.append(Park(file, _TWICE))
            continue
        seen[file.name] = file
        try:
            check_name(file.name)
        except UnsafeName as error:
            actions.append(Park(file, str(error)))
            continue
        twin = folded.setdefault(normalize("NFC", file.name).casefold(), file.name)
        if twin != file.name:
            reason = phrase(
                "its name differs from {twin!r} only in ways that not every file system keeps apart (case, form of accents)",
                twin=twin,
            )
            actions.append(Park(file, reason))
            continue
        if file.name in incomplete:
            actions.append(Park(file, incomplete[file.name]))
            continue
        action = _decide(file, indexed.get(file.name), on_disk.get(file.name), published)
        actions.append(_left_alone(action, parking.keeps(file, wanted.sub.updated)))
    # An archive that is listed with a gap is not one that was split anew: of what is here of it, nothing leaves.
    archives = {archive for name in seen if (archive := archive_of(name)) and name not in incomplete}
    # Also those that only the folder knows: where the index was lost, nobody can tell that they were ours.
    dropped = frozenset(name for name in {*indexed, *on_disk} if name not in names and archive_of(name) in archives)
    return UnitPlan(wanted, tuple(actions), dropped, published)


def _decide(file: RemoteFile, kept: Kept | None, size_here: int | None, published: str | None) -> Action:
    if kept is None:
        if size_here is None:
            return Add(file, _NEW)
        if file.size not in (None, size_here):
            reason = phrase(
                "in the folder but not in the index, and of {here} bytes where upstream lists {listed}",
                here=size_here,
                listed=file.size,
            )
            return Replace(file, reason, False)
        if file.md5 is None:
            return Replace(file, _NO_MD5, False)
        return Adopt(file, _TO_BE_HASHED)
    if size_here is None:
        return Replace(file, _GONE)
    if size_here != kept.size:
        return Replace(
            file, phrase("damaged: {here} bytes in the folder, {was} when it was verified", here=size_here, was=kept.size)
        )
    if not kept.sound:
        if file.md5 is not None and file.size in (None, size_here):
            return Adopt(file, _NOT_KNOWN_SOUND)
        return Replace(file, _OTHER_BYTES)
    if file.md5 is not None and file.md5 != kept.md5:
        return Replace(file, _OTHER_MD5)
    if file.size is not None and file.size != kept.size:
        return Replace(file, phrase("upstream lists {listed} bytes, {here} are here", listed=file.size, here=kept.size))
    if file.md5 is None and kept.published != published:
        return Replace(file, _MAY_HAVE_PUBLISHED)
    return Keep(file, _AS_LISTED)


def _left_alone(action: Action, parked: str | None) -> Action:
    """The action as it is if `parked` does not say why the file is not to be fetched."""
    if parked is None or isinstance(action, Keep):
        return action
    return Adopt(action.file, action.reason, parked) if isinstance(action, Adopt) else Park(action.file, parked, waiting=True)


def hold_back(plan: UnitPlan, staged: Mapping[str, int]) -> UnitPlan:
    """The plan, but what is `staged` (sizes in bytes by name) and must appear together with a parked file is left there, unread."""
    parked = {action.file.name for action in plan.parked}
    groups = publishing_groups((action.file.name for action in plan.actions), whole=plan.wanted.whole)
    held_by = {name: found for group in groups if (found := next((one for one in group if one in parked), None)) for name in group}

    def held(action: Action) -> Action:
        name, size = action.file.name, action.file.size
        if not isinstance(action, Add | Replace) or name not in held_by or name not in staged or size not in (None, staged[name]):
            return action
        return Hold(action.file, phrase("in staging, to appear together with {other}, which is parked", other=held_by[name]))

    return replace(plan, actions=tuple(map(held, plan.actions)))


def known_by(file: RemoteFile, size: int, md5: str) -> Literal["MD5", "size"] | None:
    """By what bytes found in a folder, of which the index knows nothing, show as the file that upstream lists; None if not at all.

    An MD5 proves it. A size alone does not: such a file may be kept, but what is wanted is fetched again.
    """
    if file.md5 is not None:
        return "MD5" if file.md5 == md5 and file.size in (None, size) else None
    return "size" if file.size == size else None


def settled_key(digest: str, globs: Sequence[str]) -> str:
    """Names the state "all files that `globs` want of the listing `digest` are here"; see `Unit.settled`."""
    return "/".join((digest, *globs))  # no file name has a slash, so no glob needs one
