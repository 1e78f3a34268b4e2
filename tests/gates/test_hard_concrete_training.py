"""Gate training: the step against finite differences and across backends, the count, blocks, observers."""

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import HardConcrete, InputError, get_backend
from l0_core.schedules import schedule
from l0_gates.hard_concrete import GateProblem, TrainingSettings, train_gates
from l0_gates.hard_concrete.fused import FusedHardConcreteState
from l0_gates.hard_concrete.gate_state import ArrayGateState
from l0_gates.hard_concrete.losses import GATE_LOSSES

BACKEND = get_backend("numpy")


def problem(seed=0, rows=12, items=80, **changes):
    rng = np.random.default_rng(seed)
    matrix = sp.random_array((rows, items), density=0.4, rng=rng, format="csr")
    truth = np.zeros(items)
    truth[:10] = rng.uniform(2.0, 6.0, size=10)
    values = {"matrix": sp.csr_array(matrix), "targets": matrix @ truth, "weights": np.ones(items)} | changes
    return GateProblem(**values)


def test_fused_and_generic_states_agree_step_by_step():
    rng = np.random.default_rng(1)
    weights, log_alpha = rng.uniform(0.5, 2.0, 50), rng.normal(scale=2.0, size=50)
    states = [FusedHardConcreteState(weights, log_alpha), ArrayGateState(BACKEND, weights, log_alpha, True)]
    law = HardConcrete(0.4)
    for step in range(20):
        uniform = None if step % 3 == 0 else rng.uniform(0.01, 0.99, size=50)
        gradient = rng.normal(size=50)
        seen = []
        for state in states:
            gated, expected = state.open_gates(law, uniform)
            seen.append((gated.copy(), expected))
            state.update(gradient, 0.3, (0.05, 0.02))
        np.testing.assert_allclose(seen[0][0], seen[1][0], rtol=1e-11, atol=1e-14)
        assert seen[0][1] == pytest.approx(seen[1][1], rel=1e-12)
    for first, second in zip(states[0].parameters(), states[1].parameters(), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-10)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("loss", sorted(GATE_LOSSES))
def test_the_first_step_follows_the_gradient_by_finite_differences(loss, positive):
    """Adam's first step is the rate times the sign of the gradient, so the signs of the differences are seen."""
    rng = np.random.default_rng(2)
    matrix, targets = rng.normal(size=(6, 5)), rng.integers(0, 2, size=6).astype(float)
    weights, log_alpha, uniform = rng.uniform(0.5, 1.5, 5), rng.normal(size=5), rng.uniform(0.3, 0.7, size=5)
    law, price = HardConcrete(), 0.05

    def objective(free, logits):
        gated = (np.exp(free) if positive else free) * law.sample(logits, uniform)
        value, _ = GATE_LOSSES[loss](np, matrix @ gated, targets)
        return float(value) + price * law.open_probability(logits).sum()

    free = np.log(weights) if positive else weights
    state = ArrayGateState(BACKEND, weights, log_alpha, positive)
    gated, _ = state.open_gates(law, uniform)
    _, slope = GATE_LOSSES[loss](np, matrix @ gated, targets)
    state.update(matrix.T @ slope, price, (1e-3, 1e-3))
    moved_weights, moved_alpha = state.parameters()
    moved_free = np.log(moved_weights) if positive else moved_weights
    for j in range(5):
        unit = np.eye(5)[j] * 1e-6
        by_free = objective(free + unit, log_alpha) - objective(free - unit, log_alpha)
        by_alpha = objective(free, log_alpha + unit) - objective(free, log_alpha - unit)
        assert moved_free[j] - free[j] == pytest.approx(-1e-3 * np.sign(by_free), rel=1e-2)
        assert moved_alpha[j] - log_alpha[j] == pytest.approx(-1e-3 * np.sign(by_alpha), rel=1e-2)


@pytest.mark.parametrize("gates", ["stochastic", "median"])
def test_the_expected_count_comes_to_the_one_asked_for(gates):
    result = train_gates(problem(), 15, backend=BACKEND, settings=TrainingSettings(gates=gates))
    # A dozen open gates: one that wavers between open and shut is 7 % of the count.
    assert result.history[-1].expected_open == pytest.approx(15, rel=0.15)
    assert len(result.history) == 1_000
    assert result.price == result.history[-1].price
    assert result.history[0].temperature == pytest.approx(2 / 3)
    assert result.history[-1].temperature == pytest.approx(0.2)


def test_seeds_observers_and_blocks():
    settings = TrainingSettings(steps=60, dtype="float64")
    plain = train_gates(problem(), 15, backend=BACKEND, settings=settings, seed=4)
    seen = []
    state = np.random.get_state()[1].copy()
    watched = train_gates(problem(), 15, backend=BACKEND, settings=settings, seed=4, observer=seen.append)
    assert tuple(seen) == watched.history
    np.testing.assert_array_equal(plain.log_alpha, watched.log_alpha)
    np.testing.assert_array_equal(state, np.random.get_state()[1])
    other = train_gates(problem(), 15, backend=BACKEND, settings=settings, seed=5)
    assert not np.array_equal(plain.log_alpha, other.log_alpha)
    in_blocks = TrainingSettings(steps=60, dtype="float64", block_size=17)
    blocked = train_gates(problem(), 15, backend=BACKEND, settings=in_blocks, seed=4)
    np.testing.assert_allclose(blocked.log_alpha, plain.log_alpha, rtol=1e-6)


@pytest.mark.parametrize("gates", ["stochastic", "median"])
def test_torch_gives_the_numbers_of_numpy(gates):
    pytest.importorskip("torch")
    settings = TrainingSettings(steps=80, dtype="float64", gates=gates)
    ours = train_gates(problem(), 15, backend=BACKEND, settings=settings)
    theirs = train_gates(problem(), 15, backend=get_backend("torch"), settings=settings)
    # Equal noise, sums in another order: rounding grows over 80 steps.
    np.testing.assert_allclose(theirs.log_alpha, ours.log_alpha, rtol=1e-6)
    np.testing.assert_allclose(theirs.weights, ours.weights, rtol=1e-6)


def test_centred_columns_and_offset_are_what_they_say():
    base = problem(positive=False, weights=np.full(80, 0.1))
    dense = base.matrix.toarray()
    by_hand = GateProblem(sp.csr_array(dense - dense.mean(axis=0)), base.targets - 2.0, base.weights, positive=False)
    implicit = GateProblem(base.matrix, base.targets, base.weights, positive=False, centred=True, offset=2.0)
    settings = TrainingSettings(steps=40, dtype="float64", loss="squared")
    results = [train_gates(p, 15, backend=BACKEND, settings=settings) for p in (by_hand, implicit)]
    np.testing.assert_allclose(results[0].weights, results[1].weights, rtol=1e-7)


def test_bad_settings_are_refused_when_they_are_made():
    for wrong in ({"steps": 0}, {"loss": "hinge"}, {"gates": "soft"}, {"initial_open": 1.0}, {"dtype": "float16"}):
        with pytest.raises(ValueError):
            TrainingSettings(**wrong)
    with pytest.raises(InputError, match="unknown schedule"):
        TrainingSettings(temperature=schedule("sudden", 1.0, 0.1))
    with pytest.raises(InputError):
        train_gates(problem(), 0, backend=BACKEND)
    with pytest.raises(InputError, match="fused"):
        train_gates(problem(positive=False), 3, backend=BACKEND, fused=True)
