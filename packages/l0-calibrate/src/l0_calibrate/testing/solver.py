"""The contract of solvers."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pytest

from l0_calibrate.areas import Areas
from l0_calibrate.solvers.base import MET, STATUS, Machine, Solution, Solver, Start, Stop, Task
from l0_calibrate.testing.optimum import Optimum, cost_of, matrix_of, optimum, reference_of
from l0_calibrate.testing.tasks import (
    DEGENERATE,
    LARGEST,
    PRICES,
    RECORDS,
    SHAPES,
    TARGETS,
    boxed,
    degenerate_task,
    optimum_of,
    random_system,
    task,
)
from l0_calibrate.testing.watching import check_can_be_stopped
from l0_calibrate.watch import Progress
from l0_core.testing.contract import Contract, moved_generators

FloatArray = npt.NDArray[np.float64]

STOP = Stop(tolerance=1e-3, iterations=20_000)
"""Of an ordinary fit."""

STOPS = {
    "at once": Stop(iterations=0),
    "after a few iterations": Stop(iterations=7),
    "without seconds": Stop(seconds=0.0),
    "without a tolerance": Stop(tolerance=0.0, iterations=100),
    "at a wide gap": Stop(tolerance=0.3, iterations=2_000),
    "without a certificate": Stop(iterations=50, certify=False),
}
"""Where a fit may be told to stop before it has arrived."""

ARRIVED = {"optimal", "converged"}

REFUSED = "the solver refuses such a task"

EXACT = 1e-9
"""Relative: sums in another order."""


def slack(asked: Task, best: Optimum) -> float:
    """What the linear programmes of the reference leave open, whose rows are met to 1e-7, each at its price."""
    cap = asked.price.cap
    return 1e-7 * (float(cap[np.isfinite(cap)].sum()) + asked.system.targets + best.upper) + best.upper - best.lower


def check_sound(asked: Task, found: Solution) -> None:
    """A point of the right form within its bounds, with the mass, priced as it is."""
    assert isinstance(found, Solution)
    assert found.status in STATUS
    assert found.u.shape == (asked.count,)
    assert found.y.shape == found.residuals.shape == (asked.system.targets,)
    assert np.isfinite(found.u).all()
    assert np.isfinite(found.y).all()
    assert np.isfinite(found.mass_dual)
    assert (found.u >= asked.lower).all()
    assert (found.u <= asked.upper).all()
    assert (np.abs(found.y) <= asked.price.cap).all()
    a = matrix_of(asked)
    size = np.abs(a) @ np.abs(found.u) + 1.0
    assert (np.abs(a @ found.u - asked.system.b - found.residuals) <= EXACT * size).all()
    # Rounding of a residual, at its price.
    cost = cost_of(asked, found.u)
    assert found.objective == pytest.approx(cost, rel=1e-7, abs=EXACT * float(size.sum()))
    if asked.mass is not None:
        assert float(reference_of(asked) @ found.u) == pytest.approx(asked.mass, rel=EXACT)
    else:
        assert found.mass_dual == 0.0
    assert found.iterations >= 0
    assert found.seconds >= 0.0


def check_honest(asked: Task, found: Solution, best: Optimum, stop: Stop) -> None:
    """No bound above the optimum, no objective below it, and a status that both bear out."""
    left = slack(asked, best)
    assert not np.isnan(found.bound)
    assert found.bound <= best.upper + left, "the bound is above the optimum"
    assert found.objective >= best.lower - left, "the objective is below the optimum"
    if found.status == "optimal":
        assert found.gap is not None
        assert found.gap <= stop.tolerance
    if found.status in ARRIVED:
        near = best.upper / (1.0 - max(stop.tolerance, 1e-6)) + MET * asked.system.targets  # (P - D) / P, D <= optimum
        assert found.objective <= near + left, f"{found.status}, and far from the optimum"


class SolverContract(Contract):
    """What every `Solver` must do. Override the fixture ``solver`` (and ``machine``).

    Tasks that `Solver.refusal` refuses are skipped: a solver answers for what it says that it takes.
    """

    @pytest.fixture
    def solver(self) -> Solver:
        """The solver under test."""
        raise NotImplementedError("override the fixture 'solver' with one that returns your solver")

    @pytest.fixture
    def machine(self) -> Machine:
        """What it may use; override it to run the contract on another backend."""
        return Machine()

    @pytest.fixture
    def plain(self, solver: Solver) -> Task:
        """The first of the tasks that the solver takes."""
        for price in PRICES:
            for shape in SHAPES:
                if solver.refusal(task(price, shape)) is None:
                    return task(price, shape)
        raise AssertionError("the solver refuses every task")

    @staticmethod
    def _solved(
        solver: Solver, machine: Machine, asked: Task, stop: Stop = STOP, start: Start | None = None
    ) -> Solution:
        """The solution, or a skip where the solver refuses the task."""
        if solver.refusal(asked) is not None:
            pytest.skip(REFUSED)
        found = solver.solve(asked, stop, start, machine)
        check_sound(asked, found)
        return found

    # ------------------------------------------------------------------ form

    def test_it_says_what_it_is_and_takes_something(self, solver: Solver, plain: Task) -> None:
        assert isinstance(solver, Solver)
        assert isinstance(solver.runs_on_backends, bool)
        assert plain.count > 0

    @pytest.mark.parametrize("price", PRICES)
    def test_refusals_are_sentences_and_the_same_each_time(self, solver: Solver, price: str) -> None:
        for shape in SHAPES:
            refusal = solver.refusal(task(price, shape))
            assert refusal is None or (isinstance(refusal, str) and len(refusal) > 10)
            assert solver.refusal(task(price, shape)) == refusal

    # ------------------------------------------------------------------ the optimum

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("price", PRICES)
    def test_the_optimum_is_found_and_never_exceeded_by_the_bound(
        self, solver: Solver, machine: Machine, price: str, shape: str
    ) -> None:
        asked = task(price, shape)
        found = self._solved(solver, machine, asked)
        check_honest(asked, found, optimum_of(price, shape), STOP)
        assert found.status in ARRIVED

    @pytest.mark.parametrize("price", PRICES)
    @pytest.mark.parametrize("name", DEGENERATE)
    def test_the_ends_of_the_range_have_an_answer(
        self, solver: Solver, machine: Machine, price: str, name: str
    ) -> None:
        asked = degenerate_task(name, price)
        check_honest(asked, self._solved(solver, machine, asked), optimum(asked), STOP)

    @pytest.mark.parametrize("early", STOPS)
    @pytest.mark.parametrize("price", PRICES)
    def test_wherever_it_stops_the_point_is_sound_and_the_bound_valid(
        self, solver: Solver, machine: Machine, price: str, early: str
    ) -> None:
        stop = STOPS[early]
        for shape in SHAPES:
            asked = task(price, shape)
            if solver.refusal(asked) is None:
                check_honest(asked, self._solved(solver, machine, asked, stop), optimum_of(price, shape), stop)

    def test_a_mass_out_of_reach_is_infeasible(self, solver: Solver, machine: Machine) -> None:
        asked = task("absolute", "mass")
        if solver.refusal(asked) is not None:
            pytest.skip(REFUSED)
        least = np.full(asked.count, 0.1)
        for part in (1.01, 2.0):
            beyond = attrs.evolve(asked, lower=least, mass=part * LARGEST * float(asked.system.reference.sum()))
            found = solver.solve(beyond, STOP, None, machine)
            assert found.status == "infeasible"
            assert (found.u >= beyond.lower).all()
            assert (found.u <= beyond.upper).all()

    # ------------------------------------------------------------------ starts

    @pytest.mark.parametrize("shape", ["box", "support", "mass"])
    @pytest.mark.parametrize("price", ["absolute", "squared"])
    def test_from_its_own_end_it_gets_no_worse(self, solver: Solver, machine: Machine, price: str, shape: str) -> None:
        asked = task(price, shape)
        cold = self._solved(solver, machine, asked)
        warm = self._solved(solver, machine, asked, start=cold.start())
        check_honest(asked, warm, optimum_of(price, shape), STOP)
        assert warm.objective <= cold.objective * (1.0 + EXACT) + EXACT

    @pytest.mark.parametrize("shape", ["box", "no upper bounds", "support", "mass"])
    @pytest.mark.parametrize("price", ["absolute", "squared"])
    def test_any_start_will_do(self, solver: Solver, machine: Machine, price: str, shape: str) -> None:
        asked = task(price, shape)
        k, m = asked.count, asked.system.targets
        cold = self._solved(solver, machine, asked)
        for start in (
            Start(),
            Start(cold.u, 3.0 * cold.y, 3.0 * cold.mass_dual),  # beyond the caps: worth more than any dual may be
            Start(u=np.zeros(k)),
            Start(u=np.full(k, 100.0), y=np.full(m, -1e6), mass_dual=10.0),
            Start(y=np.linspace(-3.0, 3.0, m)),
            Start(u=np.linspace(-2.0, 9.0, k), y=np.zeros(m)),
        ):
            found = self._solved(solver, machine, asked, start=start)
            check_honest(asked, found, optimum_of(price, shape), STOP)
            assert found.status in ARRIVED

    # ------------------------------------------------------------------ the same again

    def test_the_seed_is_all_the_randomness(self, solver: Solver, machine: Machine, plain: Task) -> None:
        for threads in (1, 2):
            here = attrs.evolve(machine, threads=threads, seed=5)
            first = solver.solve(plain, STOP, None, here)
            with moved_generators():
                again = solver.solve(plain, STOP, None, here)
            self._check_same(first, again)

    @staticmethod
    def _check_same(first: Solution, again: Solution) -> None:
        np.testing.assert_array_equal(first.u, again.u)
        np.testing.assert_array_equal(first.y, again.y)
        assert (first.objective, first.bound, first.status) == (again.objective, again.bound, again.status)

    def test_other_tasks_in_between_change_nothing(self, solver: Solver, machine: Machine, plain: Task) -> None:
        first = solver.solve(plain, STOP, None, machine)
        for m, n in ((9, 5), (TARGETS, RECORDS)):
            for price in PRICES.values():
                other = boxed(random_system(11, m, n), price(m))
                if solver.refusal(other) is None:
                    solver.solve(other, STOP, None, machine)
        self._check_same(first, solver.solve(plain, STOP, None, machine))

    def test_watching_changes_nothing_and_an_exception_stops_it(
        self, solver: Solver, machine: Machine, plain: Task
    ) -> None:
        events: list[Progress] = []
        first = solver.solve(plain, STOP, None, machine)
        self._check_same(first, solver.solve(plain, STOP, None, machine, events.append))
        for event in events:
            assert isinstance(event, Progress)
            assert 0.0 <= event.fraction <= 1.0
            assert event.kept == plain.count
        if not events:
            return

        check_can_be_stopped(lambda stop: solver.solve(plain, STOP, None, machine, stop))
        self._check_same(first, solver.solve(plain, STOP, None, machine))

    def test_what_is_handed_in_is_left_as_it_is(self, solver: Solver, machine: Machine) -> None:
        for price in PRICES:
            for shape in ("box", "support", "mass"):
                asked = task(price, shape)
                if solver.refusal(asked) is not None:
                    continue
                start = Start(np.full(asked.count, 0.7), np.zeros(asked.system.targets))
                before = _arrays(asked, start)
                solver.solve(asked, STOP, start, machine)
                for name, array in _arrays(asked, start).items():
                    np.testing.assert_array_equal(array, before[name], err_msg=name)

    # ------------------------------------------------------------------ areas

    @pytest.mark.parametrize("price", PRICES)
    def test_areas_are_advice(self, solver: Solver, machine: Machine, price: str) -> None:
        for shape in ("box", "support"):
            asked = task(price, shape)
            numbers = np.arange(asked.system.records) % 2
            advised = attrs.evolve(asked, areas=Areas(np.stack((numbers, numbers))))
            found = self._solved(solver, machine, advised)
            check_honest(advised, found, optimum_of(price, shape), STOP)
            assert found.status in ARRIVED
            note = solver.use_of_areas(advised)
            assert note is None or (isinstance(note, str) and note)


def _arrays(asked: Task, start: Start) -> dict[str, Any]:
    """Copies of all arrays that a solver is handed."""
    system, price = asked.system, asked.price
    holders = {
        "system": (system, ("b", "scale", "reference", "row_sums", "column_sums", "rounding")),
        "columns": (system.columns, ("indptr", "indices", "values")),
        "price": (price, ("cap", "dead_zone", "curvature")),
        "task": (asked, ("support", "lower", "upper", "spread")),
        "start": (start, ("u", "y")),
    }
    return {
        f"{holder}.{name}": np.copy(getattr(thing, name))
        for holder, (thing, names) in holders.items()
        for name in names
        if getattr(thing, name) is not None
    }
