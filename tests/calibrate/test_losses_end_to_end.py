"""Every loss through `calibrate` and the command line: its own optimum by an independent method, exact budgets."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.cli.app import app
from l0_calibrate.losses import reweighting

SOLVERS = ("interior_point", "primal_dual")
SMOOTH = ("squared", "huber")
TAKES = [(name, solver) for name in ("absolute", *SMOOTH) for solver in SOLVERS]
TAKES += [(name, "coordinate_descent") for name in SMOOTH]
RATIO = 6.0
TOLERANCE = 1e-4
"""Certified gap asked for."""
SLACK = 1e-6
"""Of the float32 entries that solvers see, and of the references' own tolerances."""


def problem(seed: int = 0, m: int = 14, n: int = 60) -> CalibrationProblem:
    rng = np.random.default_rng(seed)
    matrix = np.abs(rng.normal(size=(m, n))) * (rng.random((m, n)) < 0.5)
    matrix[3] = 0.0  # a target that nothing can move
    w = rng.uniform(1.0, 3.0, n)
    targets = np.where(matrix.sum(axis=1) > 0, (matrix @ w) * rng.uniform(0.4, 1.8, m), 5.0)
    weights = rng.choice([0.5, 1.0, 3.0], m)
    groups = np.repeat(["a", "b"], [4, m - 4])
    return CalibrationProblem(
        sp.csr_array(matrix), targets, initial_weights=w, loss_weights=weights, groups=groups
    )  # fmt: skip


def scaled(asked: CalibrationProblem) -> tuple[np.ndarray, np.ndarray]:
    """The relative errors as ``A u - b`` of the ratios u, from the problem's own matrix."""
    s = np.maximum(np.abs(asked.targets), 1.0)
    a = asked.matrix.toarray().astype(float) * asked.initial_weights / s[:, None]
    return a, asked.targets / s


def absolute(a: np.ndarray, b: np.ndarray, c: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    m, n = a.shape
    cost = np.concatenate((np.zeros(n), c, c))
    bounds = np.vstack((np.column_stack((low, high)), np.tile([0.0, np.inf], (2 * m, 1))))
    return float(so.linprog(cost, A_eq=np.hstack((a, -np.eye(m), np.eye(m))), b_eq=b, bounds=bounds).fun)


def squared(a: np.ndarray, b: np.ndarray, c: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    root = np.sqrt(c)
    found = so.lsq_linear(a * root[:, None], b * root, (low, high), tol=1e-14, lsmr_tol="auto", max_iter=2000)
    return 2.0 * float(found.cost)


def huber(a: np.ndarray, b: np.ndarray, c: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """A quadratic programme for Huber's function: ``min c (s^2 / (2 delta) + t)`` over ``|r| <= s + t``."""
    delta = 0.05

    def value(u: np.ndarray) -> tuple[float, np.ndarray]:
        r = a @ u - b
        size = np.abs(r)
        cost = np.where(size <= delta, size**2 / (2 * delta), size - delta / 2)
        return float(c @ cost), a.T @ (c * np.clip(r / delta, -1.0, 1.0))

    best = so.minimize(
        value, np.ones(a.shape[1]), jac=True, bounds=list(zip(low, high, strict=True)), method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-11},
    )  # fmt: skip
    return float(best.fun)


OPTIMA = {"absolute": absolute, "squared": squared, "huber": huber}


@pytest.mark.parametrize(("name", "solver"), TAKES)
def test_a_dense_fit_is_at_the_optimum_of_its_loss(name: str, solver: str) -> None:
    asked = problem()
    a, b = scaled(asked)
    m, n = a.shape
    result = calibrate(
        asked, loss=name, solver=solver, spread=0.0, max_weight_ratio=RATIO, tol=TOLERANCE
    )  # fmt: skip
    best = OPTIMA[name](a, b, asked.loss_weights, np.zeros(n), np.full(n, RATIO)) / m
    assert result.status == "optimal"
    assert result.bound is not None
    assert result.bound <= best * (1 + SLACK)
    assert best * (1 - SLACK) <= result.objective <= best * (1 + TOLERANCE + SLACK)


@pytest.mark.parametrize(("name", "solver"), TAKES)
def test_a_budget_is_exact_and_its_refit_is_at_the_optimum_on_its_records(name: str, solver: str) -> None:
    asked, keep = problem(1), 20
    result = calibrate(
        asked, loss=name, solver=solver, keep=keep, spread=0.0, max_weight_ratio=RATIO, tol=1e-3
    )  # fmt: skip
    assert result.kept == keep
    a, b = scaled(asked)
    support = result.selection.indices
    ratios = result.weights[support] / asked.initial_weights[support]
    high = np.full(keep, RATIO * asked.n_records / keep)
    best = OPTIMA[name](a[:, support], b, asked.loss_weights, np.zeros(keep), high) / asked.n_targets
    assert (ratios > 0).all()
    assert (ratios <= high * (1 + 1e-9)).all()
    # Floors keep every weight positive; they are worth at most 1 % of a target each.
    assert best * (1 - SLACK) <= result.objective <= best * 1.1
    assert result.bound is not None
    assert result.bound <= result.objective


def test_weights_and_groups_decide_what_counts() -> None:
    """Each group of targets counts the same, within it by weight: the price of a residual says so."""
    asked = problem()
    weights = asked.loss_weights
    assert weights[:4].sum() == pytest.approx(weights[4:].sum())
    assert weights.mean() == pytest.approx(1.0)
    result = calibrate(asked, spread=0.0, max_weight_ratio=RATIO, tol=1e-3)
    errors = np.abs(asked.relative_errors(result.weights))
    assert result.objective == pytest.approx(float(weights @ errors) / asked.n_targets, rel=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_capped_loss_gives_up_the_hopeless_and_counts_them(solver: str) -> None:
    asked = problem()
    settings = {"level": 0.3}
    result = calibrate(
        asked, loss="capped", loss_settings=settings, solver=solver, spread=0.0, max_weight_ratio=RATIO, tol=1e-3
    )
    plain = calibrate(asked, solver=solver, spread=0.0, max_weight_ratio=RATIO, tol=1e-3)
    errors, before = (np.abs(asked.relative_errors(r.weights)) for r in (result, plain))
    assert result.abandoned is not None
    np.testing.assert_array_equal(result.abandoned, errors > 0.3)
    assert result.abandoned[3]  # nothing can move it
    cost = float(asked.loss_weights @ np.minimum(errors, 0.3))
    assert cost <= float(asked.loss_weights @ np.minimum(before, 0.3)) * (1 + 1e-3)
    assert any("abandoned" in note for note in result.notes)


def test_a_capped_loss_that_is_cut_off_is_not_called_optimal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, settings = problem(), {"level": 0.3}
    whole = calibrate(asked, loss="capped", loss_settings=settings, max_weight_ratio=RATIO)
    monkeypatch.setattr(reweighting, "MOST_ROUNDS", 0)
    cut = calibrate(asked, loss="capped", loss_settings=settings, max_weight_ratio=RATIO)
    assert whole.status == "optimal"
    assert cut.gap is not None
    assert cut.gap <= 0.01
    assert cut.status == "budget_spent"


@pytest.mark.parametrize(
    ("name", "extra"),
    [("squared", ()), ("huber", ("--loss-setting", "delta=0.1")), ("capped", ("--loss-setting", "level=0.5"))],
)
@pytest.mark.parametrize("keep", [None, 18])
def test_losses_from_the_command_line(name: str, extra: tuple[str, ...], keep: int | None, tmp_path: Any) -> None:
    asked = problem(2)
    asked.save(tmp_path / "problem")
    command = ["fit", str(tmp_path / "problem"), "--out", str(tmp_path / "run"), "--loss", name, *extra, "--json"]
    command += [] if keep is None else ["--keep", str(keep), "--max-weight-ratio", "6"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["options"]["loss"] == name
    assert keep is None or written["kept"] == keep
    assert 0.0 <= written["gap"] < 0.5
    assert written["bound"] <= written["objective"]
