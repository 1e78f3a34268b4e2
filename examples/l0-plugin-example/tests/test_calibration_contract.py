"""The contracts of l0-calibrate over the loss, the selector and the solver of this package."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from l0_calibrate import CalibrationProblem
from l0_calibrate.selectors.lookup import selector_named
from l0_calibrate.testing import LossContract, SelectorContract, SolverContract
from l0_core.plugins import registry


class TestStandardError(LossContract):
    @pytest.fixture(params=[0.5, 2.0])
    def loss(self, request):
        return registry().get("loss", "standard_error", free=request.param)

    @pytest.fixture
    def problem(self):
        """One with the column that the loss reads."""
        rng = np.random.default_rng(0)
        matrix = rng.gamma(1.0, 1.0, (6, 15))
        totals = matrix.sum(axis=1) * rng.uniform(0.6, 1.4, 6)
        return CalibrationProblem(matrix, totals, target_info=pd.DataFrame({"standard_error": 0.05 * totals}))


class TestHeaviest(SelectorContract):
    @pytest.fixture
    def make_selector(self):
        return partial(selector_named, "heaviest", {})


class TestLinearProgram(SolverContract):
    @pytest.fixture
    def solver(self):
        return registry().get("solver", "linear_program")
