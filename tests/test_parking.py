"""When a file that stays wrong is tried again, and what a plan makes of it until then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.model import RemoteFile, SubResource
from mirror.planning.parking import LONGEST_DELAY, Parked, Parking, after_failure, delay_after, is_due
from mirror.planning.plan import Add, Adopt, Hold, Keep, Kept, Park, hold_back, plan_unit
from mirror.planning.selection import Wanted

NOW = datetime(2026, 11, 24, 11, tzinfo=UTC)
DAY = "2026-10-02"
MD5, OTHER = "a" * 32, "b" * 32
FILE = RemoteFile("x.7z.001", "http://u/x.7z.001", 100, MD5)
SECOND = RemoteFile("x.7z.002", "http://u/x.7z.002", 50, OTHER)
SIDE = RemoteFile("x.md5", "http://u/x.md5", 10, "c" * 32)
PARKED = Parked(FILE.url, 100, MD5, DAY, "upstream is wrong: no", 3, NOW + timedelta(hours=1))


def wanted(*, whole: bool = True) -> Wanted:
    return Wanted(SubResource("R", "S", "", updated=DAY), ("w",), (), whole)


# -- the rule


def test_the_delays_grow_up_to_a_week() -> None:
    minutes = [delay_after(runs) // timedelta(minutes=1) for runs in range(11)]
    assert minutes == [0, 0, 15, 60, 4 * 60, 16 * 60, 32 * 60, 64 * 60, 128 * 60, 7 * 24 * 60, 7 * 24 * 60]
    assert delay_after(10**9) == LONGEST_DELAY


def test_the_first_failure_lets_the_next_run_try_and_the_second_does_not() -> None:
    assert after_failure(None, FILE, DAY, wrong=True, at=NOW) == (1, None)
    once = replace(PARKED, failed_runs=1, next_try=None)
    assert after_failure(once, FILE, DAY, wrong=True, at=NOW) == (2, NOW + timedelta(minutes=15))


def test_a_failure_that_cost_nothing_is_tried_by_the_next_run_and_ends_no_row() -> None:
    assert after_failure(PARKED, FILE, DAY, wrong=False, at=NOW) == (3, None)
    assert after_failure(None, FILE, DAY, wrong=False, at=NOW) == (0, None)


CHANGES = [
    (replace(FILE, md5=OTHER), DAY),
    (replace(FILE, md5=None), DAY),
    (replace(FILE, size=101), DAY),
    (replace(FILE, url="http://elsewhere/x.7z.001"), DAY),
    (FILE, "2026-11-01"),
    (FILE, None),
]


@pytest.mark.parametrize(("file", "updated"), CHANGES)
def test_a_changed_listing_begins_anew(file: RemoteFile, updated: str | None) -> None:
    """It is tried at once, and a failure is again the first."""
    assert Parking({FILE.name: PARKED}, NOW).keeps(FILE, DAY) is not None
    assert Parking({FILE.name: PARKED}, NOW).keeps(file, updated) is None
    assert after_failure(PARKED, file, updated, wrong=True, at=NOW) == (1, None)


@given(st.integers(0, 40), st.timedeltas(timedelta(days=-400), timedelta(days=400)))
def test_a_clock_that_jumps_parks_nothing_for_ever(runs: int, jump: timedelta) -> None:
    """Whatever the clock says at the next run, the file is tried no later than its delay from then."""
    runs, next_try = after_failure(replace(PARKED, failed_runs=runs), FILE, DAY, wrong=True, at=NOW)
    assert is_due(runs, next_try, NOW + jump) or is_due(runs, next_try, NOW + jump + delay_after(runs))


@given(st.integers(2, 40), st.floats(0, 0.999))
def test_before_its_time_a_file_is_left_alone(runs: int, part: float) -> None:
    runs, next_try = after_failure(replace(PARKED, failed_runs=runs - 1), FILE, DAY, wrong=True, at=NOW)
    assert not is_due(runs, next_try, NOW + delay_after(runs) * part)
    assert is_due(runs, next_try, NOW + delay_after(runs))


# -- the plan


def test_until_its_next_try_a_file_is_parked_with_the_reason() -> None:
    plan = plan_unit(wanted(), [FILE], {}, {}, Parking({FILE.name: PARKED}, NOW))
    assert plan.actions == (Park(FILE, "parked until 2026-11-24 12:00 UTC after 3 runs: upstream is wrong: no", waiting=True),)
    later = plan_unit(wanted(), [FILE], {}, {}, Parking({FILE.name: PARKED}, NOW + timedelta(hours=1)))
    assert [type(action) for action in later.actions] == [Add]


def test_what_is_here_as_listed_is_kept_whatever_was_parked() -> None:
    plan = plan_unit(wanted(), [FILE], {FILE.name: Kept(100, MD5, DAY)}, {FILE.name: 100}, Parking({FILE.name: PARKED}, NOW))
    assert [type(action) for action in plan.actions] == [Keep]


def test_what_was_put_into_the_folder_is_looked_at_but_not_fetched() -> None:
    (action,) = plan_unit(wanted(), [FILE], {}, {FILE.name: 100}, Parking({FILE.name: PARKED}, NOW)).actions
    assert isinstance(action, Adopt)
    assert action.parked is not None
    assert action.parked.startswith("parked until")


def test_what_is_staged_beside_a_parked_file_is_left_there() -> None:
    """The whole sub-resource, or the volumes of the archive; what is not staged, or of another size, is fetched."""
    files = [FILE, SECOND, SIDE]
    parking = Parking({FILE.name: PARKED}, NOW)

    def kinds(staged: dict[str, int], *, whole: bool) -> list[type]:
        return [type(action) for action in hold_back(plan_unit(wanted(whole=whole), files, {}, {}, parking), staged).actions]

    assert kinds({SECOND.name: 50, SIDE.name: 10}, whole=True) == [Park, Hold, Hold]
    assert kinds({SECOND.name: 50, SIDE.name: 10}, whole=False) == [Park, Hold, Add]
    assert kinds({SECOND.name: 49}, whole=True) == [Park, Add, Add]


def test_a_plan_keeps_in_staging_what_it_holds_back() -> None:
    plan = hold_back(plan_unit(wanted(), [FILE, SECOND, SIDE], {}, {}, Parking({FILE.name: PARKED}, NOW)), {SECOND.name: 50})
    assert plan.staging == {FILE.name, SECOND.name, SIDE.name}
    assert [action.file for action in plan.transfers] == [SIDE]
    (held,) = [action for action in plan.actions if isinstance(action, Hold)]
    assert held.reason == "in staging, to appear together with x.7z.001, which is parked"
