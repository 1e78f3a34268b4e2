"""Solvers that are broken in one way each, under the contract that should see it."""

import attrs
import numpy as np
import pytest

from l0_calibrate.solvers import Start
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.testing import SolverContract
from l0_calibrate.watch import unwatched


class Broken(SolverContract):
    @pytest.fixture
    def solver(self):
        return self.Mine()


class Solver(PrimalDualSolver):
    """The solver, with what is broken of the task before, or of the solution after."""

    def before(self, task):
        return task

    def after(self, task, solution):
        return solution

    def solve(self, task, stop, start=None, machine=None, watch=unwatched):
        return self.after(task, super().solve(self.before(task), stop, start, machine, watch))


class TestBoundTooHigh(Broken):
    class Mine(Solver):
        def after(self, task, solution):
            return attrs.evolve(solution, bound=1.01 * solution.objective)


class TestBoundOfASpentBudget(Broken):
    class Mine(Solver):
        def after(self, task, solution):
            spent = solution.status == "budget_spent"
            return attrs.evolve(solution, bound=0.9 * solution.objective) if spent else solution


class TestOutsideItsBounds(Broken):
    class Mine(Solver):
        def after(self, task, solution):
            return attrs.evolve(solution, u=solution.u - 1e-6)


class TestObjectiveOfAnotherPoint(Broken):
    class Mine(Solver):
        def after(self, task, solution):
            return attrs.evolve(solution, objective=0.99 * solution.objective)


class TestMassIsIgnored(Broken):
    class Mine(Solver):
        def before(self, task):
            return attrs.evolve(task, mass=None)


class TestSpreadIsIgnored(Broken):
    class Mine(Solver):
        def before(self, task):
            return attrs.evolve(task, spread=np.zeros(task.count))

        def after(self, task, solution):
            cost = task.price.total(solution.residuals) + task.spread_cost(solution.u)
            return attrs.evolve(solution, objective=cost)


class TestArrivedTooEarly(Broken):
    class Mine(Solver):
        def solve(self, task, stop, start=None, machine=None, watch=unwatched):
            found = super().solve(task, attrs.evolve(stop, iterations=min(stop.iterations, 5)), start, machine, watch)
            return attrs.evolve(found, status="converged")


class TestNoBoundAtAll(Broken):
    class Mine(Solver):
        def after(self, task, solution):
            return attrs.evolve(solution, bound=-np.inf)


class TestRefusesAll(Broken):
    class Mine(Solver):
        def refusal(self, task):
            return "it takes nothing at all"


class TestColdStartsAlone(Broken):
    class Mine(Solver):
        def after(self, task, solution):
            return solution

        def solve(self, task, stop, start=None, machine=None, watch=unwatched):
            found = super().solve(task, stop, start, machine, watch)
            return found if start is None or start.u is None else attrs.evolve(found, u=start.u)


class TestGlobalNoise(Broken):
    class Mine(Solver):
        def solve(self, task, stop, start=None, machine=None, watch=unwatched):
            return super().solve(task, stop, start or Start(np.random.random(task.count)), machine, watch)


class TestRemembers(Broken):
    class Mine(Solver):
        last = None

        def solve(self, task, stop, start=None, machine=None, watch=unwatched):
            known = self.last if self.last is not None and self.last.size == task.count else np.ones(task.count)
            found = super().solve(task, stop, start or Start(known), machine, watch)
            type(self).last = found.u
            return found


class TestWatchedIsAnother(Broken):
    class Mine(Solver):
        def solve(self, task, stop, start=None, machine=None, watch=unwatched):
            begin = start if watch is unwatched else Start(np.full(task.count, 0.5))
            return super().solve(task, stop, begin, machine, watch)


class TestWritesToTheBounds(Broken):
    class Mine(Solver):
        def before(self, task):
            task.upper[0] += 1.0
            return task


class TestAreasAreFelt(Broken):
    class Mine(Solver):
        def before(self, task):
            if task.areas is None:
                return task
            fixed = task.areas_of_columns[0] == 1
            return attrs.evolve(task, upper=np.where(fixed, task.lower, task.upper))


class TestInfeasibleGoesOn(Broken):
    class Mine(Solver):
        def after(self, task, solution):
            status = "converged" if solution.status == "infeasible" else solution.status
            return attrs.evolve(solution, status=status)
