"""What no choice of records can beat: a lower bound of the loss of a budget, from the fit of all records."""

from __future__ import annotations

import attrs
import numpy as np

from l0_calibrate.losses.base import Loss, RowPrice
from l0_calibrate.selectors.base import Budget
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.auto import choose_solver
from l0_calibrate.solvers.base import Machine, Stop, Task
from l0_calibrate.watch import Watch, unwatched
from l0_core import InputError


def is_convex(loss: Loss, price: RowPrice) -> bool:
    """Whether a loss prices residuals of any size alike; the bound of another would be none."""
    return loss.reprice(price, np.full(price.cap.size, np.inf)) is None


def refuse_without_convexity(loss: Loss, price: RowPrice) -> None:
    """A bound of a loss that is not convex would be none.

    Raises
    ------
    InputError
        The loss names another price for some residuals.
    """
    if not is_convex(loss, price):
        raise InputError("dense_bound needs a convex loss, such as absolute, squared or huber")


def dense_bound(budget: Budget, solver: str, stop: Stop, machine: Machine, watch: Watch = unwatched) -> float:
    """A certified lower bound of the mean price of error on any records at the budget's bounds; 0 at worst.

    The best weights on ``keep`` records are among those on all usable records with the same upper bounds
    (``R n / K`` each) and without a floor, a convex fit whose optimum the solver bounds from below. The bound
    is as tight as ``stop`` lets it be; what separates it from the loss of a selection is not known to be
    avoidable where K is below the number of targets.
    """
    support = np.flatnonzero(usable_records(budget)).astype(np.int64)
    zero = np.zeros(support.size)
    whole = support.size == budget.system.records
    task = Task(
        system=budget.system,
        price=budget.price,
        support=None if whole else support,
        lower=zero,
        upper=budget.upper(support),
        spread=zero,
        centre=0.0,
        mass=budget.mass,
        areas=budget.areas,
    )
    try:
        taken = choose_solver(solver, task, stop, machine).solver
    except InputError:  # it took the records that were kept, not all of them; a bound holds whoever shows it
        taken = choose_solver("auto", task, stop, machine).solver
    bound = taken.solve(task, stop, None, machine, lambda event: watch(attrs.evolve(event, stage="bound"))).bound
    # No price is negative, whatever the solver could show.
    return max(bound, 0.0) / budget.system.targets
