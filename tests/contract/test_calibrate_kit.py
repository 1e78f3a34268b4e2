"""The calibrator's kit sees what it is for: losses, selectors and solvers, each of them broken in one way."""

from __future__ import annotations

import pytest

from broken_classes import failures_of

LOSSES = """
import attrs
import numpy as np
import pytest

from l0_calibrate.losses import Loss, RowPrice
from l0_calibrate.losses.absolute import AbsoluteLoss
from l0_calibrate.losses.capped import CappedLoss
from l0_calibrate.losses.huber import HuberLoss
from l0_calibrate.testing import LossContract


class Broken(LossContract):
    @pytest.fixture
    def loss(self):
        return self.Mine()


def priced(kind, price):
    return kind(price.cap, price.dead_zone, price.curvature)


class TestWrongConjugate(Broken):
    class Mine(HuberLoss):
        class Price(RowPrice):
            def conjugate(self, y):
                return 1.1 * super().conjugate(y)

        def price(self, problem):
            return priced(self.Price, super().price(problem))


class TestValuesOfAnotherPrice(Broken):
    class Mine(AbsoluteLoss):
        class Price(RowPrice):
            def values(self, residuals):
                return self.cap * residuals**2

        def price(self, problem):
            return priced(self.Price, super().price(problem))


class TestNotConvex(Broken):
    class Mine(AbsoluteLoss):
        class Price(RowPrice):
            def values(self, residuals):
                return np.minimum(super().values(residuals), self.cap)

        def price(self, problem):
            return priced(self.Price, super().price(problem))


class TestWeightsAreIgnored(Broken):
    class Mine(Loss):
        def price(self, problem):
            return RowPrice(np.ones(problem.n_targets), problem.tolerances, np.zeros(problem.n_targets))


class TestTolerancesAreIgnored(Broken):
    class Mine(Loss):
        def price(self, problem):
            return RowPrice.absolute(problem.loss_weights)


class TestNoNumber(Broken):
    class Mine(AbsoluteLoss):
        def price(self, problem):
            return attrs.evolve(super().price(problem), curvature=0.0 / np.zeros(problem.n_targets))

    pytestmark = pytest.mark.filterwarnings("ignore")


class TestNotConvexOnTheQuiet(Broken):
    class Mine(CappedLoss):
        def reprice(self, price, residuals):
            return super().reprice(price, residuals) if np.isfinite(residuals).all() else None


class TestNeverSettles(Broken):
    class Mine(AbsoluteLoss):
        count = 0

        def reprice(self, price, residuals):
            type(self).count += 1
            return attrs.evolve(price, cap=price.cap * (1.0 + 1.0 / self.count))


class TestAbandonedStillPay(Broken):
    class Mine(CappedLoss):
        def reprice(self, price, residuals):
            return attrs.evolve(price, cap=0.9 * price.cap)


class TestGlobalNoise(Broken):
    class Mine(AbsoluteLoss):
        def price(self, problem):
            np.random.random()
            return super().price(problem)
"""

SELECTORS = """
import numpy as np
import pytest

from l0_calibrate.selectors import Selected, Selector
from l0_calibrate.selectors.random import RandomSelector
from l0_calibrate.solvers import Machine, Start
from l0_calibrate.testing import SelectorContract
from l0_calibrate.watch import Progress
from l0_core import Selection


class Broken(SelectorContract):
    @pytest.fixture
    def make_selector(self):
        return lambda machine: self.Mine()


def first(budget, allowed, count):
    return Selected(Selection(np.flatnonzero(allowed)[:count], budget.system.records))


class TestOneTooFew(Broken):
    class Mine(Selector):
        def select(self, budget, machine, watch=None):
            return first(budget, budget.system.reference > 0, max(budget.keep - 1, 1))


class TestFlagsAreIgnored(Broken):
    class Mine(Selector):
        def select(self, budget, machine, watch=None):
            return first(budget, budget.system.reference > 0, budget.keep)


class TestRecordsWithoutWeight(Broken):
    class Mine(Selector):
        def select(self, budget, machine, watch=None):
            return first(budget, np.ones(budget.system.records, bool), budget.keep)


class TestSplitsGroups(Broken):
    class Mine(RandomSelector):
        takes_groups = True

        def select(self, budget, machine, watch=None):
            return first(budget, budget.system.reference > 0, budget.keep)


class TestGlobalNoise(Broken):
    class Mine(RandomSelector):
        def select(self, budget, machine, watch=None):
            return super().select(budget, Machine(seed=np.random.randint(1000)))


class TestWatchedIsAnother(Broken):
    class Mine(RandomSelector):
        def select(self, budget, machine, watch=None):
            watched = 1 if getattr(watch, "__name__", "") == "append" else 0
            return super().select(budget, Machine(seed=machine.seed + watched))


class TestGoesOnWhenStopped(Broken):
    class Mine(RandomSelector):
        def select(self, budget, machine, watch=lambda event: None):
            try:
                watch(Progress("select", 0, 0.0, None, None, budget.keep, 0.0))
            except Exception:
                pass
            return super().select(budget, machine)


class TestWritesToTheFlags(Broken):
    class Mine(RandomSelector):
        def select(self, budget, machine, watch=None):
            if budget.must_keep is not None:
                budget.must_keep[np.flatnonzero(~budget.never_keep)[0]] = True
            return super().select(budget, machine)


class TestStartOfAll(Broken):
    class Mine(RandomSelector):
        def select(self, budget, machine, watch=None):
            return Selected(super().select(budget, machine).selection, Start(np.ones(budget.system.records)))


class TestRefusesNothing(Broken):
    class Mine(Selector):
        def select(self, budget, machine, watch=None):
            return first(budget, budget.system.reference > 0, budget.keep)


class TestRemembers(Broken):
    class Mine(Selector):
        def __init__(self):
            self.asked = 0

        def select(self, budget, machine, watch=None):
            self.asked += 1
            return RandomSelector().select(budget, Machine(seed=machine.seed + self.asked))


class TestOfNoTime(Broken):
    class Mine(RandomSelector):
        def select(self, budget, machine, watch=None):
            if budget.seconds == 0.0:
                return first(budget, budget.system.reference > 0, 1)
            return super().select(budget, machine)


class TestChancesOfAnotherCount(Broken):
    class Mine(RandomSelector):
        def select(self, budget, machine, watch=None):
            found = super().select(budget, machine).selection
            return Selected(Selection(found.indices, found.total, inclusion_probabilities=np.full(found.total, 0.5)))
"""

SOLVERS = '''
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
'''

OPTIMUM = "test_the_optimum_is_found_and_never_exceeded_by_the_bound"
EARLY = "test_wherever_it_stops_the_point_is_sound_and_the_bound_valid"

SEEN = {
    LOSSES: {
        "TestWrongConjugate": "test_price_and_conjugate_are_those_of_one_another",
        "TestValuesOfAnotherPrice": "test_the_best_ratio_of_one_record_is_that_of_a_search",
        "TestNotConvex": "test_prices_are_convex",
        "TestWeightsAreIgnored": "test_a_target_costs_in_proportion_to_its_weight",
        "TestTolerancesAreIgnored": "test_what_is_tolerated_costs_nothing",
        "TestNoNumber": "test_a_price_has_a_valid_entry_for_each_target",
        "TestNotConvexOnTheQuiet": "test_a_loss_with_a_price_to_follow_says_so_of_endless_errors",
        "TestNeverSettles": "test_the_sequence_of_prices_settles",
        "TestAbandonedStillPay": "test_abandoned_targets_cost_nothing_from_there_on",
        "TestGlobalNoise": "test_prices_are_convex",
    },
    SELECTORS: {
        "TestOneTooFew": "test_exactly_the_count_is_kept",
        "TestFlagsAreIgnored": "test_flags_and_records_without_weight_are_heeded",
        "TestRecordsWithoutWeight": "test_flags_and_records_without_weight_are_heeded",
        "TestSplitsGroups": "test_groups_are_kept_whole",
        "TestGlobalNoise": "test_the_seed_is_all_the_randomness",
        "TestWatchedIsAnother": "test_watching_changes_nothing_and_an_exception_stops_it",
        "TestGoesOnWhenStopped": "test_watching_changes_nothing_and_an_exception_stops_it",
        "TestWritesToTheFlags": "test_what_is_handed_in_is_left_as_it_is",
        "TestStartOfAll": "test_exactly_the_count_is_kept",
        "TestRefusesNothing": "test_what_cannot_be_is_refused",
        "TestRemembers": "test_a_selector_may_be_asked_again",
        "TestOfNoTime": "test_without_time_the_count_is_exact",
        "TestChancesOfAnotherCount": "test_scores_rank_and_probabilities_are_those_of_the_count",
    },
    SOLVERS: {
        "TestBoundTooHigh": f"{OPTIMUM}[absolute-box]",
        "TestBoundOfASpentBudget": f"{EARLY}[absolute-after a few iterations]",
        "TestOutsideItsBounds": f"{OPTIMUM}[absolute-box]",
        "TestObjectiveOfAnotherPoint": f"{OPTIMUM}[squared-box]",
        "TestMassIsIgnored": f"{OPTIMUM}[huber-mass]",
        "TestSpreadIsIgnored": f"{OPTIMUM}[weighed-spread]",
        "TestArrivedTooEarly": f"{OPTIMUM}[mixed-box]",
        "TestNoBoundAtAll": f"{OPTIMUM}[absolute-box]",
        "TestRefusesAll": "test_it_says_what_it_is_and_takes_something",
        "TestColdStartsAlone": "test_any_start_will_do",
        "TestGlobalNoise": "test_the_seed_is_all_the_randomness",
        "TestRemembers": "test_other_tasks_in_between_change_nothing",
        "TestWatchedIsAnother": "test_watching_changes_nothing_and_an_exception_stops_it",
        "TestWritesToTheBounds": "test_what_is_handed_in_is_left_as_it_is",
        "TestAreasAreFelt": "test_areas_are_advice",
        "TestInfeasibleGoesOn": "test_a_mass_out_of_reach_is_infeasible",
    },
}

SOUND = {
    LOSSES: "test_the_same_problem_has_the_same_price",
    SELECTORS: "test_it_says_what_it_is",
    SOLVERS: "test_it_says_what_it_is_and_takes_something",
}
"""What is sound of nearly all of them."""


@pytest.mark.parametrize("source", SEEN, ids=["losses", "selectors", "solvers"])
def test_each_fault_is_seen_and_what_is_sound_passes(source, tmp_path):
    expected = SEEN[source]
    nodes = [f"::{name}::{test}" for name, seen in expected.items() for test in {seen, SOUND[source]}]
    failures = failures_of(source, tmp_path, nodes)
    assert {(name, test.partition("[")[0]) for name, test in expected.items()} <= failures
    unsound = {name for name, test in failures if test == SOUND[source] and expected[name] != test}
    assert unsound <= {"TestNoNumber", "TestGlobalNoise"}
