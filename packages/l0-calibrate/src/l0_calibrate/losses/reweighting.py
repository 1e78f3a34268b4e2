"""Solving a loss that may not be convex: a sequence of convex fits, each warm-started from the last."""

from __future__ import annotations

import attrs

from l0_calibrate.losses.base import Loss
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
    """Solve a task; while the loss names a next price for the residuals, solve again with it.

    The certificate is that of the last convex fit.
    """
    solution = solver.solve(task, stop, start, machine, watch)
    price = task.price
    for _ in range(MOST_ROUNDS):
        following = loss.reprice(price, solution.residuals)
        if following is None:
            break
        price = following
        task = attrs.evolve(task, price=price)
        solution = solver.solve(task, stop, solution.start(), machine, watch)
    return solution
