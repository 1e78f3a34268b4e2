"""The published microcalibrate on top of our packages: dense and L0 calibration, unchanged.

    pip install l0-python microcalibrate==0.19.1      # 0.19.1 is its release for Python 3.11
    python examples/published_microcalibrate.py

That release carries a copy of l0-python's HardConcrete. The last part puts ours in its place, as the releases after
it do by importing ``l0``.
"""

from __future__ import annotations

import warnings

import microcalibrate.reweight
import numpy as np
import pandas as pd
import torch

import l0
from l0_calibrate.microcalibrate import evaluate_sparse_weights

warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True", category=UserWarning)


def problem() -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(0)
    records = 400
    frame = pd.DataFrame(
        {
            "people": np.ones(records),
            "age_20_40": (rng.random(records) < 0.4).astype(float),
            "age_40_60": (rng.random(records) < 0.3).astype(float),
            "income": rng.lognormal(3.0, 0.5, records),
        }
    )
    weights = rng.uniform(1.0, 5.0, records)
    return weights, frame.to_numpy().T @ (weights * rng.uniform(0.8, 1.4, records)), frame


def run(label: str, **options: object) -> None:
    weights, targets, frame = problem()
    torch.manual_seed(0)  # that release draws from the global generator
    calibration = microcalibrate.Calibration(
        weights, targets, estimate_matrix=frame, epochs=200, learning_rate=0.01, noise_level=0.0, **options
    )
    calibration.calibrate()
    found = calibration.weights if calibration.sparse_weights is None else calibration.sparse_weights
    error = np.abs(found @ frame.to_numpy() / targets - 1).mean()
    close = evaluate_sparse_weights(found, frame, targets)
    print(f"{label}: kept {np.count_nonzero(found)} of {len(found)}, mean error {error:.2%}, {close:.0f}% within 10%")


if __name__ == "__main__":
    gates = {"regularize_with_l0": True, "l0_lambda": 3e-4, "init_mean": 0.999, "temperature": 0.5}
    run("dense")
    run("with its own gates", **gates)
    microcalibrate.reweight.HardConcrete = l0.HardConcrete
    run("with our gates", **gates)
