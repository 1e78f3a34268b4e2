"""Targets that weights near the initial ones meet: what is left to choose is how even the weights are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.run import Run
from l0_calibrate.solvers.base import MET, Stop, Task
from l0_calibrate.solvers.fit import EVEN, Fit
from l0_calibrate.system import build_system


def problem(off: float, records: int = 800) -> CalibrationProblem:
    """A count and amounts, each off by a few hundredths or less of what the initial weights give."""
    random = np.random.default_rng(4)
    amounts = random.gamma(2.0, 1.0, (3, records)) * (random.random((3, records)) < 0.6)
    matrix = np.vstack((np.ones(records), amounts))
    weights = random.uniform(100.0, 900.0, records)
    totals = (matrix @ weights) * (1.0 + off * np.array([1.0, -0.6, 0.8, 0.3]))
    return CalibrationProblem(matrix, totals, initial_weights=weights)


def nearest(asked: CalibrationProblem) -> np.ndarray:
    """The ratios that meet all totals with the least sum of ``(u - 1)^2``."""
    a = asked.matrix.toarray() * asked.initial_weights
    moved: np.ndarray = a.T @ np.linalg.solve(a @ a.T, asked.targets - a.sum(axis=1))
    return 1.0 + moved


@pytest.mark.parametrize(
    ("solver", "loss"),
    [
        ("interior_point", "absolute"),
        ("interior_point", "squared"),
        ("interior_point", "huber"),
        ("primal_dual", "absolute"),
    ],
)
@pytest.mark.parametrize("off", [0.05, 0.02])
def test_weights_are_as_even_as_the_totals_allow(solver: str, loss: str, off: float) -> None:
    asked = problem(off)
    expected = nearest(asked)
    assert expected.min() > 0.5
    result = calibrate(asked, solver=solver, loss=loss, threads=1)
    ratios = result.weights / asked.initial_weights
    assert np.sqrt(np.mean((ratios - expected) ** 2)) < 0.02 * np.sqrt(np.mean((expected - 1.0) ** 2))
    assert result.gap < 0.01
    assert result.status == "optimal"


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_targets_are_met_by_a_curved_price_too(loss: str) -> None:
    """Half the square of an error of 1e-4 is small, and the error is not."""
    result = calibrate(problem(0.2), loss=loss, spread=0.0, solver="interior_point", threads=1)
    assert result.diagnostics.worst_error < 3e-6
    assert any("all targets are met" in note for note in result.notes)


def test_what_is_met_and_what_is_not_is_told() -> None:
    result = calibrate(problem(0.0), threads=1)
    assert result.status == "converged"
    assert result.diagnostics.worst_error < 1e-12
    assert any("all targets are met" in note for note in result.notes)
    assert not any("all targets are met" in note for note in calibrate(problem(0.02), threads=1).notes)


def test_a_limit_that_cuts_off_only_how_even_the_weights_are_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals of records up to one after another, nearly the same rows: met soon, and evened out slowly."""
    random = np.random.default_rng(0)
    m, n = 100, 200
    matrix = (np.arange(n) < (np.arange(m)[:, None] + 1) * n / m).astype(float)
    matrix = np.vstack((matrix, random.gamma(2.0, 1.0, (m // 2, n)) * np.exp(random.standard_normal(n))))
    asked = CalibrationProblem(matrix, matrix @ (1.0 + random.uniform(-0.05, 0.05, n)))

    def told(iterations: int, solver: str) -> bool:
        monkeypatch.setattr(Run, "stop", lambda run: Stop(run.options.tol, iterations))
        return any("how even the weights are" in note for note in calibrate(asked, solver=solver, threads=1).notes)

    assert told(4_000, "primal_dual")
    assert not told(1_000, "primal_dual")  # targets are still missed
    assert not told(100_000, "interior_point")


def test_an_objective_that_is_next_to_nothing() -> None:
    """By the price of an error of `MET`, and by what ratios a thousandth off their centre cost, whichever is less."""
    m, n = 3, 5
    system = build_system(sp.csr_array(np.ones((m, n))), np.full(m, 5.0), np.ones(n))
    ones, zero = np.ones(m), np.zeros(m)

    def negligible(price: RowPrice, spread: float) -> float:
        bounds: Any = (np.zeros(n), np.full(n, np.inf))
        return Fit.of(Task(system, price, None, *bounds, np.full(n, spread), 1.0)).negligible

    assert negligible(RowPrice(2.0 * ones, zero, zero), 0.0) == pytest.approx(6.0 * MET)
    assert negligible(RowPrice(ones, 0.1 * ones, zero), 0.0) == pytest.approx(3.0 * MET, rel=1e-6)
    assert negligible(RowPrice(np.full(m, np.inf), zero, ones), 0.0) == pytest.approx(1.5 * MET**2)
    assert negligible(RowPrice(np.full(m, np.inf), zero, zero), 0.0) == pytest.approx(3.0 * MET)  # hard rows
    assert negligible(RowPrice(ones, zero, zero), 1e-3) == pytest.approx(2.5e-3 * EVEN)
    assert negligible(RowPrice(ones, zero, zero), 1e6) == pytest.approx(3.0 * MET)
