"""Selectors that are broken in one way each, under the contract that should see it."""

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
