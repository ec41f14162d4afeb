"""A fixed sample of what `make fuzz` does by the million: the same inputs each time, for every target."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from .fuzz import TARGETS, Target, source

_INPUTS = 600  # and more for what costs less


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_hostile_input_brings_no_exception_but_our_own(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if target.contained:
        process = multiprocessing.get_context("fork").Process(target=_feed, args=(target,))
        process.start()
        process.join()
        assert process.exitcode == 0
    else:
        _feed(target)


def _feed(target: Target) -> None:
    for number in range(_INPUTS * target.share):
        case = target.make(source(1, target.name, number))
        try:
            target.check(case)
        except Exception as error:
            error.add_note(f"python -m tests.fuzz --seed 1 --target {target.name} --input {number}: {repr(case)[:500]}")
            raise
