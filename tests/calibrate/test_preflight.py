"""Pre-flight: each finding where it must be, nowhere else, and nothing taken out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_calibrate import calibrate
from l0_calibrate.problem import CalibrationProblem, Finding, preflight
from l0_calibrate.problem.units import is_far_off
from l0_calibrate.problem.zeros import emptying
from l0_core import InputError

BUNDLED = Path(__file__).parents[2] / "packages/l0-calibrate/src/l0_calibrate/demo/us_national_small"


def findings(problem: CalibrationProblem, **bounds: float) -> dict[str, Finding]:
    found = preflight(problem, **bounds)
    assert len({finding.code for finding in found}) == len(found)
    return {finding.code: finding for finding in found}


def full(rows: int = 2, records: int = 6, **rest: object) -> CalibrationProblem:
    """Targets with support enough that nothing but the size is to be said."""
    matrix = np.random.default_rng(0).uniform(1.0, 2.0, (rows, records))
    return CalibrationProblem(matrix, matrix.sum(axis=1), **rest)  # type: ignore[arg-type]


def test_a_sound_problem_has_nothing_but_its_size() -> None:
    found = findings(full())
    assert list(found) == ["memory"]
    # The matrix as given; 10 bytes an entry and 7 pointers of 8; 12 vectors over 8 numbers.
    held = full().matrix
    matrix = held.data.nbytes + held.indices.nbytes + held.indptr.nbytes
    parts = [matrix, 10 * 12 + 8 * 7, 8 * 12 * 8]
    sizes = [f"{size / 1e3:.1f} KB" for size in (sum(parts), *parts)]
    assert found["memory"].message == (
        f"about {sizes[0]}: the matrix {sizes[1]}, the scaled system {sizes[2]}, vectors of a solver {sizes[3]}"
    )


@pytest.mark.parametrize(("records", "net", "bytes_"), [(4_000, 0.0, 10), (60_000, 0.0, 6), (60_000, 1e3, 10)])
def test_the_size_is_that_of_the_system_that_is_built(records: int, net: float, bytes_: int) -> None:
    """Few entries, and those of a row that is a small difference of large sums, are stored in float64."""
    matrix = np.random.default_rng(0).uniform(1.0, 2.0, (10, records))
    targets = matrix.sum(axis=1)
    matrix[0] *= np.where(np.arange(records) % 2, 1.0 + net, 1.0 - net) if net else 1.0
    problem = CalibrationProblem(matrix, targets)
    columns = problem.system.columns
    stored = columns.values.nbytes + columns.indices.nbytes + columns.indptr.nbytes
    assert stored == bytes_ * matrix.size + 8 * (records + 1)
    size = f"{stored / 1e6:,.0f} MB" if stored >= 1e6 else f"{stored / 1e3:,.1f} KB"
    assert f"the scaled system {size}," in findings(problem)["memory"].message


def test_targets_without_records() -> None:
    matrix = np.vstack([np.ones((1, 6)), np.zeros((2, 6)), [[1, 0, 0, 0, 0, 0]]])
    problem = CalibrationProblem(matrix, [6, 5, 0, 1], initial_weights=[0, 1, 1, 1, 1, 1])
    found = findings(problem)
    assert found["no_support"].severity == "error"
    assert found["no_support"].names == ("target_1", "target_3")  # the last rests on a record of weight 0
    assert found["empty_zero_target"].names == ("target_2",)
    assert found["zero_weight_records"].names == ("0",)
    assert problem.n_targets == 4
    assert problem.unreachable.tolist() == [1, 2, 3]
    with pytest.raises(InputError, match="target_1, target_2, target_3"):
        problem.refuse_unreachable()


def test_thin_targets_say_how_thin() -> None:
    matrix = np.vstack([np.ones((1, 6)), [[1, 0, 0, 0, 0, 0]], [[1, 1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1, 0]]])
    thin = findings(CalibrationProblem(matrix, [6, 1, 4, 5]))["thin_support"]
    assert thin.names == ("target_1", "target_2")
    assert "target_1 (1 record)" in thin.message
    assert "target_2 (4 records)" in thin.message


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=4),
    st.lists(st.integers(-20, 20), min_size=4, max_size=4),
    st.lists(st.integers(0, 3), min_size=3, max_size=3).filter(any),
    st.sampled_from([(None, None), (None, 2.0), (0.5, 2.0), (0.5, None), (1.0, 1.0)]),
)
@settings(max_examples=150, deadline=None)
def test_reach_is_that_of_linear_programming(
    matrix: list[list[int]], targets: list[int], weights: list[int], bounds: tuple[float | None, float | None]
) -> None:
    problem = CalibrationProblem(np.array(matrix, float), targets[: len(matrix)], initial_weights=weights)
    lower, upper = bounds
    found = findings(problem, min_weight_ratio=lower, max_weight_ratio=upper)  # type: ignore[arg-type]
    lost = set(found["out_of_reach"].names if "out_of_reach" in found else ())
    lost |= set(found["no_support"].names if "no_support" in found else ())
    box = [((lower or 0.0) * w, 0.0 if w == 0 else None if upper is None else upper * w) for w in weights]
    for i, row in enumerate(matrix):
        met = scipy.optimize.linprog(np.zeros(3), A_eq=[row], b_eq=[targets[i]], bounds=box).success
        assert (f"target_{i}" in lost) == (not met)


def test_totals_that_meet_a_bound_but_for_what_float32_took_are_within_reach() -> None:
    tenth = np.full((1, 6), 0.1, dtype=np.float32)  # a little more than 0.1
    assert "out_of_reach" not in findings(CalibrationProblem(tenth, [1.2]), min_weight_ratio=2.0)
    assert "out_of_reach" in findings(CalibrationProblem(tenth, [1.19]), min_weight_ratio=2.0)


@pytest.mark.parametrize("bounds", [(-1.0, 2.0), (3.0, 2.0), (0.0, 0.0), (0.0, float("nan"))])
def test_bounds_that_cannot_be_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="ratio bounds"):
        preflight(full(), min_weight_ratio=bounds[0], max_weight_ratio=bounds[1])


def test_units_that_do_not_match() -> None:
    matrix = np.ones((4, 6)) * [[1], [1e6], [1], [1]] + np.eye(4, 6)
    found = findings(CalibrationProblem(matrix, [6.0, 6.0, 0.5, 6e6]))
    assert found["far_off"].names == ("target_1", "target_3")  # far above and far below
    assert found["below_one"].names == ("target_2",)


def test_copies_of_targets() -> None:
    base = np.random.default_rng(1).uniform(1.0, 2.0, (3, 60)).astype(np.float32)
    matrix = base[[0, 1, 0, 2, 1]]
    found = findings(CalibrationProblem(matrix, [90, 90, 90, 90, 80]))
    assert found["duplicate_targets"].names == ("target_0", "target_2")
    assert found["conflicting_targets"].names == ("target_1", "target_4")
    assert found["conflicting_targets"].severity == "warning"


def test_records_that_decide_nothing() -> None:
    matrix = np.random.default_rng(2).uniform(1.0, 2.0, (3, 7))
    matrix[:, 2] = 0
    matrix[:, 5] = matrix[:, 1]
    found = findings(CalibrationProblem(matrix, matrix.sum(axis=1), record_ids=list("abcdefg")))
    assert found["untouched_records"].names == ("c",)
    assert found["identical_records"].names == ("f",)


def _bands(values: list[float], records: int = 120) -> CalibrationProblem:
    """A total and its three bands, of which the last two thirds of the records are in the second and third."""
    amounts = np.random.default_rng(3).gamma(2.0, 50.0, records)
    band = np.repeat([0, 1, 2], records // 3)
    matrix = np.vstack([amounts, *(np.where(band == k, amounts, 0.0) for k in range(3))])
    return CalibrationProblem(matrix, values, target_names=["all", "low", "middle", "high"])


def test_totals_that_contradict_each_other() -> None:
    found = findings(_bands([1000.0, 200.0, 300.0, 400.0]))
    sums = found["sums_disagree"]
    assert (sums.severity, sums.names) == ("warning", ("all",))
    assert "all (1000, 3 parts: low, ... 900: -10.00%)" in sums.message
    assert sums.disagreements[0].difference == -100.0
    assert "0.025" in found["loss_at_least"].message  # 100 of 1000, over four targets
    agreeing = findings(_bands([1000.0, 200.0, 300.0, 500.0]))
    assert not {"sums_disagree", "loss_at_least", "slight_disagreements"} & set(agreeing)


def test_slight_contradictions_and_those_of_few_records_stand_by_themselves() -> None:
    slight = findings(_bands([1000.0, 200.0, 300.0, 499.5]))
    assert slight["slight_disagreements"].severity == slight["loss_at_least"].severity == "info"
    assert slight["slight_disagreements"].names == ("all",)
    few = findings(_bands([1000.0, 200.0, 300.0, 400.0], records=27))
    assert few["few_records_disagree"].names == ("all",)
    assert "sums_disagree" not in few


def test_parts_that_exceed_a_whole_of_which_they_are_not_all() -> None:
    problem = _bands([1000.0, 200.0, 900.0, 400.0])
    rows = problem.subset([0, 2, 3], np.arange(120))  # without the low band
    assert findings(rows)["parts_exceed"].names == ("all",)
    assert "parts_exceed" not in findings(problem.subset([0, 1, 3], np.arange(120)))


def test_the_gravest_come_first_and_nothing_is_dropped() -> None:
    problem = CalibrationProblem.load(BUNDLED)
    before = problem.digest
    found = preflight(problem, max_weight_ratio=5)
    gravity = ["error", "warning", "info"]
    order = [gravity.index(finding.severity) for finding in found]
    assert order == sorted(order)
    codes = {finding.code: finding for finding in found}
    assert len(codes["thin_support"].names) == 9  # as its README says
    assert (problem.digest, problem.n_targets, problem.n_records) == (before, 167, 5000)


def test_products_in_blocks_are_those_of_the_whole() -> None:
    from l0_calibrate.problem.matrices import row_blocks
    from l0_calibrate.problem.products import times

    matrix = sp.random_array((50, 30), density=0.2, rng=np.random.default_rng(5), format="csr", dtype=np.float32)
    blocks = list(row_blocks(matrix, most=17))
    assert len(blocks) > 5
    assert [start for start, _, _ in blocks[1:]] == [stop for _, stop, _ in blocks[:-1]]
    assert np.array_equal(sp.vstack([block for _, _, block in blocks]).toarray(), matrix.toarray())
    dense = matrix.toarray().astype(float)
    v = np.arange(30.0)
    # float64 sums of at most 50 terms in another order
    np.testing.assert_allclose(times(matrix, v), dense @ v, rtol=1e-13)


def test_a_total_in_thousands_is_noticed_though_the_initial_weights_are_off_as_well() -> None:
    """The initial weights meet 0.7 times what is true: the estimate is 700 times a value in thousands."""
    amounts = np.random.default_rng(4).gamma(2.0, 1e5, 40)
    matrix = np.vstack([amounts, np.ones(40)])
    true = np.array([amounts.sum(), 40.0]) / 0.7
    assert "far_off" not in findings(CalibrationProblem(matrix, true))
    found = findings(CalibrationProblem(matrix, true / [1000.0, 1.0], target_names=["wages", "persons"]))
    assert found["far_off"].names == ("wages",)


def test_a_zero_that_only_empty_records_meet() -> None:
    """Records with amounts of one sign must lose all weight; amounts that cancel, or count nothing, need not."""
    rows = [
        [1.0, 2.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0, -3.0],
        [1.0, -1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0],
    ]
    problem = CalibrationProblem(np.array(rows), [0, 0, 0, 0, 2], target_names=["up", "down", "net", "none", "two"])
    found = findings(problem)["zero_target"]
    assert (found.severity, found.names) == ("warning", ("up", "down"))
    assert "up (2 records, initial estimate 3)" in found.message
    unpriced = CalibrationProblem(np.array(rows), [0] * 4 + [2], loss_weights=[0, 0, 1, 1, 1])
    assert "zero_target" not in findings(unpriced)
    assert emptying(unpriced).size == 0
    free = CalibrationProblem(np.array(rows), [0, 0, 0, 0, 2], tolerances=[2, 0, 0, 0, 0], target_names=list("abcde"))
    assert findings(free)["zero_target"].names == ("b",)
    assert problem.target_names[emptying(problem)].tolist() == list(found.names)


def test_a_fit_tells_of_targets_that_take_all_weight():
    """Of those of 0 whose entries have one sign where there is weight; the other record of the third has none."""
    matrix = [[1.0, 1.0, 1.0], [5.0, 0.0, 0.0], [3.0, 0.0, -1.0], [3.0, -1.0, 0.0], [0.0, 0.0, 2.0]]
    names = ["all", "dollars", "net", "both", "nobody"]
    problem = CalibrationProblem(matrix, [2.0, 0, 0, 0, 0], initial_weights=[1.0, 1.0, 0.0], target_names=names)
    assert problem.target_names[emptying(problem)].tolist() == ["dollars", "net"]
    notes = calibrate(problem).notes
    assert any(
        note.startswith("2 targets are 0, which only records without weight meet (dollars, net)") for note in notes
    )
    wanted = CalibrationProblem(matrix[:1], [2.0], initial_weights=[1.0, 1.0, 0.0])
    assert not any("without weight meet" in note for note in calibrate(wanted).notes)


def test_numbers_whose_sums_would_overflow_are_refused_by_name() -> None:
    for value in (1e308, -1.1e300):
        with pytest.raises(InputError, match=r"the value of target 'target_1' \(position 1\) is -?1.*larger units"):
            CalibrationProblem(np.ones((2, 3)), [1.0, value])
    with pytest.raises(InputError, match=r"the initial weight of record 2 \(position 2\) is 1e\+200: sums"):
        CalibrationProblem(np.ones((2, 3)), [1.0, 2.0], initial_weights=[1.0, 1.0, 1e200])
    large = CalibrationProblem(np.ones((2, 30)), [1e300, -1e300], initial_weights=np.full(30, 1e140))
    assert "out_of_reach" in findings(large, max_weight_ratio=2.0)
    matrix = np.ones((2, 30))
    matrix[1, 3] = 1e305
    with pytest.raises(InputError, match="entries of target 'target_1' times the initial weights overflow"):
        preflight(CalibrationProblem(matrix, [1.0, 2.0], initial_weights=np.full(30, 1e4)))


def test_far_off_is_beyond_a_hundred_times_a_target_other_than_zero_or_below_a_hundredth_of_it() -> None:
    targets = np.array([0.0, 1.0, 1.0, 1.0, 1.0, -2.0, -2.0, 5.0])
    estimates = np.array([1e6, 100.0, 101.0, 0.01, 0.009, 201.0, 200.0, 0.0])
    assert is_far_off(targets, estimates).tolist() == [False, False, True, False, True, True, False, True]
