"""Writes ``l0_python_0_6_2.json`` anew, with a Python that has l0-python 0.6.2 (its import name is ours too):

    OLD/bin/python tests/umbrella/write_old_checkpoints.py

For each class: constructor arguments, the state dict of a model with shaken or fitted parameters, and what that
release answers for it in eval mode.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

import l0

LAYER = {"l0": "get_l0_penalty", "l2": "get_l2_penalty", "sparsity": "get_sparsity"}
GATES = {"penalty": "get_penalty", "prob": "get_active_prob", "active": "get_num_active", "sparsity": "get_sparsity"}
FITTED = {"l0": "get_l0_penalty", "gates": "get_deterministic_gates"}
# Entry: class, arguments, shape of the input (None: no call), answers by method.
SHAKEN = {
    "HardConcrete": ("HardConcrete", {"input_dim": 6, "temperature": 0.4}, (), GATES),
    "HardConcrete2d": ("HardConcrete", {"input_dim": 3, "output_dim": 4, "init_mean": 0.7}, (), GATES),
    "L0Linear": ("L0Linear", {"in_features": 4, "out_features": 3, "use_l2": True}, (3, 4), LAYER),
    "L0Conv2d": (
        "L0Conv2d",
        {"in_channels": 1, "out_channels": 2, "kernel_size": 3, "use_l2": True},
        (1, 1, 3, 4),
        LAYER,
    ),
    "L0Conv2d_structured": (
        "L0Conv2d",
        {"in_channels": 1, "out_channels": 2, "kernel_size": 3, "structured": True, "use_l2": True},
        (1, 1, 3, 4),
        LAYER,
    ),
    "L0DepthwiseConv2d": (
        "L0DepthwiseConv2d",
        {"in_channels": 2, "kernel_size": 2},
        (1, 2, 2, 3),
        {"l0": "get_l0_penalty", "sparsity": "get_sparsity"},
    ),
    "SparseMLP": (
        "SparseMLP",
        {"input_dim": 6, "hidden_dim": 4, "output_dim": 3, "use_l2": True},
        (2, 6),
        {"l0": "get_l0_loss", "l2": "get_l2_loss"},
    ),
    "L0Gate": (
        "L0Gate",
        {"size": 5},
        None,
        {"gates": "get_gates", "penalty": "get_penalty", "active": "get_active_indices"},
    ),
    "SampleGate": (
        "SampleGate",
        {"n_samples": 8, "target_samples": 3},
        None,
        {"gates": "get_gates", "penalty": "get_penalty"},
    ),
    "FeatureGate": (
        "FeatureGate",
        {"n_features": 6, "max_features": 2},
        None,
        {"gates": "get_gates", "importance": "get_feature_importance"},
    ),
    "HybridGate": ("HybridGate", {"n_items": 8, "target_items": 4}, None, {"penalty": "get_penalty"}),
}


def plain(value):
    if torch.is_tensor(value):
        return value.detach().tolist()
    return float(value) if isinstance(value, (float, np.floating)) else value


def entry(arguments, model, answers):
    state = {key: value.tolist() for key, value in model.state_dict().items()}
    return {"args": arguments, "state": state, "answers": {key: plain(value) for key, value in answers.items()}}


def shaken():
    line = torch.linspace(-1, 1, 12)
    for name, (kind, arguments, shape, methods) in SHAKEN.items():
        model = getattr(l0, kind)(**arguments).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 1.5)
        answers = {key: getattr(model, method)() for key, method in methods.items()}
        if shape is not None:
            answers["output"] = model(line.view(shape)) if shape else model()
        yield name, entry(arguments, model, answers)


def fitted(matrix):
    line = l0.SparseL0Linear(10, seed=1)
    line.fit(matrix, np.array([1.0, 2.0, 3.0]), epochs=50, lr=0.05)
    answers = {key: getattr(line, method)() for key, method in FITTED.items()}
    answers |= {"output": line.predict(matrix), "selected": line.get_selected_features()}
    yield "SparseL0Linear", entry({"n_features": 10}, line, answers)
    model = l0.SparseCalibrationWeights(10, seed=1, init_weights=2.0)
    goals = np.array([10.0, 12.0, 9.0])
    model.fit(matrix, goals, epochs=300, lr=0.1, lambda_l0=0.05, loss_type="relative")
    answers = {key: getattr(model, method)() for key, method in FITTED.items()}
    answers |= {"output": model.predict(matrix), "weights": model.get_weights(deterministic=True)}
    answers |= {"l2": model.get_l2_penalty(), "indices": model.get_active_weights()["indices"]}
    yield "SparseCalibrationWeights", entry({"n_features": 10}, model, answers)


def main():
    if importlib.metadata.version("l0-python") != "0.6.2":
        raise SystemExit(f"run this with l0-python 0.6.2; here is {inspect.getfile(l0)}")
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    matrix = sp.csr_matrix(np.round(np.random.default_rng(0).random((3, 10)), 3))
    out = dict(shaken()) | dict(fitted(matrix)) | {"matrix": matrix.toarray().tolist()}
    Path(__file__).with_name("l0_python_0_6_2.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
