"""Totals that contradict each other, judged from outside: by linear programming, by weights that are known, by trying all."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_calibrate.problem import CalibrationProblem, consistency, copies, preflight
from l0_calibrate.problem.copies import fingerprints, first_copies
from l0_calibrate.problem.relations import find_relations

Dense = npt.NDArray[np.float64]

ABOUT_CONTRADICTIONS = {
    "loss_at_least", "sums_disagree", "parts_exceed", "conflicting_targets", "few_records_disagree",
    "slight_disagreements",
}  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> Dense:
    """Rows as totals are: classes, thresholds and their complements of an amount or a count; sums, copies, multiples."""
    records = draw(st.integers(2, 7))
    kind = draw(st.sampled_from(["ones", "counts", "amounts", "losses"]))
    entries = {"ones": [1], "counts": [1, 1, 2, 3], "amounts": [0.5, 1.25, 7, 300], "losses": [-2, -1, 1, 3]}[kind]
    amount = np.array(draw(st.lists(st.sampled_from(entries), min_size=records, max_size=records)), float)
    rows = [amount]
    for _ in range(draw(st.integers(1, 4))):
        inside = np.array(draw(st.lists(st.booleans(), min_size=records, max_size=records)))
        rows += [np.where(inside, amount, 0)]
        rows += [np.where(inside, 0, amount)] * draw(st.booleans())
    for _ in range(draw(st.integers(0, 2))):
        several = draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=3))
        rows.append(np.sum([rows[k] for k in several], axis=0))  # a copy, a sum, or a multiple
    return np.array(draw(st.permutations(rows)))


def met(matrix: Dense, targets: Dense) -> bool:
    """Whether some weights meet the targets."""
    found = scipy.optimize.linprog(np.zeros(matrix.shape[1]), A_eq=matrix, b_eq=targets)
    assert found.status in (0, 2)
    return bool(found.status == 0)


def positions(problem: CalibrationProblem, names: tuple[str, ...]) -> list[int]:
    return [problem.target_names.tolist().index(name) for name in names]


@given(tables(), st.lists(st.integers(-3, 20), min_size=11, max_size=11))
@settings(max_examples=400, deadline=None)
def test_what_is_called_a_contradiction_no_weights_meet(matrix: Dense, values: list[int]) -> None:
    problem = CalibrationProblem(matrix, values[: len(matrix)])
    for entry in consistency(problem).disagreements:
        rows = positions(problem, (entry.whole, *entry.parts))
        assert len(set(rows)) == len(rows)
        assert not met(matrix[rows], problem.targets[rows])


@given(tables(), st.lists(st.integers(1, 9), min_size=7, max_size=7))
@settings(max_examples=400, deadline=None)
def test_totals_of_known_weights_are_never_called_a_contradiction(matrix: Dense, weights: list[int]) -> None:
    targets = matrix @ np.array(weights[: matrix.shape[1]], float)  # exact: few bits each
    problem = CalibrationProblem(matrix, targets)
    found = consistency(problem)
    assert (found.disagreements, found.loss_at_least) == ((), 0.0)
    assert ABOUT_CONTRADICTIONS.isdisjoint(finding.code for finding in preflight(problem))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_totals_of_known_weights_agree_to_rounding(seed: int, dtype: type) -> None:
    """Amounts from cents to billions, gains and losses, by area, class and threshold."""
    rng = np.random.default_rng(seed)
    n = 300
    amount = (rng.lognormal(5, 5, n) * rng.choice([-1, 1], n)).astype(dtype)
    area, level = rng.integers(0, 6, n), rng.random(n)
    masks = [np.ones(n, bool), *(area == a for a in range(6))]
    masks += [side for cut in (0.1, 0.4, 0.8) for side in (level < cut, level >= cut)]
    matrix = np.array([np.where(mask, amount, 0) for mask in masks], dtype)
    found = consistency(CalibrationProblem(matrix, matrix.astype(float) @ rng.lognormal(3, 1, n)))
    assert found.sums == 4
    assert (found.disagreements, found.loss_at_least) == ((), 0.0)


def halves(matrix: Dense, whole: int) -> list[tuple[int, int]]:
    """All pairs of other rows that add up to a row: disjoint ones, or counts."""
    pairs = []
    for a, b in combinations([i for i in range(len(matrix)) if i != whole], 2):
        rows = matrix[[a, b, whole]]
        counts = (rows[rows != 0] >= 1).all() and (rows == np.floor(rows)).all() and rows.max() < 256
        disjoint = not (rows[0] * rows[1]).any()
        if (rows[0] + rows[1] == rows[2]).all() and (disjoint or counts):
            pairs.append((a, b))
    return pairs


@given(tables())
@settings(max_examples=400, deadline=None)
def test_every_way_to_divide_a_row_into_two_is_found(matrix: Dense) -> None:
    matrix = np.unique(matrix[(matrix != 0).any(axis=1)], axis=0)
    if not len(matrix):
        return
    found = find_relations(CalibrationProblem(matrix, np.ones(len(matrix)))).found
    parts = [(relation.whole, relation.parts) for relation in found if relation.kind == "sum"]
    assert len(set(parts)) == len(parts)
    for whole in range(len(matrix)):
        assert {(whole, pair) for pair in halves(matrix, whole)} <= set(parts)


def test_both_sides_of_every_threshold_are_compared_with_the_total() -> None:
    income = np.arange(1.0, 101.0)
    rows, values, names = [income], [5000.0], ["all"]
    for cut in (20, 50, 80):
        rows += [np.where(income <= cut, income, 0), np.where(income > cut, income, 0)]
        values += [40.0 * cut, 5100.0 - 40.0 * cut]
        names += [f"at most {cut}", f"above {cut}"]
    found = consistency(CalibrationProblem(np.array(rows), values, target_names=names))
    sums = {entry.parts for entry in found.disagreements if entry.kind == "sum"}
    assert {frozenset(parts) for parts in sums} == {frozenset((f"at most {c}", f"above {c}")) for c in (20, 50, 80)}
    assert all(entry.remedy.startswith("look at all: 5100 in the place of 5000") for entry in found.disagreements)


def test_counts_that_lie_within_a_count_cannot_exceed_it() -> None:
    rng = np.random.default_rng(0)
    persons = rng.integers(2, 6, 200)
    children = rng.integers(1, persons)
    problem = CalibrationProblem(np.array([persons, children]), [500, 600], target_names=["persons", "children"])
    (entry,) = consistency(problem).disagreements
    assert (entry.kind, entry.whole, entry.parts, entry.difference) == ("excess", "persons", ("children",), 100)
    assert not met(problem.matrix.toarray(), problem.targets)
    assert consistency(CalibrationProblem(problem.matrix, [600, 500])).disagreements == ()


def test_of_two_totals_with_one_row_that_of_the_parts_source_is_compared() -> None:
    amounts = np.arange(1.0, 61.0)
    half = np.where(amounts <= 30, amounts, 0)
    matrix = np.array([amounts, amounts, half, amounts - half])
    names = ["old/all", "new/all", "new/low", "new/high"]
    found = consistency(CalibrationProblem(matrix, [100.0, 110.0, 50.0, 60.0], target_names=names))
    (copy,) = found.disagreements  # the sum is that of the new source, and agrees
    assert (copy.kind, copy.whole, copy.parts, found.sums) == ("copy", "old/all", ("new/all",), 2)


def test_rows_and_records_that_differ_beside_huge_entries_are_not_copies() -> None:
    matrix = np.array([[1e10, 1e10], [1e-10, 2e-10]])
    for table in (matrix, matrix.T):
        problem = CalibrationProblem(table, [1.0, 1.0])
        assert first_copies(problem.matrix).tolist() == [0, 1]
        assert np.unique(fingerprints(problem.matrix, by_rows=False)).size == 2
        assert "identical_records" not in {finding.code for finding in preflight(problem)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fingerprints_are_equal_where_rows_or_records_are(dtype: type) -> None:
    rng = np.random.default_rng(1)
    matrix = rng.integers(0, 2, (40, 4)) * rng.choice([1.5, -2.0, 1e-30], (40, 4))
    csr = CalibrationProblem(matrix.astype(dtype), np.ones(40)).matrix
    for by_rows, lines in ((True, csr.toarray()), (False, csr.toarray().T)):
        hashes = fingerprints(csr, by_rows)
        for i, j in combinations(range(len(lines)), 2):
            assert (hashes[i] == hashes[j]) == np.array_equal(lines[i], lines[j])


def test_rows_are_compared_entry_by_entry_should_their_fingerprints_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "fingerprints", lambda matrix, by_rows: np.zeros(matrix.shape[0], dtype=np.uint64))
    matrix = np.array([[1, 0, 2], [1, 0, 3], [1, 0, 2], [0, 1, 2], [1, 0, 3]], float)
    assert first_copies(CalibrationProblem(matrix, np.ones(5)).matrix).tolist() == [0, 1, 0, 3, 1]
