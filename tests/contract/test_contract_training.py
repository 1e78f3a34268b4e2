"""Gates train alike on every backend of this machine, a third party's among them, whatever their law."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import get_backend
from l0_core.plugins import registry
from l0_gates.hard_concrete import GateProblem, TrainingSettings, train_gates
from l0_gates.hard_concrete.losses import GATE_LOSSES


@pytest.mark.parametrize("gates", ["median", "stochastic", "top_k"])
@pytest.mark.parametrize("distribution", registry().names("distribution"))
def test_every_backend_takes_the_same_steps(any_backend, distribution, gates):
    rng = np.random.default_rng(0)
    matrix = sp.random_array((9, 40), density=0.4, rng=rng, format="csr")
    problem = GateProblem(
        matrix,
        matrix @ rng.uniform(0.5, 2.0, 40),
        np.ones(40),
        spread=np.full(40, 0.01),
        largest=np.full(40, 6.0),
    )
    settings = TrainingSettings(steps=40, dtype="float64", gates=gates, distribution=distribution)
    host = train_gates(problem, 8, backend=get_backend("numpy"), seed=3, settings=settings, fused=False)
    found = train_gates(problem, 8, backend=any_backend, seed=3, settings=settings)
    # Sums in another order, over 40 steps.
    np.testing.assert_allclose(found.log_alpha, host.log_alpha, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.weights, host.weights, rtol=1e-7)
    assert found.price == pytest.approx(host.price, rel=1e-6)


@pytest.mark.parametrize("loss", sorted(GATE_LOSSES))
def test_every_backend_weighs_rows_alike(any_backend, loss):
    rng = np.random.default_rng(1)
    matrix, weights = sp.random_array((12, 9), density=0.4, rng=rng, format="csr"), rng.uniform(size=12)
    targets = (rng.random(12) < 0.5).astype(float)
    problem = GateProblem(matrix, targets, np.zeros(9), positive=False, centred=True, row_weights=weights)
    settings = TrainingSettings(steps=30, dtype="float64", loss=loss)
    host = train_gates(problem, 3, backend=get_backend("numpy"), settings=settings)
    found = train_gates(problem, 3, backend=any_backend, settings=settings)
    np.testing.assert_allclose(found.log_alpha, host.log_alpha, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.weights, host.weights, rtol=1e-7, atol=1e-9)
