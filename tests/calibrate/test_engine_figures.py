"""The figures that the engine must reach on the real problems beside the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l0_calibrate import CalibrationProblem, calibrate

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

SEARCH = {"rounds": 200, "failures": 30}
"""A longer search than the default one."""

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data beside the checkout"),
]


def load(name: str) -> CalibrationProblem:
    return CalibrationProblem.load(DATA / name)


@pytest.mark.parametrize(
    ("name", "bound", "optimum"),
    [
        ("us_national_small", None, 0.029644),
        ("us_state_soi_medium", None, 0.021946),
        ("us_state_soi_medium", 10.0, 0.02706),
    ],
)
def test_dense_fits_are_certified_to_one_per_cent(name: str, bound: float | None, optimum: float) -> None:
    result = calibrate(load(name), max_weight_ratio=bound, spread=0.0, solver="primal_dual")
    assert result.status == "optimal"
    assert result.gap is not None
    assert result.gap <= 0.01
    assert result.loss <= 1.01 * optimum
    assert result.bound is not None
    assert result.bound <= optimum * (1 + 1e-4)  # the optimum is known to five digits


@pytest.mark.parametrize(
    ("name", "keep", "bound", "loss", "ess", "options"),
    [
        ("us_national_small", 300, 5.0, 0.0325, 180, {"selector": "prune", "spread": 0.003}),
        ("us_state_soi_medium", 4_000, 5.0, 0.0229, 1_950, {"selector": "prune", "spread": 0.0032}),
        (
            "us_state_soi_medium",
            4_000,
            5.0,
            0.0226,
            2_080,
            {"ess_at_least": 2_080, "selector_settings": {"rounds": 20}},
        ),
        ("us_state_soi_medium", 2_000, 5.0, 0.0226, 1_040, {"ess_at_least": 1_040, "selector_settings": SEARCH}),
        ("us_state_soi_medium", 1_000, 10.0, 0.0425, 315, {"ess_at_least": 315, "selector_settings": SEARCH}),
    ],
)
def test_exact_budgets_reach_their_loss_and_sample_size(
    name: str, keep: int, bound: float, loss: float, ess: float, options: dict[str, Any]
) -> None:
    problem = load(name)
    result = calibrate(problem, keep=keep, max_weight_ratio=bound, seed=1, **{"selector": "exchange"} | options)
    kept = result.weights > 0
    assert kept.sum() == keep
    assert result.loss <= loss
    assert result.ess >= ess
    ratios = result.weights[kept] / problem.initial_weights[kept]
    assert ratios.max() <= bound * problem.n_records / keep * (1 + 1e-9)
    assert np.isfinite(result.weights).all()
