"""Solving a loss that may not be convex: a sequence of convex fits, each warm-started from the last."""

from __future__ import annotations

import time
from typing import Any

import attrs
import numpy as np

from l0_calibrate.losses.base import Loss, RowPrice
from l0_calibrate.solvers.base import Machine, Solution, Solver, Start, Stop, Task
from l0_calibrate.watch import Watch, unwatched

MOST_ROUNDS = 20
"""Rounds of repricing; each can only lower a capped loss, and few are needed in practice."""


def solve_priced(
    solver: Solver,
    loss: Loss,
    task: Task,
    stop: Stop,
    start: Start | None,
    machine: Machine,
    watch: Watch = unwatched,
) -> Solution:
    """Solve a task; while the loss names another price for the residuals, solve again with it.

    The certificate is that of the last convex fit; the seconds of ``stop`` are those of all fits together. Where they,
    or the rounds, end before a price comes again, the status is ``"budget_spent"``, however good the last fit is.
    """
    began = time.perf_counter()
    first = current = task.price
    solution = _of_form(solver.solve(task, stop, start, machine, watch), task, solver)
    rounds = 0
    while True:
        following = loss.reprice(first, solution.residuals)
        if following is None or _same(following, current) or solution.status == "infeasible":
            return solution
        left = stop.seconds - (time.perf_counter() - began)
        if left <= 0.0 or rounds == MOST_ROUNDS:
            return attrs.evolve(solution, status="budget_spent")
        current, rounds = following, rounds + 1
        stop_here = attrs.evolve(stop, seconds=left)
        again = solver.solve(attrs.evolve(task, price=current), stop_here, solution.start(), machine, watch)
        solution = _of_form(again, task, solver)


def _of_form(solution: Any, task: Task, solver: Solver) -> Solution:
    """The solution, or RuntimeError where a solver gave something else: what follows would not name it."""
    who = f"solver {type(solver).__name__} gave"
    told = "it breaks the contract of solvers; report it to the package that brings it"
    if not isinstance(solution, Solution):
        raise RuntimeError(f"{who} a {type(solution).__name__} instead of a Solution: {told}")
    for name, count in (("u", task.count), ("y", task.system.targets), ("residuals", task.system.targets)):
        shape = np.shape(getattr(solution, name))
        if shape != (count,):
            raise RuntimeError(f"{who} {name} of shape {shape} instead of {(count,)}: {told}")
    return solution


def _same(a: RowPrice, b: RowPrice) -> bool:
    return (
        np.array_equal(a.cap, b.cap)
        and np.array_equal(a.dead_zone, b.dead_zone)
        and np.array_equal(a.curvature, b.curvature)
    )
