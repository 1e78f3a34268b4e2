"""Totals that contradict each other: what is reported is so for any weights, and what there is, is found."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_calibrate.problem import CalibrationProblem, Consistency, Disagreement, consistency, partitions
from l0_calibrate.problem.contradictions import contradictions
from l0_calibrate.problem.relations import AGREE, find_relations

MEDIUM = Path(__file__).parents[3] / "shared/data/us_state_soi_medium"

Dense = npt.NDArray[np.float64]


def by_name(problem: CalibrationProblem, name: str) -> int:
    return problem.target_names.tolist().index(name)


def exact(values: npt.NDArray[np.floating]) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


def holds(matrix: Dense, kind: str, whole: int, parts: tuple[int, ...]) -> bool:
    """By exact arithmetic: the parts add up to the whole on every record, or to no more than it."""
    added = [sum(column) for column in zip(*(exact(matrix[k]) for k in parts), strict=True)]
    if kind == "excess":
        return all(a <= w for a, w in zip(added, exact(matrix[whole]), strict=True))
    return added == exact(matrix[whole]) and (kind == "sum" or len(parts) == 1)


def best_loss(matrix: Dense, targets: Dense) -> float:
    """The least mean absolute relative error of any weights, by linear programming."""
    m, n = matrix.shape
    scale = np.maximum(np.abs(targets), 1.0)
    found = scipy.optimize.linprog(
        np.concatenate((np.zeros(n), np.ones(2 * m))),
        A_eq=np.hstack([matrix / scale[:, None], np.eye(m), -np.eye(m)]),
        b_eq=targets / scale,
    )
    assert found.status == 0
    return float(found.fun) / m


nested = st.integers(2, 7).flatmap(
    lambda m: st.lists(
        st.lists(st.sampled_from([0, 0, 1, 1, 2, 3, -1]), min_size=5, max_size=5), min_size=m, max_size=m
    )
)


@given(nested, st.lists(st.integers(-9, 30), min_size=7, max_size=7), st.booleans())
@settings(max_examples=400, deadline=None)
def test_what_is_reported_is_so_and_bounds_the_loss(rows: list[list[int]], values: list[int], positive: bool) -> None:
    matrix = np.abs(np.array(rows, float)) if positive else np.array(rows, float)
    problem = CalibrationProblem(matrix, values[: len(rows)])
    found = consistency(problem)
    for entry in found.disagreements:
        whole, parts = by_name(problem, entry.whole), tuple(by_name(problem, name) for name in entry.parts)
        assert holds(matrix, entry.kind, whole, parts)
        assert entry.value == problem.targets[whole]
        assert entry.parts_value == pytest.approx(problem.targets[list(parts)].sum())
        assert entry.difference == pytest.approx(entry.parts_value - entry.value)
        assert entry.kind != "excess" or entry.difference > 0
    errors = [entry.least_error for entry in found.disagreements]
    assert errors == sorted(errors, reverse=True)
    assert found.loss_at_least <= best_loss(matrix, problem.targets) + 1e-9
    assert max(errors, default=0.0) / len(rows) <= found.loss_at_least + 1e-9


def _divides(matrix: Dense, whole: int, rows: tuple[int, ...], overlapping: bool) -> bool:
    shared = (np.count_nonzero(matrix[list(rows)], axis=0) > 1).any()
    counts = all((matrix[i][matrix[i] != 0] >= 1).all() for i in (whole, *rows))
    return bool((matrix[list(rows)].sum(axis=0) == matrix[whole]).all() and (not shared or (overlapping and counts)))


@given(nested, st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_row_that_is_a_sum_of_others_is_found_to_be_one(rows: list[list[int]], positive: bool) -> None:
    """All subsets are tried: where some of them are disjoint and add up to a row, or are counts that do, one is found."""
    matrix = np.abs(np.array(rows, float)) if positive else np.array(rows, float)
    matrix = np.unique(matrix[(matrix != 0).any(axis=1)], axis=0)
    if not matrix.size:
        return
    found = find_relations(CalibrationProblem(matrix, np.arange(len(matrix))))
    assert not found.unfinished
    divided = {relation.whole for relation in found.found if relation.kind == "sum"}
    for whole in range(len(matrix)):
        others = [i for i in range(len(matrix)) if i != whole]
        subsets = [rest for size in range(2, len(others) + 1) for rest in combinations(others, size)]
        assert (whole in divided) == any(_divides(matrix, whole, rest, True) for rest in subsets)


def nation(seed: int, dtype: type = np.float32, states: int = 5, classes: int = 4) -> tuple[sp.csr_array, list[str]]:
    """Amounts of 400 records, some of them losses, by state and class, with all the totals of both, shuffled."""
    rng = np.random.default_rng(seed)
    state, band = rng.integers(0, states, 400), rng.integers(0, classes, 400)
    amount = (rng.lognormal(3.0, 2.0, 400) * rng.choice([-1, 1, 1, 1], 400)).astype(dtype)
    rows, names = [amount], ["US/all"]
    for s in range(states):
        rows.append(np.where(state == s, amount, 0))
        names.append(f"S{s}/all")
        for b in range(classes):
            rows.append(np.where((state == s) & (band == b), amount, 0))
            names.append(f"S{s}/b{b}")
    for b in range(classes):
        rows.append(np.where(band == b, amount, 0))
        names.append(f"US/b{b}")
    order = rng.permutation(len(rows))
    return sp.csr_array(np.array(rows)[order]), [names[i] for i in order]


def families(problem: CalibrationProblem) -> dict[str, list[set[str]]]:
    out: dict[str, list[set[str]]] = {}
    for relation in find_relations(problem).found:
        if relation.kind == "sum":
            parts = {str(problem.target_names[k]) for k in relation.parts}
            out.setdefault(str(problem.target_names[relation.whole]), []).append(parts)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(5))
def test_areas_and_classes_are_all_found(seed: int, dtype: type) -> None:
    matrix, names = nation(seed, dtype)
    found = families(CalibrationProblem(matrix, np.ones(len(names)), target_names=names))
    states, classes = range(5), range(4)
    expected = {
        "US/all": [{f"S{s}/all" for s in states}, {f"US/b{b}" for b in classes}],
        **{f"S{s}/all": [{f"S{s}/b{b}" for b in classes}] for s in states},
        **{f"US/b{b}": [{f"S{s}/b{b}" for s in states}] for b in classes},
    }
    assert {whole: sorted(map(sorted, parts)) for whole, parts in found.items()} == {
        whole: sorted(map(sorted, parts)) for whole, parts in expected.items()
    }


@pytest.mark.parametrize("seed", range(5))
def test_one_entry_of_one_unit_in_the_last_place_breaks_a_sum(seed: int) -> None:
    matrix, names = nation(seed)
    row = names.index("S2/b1")
    changed = matrix.copy()
    changed.data[matrix.indptr[row]] = np.nextafter(changed.data[matrix.indptr[row]], np.float32(np.inf))
    found = families(CalibrationProblem(changed, np.ones(len(names)), target_names=names))
    assert "S2/all" not in found
    assert "US/b1" not in found
    assert len(found["US/all"]) == 2  # which the entry is no part of
    assert len(found) == 8


def test_persons_of_households_add_up_over_bands_that_overlap() -> None:
    rng = np.random.default_rng(0)
    ages = rng.integers(0, 4, (300, 3))
    place = rng.integers(0, 3, 300)
    rows, names = [ages.sum(axis=1)], ["persons/all"]
    for a in range(3):
        rows.append(ages[:, a])
        names.append(f"persons/age{a}")
    for p in range(3):
        rows.append(np.where(place == p, ages.sum(axis=1), 0))
        names.append(f"persons/place{p}")
    problem = CalibrationProblem(np.array(rows), [600, 200, 200, 230, 200, 200, 200], target_names=names)
    found = consistency(problem)
    assert len(found.disagreements) == 1
    entry = found.disagreements[0]
    assert (entry.whole, set(entry.parts), entry.difference) == (
        "persons/all",
        {f"persons/age{a}" for a in range(3)},
        30,
    )
    assert found.sums == 2
    assert entry.remedy == "rescale the parts by 0.952381: other sums confirm the whole"


def consistent(seed: int = 0) -> tuple[sp.csr_array, list[str], Dense]:
    matrix, names = nation(seed)
    matrix = abs(matrix)
    return matrix, names, matrix @ np.random.default_rng(seed).uniform(50, 150, 400)


def asked(matrix: sp.csr_array, names: list[str], values: Dense) -> Consistency:
    return consistency(CalibrationProblem(matrix, values, target_names=names))


def test_totals_that_agree_are_left_alone() -> None:
    found = asked(*consistent())
    assert (found.disagreements, found.loss_at_least, found.unfinished, found.sums) == ((), 0.0, (), 11)


def test_one_wrong_value_is_named_by_the_sums_that_it_breaks() -> None:
    matrix, names, values = consistent()
    row = names.index("S3/b2")
    right = values[row]
    values[row] *= 1.5
    remedies = {entry.whole: entry.remedy for entry in asked(matrix, names, values).disagreements}
    assert set(remedies) == {"S3/all", "US/b2"}
    hint = f"look at S3/b2: {right:.6g} in the place of {values[row]:.6g} would settle all 2 sums that it is in"
    assert set(remedies.values()) == {hint}


def test_a_mistake_that_two_sums_show_bounds_the_loss_once() -> None:
    matrix, names, values = consistent()
    values[names.index("US/all")] *= 1.1
    found = asked(matrix, names, values)
    assert len(found.disagreements) == 2
    assert found.loss_at_least == pytest.approx(0.1 / 1.1 / len(names))
    assert found.loss_at_least == pytest.approx(best_loss(matrix.toarray().astype(float), values), rel=1e-6)


def test_a_whole_that_others_do_not_confirm() -> None:
    matrix, names, values = consistent()
    values[names.index("S1/all")] *= 1.2  # a part of the nation's too: there it is one of two that could be wrong
    entries = asked(matrix, names, values).disagreements
    assert {entry.whole for entry in entries} == {"S1/all", "US/all"}
    assert all(entry.remedy.startswith("look at S1/all") for entry in entries)
    keep = [i for i, name in enumerate(names) if not name.startswith("US/")]
    (alone,) = asked(sp.csr_array(matrix[keep]), [names[i] for i in keep], values[keep]).disagreements
    assert alone.remedy == f"rescale the parts by {1.2:.6g}, or leave the whole out"


def test_copies_are_compared_and_stand_in_by_their_names() -> None:
    matrix, names, values = consistent()
    twice = sp.csr_array(sp.vstack([matrix, matrix]))
    other = values * 1.01
    other[names.index("US/all")] *= 1.1
    labels = [f"old/{name}" for name in names] + [f"new/{name}" for name in names]
    found = asked(twice, labels, np.concatenate([values, other]))
    copies = [entry for entry in found.disagreements if entry.kind == "copy"]
    assert {(entry.whole, entry.parts[0]) for entry in copies} == {(f"old/{n}", f"new/{n}") for n in names}
    assert all(entry.against == f"the same row as {entry.parts[0]}" for entry in copies)
    sums = [entry for entry in found.disagreements if entry.kind == "sum"]
    assert [entry.whole for entry in sums] == ["new/US/all", "new/US/all"]
    assert all(part.startswith("new/") for entry in sums for part in entry.parts)
    assert found.agreeing_copies == ()
    assert len(asked(twice, labels, np.tile(values, 2)).agreeing_copies) == len(names)


def test_differences_of_totals_below_one_are_relative_to_one() -> None:
    row = np.arange(1.0, 41.0)
    (entry,) = asked(sp.csr_array([row, row]), ["old", "new"], np.array([0.2, 0.5])).disagreements
    assert entry.relative == pytest.approx(entry.difference)
    assert abs(entry.difference) == pytest.approx(0.3)


def test_a_search_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, names, values = consistent()
    monkeypatch.setattr(partitions, "effort", lambda entries: 0)
    found = asked(matrix, names, values)
    assert set(found.unfinished) == {"US/all", *(f"S{s}/all" for s in range(5)), *(f"US/b{b}" for b in range(4))}


def test_the_matrix_of_a_problem_stays_as_it_is_and_answers_are_the_same_again() -> None:
    matrix, names, values = consistent(1)
    values[3] *= 2
    problem = CalibrationProblem(matrix, values, target_names=names)
    digest = problem.digest
    first = consistency(problem)
    assert first == consistency(problem)
    assert CalibrationProblem(problem.matrix, values, target_names=names).digest == digest


def test_few_records_are_named_as_such() -> None:
    amounts = np.arange(1.0, 61.0)
    half = np.where(np.arange(60) < 30, amounts, 0)
    found = asked(sp.csr_array([amounts, half, amounts - half]), ["all", "a", "b"], np.array([100.0, 40.0, 40.0]))
    assert [entry.by_chance for entry in found.disagreements] == [False]
    for records, by_chance in ((30, False), (29, True)):
        some = asked(sp.csr_array([half[:records]] * 2), ["x", "y"], np.array([100.0, 40.0]))
        assert [(entry.kind, entry.by_chance) for entry in some.disagreements] == [("copy", by_chance)]


def test_sums_that_may_hold_by_chance_say_nothing_of_what_is_wrong() -> None:
    amounts, j = np.arange(1.0, 61.0), np.arange(60)
    members = {"all": j < 60, "most": j >= 10, "some": j < 40, "inner": (j >= 10) & (j < 40)}
    members |= {"few": j < 10, "odd": (j < 10) & (j % 2 == 1), "even": (j < 10) & (j % 2 == 0)}
    rows = np.array([np.where(inside, amounts, 0.0) for inside in members.values()])
    values = rows.sum(axis=1)
    values[list(members).index("few")] *= 2.0
    values[list(members).index("odd")] *= 7.0
    found = {entry.whole: entry for entry in asked(sp.csr_array(rows), list(members), values).disagreements}
    assert found["few"].by_chance
    for whole in ("all", "some"):
        assert found[whole].remedy.startswith("look at few: 55 in the place of 110 would settle all 2 sums")


def test_what_tolerances_make_up_for_is_no_fault() -> None:
    matrix, names, values = consistent()
    values[names.index("US/all")] *= 1.1
    problem = CalibrationProblem(matrix, values, target_names=names)
    for tolerance, tolerated in ((0.0, False), (0.03, False), (0.06, True)):  # of both sides, 0.1 / 1.1 together
        found = consistency(problem.with_tolerance(tolerance))
        assert [entry.tolerated for entry in found.disagreements] == [tolerated] * 2
        codes = {finding.code for finding in contradictions(found)}
        assert ("slight_disagreements" in codes, "sums_disagree" in codes) == (tolerated, not tolerated)


@pytest.mark.skipif(not MEDIUM.exists(), reason=f"{MEDIUM} is not there")
def test_states_and_nation_of_the_real_problem() -> None:
    problem = CalibrationProblem.load(MEDIUM)
    found = consistency(problem)
    states = [entry for entry in found.disagreements if len(entry.parts) == 51]
    assert len(states) == 37
    worst: Disagreement = states[0]
    assert worst.whole == "soi/dividends/usd/US/all"
    assert worst.relative == pytest.approx(-0.0191, abs=5e-5)
    assert 0 < found.loss_at_least < 0.0219  # the optimum is 0.021946
    assert all(entry.least_error > AGREE for entry in found.disagreements)
