"""State dicts saved by l0-python 0.6.2 load here and give the same numbers.

``l0_python_0_6_2.json`` holds, for each class, constructor arguments, the state dict of a model with shaken or
fitted parameters, and what that release answered for it in eval mode; ``write_old_checkpoints.py`` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import l0

STORED = json.loads(Path(__file__).with_name("l0_python_0_6_2.json").read_text())
MATRIX = np.array(STORED.pop("matrix"))
CLASSES = {"HardConcrete2d": "HardConcrete", "L0Conv2d_structured": "L0Conv2d"}
INPUTS = {
    "L0Linear": (3, 4),
    "L0Conv2d": (1, 1, 3, 4),
    "L0Conv2d_structured": (1, 1, 3, 4),
    "L0DepthwiseConv2d": (1, 2, 2, 3),
    "SparseMLP": (2, 6),
}
FLOAT32 = 2e-6  # a few roundings of float32, in another order


def loaded(name):
    stored = STORED[name]
    model = getattr(l0, CLASSES.get(name, name))(**stored["args"])
    state = {key: torch.tensor(values) for key, values in stored["state"].items()}
    assert list(model.state_dict()) == list(state)
    model.load_state_dict(state, strict=True)
    return model.eval(), {key: np.array(value) for key, value in stored["answers"].items()}


def close(found, expected):
    found = found.detach().numpy() if torch.is_tensor(found) else np.asarray(found)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=FLOAT32)


@pytest.mark.parametrize("name", ["HardConcrete", "HardConcrete2d"])
def test_gates(name):
    model, answers = loaded(name)
    close(model(), answers["output"])
    assert model.get_num_active() == answers["active"]
    close(model.get_penalty(), answers["penalty"])
    close(model.get_active_prob(), answers["prob"])
    close(model.get_sparsity(), answers["sparsity"])


@pytest.mark.parametrize("name", INPUTS)
def test_layers(name):
    model, answers = loaded(name)
    output = model(torch.linspace(-1, 1, 12).view(INPUTS[name]))
    if hasattr(model, "channel_gates"):
        # A gate on a channel closes its bias too, which the old release left open.
        bias = model.bias if hasattr(model, "bias") else model.depthwise_conv.bias
        output = output + (bias * (1 - model.channel_gates()))[:, None, None]
    close(output, answers["output"])
    if name != "SparseMLP":
        close(model.get_l0_penalty(), answers["l0"])
        close(model.get_sparsity(), answers["sparsity"])
    else:
        close(model.get_l0_loss(), answers["l0"])
        close(model.get_l2_loss(), answers["l2"])
    if hasattr(model, "weight"):
        close(model.get_l2_penalty(), answers["l2"])


def test_selection_gates():
    for name in ("L0Gate", "SampleGate", "FeatureGate", "HybridGate"):
        model, answers = loaded(name)
        if "gates" in answers:
            close(model.get_gates(), answers["gates"])
        if "penalty" in answers:
            close(model.get_penalty(), answers["penalty"])
    model, answers = loaded("L0Gate")
    # The threshold is one on the probability of being open; the old release compared it with the gate.
    assert model.get_active_indices().tolist() == np.flatnonzero(answers["gates"]).tolist()
    assert set(answers["active"].tolist()) <= set(model.get_active_indices().tolist())
    model, answers = loaded("FeatureGate")
    close(model.get_feature_importance(), answers["importance"])


def test_sparse_regression():
    model, answers = loaded("SparseL0Linear")
    close(model.predict(MATRIX), answers["output"])
    close(model.get_l0_penalty(), answers["l0"])
    close(model.get_deterministic_gates(), answers["gates"])
    assert model.get_selected_features().tolist() == answers["selected"].tolist()


def test_calibration_weights():
    model, answers = loaded("SparseCalibrationWeights")
    close(model.get_weights(deterministic=True), answers["weights"])
    close(model.predict(MATRIX), answers["output"])
    close(model.get_l0_penalty(), answers["l0"])
    close(model.get_l2_penalty(), answers["l2"])
    assert model.get_active_weights()["indices"].tolist() == answers["indices"].tolist()
    assert 0 < model.get_active_weights()["count"] < 10
    model.fit(MATRIX, np.array([10.0, 12.0, 9.0]), epochs=1)  # and goes on from there
