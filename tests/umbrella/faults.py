"""What was wrong in the originals, as checks that run on either side: ours pass, theirs fail.

`test_faults.py` runs every check on our packages. Run as a script with a Python that has an original (and SciPy), it
tells which of them fail there. That is all of them on l0-python 0.6.2 and microcalibrate 0.19.1, but for the one on
dropout: its zeros came into microcalibrate after 0.19.1, and are in 0.22.

    OLD/bin/python tests/umbrella/faults.py
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

L0_CHECKS: dict[str, Callable] = {}
FACE_CHECKS: dict[str, Callable] = {}

MATRIX = np.array([[1.0, 2.0, 0.0, 0.5], [0.0, 1.0, 3.0, 0.0], [2.0, 0.0, 1.0, 1.0]])
GOALS = np.array([5.0, 7.0, 6.0])
ROWS = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))


def about_l0(check):
    L0_CHECKS[check.__name__.replace("_", " ")] = check
    return check


def about_the_face(check):
    FACE_CHECKS[check.__name__.replace("_", " ")] = check
    return check


def weights_of(l0, **options):
    return l0.SparseCalibrationWeights(4, **options)


# ------------------------------------------------------------------ selecting


def counts(l0, training):
    torch.manual_seed(0)
    for keep in (1, 7, 30):
        sample = l0.SampleGate(100, keep).train(training)
        feature = l0.FeatureGate(100, keep).train(training)
        hybrid = l0.HybridGate(100, target_items=max(keep, 4)).train(training)
        yield keep, len(sample.select_samples(ROWS)[1])
        yield keep, len(feature.select_features(ROWS.T)[1])
        yield max(keep, 4), len(hybrid.select(ROWS)[1])


@about_l0
def counts_are_exact_in_train_mode(l0):
    for wanted, found in counts(l0, True):
        assert found == wanted, f"{found} instead of {wanted}"


@about_l0
def counts_are_exact_in_eval_mode(l0):
    for wanted, found in counts(l0, False):
        assert found == wanted, f"{found} instead of {wanted}"


@about_l0
def a_hybrid_selection_is_exact(l0):
    torch.manual_seed(0)
    found = len(l0.HybridGate(1_000, target_items=100).select(torch.ones(1_000, 1))[1])
    assert found == 100, f"{found} instead of 100"


@about_l0
def all_records_can_be_the_target(l0):
    assert len(l0.SampleGate(20, 20).select_samples(ROWS[:20])[1]) == 20
    assert len(l0.FeatureGate(3, 3).select_features(ROWS)[1]) == 3


@about_l0
def one_record_can_be_the_target(l0):
    for training in (True, False):
        assert len(l0.SampleGate(20, 1).train(training).select_samples(ROWS[:20])[1]) == 1
        assert len(l0.HybridGate(20, target_items=1).train(training).select(ROWS[:20])[1]) == 1


@about_l0
def init_mean_is_the_probability_of_being_open(l0):
    found = l0.HardConcrete(1, temperature=0.25, init_mean=0.1).get_active_prob().item()
    assert abs(found - 0.1) < 1e-6, f"{found:.3f} instead of 0.1"


@about_l0
def active_indices_do_not_change_from_call_to_call(l0):
    gate = l0.L0Gate(200, init_mean=0.6)
    assert torch.equal(gate.get_active_indices(), gate.get_active_indices())


@about_l0
def frames_and_arrays_are_taken_and_given_back(l0):
    frame = pd.DataFrame(ROWS.numpy(), columns=list("abc"))
    found = l0.SampleGate(100, 5).select_samples(frame)[0]
    assert isinstance(found, pd.DataFrame)
    assert len(found) == 5
    assert isinstance(l0.SampleGate(100, 5).select_samples(sp.csr_matrix(ROWS.numpy()))[0], sp.csr_matrix)


# ------------------------------------------------------------------ networks


@about_l0
def penalties_see_gates_of_selection(l0):
    model = torch.nn.ModuleDict({"sample": l0.SampleGate(10, 4)})
    assert l0.compute_l0_penalty(model).item() > 0, "the penalty is 0"


@about_l0
def penalties_see_bare_gates(l0):
    model = torch.nn.ModuleDict({"gates": l0.HardConcrete(10)})
    assert l0.compute_l0_penalty(model).item() > 0, "the penalty is 0"


@about_l0
def l2_leaves_gate_logits_alone(l0):
    layer = l0.L0Linear(3, 2)
    with torch.no_grad():
        layer.weight_gates.qz_logits.fill_(3.0)
    torch.testing.assert_close(l0.compute_l2_penalty(layer), layer.weight.square().sum())


@about_l0
def prune_model_takes_every_layer(l0):
    for layer in (
        l0.L0Linear(3, 2),
        l0.L0Conv2d(1, 2, 3),
        l0.L0Conv2d(1, 2, 3, structured=True),
        l0.SparseMLP(4, 3, 2),
        l0.L0DepthwiseConv2d(2, 3),
    ):
        assert type(l0.prune_model(layer, threshold=0.05)) is type(layer)


@about_l0
def a_closed_channel_gives_nothing(l0):
    layer = l0.L0DepthwiseConv2d(2, 3).eval()
    torch.nn.init.constant_(layer.depthwise_conv.bias, 1.0)
    torch.nn.init.constant_(layer.channel_gates.qz_logits, -10.0)
    assert not layer(torch.ones(1, 2, 5, 5)).any(), "its bias is still there"


@about_l0
def schedules_end_at_final_temp(l0):
    for schedule in ("exponential", "linear", "cosine"):
        last = l0.TemperatureScheduler(2.0, 0.1, 100, schedule).get_temperature(99)
        assert last == 0.1, f"{last:.4f} instead of 0.1 ({schedule})"


@about_l0
def an_unknown_schedule_is_refused_at_once(l0):
    refuses(lambda: l0.TemperatureScheduler(schedule="exponental"))


@about_l0
def total_epochs_is_another_name(l0):
    assert l0.TemperatureScheduler(2.0, 0.1, total_epochs=50).get_temperature(50) == 0.1


@about_l0
def n_items_is_another_name(l0):
    assert l0.HardConcrete(n_items=5).gate_size == (5,)


# ------------------------------------------------------------------ SparseCalibrationWeights


@about_l0
def slices_of_epochs_are_one_run(l0):
    torch.manual_seed(0)
    whole = weights_of(l0, seed=1, use_gates=False).fit(sp.csr_matrix(MATRIX), GOALS, lr=0.05, epochs=60)
    parts = weights_of(l0, seed=1, use_gates=False)
    for _ in range(6):
        parts.fit(sp.csr_matrix(MATRIX), GOALS, lr=0.05, epochs=10)
    assert torch.equal(whole.log_weight, parts.log_weight), "the optimiser is made anew at each call"


@about_l0
def slices_with_gates_are_one_run(l0):
    found = []
    for pieces in ([60], [10] * 6):
        torch.manual_seed(0)
        model = weights_of(l0, seed=1)
        for epochs in pieces:
            model.fit(sp.csr_matrix(MATRIX), GOALS, lr=0.05, epochs=epochs)
        found.append(model.log_alpha)
    assert torch.equal(*found)


@about_l0
def jitter_is_added_once(l0):
    model = weights_of(l0, seed=1, use_gates=False, log_weight_jitter_sd=0.5)
    model.fit(sp.csr_matrix(MATRIX), GOALS, lr=1e-9, epochs=1)
    first = model.log_weight.detach().clone()
    model.fit(sp.csr_matrix(MATRIX), GOALS, lr=1e-9, epochs=1)
    torch.testing.assert_close(first, model.log_weight.detach(), atol=1e-6, rtol=0.0)


@about_l0
def a_reloaded_state_dict_goes_on(l0):
    matrix = sp.csr_matrix(MATRIX)
    model, again = weights_of(l0, seed=1, use_gates=False), weights_of(l0, seed=2, use_gates=False)
    again.load_state_dict(model.fit(matrix, GOALS, lr=0.05, epochs=20).state_dict())
    first = again.fit(matrix, GOALS, lr=0.05, epochs=5).log_weight
    whole = weights_of(l0, seed=1, use_gates=False).fit(matrix, GOALS, lr=0.05, epochs=25).log_weight
    assert torch.equal(first, whole)


@about_l0
def the_seed_fixes_the_noise(l0):
    a, b = (weights_of(l0, seed=1).fit(sp.csr_matrix(MATRIX), GOALS, epochs=20) for _ in range(2))
    assert torch.equal(a.log_alpha, b.log_alpha), "two fits of one seed differ"


@about_l0
def no_global_generator_moves(l0):
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()
    weights_of(l0, seed=1).fit(sp.csr_matrix(MATRIX), GOALS, epochs=2)
    l0.SparseL0Linear(4, seed=1).fit(sp.csr_matrix(MATRIX), GOALS, epochs=2)
    assert torch.equal(torch.get_rng_state(), before[0]), "torch's generator moved"
    assert np.array_equal(np.random.get_state()[1], before[1]), "NumPy's generator moved"


@about_l0
def the_answer_is_that_of_the_matrix_at_hand(l0):
    model, matrix = weights_of(l0, seed=1), sp.csr_matrix(MATRIX)
    torch.testing.assert_close(model.predict(10 * matrix), 10 * model.predict(matrix))


@about_l0
def a_relative_loss_is_safe_at_minus_one(l0):
    model = weights_of(l0, use_gates=False)
    model.fit(sp.csr_matrix(-MATRIX), np.array([-1.0, -2.0, -1.0]), lr=0.05, epochs=5, loss_type="relative")
    assert torch.isfinite(model.log_weight).all(), "weights are NaN"


@about_l0
def a_target_near_minus_one_does_not_rule_the_fit(l0):
    model = l0.SparseCalibrationWeights(1, use_gates=False, init_weights=2.0)
    model.fit(sp.csr_matrix([[-1.0], [1.0]]), np.array([-1.01, 3.0]), lr=0.02, epochs=800, loss_type="relative")
    found, best = model.get_weights().item(), (1.01 / 2.01**2 + 3.0 / 4.0**2) / (1 / 2.01**2 + 1 / 4.0**2)
    assert abs(found - best) < 0.01, f"{found:.3f} instead of {best:.3f}"


@about_l0
def an_unknown_loss_type_is_refused(l0):
    refuses(lambda: weights_of(l0).fit(sp.csr_matrix(MATRIX), GOALS, epochs=1, loss_type="relativ"))


@about_l0
def one_target_is_not_one_for_each_row(l0):
    refuses(lambda: weights_of(l0).fit(sp.csr_matrix(MATRIX), GOALS[:1], epochs=1))


@about_l0
def targets_that_are_not_numbers_are_refused(l0):
    refuses(lambda: weights_of(l0).fit(sp.csr_matrix(MATRIX), np.array([1.0, np.nan, 2.0]), epochs=1))


@about_l0
def a_negative_multiplier_is_refused(l0):
    groups = {"target_groups": np.array([0, 0, 1]), "group_multipliers": {1: -2.0}}
    refuses(lambda: weights_of(l0).fit(sp.csr_matrix(MATRIX), GOALS, epochs=1, **groups))


def takes(form):
    def check(l0):
        found = weights_of(l0, seed=1).predict(form(MATRIX))
        torch.testing.assert_close(found, weights_of(l0, seed=1).predict(sp.csr_matrix(MATRIX)))

    return check


for _name, _form in {"dense array": np.asarray, "frame": pd.DataFrame, "tensor": torch.tensor}.items():
    L0_CHECKS[f"a {_name} is taken"] = takes(_form)


@about_l0
def float64_is_kept(l0):
    model = weights_of(l0, seed=1).double()
    model.fit(sp.csr_matrix(MATRIX), GOALS, epochs=2)
    assert model.log_weight.dtype == model.predict(sp.csr_matrix(MATRIX)).dtype == torch.float64


@about_l0
def without_gates_none_are_reported(l0):
    model = weights_of(l0, use_gates=False, init_keep_prob=0.2)
    assert (model.get_deterministic_gates() == 1).all(), "gates that are not in use are reported"


# ------------------------------------------------------------------ microcalibrate's Calibration


def face_problem(records=60):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": np.ones(records), "b": rng.random(records), "c": (rng.random(records) < 0.3) * 1.0})
    weights = rng.uniform(1.0, 5.0, records)
    return weights, frame.to_numpy().T @ (weights * rng.uniform(0.8, 1.4, records)), frame


def face(calibration, **options):
    weights, targets, frame = face_problem()
    defaults = {"estimate_matrix": frame, "epochs": 50, "noise_level": 0.0, "learning_rate": 0.01}
    return calibration(weights, targets, **{**defaults, **options})


@about_the_face
def the_loss_is_least_at_the_target(calibration):
    fit = calibration(
        np.ones(1),
        np.array([3.0]),
        estimate_matrix=pd.DataFrame({"a": [1.0]}),
        epochs=600,
        learning_rate=0.05,
        noise_level=0.0,
    )
    fit.calibrate()
    found = float(fit.weights[0])
    assert abs(found - 3.0) < 0.02, f"{found:.2f} instead of 3"


@about_the_face
def negative_targets_are_met(calibration):
    fit = calibration(
        np.ones(2),
        np.array([-4.0, 3.0]),
        estimate_matrix=pd.DataFrame({"a": [-1.0, 0.0], "b": [0.0, 1.0]}),
        epochs=800,
        learning_rate=0.05,
        noise_level=0.0,
    )
    fit.calibrate()
    found = np.asarray(fit.weights, dtype=float)
    assert np.abs(found - [4.0, 3.0]).max() < 0.1, f"{found.round(2).tolist()} instead of [4, 3]"


@about_the_face
def the_frame_ends_with_the_weights_that_are_returned(calibration):
    fit = face(calibration)
    performance = fit.calibrate()
    last = performance[performance["epoch"] == performance["epoch"].max()]["estimate"].to_numpy()
    found = face_problem()[2].to_numpy().T @ np.asarray(fit.weights, dtype=float)
    np.testing.assert_allclose(last, found, rtol=1e-5)


@about_the_face
def a_fit_moves_no_global_generator(calibration):
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()
    face(calibration, noise_level=1.0, regularize_with_l0=True, epochs=3).calibrate()
    assert torch.equal(torch.get_rng_state(), before[0]), "torch's generator moved"
    assert np.array_equal(np.random.get_state()[1], before[1]), "NumPy's generator moved"


@about_the_face
def two_fits_of_one_seed_are_equal(calibration):
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        fit = face(calibration, noise_level=1.0, regularize_with_l0=True, epochs=5)
        fit.calibrate()
        found.append(np.asarray(fit.sparse_weights))
    assert np.array_equal(*found), "they follow the global generators"


@about_the_face
def dropout_does_not_reach_the_weights(calibration):
    fit = face(calibration, dropout_rate=0.5)
    fit.calibrate()
    zeros = int(np.count_nonzero(np.asarray(fit.weights) == 0))
    assert zeros == 0, f"{zeros} dense weights are 0"


@about_the_face
def excluded_targets_have_their_true_estimates(calibration):
    fit = face(calibration, excluded_targets=["b"], learning_rate=0.05)
    performance = fit.calibrate()
    told = performance[performance["target_name"] == "b"]["estimate"].iloc[-1]
    found = face_problem()[2]["b"].to_numpy() @ np.asarray(fit.weights, dtype=float)
    assert abs(told / found - 1) < 0.01, f"{told:.1f} is told, {found:.1f} is so"


@about_the_face
def one_target_with_three_columns_is_refused(calibration):
    refuses(lambda: calibration(face_problem()[0], np.ones(1), estimate_matrix=face_problem()[2]).calibrate())


@about_the_face
def sparse_columns_are_kept_sparse(calibration):
    weights, targets, frame = face_problem()
    sparse = pd.DataFrame.sparse.from_spmatrix(sp.csc_matrix(frame.to_numpy()), columns=frame.columns)
    fit = calibration(weights, targets, estimate_matrix=sparse, epochs=2)
    assert not torch.is_tensor(fit.estimate_matrix), "it was made dense"


def refuses(call):
    try:
        call()
    except ValueError:
        return
    raise AssertionError("it is not refused")


# ------------------------------------------------------------------ as a script


def outcome(check, subject):
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            check(subject)
        except Exception as error:  # whatever it is, the check failed
            text = (str(error).strip().splitlines() or [""])[0]
            return f"FAILS ({type(error).__name__}: {text[:90]})"
    return "passes"


def main():
    for name, attribute, checks in (("l0", None, L0_CHECKS), ("microcalibrate", "Calibration", FACE_CHECKS)):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        subject = module if attribute is None else getattr(module, attribute)
        print(f"{name}, {module.__file__}")
        for label, check in checks.items():
            print(f"  {label}: {outcome(check, subject)}")


if __name__ == "__main__":
    sys.exit(main())
