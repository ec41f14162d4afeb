"""What is to be done to a sub-resource, and why; and that doing it leaves nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.model import RemoteFile, SubResource
from mirror.planning.plan import Action, Add, Adopt, Keep, Kept, Park, Replace, UnitPlan, known_by, plan_unit, settled_key
from mirror.planning.selection import Wanted

NEW, OLD = "a" * 32, "b" * 32
DAY = "2025-10-02"
FILE = RemoteFile("x.7z", "http://u/x.7z", 100, NEW)
KEPT = Kept(100, NEW, DAY)


def wanted(*globs: str, whole: bool = True, updated: str | None = DAY) -> Wanted:
    return Wanted(SubResource("R", "S", "", updated=updated), ("w",), globs, whole)


def decide(file: RemoteFile, kept: Kept | None, here: int | None, updated: str | None = DAY) -> Action:
    plan = plan_unit(
        wanted(updated=updated),
        [file],
        {file.name: kept} if kept else {},
        {file.name: here} if here is not None else {},
    )
    (action,) = plan.actions
    return action


NO_MD5 = replace(FILE, md5=None)
NO_SIZE = replace(FILE, size=None)


@pytest.mark.parametrize(
    ("file", "kept", "here", "kind", "reason"),
    [
        (FILE, None, None, Add, "new"),
        (FILE, None, 100, Adopt, "to be hashed"),
        (NO_SIZE, None, 7, Adopt, "to be hashed"),
        (FILE, None, 99, Replace, "of 99 bytes where upstream lists 100"),
        (NO_MD5, None, 100, Replace, "no MD5 to know it by"),
        (FILE, KEPT, 100, Keep, "as upstream lists it"),
        (NO_MD5, KEPT, 100, Keep, "as upstream lists it"),
        (FILE, KEPT, None, Replace, "gone from the folder"),
        (FILE, KEPT, 99, Replace, "damaged: 99 bytes in the folder, 100 when"),
        (FILE, replace(KEPT, sound=False), 100, Adopt, "not known to be sound"),
        (NO_MD5, replace(KEPT, sound=False), 100, Replace, "verify found other bytes"),
        (FILE, replace(KEPT, md5=OLD), 100, Replace, "another MD5"),
        (replace(NO_MD5, size=120), KEPT, 100, Replace, "lists 120 bytes, 100 are here"),
        (NO_MD5, replace(KEPT, published="2025-01-01"), 100, Replace, "may have published since"),
        (FILE, replace(KEPT, published="2025-01-01"), 100, Keep, "as upstream lists it"),
    ],
)
def test_every_action_has_its_reason(
    file: RemoteFile, kept: Kept | None, here: int | None, kind: type[Action], reason: str
) -> None:
    action = decide(file, kept, here)
    assert type(action) is kind
    assert reason in action.reason


@pytest.mark.parametrize(("kept", "ours"), [(None, False), (replace(KEPT, md5=OLD), True)])
def test_only_a_file_of_the_index_may_be_overwritten(kept: Kept | None, ours: bool) -> None:
    action = decide(FILE, kept, 100 if kept else 99)
    assert isinstance(action, Replace)
    assert action.ours is ours


def test_files_that_no_glob_wants_are_no_part_of_the_plan() -> None:
    side = replace(FILE, name="x.md5")
    assert [a.file for a in plan_unit(wanted("*.7z"), [FILE, side], {}, {}).actions] == [FILE]


@pytest.mark.parametrize("name", ["..", "a/b", "a\nb", "CON", "x" * 300])
def test_an_unsafe_name_is_parked_and_the_rest_goes_on(name: str) -> None:
    plan = plan_unit(wanted(), [replace(FILE, name=name), FILE], {}, {})
    assert [action.file.name for action in plan.parked] == [name]
    assert "unsafe name" in plan.parked[0].reason
    assert [action.file for action in plan.transfers] == [FILE]


def test_a_name_listed_twice_alike_counts_once() -> None:
    assert len(plan_unit(wanted(), [FILE, FILE], {}, {}).actions) == 1


@pytest.mark.parametrize("times", [2, 3])
def test_a_name_listed_with_different_facts_is_parked(times: int) -> None:
    """Whichever comes last, and however often: nobody can say which of them is right."""
    twins = [FILE, replace(FILE, md5=OLD), FILE][:times]
    plan = plan_unit(wanted(), twins, {FILE.name: KEPT}, {FILE.name: 100})
    assert [type(action) for action in plan.actions] == [Park]
    assert "twice" in plan.parked[0].reason


def test_names_that_differ_by_case_alone_are_not_both_taken() -> None:
    upper = replace(FILE, name="X.7Z")
    plan = plan_unit(wanted(), [FILE, upper], {}, {})
    assert [action.file for action in plan.transfers] == [FILE]
    assert [action.file for action in plan.parked] == [upper]


# -- split archives


def listing(*names: str) -> list[RemoteFile]:
    return [replace(FILE, name=name, url=f"http://u/{name}") for name in names]


def test_the_volumes_of_an_archive_that_is_listed_with_a_gap_are_not_to_be_had_and_the_rest_is() -> None:
    plan = plan_unit(wanted(), listing("x.7z.001", "x.7z.003", "y.7z.001", "y.7z.002", "x.md5"), {}, {})
    assert [action.file.name for action in plan.parked] == ["x.7z.001", "x.7z.003"]
    assert all("split archive x.7z, volume 002 is missing" in action.reason for action in plan.parked)
    assert [action.file.name for action in plan.transfers] == ["y.7z.001", "y.7z.002", "x.md5"]


def test_a_gap_is_one_of_the_listing_and_not_of_the_filter() -> None:
    plan = plan_unit(wanted("*.001", "*.003"), listing("x.7z.001", "x.7z.002", "x.7z.003"), {}, {})
    assert [action.file.name for action in plan.transfers] == ["x.7z.001", "x.7z.003"]
    assert not plan.parked


def test_digits_behind_a_name_that_is_no_archive_are_no_volume_number() -> None:
    assert not plan_unit(wanted(), listing("report.2024", "grid.003"), {}, {}).parked


def test_nothing_that_is_here_leaves_because_a_listing_has_a_gap() -> None:
    here = {f"x.7z.00{n}": KEPT for n in (1, 2, 3)}
    plan = plan_unit(wanted(), listing("x.7z.001", "x.7z.003"), here, dict.fromkeys(here, 100))
    assert not plan.transfers
    assert plan.leftovers([]) == ()
    shorter = plan_unit(wanted(), listing("x.7z.001", "x.7z.002"), here, dict.fromkeys(here, 100))
    assert shorter.leftovers([]) == ("x.7z.003",)


def test_the_settled_state_is_of_a_listing_and_a_filter() -> None:
    keys = [settled_key("d", ()), settled_key("e", ()), settled_key("d", ("a|b",)), settled_key("d", ("a", "b"))]
    assert len(set(keys)) == len(keys)


# -- applying a plan

_md5 = st.sampled_from([None, NEW, OLD])
_names = st.sampled_from(["a.7z.001", "a.7z.002", "b.7z", "B.7z", "c.md5", "../evil", "d"])
_files = st.lists(st.builds(RemoteFile, _names, st.just("http://u"), st.none() | st.integers(0, 3), _md5), max_size=8)
_kept = st.dictionaries(
    _names,
    st.builds(Kept, st.integers(0, 3), st.sampled_from([NEW, OLD]), st.sampled_from([None, DAY, "2024-01-01"]), st.booleans()),
)
_disk = st.dictionaries(_names, st.integers(0, 3))
_globs = st.sampled_from([(), ("*.7z*",), ("*.md5", "d")])


def apply(plan: UnitPlan, indexed: Mapping[str, Kept], disk: Mapping[str, int]) -> tuple[dict[str, Kept], dict[str, int]]:
    """The index and folder after every transfer has come through as listed; what upstream does not say, the file decides."""
    kept, sizes = dict(indexed), dict(disk)
    for action in plan.transfers:
        file = action.file
        here = sizes.get(file.name, 2) if isinstance(action, Adopt) else 2
        size = here if file.size is None else file.size
        kept[file.name] = Kept(size, file.md5 or NEW, plan.wanted.sub.updated)
        sizes[file.name] = size
    return kept, sizes


@given(_files, _kept, _disk, _globs, st.sampled_from([None, DAY]), st.booleans())
def test_after_a_plan_was_carried_out_nothing_is_left_to_do(
    files: list[RemoteFile],
    indexed: dict[str, Kept],
    disk: dict[str, int],
    globs: tuple[str, ...],
    updated: str | None,
    whole: bool,
) -> None:
    want = wanted(*globs, whole=whole, updated=updated)
    first = plan_unit(want, files, indexed, disk)
    second = plan_unit(want, files, *apply(first, indexed, disk))
    assert second.transfers == ()
    assert second.parked == first.parked
    assert len(second.actions) == len(first.actions)


@given(_files, _kept, _disk, _globs)
def test_every_wanted_name_is_in_the_plan_exactly_once(
    files: list[RemoteFile], indexed: dict[str, Kept], disk: dict[str, int], globs: tuple[str, ...]
) -> None:
    plan = plan_unit(wanted(*globs), files, indexed, disk)
    names = [action.file.name for action in plan.actions]
    everything = {action.file.name for action in plan_unit(wanted(), files, {}, {}).actions}
    assert len(names) == len(set(names))
    assert everything == {file.name for file in files}
    assert set(names) <= everything


@pytest.mark.parametrize(
    ("listed", "size", "md5", "how"),
    [
        ((10, "a" * 32), 10, "a" * 32, "MD5"),
        ((None, "a" * 32), 10, "a" * 32, "MD5"),
        ((10, "a" * 32), 10, "b" * 32, None),
        ((11, "a" * 32), 10, "a" * 32, None),
        ((10, None), 10, "a" * 32, "size"),
        ((11, None), 10, "a" * 32, None),
        ((None, None), 10, "a" * 32, None),
    ],
)
def test_bytes_are_known_by_their_md5_or_else_by_their_size(
    listed: tuple[int | None, str | None], size: int, md5: str, how: str | None
) -> None:
    """An MD5 that differs is never outweighed by a size that agrees; where neither is listed, nothing is known."""
    assert known_by(RemoteFile("f", "", *listed), size, md5) == how
