"""``solver="auto"``: which solver, the reason shown, the advice where the one asked for cannot serve."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.cli.app import app
from l0_calibrate.demo import load_demo
from l0_calibrate.losses import RowPrice
from l0_calibrate.solvers import Machine, Start, Stop, Task, auto
from l0_calibrate.solvers.auto import choose_solver
from l0_calibrate.solvers.interior_point import InteriorPointSolver
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_core import InputError


def task_of(problem: CalibrationProblem, upper: float = 10.0) -> Task:
    system = problem.system
    n = system.records
    return Task(
        system, RowPrice.absolute(np.ones(system.targets)), None, np.zeros(n), np.full(n, upper), np.zeros(n), 1.0
    )


def scattered(targets: int, records: int) -> CalibrationProblem:
    """Targets that share records without any areas."""
    rng = np.random.default_rng(0)
    matrix = sp.random_array((targets, records), density=4 / targets, rng=rng, format="csr")
    return CalibrationProblem(matrix, np.ones(targets), initial_weights=np.ones(records))


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_few_targets_go_to_the_interior_point(tolerance: float) -> None:
    chosen = choose_solver("auto", task_of(load_demo()), Stop(tolerance=tolerance), Machine())
    assert chosen.name == "interior_point"
    assert f"gap of {100 * tolerance:g} %" in chosen.reason


def test_many_targets_without_areas_go_to_the_primal_dual_one_unless_the_tolerance_is_tight() -> None:
    task = task_of(scattered(900, 4_000))
    loose = choose_solver("auto", task, Stop(tolerance=1e-2), Machine())
    assert (loose.name, loose.reason) == ("primal_dual", "targets do not fall into small areas")
    assert choose_solver("auto", task, Stop(tolerance=1e-3), Machine()).name == "interior_point"


def test_a_start_or_another_backend_keeps_the_primal_dual_one() -> None:
    task = task_of(load_demo())
    assert choose_solver("auto", task, Stop(), Machine(), Start()).name == "primal_dual"
    assert choose_solver("auto", task, Stop(tolerance=1e-3), Machine(), Start()).name == "interior_point"
    assert "torch" in choose_solver("auto", task, Stop(tolerance=1e-3), Machine(backend="torch")).reason


def test_a_refusal_under_auto_is_the_reason_and_when_asked_for_the_advice() -> None:
    problem = load_demo()
    price = RowPrice(np.full(problem.n_targets, 1.0), np.zeros(problem.n_targets), np.zeros(problem.n_targets))
    n = problem.n_records
    unbounded = Task(problem.system, price, None, np.full(n, -np.inf), np.ones(n), np.zeros(n), 1.0)
    assert "no lower bound" in choose_solver("auto", unbounded, Stop(), Machine()).reason
    with pytest.raises(InputError, match="give one"):
        choose_solver("interior_point", unbounded, Stop(), Machine())
    with pytest.raises(InputError, match="solver='primal_dual'"):
        choose_solver("interior_point", task_of(problem), Stop(), Machine(backend="torch"))


def test_a_matrix_without_areas_is_refused_with_what_to_do() -> None:
    small = InteriorPointSolver(operations=1e6)
    refusal = small.refusal(task_of(scattered(900, 4_000)))
    assert refusal is not None
    assert "900 targets do not fall into small enough areas" in refusal
    assert "primal_dual" in refusal


@pytest.mark.parametrize(
    ("asked", "name", "reason"),
    [
        ({}, "interior_point", "gap of 1 %"),
        ({"solver": "primal_dual"}, "primal_dual", "as asked"),
        ({"keep": 800}, "interior_point", "gap of 0.05 %"),
        ({"keep": 800, "tol": 1e-4}, "interior_point", "gap of 0.01 %"),
    ],
)
def test_the_result_says_which_and_why(asked: dict[str, Any], name: str, reason: str) -> None:
    result = calibrate(load_demo(), **asked)
    assert result.solver == name
    assert reason in result.solver_reason
    assert result.summary()["solver"] == name
    if "keep" in asked:
        assert result.kept == 800


def test_a_large_matrix_is_gone_on_with_in_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "LARGE", 50_000)  # the problem has 73,924
    kept, dense = calibrate(load_demo(), keep=800), calibrate(load_demo(), tol=1e-4)
    assert (kept.solver, kept.solver_reason) == ("primal_dual", "goes on from the point that was given")
    assert dense.solver == "interior_point"


@pytest.mark.parametrize(("tolerance", "taken"), [(1e-2, "primal_dual"), (1e-4, "interior_point")])
def test_a_large_matrix_is_fitted_in_less_memory_unless_the_tolerance_is_tight(
    tolerance: float, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "LARGE", 50_000)
    chosen = choose_solver("auto", task_of(load_demo()), Stop(tolerance=tolerance), Machine())
    assert chosen.name == taken
    assert ("less memory" in chosen.reason) == (taken == "primal_dual")


@pytest.mark.parametrize("fields", [{}, {"loss": "squared", "conserve_mass": True}])
def test_a_solver_that_cannot_serve_says_so_before_records_are_chosen(fields: dict[str, Any]) -> None:
    seen: list[Any] = []
    with pytest.raises(InputError, match="'coordinate_descent' cannot take this problem"):
        calibrate(load_demo(), keep=500, solver="coordinate_descent", watch=seen.append, **fields)
    assert not seen


def test_the_bound_of_all_records_is_had_where_the_solver_takes_the_kept_ones_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run is done when the bound is made: a solver that cannot take so many records must not take it all back."""
    few = lambda self, task: "too many records" if task.count > 100 else None  # noqa: E731
    alone = calibrate(load_demo(), keep=100, solver="interior_point", max_weight_ratio=5)
    monkeypatch.setattr(InteriorPointSolver, "refusal", few)
    result = calibrate(load_demo(), keep=100, solver="interior_point", max_weight_ratio=5)
    assert result.solver == "interior_point"
    assert alone.dense_bound is not None
    assert result.dense_bound == pytest.approx(alone.dense_bound, rel=0.02)


def test_the_command_line_says_it_too(tmp_path) -> None:
    problem = load_demo()
    problem.save(tmp_path / "problem")
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "problem"), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "solver: interior_point (" in done.output
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["solver"] == "interior_point"
    assert written["solver_reason"]


def test_a_solver_of_a_plugin_is_asked_on_the_machine_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(PrimalDualSolver):
        threads = 0

        def on(self, machine: Machine) -> Asked:
            there = Asked()
            object.__setattr__(there, "threads", machine.threads)
            return there

        def refusal(self, task: Task) -> str | None:
            return f"on {self.threads} threads it will not"

    monkeypatch.setattr(auto, "registry", lambda: SimpleNamespace(get=lambda *_: Asked()))
    with pytest.raises(InputError, match="on 3 threads it will not"):
        choose_solver("asked", task_of(load_demo()), Stop(), Machine(threads=3))
