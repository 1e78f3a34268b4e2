"""The same bits whatever the cores of the machine: BLAS splits long sums between them, and the fits must not feel it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.inner import inner

RECORDS = 30_000
"""Enough that BLAS would split sums over a third of them, too."""


@pytest.fixture(scope="module")
def asked() -> CalibrationProblem:
    random = np.random.default_rng(5)
    matrix = sp.random_array((40, RECORDS), density=0.02, rng=random, data_sampler=random.exponential).tocsr()
    weights = random.uniform(0.5, 3.0, RECORDS)
    return CalibrationProblem(matrix, (matrix @ weights) * random.uniform(0.7, 1.4, 40), initial_weights=weights)


@pytest.mark.parametrize(
    "how",
    [
        {"solver": "primal_dual", "max_weight_ratio": 3, "conserve_mass": True, "tol": 1e-3},
        {"keep": 12_000, "max_weight_ratio": 3},
        {"keep": 12_000, "max_weight_ratio": 3, "conserve_mass": True, "solver": "primal_dual"},
        {"keep": 12_000, "max_weight_ratio": 3, "selector": "exchange", "selector_settings": {"rounds": 3}},
    ],
)
def test_a_fit_is_the_same_on_a_machine_of_more_cores(asked: CalibrationProblem, how: dict[str, Any]) -> None:
    prints = set()
    for cores in (1, 4):
        with threadpool_limits(cores, user_api="blas"):
            prints.add(calibrate(asked, **how).fingerprint)
    assert len(prints) == 1


def test_products_are_summed_as_they_should_be() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 1_000))
    assert inner(a, b) == pytest.approx(float(a @ b), rel=1e-12)
    assert inner(a[:0], b[:0]) == 0.0
