"""Gate training: the step against finite differences and across backends, the count, blocks, observers."""

import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import HardConcrete, InputError, get_backend, get_distribution
from l0_core.schedules import schedule
from l0_gates.hard_concrete import GateProblem, TrainingSettings, train_gates
from l0_gates.hard_concrete.fused import FusedHardConcreteState
from l0_gates.hard_concrete.gate_state import ArrayGateState, largest
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
            state.update(gradient, 0.3, (0.05, 0.02), *((0.1, (-1.0, 1.5)) if step > 10 else ()))
            if step % 4 == 0:
                state.limit(np.full(50, np.log(1.7)))
        np.testing.assert_allclose(seen[0][0], seen[1][0], rtol=1e-11, atol=1e-14)
        assert seen[0][1] == pytest.approx(seen[1][1], rel=1e-12)
    for first, second in zip(states[0].parameters(), states[1].parameters(), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-10)
    for log_alpha in (state.parameters()[1] for state in states):
        assert (log_alpha.min(), log_alpha.max()) == (-1.0, 1.5)


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


def test_what_a_training_tells():
    result = train_gates(problem(), 15, backend=BACKEND)
    assert len(result.history) == 1_000
    assert result.price == result.history[-1].price
    assert result.history[0].temperature == pytest.approx(2 / 3)
    assert result.history[-1].temperature == pytest.approx(0.2)
    cut = train_gates(problem(), 15, backend=BACKEND, seconds=0.0)
    assert cut.history == result.history[:1]


@pytest.mark.parametrize("law", ["hard_concrete", "gaussian", "straight_through"])
@pytest.mark.parametrize("gates", ["stochastic", "median"])
@pytest.mark.parametrize("keep", [30, 300])
def test_the_expected_count_comes_to_the_one_asked_for(law, gates, keep):
    """Of every law there is, and with no price given: it is found."""
    asked = problem(rows=60, items=1_000)
    settings = TrainingSettings(gates=gates, distribution=law)
    result = train_gates(asked, keep, backend=BACKEND, settings=settings)
    # One gate that wavers between open and shut is 3 % of 30.
    assert result.history[-1].expected_open == pytest.approx(keep, rel=0.04 if keep > 100 else 0.1)
    law_at_the_end = get_distribution(law).with_temperature(0.2)
    assert result.open_probabilities == pytest.approx(law_at_the_end.open_probability(result.log_alpha))


def test_median_gates_that_start_closed_are_refused():
    with pytest.raises(InputError, match="closes every median gate"):
        train_gates(problem(), 15, backend=BACKEND, settings=TrainingSettings(initial_open=0.4))
    train_gates(
        problem(), 15, backend=BACKEND, settings=TrainingSettings(steps=2, initial_open=0.4, gates="stochastic")
    )


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_weights_stay_below_the_largest_and_a_spread_evens_them_out(backend):
    if backend == "torch":
        pytest.importorskip("torch")
    chosen = get_backend(backend)
    free = train_gates(problem(), 15, backend=chosen)
    assert free.weights.max() > 2.5
    held = train_gates(problem(largest=np.full(80, 2.5)), 15, backend=chosen)
    assert held.weights.max() <= 2.5 * (1 + 1e-6)
    even = train_gates(problem(spread=np.full(80, 0.02)), 15, backend=chosen)
    gated = [r.weights * HardConcrete(0.2).deterministic(r.log_alpha) for r in (even, free)]
    assert np.linalg.norm(gated[0]) < 0.9 * np.linalg.norm(gated[1])


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


@pytest.mark.parametrize("gates", ["median", "stochastic"])
@pytest.mark.parametrize("changes", [{}, {"fused": False}, {"block_size": 5_000}])
def test_a_step_allocates_nothing_of_the_size_of_the_dense_matrix(gates, changes):
    rows, items = 1_000, 20_000
    rng = np.random.default_rng(0)
    matrix = sp.random_array((rows, items), density=0.002, rng=rng, format="csr")
    asked = GateProblem(matrix, np.ones(rows), np.ones(items), spread=np.ones(items), largest=np.full(items, 9.0))
    settings = TrainingSettings(steps=3, gates=gates, block_size=changes.get("block_size"))
    train_gates(asked, 100, backend=BACKEND, settings=settings, fused=changes.get("fused"))  # compiled, converted
    tracemalloc.start()
    try:
        train_gates(asked, 100, backend=BACKEND, settings=settings, fused=changes.get("fused"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Some copies of the non-zeros and a few dozen vectors, where the dense matrix in single precision is 80 MB.
    assert peak < 12 * matrix.nnz * 8 + 60 * items * 8
    assert peak < 0.2 * rows * items * 4


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_exactly_k_gates_are_open_in_every_step(backend):
    if backend == "torch":
        pytest.importorskip("torch")
    settings = TrainingSettings(gates="top_k", steps=150)
    result = train_gates(problem(), 15, backend=get_backend(backend), settings=settings)
    counts = [step.expected_open for step in result.history]
    assert counts[0] == 80
    assert all(later <= earlier for earlier, later in itertools.pairwise(counts))
    assert counts[101:] == [15.0] * 49
    assert {step.price for step in result.history} == {0.0}
    # With 15 weights for 12 targets the 15 chosen ones come close to them.
    assert result.history[-1].loss < 0.1 * np.abs(problem().targets).mean()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_of_equal_gates_the_first_are_the_largest(backend):
    if backend == "torch":
        pytest.importorskip("torch")
    arrays = get_backend(backend)
    values = arrays.asarray(np.array([0.0, 2.0, 1.0, 1.0, 1.0, -3.0]))
    for count, expected in ((1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4]), (6, range(6))):
        assert np.flatnonzero(arrays.to_numpy(largest(arrays.xp, values, count))).tolist() == list(expected)
