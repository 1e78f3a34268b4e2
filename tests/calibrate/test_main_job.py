"""The main job from the bundled problem: exact counts, bounds, determinism, files, the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.demo import load_demo
from l0_calibrate.result.tables import RunTables
from l0_core import InputError, UnknownPluginError


@pytest.fixture(scope="module")
def problem():
    return load_demo()


def test_dense_fit_is_at_the_certified_optimum(problem):
    result = calibrate(problem, tol=0.001)
    assert result.loss <= 0.0297
    assert result.gap is not None
    assert result.gap <= 0.01
    assert result.status == "optimal"


def test_a_budget_is_met_exactly_within_its_bound_and_repeats_bit_for_bit(problem):
    events = []
    result = calibrate(problem, keep=300, max_weight_ratio=5, watch=events.append)
    assert np.count_nonzero(result.weights) == result.kept == 300
    assert result.loss <= 0.0325
    assert result.ess >= 180
    assert result.max_ratio <= 5 * (1 + 1e-9)
    assert events
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    again = calibrate(problem, keep=300, max_weight_ratio=5)
    assert again.fingerprint == result.fingerprint
    assert (np.random.get_state()[1] == before).all()


def test_the_largest_ratio_of_a_dense_fit_is_in_the_terms_of_its_bound(problem):
    """Weights of a dense fit may end at 0; the others are not scaled down for it, and one reaches the bound."""
    result = calibrate(problem, max_weight_ratio=3, loss="squared", solver="coordinate_descent")
    plain = result.weights / problem.initial_weights
    assert result.kept < 0.9 * problem.n_records
    assert plain.max() == pytest.approx(3.0)
    assert result.max_ratio == plain.max() == RunTables.of(result).diagnostics.max_ratio
    np.testing.assert_array_equal(result.to_frame()["ratio"], plain)


def test_the_mass_is_held_exactly(problem):
    result = calibrate(problem, keep=600, conserve_mass=True)
    assert result.weights.sum() == pytest.approx(problem.initial_weights.sum(), rel=1e-9)


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"keep": 0}, InputError, "keep"),
        ({"keep": -3}, InputError, "keep"),
        ({"keep": 5001}, InputError, "5000"),
        ({"share": 1.5}, InputError, "share"),
        ({"min_weight_ratio": 3, "max_weight_ratio": 2}, InputError, "no weight can meet both"),
        ({"loss": "absolut"}, UnknownPluginError, "absolute"),
        ({"solver": "simplex"}, UnknownPluginError, "primal_dual"),
        ({"backend": "jax"}, UnknownPluginError, "numpy"),
        ({"keep": 10, "selector": "prunes"}, UnknownPluginError, "prune"),
        ({"kep": 10}, InputError, "keep"),
    ],
)
def test_what_cannot_work_is_refused_at_the_door(problem, fields, error, says):
    with pytest.raises(error, match=says):
        calibrate(problem, **fields)


def test_records_that_cannot_hold_the_mass_are_refused_with_what_they_could():
    weights = np.array([1000.0, 1.0, 1.0, 1.0])
    asked = CalibrationProblem(np.ones((1, 4)), [1003.0], initial_weights=weights)
    never = np.array([True, False, False, False])
    with pytest.raises(InputError, match=r"selector 'prune' chose: .* from 0 to 20, the initial weights sum to 1003"):
        calibrate(asked, keep=2, max_weight_ratio=5, conserve_mass=True, never_keep=never)


def test_fit_and_evaluate_from_the_command_line_agree(problem, tmp_path):
    problem.save(tmp_path / "problem")
    command = [sys.executable, "-c", "from l0_calibrate.cli import main; main()"]
    out = tmp_path / "run"
    fit = [*command, "fit", str(tmp_path / "problem"), "--keep", "300", "--out", str(out), "--quiet"]
    done = subprocess.run(fit, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    weights = pd.read_parquet(out / "weights.parquet")
    assert list(weights.columns) == ["record_id", "initial_weight", "weight", "kept", "ratio"]
    assert int(weights["kept"].sum()) == 300
    score = [*command, "evaluate", str(out / "weights.parquet"), str(tmp_path / "problem"), "--json"]
    scored = json.loads(subprocess.run(score, capture_output=True, text=True, check=True).stdout)
    assert scored["loss"] == pytest.approx(json.loads((out / "result.json").read_text())["loss"])
    refused = subprocess.run(
        [*fit[:5], "--keep", "0", "--out", str(tmp_path / "no")], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "keep" in refused.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("asked", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended")]
)
def test_an_interrupted_fit_leaves_nothing_behind(asked, code, word, tmp_path):
    rng = np.random.default_rng(0)
    matrix = rng.uniform(0.0, 1.0, (400, 6000)) * (rng.uniform(size=(400, 6000)) < 0.1)
    CalibrationProblem(matrix, matrix.sum(axis=1) * rng.uniform(0.5, 2.0, 400)).save(tmp_path / "problem")
    # No tolerance: the fit does not end by itself while this test waits for it.
    # A process begun in the background is begun deaf to interrupts; so that this one hears them, it says so.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from l0_calibrate.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "fit", "problem", "--out", "run", "--tol", "0", "--solver", "primal_dual"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("fit")  # the first plain line: the fit is under way
        process.send_signal(asked)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert f"{word}: no result was written" in said
    assert [path.name for path in tmp_path.iterdir()] == ["problem"]


def test_the_exit_code_of_an_interruption_is_ours_wherever_it_came(tmp_path):
    """Where it passed through a text that is executed, as numba's, Python made it -2 under ``python -m``."""
    (tmp_path / "job.py").write_text(
        "import importlib\n"
        "command_line = importlib.import_module('l0_calibrate.cli.app')\n"
        "text = 'import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)'\n"
        "command_line.app = lambda **_: exec(text)\n"
        "command_line.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "job"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (143, "ended: no result was written\n")
