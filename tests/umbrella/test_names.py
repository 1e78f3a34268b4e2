"""The umbrella: every promised name, where it is promised, at no cost until it is used."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import l0

MODULES = {
    "distributions": {"HardConcrete"},
    "hard_concrete": {"HardConcrete"},
    "gates": {"FeatureGate", "HybridGate", "L0Gate", "SampleGate"},
    "layers": {"L0Conv2d", "L0DepthwiseConv2d", "L0Linear", "SparseMLP", "prune_model"},
    "penalties": {
        "PenaltyTracker",
        "TemperatureScheduler",
        "compute_l0_penalty",
        "compute_l0l2_penalty",
        "compute_l2_penalty",
        "get_active_parameter_count",
        "get_sparsity_stats",
        "update_temperatures",
    },
    "temperature": {"TemperatureScheduler", "update_temperatures"},
    "calibration": {"SparseCalibrationWeights"},
    "sparse": {"SparseL0Linear"},
}
NAMES = set().union(*MODULES.values())


def test_all_is_the_promise():
    assert set(l0.__all__) == NAMES
    assert set(dir(l0)) >= NAMES | set(MODULES)
    assert {name for name in dir(l0) if not name.startswith("_")} == NAMES | set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_its_names_and_they_are_those_of_the_top(module):
    there = importlib.import_module(f"l0.{module}")
    assert set(there.__all__) == MODULES[module]
    assert {name for name in dir(there) if not name.startswith("_")} == MODULES[module]
    for name in MODULES[module]:
        assert getattr(there, name) is getattr(l0, name)
        assert getattr(there, name).__doc__


def test_unknown_names_read_as_in_any_module():
    with pytest.raises(AttributeError, match="module 'l0' has no attribute 'HardConcret'"):
        _ = l0.HardConcret
    with pytest.raises(ImportError):
        from l0.gates import Nothing  # noqa: F401


def test_star_import():
    namespace: dict[str, object] = {}
    exec("from l0 import *", namespace)
    assert set(namespace) >= NAMES
    assert "__version__" not in namespace


def test_the_version_is_that_of_the_distribution_and_above_the_old_one():
    assert l0.__version__ == importlib.metadata.version("l0-python")
    assert tuple(int(part) for part in l0.__version__.split(".")[:3]) > (0, 6, 2)


def test_importing_costs_nothing_until_a_name_is_used():
    code = (
        "import sys, l0, l0.gates, l0.calibration\n"
        "heavy = {'torch', 'numpy', 'scipy', 'numba', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "dir(l0); l0.__version__\n"
        "assert not heavy & set(sys.modules)\n"
        "l0.HardConcrete\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_nothing_is_implemented_in_the_umbrella():
    for path in Path(l0.__file__).parent.glob("*.py"):
        if path.name == "_lazy.py":
            continue
        kinds = {type(node) for node in ast.walk(ast.parse(path.read_text()))}
        assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.Lambda}, path.name


REQUIRED = inspect.Parameter.empty
SIGNATURES = {
    "HardConcrete": {
        "input_dim": None,
        "output_dim": None,
        "temperature": 0.5,
        "stretch": 0.1,
        "init_mean": 0.5,
    },
    "L0Linear": {
        "in_features": REQUIRED,
        "out_features": REQUIRED,
        "bias": True,
        "temperature": 0.5,
        "init_sparsity": 0.5,
        "use_l2": False,
    },
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
    "PenaltyTracker.plot_history": {"metrics": None, "save_path": None},
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_have_the_old_names_order_and_defaults(name):
    owner, _, method = name.partition(".")
    target = getattr(l0, owner) if not method else getattr(getattr(l0, owner), method)
    parameters = [
        p
        for p in inspect.signature(target).parameters.values()
        if p.name != "self" and p.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    found = {p.name: p.default for p in parameters}
    assert list(found) == list(SIGNATURES[name])
    assert found == SIGNATURES[name]


def test_temperature_scheduler_defaults():
    scheduler = l0.TemperatureScheduler()
    assert (scheduler.initial_temp, scheduler.final_temp, scheduler.anneal_epochs) == (2.0, 0.1, 100)
    assert list(inspect.signature(l0.TemperatureScheduler).parameters)[:4] == [
        "initial_temp",
        "final_temp",
        "anneal_epochs",
        "schedule",
    ]


MADE = {
    "HardConcrete": lambda: l0.HardConcrete(4),
    "L0Linear": lambda: l0.L0Linear(3, 2),
    "L0Conv2d": lambda: l0.L0Conv2d(1, 2, 3),
    "L0DepthwiseConv2d": lambda: l0.L0DepthwiseConv2d(2, 3),
    "SparseMLP": lambda: l0.SparseMLP(5, 4, 2),
    "SparseL0Linear": lambda: l0.SparseL0Linear(3),
    "SparseCalibrationWeights": lambda: l0.SparseCalibrationWeights(3),
    "L0Gate": lambda: l0.L0Gate(3),
    "SampleGate": lambda: l0.SampleGate(5, 2),
    "FeatureGate": lambda: l0.FeatureGate(5, 2),
    "HybridGate": lambda: l0.HybridGate(8),
    "TemperatureScheduler": lambda: l0.TemperatureScheduler(),
    "PenaltyTracker": lambda: l0.PenaltyTracker(),
}


@pytest.mark.parametrize("name", MADE)
def test_objects_and_classes_pickle(name):
    made = MADE[name]()
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is getattr(l0, name)
    assert pickle.loads(pickle.dumps(getattr(l0, name))) is getattr(l0, name)
    if isinstance(made, torch.nn.Module):
        for (key, one), (other_key, other) in zip(made.state_dict().items(), again.state_dict().items(), strict=True):
            assert key == other_key
            assert torch.equal(one, other)
