"""``solver="auto"``: which solver for which task, and why."""

from __future__ import annotations

import attrs

from l0_calibrate.solvers.base import Machine, Solver, Start, Stop, Task
from l0_calibrate.solvers.interior_point import InteriorPointSolver
from l0_core import InputError
from l0_core.plugins import registry

TIGHT = 2e-3
"""Certified gaps from here on are the interior point's: a further digit costs it three iterations, the other many."""
LARGE = 40_000_000
"""Non-zeros up to which the interior point is taken to 1 % from a cold start, and goes on from a point near by to a
tight gap: it was measured to 35 M, where it takes two thirds of the other's time. Beyond, its growth and its memory
speak for the other."""
FEW = 2_000
"""Non-zeros below which it is the calls of a factorisation that cost more than passes over the matrix."""
EFFORT = 1_500.0
"""Multiplications of a factorisation for each non-zero, up to which the interior point is the faster to 1 %."""


@attrs.frozen(eq=False)
class Choice:
    """A solver, its name, why it was taken, and what it makes of the areas given (None without)."""

    solver: Solver
    name: str
    reason: str
    note: str | None = None


def choose_solver(name: str, task: Task, stop: Stop, machine: Machine, start: Start | None = None) -> Choice:
    """The solver of that name; for ``"auto"`` the one that is faster to the tolerance on such a task.

    The interior point is taken where the targets fall into areas or are few, so that it can factor them
    (see `InteriorPointSolver.effort`), for cold starts or tight tolerances; the primal-dual one otherwise.

    Raises
    ------
    InputError
        Before any work, when the solver asked for cannot take the task.
    """
    if name != "auto":
        solver: Solver = registry().get("solver", name).on(machine)
        refusal = solver.refusal(task)
        if refusal is None and machine.backend != "numpy" and not solver.runs_on_backends:
            refusal = f"it runs on backend 'numpy' only, not {machine.backend!r}; use solver='primal_dual'"
        if refusal is not None:
            raise InputError(f"solver {name!r} cannot take this problem: {refusal}")
        return Choice(solver, name, "as asked", _use_of_areas(solver, name, task))
    interior = InteriorPointSolver().on(machine)
    against = _against_interior_point(interior, task, stop, machine, start)
    if against is None:
        blocks = interior.blocks(task)
        why = "the targets are few" if blocks == 1 else f"the targets fall into {blocks} blocks"
        reason = f"{why}: it is the faster to a gap of {100 * stop.tolerance:g} %"
        return Choice(interior, "interior_point", reason, _use_of_areas(interior, "interior_point", task))
    choice = choose_solver("primal_dual", task, stop, machine)
    return attrs.evolve(choice, reason=against)


def _use_of_areas(solver: Solver, name: str, task: Task) -> str | None:
    if task.areas is None:
        return None
    return solver.use_of_areas(task) or f"the areas given are of no use to solver {name!r}, which was taken"


def _against_interior_point(
    interior: InteriorPointSolver, task: Task, stop: Stop, machine: Machine, start: Start | None
) -> str | None:
    """Why the interior point is not taken, or None."""
    if machine.backend != "numpy":
        return f"runs on backend {machine.backend!r}"
    tight = stop.tolerance <= TIGHT
    large = task.system.columns.nnz > LARGE
    if start is not None and (large or not tight):
        return "goes on from the point that was given"
    if large and not tight:
        return "a large matrix: in less memory"
    refusal = interior.refusal(task)
    if refusal is not None:
        return f"not interior_point: {refusal.split(';')[0]}"
    if interior.effort(task) > EFFORT and not tight:
        few = task.system.columns.nnz < FEW
        return "a small matrix: a pass over it is cheap" if few else "targets do not fall into small areas"
    return None
