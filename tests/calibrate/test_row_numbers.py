"""Row numbers are kept in 16 bits where they fit: the answers must be those of the same rows under large numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.solvers.mass import with_mass_row
from l0_calibrate.system import build_system

WIDTHS = {65_536: np.uint16, 65_537: np.uint32}


def small() -> tuple[sp.csr_array, np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    matrix = sp.random_array((6, 60), density=0.3, random_state=random, data_sampler=random.standard_exponential)
    matrix = sp.vstack((matrix, matrix)).tocsr()  # the same totals twice, with targets that disagree
    weights = random.uniform(0.5, 2.0, 60)
    return matrix, (matrix @ weights) * random.uniform(0.3, 2.0, 12), weights


def behind(rows: int, matrix: sp.csr_array) -> sp.csr_array:
    """The rows of a matrix as the last of so many; those before are empty."""
    indptr = np.concatenate((np.zeros(rows - matrix.shape[0], dtype=matrix.indptr.dtype), matrix.indptr))
    return sp.csr_array((matrix.data, matrix.indices, indptr), shape=(rows, matrix.shape[1]))


@pytest.mark.parametrize("rows", WIDTHS)
def test_width_is_the_least_that_holds_every_row(rows: int) -> None:
    matrix, targets, weights = small()
    system = build_system(behind(rows, matrix), np.concatenate((np.zeros(rows - 12), targets)), weights)
    c = system.columns
    assert c.indices.dtype == WIDTHS[rows]
    assert c.indices.max() == rows - 1
    alone = build_system(matrix, targets, weights).columns
    np.testing.assert_array_equal(c.indices.astype(int) - (rows - 12), alone.indices)
    np.testing.assert_array_equal(c.values, alone.values)


def test_row_of_the_mass_gets_a_number_of_its_own() -> None:
    rows = 65_536
    matrix, targets, weights = small()
    columns = build_system(behind(rows, matrix), np.concatenate((np.zeros(rows - 12), targets)), weights).columns
    with_mass = with_mass_row(columns, weights)
    assert (with_mass.indices == rows).sum() == columns.count


@pytest.mark.parametrize("rows", WIDTHS)
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "primal_dual"},
        {"solver": "primal_dual", "max_weight_ratio": None},
        {"solver": "interior_point"},
        # Row numbers of another width are added up in another order: with a spread the optimum is alone all the same.
        {"solver": "coordinate_descent", "loss": "squared", "spread": 1e-3},
        {"keep": 20, "selector": "exchange", "selector_settings": {"rounds": 3}},
        {"conserve_mass": True},
    ],
    ids=str,
)
def test_answers_do_not_depend_on_the_width(rows: int, options: dict[str, Any]) -> None:
    matrix, targets, weights = small()
    options = {"max_weight_ratio": 3, "tol": 1e-6, "spread": 0.0, "seed": 1, **options}
    alone = calibrate(CalibrationProblem(matrix, targets, initial_weights=weights), **options)
    wide = CalibrationProblem(
        behind(rows, matrix), np.concatenate((np.zeros(rows - 12), targets)), initial_weights=weights
    )
    result = calibrate(wide, **{**options, "spread": options["spread"] * 12 / rows})  # it is priced a target
    assert result.loss * rows == pytest.approx(alone.loss * 12, rel=1e-5)
    assert result.kept == alone.kept
