"""How carefully a pruning goes: by the size of the problem, and by what is left beside the number of targets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from l0_calibrate.selectors.prune import BRIEF, CAREFUL, NESTED, NESTED_CAREFUL, QUICK, SPARING, Pace, Step


@pytest.mark.parametrize(
    ("entries", "keep", "nested", "alone", "before_search"),
    [
        (400_000, 500, False, CAREFUL, CAREFUL),
        (400_000, 100, False, CAREFUL, CAREFUL),
        (1_000_000, 150, False, QUICK, QUICK),
        (1_000_000, 149, False, SPARING, QUICK),
        (9_000_000, 150, False, BRIEF, BRIEF),
        (9_000_000, 149, False, SPARING, BRIEF),
        (400_000, 100, True, NESTED_CAREFUL, NESTED_CAREFUL),
        (1_000_000, 100, True, NESTED, NESTED),
        (9_000_000, 100, True, NESTED, NESTED),
    ],
)
def test_goes_by_size_and_by_the_records_for_each_target(
    entries: int, keep: int, nested: bool, alone: Pace, before_search: Pace
) -> None:
    system = SimpleNamespace(targets=100, columns=SimpleNamespace(nnz=entries))
    budget: Any = SimpleNamespace(system=system, keep=keep, nested=nested)
    assert Pace.of(budget) is alone
    assert Pace.before_search(budget) is before_search


def test_steps_go_by_the_records_that_are_left() -> None:
    pace = Pace(0, Step(4, 0.9), far=Step(1, 0.9), near=Step(2, 0.9), below=Step(3, 0.9))
    sizes = {300: 1, 299: 4, 150: 4, 149: 2, 100: 2, 99: 3}
    assert {size: pace.step_from(size, 100).each for size in sizes} == sizes
    assert {Pace(0, Step(4, 0.9)).step_from(size, 100).each for size in sizes} == {4}
