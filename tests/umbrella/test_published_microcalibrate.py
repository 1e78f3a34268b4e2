"""The published microcalibrate runs on top of our packages, as the example shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "published_microcalibrate.py"


VERSIONS = ["0.19.1", "0.22.3"]
"""The release for Python 3.11, which has gates of its own, and one that takes them from ``l0``."""


@pytest.fixture(scope="session", params=VERSIONS)
def installed(request, tmp_path_factory):
    """A folder with that microcalibrate and nothing else that this environment has."""
    folder = tmp_path_factory.mktemp("microcalibrate")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    # 0.22 asks for Python 3.13 and runs on 3.11 all the same.
    packages = [f"microcalibrate=={request.param}", "tqdm", "--ignore-requires-python"]
    done = subprocess.run([*command, *packages], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(
            f"no package index answers: {done.stderr.strip().splitlines()[-1] if done.stderr else 'pip failed'}"
        )
    return folder


def run(folder, *command):
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.network
def test_dense_and_gated_calibrations_run_unchanged(installed):
    shown = run(installed, str(EXAMPLE))
    lines = re.findall(r"(.+): kept (\d+) of 400, mean error ([\d.]+)%, (\d+)% within 10%", shown)
    assert [line[0] for line in lines] == ["dense", "with its own gates", "with our gates"]
    dense, theirs, ours = [(int(kept), float(error)) for _, kept, error, _ in lines]
    assert dense[0] == 400
    assert dense[1] < 3.0
    for kept, error in (theirs, ours):
        assert 0 < kept < 400
        assert error < 10.0


LATER = """
import inspect, microcalibrate
if "batch_size" in inspect.signature(microcalibrate.Calibration).parameters:  # not in 0.19.1
    import sys, numpy as np, pandas as pd, l0
    assert sys.modules["microcalibrate.reweight"].HardConcrete is l0.HardConcrete
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((200, 5)), columns=list("abcde"))
    weights = rng.uniform(1.0, 5.0, 200)
    goals = frame.to_numpy().T @ weights * 1.2
    options = dict(epochs=60, learning_rate=0.02, noise_level=0.0)
    fit = microcalibrate.Calibration(weights, goals, estimate_matrix=frame, **options)
    best = fit.tune_l0_hyperparameters(n_trials=2, epochs_per_trial=10)
    fit.l0_lambda, fit.regularize_with_l0 = 1e-3, True
    fit.calibrate()
    assert 0 < np.count_nonzero(fit.sparse_weights) < 200
    fit.evaluate_holdout_robustness(n_holdout_sets=2)
"""


@pytest.mark.network
def test_tuning_and_hold_outs_of_the_later_releases_run_unchanged(installed):
    pytest.importorskip("optuna")
    run(installed, "-W", "ignore", "-c", LATER)
