"""What a loss, a selector or a solver hands out is checked whoever brings it, and a breach names who it was."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.losses import RowPrice
from l0_calibrate.losses.absolute import AbsoluteLoss
from l0_calibrate.postconditions import check_claims
from l0_calibrate.selectors.random import RandomSelector
from l0_calibrate.solvers.base import Solution
from l0_calibrate.solvers.primal_dual import PrimalDualSolver

M, N = 4, 30


def problem() -> CalibrationProblem:
    a = np.random.default_rng(0).gamma(1.0, 1.0, (M, N))
    return CalibrationProblem(a, 1.3 * a.sum(axis=1), target_names=list("abcd"))


ONES, ZERO = np.ones(M), np.zeros(M)


@pytest.mark.parametrize(
    ("price", "message"),
    [
        (None, "loss 'absolute' gave None instead of a RowPrice"),
        (RowPrice(np.ones(3), np.zeros(3), np.zeros(3)), r"a cap of shape \(3,\) for 4 targets"),
        (RowPrice(np.array([1.0, -1.0, 1.0, 1.0]), ZERO, ZERO), "gave target 'b' a cap of -1"),
        (RowPrice(ONES, np.array([0.0, 0.0, np.nan, 0.0]), ZERO), "gave target 'c' a dead_zone of nan"),
        (RowPrice(ONES, ZERO, np.array([np.inf, 0.0, 0.0, 0.0])), "gave target 'a' a curvature of inf"),
    ],
)
def test_a_price_that_is_none_names_the_loss(monkeypatch: pytest.MonkeyPatch, price: Any, message: str) -> None:
    monkeypatch.setattr(AbsoluteLoss, "price", lambda self, problem: price)
    with pytest.raises(RuntimeError, match=message):
        calibrate(problem(), max_weight_ratio=5)


def test_an_infinite_cap_is_a_price(monkeypatch: pytest.MonkeyPatch) -> None:
    price = RowPrice(np.full(M, np.inf), ZERO, ONES)
    monkeypatch.setattr(AbsoluteLoss, "price", lambda self, problem: price)
    assert calibrate(problem(), max_weight_ratio=5).status == "optimal"


def test_what_is_no_selection_names_the_selector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RandomSelector, "select", lambda self, budget, machine, watch: list(range(budget.keep)))
    with pytest.raises(RuntimeError, match="selector 'random' gave a list instead of a Selected"):
        calibrate(problem(), keep=10, selector="random")


@pytest.mark.parametrize("keep", [None, 10])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: None, "PrimalDualSolver gave a NoneType instead of a Solution"),
        (lambda found: attrs.evolve(found, u=found.u[1:]), r"PrimalDualSolver gave u of shape"),
        (lambda found: attrs.evolve(found, status="great"), "solver 'primal_dual' ended with the status 'great'"),
        (lambda found: attrs.evolve(found, objective=np.nan), "solver 'primal_dual' gave the objective nan"),
        (
            lambda found: attrs.evolve(found, bound=2.0 * found.objective + 1.0),
            "solver 'primal_dual' claims that no weights have an objective below",
        ),
        (lambda found: attrs.evolve(found, u=found.u + 99.0), "solver 'primal_dual': the weight of record .* above"),
    ],
)
def test_a_solution_that_cannot_be_names_the_solver(
    monkeypatch: pytest.MonkeyPatch, change: Any, message: str, keep: int | None
) -> None:
    sound = PrimalDualSolver.solve

    def broken(self: PrimalDualSolver, *task: Any, **more: Any) -> Solution:
        return change(sound(self, *task, **more))  # type: ignore[no-any-return]

    monkeypatch.setattr(PrimalDualSolver, "solve", broken)
    with pytest.raises(RuntimeError, match=message):
        calibrate(
            problem(), keep=keep, selector="random" if keep else "prune", solver="primal_dual", max_weight_ratio=5
        )


@pytest.mark.parametrize("objective", [0.0, 3.0])
def test_a_bound_may_be_above_its_objective_by_rounding_and_no_more(objective: float) -> None:
    edge = objective * 1.001 + 1e-7 * M

    def claim(bound: float, status: str = "converged") -> None:
        check_claims(Solution(np.ones(N), ZERO, ZERO, objective, bound, status, 1, 0.0), objective, M, "mine")

    claim(edge * (1 - 1e-9))
    claim(np.inf, "infeasible")  # the optimum where no weights will do
    with pytest.raises(RuntimeError, match="solver 'mine' claims that no weights have an objective below"):
        claim(edge * (1 + 1e-9))
