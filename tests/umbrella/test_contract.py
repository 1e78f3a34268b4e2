"""The contract as a table: every call of l0-python and of microcalibrate's interface, its arguments and defaults.

Argument names, their order and their defaults are those of l0-python 0.6.2 and of microcalibrate; what is ours alone
comes after them, by keyword.
"""

from __future__ import annotations

import inspect

import pytest
import torch

import l0
import l0_calibrate

REQUIRED = inspect.Parameter.empty
L0 = {
    "HardConcrete": {
        "input_dim": None,
        "output_dim": None,
        "temperature": 0.5,
        "stretch": 0.1,
        "init_mean": 0.5,
    },
    "HardConcrete.forward": {"input_shape": None},
    "L0Linear.forward": {"input": REQUIRED},
    "L0Linear": {
        "in_features": REQUIRED,
        "out_features": REQUIRED,
        "bias": True,
        "temperature": 0.5,
        "init_sparsity": 0.5,
        "use_l2": False,
    },
    "L0Conv2d.forward": {"input": REQUIRED},
    "L0Conv2d": {
        "in_channels": REQUIRED,
        "out_channels": REQUIRED,
        "kernel_size": REQUIRED,
        "stride": 1,
        "padding": 0,
        "bias": True,
        "temperature": 0.5,
        "init_sparsity": 0.5,
        "structured": False,
        "use_l2": False,
    },
    "L0DepthwiseConv2d.forward": {"input": REQUIRED},
    "L0DepthwiseConv2d": {
        "in_channels": REQUIRED,
        "kernel_size": REQUIRED,
        "stride": 1,
        "padding": 0,
        "bias": True,
        "temperature": 0.5,
        "init_sparsity": 0.5,
    },
    "SparseMLP": {
        "input_dim": 784,
        "hidden_dim": 256,
        "output_dim": 10,
        "init_sparsity": 0.5,
        "temperature": 0.5,
        "use_l2": False,
    },
    "prune_model": {"model": REQUIRED, "threshold": 0.05},
    "SparseL0Linear": {
        "n_features": REQUIRED,
        "fit_intercept": True,
        "beta": 2 / 3,
        "gamma": -0.1,
        "zeta": 1.1,
        "init_keep_prob": 0.5,
        "device": "cpu",
        "seed": None,
    },
    "SparseL0Linear.fit": {
        "X": REQUIRED,
        "y": REQUIRED,
        "lambda_reg": 0.01,
        "lr": 0.01,
        "epochs": 1000,
        "verbose": False,
        "verbose_freq": 100,
    },
    "SparseL0Linear.predict": {"X": REQUIRED},
    "SparseL0Linear.forward": {"X": REQUIRED, "deterministic": False},
    "SparseL0Linear.get_selected_features": {"threshold": 0.01},
    "SparseCalibrationWeights": {
        "n_features": REQUIRED,
        "beta": 2 / 3,
        "gamma": -0.1,
        "zeta": 1.1,
        "init_keep_prob": 0.5,
        "init_weights": None,
        "log_weight_jitter_sd": 0.0,
        "log_alpha_jitter_sd": 0.01,
        "device": "cpu",
        "use_gates": True,
        "seed": None,
    },
    "SparseCalibrationWeights.fit": {
        "M": REQUIRED,
        "y": REQUIRED,
        "lambda_l0": 0.01,
        "lambda_l2": 0.0,
        "lr": 0.01,
        "epochs": 1000,
        "loss_type": "mse",
        "verbose": False,
        "verbose_freq": 100,
        "target_groups": None,
        "normalize_groups": True,
        "group_multipliers": None,
    },
    "SparseCalibrationWeights.predict": {"M": REQUIRED},
    "SparseCalibrationWeights.forward": {"M": REQUIRED, "deterministic": False},
    "SparseCalibrationWeights.get_weights": {"deterministic": False},
    "L0Gate": {"size": REQUIRED, "temperature": 0.5, "init_mean": 0.5},
    "L0Gate.apply_gates": {"x": REQUIRED, "dim": 0},
    "L0Gate.get_active_indices": {"threshold": 0.5},
    "SampleGate": {"n_samples": REQUIRED, "target_samples": REQUIRED, "temperature": 0.25},
    "SampleGate.select_samples": {"data": REQUIRED},
    "SampleGate.select_weighted_samples": {"data": REQUIRED, "weights": REQUIRED},
    "FeatureGate": {"n_features": REQUIRED, "max_features": REQUIRED, "temperature": 0.1},
    "FeatureGate.select_features": {"data": REQUIRED},
    "FeatureGate.select_features_with_names": {"data": REQUIRED, "feature_names": REQUIRED},
    "HybridGate": {
        "n_items": REQUIRED,
        "l0_fraction": 0.25,
        "random_fraction": 0.75,
        "target_items": None,
        "temperature": 0.25,
    },
    "HybridGate.select": {"data": REQUIRED, "random_seed": None},
    "compute_l0_penalty": {"model": REQUIRED},
    "compute_l2_penalty": {"model": REQUIRED},
    "compute_l0l2_penalty": {"model": REQUIRED, "l0_lambda": 1e-3, "l2_lambda": 1e-4},
    "get_sparsity_stats": {"model": REQUIRED},
    "get_active_parameter_count": {"model": REQUIRED},
    "update_temperatures": {"model": REQUIRED, "temperature": REQUIRED},
    "PenaltyTracker": {},
    "PenaltyTracker.log": {"name": REQUIRED, "value": REQUIRED},
    "PenaltyTracker.get_history": {"name": REQUIRED},
    "PenaltyTracker.get_stats": {"name": REQUIRED},
    "PenaltyTracker.save_to_csv": {"filepath": REQUIRED},
    "PenaltyTracker.plot_history": {"metrics": None, "save_path": None},
    "TemperatureScheduler": {
        "initial_temp": 2.0,
        "final_temp": 0.1,
        "anneal_epochs": None,  # 100, see below: total_epochs is another name for it
        "schedule": "exponential",
    },
    "TemperatureScheduler.get_temperature": {"epoch": REQUIRED},
}

HOLDOUTS = {"n_holdout_sets": 5, "holdout_fraction": 0.2, "save_results_to": None}
TUNING = {
    "n_trials": 30,
    "objectives_balance": None,
    "epochs_per_trial": None,
    "n_holdout_sets": 3,
    "holdout_fraction": 0.2,
    "aggregation": "mean",
    "timeout": None,
    "n_jobs": 1,
    "study_name": None,
    "storage": None,
    "load_if_exists": True,  # a study in a storage goes on
    "direction": "minimize",
    "sampler": None,
    "pruner": None,
}
FACE = {
    "Calibration": {
        "weights": REQUIRED,
        "targets": REQUIRED,
        "target_names": None,
        "estimate_matrix": None,
        "estimate_function": None,
        "epochs": 32,
        "noise_level": 10.0,
        "learning_rate": 1e-3,
        "dropout_rate": 0,
        "normalization_factor": None,
        "excluded_targets": None,
        "csv_path": None,
        "device": "cpu",
        "l0_lambda": 5e-6,
        "init_mean": 0.999,
        "temperature": 0.5,
        "sparse_learning_rate": 0.2,
        "regularize_with_l0": False,
        "seed": 42,
        "batch_size": None,
    },
    "Calibration.calibrate": {},
    "Calibration.exclude_targets": {"excluded_targets": None},
    "Calibration.estimate": {"weights": None},
    "Calibration.assess_analytical_solution": {"use_sparse": False},
    "Calibration.summary": {},
    "Calibration.tune_l0_hyperparameters": TUNING,
    "Calibration.evaluate_holdout_robustness": HOLDOUTS,
    "reweight": {
        "original_weights": REQUIRED,
        "estimate_function": REQUIRED,
        "targets_array": REQUIRED,
        "target_names": REQUIRED,
        "l0_lambda": REQUIRED,
        "init_mean": REQUIRED,
        "temperature": REQUIRED,
        "regularize_with_l0": REQUIRED,
        "sparse_learning_rate": 0.2,
        "dropout_rate": 0.05,
        "epochs": 2000,
        "noise_level": 10.0,
        "learning_rate": 1e-3,
        "normalization_factor": None,
        "excluded_targets": None,
        "excluded_target_data": None,
        "csv_path": None,
        "device": None,
        "logger": None,
        "seed": None,
        "batch_size": None,
        "estimate_matrix": None,
    },
    "evaluate_estimate_distance_to_targets": {
        "targets": REQUIRED,
        "estimates": REQUIRED,
        "tolerances": REQUIRED,
        "target_names": None,
        "raise_on_error": False,
    },
    "evaluate_sparse_weights": {
        "optimised_weights": REQUIRED,
        "estimate_matrix": REQUIRED,
        "targets_array": REQUIRED,
        "label": "L0 Sparse Weights",
    },
    "evaluate_holdout_robustness": {"calibration": REQUIRED, **HOLDOUTS},
    "tune_l0_hyperparameters": {"calibration": REQUIRED, **TUNING},
    "log_performance_over_epochs": {
        "tracked": REQUIRED,
        "targets": REQUIRED,
        "target_names": REQUIRED,
        "excluded_targets": None,
        "excluded_target_data": None,
    },
    "metrics.loss": {"estimate": REQUIRED, "targets_array": REQUIRED, "normalization_factor": None},
    "metrics.pct_close": {"estimate": REQUIRED, "targets_array": REQUIRED, "t": 0.1},
}


def arguments(module, name):
    owner, _, attribute = name.partition(".")
    target = getattr(module, owner)
    if attribute:
        target = getattr(target, attribute)
    parameters = inspect.signature(target).parameters.values()
    own = inspect.isclass(getattr(module, owner)) and attribute
    plain = [p for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY][1 if own else 0 :]
    return [(p.name, p.default) for p in plain]


@pytest.mark.parametrize(
    ("module", "name", "promised"),
    [(l0, name, promised) for name, promised in L0.items()]
    + [(l0_calibrate, name, promised) for name, promised in FACE.items()],
    ids=[*L0, *FACE],
)
def test_arguments_have_their_names_order_and_defaults(module, name, promised):
    assert arguments(module, name) == list(promised.items())


def test_a_scheduler_takes_a_hundred_epochs():
    assert l0.TemperatureScheduler().anneal_epochs == 100
    assert l0.TemperatureScheduler(total_epochs=7).anneal_epochs == 7
    with pytest.raises(ValueError, match="once"):
        l0.TemperatureScheduler(anneal_epochs=7, total_epochs=7)


# Class: a model, its state dict with shapes, its attributes, its calls without arguments.
MODELS = {
    "HardConcrete": (
        lambda: l0.HardConcrete(4, 2),
        {"qz_logits": (4, 2)},
        ["gate_size", "gamma", "zeta", "temperature", "stretch", "init_mean", "qz_logits"],
        ["get_penalty", "get_active_prob", "get_sparsity", "get_num_active", "reset_parameters"],
    ),
    "L0Linear": (
        lambda: l0.L0Linear(3, 2),
        {"weight": (2, 3), "bias": (2,), "weight_gates.qz_logits": (2, 3)},
        ["in_features", "out_features", "use_l2", "weight_gates"],
        ["get_l0_penalty", "get_l2_penalty", "get_sparsity", "reset_parameters"],
    ),
    "L0Conv2d": (
        lambda: l0.L0Conv2d(1, 2, 3),
        {"weight": (2, 1, 3, 3), "bias": (2,), "weight_gates.qz_logits": (2, 9)},
        ["in_channels", "out_channels", "kernel_size", "stride", "padding", "structured", "use_l2", "weight_gates"],
        ["get_l0_penalty", "get_l2_penalty", "get_sparsity", "reset_parameters"],
    ),
    "L0Conv2d, structured": (
        lambda: l0.L0Conv2d(1, 2, 3, structured=True, bias=False),
        {"weight": (2, 1, 3, 3), "channel_gates.qz_logits": (2,)},
        ["channel_gates"],
        ["get_l0_penalty", "get_l2_penalty", "get_sparsity"],
    ),
    "L0DepthwiseConv2d": (
        lambda: l0.L0DepthwiseConv2d(2, 3),
        {"depthwise_conv.weight": (2, 1, 3, 3), "depthwise_conv.bias": (2,), "channel_gates.qz_logits": (2,)},
        ["in_channels", "depthwise_conv", "channel_gates"],
        ["get_l0_penalty", "get_l2_penalty", "get_sparsity"],
    ),
    "SparseMLP": (
        lambda: l0.SparseMLP(5, 4, 2),
        {
            f"fc{i}.{name}": shape
            for i, (rows, columns) in enumerate([(4, 5), (4, 4), (2, 4)], start=1)
            for name, shape in [
                ("weight", (rows, columns)),
                ("bias", (rows,)),
                ("weight_gates.qz_logits", (rows, columns)),
            ]
        },
        ["fc1", "fc2", "fc3", "use_l2"],
        ["get_l0_loss", "get_l2_loss", "get_sparsity_stats"],
    ),
    "SparseL0Linear": (
        lambda: l0.SparseL0Linear(3),
        {"weight": (3,), "bias": (1,), "log_alpha": (3,)},
        ["n_features", "fit_intercept", "beta", "gamma", "zeta", "device", "seed"],
        ["get_l0_penalty", "get_deterministic_gates", "get_sparsity", "get_selected_features", "get_coefficients"],
    ),
    "SparseCalibrationWeights": (
        lambda: l0.SparseCalibrationWeights(3),
        {"log_weight": (3,), "log_alpha": (3,)},
        ["n_features", "beta", "gamma", "zeta", "device", "use_gates", "seed", "log_weight_jitter_sd"],
        [
            "get_weights",
            "get_deterministic_gates",
            "get_l0_penalty",
            "get_l2_penalty",
            "get_sparsity",
            "get_active_weights",
        ],
    ),
    "L0Gate": (
        lambda: l0.L0Gate(3),
        {"gates.qz_logits": (3,)},
        ["size", "gates"],
        ["get_gates", "get_penalty", "get_active_indices"],
    ),
    "SampleGate": (
        lambda: l0.SampleGate(5, 2),
        {"gates.qz_logits": (5,)},
        ["n_samples", "target_samples", "gates"],
        ["get_gates", "get_penalty", "get_active_indices"],
    ),
    "FeatureGate": (
        lambda: l0.FeatureGate(5, 2),
        {"gates.qz_logits": (5,)},
        ["n_features", "max_features", "gates"],
        ["get_gates", "get_penalty", "get_feature_importance"],
    ),
    "HybridGate": (
        lambda: l0.HybridGate(8, target_items=4),
        {"l0_gate.gates.qz_logits": (8,)},
        ["n_items", "l0_fraction", "random_fraction", "target_items", "l0_gate"],
        ["get_penalty"],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_have_their_state_attributes_and_calls(name):
    make, state, attributes, calls = MODELS[name]
    model = make()
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == state
    assert isinstance(model, torch.nn.Module)
    for attribute in attributes:
        assert hasattr(model, attribute), attribute
    for call in calls:
        getattr(model, call)()


PRICES = ["get_penalty", "get_l0_penalty", "get_l2_penalty", "get_l0_loss", "get_l2_loss", "get_active_prob"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("price", PRICES)
def test_prices_can_be_minimised(name, price):
    make = MODELS[name][0]
    model = make()
    model.use_l2 = True
    for part in model.children():
        part.use_l2 = True
    if not hasattr(model, price):
        return
    getattr(model, price)().sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
