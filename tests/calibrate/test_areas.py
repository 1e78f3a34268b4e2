"""Labels of areas: the blocks that they give, poor ones, what the result says, and how they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, Options, calibrate
from l0_calibrate.areas import area_numbers
from l0_calibrate.cli.app import app
from l0_calibrate.domains import calibrate_domains
from l0_calibrate.solvers.interior_point import structure
from l0_calibrate.solvers.interior_point.structure import find_structure
from l0_core import InputError
from nested_areas import nested_problem

STATES, DISTRICTS, ITEMS, RECORDS = 4, 3, 50, 60


@pytest.fixture(scope="module")
def nested() -> CalibrationProblem:
    """Nation, states and districts publish totals of items; districts are numbered anew in each state."""
    rng = np.random.default_rng(0)
    place = rng.permutation(np.repeat(np.arange(STATES * DISTRICTS), RECORDS))
    states = np.array([f"S{k}" for k in range(STATES)])[place // DISTRICTS]
    info = pd.DataFrame({"state": states, "district": place % DISTRICTS, "half": (place // DISTRICTS) // 2})
    info["gap"] = info["state"].where(np.arange(place.size) != 7)
    return nested_problem(rng, place, STATES, ITEMS, 6, info)


def structure_by(problem: CalibrationProblem, labels: object) -> structure.Structure:
    areas = area_numbers(problem, Options(areas=labels))
    assert areas is not None
    columns = problem.system.columns
    used = np.ones(columns.count, dtype=bool)
    return find_structure(columns, np.ones(columns.rows, dtype=bool), used, areas.numbers)


def test_blocks_are_those_of_the_areas_without_a_search(nested: CalibrationProblem, monkeypatch) -> None:
    asked: list[int] = []
    searched = structure.splits
    monkeypatch.setattr(structure, "splits", lambda splitter, rows: asked.append(rows.size) or searched(splitter, rows))
    found = structure_by(nested, nested.record_info[["state", "district"]])
    assert found.by_areas
    assert found.levels == 3
    assert len(found.blocks) == 1 + STATES + STATES * DISTRICTS
    assert not [size for size in asked if size > ITEMS]
    for block in found.blocks[:-1]:
        assert block.own == ITEMS
    # Each block's columns are records of one district.
    state, district = nested.record_info["state"].to_numpy(), nested.record_info["district"].to_numpy()
    for block in found.blocks:
        records = found.column_order[slice(*block.columns)]
        assert len({(state[j], district[j]) for j in records}) <= 1


def test_below_coarse_areas_blocks_are_still_looked_for(nested: CalibrationProblem) -> None:
    found = structure_by(nested, nested.record_info["half"])
    assert found.by_areas
    assert len(found.blocks) > 1 + 2
    assert max(block.own for block in found.blocks) < 3 * ITEMS


@pytest.mark.parametrize("kind", ["random", "one", "each"])
def test_poor_labels_change_nothing_but_who_found_the_blocks(nested: CalibrationProblem, kind: str) -> None:
    n = nested.n_records
    labels = {"random": np.random.default_rng(1).integers(0, 9, n), "one": np.zeros(n), "each": np.arange(n)}[kind]
    found = structure_by(nested, labels)
    plain = calibrate(nested, max_weight_ratio=8.0, tol=1e-4, solver="interior_point")
    given = calibrate(nested, max_weight_ratio=8.0, tol=1e-4, solver="interior_point", areas=labels)
    assert given.status == "optimal"
    assert given.objective == pytest.approx(plain.objective, rel=1e-4)
    assert found.by_areas == (kind == "one")  # one area of all records: blocks are looked for within it
    assert any(("by the areas given" if kind == "one" else "do not divide") in note for note in given.notes)


def test_areas_change_the_result_by_rounding_only_and_the_result_says_what_was_used(nested: CalibrationProblem) -> None:
    labels = nested.record_info[["state", "district"]]
    given = calibrate(nested, max_weight_ratio=8.0, tol=1e-3, areas=labels)
    plain = calibrate(nested, max_weight_ratio=8.0, tol=1e-3)
    assert given.solver == plain.solver == "interior_point"
    assert given.objective == pytest.approx(plain.objective, rel=1e-3)
    assert given.bound <= plain.objective
    assert "targets in 17 blocks on 3 levels, by the areas given" in given.notes
    assert given.options.as_dict()["areas"] == [STATES, DISTRICTS]
    other = calibrate(nested, areas=labels, solver="primal_dual")
    assert "the areas given are of no use to solver 'primal_dual', which was taken" in other.notes


def test_budgets_and_domains_take_areas(nested: CalibrationProblem) -> None:
    labels = nested.record_info[["state", "district"]]
    kept = calibrate(nested, keep=400, tol=1e-3, areas=labels, dense_bound=True)
    assert kept.kept == 400
    assert any("by the areas given" in note for note in kept.notes)
    within = np.flatnonzero((np.diff(nested.matrix.indptr) > 0) & (np.arange(nested.n_targets) >= ITEMS))
    states = nested.subset(within, np.arange(nested.n_records))
    parts = calibrate_domains(states, "state", Options(areas=labels, tol=1e-3))
    whole = calibrate_domains(states, "state", Options(tol=1e-3))
    assert parts.objective == pytest.approx(whole.objective, rel=1e-3)
    for state in range(STATES):  # the labels of its own records: a block for each district
        assert f"state S{state}: targets in {1 + 1 + DISTRICTS} blocks on 3 levels, by the areas given" in parts.notes


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        (np.zeros(3), r"areas must have one label for each of the 720 records.*got shape \(3, 1\)"),
        (np.zeros((2, 720)), r"got shape \(2, 720\)"),
        ([["a"] * 720, ["b"] * 719], "as many labels on each level"),
        (np.where(np.arange(720) == 5, "", "x"), "record 5 has no area; give"),
        (np.where(np.arange(1440).reshape(720, 2) == 5, np.nan, 1.0), "record 2 has no area on level 2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(nested: CalibrationProblem, areas: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(nested, areas=areas)


def test_the_command_line_names_columns(nested: CalibrationProblem, tmp_path: Path) -> None:
    nested.save(tmp_path / "problem")
    runner = CliRunner()

    def fit(columns: str) -> object:
        return runner.invoke(
            app,
            ["fit", str(tmp_path / "problem"), "--areas", columns, "--out", str(tmp_path / "run"), "--tol", "0.001"],
        )

    done = fit("state, district")
    assert done.exit_code == 0, done.output
    assert "17 blocks on 3 levels, by the areas given" in " ".join(done.output.split())
    for columns, message in (
        ("state,distict", "no column 'distict'; did you mean 'district'"),
        ("gap", "column 'gap' has no value for 1 of the records: 7"),
    ):
        refused = fit(columns)
        assert refused.exit_code != 0
        assert message in str(refused.exception)
