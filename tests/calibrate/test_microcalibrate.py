"""The microcalibrate face: its names, its numbers where they are right, and right ones where they were not."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from l0_calibrate.microcalibrate import (
    Calibration,
    evaluate_estimate_distance_to_targets,
    evaluate_sparse_weights,
    log_performance_over_epochs,
    metrics,
    reweight,
)
from l0_calibrate.microcalibrate.analytical import assess_analytical_solution
from l0_core import InputError

NAMES = ["a", "b", "c", "d"]


def example(seed=0, records=50):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.random((records, 4)) * (rng.random((records, 4)) < 0.6), columns=NAMES)
    weights = rng.uniform(1.0, 5.0, records)
    targets = frame.to_numpy().T @ (weights * rng.uniform(0.8, 1.6, records)) + 3.0
    return weights, targets, frame


def by_autograd(weights, targets, frame, epochs, lr, loss, factor=None):
    """torch's autograd and Adam in float64 on the stated loss."""
    log_weight = torch.tensor(np.log(weights), requires_grad=True)
    table, goal = torch.tensor(frame.to_numpy().T), torch.tensor(targets)
    optimiser = torch.optim.Adam([log_weight], lr=lr)
    losses = []
    for _ in range(epochs):
        optimiser.zero_grad()
        value = loss(table @ log_weight.exp(), goal, factor)
        losses.append(value.item())
        value.backward()
        optimiser.step()
    return log_weight.exp().detach().numpy(), losses


def relative(estimate, goal, factor):
    errors = ((estimate - goal) / (goal.abs() + 1)).square()
    return (errors if factor is None else errors * factor).mean()


@pytest.mark.parametrize("factor", [None, torch.tensor([0.2, 1.0, 3.0, 0.0], dtype=torch.float64)])
@pytest.mark.parametrize(("name", "loss"), [("relative", relative), ("historical", metrics.loss)])
def test_the_dense_fit_is_adam_on_log_weights(name, loss, factor):
    weights, targets, frame = example()
    calibration = Calibration(
        weights,
        targets,
        estimate_matrix=frame,
        epochs=60,
        noise_level=0.0,
        learning_rate=0.01,
        loss=name,
        normalization_factor=factor,
    )
    performance = calibration.calibrate()
    expected, losses = by_autograd(weights, targets, frame, 60, 0.01, loss, factor)
    np.testing.assert_allclose(calibration.weights, expected, rtol=1e-4)  # trained in float32
    logged = performance.groupby("epoch")["loss"].first()
    assert logged.index.tolist() == list(range(0, 61, 6))
    np.testing.assert_allclose(logged.iloc[:-1], losses[::6], rtol=1e-3)


def test_the_performance_frame():
    weights, targets, frame = example()
    calibration = Calibration(weights, targets, estimate_matrix=frame, epochs=30, learning_rate=0.05)
    performance = calibration.calibrate()
    assert performance is calibration.performance_df
    assert performance.columns.tolist() == [
        "epoch",
        "loss",
        "target_name",
        "target",
        "estimate",
        "error",
        "abs_error",
        "rel_abs_error",
    ]
    last = performance[performance["epoch"] == 30]
    assert last["target_name"].tolist() == NAMES
    np.testing.assert_allclose(last["estimate"], frame.to_numpy().T @ calibration.weights, rtol=1e-6)
    np.testing.assert_allclose(last["rel_abs_error"], np.abs(last["estimate"] / targets - 1))
    summary = calibration.summary()
    assert summary.columns.tolist() == ["Metric", "Official target", "Final estimate", "Relative error"]
    np.testing.assert_allclose(summary["Final estimate"], last["estimate"], rtol=1e-6)
    assert calibration.sparse_weights is None


def test_noise_and_seed():
    weights, targets, frame = example()
    torch.manual_seed(0)
    np.random.seed(0)
    state = torch.get_rng_state().clone(), np.random.get_state()[1].copy()

    def start(**options):
        calibration = Calibration(
            weights, targets, estimate_matrix=frame, epochs=1, learning_rate=1e-12, regularize_with_l0=True, **options
        )
        calibration.calibrate()
        return calibration.weights, calibration.sparse_weights

    first, again, other, quiet = start(), start(), start(seed=1), start(noise_level=0.0)
    added = first[0] - weights
    assert 0 <= added.min() < 1
    assert 9 < added.max() < 10
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    np.testing.assert_allclose(quiet[0], weights, rtol=1e-6)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])


def test_dropout_never_reaches_the_weights():
    weights, targets, frame = example()
    calibration = Calibration(
        weights, targets, estimate_matrix=frame, epochs=300, noise_level=0.0, learning_rate=0.02, dropout_rate=0.3
    )
    calibration.calibrate()
    assert (calibration.weights > 0).all()
    plain = Calibration(weights, targets, estimate_matrix=frame, epochs=300, noise_level=0.0, learning_rate=0.02)
    plain.calibrate()
    assert not np.array_equal(plain.weights, calibration.weights)
    still = Calibration(
        weights, targets, estimate_matrix=frame, epochs=1, noise_level=0.0, learning_rate=1e-12, dropout_rate=0.9
    )
    still.calibrate()
    np.testing.assert_allclose(still.weights, weights, rtol=1e-6)


def test_gates_leave_fewer_records_at_a_higher_price():
    weights, targets, frame = example()

    def kept(price):
        calibration = Calibration(
            weights, targets, estimate_matrix=frame, epochs=150, l0_lambda=price, regularize_with_l0=True
        )
        calibration.calibrate()
        assert (calibration.weights > 0).all()
        return int(np.count_nonzero(calibration.sparse_weights))

    few, many = kept(3e-3), kept(1e-6)
    assert 0 < few < many <= 50


@pytest.mark.parametrize("options", [{}, {"regularize_with_l0": True, "l0_lambda": 1e-3}, {"keep": 10}])
def test_what_is_scored_is_what_a_fit_would_find(options):
    weights, targets, frame = example()
    calibration = Calibration(weights, targets, estimate_matrix=frame, **options)
    scored = calibration.weights_to_score()
    assert np.array_equal(calibration.weights, weights)
    assert calibration.sparse_weights is calibration.result is None
    calibration.calibrate()
    found = calibration.weights if calibration.sparse_weights is None else calibration.sparse_weights
    assert np.array_equal(scored, found)


@pytest.mark.parametrize("l0", [False, True])
def test_a_function_gives_what_its_matrix_gives(l0):
    weights, targets, frame = example()
    table = torch.tensor(frame.to_numpy().T, dtype=torch.float32)
    options = {"epochs": 40, "learning_rate": 0.02, "regularize_with_l0": l0, "l0_lambda": 1e-3, "dropout_rate": 0.2}
    one = Calibration(weights, targets, estimate_matrix=frame, **options)
    two = Calibration(weights, targets, NAMES, estimate_function=lambda w: table @ w, **options)
    one.calibrate()
    two.calibrate()
    np.testing.assert_allclose(one.weights, two.weights, rtol=1e-3)
    if l0:
        np.testing.assert_allclose(one.sparse_weights, two.sparse_weights, rtol=0.02, atol=1e-2)
    pd.testing.assert_series_equal(one.estimate(), two.estimate(), rtol=1e-3)
    tensor = torch.tensor(weights, dtype=torch.float32, requires_grad=True)
    one.estimate_function(tensor).sum().backward()
    np.testing.assert_allclose(tensor.grad, frame.to_numpy().sum(axis=1), rtol=1e-5)


def test_a_function_may_leave_out_what_is_excluded():
    weights, targets, frame = example()
    table, kept = torch.tensor(frame.to_numpy().T, dtype=torch.float32), [0, 2, 3]
    options = {"excluded_targets": ["target_1"], "epochs": 20, "learning_rate": 0.02, "noise_level": 0.0}
    whole = Calibration(weights, targets, estimate_function=lambda w: table @ w, **options)
    part = Calibration(weights, targets, estimate_function=lambda w: table[kept] @ w, **options)
    for calibration in (whole, part):
        calibration.calibrate()
    np.testing.assert_allclose(part.weights, whole.weights, rtol=1e-5)
    assert part.target_names.tolist() == ["target_0", "target_2", "target_3"]
    exact = frame.to_numpy().T @ part.weights
    np.testing.assert_allclose(part.estimate(), exact[kept], rtol=1e-5)
    np.testing.assert_allclose(part.estimates_of(part.weights), np.where(np.arange(4) == 1, np.nan, exact), rtol=1e-5)
    with pytest.raises(InputError, match="one estimate for each of 4 targets"):
        part.evaluate_holdout_robustness(1, 0.4)


def test_the_weights_given_are_read_once():
    weights, targets, frame = example()
    given = weights.copy()
    calibration = Calibration(given, targets, estimate_matrix=frame, epochs=2)
    given[:] = 0.0
    np.testing.assert_array_equal(calibration.original_weights, weights)
    np.testing.assert_array_equal(calibration.weights, weights)
    calibration.weights[:] = 1.0
    np.testing.assert_array_equal(calibration.original_weights, weights)


def test_a_non_linear_function():
    weights, _, frame = example()
    table = torch.tensor(frame.to_numpy().T, dtype=torch.float32)

    def ratios(w):
        sums = table @ w
        return torch.stack([sums[0], 100 * sums[1] / sums[0]])

    calibration = Calibration(
        weights, np.array([70.0, 90.0]), ["level", "ratio"], estimate_function=ratios, epochs=400, learning_rate=0.02
    )
    calibration.calibrate()
    np.testing.assert_allclose(calibration.estimate(), [70.0, 90.0], rtol=0.02)
    assert calibration.estimate().index.tolist() == ["level", "ratio"]


@pytest.mark.parametrize("l0", [False, True])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda table, w: table.numpy() @ w.detach().numpy(), "must give a tensor, .* got ndarray"),
        (lambda table, w: (table @ w).tolist(), "must give a tensor, .* got list"),
        (lambda table, w: (table @ w).detach(), "that no gradient leads from to the weights"),
    ],
)
def test_a_function_that_cannot_be_learnt_from_is_refused_with_what_it_lacks(wrong, message, l0):
    weights, targets, frame = example()
    table = torch.tensor(frame.to_numpy().T, dtype=torch.float32)
    options = {"epochs": 2, "regularize_with_l0": l0}
    calibration = Calibration(weights, targets, NAMES, estimate_function=lambda w: wrong(table, w), **options)
    with pytest.raises(InputError, match=message):
        calibration.calibrate()
    if "tensor" in message:
        with pytest.raises(InputError, match=message):
            calibration.estimate()


def test_excluded_targets_take_no_part_and_are_still_reported():
    weights, targets, frame = example()
    options = {"epochs": 40, "learning_rate": 0.02}
    calibration = Calibration(weights, targets, estimate_matrix=frame, excluded_targets=["b"], **options)
    assert calibration.target_names.tolist() == ["a", "c", "d"]
    assert calibration.estimate_matrix.columns.tolist() == ["a", "c", "d"]
    performance = calibration.calibrate()
    alone = Calibration(weights, targets[[0, 2, 3]], estimate_matrix=frame[["a", "c", "d"]], **options)
    alone.calibrate()
    np.testing.assert_allclose(calibration.weights, alone.weights, rtol=1e-6)
    last = performance[performance["epoch"] == 40].set_index("target_name")["estimate"]
    np.testing.assert_allclose(last["b"], frame["b"] @ calibration.weights, rtol=1e-6)
    summary = calibration.summary().set_index("Metric")["Final estimate"]
    assert summary.index.tolist() == ["a", "c", "d", "b"]
    np.testing.assert_allclose(summary["b"], last["b"], rtol=1e-6)
    calibration.exclude_targets()
    assert calibration.excluded_targets == ["b"]
    calibration.exclude_targets(["a", "d"])
    assert calibration.target_names.tolist() == ["b", "c"]
    calibration.exclude_targets([])
    assert calibration.target_names.tolist() == NAMES
    with pytest.warns(UserWarning, match="no target is called nope"):
        calibration.exclude_targets(["nope"])
    with pytest.raises(InputError, match="every target is excluded"):
        calibration.exclude_targets(NAMES)


def test_negative_and_zero_targets():
    matrix = pd.DataFrame({"loss": [-1.0, -2.0, 0.0], "balance": [0.0, 1.0, -1.0], "people": [1.0, 1.0, 1.0]})
    calibration = Calibration(
        np.array([1.0, 1.0, 1.0]),
        np.array([-8.0, 0.0, 8.0]),
        estimate_matrix=matrix,
        epochs=2000,
        learning_rate=0.02,
        noise_level=0.0,
    )
    performance = calibration.calibrate()
    np.testing.assert_allclose(calibration.estimate(), [-8.0, 0.0, 8.0], atol=0.05)
    assert performance.loc[performance["target_name"] == "balance", "rel_abs_error"].isna().all()
    with pytest.raises(InputError, match="target 1 is -1"):
        Calibration([1.0], [1.0, -1.0], estimate_matrix=[[1.0, 1.0]], loss="historical").calibrate()


@pytest.mark.parametrize("size", [1, 7, 50, 500])
def test_batches_give_the_same_weights(size):
    weights, targets, frame = example()
    options = {"epochs": 20, "learning_rate": 0.02, "regularize_with_l0": True}
    whole = Calibration(weights, targets, estimate_matrix=frame, **options)
    parts = Calibration(weights, targets, estimate_matrix=frame, batch_size=size, **options)
    whole.calibrate()
    parts.calibrate()
    np.testing.assert_allclose(parts.weights, whole.weights, rtol=1e-4)  # sums in another order, in float32


def sparse_frame(frame):
    return pd.DataFrame.sparse.from_spmatrix(sp.csc_matrix(frame.to_numpy()), columns=NAMES)


FORMS = [
    sparse_frame,
    lambda f: sp.csr_array(f.to_numpy()),
    lambda f: sp.coo_matrix(f.to_numpy()),
    lambda f: f.to_numpy(),
    lambda f: np.asfortranarray(f.to_numpy()),
    lambda f: f.to_numpy()[::-1][::-1],
    lambda f: torch.tensor(f.to_numpy()),
    lambda f: torch.tensor(f.to_numpy()).to_sparse_csr(),
    lambda f: f.astype("Float64"),
    lambda f: pd.concat([f.iloc[:, :1], sparse_frame(f).iloc[:, 1:2], f.iloc[:, 2:]], axis=1),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
def test_every_kind_of_matrix(form):
    weights, targets, frame = example()
    expected = Calibration(weights, targets, NAMES, frame, epochs=5).calibrate()
    found = Calibration(weights, targets, NAMES, form(frame), epochs=5).calibrate()
    pd.testing.assert_frame_equal(found, expected)


def test_the_csv_and_a_second_call(tmp_path):
    weights, targets, frame = example()
    path = tmp_path / "new" / "log.csv"
    calibration = Calibration(
        weights, targets, estimate_matrix=frame, epochs=10, noise_level=0.0, learning_rate=0.05, csv_path=path
    )
    first = calibration.calibrate()
    pd.testing.assert_frame_equal(pd.read_csv(path, index_col=0), first)
    assert [p.name for p in path.parent.iterdir()] == ["log.csv"]
    gated = Calibration(
        weights, targets, estimate_matrix=frame, epochs=10, noise_level=0.0, regularize_with_l0=True, csv_path=path
    )
    gated.calibrate()
    assert sorted(p.name for p in path.parent.iterdir()) == ["log.csv", "log_sparse.csv"]
    log = pd.read_csv(path.with_name("log_sparse.csv"), index_col=0)
    assert log["epoch"].max() == 20
    last = log[log["epoch"] == 20]["estimate"]
    np.testing.assert_allclose(last, frame.to_numpy().T @ gated.sparse_weights, rtol=1e-6)
    second = calibration.calibrate()
    assert second["loss"].iloc[0] == pytest.approx(first["loss"].iloc[-1], rel=1e-5)


def test_reweight_is_the_class():
    weights, targets, frame = example()
    table = torch.tensor(frame.to_numpy().T, dtype=torch.float32)
    found, sparse, performance = reweight(
        weights,
        lambda w: table @ w,
        targets,
        np.array(NAMES),
        1e-3,
        0.999,
        0.5,
        True,
        epochs=30,
        dropout_rate=0.0,
        excluded_targets=["gone"],
        excluded_target_data={"gone": {"target": 4.0, "initial_estimate": 3.0}},
    )
    calibration = Calibration(
        weights, targets, NAMES, estimate_matrix=frame, epochs=30, l0_lambda=1e-3, regularize_with_l0=True
    )
    expected = calibration.calibrate()
    np.testing.assert_allclose(found, calibration.weights, rtol=1e-3)
    np.testing.assert_allclose(sparse, calibration.sparse_weights, rtol=0.05, atol=1e-2)
    gone = performance[performance["target_name"] == "gone"]
    assert gone["error"].unique().tolist() == [-1.0]
    assert len(performance) == len(expected) + gone["epoch"].nunique()


def test_reweight_by_matrix_in_batches(caplog, tmp_path):
    weights, targets, frame = example()
    calibration = Calibration(weights, targets, NAMES, frame, epochs=30, regularize_with_l0=True, seed=5)
    expected = calibration.calibrate()
    with caplog.at_level("INFO", logger="mine"):
        found, sparse, performance = reweight(
            weights,
            None,
            targets,
            NAMES,
            5e-6,
            0.999,
            0.5,
            True,
            epochs=30,
            dropout_rate=0.0,
            csv_path=tmp_path / "log.csv",
            logger=logging.getLogger("mine"),
            seed=5,
            batch_size=7,
            estimate_matrix=torch.tensor(frame.to_numpy()),
        )
    np.testing.assert_allclose(found, calibration.weights, rtol=1e-4)
    np.testing.assert_allclose(sparse, calibration.sparse_weights, rtol=1e-2, atol=1e-2)
    assert len(performance) == len(expected)
    assert f"keep {np.count_nonzero(sparse)} of 50" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "log_sparse.csv"]


def test_targets_can_be_set():
    weights, targets, frame = example()
    options = {"estimate_matrix": frame, "epochs": 20, "learning_rate": 0.02, "noise_level": 0.0}
    changed, made = Calibration(weights, targets, **options), Calibration(weights, targets * 1.2, **options)
    changed.targets = targets * 1.2
    np.testing.assert_array_equal(changed.original_targets, targets * 1.2)
    for calibration in (changed, made):
        calibration.calibrate()
    np.testing.assert_array_equal(changed.weights, made.weights)
    changed.exclude_targets([changed.target_names[0]])
    changed.targets = list(targets[1:])
    np.testing.assert_array_equal(changed.original_targets, [targets[0] * 1.2, *targets[1:]])
    assert targets[1] != changed.targets[0] * 1.2  # the caller's own array is not touched
    with pytest.raises(InputError, match="targets"):
        changed.targets = targets


def test_options_are_attributes_that_can_be_set():
    weights, targets, frame = example()
    calibration = Calibration(weights, targets, estimate_matrix=frame, learning_rate=0.02)
    assert (calibration.epochs, calibration.noise_level, calibration.seed, calibration.batch_size) == (
        32,
        10.0,
        42,
        None,
    )
    assert (calibration.l0_lambda, calibration.init_mean, calibration.temperature) == (5e-6, 0.999, 0.5)
    best = {"l0_lambda": 1e-3, "init_mean": 0.8, "temperature": 0.6, "epochs": 20, "noise_level": 0.0}
    for name, value in best.items():
        setattr(calibration, name, value)
    calibration.regularize_with_l0 = True
    calibration.normalization_factor = [1.0, 2.0, 3.0, 4.0]
    calibration.calibrate()
    at_once = Calibration(
        weights,
        targets,
        estimate_matrix=frame,
        learning_rate=0.02,
        regularize_with_l0=True,
        normalization_factor=np.array([1.0, 2.0, 3.0, 4.0]),
        **best,
    )
    at_once.calibrate()
    assert np.array_equal(calibration.weights, at_once.weights)
    assert np.array_equal(calibration.sparse_weights, at_once.sparse_weights)
    at_once.regularize_with_l0 = False
    at_once.calibrate()
    assert at_once.sparse_weights is None
    plain = Calibration(weights, targets, estimate_matrix=frame, l0_lambda=None, init_mean=None, temperature=None)
    assert plain.gates == Calibration(weights, targets, estimate_matrix=frame).gates
    with pytest.raises(InputError, match="temperature must be positive"):
        calibration.temperature = -1.0
    with pytest.raises(InputError, match=r"normalization_factor must be of shape \(4,\)"):
        calibration.normalization_factor = [1.0]
    calibration.normalization_factor = None
    assert calibration.normalization_factor.tolist() == [1.0] * 4
    calibration.solver = "primal_dual"
    with pytest.raises(InputError, match="belongs to solver='adam'"):
        calibration.calibrate()


def test_distances():
    found = evaluate_estimate_distance_to_targets(
        np.array([100.0, 10.0, 5.0]), np.array([90.0, 10.5, 0.0]), np.array([5.0, 1.0, 1.0]), ["x", "y", "z"]
    )
    assert found.to_dict(orient="list") == {
        "target_names": ["x", "y", "z"],
        "distances": [10.0, 0.5, 5.0],
        "tolerances": [5.0, 1.0, 1.0],
        "within_tolerance": [False, True, False],
    }
    with pytest.raises(ValueError, match=r"2 target\(s\) are outside their tolerance levels: target_0, target_2"):
        evaluate_estimate_distance_to_targets([100.0, 10.0, 5.0], [90.0, 10.5, 0.0], [5.0, 1.0, 1.0], None, True)
    with pytest.raises(InputError, match=r"estimates must be of shape \(2,\)"):
        evaluate_estimate_distance_to_targets([1.0, 2.0], [1.0], [1.0, 1.0])


def test_measures():
    estimate, targets = np.array([90.0, 10.5, 0.0]), np.array([100.0, 10.0, 5.0])
    expected = np.mean([(9 / 101) ** 2, (1.5 / 11) ** 2, (4 / 6) ** 2])
    assert metrics.loss(estimate, targets) == pytest.approx(expected)
    assert metrics.loss(torch.tensor(estimate), torch.tensor(targets)).item() == pytest.approx(expected)
    weighted = metrics.loss(estimate, targets, np.array([1.0, 2.0, 3.0]))
    assert weighted == pytest.approx(np.mean([(9 / 101) ** 2, 2 * (1.5 / 11) ** 2, 3 * (4 / 6) ** 2]))
    assert metrics.pct_close(estimate, targets) == pytest.approx(2 / 3)
    assert metrics.pct_close(torch.tensor(estimate), torch.tensor(targets), t=0.06) == pytest.approx(1 / 3)
    assert metrics.pct_close(np.array([0.0, 0.1]), np.zeros(2)) == 0.5
    assert evaluate_sparse_weights([1.0, 2.0, 3.0, 4.0], np.eye(4), [1.05, 2.0, 4.0, 4.0]) == 75.0
    assert evaluate_sparse_weights(torch.ones(2), pd.DataFrame(np.eye(2)), torch.ones(2), label="all") == 100.0


def test_the_log_function():
    tracked = {"epochs": [0, 1], "loss": [0.5, 0.4], "estimates": [[1.0, 2.0], torch.tensor([1.5, 2.5])]}
    frame = log_performance_over_epochs(tracked, torch.tensor([2.0, 3.0]), ["a", "b"])
    assert frame["epoch"].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(frame["rel_abs_error"], [0.5, 1 / 3, 0.25, 1 / 6])
    with pytest.raises(InputError, match="nothing for the excluded target 'q'"):
        log_performance_over_epochs(tracked, [2.0, 3.0], ["a", "b"], ["q"], {})
    with pytest.raises(InputError, match="as many epochs"):
        log_performance_over_epochs({**tracked, "loss": [0.5]}, [2.0, 3.0], ["a", "b"])


def test_the_analytical_solution_is_least_squares():
    weights, targets, frame = example(records=3)  # three weights, four targets: the fourth contradicts
    found = Calibration(weights, targets, estimate_matrix=frame).assess_analytical_solution()
    scales = np.maximum(np.abs(targets), 1.0)
    table, goal = frame.to_numpy().T / scales[:, None], targets / scales
    for k in range(1, 5):
        solution = np.linalg.lstsq(table[:k], goal[:k], rcond=None)[0]
        expected = np.mean((table[:k] @ solution - goal[:k]) ** 2)
        assert found["loss"].iloc[k - 1] == pytest.approx(expected, abs=1e-9)
    assert found.columns.tolist() == ["target_added", "loss", "delta_loss"]
    assert found["target_added"].tolist() == NAMES
    assert np.isnan(found["delta_loss"].iloc[0])
    np.testing.assert_allclose(found["delta_loss"].iloc[1:], np.diff(found["loss"]))
    assert found["loss"].iloc[-1] > 1e-4


def test_the_analytical_solution_of_several_contradictions_and_of_small_entries():
    rng = np.random.default_rng(3)
    table = rng.random((8, 4))
    table[1] *= 1e-7  # small, and no combination of the row before it
    table[3] = 2.0 * table[0]
    goal = np.array([1.0, 0.5, 1.0, 2.5, 1.0, 1.5, 1.0, 2.0])
    scales = np.maximum(goal, 1.0)
    found = assess_analytical_solution(sp.csr_array(table), goal, list("abcdefgh"))["loss"]
    for k in range(1, 9):
        rows, values = table[:k] / scales[:k, None], goal[:k] / scales[:k]
        solution = np.linalg.lstsq(rows, values, rcond=None)[0]
        assert found[k - 1] == pytest.approx(np.mean((rows @ solution - values) ** 2), rel=1e-6, abs=1e-12)
    assert found[2] < 1e-12 < 1e-4 < found[3] < found[7]


BAD = [
    ({"estimate_matrix": None}, "give estimate_matrix"),
    ({"weights": np.ones(3)}, r"weights must be of shape \(50,\)"),
    ({"weights": np.ones(50) + 1j}, "weights must be real numbers"),
    ({"normalization_factor": ["1", "2", "3", "4"]}, "normalization_factor must be real numbers"),
    ({"weights": np.r_[-1.0, np.ones(49)]}, r"weights\[0\] is -1"),
    ({"targets": np.ones(3)}, "3 targets and 4 names"),
    ({"targets": np.ones(3), "target_names": ["a", "b", "c"]}, "4 columns and there are 3 targets"),
    ({"targets": np.array([1.0, np.nan, 1.0, 1.0])}, r"targets\[1\] is nan"),
    ({"target_names": ["a", "a", "b", "c"]}, "'a' occurs 2 times"),
    ({"target_names": list(example()[2].columns[::-1])}, "columns of estimate_matrix in another order"),
    ({"normalization_factor": np.ones(2)}, r"of shape \(4,\)"),
    ({"normalization_factor": np.array([1.0, -1.0, 1.0, 1.0])}, "negative"),
    ({"epochs": 0}, "epochs"),
    ({"noise_level": -1.0}, "noise_level"),
    ({"learning_rate": 0.0}, "learning_rate"),
    ({"dropout_rate": 1.0}, r"dropout_rate must be in \[0, 1\)"),
    ({"l0_lambda": -1.0}, "l0_lambda"),
    ({"init_mean": 1.0}, "init_mean"),
    ({"temperature": 0.0}, "temperature"),
    ({"batch_size": 0}, "batch_size"),
    ({"loss": "mape"}, "unknown loss 'mape'; known: relative, historical"),
    ({"solver": "simplex"}, "unknown solver 'simplex'"),
    ({"solver": "adam", "keep": 5}, "met by the convex solvers"),
    ({"keep": 5, "regularize_with_l0": True}, "give keep, an exact number, instead"),
    ({"keep": 5, "dropout_rate": 0.1}, "belong to solver='adam'"),
    ({"keep": 5, "estimate_function": lambda w: w}, "need the estimates as a matrix"),
    ({"estimate_function": lambda w: w, "batch_size": 4}, "batch_size needs an estimate_matrix"),
    ({"options": {"max_weight_ratio": 5.0}}, "options are those of keep"),
    ({"excluded_targets": "b"}, r"a list of names, such as \['b'\]; got the text 'b'"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_what_cannot_work_is_refused_with_a_reason(change, message):
    weights, targets, frame = example()
    with pytest.raises(ValueError, match=message):
        Calibration(**{"weights": weights, "targets": targets, "estimate_matrix": frame, **change})


def test_any_solver_that_is_installed_may_be_named():
    weights, targets, frame = example()
    with pytest.raises(InputError, match="'coordinate_descent' cannot take this problem"):  # the absolute loss
        Calibration(weights, targets, estimate_matrix=frame, solver="coordinate_descent").calibrate()


def test_bad_entries_and_weights_are_named():
    weights, targets, frame = example()
    frame.iloc[3, 1] = np.inf
    with pytest.raises(InputError, match="inf for record 3, target column 1"):
        Calibration(weights, targets, estimate_matrix=frame)
    weights, targets, frame = example()
    weights[7] = 0.0
    with pytest.raises(InputError, match="record 7 starts with the weight 0"):
        Calibration(weights, targets, estimate_matrix=frame, noise_level=0.0).calibrate()
    with pytest.raises(InputError, match="call calibrate"):
        Calibration(weights, targets, estimate_matrix=frame).summary()


@pytest.mark.parametrize("how", [{"keep": 15}, {"solver": "primal_dual"}])
def test_options_of_adam_beside_the_engine_are_named(how):
    weights, targets, frame = example()
    given = {"weights": weights, "targets": targets, "estimate_matrix": frame, **how}
    with pytest.warns(UserWarning, match="^epochs, learning_rate, l0_lambda: of no effect with keep") as seen:
        calibration = Calibration(**given, epochs=500, learning_rate=0.1, l0_lambda=1e-4, noise_level=0, seed=7)
    assert seen[0].filename == __file__
    calibration.calibrate()  # told once
    plain = Calibration(**given, seed=7)
    plain.calibrate()
    np.testing.assert_array_equal(calibration.weights, plain.weights)
    plain.epochs = 100
    with pytest.warns(UserWarning, match="^epochs: of no effect") as seen:
        plain.calibrate()
    assert seen[0].filename == __file__


def test_keep_is_exact_and_better():
    weights, targets, frame = example(records=120)
    calibration = Calibration(weights, targets, estimate_matrix=frame, keep=15)
    performance = calibration.calibrate()
    assert np.count_nonzero(calibration.weights) == 15
    assert np.array_equal(calibration.sparse_weights, calibration.weights)
    np.testing.assert_allclose(calibration.estimate(), targets, rtol=0.05)
    assert performance["epoch"].unique().tolist() == [0, 1]
    assert calibration.result.status in {"optimal", "converged", "budget_spent"}


def test_primal_dual_meets_what_adam_only_nears():
    weights, targets, frame = example()
    engine = Calibration(weights, targets, estimate_matrix=frame, solver="primal_dual", excluded_targets=["c"])
    engine.calibrate()
    adam = Calibration(weights, targets, estimate_matrix=frame, excluded_targets=["c"], epochs=100)
    adam.calibrate()

    def error(calibration):
        return np.abs(calibration.estimate() / calibration.targets - 1).mean()

    assert error(engine) < 0.005
    assert error(engine) < error(adam)


def test_bounds_reach_the_engine():
    weights, targets, frame = example()
    calibration = Calibration(
        weights, targets, estimate_matrix=frame, solver="primal_dual", options={"max_weight_ratio": 1.1}
    )
    calibration.calibrate()
    assert (calibration.weights <= 1.1 * weights * (1 + 1e-12)).all()


def test_the_engine_needs_no_torch():
    code = (
        "import sys, numpy as np\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "from l0_calibrate.microcalibrate import Calibration\n"
        "c = Calibration(np.ones(6), np.array([4.0]), estimate_matrix=np.ones((6, 1)), keep=3)\n"
        "c.calibrate()\n"
        "assert np.count_nonzero(c.weights) == 3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
