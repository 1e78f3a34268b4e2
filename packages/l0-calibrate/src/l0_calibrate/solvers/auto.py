"""``solver="auto"``: which solver for which task."""

from __future__ import annotations

from l0_calibrate.solvers.base import Solver, Task
from l0_core import InputError
from l0_core.plugins import registry


def solver_for(name: str, task: Task) -> Solver:
    """The solver of that name, or the primal-dual one for ``"auto"``.

    Raises
    ------
    InputError
        Before any work, when the solver cannot take the task.
    """
    solver: Solver = registry().get("solver", "primal_dual" if name == "auto" else name)
    refusal = solver.refusal(task)
    if refusal is not None:
        raise InputError(f"solver {name!r} cannot take this problem: {refusal}")
    return solver
